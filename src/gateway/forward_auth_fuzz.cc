#include <string>
#include <vector>

#include "base/check.h"
#include "gateway/forward_auth.h"
#include "testing/fuzz.h"

// What a proxy says of the original request: whatever is judged has one reading. A second, naive
// reader of the very bytes that the proxy sends on (decode, split at slashes, resolve nothing)
// finds the segments that were matched.
namespace pontage::gateway {
namespace {

std::string NaivelyDecoded(std::string_view path) {
  const std::string_view digits = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      out.push_back(path[i]);
      continue;
    }
    size_t value = 0;
    for (size_t k = 1; k <= 2; ++k) {
      PTG_CHECK(i + k < path.size());
      const char c = path[i + k];
      value = value * 16 + digits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
    }
    out.push_back(static_cast<char>(value));
    i += 2;
  }
  return out;
}

// Raw segments, decoded one by one; a slash at the end is none.
std::vector<std::string> NaiveSegments(std::string_view path) {
  std::vector<std::string> out;
  PTG_CHECK(path.starts_with('/'));
  path.remove_prefix(1);
  while (!path.empty()) {
    const std::string_view one = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), one.size() + 1));
    out.push_back(NaivelyDecoded(one));
  }
  return out;
}

}  // namespace

FUZZ_TARGET(forward_auth) {
  static const TrustedProxies trusted = *TrustedProxies::Make({"10.0.0.0/8"});
  net::RequestHead head;
  head.method = "GET";
  head.peer_address = "10.0.0.1";
  head.headers.Add("X-Original-URI", input);
  const auto question = ReadQuestion(head, kForwardAuthPath, trusted);
  if (!question) return;
  const catalog::Target& target = question->target;
  if (!input.starts_with('/')) return;  // a whole URL: its path is what follows the host
  const std::string_view path = input.substr(0, input.find('?'));
  std::string key;
  for (const std::string& segment : NaiveSegments(path)) {
    const std::string name = segment.substr(0, segment.find(';'));
    PTG_CHECK(!name.empty() && name != "." && name != "..");
    key += "/";
    for (const char c : name) {
      // An escaped slash stays escaped, since to us it is part of its segment.
      if (c == '/' || c == '\\')
        key += c == '/' ? "%2F" : "%5C";
      else
        key += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
  }
  PTG_CHECK(target.key == (key.empty() ? "/" : key));
  // What we would send on is the same thing to us.
  const auto again = catalog::Canonicalize(target.forward + target.query);
  PTG_CHECK(again && again->key == target.key && again->query == target.query);
}

}  // namespace pontage::gateway
