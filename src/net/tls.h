#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "io/socket.h"

namespace pontage::net {

// TLS on a non-blocking descriptor, without buffers of ours between OpenSSL and the socket.
class TlsSession {
 public:
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  enum class Need : uint8_t { kNothing, kRead, kWrite };
  struct Outcome {
    size_t count = 0;  // 0 with kNothing: the peer's end (reading)
    Need need = Need::kNothing;
    bool failed = false;
  };
  Outcome Read(std::span<char> into);
  Outcome Write(std::string_view bytes);
  Outcome Handshake();
  void ShutdownWrite();
  // Nothing unread and no end.
  bool AtRest();
  // Bytes of the peer's are here that the descriptor knows nothing of any more.
  bool HasUnread() const;
  // What ALPN agreed on ("h2"); empty when the peer did not ask.
  std::string_view protocol() const;
  // Why the handshake failed, for the log and the operator.
  std::string Reason() const;

 private:
  friend class TlsClientContext;
  friend class TlsServerContext;
  struct Impl;
  explicit TlsSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What all TLS connections of a client share: the certification authorities of the system, or of
// SSL_CERT_FILE. Peers must show a chain to one of them and a certificate for their name. Safe for
// all threads.
class TlsClientContext {
 public:
  TlsClientContext();
  // The same with the authorities of a PEM file on top. kConfig with detail() what was found and
  // expected() when there are none in it.
  static Result<std::shared_ptr<const TlsClientContext>> WithAuthorities(const std::string& file);
  ~TlsClientContext();
  TlsClientContext(const TlsClientContext&) = delete;
  TlsClientContext& operator=(const TlsClientContext&) = delete;

  // Shakes hands with `host` (a name or a literal address) over a connected socket. kConnection
  // when the peer is not who it should be or speaks no TLS 1.2 or 1.3; kTimeout.
  Task<std::unique_ptr<TlsSession>> Connect(Socket& socket, std::string host, Deadline by) const;

  // No two contexts of a process have the same: who was trusted by one is no peer of another.
  uint64_t id() const { return id_; }

 private:
  struct Impl;
  const uint64_t id_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pontage::net
