#include "net/tls_server.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/tls_identity.h"
#include "testing/http_fixtures.h"

namespace pontage::net {
namespace {

using pontage::testing::RawPeer;
using pontage::testing::Tell;
using ::testing::HasSubstr;
using testing::Identity;
using testing::MakeIdentity;
using ::testing::StartsWith;

class TlsServerTest : public pontage::testing::ServerFixture {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("ptg-tlss-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    authority_ = MakeIdentity("", nullptr);
    testing::WritePem(authority_.cert, File("authority.pem"));
    ::setenv("SSL_CERT_FILE", File("authority.pem").c_str(), 1);
    Write(MakeIdentity("DNS:localhost,IP:127.0.0.1", &authority_), "good");
  }
  void TearDown() override {
    server_.reset();
    ::unsetenv("SSL_CERT_FILE");
    std::filesystem::remove_all(folder_);
  }
  std::string File(const std::string& name) const { return folder_ / name; }
  void Write(const Identity& identity, const std::string& name) const {
    testing::WritePem(identity.cert, File(name + ".pem"));
    testing::WritePem(identity.key, File(name + ".key"));
  }
  std::shared_ptr<const TlsServerContext> Load(const std::string& name) const {
    auto loaded = TlsServerContext::Load(File(name + ".pem"), File(name + ".key"));
    EXPECT_TRUE(loaded) << loaded.error().detail();
    return loaded.value_or(nullptr);
  }
  void StartTls(Handler handler, ServerLimits limits = {}) {
    server_ = std::make_unique<Server>(loop_, limits, std::move(handler));
    server_->UseTls(Load("good"));
    ASSERT_TRUE(server_->Listen("127.0.0.1:0"));
  }
  Task<Client::Whole> Fetch(Client& client, std::string host = "localhost") const {
    const Url url{.tls = true, .host = std::move(host), .port = server_->port(), .path = "/a"};
    RequestHead head;
    head.method = "GET";
    std::string body;
    co_return co_await client.Fetch(url, std::move(head), std::move(body), 1 << 20,
                                    Deadline::In(Clock::System(), 5s));
  }
  // Until the server has closed on `peer`.
  Task<bool> Closes(RawPeer& peer) const {
    const Result<std::string> rest = co_await peer.ReadToEnd();
    co_return rest.has_value() || rest.error().code() == Code::kConnection;
  }

  std::filesystem::path folder_;
  Identity authority_;
};

TEST_F(TlsServerTest, ARequestKnowsWhetherItCameOverTls) {
  bool seen = false;
  StartTls([&seen](RequestHead& head, BodySource& body, ResponseWriter& out) {
    seen = head.tls;
    return Tell(head, body, out);
  });
  Client client(loop_);
  const auto got = loop_.RunUntilDone(Fetch(client));
  ASSERT_TRUE(got) << got.error().detail();
  EXPECT_EQ(got->body, "GET /a []");
  EXPECT_TRUE(seen);
  Start([&seen](RequestHead& head, BodySource& body, ResponseWriter& out) {
    seen = head.tls;
    return Tell(head, body, out);
  });
  ASSERT_TRUE(Talk("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_FALSE(seen);
}

// Each file with its fault: the error says which of the two it is.
TEST_F(TlsServerTest, APairThatIsNoneIsRefusedByFile) {
  Write(MakeIdentity("DNS:other", &authority_), "other");
  std::ofstream(File("junk")) << "junk";
  std::ofstream(File("empty")) << "";
  const struct {
    std::string cert, key, pointer, detail;
  } cases[] = {
      {"none", "good.key", "/cert", "cannot be read"},
      {"junk", "good.key", "/cert", "junk"},
      {"empty", "good.key", "/cert", "empty"},
      {"good.key", "good.key", "/cert", "good.key"},
      {"good.pem", "none", "/key", "cannot be read"},
      {"good.pem", "junk", "/key", "junk"},
      {"good.pem", "good.pem", "/key", "good.pem"},
      {"good.pem", "other.key", "/key", "not the certificate's"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.cert + " " + c.key);
    const auto loaded = TlsServerContext::Load(File(c.cert), File(c.key));
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code(), Code::kConfig);
    EXPECT_EQ(loaded.error().pointer(), c.pointer);
    EXPECT_THAT(loaded.error().detail(), HasSubstr(c.detail));
    EXPECT_FALSE(loaded.error().expected().empty());
  }
}

TEST_F(TlsServerTest, ANewCertificateIsForNewConnections) {
  StartTls(Tell);
  const auto run = [this]() -> Task<> {
    Client old(loop_);
    PTG_CO_RUN(co_await Fetch(old));
    Write(MakeIdentity("DNS:elsewhere", &authority_), "elsewhere");
    server_->UseTls(Load("elsewhere"));
    // The one that is open goes on; a new one is shown a name that it did not ask for.
    PTG_CO_RUN(co_await Fetch(old));
    Client fresh(loop_);
    const auto got = co_await Fetch(fresh);
    EXPECT_FALSE(got);
    co_return {};
  };
  Run(run());
}

TEST_F(TlsServerTest, PlainHttpHearsWhatThisPortSpeaks) {
  StartTls(Tell);
  const auto got = Talk("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true);
  EXPECT_THAT(got.value_or("reset"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(got.value_or("reset"), HasSubstr("use https"));
}

TEST_F(TlsServerTest, AHandshakeHasADeadline) {
  StartTls(Tell, {.handshake_timeout = 100ms});
  for (const std::string_view bytes : {std::string_view(""), std::string_view("\x16\x03\x01", 3)}) {
    EXPECT_EQ(Talk(bytes).value_or(""), "");
  }
  EXPECT_EQ(server_->connections(), 0U);
}

TEST_F(TlsServerTest, TheSlowestHandshakeMakesRoomForTheNewest) {
  StartTls(Tell, {.handshakes = 2});
  const auto run = [this]() -> Task<> {
    RawPeer slowest(loop_);
    RawPeer slow(loop_);
    PTG_CO_RUN(co_await slowest.Connect(server_->port()));
    PTG_CO_RUN(co_await slow.Connect(server_->port()));
    while (server_->connections() < 2) PTG_CO_RUN(co_await Sleep(Millis(1)));
    Client client(loop_);
    PTG_CO_RUN(co_await Fetch(client));
    PTG_CO_TRY(const bool closed, co_await Closes(slowest));
    EXPECT_TRUE(closed);
    PTG_CO_TRY(const bool silent, co_await slow.Silent(20ms));
    EXPECT_TRUE(silent);
    co_return {};
  };
  Run(run());
}

TEST_F(TlsServerTest, ADrainDoesNotWaitForHandshakes) {
  StartTls(Tell);
  const auto run = [this]() -> Task<> {
    RawPeer peer(loop_);
    PTG_CO_RUN(co_await peer.Connect(server_->port()));
    while (server_->connections() < 1) PTG_CO_RUN(co_await Sleep(Millis(1)));
    PTG_CO_RUN(co_await server_->Drain(Deadline::In(Clock::System(), 5s)));
    EXPECT_EQ(server_->connections(), 0U);
    co_return {};
  };
  Run(run());
}

TEST_F(TlsServerTest, AuthoritiesOfOnesOwnAreBelievedAndNobodyElsesConnectionIsUsed) {
  StartTls(Tell);
  const auto trusting = TlsClientContext::WithAuthorities(File("authority.pem"));
  ASSERT_TRUE(trusting);
  ::setenv("SSL_CERT_FILE", "/dev/null", 1);
  const auto run = [&]() -> Task<> {
    Client client(loop_);
    const Url url{.tls = true, .host = "localhost", .port = server_->port(), .path = "/"};
    const RequestHead head = pontage::testing::Get();
    Client::SendOptions options;
    options.tls = trusting->get();
    const Deadline by = Deadline::In(Clock::System(), 5s);
    {
      PTG_CO_TRY(const auto answer, co_await client.Send(url, head, nullptr, by, options));
      PTG_CO_RUN(co_await ReadAll(answer->body(), 1000, by));
    }
    const auto stranger = co_await client.Send(url, head, nullptr, by);
    EXPECT_FALSE(stranger);
    {
      PTG_CO_TRY(const auto again, co_await client.Send(url, head, nullptr, by, options));
      PTG_CO_RUN(co_await ReadAll(again->body(), 1000, by));
    }
    EXPECT_EQ(server_->connections(), 1U);
    co_return {};
  };
  Run(run());
}

}  // namespace
}  // namespace pontage::net
