#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "net/message.h"
#include "rail/rail_set.h"

// What passes between buyer and upstream, and what does not. Pure.
namespace pontage::gateway {

// "127.0.0.1/32", "10.0.0.0/8", "::1": the peers whose word about the client is taken.
class TrustedProxies {
 public:
  // kConfig, naming the entry that is no network.
  static Result<TrustedProxies> Make(const std::vector<std::string>& networks);
  bool Trusts(std::string_view address) const;

 private:
  struct Network {
    std::array<uint8_t, 16> bytes{};  // IPv4 in its IPv6-mapped form
    unsigned bits = 0;
  };
  std::vector<Network> networks_;
};

// The client as far as it is known: the peer, or what trusted proxies say stands before them (the
// last address in X-Forwarded-For that is not trusted itself).
std::string ClientAddress(const net::RequestHead& head, const TrustedProxies& trusted);

// The head that goes to the upstream: `target` in place of the request's, without hop-by-hop
// fields, without what pays (rails' headers, license and API key, receipts, overrides), with the
// forwarding fields rewritten: appended to when the peer is trusted, replaced when not.
// X-Request-Id and traceparent are ours in `head` already, and go on though Connection names them.
// The only protocol switch that is asked for is a WebSocket.
struct ForwardOptions {
  bool pass_authorization = false;  // Authorization and X-API-Key are the upstream's business
  std::string idempotency_key;      // set on paid work, in place of whatever came
  bool pass_upgrade = false;        // a protocol switch that the client asks for is asked for
};
// Whether a field of a request goes no further than here: what pays, what belongs to this
// connection, what some upstreams would read in place of the request line; and what only an
// underscore tells from such a name or from one that we write.
bool StaysHere(std::string_view name, const rail::RailSet& rails, const ForwardOptions& options);
// Of trailers, in which nothing that we write in heads may stand either.
bool TrailerStaysHere(std::string_view name, const rail::RailSet& rails,
                      const ForwardOptions& options);
net::RequestHead UpstreamHead(const net::RequestHead& head, std::string target,
                              const rail::RailSet& rails, const TrustedProxies& trusted,
                              const ForwardOptions& options);

// A CORS preflight: OPTIONS with Origin and Access-Control-Request-Method. Answered by us, free.
bool IsPreflight(const net::RequestHead& head);

}  // namespace pontage::gateway
