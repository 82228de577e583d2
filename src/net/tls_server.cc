#include "net/tls_server.h"

#include <array>
#include <ctime>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/try.h"
#include "net/tls_session.h"

namespace pontage::net {
namespace {

// Forward secrecy and authenticated encryption, AES first: every server CPU has it in hardware. A
// client that puts ChaCha20 first has none and gets it (SSL_OP_PRIORITIZE_CHACHA).
constexpr const char* kCiphers12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* kCiphers13 =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kGroups = "X25519:P-256:P-384";
// Each ticket is a record of its own in the server's flight; clients come back one at a time.
constexpr size_t kTickets = 1;

// ALPN names, each behind its length, best first.
constexpr std::array<unsigned char, 12> kProtocols = {2,   'h', '2', 8,   'h', 't',
                                                      't', 'p', '/', '1', '.', '1'};

int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* out_size,
                   const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_size, kProtocols.data(), kProtocols.size(),
                                          offered, offered_size);
  *out = chosen;
  // Who asks for something that we do not speak shall not hear HTTP instead (RFC 7301 §3.2).
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// Nobody sits at the terminal of a server.
int NoPassphrase(char*, int, int, void*) { return 0; }

std::unexpected<Error> Wrong(const char* pointer, std::string found, const char* expected) {
  ERR_clear_error();
  return Fail(Error(Code::kConfig, std::move(found)).At(pointer).Want(expected));
}

std::string Why(const std::string& file) {
  const unsigned long error = ERR_peek_error();
  if (ERR_SYSTEM_ERROR(error)) return file + ", which cannot be read";
  const char* const reason = ERR_reason_error_string(error);
  return file + " (" + (reason != nullptr ? reason : "unreadable") + ")";
}

UnixMs ExpiryOf(const X509* cert) {
  std::tm when{};
  if (cert == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &when) != 1) return UnixMs();
  return UnixMs::FromSeconds(::timegm(&when));
}

}  // namespace

struct TlsServerContext::Impl {
  SslContext context;
  UnixMs not_after;
};

TlsServerContext::TlsServerContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsServerContext::~TlsServerContext() = default;

UnixMs TlsServerContext::not_after() const { return impl_->not_after; }

Result<std::shared_ptr<const TlsServerContext>> TlsServerContext::Load(const std::string& cert,
                                                                       const std::string& key) {
  auto impl = std::make_unique<Impl>();
  impl->context = NewSslContext(TLS_server_method());
  SSL_CTX* const context = impl->context.get();
  // A client that ends without close_notify has not cut anything off: HTTP has its own framing.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF);
  PTG_CHECK(SSL_CTX_set_cipher_list(context, kCiphers12) == 1);
  PTG_CHECK(SSL_CTX_set_ciphersuites(context, kCiphers13) == 1);
  PTG_CHECK(SSL_CTX_set1_groups_list(context, kGroups) == 1);
  // Tickets keep the state at the client; a cache of ours would only cost memory.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, kTickets);
  // A record's header and body in one read.
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_alpn_select_cb(context, ChooseProtocol, nullptr);
  SSL_CTX_set_default_passwd_cb(context, NoPassphrase);

  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, cert.c_str()) != 1) {
    return Wrong("/cert", Why(cert), "a PEM file with the certificate and the chain above it");
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    const bool mismatch = ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH ||
                          ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_TYPE_MISMATCH;
    return Wrong("/key", mismatch ? key + ", which is not the certificate's" : Why(key),
                 "a PEM file with the certificate's private key, without a passphrase");
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return Wrong("/key", key + ", which is not the certificate's",
                 "a PEM file with the certificate's private key");
  }
  impl->not_after = ExpiryOf(SSL_CTX_get0_certificate(context));
  return std::shared_ptr<const TlsServerContext>(new TlsServerContext(std::move(impl)));
}

Task<std::unique_ptr<TlsSession>> TlsServerContext::Accept(Socket& socket, Deadline by) const {
  auto impl = std::make_unique<TlsSession::Impl>();
  impl->ssl.reset(SSL_new(impl_->context.get()));
  SSL* const ssl = impl->ssl.get();
  PTG_CHECK(ssl != nullptr);
  Attach(ssl, socket);
  SSL_set_accept_state(ssl);
  std::unique_ptr<TlsSession> session(new TlsSession(std::move(impl)));
  PTG_CO_RUN(co_await ShakeHands(socket, *session, by));
  co_return session;
}

}  // namespace pontage::net
