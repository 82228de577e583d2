#include "io/socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "io/fork.h"
#include "io/timer.h"

namespace pontage {
namespace {

class SocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto address = SocketAddress::ParseListen("127.0.0.1:0");
    ASSERT_TRUE(address);
    auto listener = Listener::Open(loop_, *address);
    ASSERT_TRUE(listener);
    listener_ = *std::move(listener);
  }

  // Two ends of one connection.
  Task<> Pair(Socket& near, Socket& far) {
    PTG_CO_TRY(near, co_await Connect(loop_, "127.0.0.1", listener_.port(), Soon()));
    PTG_CO_TRY(far, co_await listener_.Accept());
    co_return {};
  }
  Deadline Soon() const { return Deadline::In(loop_.clock(), 5s); }
  static iovec Piece(std::string_view text) {
    return {const_cast<char*>(text.data()), text.size()};
  }

  Loop loop_;
  Listener listener_;
};

TEST_F(SocketTest, BytesArriveAndAHalfCloseIsAnEnd) {
  const auto run = [this]() -> Task<> {
    Socket near;
    Socket far;
    PTG_CO_RUN(co_await Pair(near, far));
    const iovec hello = Piece("hello");
    PTG_CO_TRY(const size_t sent, co_await near.WriteSome({&hello, 1}, Soon()));
    EXPECT_EQ(sent, 5U);
    near.ShutdownWrite();
    char buffer[16];
    PTG_CO_TRY(const size_t got, co_await far.Read(buffer, Soon()));
    EXPECT_EQ(std::string_view(buffer, got), "hello");
    PTG_CO_TRY(const size_t end, co_await far.Read(buffer, Soon()));
    EXPECT_EQ(end, 0U);
    EXPECT_FALSE(far.PeerGone());
    const iovec back = Piece("bye");
    PTG_CO_TRY(const size_t answered, co_await far.WriteSome({&back, 1}, Soon()));
    EXPECT_EQ(answered, 3U);
    PTG_CO_TRY(const size_t heard, co_await near.Read(buffer, Soon()));
    EXPECT_EQ(std::string_view(buffer, heard), "bye");
    co_return {};
  };
  const Result<> done = loop_.RunUntilDone(run());
  EXPECT_TRUE(done) << done.error().detail();
}

// One edge tells of both: a read that found less than it could take is not the end of the matter.
TEST_F(SocketTest, AnEndThatCameWithTheLastBytesIsHeard) {
  const auto run = [this]() -> Task<> {
    Socket near;
    Socket far;
    PTG_CO_RUN(co_await Pair(near, far));
    const iovec hello = Piece("hello");
    PTG_CO_RUN(co_await near.WriteSome({&hello, 1}, Soon()));
    near.ShutdownWrite();
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    PTG_CO_RUN(co_await far.Readable(Soon()));
    char buffer[16];
    PTG_CO_TRY(const size_t got, co_await far.Read(buffer, Soon()));
    EXPECT_EQ(got, 5U);
    PTG_CO_RUN(co_await far.Readable(Soon()));
    PTG_CO_TRY(const size_t end, co_await far.Read(buffer, Soon()));
    EXPECT_EQ(end, 0U);
    EXPECT_FALSE(far.AtRest());
    co_return {};
  };
  const Result<> done = loop_.RunUntilDone(run());
  EXPECT_TRUE(done) << done.error().detail();
}

// Somebody else, OpenSSL once, may have read what an edge told of.
TEST_F(SocketTest, ReadinessIsNotBelievedTwice) {
  const auto run = [this]() -> Task<> {
    Socket near;
    Socket far;
    PTG_CO_RUN(co_await Pair(near, far));
    const iovec hello = Piece("hello");
    PTG_CO_RUN(co_await near.WriteSome({&hello, 1}, Soon()));
    PTG_CO_RUN(co_await far.Readable(Soon()));
    char buffer[16];
    EXPECT_EQ(::recv(far.fd(), buffer, sizeof buffer, 0), 5);
    const Result<> again = co_await far.Readable(Deadline::In(loop_.clock(), 50ms));
    EXPECT_FALSE(again);
    PTG_CO_RUN(co_await near.WriteSome({&hello, 1}, Soon()));
    PTG_CO_RUN(co_await far.Readable(Soon()));
    co_return {};
  };
  const Result<> done = loop_.RunUntilDone(run());
  EXPECT_TRUE(done) << done.error().detail();
}

TEST_F(SocketTest, AReadThatWaitsEndsByTime) {
  const auto run = [this]() -> Task<> {
    Socket near;
    Socket far;
    PTG_CO_RUN(co_await Pair(near, far));
    char buffer[16];
    const auto got = co_await far.Read(buffer, Deadline::In(loop_.clock(), 50ms));
    EXPECT_EQ(got.error().code(), Code::kTimeout);
    // The readiness that is still asked for must not harm the next who reads.
    const iovec hello = Piece("x");
    PTG_CO_RUN(co_await near.WriteSome({&hello, 1}, Soon()));
    PTG_CO_TRY(const size_t later, co_await far.Read(buffer, Soon()));
    EXPECT_EQ(later, 1U);
    co_return {};
  };
  EXPECT_TRUE(loop_.RunUntilDone(run()));
}

TEST_F(SocketTest, AResetIsSeen) {
  const auto run = [this]() -> Task<> {
    Socket near;
    Socket far;
    PTG_CO_RUN(co_await Pair(near, far));
    near.Abort();
    PTG_CO_RUN(co_await Sleep(Millis(10)));
    EXPECT_TRUE(far.PeerGone());
    char buffer[16];
    const auto got = co_await far.Read(buffer, Soon());
    EXPECT_EQ(got.error().code(), Code::kConnection);
    EXPECT_TRUE(far.PeerGone());
    EXPECT_FALSE(far.AtRest());
    co_return {};
  };
  EXPECT_TRUE(loop_.RunUntilDone(run()));
}

TEST_F(SocketTest, ClosingWakesWhoWaits) {
  const auto run = [this]() -> Task<> {
    Socket near;
    Socket far;
    PTG_CO_RUN(co_await Pair(near, far));
    const auto reads = [this](Socket& socket) -> Task<> {
      char buffer[16];
      PTG_CO_RUN(co_await socket.Read(buffer, Soon()));
      co_return {};
    };
    const Fork one(reads(far));
    const Fork two(reads(far));
    far.Close();
    PTG_CO_RUN(co_await Sleep(Millis(10)));
    EXPECT_TRUE(one.result() && one.result()->error().code() == Code::kConnection);
    EXPECT_TRUE(two.result() && two.result()->error().code() == Code::kConnection);
    co_return {};
  };
  EXPECT_TRUE(loop_.RunUntilDone(run()));
}

TEST_F(SocketTest, WhoWaitsMayBeDestroyed) {
  const auto run = [this]() -> Task<> {
    Socket near;
    Socket far;
    PTG_CO_RUN(co_await Pair(near, far));
    const auto reads = [this](Socket& socket) -> Task<> {
      char buffer[16];
      PTG_CO_RUN(co_await socket.Read(buffer, Soon()));
      co_return {};
    };
    {
      const Fork gone(reads(far));
    }
    const Fork stays(reads(far));
    const iovec hello = Piece("x");
    PTG_CO_RUN(co_await near.WriteSome({&hello, 1}, Soon()));
    PTG_CO_RUN(co_await Sleep(Millis(10)));
    EXPECT_TRUE(stays.result() && stays.result()->has_value());
    co_return {};
  };
  EXPECT_TRUE(loop_.RunUntilDone(run()));
}

TEST_F(SocketTest, AReaderWithoutPauseLetsOthersIn) {
  const auto run = [this]() -> Task<> {
    Socket near;
    Socket far;
    PTG_CO_RUN(co_await Pair(near, far));
    const std::string much(4096, 'x');
    const iovec piece = Piece(much);
    PTG_CO_RUN(co_await near.WriteSome({&piece, 1}, Soon()));
    bool others = false;
    loop_.Post([&others] { others = true; });
    // A byte at a time, all of them there already: never a reason to wait but the budget.
    size_t before = 0;
    for (size_t i = 0; i < much.size() && !others; ++i) {
      char byte = 0;
      PTG_CO_RUN(co_await far.Read({&byte, 1}, Soon()));
      before = i;
    }
    EXPECT_TRUE(others);
    EXPECT_LT(before, 100U);
    co_return {};
  };
  EXPECT_TRUE(loop_.RunUntilDone(run()));
}

TEST_F(SocketTest, NamesAreLookedUpAndDeadAddressesTold) {
  const auto run = [this]() -> Task<> {
    PTG_CO_TRY(const Socket socket, co_await Connect(loop_, "localhost", listener_.port(), Soon()));
    EXPECT_EQ(socket.Peer().first, "127.0.0.1");
    const auto nobody = co_await Connect(loop_, "no-such-name.invalid", 80, Soon());
    EXPECT_EQ(nobody.error().code(), Code::kConnection);
    const uint16_t port = listener_.port();
    listener_.Close();
    const auto refused = co_await Connect(loop_, "127.0.0.1", port, Soon());
    EXPECT_EQ(refused.error().code(), Code::kConnection);
    co_return {};
  };
  const Result<> done = loop_.RunUntilDone(run());
  EXPECT_TRUE(done) << done.error().detail();
}

TEST(SocketAddressTest, ListenAddresses) {
  for (const std::string_view good : {"127.0.0.1:8402", "[::1]:0", ":8402", "[::]:65535"}) {
    EXPECT_TRUE(SocketAddress::ParseListen(good)) << good;
  }
  for (const std::string_view bad :
       {"", "8402", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80",
        "localhost:80", "[127.0.0.1]:80", "127.0.0.1:80x", "[::1:80"}) {
    const auto parsed = SocketAddress::ParseListen(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().code(), Code::kConfig);
  }
}

TEST(ListenerTest, TwoMayShareAnAddress) {
  Loop loop;
  const auto any = SocketAddress::ParseListen("127.0.0.1:0");
  const auto first = Listener::Open(loop, *any);
  ASSERT_TRUE(first);
  const auto same = SocketAddress::Literal("127.0.0.1", first->port());
  EXPECT_TRUE(Listener::Open(loop, *same));
}

}  // namespace
}  // namespace pontage
