#include "net/http2_connection.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/connection.h"
#include "testing/http_fixtures.h"

// The connection against a client that speaks frames, over plain sockets: what waits, what is held
// and what is given up.
namespace pontage::net::http2 {
namespace {

using pontage::testing::RawPeer;
using pontage::testing::Tell;

constexpr uint8_t kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kGoAway = 7, kWindow = 8;
constexpr uint8_t kEndStream = 1, kEndHeaders = 4;

std::string Number(uint32_t n) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(n >> shift);
  return out;
}

std::string Frame(uint8_t type, uint8_t flags, uint32_t id, std::string_view payload = {}) {
  std::string out = Number(static_cast<uint32_t>(payload.size())).substr(1);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  return out + Number(id) + std::string(payload);
}

std::string Field(std::string_view name, std::string_view value) {
  std::string out(1, '\0');
  out += static_cast<char>(name.size());
  out += name;
  out += static_cast<char>(value.size());
  return out += value;
}

std::string Request(uint32_t id, std::string_view method, std::string_view path, bool body) {
  const std::string block = Field(":method", method) + Field(":scheme", "https") +
                            Field(":authority", "a") + Field(":path", path);
  return Frame(kHeaders, static_cast<uint8_t>(kEndHeaders | (body ? 0 : kEndStream)), id, block);
}

struct Seen {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t id = 0;
  std::string payload;
};

class Http2ConnectionTest : public ::testing::Test {
 protected:
  void Start(Handler handler, ServerLimits limits = {}) {
    shared_ = std::make_shared<ServerShared>(loop_, limits, std::move(handler));
    const auto address = SocketAddress::ParseListen("127.0.0.1:0");
    auto listener = Listener::Open(loop_, *address);
    ASSERT_TRUE(listener);
    listener_ = *std::move(listener);
    loop_.Spawn(Serve(), "serve");
  }
  Task<> Serve() {
    PTG_CO_TRY(Socket socket, co_await listener_.Accept());
    if (narrow_) {
      constexpr int kLeast = 1;  // the kernel makes some kilobytes of it
      ::setsockopt(socket.fd(), SOL_SOCKET, SO_SNDBUF, &kLeast, sizeof kLeast);
    }
    Transport transport(std::move(socket));
    IoLink parked;
    auto connection =
        std::make_shared<Connection>(shared_, transport, parked, std::string("127.0.0.1"), 1);
    connection_ = connection;
    PTG_CO_RUN(co_await Connection::Run(std::move(connection)));
    over_ = true;
    co_return {};
  }
  Task<> Connect(std::string_view settings = {}) {
    PTG_CO_RUN(co_await peer_.Connect(listener_.port()));
    PTG_CO_RUN(
        co_await peer_.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, settings)));
    PTG_CO_RUN(co_await Next(kSettings, 0));
    constexpr uint8_t kAck = 1;
    co_return co_await peer_.Send(Frame(kSettings, kAck, 0));
  }
  Task<Seen> Any() {
    PTG_CO_TRY(const std::string head, co_await peer_.ReadCount(9));
    const auto byte = [&head](size_t i) { return static_cast<uint8_t>(head[i]); };
    const size_t size = size_t{byte(0)} << 16 | size_t{byte(1)} << 8 | byte(2);
    Seen seen{
        .type = byte(3), .flags = byte(4), .id = uint32_t{byte(7)} << 8 | byte(8), .payload = {}};
    PTG_CO_TRY(seen.payload, co_await peer_.ReadCount(size));
    co_return seen;
  }
  // The next frame of that type and stream; others are passed over.
  Task<Seen> Next(uint8_t type, uint32_t id) {
    while (true) {
      PTG_CO_TRY(Seen seen, co_await Any());
      if (seen.type == type && seen.id == id) co_return seen;
    }
  }
  // A client with windows that never close asks for more than the connection carries, on streams 1,
  // 3 and 5, and reads nothing yet.
  Task<> Overload() {
    PTG_CO_RUN(co_await Connect(std::string("\x00\x04\x7f\xff\xff\xff", 6)));
    PTG_CO_RUN(co_await peer_.Send(Frame(kWindow, 0, 0, Number(0x7ff00000))));
    for (const uint32_t id : {1U, 3U, 5U}) {
      PTG_CO_RUN(co_await peer_.Send(Request(id, "GET", "/endless", false)));
    }
    co_return co_await Sleep(Millis(50));
  }
  Task<> Over() {
    while (!over_) PTG_CO_RUN(co_await Sleep(Millis(5)));
    co_return {};
  }
  void Run(Task<> body) {
    const Result<> done = loop_.RunUntilDone(std::move(body));
    EXPECT_TRUE(done) << done.error().detail();
  }

  Event never_;  // outlives the handlers that wait for it
  Loop loop_;
  std::shared_ptr<ServerShared> shared_;
  Listener listener_;
  RawPeer peer_{loop_};
  std::weak_ptr<Connection> connection_;
  bool narrow_ = false;  // our end of the socket holds little that was not read
  bool over_ = false;
};

Task<> Endless(ResponseWriter& out, size_t& written, std::optional<Code>& failed) {
  ResponseHead head;
  head.status = 200;
  PTG_CO_RUN(co_await out.Head(std::move(head), std::nullopt));
  const std::string block(10'000, 'x');
  while (true) {
    const Result<> wrote = co_await out.Write(block);
    if (!wrote) {
      failed = wrote.error().code();
      co_return wrote;
    }
    written += block.size();
  }
}

// A client that opens no window: little is held for it, and its stream is given up in time; the
// connection serves on.
TEST_F(Http2ConnectionTest, AStalledWindowHoldsTheHandlerBackAndEndsInAReset) {
  size_t written = 0;
  std::optional<Code> failed;
  Start(
      [&](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
        if (head.target == "/b") co_return co_await Tell(head, body, out);
        co_return co_await Endless(out, written, failed);
      },
      {.write_timeout = 300ms});
  const auto run = [&]() -> Task<> {
    // SETTINGS_INITIAL_WINDOW_SIZE 100.
    const std::string settings("\x00\x04\x00\x00\x00\x64", 6);
    PTG_CO_RUN(co_await Connect(settings));
    PTG_CO_RUN(co_await peer_.Send(Request(1, "GET", "/a", false)));
    PTG_CO_TRY(const Seen data, co_await Next(kData, 1));
    EXPECT_EQ(data.payload.size(), 100U);
    EXPECT_LT(written, 64U * 1024);
    PTG_CO_TRY(const Seen reset, co_await Next(kReset, 1));
    EXPECT_EQ(reset.payload, Number(8));
    EXPECT_EQ(failed, Code::kTimeout);
    PTG_CO_RUN(co_await peer_.Send(Request(3, "GET", "/b", false)));
    PTG_CO_TRY(const Seen other, co_await Next(kData, 3));
    EXPECT_EQ(other.payload, "GET /b []");
    co_return {};
  };
  Run(run());
}

// Nothing of it can be sent, so nothing waits for the write deadline; and it is not the client that
// failed.
TEST_F(Http2ConnectionTest, AnAnswerWhoseHeadCannotBeSentEndsAtOnce) {
  std::optional<Code> failed;
  Start([&](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
    if (head.target == "/b") co_return co_await Tell(head, body, out);
    ResponseHead large;
    large.status = 103;
    large.headers.Add("X-Large", std::string(70'000, '~'));
    PTG_CO_RUN(co_await out.Interim(large));
    large.status = 200;
    const std::optional<uint64_t> size = 4;
    const Result<> refused = co_await out.Head(large, size);
    EXPECT_EQ(refused.error().code(), Code::kInternal);
    EXPECT_FALSE(out.head_sent());
    large.headers.Remove("X-Large");
    PTG_CO_RUN(co_await out.Head(std::move(large), size));
    PTG_CO_RUN(co_await out.Write("body"));
    const Result<> ended = co_await out.End();
    if (!ended) failed = ended.error().code();
    co_return ended;
  });
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect());
    PTG_CO_RUN(co_await peer_.Send(Request(1, "GET", "/a", false)));
    PTG_CO_TRY(const Seen reset, co_await Next(kReset, 1));
    EXPECT_EQ(reset.payload, Number(2));
    PTG_CO_RUN(co_await peer_.Send(Request(3, "GET", "/b", false)));
    PTG_CO_TRY(const Seen other, co_await Next(kData, 3));
    EXPECT_EQ(other.payload, "GET /b []");
    EXPECT_EQ(failed, Code::kInternal);
    co_return {};
  };
  Run(run());
}

// A handler that does not read: the client may send what the window holds and no more, and what is
// read makes room again.
TEST_F(Http2ConnectionTest, AHandlerThatDoesNotReadHoldsTheSenderBack) {
  Event go;
  size_t read = 0;
  Start([&](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
    PTG_CO_RUN(co_await go.Wait(Deadline::Never()));
    const Deadline by = Deadline::In(Clock::System(), 5s);
    PTG_CO_TRY(const std::string all, co_await net::ReadAll(body, 1 << 20, by));
    read = all.size();
    StringBody none("");
    co_return co_await Tell(head, none, out);
  });
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect());
    PTG_CO_RUN(co_await peer_.Send(Request(1, "POST", "/a", true)));
    // The stream's window: 128 KiB, as our SETTINGS say.
    for (int i = 0; i < 8; ++i) {
      PTG_CO_RUN(co_await peer_.Send(Frame(kData, 0, 1, std::string(16'384, 'x'))));
    }
    PTG_CO_RUN(co_await Sleep(Millis(30)));
    go.Set();
    PTG_CO_TRY(const Seen window, co_await Next(kWindow, 1));
    EXPECT_EQ(window.payload, Number(128 * 1024));
    PTG_CO_RUN(co_await peer_.Send(Frame(kData, kEndStream, 1, "end")));
    PTG_CO_TRY(const Seen answer, co_await Next(kData, 1));
    EXPECT_EQ(answer.payload, "POST /a []");
    EXPECT_EQ(read, 128U * 1024 + 3);
    co_return {};
  };
  Run(run());
}

TEST_F(Http2ConnectionTest, WhoSendsBeyondTheWindowIsBroken) {
  Start([this](RequestHead&, BodySource&, ResponseWriter&) -> Task<> {
    co_return co_await never_.Wait(Deadline::Never());
  });
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect());
    PTG_CO_RUN(co_await peer_.Send(Request(1, "POST", "/a", true)));
    for (int i = 0; i < 9; ++i) {
      PTG_CO_RUN(co_await peer_.Send(Frame(kData, 0, 1, std::string(16'384, 'x'))));
    }
    // FLOW_CONTROL_ERROR.
    PTG_CO_TRY(const Seen reset, co_await Next(kReset, 1));
    EXPECT_EQ(reset.payload, Number(3));
    co_return {};
  };
  Run(run());
}

TEST_F(Http2ConnectionTest, ABodyThatStopsComingIsA408) {
  Start(Tell, {.body_timeout = 100ms});
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect());
    PTG_CO_RUN(co_await peer_.Send(Request(1, "POST", "/a", true)));
    PTG_CO_TRY(const Seen answer, co_await Next(kData, 1));
    EXPECT_TRUE(answer.payload.contains("\"status\":408")) << answer.payload;
    // The rest of the body is of no use.
    PTG_CO_TRY(const Seen reset, co_await Next(kReset, 1));
    EXPECT_EQ(reset.payload, Number(0));
    co_return {};
  };
  Run(run());
}

TEST_F(Http2ConnectionTest, AHeadThatNeverEndsEndsTheConnection) {
  Start(Tell, {.head_timeout = 100ms});
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect());
    PTG_CO_RUN(co_await peer_.Send(Frame(kHeaders, kEndStream, 1, Field(":method", "GET"))));
    co_return co_await Over();
  };
  Run(run());
}

TEST_F(Http2ConnectionTest, IdlenessEndsItInOrder) {
  Start(Tell, {.idle_timeout = 100ms});
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect());
    PTG_CO_TRY(const Seen end, co_await Next(kGoAway, 0));
    EXPECT_EQ(end.payload.substr(4, 4), Number(0));
    peer_.socket().ShutdownWrite();
    co_return co_await Over();
  };
  Run(run());
}

// As with HTTP/1: whoever works for a client that has gone works on, and hears of it when he
// writes.
TEST_F(Http2ConnectionTest, AResetDoesNotCutTheHandlerOff) {
  Event go;
  std::optional<bool> gone;
  std::optional<Code> failed;
  size_t written = 0;
  Start([&](RequestHead&, BodySource&, ResponseWriter& out) -> Task<> {
    PTG_CO_RUN(co_await go.Wait(Deadline::Never()));
    gone = out.client_gone();
    co_return co_await Endless(out, written, failed);
  });
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect());
    PTG_CO_RUN(
        co_await peer_.Send(Request(1, "GET", "/a", false) + Frame(kReset, 0, 1, Number(8))));
    PTG_CO_RUN(co_await peer_.Send(Request(3, "GET", "/a", false)));
    PTG_CO_RUN(co_await Sleep(Millis(30)));
    PTG_CO_RUN(co_await peer_.Send(Frame(kReset, 0, 3, Number(8))));
    PTG_CO_RUN(co_await Sleep(Millis(30)));
    EXPECT_FALSE(gone.has_value());
    go.Set();
    EXPECT_EQ(gone, true);
    PTG_CO_RUN(co_await Sleep(Millis(10)));
    EXPECT_EQ(written, 0U);
    co_return {};
  };
  Run(run());
}

// What was broken off and still runs counts: more of it cannot be had by breaking off.
TEST_F(Http2ConnectionTest, HandlersThatStillRunAreBounded) {
  Event go;
  size_t running = 0;
  Start(
      [&](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
        ++running;
        PTG_CO_RUN(co_await go.Wait(Deadline::Never()));
        co_return co_await Tell(head, body, out);
      },
      {.streams = 3});
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect());
    for (uint32_t id = 1; id < 20; id += 2) {
      PTG_CO_RUN(co_await peer_.Send(Request(id, "GET", "/a", false)));
      PTG_CO_RUN(co_await Sleep(Millis(5)));
      PTG_CO_RUN(co_await peer_.Send(Frame(kReset, 0, id, Number(8))));
    }
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    EXPECT_EQ(running, 3U);
    go.Set();
    PTG_CO_RUN(co_await peer_.Send(Request(31, "GET", "/b", false)));
    PTG_CO_TRY(const Seen answer, co_await Next(kData, 31));
    EXPECT_EQ(answer.payload, "GET /b []");
    co_return {};
  };
  Run(run());
}

// The client reads nothing at all: the write deadline ends the connection and everybody on it.
TEST_F(Http2ConnectionTest, AClientThatDoesNotReadIsGivenUp) {
  size_t written = 0;
  std::optional<Code> failed;
  Start(
      [&](RequestHead&, BodySource&, ResponseWriter& out) { return Endless(out, written, failed); },
      {.write_timeout = 300ms});
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Overload());
    PTG_CO_RUN(co_await Over());
    EXPECT_TRUE(failed.has_value());
    EXPECT_LT(written, 16U * 1024 * 1024);
    co_return {};
  };
  Run(run());
}

// The last word of a connection whose client broke a rule leaves when the socket has room for it.
TEST_F(Http2ConnectionTest, ABrokenRuleIsToldBehindWhatWaits) {
  size_t written = 0;
  std::optional<Code> failed;
  narrow_ = true;
  Start([&](RequestHead&, BodySource&, ResponseWriter& out) {
    return Endless(out, written, failed);
  });
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect(std::string("\x00\x04\x7f\xff\xff\xff", 6)));
    PTG_CO_RUN(co_await peer_.Send(Frame(kWindow, 0, 0, Number(0x7ff00000))));
    PTG_CO_RUN(co_await peer_.Send(Request(1, "GET", "/a", false)));
    PTG_CO_RUN(co_await Sleep(Millis(50)));
    // DATA belongs to a stream.
    PTG_CO_RUN(co_await peer_.Send(Frame(kData, 0, 0, "x")));
    PTG_CO_RUN(co_await Sleep(Millis(50)));
    PTG_CO_TRY(const Seen end, co_await Next(kGoAway, 0));
    EXPECT_EQ(end.payload.substr(4, 4), Number(1));
    co_return co_await Over();
  };
  Run(run());
}

TEST_F(Http2ConnectionTest, ADrainLetsStreamsFinishAndTellsWhichWereTaken) {
  Event go;
  Start([&](RequestHead& head, BodySource& body, ResponseWriter& out) -> Task<> {
    PTG_CO_RUN(co_await go.Wait(Deadline::Never()));
    co_return co_await Tell(head, body, out);
  });
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await Connect());
    PTG_CO_RUN(co_await peer_.Send(Request(1, "GET", "/a", false)));
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    connection_.lock()->Drain();
    PTG_CO_TRY(const Seen end, co_await Next(kGoAway, 0));
    EXPECT_EQ(end.payload.substr(0, 8), Number(1) + Number(0));
    PTG_CO_RUN(co_await peer_.Send(Request(3, "GET", "/late", false)));
    go.Set();
    PTG_CO_TRY(const Seen answer, co_await Next(kData, 1));
    EXPECT_EQ(answer.payload, "GET /a []");
    peer_.socket().ShutdownWrite();
    co_return co_await Over();
  };
  Run(run());
}

}  // namespace
}  // namespace pontage::net::http2
