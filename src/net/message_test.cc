#include "net/message.h"

#include <string>

#include <gtest/gtest.h>

#include "net/http1.h"

namespace pontage::net {
namespace {

TEST(HeadersTest, WhatIsLeftIsWrittenInItsOrder) {
  Headers headers;
  for (int i = 0; i < 40; ++i) {
    headers.AddJudged("name-" + std::to_string(i), std::string(static_cast<size_t>(i), 'v'));
  }
  headers.RemoveIf([](std::string_view name) { return name.back() == '3' || name == "name-0"; });
  headers.Set("NAME-7", "new");
  const Headers copy = headers;
  headers = Headers();
  EXPECT_EQ(headers.size(), 0U);
  std::string want;
  const auto line = [&want](const std::string& name, const std::string& value) {
    want.append(name).append(": ").append(value).append("\r\n");
  };
  for (int i = 1; i < 40; ++i) {
    if (i % 10 == 3 || i == 7) continue;
    line("name-" + std::to_string(i), std::string(static_cast<size_t>(i), 'v'));
  }
  line("NAME-7", "new");
  std::string out;
  ASSERT_TRUE(http1::WriteLastChunk(&copy, out));
  EXPECT_EQ(out, "0\r\n" + want + "\r\n");
}

// Only what was judged when it was read is written without another look, whoever carries it on.
TEST(HeadersTest, WhatNobodyJudgedIsJudgedWhenItIsWritten) {
  Headers read;
  ASSERT_TRUE(http1::ParseField("a: b", read));
  EXPECT_TRUE(read.judged(0));
  read.Add("c", "d\r\nsmuggled: e");
  EXPECT_FALSE(read.judged(1));
  Headers on;
  on.AddFrom(read, 0);
  EXPECT_TRUE(on.judged(0));
  std::string out;
  EXPECT_TRUE(http1::WriteLastChunk(&on, out));
  on.AddFrom(read, 1);
  EXPECT_FALSE(on.judged(1));
  EXPECT_FALSE(http1::WriteLastChunk(&on, out));
  on.Set("c", "d");
  EXPECT_TRUE(http1::WriteLastChunk(&on, out));
  on.Set("e\r\n", "f");
  EXPECT_FALSE(http1::WriteLastChunk(&on, out));
}

TEST(HeadersTest, AListIsAllItsLines) {
  Headers headers;
  headers.Add("Cache-Control", "max-age=600");
  headers.Add("Vary", "Origin");
  headers.Add("cache-control", "no-store");
  EXPECT_EQ(headers.List("Cache-Control"), "max-age=600, no-store");
  EXPECT_EQ(headers.List("Vary"), "Origin");
  EXPECT_EQ(headers.List("Age"), "");
}

TEST(HeadersTest, AddTakesItsOwnViews) {
  Headers headers;
  headers.Add("A", std::string(100, 'x'));
  for (int i = 0; i < 50; ++i) headers.Add("B", *headers.Get("A"));
  EXPECT_EQ(headers.Count("b"), 50U);
  EXPECT_EQ(headers.at(50).value, std::string(100, 'x'));
  headers.Set("B", headers.at(50).value);
  EXPECT_EQ(headers.Count("b"), 1U);
  EXPECT_EQ(headers.Get("b"), std::string(100, 'x'));
}

}  // namespace
}  // namespace pontage::net
