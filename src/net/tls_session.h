#pragma once

#include <memory>
#include <string>

#include <openssl/ssl.h>

#include "net/tls.h"

// What the client's and the server's side of TLS share: private to net/tls*.cc.
namespace pontage::net {

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
struct FreeSslContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, FreeSslContext>;

struct TlsSession::Impl {
  std::unique_ptr<SSL, FreeSsl> ssl;

  // What OpenSSL's answer `n` to the last call means.
  Outcome Judge(int n);
};

// A context with what both sides want: TLS 1.2 and 1.3, no buffers held by idle connections, writes
// that may be partial and repeated from another place.
SslContext NewSslContext(const SSL_METHOD* method);

// From now on `ssl` reads and writes `socket`, by way of its own flags: who asks OpenSSL for bytes
// that the loop has not heard of asks no kernel.
void Attach(SSL* ssl, const Socket& socket);

// Shakes hands on `socket` for `session`, whose role is set. kConnection with OpenSSL's reason,
// kTimeout.
Task<> ShakeHands(Socket& socket, TlsSession& session, Deadline by);

}  // namespace pontage::net
