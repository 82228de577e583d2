#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "codec/json.h"
#include "net/server.h"

namespace pontage::paywall {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

// How one request is answered: what every answer carries (X-Request-Id, CORS for browsers), and the
// answers that are ours. One for each request.
class Reply {
 public:
  Reply(net::ResponseWriter& out, const RequestId& id, const net::RequestHead& head)
      : out_(out), id_(id), cross_origin_(head.headers.Has("Origin")) {}

  // A field that this answer carries whoever makes it, in place of one of that name.
  void Add(std::string_view name, std::string_view value) { added_.Add(name, value); }
  // For nginx, which takes no other refusal than 401 and 403 from an auth_request and throws its
  // body away: what is not passed becomes 403, with the real status in X-Pontage-Status and the
  // body in X-Pontage-Body (JSON in one line, at most kMaxBodyField bytes).
  void RefuseWith403() { deny_403_ = true; }
  // A v1 offer takes about 600 bytes for each network; header buffers of proxies are 32 KiB at most
  // as people set them.
  static constexpr size_t kMaxBodyField = 16 * 1024;

  // Adds what every answer carries. `ours`: the answer is made here, so any origin may read it.
  void Decorate(net::ResponseHead& head, bool ours) const;
  // problem+json for `error`, with the status of its row. Retry-After for what is worth trying
  // again.
  Task<> Problem(const Error& error, HeaderList headers = {});
  // A whole answer out of memory.
  Task<> Send(int status, std::string_view content_type, std::string body, HeaderList headers = {});

  // The same of one that was made before: `fields` are all of its own. Both must outlive it.
  Task<> SendMade(int status, const net::Headers& fields, std::string_view body);

  net::ResponseWriter& out() const { return out_; }
  // What the client sends after a protocol switch; nullptr where none can happen.
  net::BodySource* client() const { return client_; }
  void set_client(net::BodySource& client) { client_ = &client; }
  const RequestId& id() const { return id_; }
  // Of the answer that was sent, before it became 403; 0 before.
  int status() const { return status_; }
  void set_status(int status) { status_ = status; }

 private:
  net::ResponseWriter& out_;
  const RequestId& id_;
  bool cross_origin_;
  net::BodySource* client_ = nullptr;
  int status_ = 0;
  bool deny_403_ = false;
  net::Headers added_;
};

// "Payment Required" and so on; "" for a status without a usual phrase.
std::string_view ReasonPhrase(int status);

// What a browser's script may read of our answers.
inline constexpr std::string_view kExposedHeaders =
    "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, X-Request-Id, Retry-After, RateLimit, "
    "RateLimit-Policy, X-Pontage-License, X-Pontage-Payment";

}  // namespace pontage::paywall
