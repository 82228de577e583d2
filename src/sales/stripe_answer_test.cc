#include "sales/stripe_answer.h"

#include <set>

#include <gtest/gtest.h>

#include "codec/json.h"
#include "testing/expect.h"

namespace pontage::sales {
namespace {

TEST(StripeAnswerTest, AParamIsAPointer) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"", ""},
      {"email", "/email"},
      {"line_items[0][price]", "/line_items/0/price"},
      {"metadata[a/b~c]", "/metadata/a~1b~0c"},
      {"a[]", "/a"},
      {"[[", ""},
  };
  for (const auto& [param, want] : rows) EXPECT_EQ(PointerOfParam(param), want) << param;
}

TEST(StripeAnswerTest, PausesGrowToTheirBoundAndAreNeverShorterThanTheFirst) {
  const Millis first(500);
  const Millis most(5'000);
  SeededRng rng(3);
  const int64_t longest[] = {500, 1'000, 2'000, 4'000, 5'000, 5'000};
  for (int retry = 1; retry <= 6; ++retry) {
    std::set<int64_t> seen;
    for (int i = 0; i < 200; ++i) {
      const int64_t pause = PauseBefore(retry, first, most, rng).count();
      seen.insert(pause);
      EXPECT_LE(pause, longest[retry - 1]);
      EXPECT_GE(pause, std::max<int64_t>(500, longest[retry - 1] / 2));
    }
    if (retry > 1) {
      EXPECT_GT(seen.size(), 20U) << "they all come back at once";
    }
  }
  EXPECT_LE(PauseBefore(1'000'000, first, most, rng), most);
}

TEST(StripeAnswerTest, ALongMessageIsCutBetweenLetters) {
  std::string said;
  while (said.size() < 2'000) said += "a\u00e9\u20ac";
  for (size_t shift = 0; shift < 6; ++shift) {
    const std::string body = R"({"error":{"message":")" + std::string(shift, 'x') + said + R"("}})";
    const Error error = ReadStripeError(400, body, Secret("k"));
    EXPECT_LT(error.detail().size(), 600U);
    const std::string json = codec::ToString(codec::Json::Array({error.detail()}));
    EXPECT_THAT(codec::ParseJson(json), testing::IsOk()) << "half a letter is no UTF-8";
  }
}

TEST(StripeAnswerTest, AnyBodyIsAnError) {
  for (const std::string_view body :
       {"", "null", "[]", "{}", R"({"error":"invalid_grant"})", R"({"error":{"message":7}})",
        R"({"error":{"message":null,"code":[],"param":{}}})", "\xff"}) {
    const Error error = ReadStripeError(404, body, Secret());
    EXPECT_EQ(error.code(), Code::kNotFound) << body;
    EXPECT_EQ(error.detail(), "Stripe answered 404") << body;
  }
}

}  // namespace
}  // namespace pontage::sales
