#include <algorithm>
#include <list>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/http_fixtures.h"

namespace pontage::net {
namespace {

using testing::RawPeer;

using ClientPoolTest = testing::UpstreamFixture;
using testing::Get;

constexpr std::string_view kHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

TEST_F(ClientPoolTest, APooledConnectionThatWasClosedIsReplaced) {
  Upstream([](RawPeer& peer, int) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    PTG_CO_RUN(co_await peer.Send(kHello));
    PTG_CO_RUN(co_await Sleep(Millis(10)));
    peer.socket().Close();
    co_return {};
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    for (int i = 1; i <= 3; ++i) {
      PTG_CO_TRY(const auto whole,
                 co_await client.Fetch(ToUpstream(), Get("POST"), "x", 100, Soon()));
      EXPECT_EQ(whole.body, "hello");
      EXPECT_EQ(connections_, i);
      PTG_CO_RUN(co_await Sleep(Millis(30)));
    }
    co_return {};
  };
  Run(run());
}

// It may have been processed: asking again could run the upstream twice for one payment.
TEST_F(ClientPoolTest, ARequestThatWasReadIsNeverRepeated) {
  int requests = 0;
  Upstream([&requests](RawPeer& peer, int) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    ++requests;
    PTG_CO_RUN(co_await peer.Send(kHello));
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    ++requests;
    peer.socket().Close();
    co_return {};
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon()));
    const auto got = co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon());
    EXPECT_EQ(got.error().code(), Code::kConnection);
    EXPECT_EQ(requests, 2);
    EXPECT_EQ(connections_, 1);
    co_return {};
  };
  Run(run());
}

// Our TCP has not heard of the acknowledgement when the reset comes with it: what was handed over
// counts as sent, be it a GET of which no body was taken.
TEST_F(ClientPoolTest, ARequestWhoseConnectionIsResetAtOnceIsNeverRepeated) {
  int requests = 0;
  Upstream([&requests](RawPeer& peer, int n) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    ++requests;
    PTG_CO_RUN(co_await peer.Send(kHello));
    if (n > 1) co_return {};
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    ++requests;
    peer.socket().Abort();
    co_return {};
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    PTG_CO_RUN(co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon()));
    const auto got = co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon());
    EXPECT_EQ(got.error().code(), Code::kConnection);
    EXPECT_EQ(requests, 2);
    EXPECT_EQ(connections_, 1);
    co_return {};
  };
  Run(run());
}

TEST_F(ClientPoolTest, WhoAsksForAFreshConnectionGetsOne) {
  AlwaysAnswers(std::string(kHello));
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    for (int i = 1; i <= 2; ++i) {
      const Url url = ToUpstream();
      const RequestHead head = Get();
      Client::SendOptions options;
      options.fresh = true;
      PTG_CO_TRY(const auto response, co_await client.Send(url, head, nullptr, Soon(), options));
      PTG_CO_RUN(co_await ReadAll(response->body(), 100, Soon()));
      EXPECT_EQ(connections_, i);
    }
    co_return {};
  };
  Run(run());
}

TEST_F(ClientPoolTest, WhoCannotBeReachedAndWhoDoesNotAnswer) {
  Upstream([](RawPeer& peer, int) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    PTG_CO_RUN(co_await Sleep(Millis(5'000)));
    co_return {};
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    const Deadline by = Deadline::In(loop_.clock(), 100ms);
    const auto late = co_await client.Fetch(ToUpstream(), Get(), "", 100, by);
    EXPECT_EQ(late.error().code(), Code::kUpstreamTimeout);
    Url nobody = ToUpstream();
    listener_.Close();
    const auto refused = co_await client.Fetch(nobody, Get(), "", 100, Soon());
    EXPECT_EQ(refused.error().code(), Code::kUpstreamUnreachable);
    nobody.host = "no-such-name.invalid";
    const auto unknown = co_await client.Fetch(nobody, Get(), "", 100, Soon());
    EXPECT_EQ(unknown.error().code(), Code::kUpstreamUnreachable);
    co_return {};
  };
  Run(run());
}

TEST_F(ClientPoolTest, AnAnswerBeyondTheBoundIsRefused) {
  AlwaysAnswers("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + std::string(101, 'x'));
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    const auto got = co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon());
    EXPECT_EQ(got.error().code(), Code::kUpstreamProtocol);
    co_return {};
  };
  Run(run());
}

// Gives the same piece for ever.
class Endless final : public BodySource {
 public:
  Task<std::string_view> Read(Deadline) override {
    given_ += piece_.size();
    co_return std::string_view(piece_);
  }
  std::optional<uint64_t> length() const override { return std::nullopt; }
  bool empty() const override { return false; }
  const Headers& trailers() const override { return trailers_; }
  size_t given() const { return given_; }

 private:
  std::string piece_ = std::string(64 * 1024, 'x');
  size_t given_ = 0;
  Headers trailers_;
};

TEST_F(ClientPoolTest, AnEarlyAnswerEndsTheUpload) {
  Upstream([](RawPeer& peer, int) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    PTG_CO_RUN(co_await peer.Send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"));
    co_return {};
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    Endless body;
    for (int i = 1; i <= 2; ++i) {
      const Url url = ToUpstream();
      const RequestHead head = Get("POST");
      PTG_CO_TRY(const auto response, co_await client.Send(url, head, &body, Soon()));
      EXPECT_EQ(response->head().status, 413);
      PTG_CO_TRY(const std::string text, co_await ReadAll(response->body(), 100, Soon()));
      EXPECT_EQ(text, "no");
      EXPECT_EQ(connections_, i);
    }
    // The response is gone, and with it the upload.
    const size_t given = body.given();
    PTG_CO_RUN(co_await Sleep(Millis(30)));
    EXPECT_EQ(body.given(), given);
    co_return {};
  };
  Run(run());
}

TEST_F(ClientPoolTest, AnUpstreamThatDoesNotReadHoldsTheUploadBack) {
  Upstream([](RawPeer&, int) -> Task<> {
    PTG_CO_RUN(co_await Sleep(Millis(5'000)));
    co_return {};
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    Endless body;
    const Url url = ToUpstream();
    const RequestHead head = Get("POST");
    const Deadline by = Deadline::In(loop_.clock(), 300ms);
    const auto got = co_await client.Send(url, head, &body, by);
    EXPECT_EQ(got.error().code(), Code::kUpstreamTimeout);
    EXPECT_LT(body.given(), 16U * 1024 * 1024);
    co_return {};
  };
  Run(run());
}

// A large upload is no slow answer: the time for the answer begins when the body has arrived.
TEST_F(ClientPoolTest, AnUploadThatGoesOnIsWaitedFor) {
  Upstream([](RawPeer& peer, int) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("last"));
    co_return co_await peer.Send(kHello);
  });
  class Slow final : public BodySource {
   public:
    Task<std::string_view> Read(Deadline) override {
      if (++reads_ > 6) co_return std::string_view();
      PTG_CO_RUN(co_await Sleep(Millis(100)));
      co_return reads_ == 6 ? "last" : "more";
    }
    std::optional<uint64_t> length() const override { return std::nullopt; }
    bool empty() const override { return false; }
    const Headers& trailers() const override { return trailers_; }

   private:
    int reads_ = 0;
    Headers trailers_;
  };
  Client client(loop_);
  const auto run = [&](Millis patience, bool answered) -> Task<> {
    Slow body;
    const Url url = ToUpstream();
    const RequestHead head = Get("POST");
    Client::SendOptions options;
    options.patience = patience;
    const Deadline by = Deadline::In(loop_.clock(), 250ms);
    const auto got = co_await client.Send(url, head, &body, by, options);
    EXPECT_EQ(got.has_value(), answered);
    if (!got) EXPECT_EQ(got.error().code(), Code::kTimeout);
    co_return {};
  };
  Run(run(250ms, true));
  Run(run(Millis(0), false));
}

// The buyer hung up in the middle of its upload: the upstream must not take what came for a whole.
TEST_F(ClientPoolTest, ABodyThatFailsBreaksTheRequest) {
  Result<std::string> seen;
  Upstream([&seen](RawPeer& peer, int) -> Task<> {
    seen = co_await peer.ReadToEnd();
    co_return {};
  });
  class Fails final : public BodySource {
   public:
    Task<std::string_view> Read(Deadline) override {
      if (std::exchange(read_, true)) co_return Fail(Code::kBadRequest, "broken on purpose");
      co_return "hello";
    }
    std::optional<uint64_t> length() const override { return std::nullopt; }
    bool empty() const override { return false; }
    const Headers& trailers() const override { return trailers_; }

   private:
    bool read_ = false;
    Headers trailers_;
  };
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    Fails body;
    const Url url = ToUpstream();
    const RequestHead head = Get("POST");
    const auto got = co_await client.Send(url, head, &body, Soon());
    EXPECT_EQ(got.error().code(), Code::kBadRequest);
    PTG_CO_RUN(co_await Sleep(Millis(30)));
    EXPECT_FALSE(seen) << *seen;
    co_return {};
  };
  Run(run());
}

TEST_F(ClientPoolTest, AnUnreadAnswerClosesItsConnection) {
  AlwaysAnswers("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello");
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    {
      const Url url = ToUpstream();
      const RequestHead head = Get();
      PTG_CO_TRY(const auto response, co_await client.Send(url, head, nullptr, Soon()));
      EXPECT_EQ(response->head().status, 200);
    }
    PTG_CO_RUN(co_await Sleep(Millis(10)));
    EXPECT_FALSE(peers_.back().socket().AtRest());
    co_return {};
  };
  Run(run());
}

// Between a hint and the answer a connection is nobody else's: the next one would hear the answer.
TEST_F(ClientPoolTest, AConnectionWhoseAnswerIsStillToComeIsNotUsedAgain) {
  Upstream([](RawPeer& peer, int number) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    PTG_CO_RUN(co_await peer.Send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"));
    if (number == 1) PTG_CO_RUN(co_await Sleep(Millis(120)));
    co_return co_await peer.Send(kHello);
  });
  Client client(loop_);
  const auto run = [&]() -> Task<> {
    const Deadline soon = Deadline::In(loop_.clock(), Millis(60));
    const auto late = co_await client.Fetch(ToUpstream(), Get(), "", 100, soon);
    EXPECT_FALSE(late.has_value());
    PTG_CO_TRY(const auto whole, co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon()));
    EXPECT_EQ(whole.body, "hello");
    EXPECT_EQ(connections_, 2);
    co_return {};
  };
  Run(run());
}

TEST_F(ClientPoolTest, IdleConnectionsAreFewAndNotOld) {
  AlwaysAnswers(std::string(kHello));
  Client client(loop_, {.idle_per_host = 2, .idle_timeout = 200ms});
  const auto run = [&]() -> Task<> {
    const Url url = ToUpstream();
    const RequestHead head = Get();
    {
      std::vector<std::unique_ptr<ClientResponse>> open;
      for (int i = 0; i < 4; ++i) {
        PTG_CO_TRY(auto response, co_await client.Send(url, head, nullptr, Soon()));
        PTG_CO_RUN(co_await ReadAll(response->body(), 100, Soon()));
        open.push_back(std::move(response));
      }
    }
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    const auto alive = [this] {
      return std::ranges::count_if(peers_, [](RawPeer& p) { return p.socket().AtRest(); });
    };
    EXPECT_EQ(connections_, 4);
    EXPECT_EQ(alive(), 2);
    PTG_CO_RUN(co_await Sleep(Millis(400)));
    EXPECT_EQ(alive(), 0);
    co_return {};
  };
  Run(run());
}

TEST_F(ClientPoolTest, AServerThatSaysWhenItClosesIsLeftBeforeThat) {
  const struct {
    std::string_view field;
    int connections;
  } cases[] = {{"timeout=1", 2}, {"timeout=0", 2}, {"timeout=60, max=9", 1}, {"nonsense", 1}};
  for (const auto& c : cases) {
    AlwaysAnswers("HTTP/1.1 200 OK\r\nKeep-Alive: " + std::string(c.field) +
                  "\r\nContent-Length: 0\r\n\r\n");
    connections_ = 0;
    Client client(loop_);
    const auto run = [&]() -> Task<> {
      PTG_CO_RUN(co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon()));
      PTG_CO_RUN(co_await Sleep(Millis(750)));
      PTG_CO_RUN(co_await client.Fetch(ToUpstream(), Get(), "", 100, Soon()));
      EXPECT_EQ(connections_, c.connections) << c.field;
      co_return {};
    };
    Run(run());
  }
}

}  // namespace
}  // namespace pontage::net
