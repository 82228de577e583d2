#include "net/http2_head.h"

#include <gtest/gtest.h>

namespace pontage::net::http2 {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs Good() {
  return {{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/x?y"}};
}

Pairs With(std::pair<std::string, std::string> more) {
  Pairs pairs = Good();
  pairs.push_back(std::move(more));
  return pairs;
}

Pairs Replaced(const std::string& name, const std::string& value) {
  Pairs pairs = Good();
  for (auto& [key, old] : pairs) {
    if (key == name) old = value;
  }
  return pairs;
}

Pairs Without(const std::string& name) {
  Pairs pairs = Good();
  std::erase_if(pairs, [&name](const auto& pair) { return pair.first == name; });
  return pairs;
}

Parsed<http1::Request> Build(const Pairs& pairs, bool body = false) {
  HeadBuilder builder(HeadBuilder::Kind::kRequest, {.bytes = 1000, .fields = 8});
  for (const auto& [name, value] : pairs) builder.Add(name, value);
  return builder.Request(body);
}

// The same cases as of HTTP/1's heads, and those that only HTTP/2 can have.
TEST(Http2HeadTest, WhatIsNoRequestIsRefused) {
  const struct {
    const char* what;
    Pairs pairs;
    int status;
  } cases[] = {
      {"no method", Without(":method"), 400},
      {"no scheme", Without(":scheme"), 400},
      {"no path", Without(":path"), 400},
      {"no authority", Without(":authority"), 400},
      {"empty method", Replaced(":method", ""), 400},
      {"method with a space", Replaced(":method", "GET /x"), 400},
      {"a method in small letters", Replaced(":method", "get"), 400},
      {"a method in both", Replaced(":method", "Delete"), 400},
      {"CONNECT", Replaced(":method", "CONNECT"), 501},
      {"TRACE", Replaced(":method", "TRACE"), 501},
      {"another scheme", Replaced(":scheme", "ftp"), 400},
      {"empty authority", Replaced(":authority", ""), 400},
      {"authority with user info", Replaced(":authority", "u@a"), 400},
      {"authority with a path", Replaced(":authority", "a/b"), 400},
      {"authority with CR LF", Replaced(":authority", "a\r\nx: y"), 400},
      {"empty path", Replaced(":path", ""), 400},
      {"relative path", Replaced(":path", "x"), 400},
      {"absolute form", Replaced(":path", "http://b/x"), 400},
      {"path with a space", Replaced(":path", "/x y"), 400},
      {"path with CR LF", Replaced(":path", "/x\r\ny"), 400},
      {"path with NUL", Replaced(":path", std::string("/x\0y", 4)), 400},
      {"path with a fragment", Replaced(":path", "/x#y"), 400},
      {"path beyond ASCII", Replaced(":path", "/\xc3\xa4"), 400},
      {"asterisk without OPTIONS", Replaced(":path", "*"), 400},
      {"a pseudo-header twice", With({":path", "/x"}), 400},
      {"an unknown pseudo-header", With({":protocol", "websocket"}), 400},
      {"upper case", With({"X-A", "1"}), 400},
      {"an empty name", With({"", "1"}), 400},
      {"a name with a space", With({"x a", "1"}), 400},
      {"a name with a colon", With({"x:a", "1"}), 400},
      {"CR in a value", With({"x-a", "1\rx"}), 400},
      {"LF in a value", With({"x-a", "1\nx"}), 400},
      {"NUL in a value", With({"x-a", std::string("1\0", 2)}), 400},
      {"a blank before a value", With({"x-a", " 1"}), 400},
      {"a blank behind a value", With({"x-a", "1\t"}), 400},
      {"connection", With({"connection", "x-a"}), 400},
      {"keep-alive", With({"keep-alive", "1"}), 400},
      {"proxy-connection", With({"proxy-connection", "close"}), 400},
      {"transfer-encoding", With({"transfer-encoding", "chunked"}), 400},
      {"upgrade", With({"upgrade", "websocket"}), 400},
      {"te", With({"te", "trailers, gzip"}), 400},
      {"another host", With({"host", "b"}), 400},
      {"a length without a body", With({"content-length", "1"}), 400},
      {"a length with a sign", With({"content-length", "+1"}), 400},
      {"a length beyond all bounds", With({"content-length", "1234567890123456789"}), 413},
      {"an expectation", With({"expect", "miracles"}), 417},
      {"too much", With({"x-a", std::string(1000, 'x')}), 431},
  };
  for (const auto& c : cases) {
    const auto built = Build(c.pairs);
    ASSERT_FALSE(built) << c.what;
    EXPECT_EQ(built.error().status, c.status) << c.what << ": " << built.error().why;
  }
  Pairs behind = Without(":path");
  behind.emplace_back("x-a", "1");
  behind.emplace_back(":path", "/x");
  EXPECT_FALSE(Build(behind));
  Pairs twice = With({"content-length", "0"});
  twice.emplace_back("content-length", "0");
  EXPECT_FALSE(Build(twice));
  Pairs many = Good();
  for (int i = 0; i < 9; ++i) many.emplace_back("x-" + std::to_string(i), "");
  EXPECT_EQ(Build(many).error().status, 431);
}

TEST(Http2HeadTest, ARequestIsTheOneThatHttp1WouldHaveMade) {
  const auto plain = Build(With({"x-a", "1"}));
  ASSERT_TRUE(plain) << plain.error().why;
  EXPECT_EQ(plain->head.method, "GET");
  EXPECT_EQ(plain->head.target, "/x?y");
  EXPECT_EQ(plain->head.minor_version, 1);
  EXPECT_EQ(plain->head.headers.Get("Host"), "a");
  EXPECT_EQ(plain->head.headers.Get("X-A"), "1");
  EXPECT_EQ(plain->framing, http1::Framing::kNone);
  EXPECT_EQ(Build(Good(), true)->framing, http1::Framing::kChunked);
  const auto sized = Build(With({"content-length", "7"}), true);
  EXPECT_EQ(sized->framing, http1::Framing::kLength);
  EXPECT_EQ(sized->length, 7U);
  EXPECT_EQ(Build(With({"content-length", "0"}), true)->framing, http1::Framing::kNone);
  EXPECT_TRUE(Build(With({"expect", "100-continue"}), true)->expect_continue);
  EXPECT_FALSE(Build(With({"te", "trailers"}))->head.headers.Has("te"));

  Pairs cookies = With({"cookie", "a=1"});
  cookies.emplace_back("x-a", "1");
  cookies.emplace_back("cookie", "b=2");
  EXPECT_EQ(Build(cookies)->head.headers.Get("cookie"), "a=1; b=2");
  EXPECT_EQ(Build(cookies)->head.headers.Count("cookie"), 1U);

  Pairs host = Without(":authority");
  host.emplace_back("host", "b:80");
  EXPECT_EQ(Build(host)->head.headers.Get("host"), "b:80");
  EXPECT_TRUE(Build(With({"host", "A"})));
  Pairs options = Replaced(":path", "*");
  options.front().second = "OPTIONS";
  EXPECT_EQ(Build(options)->head.target, "*");
}

TEST(Http2HeadTest, TrailersAreFieldsAndNothingElse) {
  const struct {
    std::string name, value;
    bool good;
  } cases[] = {
      {"x-sum", "1", true},       {":path", "/", false},
      {"X-Sum", "1", false},      {"x-sum", "1\r\n", false},
      {"connection", "x", false}, {"content-length", "1", false},
      {"host", "other", false},   {"x-long", std::string(300, 'x'), false},
  };
  for (const auto& c : cases) {
    HeadBuilder builder(HeadBuilder::Kind::kTrailers, {.bytes = 200, .fields = 8});
    builder.Add(c.name, c.value);
    EXPECT_EQ(builder.Trailers().has_value(), c.good) << c.name;
  }
}

}  // namespace
}  // namespace pontage::net::http2
