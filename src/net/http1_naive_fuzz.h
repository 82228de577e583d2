#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// A second reader of HTTP/1.x for the fuzz targets: the grammar of RFC 9112 with our refusals, as
// plainly as it can be said and sharing no line with the first. It copies, goes over everything
// many times, wants the whole message at once, and never says why.
namespace pontage::net::http1::naive {

inline std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return text;
}

inline bool Only(const std::string& text, const std::string& set) {
  return text.find_first_not_of(set) == std::string::npos;
}

inline const std::string kDigits = "0123456789";
inline const std::string kHex = "0123456789abcdefABCDEF";
inline const std::string kAlnum = kDigits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
inline const std::string kTokenChars = kAlnum + "!#$%&'*+-.^_`|~";

inline bool Token(const std::string& text) { return !text.empty() && Only(text, kTokenChars); }

inline std::vector<std::string> Split(const std::string& text, const std::string& at) {
  std::vector<std::string> parts;
  size_t from = 0;
  for (size_t end = text.find(at); end != std::string::npos; end = text.find(at, from)) {
    parts.push_back(text.substr(from, end - from));
    from = end + at.size();
  }
  parts.push_back(text.substr(from));
  return parts;
}

inline std::string Trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// The lines of a piece of text that ends with CRLF; none if a CR or LF stands alone.
inline std::optional<std::vector<std::string>> Lines(const std::string& text) {
  std::vector<std::string> lines = Split(text, "\r\n");
  if (!lines.back().empty()) return std::nullopt;
  lines.pop_back();
  for (const std::string& line : lines) {
    if (line.find_first_of("\r\n") != std::string::npos) return std::nullopt;
  }
  return lines;
}

using Field = std::pair<std::string, std::string>;
using Fields = std::vector<Field>;

inline std::optional<Field> ReadField(const std::string& line) {
  const std::vector<std::string> parts = Split(line, ":");
  if (parts.size() < 2 || !Token(parts[0])) return std::nullopt;
  const std::string value = Trimmed(line.substr(parts[0].size() + 1));
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 32 && byte != 9) || byte == 127) return std::nullopt;
  }
  return Field{parts[0], value};
}

inline std::vector<std::string> ValuesOf(const Fields& fields, const std::string& name) {
  std::vector<std::string> values;
  for (const auto& [key, value] : fields) {
    if (Lower(key) == name) values.push_back(value);
  }
  return values;
}

// How long the head at the start of `input` is; none when it is not whole, or no head.
inline std::optional<size_t> HeadSize(const std::string& input, size_t most_bytes,
                                      size_t most_fields) {
  const size_t end = input.find("\r\n\r\n");
  if (end == std::string::npos || end + 4 > most_bytes) return std::nullopt;
  const auto lines = Lines(input.substr(0, end + 2));
  if (!lines || lines->size() > most_fields + 1) return std::nullopt;
  return Token(input.substr(0, 1)) ? std::optional(end + 4) : std::nullopt;
}

struct Body {
  bool chunked = false;
  std::optional<uint64_t> length;
};

inline std::optional<Body> ReadBody(const Fields& fields, bool old) {
  const auto coding = ValuesOf(fields, "transfer-encoding");
  const auto length = ValuesOf(fields, "content-length");
  if (coding.size() + length.size() > 1) return std::nullopt;
  Body body;
  if (!coding.empty()) {
    if (old || Lower(coding[0]) != "chunked") return std::nullopt;
    body.chunked = true;
  }
  if (!length.empty()) {
    const std::string& text = length[0];
    if (text.empty() || text.size() > 18 || !Only(text, kDigits)) return std::nullopt;
    if (text[0] == '0' && text != "0") return std::nullopt;
    body.length = 0;
    for (const char c : text) body.length = *body.length * 10 + static_cast<uint64_t>(c - '0');
  }
  return body;
}

inline bool KeptAlive(const Fields& fields, bool old) {
  bool close = false;
  for (const std::string& value : ValuesOf(fields, "connection")) {
    for (const std::string& one : Split(value, ","))
      close = close || Lower(Trimmed(one)) == "close";
  }
  return !close && !old;
}

inline bool Authority(const std::string& text) {
  std::string name = text;
  std::string port;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string::npos) return false;
    name = text.substr(1, close - 1);
    port = text.substr(close + 1);
    if (name.size() < 2 || !Only(name, kHex + ":.")) return false;
  } else {
    const size_t colon = text.find(':');
    if (colon != std::string::npos) {
      name = text.substr(0, colon);
      port = text.substr(colon);
    }
    if (name.empty() || !Only(name, kAlnum + "-._~!$&'()*+;=%")) return false;
  }
  return port.empty() || (port[0] == ':' && port.size() <= 6 && Only(port.substr(1), kDigits));
}

struct Message {
  std::string method;
  std::string target;
  std::string reason;
  int status = 0;
  bool old = false;  // HTTP/1.0
  Fields fields;
  Body body;
  bool keep_alive = false;
  bool expects = false;
};

// The fields of the lines behind the first.
inline std::optional<Fields> ReadFields(const std::vector<std::string>& lines, size_t most) {
  Fields fields;
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto field = ReadField(lines[i]);
    if (!field || fields.size() == most) return std::nullopt;
    fields.push_back(*field);
  }
  return fields;
}

// Absolute forms give way to their path; the authority of one is the only Host then.
inline bool ReadTarget(Message& m, std::string& authority) {
  for (const char c : m.target) {
    if (c <= 32 || c >= 127 || c == '#') return false;
  }
  if (m.target.empty() || m.method == "CONNECT" || m.method == "TRACE") return false;
  if (m.target[0] == '/') return true;
  if (m.target == "*") return m.method == "OPTIONS";
  const std::string lower = Lower(m.target);
  const size_t scheme = lower.starts_with("http://") ? 7 : lower.starts_with("https://") ? 8 : 0;
  if (scheme == 0) return false;
  const std::string rest = m.target.substr(scheme);
  authority = rest.substr(0, rest.find_first_of("/?"));
  if (!Authority(authority)) return false;
  const std::string path = rest.substr(authority.size());
  if (path.empty())
    m.target = m.method == "OPTIONS" ? "*" : "/";
  else
    m.target = path[0] == '/' ? path : "/" + path;
  return true;
}

// `head`: a whole one, as HeadSize found it.
inline std::optional<Message> ReadRequest(const std::string& head, size_t most_fields) {
  const auto lines = Lines(head.substr(0, head.size() - 2));
  const std::vector<std::string> first = Split(lines->at(0), " ");
  Message m;
  if (first.size() != 3 || !Token(first[0])) return std::nullopt;
  if (first[2] != "HTTP/1.1" && first[2] != "HTTP/1.0") return std::nullopt;
  m.method = first[0];
  std::string large = m.method;
  for (char& c : large) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  const std::string standard = " GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH ";
  if (large != m.method && standard.contains(" " + large + " ")) return std::nullopt;
  m.target = first[1];
  m.old = first[2] == "HTTP/1.0";
  std::string authority;
  if (!ReadTarget(m, authority)) return std::nullopt;
  const auto fields = ReadFields(*lines, most_fields);
  if (!fields) return std::nullopt;
  const auto hosts = ValuesOf(*fields, "host");
  if (hosts.size() > 1 || (hosts.empty() && !m.old)) return std::nullopt;
  if (!hosts.empty() && !Authority(hosts[0])) return std::nullopt;
  const auto body = ReadBody(*fields, m.old);
  if (!body) return std::nullopt;
  m.body = *body;
  m.keep_alive = KeptAlive(*fields, m.old);
  const auto expected = ValuesOf(*fields, "expect");
  if (!m.old && !expected.empty()) {
    if (expected.size() > 1 || Lower(expected[0]) != "100-continue") return std::nullopt;
    m.expects = body->chunked || body->length.value_or(0) > 0;
  }
  for (const Field& field : *fields) {
    if (authority.empty() || Lower(field.first) != "host") m.fields.push_back(field);
  }
  if (!authority.empty()) m.fields.emplace_back("Host", authority);
  return m;
}

inline std::optional<Message> ReadResponse(const std::string& head, size_t most_fields) {
  const auto lines = Lines(head.substr(0, head.size() - 2));
  const std::string& first = lines->at(0);
  Message m;
  m.old = first.starts_with("HTTP/1.0 ");
  if (!m.old && !first.starts_with("HTTP/1.1 ")) return std::nullopt;
  const std::string status = first.substr(9, 3);
  if (status.size() != 3 || !Only(status, kDigits) || status[0] == '0') return std::nullopt;
  m.status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
  if (first.size() > 12) {
    // A field's value without the white space that a phrase may have.
    if (first[12] != ' ' || !ReadField("x:|" + first.substr(13) + "|")) return std::nullopt;
    m.reason = first.substr(13);
  }
  const auto fields = ReadFields(*lines, most_fields);
  if (!fields) return std::nullopt;
  const auto body = ReadBody(*fields, m.old);
  if (!body) return std::nullopt;
  m.fields = *fields;
  m.body = *body;
  m.keep_alive = KeptAlive(*fields, m.old);
  return m;
}

// A whole chunked body at the start of `input`, and how long it is. None when it is not whole, or
// none.
struct Chunked {
  std::string data;
  Fields trailers;
  size_t size = 0;
};
inline std::optional<Chunked> ReadChunked(const std::string& input, size_t most_digits,
                                          size_t most_trailer) {
  Chunked body;
  while (true) {
    const size_t end = input.find("\r\n", body.size);
    if (end == std::string::npos) return std::nullopt;
    std::string digits = input.substr(body.size, end - body.size);
    if (digits.empty() || digits.size() > most_digits || !Only(digits, kHex)) return std::nullopt;
    digits.erase(0, digits.find_first_not_of('0'));
    if (digits.size() > 15) return std::nullopt;  // 2^60 and more
    body.size = end + 2;
    if (digits.empty()) break;
    const uint64_t size =
        std::stoull(digits, nullptr, 16);  // style: stoi ok, digits were looked at
    if (size > input.size() - body.size || input.substr(body.size + size, 2) != "\r\n")
      return std::nullopt;
    body.data += input.substr(body.size, size);
    body.size += size + 2;
  }
  for (size_t spent = 0;;) {
    const size_t end = input.find("\r\n", body.size);
    if (end == std::string::npos) return std::nullopt;
    const std::string line = input.substr(body.size, end - body.size);
    body.size = end + 2;
    if (line.empty()) return body;
    spent += line.size();
    const auto field = ReadField(line);
    if (spent > most_trailer || !field) return std::nullopt;
    if (line.find_first_of("\r\n") != std::string::npos) return std::nullopt;
    const std::string name = Lower(field->first);
    if (name == "transfer-encoding" || name == "content-length" || name == "host") {
      return std::nullopt;
    }
    body.trailers.push_back(*field);
  }
}

}  // namespace pontage::net::http1::naive
