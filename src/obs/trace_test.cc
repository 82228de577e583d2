#include "obs/trace.h"

#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace pontage::obs {
namespace {

constexpr const char* kGood = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceTest, AGoodHeaderComesBackAsItWas) {
  const auto context = ParseTraceparent(kGood);
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->trace_id[0], 0x4b);
  EXPECT_EQ(context->parent_id[7], 0xb7);
  EXPECT_EQ(context->flags, 1);
  EXPECT_EQ(FormatTraceparent(*context), kGood);
  EXPECT_EQ(TraceIdText(*context), "4bf92f3577b34da6a3ce929d0e0e4736");
}

TEST(TraceTest, WhatIsNotExactlyOfTheFormIsRefused) {
  const std::string good = kGood;
  std::string capitals = good;
  capitals[3] = 'A';
  std::string not_hex = good;
  not_hex[40] = 'g';
  std::string no_dash = good;
  no_dash[35] = '0';
  const std::vector<std::string> bad = {
      "",
      good.substr(0, good.size() - 1),
      good + "0",
      good + "-00",  // Version 00 ends after the flags.
      " " + good,
      capitals,
      not_hex,
      no_dash,
      "ff" + good.substr(2),
      "0x" + good.substr(2),
      "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
      "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
      "01" + good.substr(2) + "0",  // A later version goes on with a dash, if at all.
      std::string(good.size(), '\0'),
  };
  for (const std::string& value : bad) {
    EXPECT_FALSE(ParseTraceparent(value).has_value()) << value;
  }
}

TEST(TraceTest, ALaterVersionIsReadAsFarAsWeKnowIt) {
  const auto context =
      ParseTraceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-what-comes-next");
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->flags, 3) << "flags that we do not know are not passed on";
  EXPECT_EQ(FormatTraceparent(*context), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03");
}

TEST(TraceTest, AChildKeepsTheTraceAndItsFlags) {
  SeededRng rng(7);
  bool continued = false;
  const TraceContext parent = *ParseTraceparent(kGood);
  const TraceContext child = ContinueTrace(kGood, rng, &continued);
  EXPECT_TRUE(continued);
  EXPECT_EQ(child.trace_id, parent.trace_id);
  EXPECT_EQ(child.flags, parent.flags);
  EXPECT_NE(child.parent_id, parent.parent_id);
}

TEST(TraceTest, ABadHeaderBeginsANewTraceThatOthersCanRead) {
  SeededRng rng(7);
  bool continued = true;
  const TraceContext first = ContinueTrace("00-nonsense", rng, &continued);
  EXPECT_FALSE(continued);
  const TraceContext second = ContinueTrace("", rng);
  EXPECT_NE(first.trace_id, second.trace_id);
  EXPECT_EQ(ParseTraceparent(FormatTraceparent(first)), first);
}

TEST(TraceTest, AnIdIsNeverAllZero) {
  // Gives zeros twice, then ones.
  class Zeros final : public Rng {
   public:
    void Fill(std::span<uint8_t> out) override {
      for (uint8_t& byte : out) byte = calls_ < 2 ? 0 : 1;
      ++calls_;
    }

   private:
    int calls_ = 0;
  };
  Zeros rng;
  EXPECT_TRUE(ParseTraceparent(FormatTraceparent(NewTrace(rng))).has_value());
}

}  // namespace
}  // namespace pontage::obs
