#include "net/http1.h"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pontage::net::http1 {
namespace {

using namespace std::string_view_literals;

// What the whole of `bytes` is taken for, as a server reads it.
Parsed<Request> Read(std::string_view bytes, HeadLimits limits = {}) {
  HeadScanner scanner(limits);
  const Parsed<size_t> size = scanner.Scan(bytes);
  if (!size) return std::unexpected(size.error());
  if (*size == 0) return std::unexpected(Refusal{0, "incomplete"});
  return ParseRequest(bytes.substr(0, *size), limits);
}

struct Shape {
  std::string_view name;
  std::string_view bytes;
  int status;
};

// What two readers could take for two different messages, by the names it goes by.
TEST(Http1RequestTest, SmugglingShapesAreRefused) {
  static constexpr Shape kShapes[] = {
      {"content length and chunked",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"sv,
       400},
      {"chunked and content length",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"sv,
       400},
      {"two content lengths",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"sv, 400},
      {"the same content length twice",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"sv, 400},
      {"content length list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n"sv, 400},
      {"content length with plus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n"sv,
       400},
      {"content length with minus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\n"sv,
       400},
      {"content length in hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n"sv, 400},
      {"content length in octal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\n\r\n"sv,
       400},
      {"content length with a space", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\n"sv,
       400},
      {"empty content length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"sv, 400},
      {"content length of 20 digits",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n"sv, 413},
      {"xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"sv, 501},
      {"identity, chunked",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n"sv, 501},
      {"gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"sv,
       501},
      {"chunked, chunked",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"sv, 501},
      {"chunked twice",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
       "chunked\r\n\r\n"sv,
       400},
      {"chunked with a vertical tab",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b"
       "chunked\r\n\r\n"sv,
       400},
      {"quoted chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n"sv,
       501},
      {"empty transfer encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"sv,
       501},
      {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"sv,
       400},
      {"folded header", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"sv, 400},
      {"folded by a tab", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n"sv, 400},
      {"first header folded", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"sv, 400},
      {"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n"sv, 400},
      {"bare LF after a header", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"sv, 400},
      {"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\nX"sv, 400},
      {"LF LF", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\n\n"sv, 400},
      {"bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"sv, 400},
      {"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\r\n\r\n"sv, 400},
      {"bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0002\r\n\r\n"sv, 400},
      {"NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\000: 1\r\n\r\n"sv, 400},
      {"NUL in the target", "GET /\000 HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"sv, 400},
      {"escape in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[0m\r\n\r\n"sv, 400},
      {"space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"sv, 400},
      {"tab before the colon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"sv, 400},
      {"empty name", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"sv, 400},
      {"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"sv, 400},
      {"name with a bracket", "GET / HTTP/1.1\r\nHost: a\r\nX(: 1\r\n\r\n"sv, 400},
      {"name with a high byte", "GET / HTTP/1.1\r\nHost: a\r\nX\xe9: 1\r\n\r\n"sv, 400},
      {"no Host", "GET / HTTP/1.1\r\n\r\n"sv, 400},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"sv, 400},
      {"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"sv, 400},
      {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"sv, 400},
      {"list in Host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"sv, 400},
      {"user in Host", "GET / HTTP/1.1\r\nHost: b@a\r\n\r\n"sv, 400},
      {"path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"sv, 400},
      {"port that is none in Host", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n"sv, 400},
      {"two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"two spaces after the target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"space after the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"sv, 400},
      {"space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"no version", "GET /\r\nHost: a\r\n\r\n"sv, 400},
      {"small letters in the version", "GET / http/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"version of three parts", "GET / HTTP/1.1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"sv, 505},
      {"HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n"sv, 505},
      {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"sv, 505},
      {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"sv, 505},
      {"method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"get", "get / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"Post", "Post / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"patcH", "patcH / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"connect", "connect a:1 HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"no method", " / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"high byte in the target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"star for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"sv, 501},
      {"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 501},
      {"absolute form of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"absolute form with a user", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"absolute form without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"absolute form with two ports", "GET http://a:1:2/ HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
      {"two expectations",
       "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n"sv, 417},
      {"another expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n"sv, 417},
      {"a TLS hello", "\x16\x03\x01\x02\x00\x01"sv, 400},
  };
  for (const Shape& shape : kShapes) {
    const Parsed<Request> request = Read(shape.bytes);
    ASSERT_FALSE(request) << shape.name;
    EXPECT_EQ(request.error().status, shape.status) << shape.name << ": " << request.error().why;
  }
}

TEST(Http1RequestTest, WhatIsPlainIsTaken) {
  const auto request = Read(
      "POST /a?b=%20|{} HTTP/1.1\r\nhost: shop.example:8080\r\nX-Empty:\r\nX-Wide: \t v \t\r\n"
      "X-Obs: \xe9\r\nContent-Length: 12\r\n\r\nbody");
  ASSERT_TRUE(request) << request.error().why;
  EXPECT_EQ(request->head.method, "POST");
  EXPECT_EQ(request->head.target, "/a?b=%20|{}");
  EXPECT_EQ(request->head.minor_version, 1);
  EXPECT_EQ(request->head.headers.Get("HOST"), "shop.example:8080");
  EXPECT_EQ(request->head.headers.Get("x-empty"), "");
  EXPECT_EQ(request->head.headers.Get("x-wide"), "v");
  EXPECT_EQ(request->head.headers.Get("x-obs"), "\xe9");
  EXPECT_EQ(request->framing, Framing::kLength);
  EXPECT_EQ(request->length, 12U);
  EXPECT_TRUE(request->keep_alive);
}

TEST(Http1RequestTest, HowLongItLives) {
  const struct {
    std::string_view bytes;
    bool keep_alive;
  } cases[] = {
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, CLOSE\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: y ,close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
  };
  for (const auto& c : cases) {
    const auto request = Read(c.bytes);
    ASSERT_TRUE(request) << c.bytes << request.error().why;
    EXPECT_EQ(request->keep_alive, c.keep_alive) << c.bytes;
  }
}

TEST(Http1RequestTest, AnAbsoluteFormIsSplitAndReplacesHost) {
  const struct {
    std::string_view line, target, host;
  } cases[] = {
      {"GET http://b.example/x?y HTTP/1.1", "/x?y", "b.example"},
      {"GET HTTP://b.example:81 HTTP/1.1", "/", "b.example:81"},
      {"GET https://[::1]:81?q HTTP/1.1", "/?q", "[::1]:81"},
      {"OPTIONS http://b.example HTTP/1.1", "*", "b.example"},
      {"OPTIONS * HTTP/1.1", "*", "a"},
  };
  for (const auto& c : cases) {
    const auto request = Read(std::string(c.line) + "\r\nHost: a\r\n\r\n");
    ASSERT_TRUE(request) << c.line << request.error().why;
    EXPECT_EQ(request->head.target, c.target);
    EXPECT_EQ(request->head.headers.Get("host"), c.host);
    EXPECT_EQ(request->head.headers.Count("host"), 1U);
  }
}

TEST(Http1RequestTest, HeadsAreBounded) {
  const HeadLimits limits{.bytes = 100, .fields = 3};
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
  EXPECT_TRUE(Read(start + "A: 1\r\nB: 2\r\n\r\n", limits));
  EXPECT_EQ(Read(start + "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", limits).error().status, 431);
  EXPECT_EQ(Read(start + "A: " + std::string(100, 'x') + "\r\n\r\n", limits).error().status, 431);
  // Said as soon as it is certain, whole or not.
  EXPECT_EQ(Read("GET /" + std::string(95, 'x'), limits).error().status, 431);
  EXPECT_EQ(Read("GET /" + std::string(90, 'x'), limits).error().status, 0);
  std::string exact = start + "A: " + std::string(100 - start.size() - 7, 'x') + "\r\n\r\n";
  ASSERT_EQ(exact.size(), 100U);
  EXPECT_TRUE(Read(exact, limits));
}

TEST(Http1RequestTest, NoPrefixIsAnotherHead) {
  const std::string_view whole =
      "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nX: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
  const size_t head = whole.find("\r\n\r\n") + 4;
  for (size_t size = 0; size < head; ++size) {
    const auto part = Read(whole.substr(0, size));
    ASSERT_FALSE(part) << size;
    EXPECT_EQ(part.error().status, 0) << size;
  }
}

Parsed<Response> Answer(std::string_view bytes, bool to_head = false) {
  HeadScanner scanner({});
  const Parsed<size_t> size = scanner.Scan(bytes);
  if (!size) return std::unexpected(size.error());
  if (*size == 0) return std::unexpected(Refusal{0, "incomplete"});
  return ParseResponse(bytes.substr(0, *size), {}, to_head);
}

TEST(Http1ResponseTest, ShapesThatAreRefused) {
  static constexpr Shape kShapes[] = {
      {"length and chunked",
       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400},
      {"signed length", "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n", 400},
      {"unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"folded", "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", 400},
      {"bare LF", "HTTP/1.1 200 OK\nX: 1\n\n", 400},
      {"bare CR", "HTTP/1.1 200 OK\r\nX: 1\r2\r\n\r\n", 400},
      {"space before the colon", "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", 400},
      {"two digits", "HTTP/1.1 20 OK\r\n\r\n", 502},
      {"four digits", "HTTP/1.1 2000 OK\r\n\r\n", 502},
      {"below 100", "HTTP/1.1 099 OK\r\n\r\n", 502},
      {"signed status", "HTTP/1.1 +20 OK\r\n\r\n", 502},
      {"two spaces", "HTTP/1.1  200 OK\r\n\r\n", 502},
      {"HTTP/2", "HTTP/2 200 OK\r\n\r\n", 502},
      {"ICY", "ICY 200 OK\r\n\r\n", 502},
      {"escape in the phrase", "HTTP/1.1 200 \x1b[1m\r\n\r\n", 502},
  };
  for (const Shape& shape : kShapes) {
    const auto answer = Answer(shape.bytes);
    ASSERT_FALSE(answer) << shape.name;
    EXPECT_EQ(answer.error().status, shape.status) << shape.name << ": " << answer.error().why;
  }
}

TEST(Http1ResponseTest, HowTheBodyEnds) {
  const struct {
    std::string_view bytes;
    bool to_head;
    Framing framing;
    bool keep_alive;
  } cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false, Framing::kLength, true},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, Framing::kNone, true},
      {"HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", false, Framing::kChunked, true},
      {"HTTP/1.1 200 \r\n\r\n", false, Framing::kUntilClose, false},
      {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", false, Framing::kLength, false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, Framing::kNone, true},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, Framing::kNone, true},
      {"HTTP/1.1 204 No Content\r\n\r\n", false, Framing::kNone, true},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, Framing::kNone, true},
      {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", false, Framing::kNone, true},
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", false, Framing::kLength,
       false},
  };
  for (const auto& c : cases) {
    const auto answer = Answer(c.bytes, c.to_head);
    ASSERT_TRUE(answer) << c.bytes << answer.error().why;
    EXPECT_EQ(answer->framing, c.framing) << c.bytes;
    EXPECT_EQ(answer->keep_alive, c.keep_alive) << c.bytes;
  }
}

// The decoded body, and what follows it; or the refusal.
struct Decoded {
  std::string body;
  std::string trailer;
  size_t consumed = 0;
  bool done = false;
  int refused = 0;
};
Decoded Decode(std::string_view bytes) {
  ChunkDecoder decoder(64, 100);
  Decoded result;
  while (!decoder.done()) {
    const auto piece = decoder.Next(bytes.substr(result.consumed));
    if (!piece) {
      result.refused = piece.error().status;
      return result;
    }
    result.consumed += piece->consumed;
    result.body += piece->data;
    if (piece->consumed == 0 || (piece->data.empty() && !decoder.done())) break;
  }
  result.done = decoder.done();
  for (size_t i = 0; i < decoder.trailers().size(); ++i) {
    const Headers::Field field = decoder.trailers().at(i);
    result.trailer.append(field.name).append("=").append(field.value).append(";");
  }
  return result;
}

TEST(ChunkDecoderTest, Table) {
  const struct {
    std::string_view name, bytes, body, trailer;
    bool done;
    int refused;
  } cases[] = {
      {"one chunk", "3\r\nabc\r\n0\r\n\r\nrest"sv, "abc", "", true, 0},
      {"hex in both cases", "a\r\n0123456789\r\nB\r\n0123456789x\r\n0\r\n\r\n"sv,
       "01234567890123456789x", "", true, 0},
      {"leading zeros", "0003\r\nabc\r\n00\r\n\r\n"sv, "abc", "", true, 0},
      {"trailers", "0\r\nA: 1\r\nB:2\r\n\r\n"sv, "", "A=1;B=2;", true, 0},
      {"not yet whole", "3\r\nab"sv, "ab", "", false, 0},
      {"extension", "3;a=b\r\nabc\r\n0\r\n\r\n"sv, "", "", false, 400},
      {"extension with a LF", "3;a\nabc\r\n0\r\n\r\n"sv, "", "", false, 400},
      {"space after the size", "3 \r\nabc\r\n"sv, "", "", false, 400},
      {"space before the size", " 3\r\nabc\r\n"sv, "", "", false, 400},
      {"no size", "\r\nabc\r\n"sv, "", "", false, 400},
      {"signed size", "+3\r\nabc\r\n"sv, "", "", false, 400},
      {"prefixed size", "0x3\r\nabc\r\n"sv, "", "", false, 400},
      {"size that wraps", "10000000000000003\r\nabc\r\n"sv, "", "", false, 400},
      {"bare LF after the size", "3\nabc\r\n"sv, "", "", false, 400},
      {"bare CR after the size", "3\rabc\r\n"sv, "", "", false, 400},
      {"data longer than its size", "3\r\nabcd\r\n"sv, "abc", "", false, 400},
      {"bare LF after the data", "3\r\nabc\n"sv, "abc", "", false, 400},
      {"bare LF in a trailer", "0\r\nA: 1\n\r\n"sv, "", "", false, 400},
      {"folded trailer", "0\r\nA: 1\r\n 2\r\n\r\n"sv, "", "", false, 400},
      {"framing in a trailer", "0\r\nContent-Length: 3\r\n\r\n"sv, "", "", false, 400},
      {"NUL in a trailer", "0\r\nA: \0\r\n\r\n"sv, "", "", false, 400},
  };
  for (const auto& c : cases) {
    const Decoded got = Decode(c.bytes);
    EXPECT_EQ(got.refused, c.refused) << c.name;
    EXPECT_EQ(got.body, c.body) << c.name;
    EXPECT_EQ(got.done, c.done) << c.name;
    if (c.refused == 0) EXPECT_EQ(got.trailer, c.trailer) << c.name;
  }
  EXPECT_EQ(Decode("0\r\nA: " + std::string(200, 'x') + "\r\n\r\n").refused, 431);
  EXPECT_EQ(Decode(std::string(65, '0')).refused, 400);
}

TEST(Http1WriteTest, AHeadThatWouldSplitIsNotWritten) {
  ResponseHead head;
  head.status = 302;
  head.headers.Add("Location", "/a\r\nSet-Cookie: x");
  std::string out = "before";
  EXPECT_FALSE(WriteResponse(head, {}, out));
  EXPECT_EQ(out, "before");
  head.headers.Set("Location", "/a");
  EXPECT_TRUE(WriteResponse(head, {.length = 0, .connection = "close"}, out));
  EXPECT_EQ(out,
            "beforeHTTP/1.1 302 Found\r\nLocation: /a\r\nConnection: close\r\n"
            "Content-Length: 0\r\n\r\n");

  RequestHead request;
  request.method = "GET";
  for (const std::string_view bad : {"", "/a b", "/a\r\nX: y", "/\x80"}) {
    request.target = bad;
    EXPECT_FALSE(WriteRequest(request, "a", {}, out)) << bad;
  }
  request.target = "/";
  EXPECT_FALSE(WriteRequest(request, "a\r\nX: y", {}, out));
}

TEST(HopByHopTest, WhatConnectionNamesGoesToo) {
  Headers headers;
  for (const auto& [name, value] :
       std::initializer_list<Headers::Field>{{"Connection", "keep-alive, X-Secret"},
                                             {"connection", "x-other"},
                                             {"X-Secret", "1"},
                                             {"X-Other", "2"},
                                             {"Keep-Alive", "3"},
                                             {"TE", "trailers"},
                                             {"Upgrade", "h2c"},
                                             {"Content-Length", "4"},
                                             {"Stays", "5"}}) {
    headers.Add(name, value);
  }
  RemoveHopByHop(headers);
  ASSERT_EQ(headers.size(), 1U);
  EXPECT_EQ(headers.at(0).name, "Stays");
}

// Both look at several bytes at once; the rule is one of each byte.
TEST(Http1TextTest, EveryByteIsJudgedWhereverItStands) {
  const std::string_view marks = "!#$%&'*+-.^_`|~";
  for (size_t size = 1; size <= 19; ++size) {
    for (size_t at = 0; at < size; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string text(size, 'a');
        text[at] = static_cast<char>(byte);
        const bool letter = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                            (byte >= 'a' && byte <= 'z');
        ASSERT_EQ(IsToken(text), letter || marks.contains(text[at])) << size << ' ' << byte;
        ASSERT_EQ(IsFieldValue(text), (byte >= 0x20 && byte != 0x7f) || byte == '\t')
            << size << ' ' << byte;
        // A tab beside it makes nothing else good.
        text[(at + 1) % size] = '\t';
        const bool last = size == 1 || (byte >= 0x20 && byte != 0x7f) || byte == '\t';
        ASSERT_EQ(IsFieldValue(text), last) << size << ' ' << byte;
      }
    }
  }
  EXPECT_FALSE(IsToken(""));
  EXPECT_TRUE(IsFieldValue(""));
}

TEST(Http1TextTest, OnlyTheCaseOfLettersIsForgiven) {
  const auto lower = [](int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; };
  for (const size_t size : std::array<size_t, 6>{1, 7, 8, 9, 16, 19}) {
    for (size_t at = 0; at < size; ++at) {
      std::string a(size, 'k');
      std::string b(size, 'K');
      for (int x = 0; x < 256; ++x) {
        // What a case bit, a near miss of it, or nothing sets apart.
        for (const int y : {x, x ^ 0x20, x ^ 0x60, x ^ 1, x ^ 0xa0, int{'k'}}) {
          a[at] = static_cast<char>(x);
          b[at] = static_cast<char>(y);
          ASSERT_EQ(EqualsNoCase(a, b), lower(x) == lower(y)) << size << ' ' << x << ' ' << y;
        }
      }
    }
  }
}

}  // namespace
}  // namespace pontage::net::http1
