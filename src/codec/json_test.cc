#include "codec/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/jcs.h"
#include "codec/json_visit.h"
#include "testing/expect.h"
#include "testing/rebuild_json.h"
#include "testing/seeds.h"

namespace pontage::codec {
namespace {

using pontage::testing::FailsAt;
using pontage::testing::FailsWith;
using pontage::testing::IsOk;
using pontage::testing::Rerun;
using pontage::testing::Seeds;
using ::testing::HasSubstr;

Json Parsed(std::string_view text) {
  Result<Json> json = ParseJson(text);
  EXPECT_THAT(json, IsOk()) << text;
  return json ? *std::move(json) : Json();
}

TEST(Json, WhatIsReadIsWrittenUnchanged) {
  for (const char* text :
       {"null", "true", "false", "0", "-1", "\"\"", "[]", "{}", "[1,[2,[3]],{}]",
        R"({"b":1,"a":{"y":[null,true],"x":"z"}})", "12345678901234567890123456789", "1.50", "1e3",
        "-0", R"("caf\u00e9")", R"(["\"\\\b\f\n\r\t\u0001"])", "\"\xf0\x9f\x92\xb8\""}) {
    const std::string out = ToString(Parsed(text));
    EXPECT_EQ(Parsed(out), Parsed(text)) << text;
    if (!std::string_view(text).contains("\\u00e9")) EXPECT_EQ(out, text);
  }
  EXPECT_EQ(ToString(Parsed(" { \"a\" : [ 1 , 2 ] }\n")), R"({"a":[1,2]})");
  EXPECT_EQ(ToString(Parsed(R"("\ud83d\udcb8\/")")), "\"\xf0\x9f\x92\xb8/\"");
}

TEST(Json, RefusesWhatCouldBeReadInTwoWays) {
  const std::pair<std::string, std::string_view> refused[] = {
      {R"({"a":1,"a":2})", "\"a\" appears twice"},
      {R"({"a":1,"b":{},"\u0061":2})", "\"a\" appears twice"},
      {R"([{"x":{"k":1,"k":1}}])", "\"k\" appears twice"},
      {"", "ends too soon"},
      {"   ", "ends too soon"},
      {"{\"a\":", "ends too soon"},
      {"{} {}", "behind the document at byte 3"},
      {"1 2", "behind the document"},
      {"{\"a\":1,}", "syntax error at byte 7"},
      {"[1,]", "syntax error"},
      {"{'a':1}", "syntax error"},
      {"// x\n1", "syntax error"},
      {"NaN", "syntax error"},
      {"01", "behind the document"},
      {"+1", "syntax error"},
      {"1.", ""},
      {"\"a\nb\"", "syntax error"},
      {"\"\\x\"", "syntax error"},
      {"\"\xff\"", "UTF-8"},
      {"\"\xc0\xaf\"", "UTF-8"},
      {"\"\xed\xa0\x80\"", "UTF-8"},
      {R"("\ud800")", "syntax error at byte 7"},
      {R"("\ud800\u0041")", "surrogate"},
      {R"("\udc00")", "surrogate"},
      {"\xef\xbb\xbf{}", "UTF-8"},
      {std::string("{}\0", 3), "behind the document"},
  };
  for (const auto& [text, why] : refused) {
    const Result<Json> got = ParseJson(text);
    ASSERT_THAT(got, FailsWith(Code::kBadRequest)) << text;
    EXPECT_THAT(got.error().detail(), HasSubstr(std::string(why))) << text;
  }
}

TEST(VisitJson, TellsWhatATreeHas) {
  for (const char* text :
       {"null", "true", "-0", "1.50", "[]", "{}", "[1,[2,[3]],{}]", R"("\u0063af\u00e9\n")",
        R"({"b":1,"a":{"y":[null,true,false],"x":"z"},"\u0063":[{"":""}]})",
        "12345678901234567890123456789", " { \"a\" : [ 1 , 2e3 ] }\n"}) {
    testing::RebuildJson rebuilt;
    ASSERT_THAT(VisitJson(text, {}, rebuilt), IsOk()) << text;
    EXPECT_EQ(rebuilt.root, Parsed(text)) << text;
  }
  testing::RebuildJson twice;
  ASSERT_THAT(VisitJson(R"({"a":1,"\u0061":2})", {}, twice), IsOk());
  EXPECT_EQ(twice.names, (std::vector<std::string>{"a", "a"}));
}

TEST(VisitJson, RefusesWhatATreeRefuses) {
  for (const char* text :
       {"", "{", "{} {}", "[1,]", "01", "\"\xff\"", "[[[1]]]", "[1,2,3,4,5,6]"}) {
    const JsonLimits limits{.max_bytes = 10, .max_depth = 2, .fault = Code::kPaymentMalformed};
    testing::RebuildJson rebuilt;
    const Result<> got = VisitJson(text, limits, rebuilt);
    ASSERT_THAT(got, FailsWith(Code::kPaymentMalformed)) << text;
    EXPECT_EQ(got.error().detail(), ParseJson(text, limits).error().detail());
  }
}

// Whatever it does not want to hear of ends it.
TEST(VisitJson, AVisitorEndsIt) {
  struct Leaves : testing::RebuildJson {
    explicit Leaves(int left) : left(left) {}
    bool Stays() { return left-- > 0; }
    bool Name(std::string_view name) override { return Stays() && RebuildJson::Name(name); }
    bool Open(Json::Kind kind) override { return Stays() && RebuildJson::Open(kind); }
    bool Close() override { return Stays() && RebuildJson::Close(); }
    bool Value(Json::Kind kind, std::string_view text) override {
      return Stays() && RebuildJson::Value(kind, text);
    }
    int left;
  };
  constexpr std::string_view kText = R"({"a":[1,"x",true,null,1.5],"b":{}})";
  for (int calls = 0; calls < 14; ++calls) {
    Leaves visitor(calls);
    EXPECT_EQ(VisitJson(kText, {}, visitor).has_value(), calls == 13) << calls;
    EXPECT_EQ(visitor.left, calls == 13 ? 0 : -1) << "is told nothing more";
  }
}

// Past the number of members up to which a walk looks for them.
TEST(Json, FindsADuplicateAmongManyMembers) {
  for (const int members : {2, 24, 25, 26, 1000}) {
    Json object = Json::Object();
    for (int i = 0; i < members; ++i) object.Set("member" + std::to_string(i), i);
    std::string text = ToString(object);
    EXPECT_THAT(ParseJson(text), IsOk());
    for (const int twice : {0, members / 2, members - 1}) {
      std::string bad = text;
      bad.insert(bad.size() - 1, ",\"member" + std::to_string(twice) + "\":0");
      const Result<Json> got = ParseJson(bad);
      ASSERT_THAT(got, FailsWith(Code::kBadRequest)) << members << " " << twice;
      EXPECT_THAT(got.error().detail(), HasSubstr("appears twice"));
    }
  }
}

TEST(Json, LimitsAreKept) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_THAT(ParseJson(nested(32)), IsOk());
  EXPECT_THAT(ParseJson(nested(33)), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ParseJson(nested(33)).error().detail(), HasSubstr("nested deeper than 32"));
  EXPECT_THAT(ParseJson("[1]", {.max_bytes = 2}), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ParseJson("[1]", {.max_bytes = 3}), IsOk());
  EXPECT_THAT(ParseJson("[", {.fault = Code::kPaymentMalformed}),
              FailsWith(Code::kPaymentMalformed));
}

TEST(Json, NumbersAreWholeOrNotAtAll) {
  EXPECT_EQ(Parsed("300").AsInt64(), 300);
  EXPECT_EQ(Parsed("-9223372036854775808").AsInt64(), INT64_MIN);
  EXPECT_EQ(Parsed("18446744073709551615").AsUint64(), UINT64_MAX);
  for (const char* text : {"300.0", "3e2", "9223372036854775808", "\"300\"", "null"}) {
    EXPECT_EQ(Parsed(text).AsInt64(), std::nullopt) << text;
  }
  EXPECT_EQ(Parsed("-1").AsUint64(), std::nullopt);
}

TEST(Json, BuildsAndChanges) {
  Json doc = Json::Object({{"x402Version", 2},
                           {"ok", true},
                           {"none", nullptr},
                           {"accepts", Json::Array({Json::Object({{"amount", "1000"}}), "x"})}});
  EXPECT_EQ(ToString(doc),
            R"({"x402Version":2,"ok":true,"none":null,"accepts":[{"amount":"1000"},"x"]})");
  doc.Set("ok", false).Set("new", UINT64_MAX);
  EXPECT_TRUE(doc.Remove("none"));
  EXPECT_FALSE(doc.Remove("none"));
  doc.Find("accepts")->Push(3);
  EXPECT_EQ(ToString(doc), R"({"x402Version":2,"ok":false,"accepts":[{"amount":"1000"},"x",3],)"
                           R"("new":18446744073709551615})");
  Json list;
  list.Push("a");
  EXPECT_EQ(ToString(list), R"(["a"])");
  EXPECT_EQ(doc.Find("absent"), nullptr);
  EXPECT_EQ(Json("text").Find("absent"), nullptr);
}

TEST(Json, EqualityIgnoresTheOrderOfMembers) {
  EXPECT_EQ(Parsed(R"({"a":1,"b":[{"c":2,"d":3}]})"), Parsed(R"({"b":[{"d":3,"c":2}],"a":1})"));
  for (const auto& [a, b] : {std::pair(R"({"a":1})", R"({"a":2})"),
                             {R"({"a":1})", R"({"b":1})"},
                             {"[1,2]", "[2,1]"},
                             {"1", "\"1\""},
                             {"{}", "[]"},
                             {"null", "{}"},
                             {R"({"a":1})", R"({"a":1,"b":1})"},
                             {"1", "1.0"}}) {
    EXPECT_FALSE(Parsed(a) == Parsed(b)) << a << " " << b;
  }
}

TEST(JsonReader, SaysWhichFieldAndWhatItShouldBe) {
  const Json doc = Parsed(
      R"({"payTo":7,"n":"x","f":1.5,"null":null,"list":[{"a":"b"},3],"o":{"k/~":1,"flag":true}})");
  const JsonReader r = JsonReader::Of(doc, Code::kPaymentMalformed, "/accepted").value();
  EXPECT_THAT(r.String("payTo"), FailsAt("/accepted/payTo", "payTo is a number, not a string"));
  EXPECT_THAT(r.String("payTo"), FailsWith(Code::kPaymentMalformed));
  EXPECT_THAT(r.String("absent"), FailsAt("/accepted/absent", "absent is missing"));
  EXPECT_THAT(r.String("null"), FailsAt("/accepted/null", "null is missing"));
  EXPECT_EQ(r.MaybeString("null").value(), std::nullopt);
  EXPECT_EQ(r.MaybeString("n").value(), "x");
  EXPECT_THAT(r.MaybeString("payTo"), FailsAt("/accepted/payTo", "number"));
  EXPECT_EQ(r.Int("payTo").value(), 7);
  EXPECT_THAT(r.Int("n"), FailsAt("/accepted/n", "a string, not a whole number"));
  EXPECT_THAT(r.Int("f"), FailsAt("/accepted/f", "f is 1.5"));
  EXPECT_EQ(r.Int("f").error().expected(), "a whole number");
  EXPECT_THAT(r.Bool("n"), FailsAt("/accepted/n", "true or false"));
  EXPECT_THAT(r.Object("list"), FailsAt("/accepted/list", "an array, not an object"));
  EXPECT_THAT(r.Objects("list", 4), FailsAt("/accepted/list/1", "is a number, not an object"));
  EXPECT_THAT(r.Objects("list", 1), FailsAt("/accepted/list", "2 items"));
  EXPECT_THAT(r.Objects("o", 1), FailsAt("/accepted/o", "an object, not an array"));
  EXPECT_THAT(r.Any("absent"), FailsAt("/accepted/absent", "missing"));
  EXPECT_TRUE(r.Any("null").value()->IsNull());
  EXPECT_EQ(r.MaybeAny("null"), nullptr);

  const JsonReader o = r.Object("o").value();
  EXPECT_TRUE(o.Bool("flag").value());
  EXPECT_THAT(o.String("k/~"), FailsAt("/accepted/o/k~1~0", "a number"));
  const Error placed = o.Place("flag", Error(Code::kConfig, "why").Want("form"));
  EXPECT_EQ(placed.code(), Code::kPaymentMalformed);
  EXPECT_EQ(placed.pointer(), "/accepted/o/flag");
  EXPECT_EQ(placed.detail(), "flag: why");
  EXPECT_EQ(placed.expected(), "form");
  EXPECT_THAT(JsonReader::Of(Json(3), Code::kConfig, "/x"), FailsAt("/x", "is a number"));
}

// RFC 8785 §3.2.3's own example of the order of members.
TEST(Jcs, SortsByUtf16CodeUnits) {
  const Json doc = Parsed(
      R"({"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",)"
      R"("1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control",)"
      R"("\u00f6":"Latin Small Letter O With Diaeresis"})");
  const std::string text = Canonicalize(doc).value();
  std::vector<std::string> order;
  for (const JsonMember& m : *Parsed(text).AsObject()) order.push_back(*m.value.AsString());
  EXPECT_EQ(order, (std::vector<std::string>{
                       "Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis",
                       "Euro Sign", "Emoji: Grinning Face", "Hebrew Letter Dalet With Dagesh"}));
}

TEST(Jcs, OneFormForOneValue) {
  EXPECT_EQ(Canonicalize(Parsed(R"({ "b":[1,true,null,"\u00e9\/"], "a":{}, "aa":-0 })")).value(),
            "{\"a\":{},\"aa\":0,\"b\":[1,true,null,\"\xc3\xa9/\"]}");
  EXPECT_EQ(Canonicalize(Parsed("9007199254740991")).value(), "9007199254740991");
  EXPECT_THAT(Canonicalize(Parsed(R"({"a":[0,9007199254740992]})")), FailsAt("/a/1", "number"));
  EXPECT_THAT(Canonicalize(Parsed("1.0")), FailsWith(Code::kBadRequest));
}

Json RandomJson(Rng& rng, int depth) {
  switch (rng.Next64() % (depth == 0 ? 5 : 7)) {
    case 0:
      return nullptr;
    case 1:
      return rng.Next64() % 2 == 0;
    case 2:
      return static_cast<int64_t>(rng.Next64());
    case 3:
      return rng.Next64();
    case 4: {
      std::string text;
      for (uint64_t i = rng.Next64() % 20; i > 0; --i) {
        text.push_back(static_cast<char>(rng.Next64() % 0x80));
      }
      return text + "\xe2\x82\xac";
    }
    case 5: {
      Json list = Json::Array();
      for (uint64_t i = rng.Next64() % 5; i > 0; --i) list.Push(RandomJson(rng, depth - 1));
      return list;
    }
    default: {
      Json object = Json::Object();
      for (uint64_t i = rng.Next64() % 40; i > 0; --i) {
        object.Set("k" + std::to_string(rng.Next64() % 60), RandomJson(rng, depth - 1));
      }
      return object;
    }
  }
}

TEST(Json, ParsingUndoesWriting) {
  for (const uint64_t seed : Seeds(100)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    const Json json = RandomJson(rng, 4);
    const std::string text = ToString(json);
    const Result<Json> back = ParseJson(text, {.max_bytes = 64 << 20});
    ASSERT_THAT(back, IsOk()) << text;
    EXPECT_EQ(*back, json);
    EXPECT_EQ(ToString(*back), text);
  }
}

}  // namespace
}  // namespace pontage::codec
