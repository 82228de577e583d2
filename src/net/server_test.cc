#include "net/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/http_fixtures.h"

namespace pontage::net {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::RawPeer;
using ::testing::StartsWith;

using ServerTest = testing::ServerFixture;
using testing::Tell;
using testing::Unread;

constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr std::string_view kLast = "GET /z HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Start(Tell);
  std::string many;
  for (int i = 0; i < 200; ++i) {
    many += "POST /" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n" +
            (i % 2 == 0 ? "ab" : "cd");
  }
  const auto got = Talk(many + std::string(kLast));
  ASSERT_TRUE(got);
  size_t at = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string want = "POST /" + std::to_string(i) + " [" + (i % 2 == 0 ? "ab" : "cd") + "]";
    at = got->find(want, at);
    ASSERT_NE(at, std::string::npos) << want;
  }
  EXPECT_THAT(got->substr(at), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(got->ends_with("GET /z []"));
}

TEST_F(ServerTest, ARequestByteByByteIsTheSameRequest) {
  Start(Tell);
  const auto run = [&]() -> Task<> {
    RawPeer peer(loop_);
    PTG_CO_RUN(co_await peer.Connect(server_->port()));
    const std::string_view bytes =
        "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    for (const char byte : bytes) {
      PTG_CO_RUN(co_await peer.Send({&byte, 1}));
      PTG_CO_RUN(co_await Sleep(Millis(1)));
    }
    PTG_CO_TRY(const std::string got, co_await peer.ReadUntil("]"));
    EXPECT_THAT(got, HasSubstr("POST /b [abcd]"));
    co_return {};
  };
  Run(run());
}

TEST_F(ServerTest, ARefusalIsAProblemAndTheEnd) {
  bool called = false;
  Start([&called](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
    called = true;
    co_return co_await Tell(head, body, out);
  });
  const struct {
    std::string_view bytes, status;
  } cases[] = {
      {"GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 400 "},
      {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
      {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 "},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 "},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n",
       "HTTP/1.1 413 "},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
       "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
       "HTTP/1.1 400 "},
      {"\x16\x03\x01", "HTTP/1.1 400 "},
  };
  for (const auto& c : cases) {
    const auto got = Talk(c.bytes, true);
    ASSERT_TRUE(got) << c.bytes;
    EXPECT_THAT(*got, StartsWith(c.status));
    EXPECT_THAT(*got, HasSubstr("application/problem+json"));
    EXPECT_THAT(*got, HasSubstr("Connection: close\r\n"));
    EXPECT_THAT(*got, HasSubstr("\"code\":\""));
    EXPECT_EQ(got->find("\"code\":"), got->rfind("\"code\":")) << "more than one answer";
  }
  server_->NameRefusals([] { return std::string("req_7"); });
  EXPECT_THAT(Talk("GET\r\n\r\n", true).value_or("reset"), HasSubstr("X-Request-Id: req_7\r\n"));
  const auto large = Talk("GET / HTTP/1.1\r\nX: " + std::string(70'000, 'x'), true);
  EXPECT_THAT(large.value_or("reset"), StartsWith("HTTP/1.1 431 "));
  EXPECT_FALSE(called);
}

TEST_F(ServerTest, BrokenChunksEndTheConnection) {
  Start(Tell);
  const auto got = Talk(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
      true);
  ASSERT_TRUE(got);
  EXPECT_THAT(*got, StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(*got, HasSubstr("Connection: close\r\n"));
}

TEST_F(ServerTest, AClientThatHalfClosesIsStillAnswered) {
  Start([](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
    PTG_CO_RUN(co_await Sleep(Millis(30)));
    EXPECT_FALSE(out.client_gone());
    co_return co_await Tell(head, body, out);
  });
  const auto got = Talk(kGet, true);
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->ends_with("GET /a []")) << *got;
}

TEST_F(ServerTest, AClientThatResetsIsGone) {
  bool gone = false;
  Start([&gone](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
    PTG_CO_RUN(co_await Sleep(Millis(50)));
    gone = out.client_gone();
    co_return co_await Tell(head, body, out);
  });
  const auto run = [&]() -> Task<> {
    RawPeer peer(loop_);
    PTG_CO_RUN(co_await peer.Connect(server_->port()));
    PTG_CO_RUN(co_await peer.Send(kGet));
    PTG_CO_RUN(co_await Sleep(Millis(10)));
    peer.socket().Abort();
    PTG_CO_RUN(co_await Sleep(Millis(100)));
    EXPECT_TRUE(gone);
    EXPECT_EQ(server_->connections(), 0U);
    co_return {};
  };
  Run(run());
}

TEST_F(ServerTest, ExpectIsAnsweredWhenTheBodyIsWanted) {
  Start(Tell);
  const auto run = [&]() -> Task<> {
    RawPeer peer(loop_);
    PTG_CO_RUN(co_await peer.Connect(server_->port()));
    PTG_CO_RUN(co_await peer.Send(
        "POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
    PTG_CO_TRY(const std::string go_on, co_await peer.ReadUntil("\r\n\r\n"));
    EXPECT_EQ(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    PTG_CO_RUN(co_await peer.Send("ok"));
    PTG_CO_TRY(const std::string got, co_await peer.ReadUntil("]"));
    EXPECT_THAT(got, HasSubstr("POST /e [ok]"));
    EXPECT_THAT(got, Not(HasSubstr("close")));
    co_return {};
  };
  Run(run());
}

// Without reading: no 100, and the body that may or may not come must not become a request.
TEST_F(ServerTest, ExpectWithoutReadingEndsTheConnection) {
  Start([](RequestHead&, BodySource&, ResponseWriter& out) -> Task<> {
    ResponseHead head;
    head.status = 402;
    PTG_CO_RUN(co_await out.Head(std::move(head), 0));
    co_return co_await out.End();
  });
  const auto got = Talk(
      "POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", true);
  ASSERT_TRUE(got);
  EXPECT_THAT(*got, StartsWith("HTTP/1.1 402 "));
  EXPECT_THAT(*got, HasSubstr("Connection: close\r\n"));
}

TEST_F(ServerTest, ASmallUnreadBodyIsReadAway) {
  Start(Unread);
  const auto got = Talk(
      "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
      "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" +
      std::string(kLast));
  ASSERT_TRUE(got);
  for (const char* target : {"/1", "/2", "/z"}) {
    EXPECT_THAT(*got, HasSubstr(std::string("X-Target: ") + target));
  }
}

// The answer must arrive although the client is in the middle of a large upload: closing at once
// would reset the connection and take the answer away.
TEST_F(ServerTest, AnEarlyAnswerReachesALargeUpload) {
  Start(Unread);
  const auto run = [&]() -> Task<> {
    RawPeer peer(loop_);
    PTG_CO_RUN(co_await peer.Connect(server_->port()));
    PTG_CO_RUN(
        co_await peer.Send("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n"));
    PTG_CO_RUN(co_await peer.Send(std::string(8'000'000, 'x')));
    PTG_CO_TRY(const std::string got, co_await peer.ReadToEnd());
    EXPECT_THAT(got, StartsWith("HTTP/1.1 402 "));
    EXPECT_THAT(got, HasSubstr("Connection: close\r\n"));
    co_return {};
  };
  Run(run());
}

TEST_F(ServerTest, HeadAndBodilessAnswersHaveNoBody) {
  Start([](RequestHead& head, BodySource&, ResponseWriter& out) -> Task<> {
    ResponseHead answer;
    answer.status = head.target == "/204" ? 204 : head.target == "/304" ? 304 : 200;
    PTG_CO_RUN(co_await out.Head(std::move(answer), 5));
    PTG_CO_RUN(co_await out.Write("hello"));
    co_return co_await out.End();
  });
  const auto got = Talk(
      "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /204 HTTP/1.1\r\nHost: a\r\n\r\n"
      "GET /304 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(got.value_or("reset"),
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
            "HTTP/1.1 204 No Content\r\n\r\n"
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
}

TEST_F(ServerTest, OldClientsGetTheEndOfTheConnection) {
  Start([](RequestHead&, BodySource&, ResponseWriter& out) -> Task<> {
    ResponseHead early;
    early.status = 103;
    PTG_CO_RUN(co_await out.Interim(early));
    ResponseHead answer;
    answer.status = 200;
    answer.headers.Add("Transfer-Encoding", "gzip");
    PTG_CO_RUN(co_await out.Head(std::move(answer), std::nullopt));
    PTG_CO_RUN(co_await out.Write("he"));
    PTG_CO_RUN(co_await out.Write("llo"));
    co_return co_await out.End();
  });
  EXPECT_EQ(Talk("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").value_or("reset"),
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
  EXPECT_EQ(Talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").value_or("reset"),
            "HTTP/1.1 103 Early Hints\r\n\r\n"
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
}

// A stream whose first event is far away must not keep its head back.
TEST_F(ServerTest, AHeadWithoutABodyYetLeavesByItself) {
  Event go;
  Start([&go](RequestHead&, BodySource&, ResponseWriter& out) -> Task<> {
    ResponseHead answer;
    answer.status = 200;
    PTG_CO_RUN(co_await out.Head(std::move(answer), std::nullopt));
    PTG_CO_RUN(co_await go.Wait(Deadline::In(Clock::System(), 5s)));
    PTG_CO_RUN(co_await out.Write("data: 1\n\n"));
    PTG_CO_RUN(co_await out.Write("data: 2\n\n"));
    co_return co_await out.End();
  });
  const auto run = [&]() -> Task<> {
    RawPeer peer(loop_);
    PTG_CO_RUN(co_await peer.Connect(server_->port()));
    PTG_CO_RUN(co_await peer.Send(kGet));
    PTG_CO_TRY(const std::string head, co_await peer.ReadUntil("\r\n\r\n"));
    EXPECT_THAT(head, HasSubstr("chunked"));
    go.Set();
    PTG_CO_TRY(const std::string rest, co_await peer.ReadUntil("0\r\n\r\n"));
    EXPECT_EQ(rest, "9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    co_return {};
  };
  Run(run());
}

TEST_F(ServerTest, ABrokenAnswerIsSeenToBeBroken) {
  const struct {
    std::string_view name;
    Handler handler;
  } cases[] = {
      {"an error after the head",
       [](RequestHead&, BodySource&, ResponseWriter& out) -> Task<> {
         ResponseHead answer;
         answer.status = 200;
         PTG_CO_RUN(co_await out.Head(std::move(answer), std::nullopt));
         PTG_CO_RUN(co_await out.Write("half"));
         co_return Fail(Code::kInternal, "broken on purpose");
       }},
      {"an end that is too early",
       [](RequestHead&, BodySource&, ResponseWriter& out) -> Task<> {
         ResponseHead answer;
         answer.status = 200;
         PTG_CO_RUN(co_await out.Head(std::move(answer), 10));
         PTG_CO_RUN(co_await out.Write("half"));
         co_return co_await out.End();
       }},
      {"an abort",
       [](RequestHead&, BodySource&, ResponseWriter& out) -> Task<> {
         ResponseHead answer;
         answer.status = 200;
         PTG_CO_RUN(co_await out.Head(std::move(answer), std::nullopt));
         PTG_CO_RUN(co_await out.Write("half"));
         out.Abort();
         co_return {};
       }},
  };
  for (const auto& c : cases) {
    Start(c.handler);
    const auto got = Talk("GET / HTTP/1.0\r\n\r\n");
    ASSERT_FALSE(got) << c.name << ": " << *got;
    EXPECT_EQ(got.error().code(), Code::kConnection) << c.name;
  }
}

TEST_F(ServerTest, AHandlerThatSaysNothingIsA500) {
  Start([](RequestHead&, BodySource&, ResponseWriter&) -> Task<> { co_return {}; });
  EXPECT_THAT(Talk(kGet, true).value_or("reset"), StartsWith("HTTP/1.1 500 "));
  Start([](RequestHead&, BodySource&, ResponseWriter&) -> Task<> {
    throw 1;
    co_return {};
  });
  EXPECT_THAT(Talk(kGet, true).value_or("reset"), StartsWith("HTTP/1.1 500 "));
}

TEST_F(ServerTest, AfterAnUpgradeTheBytesAreRaw) {
  Start([](RequestHead&, BodySource& body, ResponseWriter& out) -> Task<> {
    ResponseHead head;
    head.status = 101;
    head.headers.Add("Upgrade", "echo");
    PTG_CO_RUN(co_await out.Upgrade(std::move(head)));
    while (true) {
      PTG_CO_TRY(const std::string_view piece, co_await body.Read(Deadline::Never()));
      if (piece.empty()) break;
      PTG_CO_RUN(co_await out.Write(piece));
    }
    co_return co_await out.End();
  });
  const auto run = [&]() -> Task<> {
    RawPeer peer(loop_);
    PTG_CO_RUN(co_await peer.Connect(server_->port()));
    PTG_CO_RUN(co_await peer.Send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst"));
    PTG_CO_TRY(const std::string head, co_await peer.ReadUntil("\r\n\r\n"));
    EXPECT_EQ(head,
              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
    PTG_CO_RUN(co_await peer.ReadUntil("first"));
    PTG_CO_RUN(co_await peer.Send("GET / HTTP/1.1\r\n"));
    PTG_CO_RUN(co_await peer.ReadUntil("GET / HTTP/1.1\r\n"));
    peer.socket().ShutdownWrite();
    PTG_CO_TRY(const std::string rest, co_await peer.ReadToEnd());
    EXPECT_EQ(rest, "");
    co_return {};
  };
  Run(run());
}

TEST_F(ServerTest, AnUpgradeInTheMiddleOfABodyIsRefused) {
  Start([](RequestHead&, BodySource&, ResponseWriter& out) -> Task<> {
    ResponseHead head;
    head.status = 101;
    head.headers.Add("Upgrade", "echo");
    co_return co_await out.Upgrade(std::move(head));
  });
  const auto got = Talk(
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n"
      "Content-Length: 5\r\n\r\nhello",
      true);
  EXPECT_THAT(got.value_or("reset"), StartsWith("HTTP/1.1 500 "));
}

TEST_F(ServerTest, ASecondProcessOnThePortIsNoticed) {
  Start(Tell);
  const std::string address = "127.0.0.1:" + std::to_string(server_->port());
  EXPECT_EQ(CheckAddressFree(address).error().code(), Code::kConnection);
  EXPECT_EQ(CheckAddressFree(":" + std::to_string(server_->port())).error().code(),
            Code::kConnection);
  EXPECT_TRUE(CheckAddressFree("127.0.0.1:0"));
  Run(server_->Drain(Deadline::In(loop_.clock(), 1s)));
  EXPECT_TRUE(CheckAddressFree(address));
}

TEST_F(ServerTest, WhatCannotBeListenedOnIsSaid) {
  Server server(loop_, {}, Tell);
  EXPECT_EQ(server.Listen("somewhere").error().code(), Code::kConfig);
  EXPECT_EQ(server.Listen("192.0.2.1:80").error().code(), Code::kConnection);
}

}  // namespace
}  // namespace pontage::net
