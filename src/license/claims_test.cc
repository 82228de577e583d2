#include "license/claims.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "codec/json.h"
#include "license/samples_test.h"
#include "testing/expect.h"

namespace pontage::license {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

// The sample's text with one piece of it replaced.
std::string With(std::string_view piece, std::string_view other) {
  std::string text = codec::ToString(ToJson(Sample()));
  const size_t at = text.find(piece);
  PTG_CHECK(at != text.npos);
  return text.replace(at, piece.size(), other);
}

TEST(ReadClaimsTest, ReadsWhatIsWritten) {
  Claims bare = Sample();
  bare.products.clear();
  bare.tier.clear();
  bare.subscription.clear();
  bare.limits = {};
  bare.generation = 1;
  Claims several = Sample();
  several.products = {"a", "b", std::string(300, 'c')};
  for (const Claims& claims : {Sample(), bare, several}) {
    const Result<Claims> read = ReadClaims(codec::ToString(ToJson(claims)));
    ASSERT_THAT(read, IsOk());
    EXPECT_EQ(*read, claims);
  }
}

// Another spelling of the same: escapes, white space, order, null for what is not there, and
// members that are not known, however deep.
TEST(ReadClaimsTest, OtherSpellingsSayTheSame) {
  for (const std::string& text : {
           With(R"("iss":)", R"("\u0069ss" : )"),
           With(R"("cus_1")", R"("\u0063us_1")"),
           With(R"("aud":["gw"])", R"("aud":"gw")"),
           With(R"("aud":["gw"])", R"("aud":[1,{"gw":["x"]},["gw"],"other","gw",null])"),
           With(R"("product":["yield"])", R"("product":"yield")"),
           With(R"("tier":)", R"("x":{"plan":"other","lic":{"gen":9}},"y":[[{"gen":8}]],"tier":)"),
           With(R"("iss":)", R"("lic2":{"plan":"z"},"subject":"s","iss":)"),
           With(R"("iss":)", R"("\u0000sub":"s","iss":)"),
           With(R"("rpm":600)", R"("rpm":600,"daily":{"rpm":1},"monthly2":[2])"),
       }) {
    const Result<Claims> read = ReadClaims(text);
    ASSERT_THAT(read, IsOk()) << text;
    EXPECT_EQ(*read, Sample()) << text;
  }
  Claims least = Sample();
  least.tier.clear();
  EXPECT_EQ(*ReadClaims(With(R"("tier":"professional")", R"("tier":null)")), least);
  least = Sample();
  least.limits = {};
  EXPECT_EQ(*ReadClaims(With(R"({"monthly":100000,"rpm":600})", "null")), least);
  EXPECT_EQ(*ReadClaims(With(R"({"monthly":100000,"rpm":600})", R"({"monthly":-5,"rpm":null})")),
            least);
  least = Sample();
  least.products.clear();
  EXPECT_EQ(*ReadClaims(With(R"(["yield"])", "null")), least);
}

TEST(IdNamedByTest, IsTheIdOfALicenseAndOfNothingElse) {
  const Keys keys;
  const std::string token = keys.issuer.Issue(Sample());
  EXPECT_EQ(IdNamedBy(token), kId);
  EXPECT_EQ(IdNamedBy(token.substr(0, token.rfind('.') + 1) + "AAAA"), kId) << "it is not checked";
  const std::string payload = token.substr(token.find('.') + 1);
  for (const std::string& other :
       {std::string(), std::string("ann@mail.example.com"), std::string("lic_1"),
        std::string("a.b.c"), std::string(".."), payload, "x." + token,
        "x." + std::string(kMaxToken, 'A') + ".x"}) {
    EXPECT_EQ(IdNamedBy(other), "") << other;
  }
}

TEST(ReadClaimsTest, RefusalsNameTheClaim) {
  std::string many = R"("a")";
  for (size_t i = 0; i < kMostProducts; ++i) many += R"(,"a")";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {With(R"("iss":"https://api.example.com",)", ""), "/iss"},
      {With(R"("https://api.example.com")", "null"), "/iss"},
      {With(R"("https://api.example.com")", "7"), "/iss"},
      {With(R"("https://api.example.com")", R"({"iss":"x"})"), "/iss"},
      {With(R"("https://api.example.com")", R"("")"), "/iss"},
      {With("https://api.example.com", std::string(257, 'a')), "/iss"},
      {With(R"("aud":["gw"],)", ""), "/aud"},
      {With(R"(["gw"])", "[]"), "/aud"},
      {With(R"(["gw"])", R"([["gw"]])"), "/aud"},
      {With(R"(["gw"])", R"(["GW"])"), "/aud"},
      {With(R"(["gw"])", R"("gw2")"), "/aud"},
      {With(R"(["gw"])", "null"), "/aud"},
      {With(R"(["gw"])", "1"), "/aud"},
      {With(R"("sub":"cus_1")", R"("sub":true)"), "/sub"},
      {With(R"("jti":)", R"("sub":"cus_1","jti":)"), "/sub"},
      {With(R"("jti":)", R"("s\u0075b":"cus_2","jti":)"), "/sub"},
      {With(R"("iat":1795000000)", R"("iat":"1795000000")"), "/iat"},
      {With(R"("iat":1795000000)", R"("iat":1795000000.0)"), "/iat"},
      {With(R"("iat":1795000000)", R"("iat":1795e6)"), "/iat"},
      {With(R"("iat":1795000000)", R"("iat":-1)"), "/iat"},
      {With(R"("iat":1795000000)", R"("iat":99999999999999999999)"), "/iat"},
      {With(R"("iat":1795000000)", R"("iat":[1795000000])"), "/iat"},
      {With(R"("plan":"pro",)", ""), "/lic/plan"},
      {With(R"("plan":"pro")", R"("plan":null)"), "/lic/plan"},
      {With(R"("plan":"pro")", R"("plan":"pro","plan":"all")"), "/lic/plan"},
      {With(R"(["yield"])", R"([""])"), "/lic/product"},
      {With(R"(["yield"])", R"("")"), "/lic/product"},
      {With(R"(["yield"])", R"(["a",null])"), "/lic/product"},
      {With(R"(["yield"])", R"(["a",["b"]])"), "/lic/product"},
      {With(R"(["yield"])", R"({"a":1})"), "/lic/product"},
      {With(R"("yield")", many), "/lic/product"},
      {With(R"("tier":"professional")", R"("tier":1)"), "/lic/tier"},
      {With(R"({"monthly":100000,"rpm":600})", "[]"), "/lic/limits"},
      {With(R"({"monthly":100000,"rpm":600})", "600"), "/lic/limits"},
      {With(R"("monthly":100000)", R"("monthly":"many")"), "/lic/limits/monthly"},
      {With(R"("rpm":600)", R"("rpm":6.5)"), "/lic/limits/rpm"},
      {With(R"("rpm":600)", R"("rpm":600,"rpm":60)"), "/lic/limits/rpm"},
      {With(R"("gen":2)", R"("gen":2,"gen":3)"), "/lic/gen"},
      {With(R"("sub":"sub_1")", R"("sub":{})"), "/lic/sub"},
      {R"({"iss":"a","aud":"gw","sub":"b","jti":"c","iat":1,"nbf":1,"exp":1})", "/lic"},
      {R"({"iss":"a","aud":"gw","sub":"b","jti":"c","iat":1,"nbf":1,"exp":1,"lic":null})", "/lic"},
      {R"({"iss":"a","aud":"gw","sub":"b","jti":"c","iat":1,"nbf":1,"exp":1,"lic":"x"})", "/lic"},
      {R"({"iss":"a","aud":"gw","sub":"b","jti":"c","iat":1,"nbf":1,"lic":{"plan":"p"}})", "/exp"},
      {"[]", ""},
      {"null", ""},
      {R"("gw")", ""},
      {"", ""},
      {"{", ""},
      {codec::ToString(ToJson(Sample())) + "{}", ""},
      {With("cus_1", "\xff"), ""},
      {With(R"("iss":)", R"("x":[[[[[[1]]]]]],"iss":)"), ""},
      // Of what is none of ours either: who else reads it may believe the other one.
      {With(R"("iss":)", R"("x":1,"x":2,"iss":)"), ""},
      {With(R"("iss":)", R"("x":{"y":1,"y":2},"iss":)"), ""},
      {With(R"("gen":2)", R"("gen":2,"x":1,"x":1)"), ""},
  };
  for (const auto& [text, pointer] : cases) {
    const Result<Claims> read = ReadClaims(text);
    ASSERT_THAT(read, FailsWith(Code::kBadRequest)) << text;
    EXPECT_EQ(read.error().pointer(), pointer) << text << "\n" << read.error().detail();
    EXPECT_NE(read.error().detail(), "") << text;
  }
}

}  // namespace
}  // namespace pontage::license
