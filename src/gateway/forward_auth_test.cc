#include "gateway/forward_auth.h"

#include <gtest/gtest.h>

#include "testing/expect.h"

namespace pontage::gateway {
namespace {

using testing::FailsWith;

constexpr const char* kProxy = "10.0.0.9";
constexpr const char* kStranger = "192.0.2.7";
using Fields = std::vector<std::pair<const char*, const char*>>;

net::RequestHead Head(const char* peer, const char* method, const Fields& fields) {
  net::RequestHead head;
  head.method = method;
  head.peer_address = peer;
  for (const auto& [name, value] : fields) head.headers.Add(name, value);
  return head;
}

TrustedProxies Trusted() { return *TrustedProxies::Make({"10.0.0.0/8"}); }

// "METHOD key?query", or what was wrong with it.
std::string Read(const char* peer, const char* method, const char* target, const Fields& fields) {
  const auto question = ReadQuestion(Head(peer, method, fields), target, Trusted());
  if (!question) return "bad: " + question.error().detail();
  return question->method + " " + question->target.key + question->target.query;
}

TEST(ForwardAuthTest, TheOriginalRequest) {
  const struct {
    const char* peer;
    const char* method;
    const char* target;
    Fields fields;
    const char* want;
  } cases[] = {
      // nginx
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-URI", "/a?x=1"}, {"X-Original-Method", "POST"}},
       "POST /a?x=1"},
      // ingress-nginx: the whole URL
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-URL", "https://shop.example/a?x=1"}, {"X-Original-Method", "GET"}},
       "GET /a?x=1"},
      {kProxy, "GET", "/forward-auth", {{"X-Original-URL", "https://shop.example"}}, " /"},
      // Traefik, Caddy
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Forwarded-Uri", "/a"}, {"X-Forwarded-Method", "DELETE"}},
       "DELETE /a"},
      // Envoy
      {kProxy, "PATCH", "/forward-auth/a?x=1", {}, "PATCH /a?x=1"},
      {kStranger, "PATCH", "/forward-auth/a?x=1", {}, "PATCH /a?x=1"},
      {kProxy, "GET", "/forward-auth/", {}, "GET /"},
      // The method is not said: it may be any.
      {kProxy, "GET", "/forward-auth", {{"X-Original-URI", "/a"}}, " /a"},
      // A stranger's word is none.
      {kStranger, "GET", "/forward-auth/a", {{"X-Original-URI", "/b"}}, "GET /a"},
      {kStranger, "GET", "/forward-auth/a", {{"X-Forwarded-Method", "HEAD"}}, "GET /a"},
      {kStranger,
       "GET",
       "/forward-auth",
       {{"X-Original-URI", "/a"}},
       "bad: the original request is not named: 192.0.2.7 is not among trusted_proxies"},
      // Nothing was said.
      {kProxy, "GET", "/forward-auth", {}, "bad: the original request is not named"},
      {kProxy, "GET", "/forward-auth?x=1", {}, "bad: the original request is not named"},
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-Method", "GET"}},
       "bad: the original request is not named"},
      // A client added the pair that its proxy does not use.
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Forwarded-Uri", "/paid"}, {"X-Forwarded-Method", "GET"}, {"X-Original-URI", "/free"}},
       "bad: the original path is named twice, and not the same"},
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-URI", "/paid"}, {"X-Original-Method", "POST"}, {"X-Forwarded-Method", "GET"}},
       "bad: the original method is named twice, and not the same"},
      {kProxy,
       "GET",
       "/forward-auth/paid",
       {{"X-Original-URI", "/free"}},
       "bad: the original path is named twice, and not the same"},
      {kProxy,
       "POST",
       "/forward-auth/paid",
       {{"X-Original-Method", "GET"}},
       "bad: the original method is named twice, and not the same"},
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-URI", "/a"}, {"X-Original-URI", "/a"}},
       "bad: X-Original-URI stands there more than once"},
      {kProxy,
       "GET",
       "/forward-auth/a?x=1",
       {{"X-Original-URI", "/a?x=2"}},
       "bad: the original path is named twice, and not the same"},
      // The same, said twice or in another spelling.
      {kProxy,
       "GET",
       "/forward-auth/a",
       {{"X-Original-URI", "/A/"}, {"X-Original-Method", "GET"}},
       "GET /a"},
      // What no request line could hold.
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-URI", "/a?b=\xff"}},
       "bad: the original path has characters that must be escaped"},
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-URI", "/a b"}},
       "bad: the original path has characters that must be escaped"},
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-URI", "/a"}, {"X-Original-Method", "G T"}},
       "bad: the original method is none"},
      // No path.
      {kProxy, "GET", "/forward-auth", {{"X-Original-URI", "a"}}, "bad: the target is no path"},
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-URI", "http://host\\a"}},
       "bad: the target is no path"},
      {kProxy,
       "GET",
       "/forward-auth",
       {{"X-Original-URI", "/%00"}},
       "bad: a control character in the path"},
      // What climbs out of the prefix is no request for something else.
      {kProxy, "GET", "/forward-auth/../healthz", {}, "bad: the path climbs above its root"},
      {kProxy, "GET", "/forward-auth/a/../../x", {}, "bad: the path climbs above its root"},
      {kProxy, "GET", "//forward-auth/a", {}, "GET /a"},
      {kProxy, "GET", "/Forward-Auth", {{"X-Original-URI", "/a"}}, " /a"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(Read(c.peer, c.method, c.target, c.fields), c.want) << c.target;
  }
}

// The proxy sends on what the client wrote, so what two servers could read differently is not
// judged.
TEST(ForwardAuthTest, OnlyPathsWithOneReadingAreJudged) {
  for (const char* one : {"/", "/a", "/A/b/", "/a%20b", "/%61", "/caf%c3%a9", "/a;x=1", "/a?b=../c",
                          "/a%2Fb", "/a,b|c", "/~a%7E"}) {
    EXPECT_EQ(Read(kProxy, "GET", "/forward-auth", {{"X-Original-URI", one}}).substr(0, 2), " /")
        << one;
  }
  for (const char* two : {"/paid/x/../../free/y", "/paid/%2e%2e/free", "/paid/x/..;/..;/free/y",
                          "/./a", "/a/.", "/a//b", "//a", "/a\\..\\b", "/a\\b", "/;x/a"}) {
    EXPECT_EQ(Read(kProxy, "GET", "/forward-auth", {{"X-Original-URI", two}}),
              "bad: the path can be read in more than one way")
        << two;
  }
}

TEST(ForwardAuthTest, WhatIsAQuestion) {
  const struct {
    const char* target;
    bool want;
  } cases[] = {
      {"/forward-auth", true},          {"/forward-auth/", true},   {"/forward-auth/a", true},
      {"/forward-auth?deny=403", true}, {"/FORWARD-AUTH/a", true},  {"/forward-auth/../a", true},
      {"/forward-authority", false},    {"/a/forward-auth", false}, {"/", false},
  };
  for (const auto& c : cases) {
    const auto target = catalog::Canonicalize(c.target);
    ASSERT_TRUE(target.has_value()) << c.target;
    EXPECT_EQ(AsksForwardAuth(c.target, *target), c.want) << c.target;
  }
}

TEST(ForwardAuthTest, DenyIsOurs) {
  const struct {
    const char* target;
    const char* left;
    bool deny;
  } cases[] = {
      {"/forward-auth", "/forward-auth", false},
      {"/forward-auth?deny=403", "/forward-auth", true},
      {"/forward-auth/a?x=1&deny=403&y=2", "/forward-auth/a?x=1&y=2", true},
      {"/forward-auth/a?deny=403&y=2", "/forward-auth/a?y=2", true},
      {"/forward-auth/a?denyx=1", "/forward-auth/a?denyx=1", false},
      {"/forward-auth/a?deny=all&deny", "/forward-auth/a?deny=all&deny", false},
      {"/forward-auth/a?", "/forward-auth/a", false},
  };
  for (const auto& c : cases) {
    std::string target = c.target;
    const auto deny = TakeDeny(target);
    ASSERT_TRUE(deny.has_value()) << c.target;
    EXPECT_EQ(*deny, c.deny) << c.target;
    EXPECT_EQ(target, c.left);
  }
  for (const char* bad : {"/forward-auth?deny=402", "/forward-auth?deny", "/forward-auth?deny="}) {
    std::string target = bad;
    EXPECT_THAT(TakeDeny(target), FailsWith(Code::kBadRequest)) << bad;
  }
}

TEST(ForwardAuthTest, OfWhatIsNotSaidTheDearest) {
  Site site;
  const struct {
    const char* match;
    const char* price;  // nullptr: free
  } routes[] = {{"GET /a", nullptr}, {"POST /a", "$0.002"}, {"DELETE /a", "$0.001"},
                {"/b/*", nullptr},   {"/b/x/paid", "$1"},   {"GET /c", nullptr},
                {"/d/*", "$1"},      {"/d/help", nullptr}};
  std::vector<std::string> matches;
  for (const auto& r : routes) {
    matches.emplace_back(r.match);
    catalog::Route route;
    route.match = r.match;
    route.free = r.price == nullptr;
    if (r.price != nullptr) route.price = *ParseMoney(r.price);
    site.routes.push_back(route);
  }
  site.table = *catalog::RouteTable::Make(matches);
  const auto match = [&site](const char* method, const char* path) -> std::string {
    Question question;
    question.method = method;
    question.target = *catalog::Canonicalize(path);
    const auto index = RouteOfQuestion(site, question);
    return index ? site.routes[*index].match : "none";
  };
  EXPECT_EQ(match("GET", "/a"), "GET /a");
  EXPECT_EQ(match("HEAD", "/a"), "GET /a");
  EXPECT_EQ(match("PUT", "/a"), "none");
  EXPECT_EQ(match("", "/a"), "POST /a");
  EXPECT_EQ(match("", "/c"), "GET /c");
  EXPECT_EQ(match("GET", "/b/x"), "/b/*");
  EXPECT_EQ(match("GET", "/b/x%2fpaid"), "/b/x/paid");
  EXPECT_EQ(match("", "/b/x%2fpaid"), "/b/x/paid");
  EXPECT_EQ(match("GET", "/d/help"), "/d/help");
  EXPECT_EQ(match("GET", "/d/help;what"), "/d/*") << "to some servers that is another text";
  EXPECT_EQ(match("", "/e"), "none");
}

}  // namespace
}  // namespace pontage::gateway
