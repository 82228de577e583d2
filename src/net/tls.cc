#include "net/tls.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/try.h"
#include "net/tls_session.h"

namespace pontage::net {
namespace {

int AsInt(size_t size) { return static_cast<int>(std::min(size, size_t{INT_MAX})); }

}  // namespace

TlsSession::Outcome TlsSession::Impl::Judge(int n) {
  if (n > 0) return {.count = static_cast<size_t>(n)};
  switch (SSL_get_error(ssl.get(), n)) {
    case SSL_ERROR_WANT_READ:
      return {.need = Need::kRead};
    case SSL_ERROR_WANT_WRITE:
      return {.need = Need::kWrite};
    case SSL_ERROR_ZERO_RETURN:
      return {};
    default:
      return {.failed = true};
  }
}

TlsSession::TlsSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsSession::~TlsSession() = default;

TlsSession::Outcome TlsSession::Read(std::span<char> into) {
  ERR_clear_error();
  return impl_->Judge(SSL_read(impl_->ssl.get(), into.data(), AsInt(into.size())));
}

TlsSession::Outcome TlsSession::Write(std::string_view bytes) {
  ERR_clear_error();
  return impl_->Judge(SSL_write(impl_->ssl.get(), bytes.data(), AsInt(bytes.size())));
}

TlsSession::Outcome TlsSession::Handshake() {
  ERR_clear_error();
  return impl_->Judge(SSL_do_handshake(impl_->ssl.get()));
}

void TlsSession::ShutdownWrite() {
  ERR_clear_error();
  SSL_shutdown(impl_->ssl.get());
}

bool TlsSession::AtRest() {
  ERR_clear_error();
  // Reads what a peer sends unasked (session tickets) on the way.
  char byte = 0;
  const Outcome outcome = impl_->Judge(SSL_peek(impl_->ssl.get(), &byte, 1));
  return outcome.need == Need::kRead;
}

bool TlsSession::HasUnread() const { return SSL_has_pending(impl_->ssl.get()) == 1; }

std::string_view TlsSession::protocol() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(impl_->ssl.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string TlsSession::Reason() const {
  const long verify = SSL_get_verify_result(impl_->ssl.get());
  if (verify != X509_V_OK) return X509_verify_cert_error_string(verify);
  const unsigned long error = ERR_peek_last_error();
  const char* const reason = error != 0 ? ERR_reason_error_string(error) : nullptr;
  return reason != nullptr ? reason : "the handshake was broken off";
}

namespace {

class HandshakeAwaiter final : public IoAwaiter {
 public:
  HandshakeAwaiter(Socket& socket, TlsSession& session, Deadline by)
      : IoAwaiter(socket, by, Step::kDone), session_(session) {}
  Result<> await_resume() {
    PTG_RUN(outcome());
    if (failed_) return Fail(Code::kConnection, "TLS: " + reason_);
    return {};
  }

 private:
  Step Attempt() override {
    const TlsSession::Outcome outcome = session_.Handshake();
    if (outcome.need == TlsSession::Need::kRead) return Step::kWantRead;
    if (outcome.need == TlsSession::Need::kWrite) return Step::kWantWrite;
    failed_ = outcome.failed || outcome.count == 0;
    if (failed_) reason_ = session_.Reason();
    return Step::kDone;
  }

  TlsSession& session_;
  bool failed_ = false;
  std::string reason_;
};

}  // namespace

namespace {

struct Wire {
  SocketBytes bytes;
  bool ended = false;
};
Wire& WireOf(BIO* bio) { return *static_cast<Wire*>(BIO_get_data(bio)); }

int BioRead(BIO* bio, char* into, int size) {
  BIO_clear_retry_flags(bio);
  Wire& wire = WireOf(bio);
  const ssize_t n = wire.bytes.Read({into, static_cast<size_t>(size)});
  wire.ended = n == 0;
  if (n < 0 && errno == EAGAIN) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

int BioWrite(BIO* bio, const char* from, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = WireOf(bio).bytes.Write({from, static_cast<size_t>(size)});
  if (n < 0 && errno == EAGAIN) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

// Nothing is held back here, so there is nothing to flush.
long BioControl(BIO* bio, int what, long, void*) {
  if (what == BIO_CTRL_EOF) return WireOf(bio).ended ? 1 : 0;
  return what == BIO_CTRL_FLUSH ? 1 : 0;
}

int BioFree(BIO* bio) {
  delete static_cast<Wire*>(BIO_get_data(bio));
  return 1;
}

BIO_METHOD* SocketMethod() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    PTG_CHECK(made != nullptr);
    BIO_meth_set_read(made, BioRead);
    BIO_meth_set_write(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    BIO_meth_set_destroy(made, BioFree);
    return made;
  }();
  return method;
}

}  // namespace

void Attach(SSL* ssl, const Socket& socket) {
  BIO* const bio = BIO_new(SocketMethod());
  PTG_CHECK(bio != nullptr);
  BIO_set_data(bio, new Wire{SocketBytes(socket)});
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
}

SslContext NewSslContext(const SSL_METHOD* method) {
  SslContext context(SSL_CTX_new(method));
  PTG_CHECK(context != nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return context;
}

Task<> ShakeHands(Socket& socket, TlsSession& session, Deadline by) {
  HandshakeAwaiter handshake(socket, session, by);
  co_return co_await handshake;
}

struct TlsClientContext::Impl {
  SslContext context;
};

namespace {

uint64_t NextContextId() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

TlsClientContext::TlsClientContext() : id_(NextContextId()), impl_(std::make_unique<Impl>()) {
  impl_->context = NewSslContext(TLS_client_method());
  SSL_CTX_set_verify(impl_->context.get(), SSL_VERIFY_PEER, nullptr);
  // Honours SSL_CERT_FILE and SSL_CERT_DIR.
  SSL_CTX_set_default_verify_paths(impl_->context.get());
}

Result<std::shared_ptr<const TlsClientContext>> TlsClientContext::WithAuthorities(
    const std::string& file) {
  auto made = std::make_shared<TlsClientContext>();
  ERR_clear_error();
  if (SSL_CTX_load_verify_file(made->impl_->context.get(), file.c_str()) != 1) {
    const unsigned long error = ERR_peek_error();
    ERR_clear_error();
    const bool system = ERR_SYSTEM_ERROR(error) != 0;
    return Fail(Error(Code::kConfig,
                      file + (system ? ", which cannot be read" : ", which holds no certificate"))
                    .Want("a PEM file with certificates of authorities"));
  }
  return std::shared_ptr<const TlsClientContext>(std::move(made));
}

TlsClientContext::~TlsClientContext() = default;

Task<std::unique_ptr<TlsSession>> TlsClientContext::Connect(Socket& socket, std::string host,
                                                            Deadline by) const {
  auto impl = std::make_unique<TlsSession::Impl>();
  impl->ssl.reset(SSL_new(impl_->context.get()));
  SSL* const ssl = impl->ssl.get();
  PTG_CHECK(ssl != nullptr);
  if (SocketAddress::Literal(host, 0)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str());
  } else {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl, host.c_str()) != 1 || SSL_set_tlsext_host_name(ssl, host.c_str()) != 1) {
      co_return Fail(Code::kConnection, "TLS: not a host name: " + host);
    }
  }
  Attach(ssl, socket);
  SSL_set_connect_state(ssl);
  std::unique_ptr<TlsSession> session(new TlsSession(std::move(impl)));
  PTG_CO_RUN(co_await ShakeHands(socket, *session, by));
  co_return session;
}

}  // namespace pontage::net
