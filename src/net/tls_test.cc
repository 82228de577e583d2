#include "net/tls.h"

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "base/try.h"
#include "io/fork.h"
#include "net/client.h"
#include "net/tls_identity.h"
#include "net/transport.h"

namespace pontage::net {
namespace {

using testing::Freer;
using ::testing::HasSubstr;
using testing::Identity;
using testing::MakeIdentity;
using testing::WritePem;

// Drives the server's half of TLS on a socket of the same loop; echoes what requests it is shown.
class ServerAwaiter final : public IoAwaiter {
 public:
  ServerAwaiter(Socket& socket, SSL* ssl, std::function<int(SSL*)> call)
      : IoAwaiter(socket, Deadline::Never(), Step::kDone), ssl_(ssl), call_(std::move(call)) {}
  Result<int> await_resume() {
    PTG_RUN(outcome());
    return result_;
  }

 private:
  Step Attempt() override {
    result_ = call_(ssl_);
    if (result_ > 0) return Step::kDone;
    const int error = SSL_get_error(ssl_, result_);
    if (error == SSL_ERROR_WANT_READ) return Step::kWantRead;
    if (error == SSL_ERROR_WANT_WRITE) return Step::kWantWrite;
    return Step::kDone;
  }
  SSL* ssl_;
  std::function<int(SSL*)> call_;
  int result_ = 0;
};

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("ptg-tls-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    authority_ = MakeIdentity("", nullptr);
    const std::string file = folder_ / "authority.pem";
    WritePem(authority_.cert, file);
    ::setenv("SSL_CERT_FILE", file.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("SSL_CERT_FILE");
    std::filesystem::remove_all(folder_);
  }

  // A server that shows `identity` and answers each request head with its own size of 'x'.
  void Serve(const Identity& identity) {
    context_.reset(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_use_certificate(context_.get(), identity.cert.get());
    SSL_CTX_use_PrivateKey(context_.get(), identity.key.get());
    SSL_CTX_set_mode(context_.get(),
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    const auto address = SocketAddress::ParseListen("127.0.0.1:0");
    auto listener = Listener::Open(loop_, *address);
    ASSERT_TRUE(listener);
    listener_ = *std::move(listener);
    serving_.Start(Accept());
  }
  Task<> Accept() {
    while (true) {
      PTG_CO_TRY(Socket socket, co_await listener_.Accept());
      ++accepted_;
      loop_.Spawn(Converse(std::move(socket)), "tls");
    }
  }
  Task<> Converse(Socket socket) {
    const std::unique_ptr<SSL, Freer<SSL_free>> ssl(SSL_new(context_.get()));
    SSL_set_fd(ssl.get(), socket.fd());
    ServerAwaiter handshake(socket, ssl.get(), SSL_accept);
    PTG_CO_TRY(const int shaken, co_await handshake);
    if (shaken <= 0) co_return {};
    std::string seen;
    while (true) {
      char buffer[4096];
      const std::function<int(SSL*)> read = [&buffer](SSL* s) {
        return SSL_read(s, buffer, sizeof buffer);
      };
      ServerAwaiter reading(socket, ssl.get(), read);
      PTG_CO_TRY(const int count, co_await reading);
      if (count <= 0) co_return {};
      seen.append(buffer, static_cast<size_t>(count));
      if (!seen.contains("\r\n\r\n") || (body_ > 0 && !seen.ends_with("END"))) continue;
      const std::string body(body_ > 0 ? body_ : 2, 'y');
      const std::string answer =
          "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
      received_ = seen.size();
      seen.clear();
      for (size_t at = 0; at < answer.size();) {
        const std::function<int(SSL*)> write = [&answer, at](SSL* s) {
          return SSL_write(s, answer.data() + at, static_cast<int>(answer.size() - at));
        };
        ServerAwaiter writing(socket, ssl.get(), write);
        PTG_CO_TRY(const int wrote, co_await writing);
        if (wrote <= 0) co_return {};
        at += static_cast<size_t>(wrote);
      }
    }
  }

  Url To(std::string host) const {
    return {.tls = true, .host = std::move(host), .port = listener_.port(), .path = "/"};
  }
  Deadline Soon() const { return Deadline::In(loop_.clock(), 5s); }
  Result<Client::Whole> Fetch(Client& client, std::string host, std::string body = "") {
    const auto run = [&]() -> Task<Client::Whole> {
      RequestHead head;
      head.method = body.empty() ? "GET" : "POST";
      const Url url = To(host);
      co_return co_await client.Fetch(url, head, body, 4 << 20, Soon());
    };
    return loop_.RunUntilDone(run());
  }

  Loop loop_;
  std::filesystem::path folder_;
  Identity authority_;
  std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>> context_;
  Listener listener_;
  size_t body_ = 0;
  int accepted_ = 0;
  size_t received_ = 0;  // of the last request
  Fork serving_;
};

TEST_F(TlsTest, ANameThatMatchesIsTakenAndTheConnectionKept) {
  Serve(MakeIdentity("DNS:localhost,IP:127.0.0.1", &authority_));
  Client client(loop_);
  for (const char* host : {"localhost", "localhost", "127.0.0.1", "127.0.0.1"}) {
    const auto got = Fetch(client, host);
    ASSERT_TRUE(got) << host << ": " << got.error().detail();
    EXPECT_EQ(got->body, "yy");
  }
  EXPECT_EQ(accepted_, 2);
}

TEST_F(TlsTest, WhoIsNotWhoItShouldBeIsUnreachable) {
  const Identity stranger = MakeIdentity("", nullptr);
  struct Case {
    std::string_view name;
    Identity identity;
    std::string host;
  };
  Case cases[] = {
      {"another name", MakeIdentity("DNS:elsewhere.example", &authority_), "localhost"},
      {"another address", MakeIdentity("DNS:localhost", &authority_), "127.0.0.1"},
      {"another authority", MakeIdentity("DNS:localhost", &stranger), "localhost"},
      {"its own authority", MakeIdentity("DNS:localhost", nullptr), "localhost"},
      {"expired", MakeIdentity("DNS:localhost", &authority_, -1), "localhost"},
  };
  for (const Case& c : cases) {
    Serve(c.identity);
    Client client(loop_);
    const auto got = Fetch(client, c.host);
    ASSERT_FALSE(got) << c.name;
    EXPECT_EQ(got.error().code(), Code::kUpstreamUnreachable) << c.name;
    EXPECT_THAT(got.error().detail(), HasSubstr("TLS: ")) << c.name;
  }
}

TEST_F(TlsTest, LargeBodiesGoBothWays) {
  body_ = 3'000'000;
  Serve(MakeIdentity("DNS:localhost", &authority_));
  Client client(loop_);
  const auto got = Fetch(client, "localhost", std::string(2'000'000, 'x') + "END");
  ASSERT_TRUE(got) << got.error().detail();
  EXPECT_EQ(got->body.size(), body_);
  // All of it arrived, with its head.
  EXPECT_GT(received_, 2'000'000U);
}

TEST_F(TlsTest, WhoSpeaksNoTlsIsUnreachable) {
  const auto address = SocketAddress::ParseListen("127.0.0.1:0");
  auto listener = Listener::Open(loop_, *address);
  ASSERT_TRUE(listener);
  listener_ = *std::move(listener);
  const auto plain = [this]() -> Task<> {
    PTG_CO_TRY(Socket socket, co_await listener_.Accept());
    const std::string_view text = "HTTP/1.1 400 Bad Request\r\n\r\n";
    const iovec piece{const_cast<char*>(text.data()), text.size()};
    PTG_CO_RUN(co_await socket.WriteSome({&piece, 1}, Soon()));
    co_return {};
  };
  serving_.Start(plain());
  Client client(loop_);
  const auto got = Fetch(client, "localhost");
  EXPECT_EQ(got.error().code(), Code::kUpstreamUnreachable);
}

}  // namespace
}  // namespace pontage::net
