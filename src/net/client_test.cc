#include "net/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "io/timer.h"
#include "net/server.h"

namespace pontage::net {
namespace {

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

class NetTest : public ::testing::Test {
 protected:
  Deadline Soon() const { return Deadline::In(loop_.clock(), 5s); }
  Url To(const Server& server, std::string path = "/") const {
    return {.tls = false, .host = "127.0.0.1", .port = server.port(), .path = std::move(path)};
  }

  Loop loop_;
};

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

TEST_F(NetTest, AGetAndAPostComeBack) {
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

TEST_F(NetTest, ChunksAndTrailersGoBothWays) {
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

}  // namespace
}  // namespace pontage::net
