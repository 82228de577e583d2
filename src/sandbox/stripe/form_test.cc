#include "sandbox/stripe/form.h"

#include <array>

#include <gtest/gtest.h>

#include "sandbox/stripe/params.h"

namespace pontage::sandbox::stripe {
namespace {

std::string Repeat(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

TEST(ParseFormTest, NestsByBrackets) {
  const auto form = ParseForm("a=1&b%5Bc%5D=x+y&b[d][0][e]=%C3%A9&l[]=one&l[]=two&empty=");
  ASSERT_TRUE(form.has_value());
  EXPECT_EQ(form->Find("a")->text, "1");
  EXPECT_EQ(form->Find("b")->Find("c")->text, "x y");
  EXPECT_EQ(form->Find("b")->Find("d")->Find("0")->Find("e")->text, "é");
  EXPECT_EQ(form->Find("l")->Find("1")->text, "two");
  EXPECT_EQ(form->Find("empty")->text, "");
  EXPECT_EQ(form->Find("nothing"), nullptr);
  EXPECT_TRUE(ParseForm("")->members.empty());
}

TEST(ParseFormTest, RefusesWhatTwoReadersCouldReadInTwoWays) {
  for (const std::string& bad : {
           std::string("a"),
           std::string("a=1&"),
           std::string("&a=1"),
           std::string("a=1&&b=2"),
           std::string("=1"),
           std::string("a=1&a=2"),
           std::string("a=1&a[b]=2"),
           std::string("a[b]=2&a=1"),
           std::string("a[=1"),
           std::string("a]=1"),
           std::string("a[b=1"),
           std::string("a[b]c=1"),
           std::string("a[][b]=1"),
           std::string("a[[b]]=1"),
           std::string("[a]=1"),
           std::string("a=%"),
           std::string("a=%4"),
           std::string("a=%zz"),
           std::string("a=%00"),
           std::string("a=%ff"),
           std::string("a=%C3"),
           std::string("a=%ED%A0%80"),
           "a" + Repeat("[b]", kMaxFormDepth) + "=1",
           std::string(kMaxFormName + 1, 'n') + "=1",
           "a=" + std::string(kMaxFormBytes, 'x'),
           Repeat("a[]=1&", kMaxFormPairs) + "a[]=1",
       }) {
    const auto form = ParseForm(bad);
    ASSERT_FALSE(form.has_value()) << bad.substr(0, 40);
    EXPECT_EQ(form.error().status, 400);
  }
  EXPECT_TRUE(ParseForm("a" + Repeat("[b]", kMaxFormDepth - 1) + "=1").has_value());
  EXPECT_TRUE(ParseForm(Repeat("a[]=1&", kMaxFormPairs - 1) + "a[]=1").has_value());
}

TEST(CanonicalTest, KnowsFormsApartButNotTheirOrder) {
  const auto of = [](const char* text) { return Canonical(*ParseForm(text)); };
  EXPECT_EQ(of("a=1&b[c]=2"), of("b[c]=2&a=1"));
  EXPECT_NE(of("a=1&b=2"), of("a=1&b=3"));
  EXPECT_NE(of("a%3Db=c"), of("a=b%3Dc"));
  EXPECT_NE(of("a=1"), of("a=1&b="));
}

class ParamsTest : public ::testing::Test {
 protected:
  Params Of(const char* text) {
    auto parsed = ParseForm(text);
    EXPECT_TRUE(parsed.has_value());
    form = *std::move(parsed);
    return Params(form);
  }
  FormNode form;
};

TEST_F(ParamsTest, NamesWhatItDoesNotKnow) {
  constexpr std::array<std::string_view, 4> kKnown = {"a", "items.*.price", "metadata.*",
                                                      "open.**"};
  EXPECT_TRUE(Of("a=1&items[0][price]=p&metadata[k]=v&open[x][y]=z").Only(kKnown).has_value());
  EXPECT_TRUE(Of("metadata=").Only(kKnown).has_value());
  const struct {
    const char* form;
    const char* param;
  } cases[] = {{"b=1", "b"},
               {"items[0][prize]=p", "items[0][prize]"},
               {"items[0]=p", "items[0]"},
               {"metadata=x", "metadata"},
               {"a[b]=1", "a[b]"},
               {"metadata[a][b]=1", "metadata[a][b]"}};
  for (const auto& one : cases) {
    const auto known = Of(one.form).Only(kKnown);
    ASSERT_FALSE(known.has_value()) << one.form;
    EXPECT_EQ(known.error().code, "parameter_unknown");
    EXPECT_EQ(known.error().param, one.param);
    EXPECT_EQ(known.error().message, std::string("Received unknown parameter: ") + one.param);
  }
}

TEST_F(ParamsTest, ReadsValuesAndSaysWhichIsWrong) {
  const Params params = Of("n=12&t=true&w=red&e=&s[x]=1&l[1]=b&l[0]=a&l[10]=c");
  EXPECT_EQ(params.Int("n", 0, 20).value(), 12);
  EXPECT_EQ(params.Int("n", 0, 11).error().code, "parameter_invalid_integer");
  EXPECT_EQ(params.MaybeInt("w", 0, 9).error().message, "Invalid integer: red");
  EXPECT_EQ(params.MaybeBool("t").value(), true);
  EXPECT_EQ(params.MaybeBool("n").error().message, "Invalid boolean: 12");
  EXPECT_EQ(params.MaybeWord("w", {"red", "blue"}).value(), "red");
  EXPECT_EQ(params.MaybeWord("w", {"green"}).error().message, "Invalid w: must be one of green");
  EXPECT_EQ(params.Text("missing").error().code, "parameter_missing");
  EXPECT_EQ(params.Text("e").error().code, "parameter_invalid_empty");
  EXPECT_EQ(params.MaybeText("e").value(), std::nullopt);
  EXPECT_TRUE(params.Clears("e"));
  EXPECT_FALSE(params.Clears("n"));
  EXPECT_FALSE(params.MaybeText("s").has_value());
  EXPECT_EQ(params.Texts("l", 3).value(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_FALSE(params.Texts("l", 2).has_value());
  EXPECT_EQ(params.At("s").NameOf("x"), "s[x]");
}

TEST_F(ParamsTest, MergesMetadata) {
  const codec::Json before = codec::Json::Object({{"a", "1"}, {"b", "2"}});
  const auto merged = Of("metadata[b]=&metadata[c]=3").Metadata(before);
  EXPECT_EQ(merged.value(), codec::Json::Object({{"a", "1"}, {"c", "3"}}));
  EXPECT_EQ(Of("metadata=").Metadata(before).value(), codec::Json::Object());
  EXPECT_EQ(Of("x=1").Metadata(before).value(), before);
  EXPECT_FALSE(Of("metadata[a][b]=1").Metadata(before).has_value());
  const std::string long_key = "metadata[" + std::string(41, 'k') + "]=1";
  EXPECT_FALSE(Of(long_key.c_str()).Metadata(before).has_value());
  const std::string long_value = "metadata[k]=" + std::string(501, 'v');
  EXPECT_FALSE(Of(long_value.c_str()).Metadata(before).has_value());
}

}  // namespace
}  // namespace pontage::sandbox::stripe
