#include "catalog/path.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "base/try.h"

namespace pontage::catalog {
namespace {

constexpr std::string_view kHex = "0123456789ABCDEF";

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The octet of the escape that begins at `i`; -1 where none does.
int EscapedAt(std::string_view s, size_t i) {
  if (s[i] != '%' || i + 2 >= s.size()) return -1;
  const int high = HexValue(s[i + 1]);
  const int low = HexValue(s[i + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// RFC 3986 §2.3.
bool Unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

// What a path segment may carry unescaped (pchar without unreserved).
bool Delimiter(char c) {
  return std::string_view("!$&'()*+,;=:@").find(c) != std::string_view::npos;
}

Error Bad(const char* detail) {
  return Error(Code::kBadRequest, detail)
      .At("/path")
      .Want("a path of UTF-8 segments, each % followed by two hex digits");
}

// Well-formed UTF-8 without overlong forms and surrogates (RFC 3629 §4).
bool IsUtf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<uint8_t>(s[i]);
    size_t n = 0;
    uint32_t code = 0;
    uint32_t least = 0;
    if (c < 0x80) {
      ++i;
      continue;
    }
    if (c >= 0xc2 && c <= 0xdf) {
      n = 1, code = c & 0x1f, least = 0x80;
    } else if (c >= 0xe0 && c <= 0xef) {
      n = 2, code = c & 0x0f, least = 0x800;
    } else if (c >= 0xf0 && c <= 0xf4) {
      n = 3, code = c & 0x07, least = 0x10000;
    } else {
      return false;
    }
    if (i + n >= s.size()) return false;
    for (size_t k = 1; k <= n; ++k) {
      const auto next = static_cast<uint8_t>(s[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3fU);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
    i += n + 1;
  }
  return true;
}

struct Segment {
  std::string key;
  std::string whole;  // the key with its parameters
  std::string forward;
};

void Escape(std::string& out, char c) {
  const auto u = static_cast<uint8_t>(c);
  out.push_back('%');
  out.push_back(kHex[u >> 4]);
  out.push_back(kHex[u & 15]);
}

// One segment, without its slashes.
Result<Segment> ReadSegment(std::string_view raw) {
  Segment s;
  std::string decoded;
  size_t key_size = std::string::npos;
  for (size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    const bool escaped = c == '%';
    if (escaped) {
      const int octet = EscapedAt(raw, i);
      if (octet < 0) return Fail(Bad("a malformed escape in the path"));
      c = static_cast<char>(octet);
      i += 2;
    }
    const auto u = static_cast<uint8_t>(c);
    if (u < 0x20 || u == 0x7f) return Fail(Bad("a control character in the path"));
    decoded.push_back(c);
    // Upstreams disagree on whether "%3B" begins parameters, so the key drops them either way.
    if (c == ';') key_size = std::min(key_size, s.whole.size());
    if (escaped && (c == '/' || c == '\\')) {
      Escape(s.whole, c);
    } else {
      s.whole.push_back(Lower(c));
    }
    if (Unreserved(c) || (!escaped && Delimiter(c))) {
      s.forward.push_back(c);
    } else {
      Escape(s.forward, c);
    }
  }
  if (!IsUtf8(decoded)) return Fail(Bad("the path is not UTF-8"));
  s.key = s.whole.substr(0, key_size);
  return s;
}

// `path` as a server reads it that takes these escapes for slashes.
std::string WithSlashes(std::string_view path, bool slash, bool backslash) {
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    const int octet = EscapedAt(path, i);
    const bool taken = (slash && octet == '/') || (backslash && octet == '\\');
    out.push_back(taken ? '/' : path[i]);
    if (taken) i += 2;
  }
  return out;
}

// Whether one of its segments, between slashes of every kind, climbs or stays: before parameters,
// escaped or not.
bool HasDotSegment(std::string_view path) {
  while (!path.empty()) {
    const size_t end = path.find_first_of("/\\");
    const std::string_view raw = path.substr(0, end);
    std::string segment = Decoded(raw);
    segment.resize(std::min(segment.size(), segment.find(';')));
    if (segment == "." || segment == "..") return true;
    path.remove_prefix(end == path.npos ? path.size() : end + 1);
  }
  return false;
}

void AddKey(Target& to, std::string key) {
  if (key == to.key || std::ranges::find(to.other_keys, key) != to.other_keys.end()) return;
  to.other_keys.push_back(std::move(key));
}

// The readings of `path` in which escaped slashes are slashes.
Result<std::vector<std::string>> LooseKeys(std::string_view path) {
  std::vector<std::string> keys;
  const std::string loosest = WithSlashes(path, true, true);
  if (loosest == path) return keys;
  if (HasDotSegment(loosest)) return Fail(Bad("a dot segment beside an escaped slash"));
  for (const std::string& reading :
       {loosest, WithSlashes(path, true, false), WithSlashes(path, false, true)}) {
    if (reading == path) continue;
    PTG_TRY(Target read, Canonicalize(reading));
    keys.push_back(std::move(read.key));
    std::ranges::move(read.other_keys, std::back_inserter(keys));
  }
  return keys;
}

// A path of plain segments, as nearly all are, is its own canonical form but for case and a slash
// at its end: what ReadSegment would make of it, without a string for each segment.
bool IsPlain(std::string_view path) {
  char before = 0;
  for (const char c : path) {
    if (!Unreserved(c) && c != '/') return false;
    if (before == '/' && (c == '/' || c == '.')) return false;
    before = c;
  }
  return true;
}

}  // namespace

std::string Decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const int octet = EscapedAt(text, i);
    out.push_back(octet < 0 ? text[i] : static_cast<char>(octet));
    if (octet >= 0) i += 2;
  }
  return out;
}

Result<Target> Canonicalize(std::string_view target) {
  if (target.empty() || target.front() != '/') return Fail(Bad("the target is no path"));
  Target out;
  const size_t mark = target.find_first_of("?#");
  std::string_view path = target.substr(0, mark);
  if (mark != target.npos) {
    const std::string_view rest = target.substr(mark);
    out.query = rest.substr(0, rest.find('#'));
    if (out.query == "?") out.query.clear();
  }
  if (IsPlain(path)) {
    out.forward = path;
    if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
    out.key.reserve(path.size());
    for (const char c : path) out.key.push_back(Lower(c));
    return out;
  }
  PTG_TRY(std::vector<std::string> loose, LooseKeys(path));
  std::vector<Segment> segments;
  bool trailing = false;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const size_t end = path.find_first_of("/\\");
    const std::string_view raw = path.substr(0, end);
    path.remove_prefix(raw.size());
    trailing = raw.empty();
    if (raw.empty()) continue;
    PTG_TRY(Segment segment, ReadSegment(raw));
    // ".;x" and "..;x" are dot segments to some servers, so the key (without parameters) decides.
    if (segment.key == ".") {
      trailing = true;
    } else if (segment.key == "..") {
      if (segments.empty()) return Fail(Bad("the path climbs above its root"));
      segments.pop_back();
      trailing = true;
    } else if (segment.key.empty()) {
      // Nothing but parameters ("/;x"): to a server that drops them this is an empty segment.
      trailing = true;
    } else {
      segments.push_back(std::move(segment));
    }
  }
  std::string whole;
  for (const Segment& s : segments) {
    out.key.append("/").append(s.key);
    whole.append("/").append(s.whole);
    out.forward.append("/").append(s.forward);
  }
  if (out.key.empty()) out.key = whole = "/";
  AddKey(out, std::move(whole));
  for (std::string& key : loose) AddKey(out, std::move(key));
  if (out.forward.empty()) {
    out.forward = "/";
  } else if (trailing) {
    out.forward.push_back('/');
  }
  return out;
}

}  // namespace pontage::catalog
