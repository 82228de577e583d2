#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "io/runtime.h"
#include "net/message.h"

namespace pontage::net {

class TlsClientContext;

// scheme://host[:port][/path]. Strict: http or https, no user info, no fragment, no spaces.
struct Url {
  bool tls = false;
  std::string host;  // without brackets
  uint16_t port = 80;
  std::string path;  // begins with '/', keeps the query; "/" when absent
  // "host" or "host:port" as Host wants it, IPv6 in brackets.
  std::string Authority() const;
};
Result<Url> ParseUrl(std::string_view text);

struct ClientLimits {
  size_t head_bytes = 64 * 1024;
  size_t header_fields = 256;
  size_t idle_per_host = 64;  // pooled connections kept
  Millis connect_timeout{5'000};
  Millis idle_timeout{30'000};  // a pooled connection older than this is not used again
};

// An answer on its way in. Destroying it before the body's end closes the connection; after it, the
// connection goes back to the pool. Trailers stand in body().trailers() after the end. Reading the
// body fails with kUpstreamTimeout (and may be tried again: nothing is lost, so that who waits for
// the next event of a silent stream can look after its client now and then), kConnection (it broke
// off) or kUpstreamProtocol (broken chunking). For the answer to a HEAD, body().length() is what
// was announced and body().empty() is true.
class ClientResponse {
 public:
  virtual ~ClientResponse() = default;
  virtual ResponseHead& head() = 0;
  virtual BodySource& body() = 0;
  // After a 101: the raw bytes both ways.
  virtual Task<> WriteRaw(std::string_view bytes, Deadline by) = 0;
  // After a 101: nothing more will be written; what the other side has to say still comes.
  virtual void EndRaw() = 0;
};

// Requests over pooled keep-alive connections of one loop. TLS verifies the certificate and the
// name.
class Client {
 public:
  explicit Client(Loop& loop, ClientLimits limits = {});
  ~Client();

  // Called for every 1xx answer but 101.
  using Interim = std::function<Task<>(const ResponseHead&)>;

  struct SendOptions {
    const Interim* interim = nullptr;  // must outlive Send
    Millis connect_timeout{0};         // 0: the client's own
    bool fresh = false;                // not over a pooled connection
    // Not 0: while a body is on its way to the server, and after its last bytes, the answer's head
    // may take this long, even past `by`: a large upload is no slow answer.
    Millis patience{0};
    // But never past this.
    Deadline latest = Deadline::Never();
    // Whom to believe who an https server is; null: the authorities of the system. Must outlive
    // Send.
    const TlsClientContext* tls = nullptr;
  };

  // Sends `head` (target in origin form; Host, framing and Connection are set here from `url` and
  // `body`) and returns when the final answer's head is there. `body` is streamed at the same time,
  // with back-pressure; it may be null and must outlive the response. A pooled connection that the
  // server had closed is replaced once, and only while not one byte was written to it: what left
  // may have been worked on, and is not sent again here. Errors: kUpstreamUnreachable (no
  // connection, name unknown; nothing was sent), kUpstreamTimeout (`by` passed), kTimeout (it
  // passed while `body` gave nothing: who does not answer then is not to blame), kUpstreamProtocol
  // (what came is no HTTP answer), kConnection (it broke after something was sent: it may have been
  // processed).
  Task<std::unique_ptr<ClientResponse>> Send(const Url& url, const RequestHead& head,
                                             BodySource* body, Deadline by, SendOptions options);
  Task<std::unique_ptr<ClientResponse>> Send(const Url& url, const RequestHead& head,
                                             BodySource* body, Deadline by);

  // The whole exchange in memory, bodies up to `max_body`: for JSON APIs. `tls` as in SendOptions.
  struct Whole {
    ResponseHead head;
    std::string body;
  };
  Task<Whole> Fetch(const Url& url, RequestHead head, std::string body, size_t max_body,
                    Deadline by, const TlsClientContext* tls = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pontage::net
