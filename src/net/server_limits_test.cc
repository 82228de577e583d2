#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "testing/http_fixtures.h"

namespace pontage::net {
namespace {

using ::testing::HasSubstr;
using testing::RawPeer;
using ::testing::StartsWith;

using ServerLimitsTest = testing::ServerFixture;
using testing::Tell;
using testing::Unread;

constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_F(ServerLimitsTest, ASlowHeadEndsIn408AndIdlenessInSilence) {
  Start(Tell, {.head_timeout = 100ms, .idle_timeout = 200ms});
  EXPECT_THAT(Talk("GET / HTTP/1.1\r\nHost: a\r\nX: ").value_or("reset"),
              StartsWith("HTTP/1.1 408 "));
  EXPECT_EQ(Talk("").value_or("reset"), "");
  const auto kept = Talk(kGet);
  EXPECT_TRUE(kept.value_or("reset").ends_with("GET /a []"));
  // The empty line that old clients send after a body is no request, and no late one either.
  EXPECT_TRUE(Talk(std::string(kGet) + "\r\n").value_or("reset").ends_with("GET /a []"));
}

TEST_F(ServerLimitsTest, ABodyThatStopsComingIsA408) {
  Start(Tell, {.body_timeout = 100ms});
  const auto got = Talk("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_THAT(got.value_or("reset"), StartsWith("HTTP/1.1 408 "));
}

// A reader that takes nothing: what we hold for it is bounded, and it is given up in the end.
TEST_F(ServerLimitsTest, ASlowReaderHoldsTheHandlerBack) {
  size_t written = 0;
  std::optional<Code> failed;
  Start(
      [&](RequestHead&, BodySource&, ResponseWriter& out) -> Task<> {
        ResponseHead answer;
        answer.status = 200;
        PTG_CO_RUN(co_await out.Head(std::move(answer), std::nullopt));
        const std::string block(64 * 1024, 'x');
        while (true) {
          const Result<> wrote = co_await out.Write(block, false);
          if (!wrote) {
            failed = wrote.error().code();
            co_return wrote;
          }
          written += block.size();
        }
      },
      {.write_timeout = 300ms});
  const auto run = [&]() -> Task<> {
    RawPeer peer(loop_);
    PTG_CO_RUN(co_await peer.Connect(server_->port()));
    PTG_CO_RUN(co_await peer.Send(kGet));
    PTG_CO_RUN(co_await Sleep(Millis(150)));
    // What the kernel's two buffers hold, and not more: it has stopped.
    const size_t before = written;
    EXPECT_LT(before, 16U * 1024 * 1024);
    PTG_CO_RUN(co_await Sleep(Millis(50)));
    EXPECT_EQ(written, before);
    PTG_CO_RUN(co_await Sleep(Millis(500)));
    EXPECT_EQ(failed, Code::kTimeout);
    EXPECT_EQ(server_->connections(), 0U);
    co_return {};
  };
  Run(run());
}

// A handler that does not read: the sender is held back, nothing is piled up.
TEST_F(ServerLimitsTest, AHandlerThatDoesNotReadHoldsTheSenderBack) {
  Event done;
  Start([&done](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
    PTG_CO_RUN(co_await done.Wait(Deadline::In(Clock::System(), 5s)));
    co_return co_await Unread(head, body, out);
  });
  const auto run = [&]() -> Task<> {
    RawPeer peer(loop_);
    PTG_CO_RUN(co_await peer.Connect(server_->port()));
    PTG_CO_RUN(
        co_await peer.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99000000\r\n\r\n"));
    const std::string block(64 * 1024, 'x');
    const iovec piece{const_cast<char*>(block.data()), block.size()};
    size_t sent = 0;
    while (true) {
      const auto some =
          co_await peer.socket().WriteSome({&piece, 1}, Deadline::In(loop_.clock(), 100ms));
      if (!some) break;
      sent += *some;
    }
    EXPECT_LT(sent, 16U * 1024 * 1024);
    done.Set();
    PTG_CO_TRY(const std::string got, co_await peer.ReadUntil("\r\n\r\n"));
    EXPECT_THAT(got, StartsWith("HTTP/1.1 402 "));
    co_return {};
  };
  Run(run());
}

TEST_F(ServerLimitsTest, OverTheLimitTheIdleMakeRoomAndTheRestHear503) {
  Event done;
  Start(
      [&done](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
        if (head.target == "/wait") {
          PTG_CO_RUN(co_await done.Wait(Deadline::In(Clock::System(), 5s)));
        }
        co_return co_await Tell(head, body, out);
      },
      {.connections = 2});
  const auto run = [&]() -> Task<> {
    RawPeer busy(loop_);
    RawPeer idle(loop_);
    RawPeer third(loop_);
    RawPeer fourth(loop_);
    PTG_CO_RUN(co_await busy.Connect(server_->port()));
    PTG_CO_RUN(co_await busy.Send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"));
    PTG_CO_RUN(co_await idle.Connect(server_->port()));
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    PTG_CO_RUN(co_await third.Connect(server_->port()));
    PTG_CO_RUN(co_await third.Send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"));
    PTG_CO_TRY(const std::string closed, co_await idle.ReadToEnd());
    EXPECT_EQ(closed, "");
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    PTG_CO_RUN(co_await fourth.Connect(server_->port()));
    PTG_CO_TRY(const std::string refused, co_await fourth.ReadToEnd());
    EXPECT_THAT(refused, StartsWith("HTTP/1.1 503 "));
    EXPECT_THAT(refused, HasSubstr("Retry-After: "));
    done.Set();
    PTG_CO_RUN(co_await busy.ReadUntil("GET /wait []"));
    PTG_CO_RUN(co_await third.ReadUntil("GET /wait []"));
    co_return {};
  };
  Run(run());
}

// No descriptors left: the idle give theirs back and the waiting get in, without anybody else's
// help.
TEST_F(ServerLimitsTest, WithoutDescriptorsTheIdleMakeRoom) {
  Start(Tell);
  const auto run = [&]() -> Task<> {
    RawPeer idle(loop_);
    PTG_CO_RUN(co_await idle.Connect(server_->port()));
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    RawPeer late(loop_);
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    // The highest descriptor is that of `late`: none for its other end.
    PTG_CO_RUN(co_await late.Connect(server_->port()));
    rlimit none = before;
    none.rlim_cur = static_cast<rlim_t>(late.socket().fd()) + 1;
    ::setrlimit(RLIMIT_NOFILE, &none);
    std::vector<int> fill;
    for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) fill.push_back(fd);
    PTG_CO_RUN(co_await late.Send(kGet));
    const auto got = co_await late.ReadUntil("GET /a []");
    const auto closed = co_await idle.ReadToEnd();
    for (const int fd : fill) ::close(fd);
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_TRUE(got) << got.error().detail();
    EXPECT_EQ(closed.value_or("reset"), "");
    co_return {};
  };
  Run(run());
}

TEST_F(ServerLimitsTest, DrainLetsRunningExchangesFinish) {
  Event done;
  Start([&done](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
    PTG_CO_RUN(co_await done.Wait(Deadline::In(Clock::System(), 5s)));
    co_return co_await Tell(head, body, out);
  });
  const auto run = [&]() -> Task<> {
    RawPeer busy(loop_);
    RawPeer idle(loop_);
    PTG_CO_RUN(co_await busy.Connect(server_->port()));
    PTG_CO_RUN(co_await busy.Send(kGet));
    PTG_CO_RUN(co_await idle.Connect(server_->port()));
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    const uint16_t port = server_->port();
    const Fork drain(server_->Drain(Deadline::In(loop_.clock(), 5s)));
    PTG_CO_TRY(const std::string closed, co_await idle.ReadToEnd());
    EXPECT_EQ(closed, "");
    RawPeer late(loop_);
    EXPECT_FALSE(co_await late.Connect(port));
    EXPECT_FALSE(drain.result());
    done.Set();
    PTG_CO_TRY(const std::string got, co_await busy.ReadToEnd());
    EXPECT_THAT(got, HasSubstr("Connection: close\r\n"));
    EXPECT_TRUE(got.ends_with("GET /a []"));
    busy.socket().Close();
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    EXPECT_TRUE(drain.result());
    EXPECT_EQ(server_->connections(), 0U);
    co_return {};
  };
  Run(run());
}

TEST_F(ServerLimitsTest, DrainAbortsWhatDoesNotFinish) {
  Start([](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
    PTG_CO_RUN(co_await Sleep(Millis(400)));
    co_return co_await Tell(head, body, out);
  });
  const auto run = [&]() -> Task<> {
    RawPeer busy(loop_);
    PTG_CO_RUN(co_await busy.Connect(server_->port()));
    PTG_CO_RUN(co_await busy.Send(kGet));
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    PTG_CO_RUN(co_await server_->Drain(Deadline::In(loop_.clock(), 50ms)));
    const auto got = co_await busy.ReadToEnd();
    EXPECT_FALSE(got);
    co_return {};
  };
  Run(run());
}

}  // namespace
}  // namespace pontage::net
