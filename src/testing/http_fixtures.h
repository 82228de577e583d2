#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "io/fork.h"
#include "net/client.h"
#include "net/server.h"
#include "testing/raw_peer.h"

// One end of HTTP is ours, the other is bytes: for the tests of net/ and of what stands on it.
namespace pontage::testing {

// Answers with the method, the target and the body, in one piece with a size.
inline Task<> Tell(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
  const Deadline by = Deadline::In(Clock::System(), 5s);
  PTG_CO_TRY(const std::string text, co_await net::ReadAll(body, 1 << 20, by));
  const std::string answer = head.method + " " + head.target + " [" + text + "]";
  net::ResponseHead ok;
  ok.status = 200;
  PTG_CO_RUN(co_await out.Head(std::move(ok), answer.size()));
  PTG_CO_RUN(co_await out.Write(answer));
  co_return co_await out.End();
}

// Answers 402 without a look at the body.
inline Task<> Unread(net::RequestHead& head, net::BodySource&, net::ResponseWriter& out) {
  net::ResponseHead answer;
  answer.status = 402;
  answer.headers.Add("X-Target", head.target);
  PTG_CO_RUN(co_await out.Head(std::move(answer), 0));
  co_return co_await out.End();
}

// A server of ours that a test talks to byte by byte.
class ServerFixture : public ::testing::Test {
 protected:
  void Start(net::Handler handler, net::ServerLimits limits = {}) {
    server_ = std::make_unique<net::Server>(loop_, limits, std::move(handler));
    ASSERT_TRUE(server_->Listen("127.0.0.1:0"));
  }
  // Sends `bytes`, closes our side if asked, and gives all that comes back.
  Result<std::string> Talk(std::string_view bytes, bool half_close = false) {
    const auto run = [&]() -> Task<std::string> {
      RawPeer peer(loop_);
      PTG_CO_RUN(co_await peer.Connect(server_->port()));
      PTG_CO_RUN(co_await peer.Send(bytes));
      if (half_close) peer.socket().ShutdownWrite();
      co_return co_await peer.ReadToEnd();
    };
    return loop_.RunUntilDone(run());
  }
  // Runs a test body that talks to the server.
  void Run(Task<> body) {
    const Result<> done = loop_.RunUntilDone(std::move(body));
    EXPECT_TRUE(done) << done.error().detail();
  }

  Loop loop_;
  std::unique_ptr<net::Server> server_;
};

inline net::RequestHead Get(std::string_view method = "GET") {
  net::RequestHead head;
  head.method = method;
  head.target = "/";
  return head;
}

// An upstream that is bytes, for a client of ours.
class UpstreamFixture : public ::testing::Test {
 protected:
  Deadline Soon() const { return Deadline::In(loop_.clock(), 5s); }
  net::Url To(const net::Server& server, std::string path = "/") const {
    return {.tls = false, .host = "127.0.0.1", .port = server.port(), .path = std::move(path)};
  }

  net::Url ToUpstream() const {
    return {.tls = false, .host = "127.0.0.1", .port = listener_.port(), .path = "/"};
  }
  // An upstream that does with its n-th connection (from 1) what `script` says.
  using Script = std::function<Task<>(RawPeer& peer, int n)>;
  void Upstream(Script script) {
    const auto address = SocketAddress::ParseListen("127.0.0.1:0");
    // What the scripts before captured goes with them.
    scripts_.clear();
    peers_.clear();
    auto listener = Listener::Open(loop_, *address);
    ASSERT_TRUE(listener);
    listener_ = *std::move(listener);
    script_ = std::move(script);
    accepts_.Start(Accept());
  }
  Task<> Accept() {
    while (true) {
      PTG_CO_TRY(Socket socket, co_await listener_.Accept());
      RawPeer& peer = peers_.emplace_back(loop_, std::move(socket));
      ++connections_;
      scripts_.emplace_back().Start(script_(peer, connections_));
    }
  }
  // An upstream that answers every request with `answer` and leaves the connection open.
  void AlwaysAnswers(std::string answer) {
    Upstream([text = std::move(answer)](RawPeer& peer, int) -> Task<> {
      while (true) {
        PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
        PTG_CO_RUN(co_await peer.Send(text));
      }
    });
  }
  void Run(Task<> body) {
    const Result<> done = loop_.RunUntilDone(std::move(body));
    EXPECT_TRUE(done) << done.error().detail();
  }

  Loop loop_;
  Listener listener_;
  Script script_;
  int connections_ = 0;
  std::list<RawPeer> peers_;
  std::list<Fork> scripts_;
  Fork accepts_;
};

}  // namespace pontage::testing
