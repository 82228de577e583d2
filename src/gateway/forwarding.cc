#include "gateway/forwarding.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>

#include "base/shelves.h"
#include "base/try.h"
#include "net/name_set.h"
#include "paywall/fields.h"

namespace pontage::gateway {
namespace {

using net::EqualsNoCase;

bool Named(const std::vector<std::string_view>& names, std::string_view name) {
  return std::ranges::any_of(names, [name](std::string_view n) { return EqualsNoCase(n, name); });
}

bool ParseAddress(std::string_view text, std::array<uint8_t, 16>& out) {
  const std::string copy(text);
  out.fill(0);
  if (inet_pton(AF_INET6, copy.c_str(), out.data()) == 1) return true;
  out.fill(0);
  out[10] = out[11] = 0xff;
  return inet_pton(AF_INET, copy.c_str(), out.data() + 12) == 1;
}

// For a value that is put together and gone with the next line.
using Scratch = std::basic_string<char, std::char_traits<char>, Shelved<char>>;

// RFC 7239 §6: an IPv6 address is quoted and in brackets.
void AppendForwardedNode(Scratch& to, std::string_view address) {
  const bool v6 = address.contains(':');
  to.append(v6 ? "\"[" : "").append(address).append(v6 ? "]\"" : "");
}

// Where a request came from is written by us: what the client or a proxy says of it is read first,
// if it is read at all. The body's source answers the expectation, and the client library names the
// host and frames anew.
constexpr net::NameSet kWrittenAnew("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
                                    "Forwarded", "Expect", "Content-Length", "Host");
constexpr std::string_view kWebSocket = "websocket";
// Where some servers take path or method from, in place of the request line's, by which the request
// was priced.
constexpr net::NameSet kOtherReading("X-Original-URL", "X-Original-URI", "X-Original-Method",
                                     "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method",
                                     "X-Method-Override");

// Ours by now, whatever the client had under these names and says of them in Connection.
bool OurOwn(std::string_view name) {
  return EqualsNoCase(name, "X-Request-Id") || EqualsNoCase(name, "traceparent");
}
bool Claim(std::string_view name) {
  return EqualsNoCase(name, "X-Real-IP") || EqualsNoCase(name.substr(0, 12), "X-Forwarded-");
}

// `to` holds no field that is written anew.
void AddForwarding(net::RequestHead& to, const net::RequestHead& from,
                   const TrustedProxies& trusted) {
  const bool believe = trusted.Trusts(from.peer_address);
  const std::string_view proto = from.tls ? "https" : "http";
  const std::string_view host = from.headers.Get("Host").value_or("");
  Scratch hop;
  hop.reserve(96);
  if (believe) {
    const std::string list = from.headers.List("Forwarded");
    if (!list.empty()) hop.append(list).append(", ");
  }
  hop.append("for=");
  AppendForwardedNode(hop, from.peer_address);
  hop.append(";proto=").append(proto);
  if (!believe) {
    to.headers.Add("X-Forwarded-For", from.peer_address);
    to.headers.Add("X-Forwarded-Proto", proto);
    if (!host.empty()) to.headers.Add("X-Forwarded-Host", host);
    to.headers.Add("Forwarded", hop);
    return;
  }
  const std::string their_proto = from.headers.List("X-Forwarded-Proto");
  const std::string their_host = from.headers.List("X-Forwarded-Host");
  std::string addresses = from.headers.List("X-Forwarded-For");
  addresses.append(addresses.empty() ? "" : ", ").append(from.peer_address);
  to.headers.Add("X-Forwarded-For", addresses);
  to.headers.Add("X-Forwarded-Proto", their_proto.empty() ? proto : their_proto);
  const std::string_view known_host = their_host.empty() ? host : their_host;
  if (!known_host.empty()) to.headers.Add("X-Forwarded-Host", known_host);
  to.headers.Add("Forwarded", hop);
}

}  // namespace

Result<TrustedProxies> TrustedProxies::Make(const std::vector<std::string>& networks) {
  TrustedProxies out;
  for (const std::string& text : networks) {
    const auto bad = [&text] {
      return Fail(Error(Code::kConfig, "trusted_proxies: \"" + text + "\" is no network")
                      .Want("an address or a CIDR network, like \"10.0.0.0/8\""));
    };
    Network network;
    const size_t slash = text.find('/');
    const std::string_view address = std::string_view(text).substr(0, slash);
    if (!ParseAddress(address, network.bytes)) return bad();
    const unsigned width = address.find(':') == address.npos ? 32 : 128;
    network.bits = width;
    if (slash != text.npos) {
      const char* end = text.data() + text.size();
      const auto [at, ec] = std::from_chars(text.data() + slash + 1, end, network.bits);
      if (ec != std::errc() || at != end || network.bits > width) return bad();
    }
    network.bits += 128 - width;
    out.networks_.push_back(network);
  }
  return out;
}

bool TrustedProxies::Trusts(std::string_view address) const {
  std::array<uint8_t, 16> bytes{};
  if (networks_.empty() || !ParseAddress(address, bytes)) return false;
  return std::ranges::any_of(networks_, [&bytes](const Network& n) {
    const unsigned whole = n.bits / 8;
    if (std::memcmp(n.bytes.data(), bytes.data(), whole) != 0) return false;
    const unsigned rest = n.bits % 8;
    if (rest == 0) return true;
    const auto mask = static_cast<uint8_t>(0xff << (8 - rest));
    return (n.bytes[whole] & mask) == (bytes[whole] & mask);
  });
}

std::string ClientAddress(const net::RequestHead& head, const TrustedProxies& trusted) {
  std::string client = head.peer_address;
  if (!trusted.Trusts(client)) return client;
  const std::string list = head.headers.List("X-Forwarded-For");
  std::string_view rest = list;
  while (trusted.Trusts(client) && !rest.empty()) {
    const size_t comma = rest.rfind(',');
    std::string_view last = comma == rest.npos ? rest : rest.substr(comma + 1);
    rest = comma == rest.npos ? std::string_view() : rest.substr(0, comma);
    while (last.starts_with(' ')) last.remove_prefix(1);
    while (last.ends_with(' ')) last.remove_suffix(1);
    std::array<uint8_t, 16> bytes{};
    if (!ParseAddress(last, bytes)) break;
    client = last;
  }
  return client;
}

bool StaysHere(std::string_view name, const rail::RailSet& rails, const ForwardOptions& options) {
  if (name.contains('_')) {
    // CGI and what came after it make one name of both spellings.
    std::string dashed(name);
    std::ranges::replace(dashed, '_', '-');
    return TrailerStaysHere(dashed, rails, options);
  }
  if (kOtherReading.Has(name)) return true;
  if (paywall::IsHopByHop(name) || paywall::IsPaymentField(name) || rails.IsOwnHeader(name)) {
    return true;
  }
  return !options.pass_authorization &&
         (EqualsNoCase(name, "Authorization") || EqualsNoCase(name, "X-API-Key"));
}

bool TrailerStaysHere(std::string_view name, const rail::RailSet& rails,
                      const ForwardOptions& options) {
  return kWrittenAnew.Has(name) || Claim(name) || OurOwn(name) ||
         EqualsNoCase(name, "Idempotency-Key") || StaysHere(name, rails, options);
}

net::RequestHead UpstreamHead(const net::RequestHead& head, std::string target,
                              const rail::RailSet& rails, const TrustedProxies& trusted,
                              const ForwardOptions& options) {
  net::RequestHead out;
  out.method = head.method;
  out.target = std::move(target);
  const std::vector<std::string_view> connection = paywall::ConnectionFields(head.headers);
  if (options.pass_upgrade && head.minor_version == 1 && Named(connection, "Upgrade")) {
    // Only what stays one exchange to its end. Behind a switch to another HTTP or to TLS there
    // would be requests that nobody has priced; of a list the upstream could choose one.
    const std::string_view protocol = head.headers.Get("Upgrade").value_or("");
    if (EqualsNoCase(protocol, kWebSocket) && head.headers.Count("Upgrade") == 1) {
      out.headers.Add("Upgrade", kWebSocket);
    }
  }
  const bool believe = trusted.Trusts(head.peer_address);
  for (size_t i = 0; i < head.headers.size(); ++i) {
    const net::Headers::Field field = head.headers.at(i);
    if (StaysHere(field.name, rails, options)) continue;
    if (Named(connection, field.name) && !OurOwn(field.name)) continue;
    if (kWrittenAnew.Has(field.name)) continue;
    // A stranger's word about himself, under any of the names in use.
    if (!believe && Claim(field.name)) continue;
    out.headers.AddFrom(head.headers, i);
  }
  AddForwarding(out, head, trusted);
  if (!options.idempotency_key.empty()) {
    out.headers.Set("Idempotency-Key", options.idempotency_key);
  }
  return out;
}

bool IsPreflight(const net::RequestHead& head) {
  return head.method == "OPTIONS" && head.headers.Has("Origin") &&
         head.headers.Has("Access-Control-Request-Method");
}

}  // namespace pontage::gateway
