#include "net/http1.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "net/name_set.h"

namespace pontage::net::http1 {
namespace {

constexpr std::array<bool, 256> MakeTokenTable() {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<uint8_t>(c)] = true;
  return table;
}
constexpr auto kToken = MakeTokenTable();

constexpr NameSet kAlwaysHere("Connection", "Keep-Alive", "Proxy-Connection", "TE",
                              "Transfer-Encoding", "Content-Length", "Upgrade");

// Longer numbers than any body: 18 digits stay inside 64 bits without a check for overflow.
constexpr size_t kLengthDigits = 18;

constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsBlank(char c) { return c == ' ' || c == '\t'; }

std::unexpected<Refusal> Refuse(int status, std::string_view why) {
  return std::unexpected(Refusal{status, why});
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

// One line without its CRLF off the front of `text`, which holds only whole lines.
std::string_view TakeLine(std::string_view& text) {
  size_t end = text.find('\r');
  // In a head that was scanned every CR ends a line.
  if (text[end + 1] != '\n') end = text.find("\r\n", end);
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 2);
  return line;
}

Parsed<> AddFields(std::string_view lines, size_t limit, Headers& headers) {
  while (true) {
    const std::string_view line = TakeLine(lines);
    if (line.empty()) return {};
    if (headers.size() == limit) return Refuse(431, "too many header fields");
    if (auto added = ParseField(line, headers); !added) return added;
  }
}

// The framing fields, which are the same on both sides: at most one of the two, each only once and
// in its only spelling.
struct FramingFields {
  bool chunked = false;
  std::optional<uint64_t> length;
};
Parsed<FramingFields> ReadFraming(const Headers& headers, int minor_version) {
  FramingFields framing;
  bool coded = false;
  for (size_t i = 0; i < headers.size(); ++i) {
    const Headers::Field field = headers.at(i);
    if (EqualsNoCase(field.name, "transfer-encoding")) {
      if (coded) return Refuse(400, "more than one Transfer-Encoding");
      coded = true;
      framing.chunked = EqualsNoCase(field.value, "chunked");
    } else if (EqualsNoCase(field.name, "content-length")) {
      if (framing.length) return Refuse(400, "more than one Content-Length");
      const Parsed<uint64_t> length = ParseLength(field.value);
      if (!length) return std::unexpected(length.error());
      framing.length = *length;
    }
  }
  if (coded && framing.length) return Refuse(400, "Content-Length and Transfer-Encoding together");
  if (coded && minor_version == 0) return Refuse(400, "Transfer-Encoding in HTTP/1.0");
  if (coded && !framing.chunked) return Refuse(501, "a Transfer-Encoding other than chunked");
  return framing;
}

// "HTTP/1.0" or "HTTP/1.1" to 0 or 1.
Parsed<int> ReadVersion(std::string_view text) {
  if (text == "HTTP/1.1") return 1;
  if (text == "HTTP/1.0") return 0;
  if (text.size() == 8 && text.starts_with("HTTP/") && IsDigit(text[5]) && text[6] == '.' &&
      IsDigit(text[7])) {
    return Refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  return Refuse(400, "a malformed request line");
}

// Splits an absolute form; the authority goes to `authority`.
Parsed<> ReadTarget(std::string_view target, RequestHead& head, std::string& authority) {
  if (!IsTargetText(target)) {
    return Refuse(400, "a request target with characters that must be escaped");
  }
  if (head.method == "CONNECT") return Refuse(501, "CONNECT is not offered here");
  // Its answer is the request as the upstream got it, the seller's own fields among the others.
  if (head.method == "TRACE") return Refuse(501, "TRACE is not offered here");
  if (target.front() == '/') {
    head.target = target;
    return {};
  }
  if (target == "*") {
    if (head.method != "OPTIONS") return Refuse(400, "the target * is for OPTIONS");
    head.target = target;
    return {};
  }
  const size_t scheme = target.find("://");
  if (scheme == std::string_view::npos || (!EqualsNoCase(target.substr(0, scheme), "http") &&
                                           !EqualsNoCase(target.substr(0, scheme), "https"))) {
    return Refuse(400, "a request target that is neither a path nor an http address");
  }
  target.remove_prefix(scheme + 3);
  const size_t end = std::min(target.find_first_of("/?"), target.size());
  authority = target.substr(0, end);
  if (!IsAuthority(authority)) return Refuse(400, "a malformed authority in the request target");
  target.remove_prefix(end);
  if (target.empty() && head.method == "OPTIONS") {
    head.target = "*";
  } else {
    head.target = target.starts_with('/') ? "" : "/";
    head.target += target;
  }
  return {};
}

Parsed<> CheckHost(RequestHead& head, const std::string& authority) {
  const size_t hosts = head.headers.Count("host");
  if (hosts > 1) return Refuse(400, "more than one Host");
  if (hosts == 0 && head.minor_version == 1) return Refuse(400, "no Host");
  if (hosts == 1 && !IsAuthority(*head.headers.Get("host"))) {
    return Refuse(400, "a malformed Host");
  }
  if (!authority.empty()) head.headers.Set("Host", authority);
  return {};
}

}  // namespace

// Texts are nearly always good, so every byte is looked at without a way out: here four at a time,
// elsewhere as many as the compiler finds room for.
bool IsToken(std::string_view text) {
  const char* at = text.data();
  const auto one = [](char c) -> unsigned { return kToken[static_cast<uint8_t>(c)]; };
  unsigned good = text.empty() ? 0 : 1;
  size_t left = text.size();
  for (; left >= 4; left -= 4, at += 4) good &= one(at[0]) & one(at[1]) & one(at[2]) & one(at[3]);
  for (; left > 0; --left, ++at) good &= one(*at);
  return good != 0;
}

bool IsMiscasedMethod(std::string_view text) {
  static constexpr std::array<std::string_view, 9> kMethods = {
      "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
  const auto small = [](char c) { return c >= 'a' && c <= 'z'; };
  if (std::ranges::none_of(text, small)) return false;
  return std::ranges::any_of(kMethods,
                             [text](std::string_view one) { return EqualsNoCase(one, text); });
}

bool IsTargetText(std::string_view text) {
  bool good = !text.empty();
  for (const char c : text) good &= (c > 0x20) & (c < 0x7f) & (c != '#');
  return good;
}

Parsed<uint64_t> ParseLength(std::string_view digits) {
  if (digits.empty() || !std::ranges::all_of(digits, IsDigit) ||
      (digits.size() > 1 && digits.front() == '0')) {
    return Refuse(400, "a Content-Length that is not one plain number");
  }
  if (digits.size() > kLengthDigits) return Refuse(413, "a Content-Length beyond all bounds");
  uint64_t length = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), length);
  return length;
}

bool IsAuthority(std::string_view text) {
  if (text.empty()) return false;
  std::string_view port;
  if (text.front() == '[') {
    const size_t end = text.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    const auto inside = [](char c) {
      return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
    };
    if (!std::ranges::all_of(text.substr(1, end - 1), inside)) return false;
    port = text.substr(end + 1);
  } else {
    const size_t colon = text.find(':');
    const auto in_name = [](char c) {
      return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
             std::string_view("-._~!$&'()*+;=%").contains(c);
    };
    const std::string_view name = text.substr(0, colon);
    if (name.empty() || !std::ranges::all_of(name, in_name)) return false;
    port = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (port.empty()) return true;
  return port.front() == ':' && port.size() <= 6 && std::ranges::all_of(port.substr(1), IsDigit);
}

bool IsFieldValue(std::string_view text) {
  const auto good_byte = [](char c) {
    return ((static_cast<uint8_t>(c) >= 0x20) & (c != 0x7f)) | (c == '\t');
  };
  // Eight bytes at once; a tab, which is rare, has all looked at one by one.
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = kOnes * 0x80;
  const auto doubtful = [&text](size_t at) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + at, sizeof bytes);
    const uint64_t deleted = bytes ^ (kOnes * 0x7f);
    return (((bytes - kOnes * 0x20) & ~bytes) | ((deleted - kOnes) & ~deleted)) & kHighs;
  };
  constexpr size_t kStep = sizeof(uint64_t);
  if (text.size() >= kStep) {
    uint64_t doubt = doubtful(text.size() - kStep);
    for (size_t i = 0; i + kStep < text.size(); i += kStep) doubt |= doubtful(i);
    if (doubt == 0) return true;
  }
  bool good = true;
  for (const char c : text) good &= good_byte(c);
  return good;
}

bool HasListToken(const Headers& headers, std::string_view name, std::string_view token) {
  for (size_t i = 0; i < headers.size(); ++i) {
    if (!EqualsNoCase(headers.at(i).name, name)) continue;
    std::string_view rest = headers.at(i).value;
    while (true) {
      const size_t comma = std::min(rest.find(','), rest.size());
      if (EqualsNoCase(Trim(rest.substr(0, comma)), token)) return true;
      if (comma == rest.size()) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

HopByHop::HopByHop(const Headers& headers) {
  for (size_t i = 0; i < headers.size(); ++i) {
    if (!EqualsNoCase(headers.at(i).name, "connection")) continue;
    std::string_view rest = headers.at(i).value;
    while (!rest.empty()) {
      const size_t comma = std::min(rest.find(','), rest.size());
      // What is never sent on need not be listed.
      const std::string_view name = Trim(rest.substr(0, comma));
      if (!name.empty() && !kAlwaysHere.Has(name)) named_.push_back(name);
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
}

bool HopByHop::Is(std::string_view name) const {
  const auto same = [name](std::string_view other) { return EqualsNoCase(name, other); };
  return kAlwaysHere.Has(name) || std::ranges::any_of(named_, same);
}

void RemoveHopByHop(Headers& headers) {
  const HopByHop here(headers);
  headers.RemoveIf([&here](std::string_view name) { return here.Is(name); });
}

Parsed<> ParseField(std::string_view line, Headers& headers) {
  if (IsBlank(line.front())) return Refuse(400, "a folded header line");
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return Refuse(400, "a header line without a colon");
  const std::string_view name = line.substr(0, colon);
  if (!IsToken(name)) return Refuse(400, "a header name that is not a token");
  const std::string_view value = Trim(line.substr(colon + 1));
  if (!IsFieldValue(value)) return Refuse(400, "a control character in a header value");
  headers.AddJudged(name, value);
  return {};
}

Parsed<size_t> HeadScanner::Scan(std::string_view bytes) {
  const std::string_view within = bytes.substr(0, limits_.bytes);
  if (!within.empty() && seen_ == 0 && !kToken[static_cast<uint8_t>(within.front())]) {
    return Refuse(400, "this is no HTTP message");
  }
  while (true) {
    const size_t lf = within.find('\n', seen_);
    if (lf == std::string_view::npos) {
      seen_ = within.size();
      if (bytes.size() >= limits_.bytes) return Refuse(431, "the head is too large");
      return 0;
    }
    if (lf == line_ || within[lf - 1] != '\r') return Refuse(400, "a line that ends without CR");
    if (lf - line_ == 1) return lf + 1;
    if (const size_t cr = within.find('\r', line_); cr != lf - 1) {
      return Refuse(400, "a CR inside a line");
    }
    // The first line is no field.
    if (++lines_ > limits_.fields + 1) return Refuse(431, "too many header fields");
    line_ = seen_ = lf + 1;
  }
}

Parsed<Request> ParseRequest(std::string_view head, HeadLimits limits) {
  std::string_view rest = head;
  const std::string_view line = TakeLine(rest);
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return Refuse(400, "a malformed request line");
  }
  Request request;
  const std::string_view method = line.substr(0, first);
  if (!IsToken(method)) return Refuse(400, "a method that is not a token");
  if (IsMiscasedMethod(method)) return Refuse(400, "a method that is not in capital letters");
  request.head.method = method;
  const Parsed<int> version = ReadVersion(line.substr(last + 1));
  if (!version) return std::unexpected(version.error());
  request.head.minor_version = *version;
  std::string authority;
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (auto read = ReadTarget(target, request.head, authority); !read) {
    return std::unexpected(read.error());
  }
  Headers& headers = request.head.headers;
  if (auto added = AddFields(rest, limits.fields, headers); !added) {
    return std::unexpected(added.error());
  }
  if (auto host = CheckHost(request.head, authority); !host) return std::unexpected(host.error());
  const auto framing = ReadFraming(headers, *version);
  if (!framing) return std::unexpected(framing.error());
  if (framing->chunked) {
    request.framing = Framing::kChunked;
  } else if (framing->length.value_or(0) > 0) {
    request.framing = Framing::kLength;
    request.length = *framing->length;
  }
  request.keep_alive = *version == 1 && !HasListToken(headers, "connection", "close");
  if (const auto expect = headers.Get("expect"); expect && *version == 1) {
    if (headers.Count("expect") > 1 || !EqualsNoCase(*expect, "100-continue")) {
      return Refuse(417, "an expectation other than 100-continue");
    }
    request.expect_continue = request.framing != Framing::kNone;
  }
  return request;
}

Parsed<Response> ParseResponse(std::string_view head, HeadLimits limits, bool to_head) {
  std::string_view rest = head;
  const std::string_view line = TakeLine(rest);
  Response response;
  const Parsed<int> version = ReadVersion(line.substr(0, 8));
  if (!version) return Refuse(502, "an answer that is not HTTP/1");
  response.head.minor_version = *version;
  // "HTTP/1.1 200" and "HTTP/1.1 200 OK": the phrase may be missing, with or without its space.
  if (line.size() < 12 || line[8] != ' ' || !IsDigit(line[9]) || !IsDigit(line[10]) ||
      !IsDigit(line[11]) || (line.size() > 12 && line[12] != ' ')) {
    return Refuse(502, "a malformed status line");
  }
  response.head.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  if (response.head.status < 100) return Refuse(502, "a malformed status line");
  if (line.size() > 13) response.head.reason = line.substr(13);
  if (!IsFieldValue(response.head.reason)) return Refuse(502, "a malformed status line");
  Headers& headers = response.head.headers;
  if (auto added = AddFields(rest, limits.fields, headers); !added) {
    return std::unexpected(added.error());
  }
  const auto framing = ReadFraming(headers, *version);
  if (!framing) return std::unexpected(framing.error());
  response.has_length = framing->length.has_value();
  response.length = framing->length.value_or(0);
  const int status = response.head.status;
  if (to_head || status < 200 || status == 204 || status == 304) {
    response.framing = Framing::kNone;
  } else if (framing->chunked) {
    response.framing = Framing::kChunked;
  } else if (response.has_length) {
    response.framing = response.length == 0 ? Framing::kNone : Framing::kLength;
  } else {
    response.framing = Framing::kUntilClose;
  }
  response.keep_alive = *version == 1 && !HasListToken(headers, "connection", "close") &&
                        response.framing != Framing::kUntilClose;
  return response;
}

}  // namespace pontage::net::http1
