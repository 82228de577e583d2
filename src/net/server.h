#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "io/runtime.h"
#include "net/message.h"

namespace pontage::net {

class TlsServerContext;

// How an answer leaves. Calls in this order: any number of Interim, one Head, any number of Write,
// one End. Each call waits until the socket has taken what it must (back-pressure); kConnection
// when the client has gone, kTimeout when it does not take anything for the write deadline.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  // A 1xx answer (100, 103); not for HTTP/1.0 clients, where it does nothing.
  virtual Task<> Interim(const ResponseHead& head) = 0;
  // The head. `body_size` present: Content-Length framing; absent: chunked (close-delimited for
  // HTTP/1.0). Framing and hop-by-hop fields of `head` are ours and replaced. Nothing is sent yet
  // when a first Write or End follows at once: head and first bytes leave together.
  virtual Task<> Head(ResponseHead head, std::optional<uint64_t> body_size) = 0;
  // Body bytes. For HEAD requests and 204/304 they are counted and dropped. `flush`: hand over to
  // the socket now (events of a stream); otherwise small pieces may be gathered.
  virtual Task<> Write(std::string_view bytes, bool flush = true) = 0;
  // The end, with trailers (dropped where the framing cannot carry them). When it returns without
  // an error the last byte was handed to the socket.
  virtual Task<> End(const Headers* trailers = nullptr) = 0;
  // For 101 answers: sends the head and gives the raw byte stream to the caller from then on.
  virtual Task<> Upgrade(ResponseHead head) = 0;
  virtual bool head_sent() const = 0;
  // The connection is of no use after this answer: close it (also when Head was sent and the body
  // can not be completed, so that the client sees a broken answer instead of a short one).
  virtual void Abort() = 0;
  // True once the client is known to have gone (reset; a half-close is not going).
  virtual bool client_gone() const = 0;
};

// One exchange. Must send an answer; when it returns an error or nothing was sent the server
// answers 500 (or aborts after the head). The request's body may be left unread: the server drains
// a little of it or closes.
using Handler = std::function<Task<>(RequestHead& head, BodySource& body, ResponseWriter& out)>;

// Bounds and deadlines of a listener; each default has its reason beside it.
struct ServerLimits {
  size_t head_bytes = 64 * 1024;  // a payment header is up to 16 KiB, cookies another 8, with room
  size_t header_fields = 128;     // nginx and others stop near 100
  size_t chunk_line_bytes = 64;   // a size in hex; extensions are refused
  size_t trailer_bytes = 8 * 1024;
  size_t connections = 20'000;       // descriptors: two for each
  Millis handshake_timeout{10'000};  // of TLS, from the connection to its end (slowloris)
  // TLS handshakes that have begun and not ended: each holds some 40 KiB. Beyond them the slowest
  // makes room for the newest.
  size_t handshakes = 1024;
  Millis head_timeout{15'000};   // from the first byte to the end of the head (slowloris)
  Millis idle_timeout{75'000};   // between requests
  Millis body_timeout{30'000};   // without progress
  Millis write_timeout{30'000};  // without progress
  // HTTP/2: requests of one connection at a time. What RFC 9113 §5.1.2 asks for at least, and what
  // nginx and others allow within some.
  uint32_t streams = 100;
  size_t pipelined = 64;  // requests answered on one read before the loop is given to others
};

// Listens on one address with one loop; several servers may share the address (SO_REUSEPORT).
class Server {
 public:
  Server(Loop& loop, ServerLimits limits, Handler handler);
  ~Server();
  // Gives the X-Request-Id of what is refused before any handler sees it (bad framing, heads that
  // never end, too many connections). Before Listen.
  void NameRefusals(std::function<std::string()> request_id);
  // TLS from the next connection on, with this certificate; connections that are there keep theirs.
  // Before Listen, or later on the loop's thread; not for a server that began without.
  void UseTls(std::shared_ptr<const TlsServerContext> tls);
  // "127.0.0.1:8402", "[::1]:0", ":8402" (all addresses). Port 0 picks one. kConfig when it is no
  // address, kConnection when it is taken.
  Result<> Listen(std::string_view address);
  // Stops accepting, closes idle connections, lets running exchanges finish (their connections
  // close after the answer) until `by`, then aborts them. Called again with an earlier `by` it ends
  // the first call too.
  Task<> Drain(Deadline by);
  uint16_t port() const;
  size_t connections() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Whether nobody listens on `address` (as Listen takes it) yet: kConnection when somebody does.
// Asked once before the first Listen of a process, because SO_REUSEPORT would let a second process
// share the port in silence. Port 0 is always free.
Result<> CheckAddressFree(std::string_view address);

}  // namespace pontage::net
