#pragma once

#include <memory>
#include <string>

#include "base/time.h"
#include "net/tls.h"

namespace pontage::net {

// What all TLS connections of a listener share: one certificate with its key. Immutable and safe
// for all threads; a new certificate is a new object, and connections keep the one they began with.
//
// TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only, our order of preference,
// session tickets (whose key lives as long as this object), ALPN, no renegotiation, no compression,
// no early data, no client certificates; the name a client asks for changes nothing.
class TlsServerContext {
 public:
  // `cert`: a PEM file with the certificate and the chain above it; `key`: a PEM file with its
  // private key, without a passphrase. kConfig with pointer() "/cert" or "/key", detail() what was
  // found and expected() what a right file holds.
  static Result<std::shared_ptr<const TlsServerContext>> Load(const std::string& cert,
                                                              const std::string& key);
  ~TlsServerContext();
  TlsServerContext(const TlsServerContext&) = delete;
  TlsServerContext& operator=(const TlsServerContext&) = delete;

  // The server's side of a handshake over an accepted socket. kConnection with the reason when the
  // client breaks it off or speaks nothing that we do; kTimeout.
  Task<std::unique_ptr<TlsSession>> Accept(Socket& socket, Deadline by) const;

  // The last moment of the certificate.
  UnixMs not_after() const;

 private:
  struct Impl;
  explicit TlsServerContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pontage::net
