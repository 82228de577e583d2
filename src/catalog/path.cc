#include "catalog/path.h"

#include <cstdint>
#include <optional>
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
  bool in_parameters = false;
  for (size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    const bool escaped = c == '%';
    if (escaped) {
      const int high = i + 1 < raw.size() ? HexValue(raw[i + 1]) : -1;
      const int low = i + 2 < raw.size() ? HexValue(raw[i + 2]) : -1;
      if (high < 0 || low < 0) return Fail(Bad("a malformed escape in the path"));
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    const auto u = static_cast<uint8_t>(c);
    if (u < 0x20 || u == 0x7f) return Fail(Bad("a control character in the path"));
    decoded.push_back(c);
    // Upstreams disagree on whether "%3B" begins parameters, so the key drops them either way.
    if (c == ';') in_parameters = true;
    if (!in_parameters) {
      if (escaped && (c == '/' || c == '\\')) {
        Escape(s.key, c);
      } else {
        s.key.push_back(Lower(c));
      }
    }
    if (Unreserved(c) || (!escaped && Delimiter(c))) {
      s.forward.push_back(c);
    } else {
      Escape(s.forward, c);
    }
  }
  if (!IsUtf8(decoded)) return Fail(Bad("the path is not UTF-8"));
  return s;
}

// `path` with its escaped slashes and backslashes as slashes; nothing when it has none.
std::optional<std::string> WithoutEscapedSlashes(std::string_view path) {
  std::string out;
  bool found = false;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '%' && i + 2 < path.size()) {
      const int high = HexValue(path[i + 1]);
      const int low = HexValue(path[i + 2]);
      const int octet = high < 0 || low < 0 ? -1 : high * 16 + low;
      if (octet == '/' || octet == '\\') {
        out.push_back('/');
        found = true;
        i += 2;
        continue;
      }
    }
    out.push_back(path[i]);
  }
  if (!found) return std::nullopt;
  return out;
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
  if (const std::optional<std::string> loose = WithoutEscapedSlashes(path)) {
    PTG_TRY(Target other, Canonicalize(*loose));
    out.loose_key = std::move(other.key);
  }
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
  for (const Segment& s : segments) {
    out.key.append("/").append(s.key);
    out.forward.append("/").append(s.forward);
  }
  if (out.key.empty()) out.key = "/";
  if (out.forward.empty()) {
    out.forward = "/";
  } else if (trailing) {
    out.forward.push_back('/');
  }
  return out;
}

}  // namespace pontage::catalog
