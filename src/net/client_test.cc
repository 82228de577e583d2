#include "net/client.h"

#include <algorithm>
#include <list>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/http_fixtures.h"

namespace pontage::net {
namespace {

using ::testing::HasSubstr;
using testing::RawPeer;

// Answers with what it got.
Task<> Echo(RequestHead& head, BodySource& body, ResponseWriter& out) {
  ResponseHead answer;
  answer.status = 200;
  answer.headers.Add("X-Method", head.method);
  answer.headers.Add("X-Target", head.target);
  PTG_CO_RUN(co_await out.Head(std::move(answer), body.length()));
  while (true) {
    PTG_CO_TRY(const std::string_view piece, co_await body.Read(Deadline::In(Clock::System(), 5s)));
    if (piece.empty()) break;
    PTG_CO_RUN(co_await out.Write(piece));
  }
  co_return co_await out.End(&body.trailers());
}

using ClientTest = testing::UpstreamFixture;
using testing::Get;

// A body that nobody knows the size of.
class Pieces final : public BodySource {
 public:
  explicit Pieces(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {}
  Task<std::string_view> Read(Deadline) override {
    if (next_ == pieces_.size()) co_return std::string_view();
    co_return std::string_view(pieces_[next_++]);
  }
  std::optional<uint64_t> length() const override { return std::nullopt; }
  bool empty() const override { return false; }
  const Headers& trailers() const override { return trailers_; }
  Headers trailers_;

 private:
  std::vector<std::string> pieces_;
  size_t next_ = 0;
};

TEST_F(ClientTest, AGetAndAPostComeBack) {
  Server server(loop_, {}, Echo);
  ASSERT_TRUE(server.Listen("127.0.0.1:0"));
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    for (int i = 0; i < 3; ++i) {
      RequestHead head;
      head.method = "POST";
      head.target = "/a?b=" + std::to_string(i);
      PTG_CO_TRY(const Client::Whole whole,
                 co_await client.Fetch(To(server), head, "hello", 100, Soon()));
      EXPECT_EQ(whole.head.status, 200);
      EXPECT_EQ(whole.body, "hello");
      EXPECT_EQ(whole.head.headers.Get("x-target"), head.target);
    }
    RequestHead head;
    head.method = "GET";
    PTG_CO_TRY(const Client::Whole whole,
               co_await client.Fetch(To(server, "/x"), head, "", 100, Soon()));
    EXPECT_EQ(whole.body, "");
    EXPECT_EQ(whole.head.headers.Get("x-target"), "/x");
    EXPECT_EQ(server.connections(), 1U);
    co_return {};
  };
  const Result<> done = loop_.RunUntilDone(run());
  ASSERT_TRUE(done) << done.error().detail();
}

TEST_F(ClientTest, ChunksAndTrailersGoBothWays) {
  Server server(loop_, {}, Echo);
  ASSERT_TRUE(server.Listen("127.0.0.1:0"));
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    const std::string large(300'000, 'x');
    Pieces body({"one", large, "three"});
    body.trailers_.Add("X-Sum", "7");
    RequestHead head;
    head.method = "PUT";
    head.target = "/";
    const Url url = To(server);
    PTG_CO_TRY(const auto response, co_await client.Send(url, head, &body, Soon()));
    EXPECT_EQ(response->head().headers.Get("transfer-encoding"), "chunked");
    PTG_CO_TRY(const std::string text, co_await ReadAll(response->body(), 1 << 20, Soon()));
    EXPECT_EQ(text, "one" + large + "three");
    EXPECT_EQ(response->body().trailers().Get("x-sum"), "7");
    co_return {};
  };
  const Result<> done = loop_.RunUntilDone(run());
  ASSERT_TRUE(done) << done.error().detail();
}

constexpr std::string_view kHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

TEST_F(ClientTest, WhatIsSentIsOneStrictRequest) {
  std::string seen;
  Upstream([&seen](RawPeer& peer, int) -> Task<> {
    PTG_CO_TRY(seen, co_await peer.ReadUntil("hello"));
    co_return co_await peer.Send(kHello);
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    RequestHead head = Get("POST");
    head.headers.Add("Host", "somebody.else");
    head.headers.Add("Content-Length", "99");
    head.headers.Add("Connection", "close, X-Hop");
    head.headers.Add("X-Hop", "1");
    head.headers.Add("Expect", "100-continue");
    head.headers.Add("Accept", "*/*");
    const Url url = ToUpstream();
    PTG_CO_RUN(co_await client.Fetch(url, head, "hello", 100, Soon()));
    EXPECT_EQ(seen, "POST / HTTP/1.1\r\nHost: " + url.Authority() +
                        "\r\nAccept: */*\r\nContent-Length: 5\r\n\r\nhello");
    co_return {};
  };
  Run(run());
}

TEST_F(ClientTest, AHeadThatWouldSplitIsNotSent) {
  AlwaysAnswers(std::string(kHello));
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    RequestHead head = Get();
    head.target = "/ HTTP/1.1\r\nX: ";
    const auto got = co_await client.Fetch(ToUpstream(), head, "", 100, Soon());
    EXPECT_EQ(got.error().code(), Code::kInternal);
    co_return {};
  };
  Run(run());
}

TEST_F(ClientTest, AnswersThatAreNoneAreUpstreamProtocol) {
  const std::string answers[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n",
      "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n",
      "SSH-2.0-OpenSSH_9.2\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n",
  };
  for (const std::string& answer : answers) {
    AlwaysAnswers(answer);
    Client client(loop_);
    const auto run = [&]() -> Task<> {
      const auto got = co_await client.Fetch(ToUpstream(), Get(), "", 1 << 20, Soon());
      EXPECT_FALSE(got) << answer.substr(0, 100);
      if (!got) EXPECT_EQ(got.error().code(), Code::kUpstreamProtocol) << answer.substr(0, 100);
      // The connection is given up.
      const auto end = co_await peers_.back().ReadToEnd();
      EXPECT_TRUE(end.value_or("").empty());
      co_return {};
    };
    Run(run());
  }
}

TEST_F(ClientTest, BodiesEndAsTheirHeadsSay) {
  const struct {
    std::string_view method, answer, body;
    std::optional<uint64_t> length;
    bool reused;
  } cases[] = {
      {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 5, true},
      {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
       "hello", std::nullopt, true},
      {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", 5, true},
      {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", std::nullopt, true},
      {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", 5, true},
      {"GET", "HTTP/1.1 204 No Content\r\n\r\n", "", 0, true},
      {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "hello", 5,
       false},
      {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 5, false},
      // More than was announced: who knows whose that is.
      {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello", "hell", 4, false},
  };
  for (const auto& c : cases) {
    AlwaysAnswers(std::string(c.answer));
    connections_ = 0;
    Client client(loop_);
    const auto run = [&]() -> Task<> {
      for (int i = 0; i < 2; ++i) {
        const Url url = ToUpstream();
        const RequestHead head = Get(c.method);
        PTG_CO_TRY(const auto response, co_await client.Send(url, head, nullptr, Soon()));
        EXPECT_EQ(response->body().length(), c.length) << c.answer;
        PTG_CO_TRY(const std::string body, co_await ReadAll(response->body(), 100, Soon()));
        EXPECT_EQ(body, c.body) << c.answer;
      }
      EXPECT_EQ(connections_, c.reused ? 1 : 2) << c.answer;
      co_return {};
    };
    Run(run());
  }
}

TEST_F(ClientTest, ABodyUpToTheEndOfTheConnection) {
  Upstream([](RawPeer& peer, int) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    PTG_CO_RUN(co_await peer.Send("HTTP/1.1 200 OK\r\n\r\nhel"));
    PTG_CO_RUN(co_await Sleep(Millis(10)));
    PTG_CO_RUN(co_await peer.Send("lo"));
    peer.socket().Close();
    co_return {};
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    PTG_CO_TRY(const auto whole, co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon()));
    EXPECT_EQ(whole.body, "hello");
    co_return {};
  };
  Run(run());
}

class SilentBody final : public BodySource {
 public:
  Task<std::string_view> Read(Deadline by) override {
    PTG_CO_RUN(co_await never_.Wait(by));
    co_return std::string_view();
  }
  std::optional<uint64_t> length() const override { return 5; }
  bool empty() const override { return false; }
  const Headers& trailers() const override { return none_; }

 private:
  Event never_;
  Headers none_;
};

TEST_F(ClientTest, WhoIsToldNothingIsNotToBlameForNoAnswer) {
  Event go;
  Upstream([&go](RawPeer& peer, int) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    co_return co_await go.Wait(Deadline::Never());
  });
  Client client(loop_);
  const auto send = [&](BodySource& body) -> Task<> {
    RequestHead head = Get();
    head.method = "POST";
    const Url url = ToUpstream();
    const Deadline by = Deadline::In(loop_.clock(), 50ms);
    PTG_CO_RUN(co_await client.Send(url, head, &body, by));
    co_return {};
  };
  SilentBody silent;
  EXPECT_EQ(loop_.RunUntilDone(send(silent)).error().code(), Code::kTimeout);
  StringBody told("hello");
  EXPECT_EQ(loop_.RunUntilDone(send(told)).error().code(), Code::kUpstreamTimeout);
  go.Set();
}

TEST_F(ClientTest, AfterATimeOutABodyMayGoOn) {
  Event go;
  Upstream([&go](RawPeer& peer, int) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    PTG_CO_RUN(co_await peer.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5"));
    PTG_CO_RUN(co_await go.Wait(Deadline::Never()));
    PTG_CO_RUN(co_await peer.Send("\r\nhello\r\n0\r\n\r\n"));
    co_return {};
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    const Url url = ToUpstream();
    const RequestHead head = Get();
    PTG_CO_TRY(const auto response, co_await client.Send(url, head, nullptr, Soon()));
    const Deadline by = Deadline::In(loop_.clock(), 50ms);
    const auto late = co_await response->body().Read(by);
    EXPECT_EQ(late.error().code(), Code::kUpstreamTimeout);
    go.Set();
    PTG_CO_TRY(const std::string text, co_await ReadAll(response->body(), 100, Soon()));
    EXPECT_EQ(text, "hello");
    co_return {};
  };
  Run(run());
}

TEST_F(ClientTest, ABodyThatBreaksOffIsNoBody) {
  for (const std::string_view answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}) {
    Upstream([answer](RawPeer& peer, int) -> Task<> {
      PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
      PTG_CO_RUN(co_await peer.Send(answer));
      peer.socket().Close();
      co_return {};
    });
    Client client(loop_);
    const auto run = [&]() -> Task<> {
      const auto got = co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon());
      EXPECT_EQ(got.error().code(), Code::kConnection);
      co_return {};
    };
    Run(run());
  }
}

TEST_F(ClientTest, InterimAnswersAreHandedOn) {
  AlwaysAnswers("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" +
                std::string(kHello));
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    std::vector<int> seen;
    const Client::Interim interim = [&seen](const ResponseHead& head) -> Task<> {
      seen.push_back(head.status);
      co_return {};
    };
    const Url url = ToUpstream();
    const RequestHead head = Get();
    Client::SendOptions options;
    options.interim = &interim;
    PTG_CO_TRY(const auto response, co_await client.Send(url, head, nullptr, Soon(), options));
    EXPECT_EQ(response->head().status, 200);
    EXPECT_THAT(seen, ::testing::ElementsAre(100, 103));
    co_return {};
  };
  Run(run());
}

TEST_F(ClientTest, AServerThatNeverComesToThePointIsCutOff) {
  std::string endless;
  for (int i = 0; i < 100; ++i) endless += "HTTP/1.1 102 Processing\r\n\r\n";
  AlwaysAnswers(endless);
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    const auto got = co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon());
    EXPECT_EQ(got.error().code(), Code::kUpstreamProtocol);
    co_return {};
  };
  Run(run());
}

TEST_F(ClientTest, AProtocolSwitchGivesTheRawBytes) {
  Upstream([](RawPeer& peer, int) -> Task<> {
    PTG_CO_TRY(const std::string head, co_await peer.ReadUntil("\r\n\r\n"));
    EXPECT_THAT(head, HasSubstr("Upgrade: echo\r\nConnection: Upgrade\r\n"));
    PTG_CO_RUN(co_await peer.Send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhi"));
    PTG_CO_RUN(co_await peer.ReadUntil("there"));
    PTG_CO_RUN(co_await peer.Send("bye"));
    peer.socket().Close();
    co_return {};
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    RequestHead head = Get();
    head.headers.Add("Upgrade", "echo");
    const Url url = ToUpstream();
    PTG_CO_TRY(const auto response, co_await client.Send(url, head, nullptr, Soon()));
    EXPECT_EQ(response->head().status, 101);
    PTG_CO_TRY(const std::string_view hi, co_await response->body().Read(Soon()));
    EXPECT_EQ(hi, "hi");
    PTG_CO_RUN(co_await response->WriteRaw("there", Soon()));
    PTG_CO_TRY(const std::string rest, co_await ReadAll(response->body(), 100, Soon()));
    EXPECT_EQ(rest, "bye");
    co_return {};
  };
  Run(run());
}

TEST_F(ClientTest, ASwitchToAnotherProtocolThanWasAskedForIsNoAnswer) {
  const struct {
    std::string_view fields;
    bool good;
  } cases[] = {
      {"Upgrade: echo\r\n", true},
      {"Upgrade: ECHO\r\n", true},
      {"Upgrade: other\r\n", false},
      {"Upgrade: echo, other\r\n", false},
      {"", false},
      {"Upgrade: echo\r\nUpgrade: other\r\n", false},
  };
  for (const auto& c : cases) {
    AlwaysAnswers("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" +
                  std::string(c.fields) + "\r\n");
    Client client(loop_);
    const auto run = [&]() -> Task<> {
      RequestHead head = Get();
      head.headers.Add("Upgrade", "echo");
      const Url url = ToUpstream();
      const auto got = co_await client.Send(url, head, nullptr, Soon());
      EXPECT_EQ(got.has_value(), c.good) << c.fields;
      if (!got) EXPECT_EQ(got.error().code(), Code::kUpstreamProtocol) << c.fields;
      co_return {};
    };
    Run(run());
  }
}

// Nothing has gone out while the head is not passed on: the caller can still be told.
TEST_F(ClientTest, ABrokenFirstChunkBesideTheHeadIsNoAnswer) {
  const struct {
    std::string_view body;
    bool head;
  } cases[] = {
      {"ZZ\r\n", false},   {"10000000000000000\r\n", false},
      {"-1\r\n", false},   {"3;x\r\nabc", false},
      {"3\r\nabcd", true}, {"3\r\nabc\r\nZZ", true},
      {"3", true},         {"0\r\n\r\n", true},
  };
  for (const auto& c : cases) {
    AlwaysAnswers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(c.body));
    Client client(loop_);
    const auto run = [&]() -> Task<> {
      const Url url = ToUpstream();
      const RequestHead head = Get();
      const auto got = co_await client.Send(url, head, nullptr, Soon());
      EXPECT_EQ(got.has_value(), c.head) << c.body;
      if (!got) EXPECT_EQ(got.error().code(), Code::kUpstreamProtocol) << c.body;
      co_return {};
    };
    Run(run());
  }
}

TEST(UrlTest, WhatIsOneAndWhatIsNot) {
  const struct {
    std::string_view text;
    bool tls;
    std::string_view host;
    uint16_t port;
    std::string_view path, authority;
  } good[] = {
      {"http://a", false, "a", 80, "/", "a"},
      {"HTTPS://a.example/b?c=d", true, "a.example", 443, "/b?c=d", "a.example"},
      {"http://a:8080?x", false, "a", 8080, "/?x", "a:8080"},
      {"https://a:80/", true, "a", 80, "/", "a:80"},
      {"http://[::1]:81/x", false, "::1", 81, "/x", "[::1]:81"},
      {"http://[::1]", false, "::1", 80, "/", "[::1]"},
  };
  for (const auto& c : good) {
    const auto url = ParseUrl(c.text);
    ASSERT_TRUE(url) << c.text;
    EXPECT_EQ(url->tls, c.tls) << c.text;
    EXPECT_EQ(url->host, c.host) << c.text;
    EXPECT_EQ(url->port, c.port) << c.text;
    EXPECT_EQ(url->path, c.path) << c.text;
    EXPECT_EQ(url->Authority(), c.authority) << c.text;
  }
  for (const std::string_view bad :
       {"", "a", "a.example/b", "ftp://a", "http:/a", "http://", "http:///x", "http://u@a",
        "http://u:p@a/", "http://a#f", "http://a/ b", "http://a:", "http://a:0", "http://a:65536",
        "http://a:1:2", "http://[::1", "http://a\\b/", "http://a\r\n/"}) {
    EXPECT_FALSE(ParseUrl(bad)) << bad;
  }
}

}  // namespace
}  // namespace pontage::net
