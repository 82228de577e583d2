#include <gtest/gtest.h>

#include "base/rng.h"
#include "catalog/path.h"
#include "catalog/price.h"
#include "catalog/route_table.h"

namespace pontage::catalog {
namespace {

TEST(PathTest, OneReadingWithTwoOutputs) {
  const struct {
    const char* target;
    const char* key;  // "" : refused
    const char* forward;
  } cases[] = {
      {"/", "/", "/"},
      {"/v1/Quotes/BTC", "/v1/quotes/btc", "/v1/Quotes/BTC"},
      {"/paid/", "/paid", "/paid/"},
      {"//paid", "/paid", "/paid"},
      {"/a//b///c", "/a/b/c", "/a/b/c"},
      {"\\paid", "", ""},
      {"/\\paid", "/paid", "/paid"},
      {"/x\\..\\paid", "/paid", "/paid"},
      {"/%70aid", "/paid", "/paid"},
      {"/%50AID", "/paid", "/PAID"},
      {"/pa%2fid", "/pa%2Fid", "/pa%2Fid"},
      {"/pa%5Cid", "/pa%5Cid", "/pa%5Cid"},
      {"/x/../paid", "/paid", "/paid"},
      {"/x/%2e%2e/paid", "/paid", "/paid"},
      {"/x/..;a=b/paid", "/paid", "/paid"},
      {"/./paid/.", "/paid", "/paid/"},
      {"/paid;v=1", "/paid", "/paid;v=1"},
      {"/paid%3Bv=1", "/paid", "/paid%3Bv=1"},
      {"/;x/paid", "/paid", "/paid"},
      {"/..", "", ""},
      {"/a/../../b", "", ""},
      {"/%", "", ""},
      {"/%zz", "", ""},
      {"/%c0%af", "", ""},
      {"/%ff", "", ""},
      {"/a%00", "", ""},
      {"/a%0d%0aX:y", "", ""},
      {"/caf%C3%A9", "/caf\xC3\xA9", "/caf%C3%A9"},
      {"/%252e%252e/x", "/%2e%2e/x", "/%252e%252e/x"},
      {"/a+b@c:d", "/a+b@c:d", "/a+b@c:d"},
      {"*", "", ""},
      {"", "", ""},
      {"http://x/", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.target);
    const Result<Target> got = Canonicalize(c.target);
    ASSERT_EQ(got.has_value(), *c.key != 0);
    if (!got) continue;
    EXPECT_EQ(got->key, c.key);
    EXPECT_EQ(got->forward, c.forward);
    // What was matched is what is sent: reading the forwarded path again gives the same key.
    EXPECT_EQ(Canonicalize(got->forward)->key, got->key);
  }
}

// An escaped letter is the letter: what a plain path gives at once, its escaped spelling gives by
// the long way.
TEST(PathTest, APlainPathIsReadAsItsEscapedSpelling) {
  SeededRng rng(11);
  constexpr std::string_view kAlphabet = "abzAZ019-_~.//";
  for (int i = 0; i < 20'000; ++i) {
    std::string path = "/";
    std::string escaped = "/";
    for (uint64_t n = rng.Next64() % 12; n > 0; --n) {
      const char c = kAlphabet[rng.Next64() % kAlphabet.size()];
      path.push_back(c);
      constexpr std::string_view kHex = "0123456789abcdef";
      if (c == '/' || rng.Next64() % 2 == 0) {
        escaped.push_back(c);
      } else {
        escaped.append({'%', kHex[static_cast<uint8_t>(c) >> 4], kHex[c & 15]});
      }
    }
    const Result<Target> plain = Canonicalize(path);
    const Result<Target> other = Canonicalize(escaped);
    ASSERT_EQ(plain.has_value(), other.has_value()) << path << " " << escaped;
    if (!plain) continue;
    EXPECT_EQ(plain->key, other->key) << path << " " << escaped;
    EXPECT_EQ(plain->forward, other->forward) << path << " " << escaped;
  }
}

TEST(PathTest, EveryReadingOfAnotherServerIsTold) {
  const struct {
    const char* target;
    std::vector<std::string> other_keys;
  } cases[] = {
      {"/paid/data", {}},
      {"/paid%2fData", {"/paid/data"}},
      {"/paid%5Cdata", {"/paid/data"}},
      {"/%252fpaid", {}},
      {"/a%2Fb%5cC", {"/a/b/c", "/a/b%5Cc", "/a%2Fb/c"}},
      {"/ask/help;What%20Is", {"/ask/help;what is"}},
      {"/ask;a=1/help%3Bb", {"/ask;a=1/help;b"}},
      {"/a%2fb;c", {"/a%2Fb;c", "/a/b", "/a/b;c"}},
      {"/;a", {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.target);
    const Result<Target> got = Canonicalize(c.target);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->other_keys, c.other_keys);
  }
  EXPECT_FALSE(Canonicalize("/a%3zb").has_value());
}

// Servers that keep a backslash, or know no parameters, climb from another place.
TEST(PathTest, DotSegmentsBesideAnEscapedSlashAreRefused) {
  for (const char* target :
       {"/x%2f..%2Fpaid/data", "/free/..%5c%2e%2e%5cpaid", "/free/a%5Cb%2F..%2F..%2Fpaid%2Freport",
        "/v1%2Fquotes%2F..;x%2F..%2Fbtc", "/a%2F.%3bx%2Fb", "/a/../b%2Fc", "/a\\..\\b%5cc"}) {
    EXPECT_FALSE(Canonicalize(target).has_value()) << target;
  }
  EXPECT_TRUE(Canonicalize("/a%2F..b%2Fc").has_value());
}

TEST(PathTest, TheQueryStaysAsItIs) {
  EXPECT_EQ(Canonicalize("/a?b=%zz//..")->query, "?b=%zz//..");
  EXPECT_EQ(Canonicalize("/a?")->query, "");
}

TEST(RouteTableTest, TheMostSpecificRouteWins) {
  const auto table = RouteTable::Make({"/*", "GET /v1/quotes/*", "/v1/quotes/free", "/v1/*/x",
                                       "POST /v1/quotes/*", "/exact", "/user/:id/posts"});
  ASSERT_TRUE(table.has_value());
  const struct {
    const char* method;
    const char* key;
    size_t route;
  } cases[] = {
      {"GET", "/v1/quotes/btc", 1},  {"HEAD", "/v1/quotes/btc", 1}, {"GET", "/v1/quotes", 1},
      {"GET", "/v1/quotes/a/b", 1},  {"POST", "/v1/quotes/btc", 4}, {"PUT", "/v1/quotes/btc", 0},
      {"GET", "/v1/quotes/free", 2}, {"GET", "/v1/other/x", 3},     {"GET", "/v1/quotes/x", 1},
      {"DELETE", "/exact", 5},       {"GET", "/exact/more", 0},     {"GET", "/", 0},
      {"GET", "/user/7/posts", 6},   {"GET", "/user/7/posts/8", 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.method) + " " + c.key);
    EXPECT_EQ(table->Match(c.method, c.key), c.route);
  }
}

TEST(RouteTableTest, OnlyARouteThatNamesAPathStandsBeforeABuiltInOne) {
  const auto table = RouteTable::Make({"/*", "GET /healthz", "/a/:b"});
  EXPECT_FALSE(table->NamesOnePath(0));
  EXPECT_TRUE(table->NamesOnePath(1));
  EXPECT_FALSE(table->NamesOnePath(2));
}

TEST(RouteTableTest, ATieIsAConfigurationError) {
  EXPECT_FALSE(RouteTable::Make({"/a/*", "/A/*"}).has_value());
  EXPECT_FALSE(RouteTable::Make({"GET /a/:x/b", "/a/[y]/b", "GET /a/*/b"}).has_value());
  EXPECT_FALSE(RouteTable::Make({"/a", "POST /a", "/a/"}).has_value());
  EXPECT_TRUE(RouteTable::Make({"GET /a", "POST /a", "/a"}).has_value());
}

TEST(RouteTableTest, BadPatternsAreNamed) {
  for (const char* bad : {"", "a", "get /a", "GET", "GET a", "/a*b", "/a//b", "/a?x", "/%zz"}) {
    EXPECT_FALSE(ParsePattern(bad).has_value()) << bad;
  }
}

TEST(RouteTableTest, NobodysPathIsNobodys) {
  const auto table = RouteTable::Make({"GET /a"});
  EXPECT_FALSE(table->Match("GET", "/b").has_value());
  EXPECT_FALSE(table->Match("POST", "/a").has_value());
  EXPECT_EQ(table->Allowed("/a"), "GET, HEAD");
  EXPECT_EQ(table->Allowed("/b"), "");
}

TEST(PriceTest, ExactOrRefused) {
  EXPECT_EQ(AtomicUnits(Money::Micros(1000), 6)->ToDecimal(), "1000");
  EXPECT_EQ(AtomicUnits(Money::Micros(1000), 18)->ToDecimal(), "1000000000000000");
  EXPECT_EQ(AtomicUnits(Money::Micros(10'000), 2)->ToDecimal(), "1");
  EXPECT_FALSE(AtomicUnits(Money::Micros(1000), 2).has_value());
  EXPECT_FALSE(AtomicUnits(Money::Zero(), 6).has_value());
}

}  // namespace
}  // namespace pontage::catalog
