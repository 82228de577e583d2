#include "gateway/forwarding.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>

#include "base/try.h"
#include "paywall/fields.h"

namespace pontage::gateway {
namespace {

using net::EqualsNoCase;

bool Named(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::any_of(names, [name](const std::string& n) { return EqualsNoCase(n, name); });
}

bool ParseAddress(std::string_view text, std::array<uint8_t, 16>& out) {
  const std::string copy(text);
  out.fill(0);
  if (inet_pton(AF_INET6, copy.c_str(), out.data()) == 1) return true;
  out.fill(0);
  out[10] = out[11] = 0xff;
  return inet_pton(AF_INET, copy.c_str(), out.data() + 12) == 1;
}

// RFC 7239 §6: an IPv6 address is quoted and in brackets.
std::string ForwardedNode(const std::string& address) {
  return address.find(':') == address.npos ? address : "\"[" + address + "]\"";
}

void AddForwarding(net::RequestHead& to, const net::RequestHead& from,
                   const TrustedProxies& trusted) {
  const bool believe = trusted.Trusts(from.peer_address);
  const auto theirs = [&](std::string_view name) -> std::string {
    const auto value = from.headers.Get(name);
    return believe && value ? std::string(*value) : std::string();
  };
  const auto append = [](std::string list, const std::string& one) {
    return list.empty() ? one : list + ", " + one;
  };
  std::string proto = theirs("X-Forwarded-Proto");
  if (proto.empty()) proto = from.tls ? "https" : "http";
  std::string host = theirs("X-Forwarded-Host");
  if (host.empty()) host = from.headers.Get("Host").value_or("");
  to.headers.Set("X-Forwarded-For", append(theirs("X-Forwarded-For"), from.peer_address));
  to.headers.Set("X-Forwarded-Proto", proto);
  if (!host.empty()) to.headers.Set("X-Forwarded-Host", host);
  const std::string hop =
      "for=" + ForwardedNode(from.peer_address) + ";proto=" + (from.tls ? "https" : "http");
  to.headers.Set("Forwarded", append(theirs("Forwarded"), hop));
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
  const auto list = head.headers.Get("X-Forwarded-For");
  if (!list) return client;
  std::string_view rest = *list;
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

net::RequestHead UpstreamHead(const net::RequestHead& head, std::string target,
                              const rail::RailSet& rails, const TrustedProxies& trusted,
                              const ForwardOptions& options) {
  net::RequestHead out;
  out.method = head.method;
  out.target = std::move(target);
  const std::vector<std::string> connection = paywall::ConnectionFields(head.headers);
  for (size_t i = 0; i < head.headers.size(); ++i) {
    const net::Headers::Field field = head.headers.at(i);
    if (paywall::IsHopByHop(field.name) || Named(connection, field.name)) continue;
    if (paywall::IsPaymentField(field.name) || rails.IsOwnHeader(field.name)) continue;
    if (!options.pass_authorization &&
        (EqualsNoCase(field.name, "Authorization") || EqualsNoCase(field.name, "X-API-Key"))) {
      continue;
    }
    // The body's source answers the expectation, and the client library frames anew.
    if (EqualsNoCase(field.name, "Expect") || EqualsNoCase(field.name, "Content-Length")) continue;
    if (EqualsNoCase(field.name, "Host")) continue;
    out.headers.Add(field.name, field.value);
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
