#include "sandbox/mailbox/mime.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "codec/base64.h"
#include "codec/text.h"
#include "net/message.h"

namespace pontage::sandbox {
namespace {

// Deeper nesting and more parts are attacks, not mails.
constexpr int kMostDepth = 4;
constexpr size_t kMostParts = 32;
constexpr size_t kMostFields = 200;

using Fields = std::vector<std::pair<std::string, std::string>>;

// The next line without its end, which may be CRLF or LF.
std::string_view TakeLine(std::string_view& rest) {
  const size_t end = rest.find('\n');
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// The fields of the head at the front of `rest`, which is the body afterwards.
Fields TakeHead(std::string_view& rest) {
  Fields fields;
  while (!rest.empty()) {
    const std::string_view line = TakeLine(rest);
    if (line.empty()) break;
    const bool folded = line.front() == ' ' || line.front() == '\t';
    if (folded && !fields.empty()) {
      fields.back().second += ' ';
      fields.back().second += codec::Trimmed(line);
      continue;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || fields.size() == kMostFields) continue;
    fields.emplace_back(codec::AsUtf8(line.substr(0, colon)),
                        codec::AsUtf8(codec::Trimmed(line.substr(colon + 1))));
  }
  return fields;
}

std::string Get(const Fields& fields, std::string_view name) {
  for (const auto& [key, value] : fields) {
    if (net::EqualsNoCase(codec::Trimmed(key), name)) return value;
  }
  return {};
}

bool StartsWithNoCase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && net::EqualsNoCase(text.substr(0, prefix.size()), prefix);
}

// boundary="x" or boundary=x of a Content-Type.
std::string BoundaryOf(std::string_view type) {
  constexpr std::string_view kName = "boundary=";
  while (!type.empty()) {
    const size_t semicolon = type.find(';');
    if (semicolon == std::string_view::npos) return {};
    type = codec::Trimmed(type.substr(semicolon + 1));
    if (!StartsWithNoCase(type, kName)) continue;
    std::string_view value = type.substr(kName.size());
    if (value.starts_with('"')) {
      value.remove_prefix(1);
      return std::string(value.substr(0, value.find('"')));
    }
    return std::string(codec::Trimmed(value.substr(0, value.find(';'))));
  }
  return {};
}

std::string Decoded(const Fields& fields, std::string_view body) {
  const std::string encoding = Get(fields, "content-transfer-encoding");
  if (net::EqualsNoCase(encoding, "quoted-printable")) return DecodeQuotedPrintable(body);
  if (net::EqualsNoCase(encoding, "base64")) return DecodeMimeBase64(body);
  return std::string(body);
}

// Lines end with '\n' for whoever reads it.
std::string Plain(std::string text) {
  std::erase(text, '\r');
  return codec::AsUtf8(text);
}

class Reader {
 public:
  explicit Reader(ReadMime& mail) : mail_(mail) {}

  void Read(const Fields& fields, std::string_view body, int depth) {
    const std::string type = Get(fields, "content-type");
    if (StartsWithNoCase(type, "multipart/")) {
      if (depth < kMostDepth) ReadParts(BoundaryOf(type), body, depth);
      return;
    }
    const bool html = StartsWithNoCase(type, "text/html");
    if (!html && !type.empty() && !StartsWithNoCase(type, "text/plain")) return;
    std::string& into = html ? mail_.html : mail_.text;
    if (into.empty()) into = Plain(Decoded(fields, body));
  }

 private:
  void ReadParts(const std::string& boundary, std::string_view body, int depth) {
    if (boundary.empty()) return;
    const std::string mark = "--" + boundary;
    std::optional<size_t> begin;  // of the part that is being looked at
    std::string_view rest = body;
    while (!rest.empty() && parts_ < kMostParts) {
      const size_t at = body.size() - rest.size();
      const std::string_view line = TakeLine(rest);
      if (!line.starts_with(mark)) continue;
      const std::string_view after = codec::Trimmed(line.substr(mark.size()));
      if (!after.empty() && after != "--") continue;
      if (begin) ReadPart(body.substr(*begin, at - *begin), depth);
      begin = body.size() - rest.size();
      if (after == "--") return;
    }
    // Without its last mark: to the end.
    if (begin && parts_ < kMostParts) ReadPart(body.substr(*begin), depth);
  }
  void ReadPart(std::string_view part, int depth) {
    ++parts_;
    // The line end before a boundary is the boundary's.
    if (part.ends_with('\n')) part.remove_suffix(1);
    if (part.ends_with('\r')) part.remove_suffix(1);
    const Fields fields = TakeHead(part);
    Read(fields, part, depth + 1);
  }

  ReadMime& mail_;
  size_t parts_ = 0;
};

std::optional<unsigned> HexDigit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  return std::nullopt;
}

// "=?utf-8?B?…?=" at the front of `text`; its size goes to `size`.
std::optional<std::string> WordAt(std::string_view text, size_t& size) {
  constexpr std::string_view kOpen = "=?utf-8?";
  if (!StartsWithNoCase(text, kOpen) || text.size() < kOpen.size() + 2) return std::nullopt;
  const char kind = text[kOpen.size()];
  const size_t begin = kOpen.size() + 2;
  const size_t end = text.find("?=", begin);
  if (text[kOpen.size() + 1] != '?' || end == std::string_view::npos) return std::nullopt;
  std::string inner(text.substr(begin, end - begin));
  size = end + 2;
  if (kind == 'B' || kind == 'b') return DecodeMimeBase64(inner);
  if (kind != 'Q' && kind != 'q') return std::nullopt;
  std::ranges::replace(inner, '_', ' ');
  return DecodeQuotedPrintable(inner);
}

}  // namespace

std::string DecodeQuotedPrintable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') {
      out += text[i];
      continue;
    }
    const std::string_view next = text.substr(i + 1);
    if (next.starts_with("\r\n")) {
      i += 2;
    } else if (next.starts_with('\n')) {
      i += 1;
    } else if (next.size() >= 2 && HexDigit(next[0]) && HexDigit(next[1])) {
      out += static_cast<char>(*HexDigit(next[0]) * 16 + *HexDigit(next[1]));
      i += 2;
    } else {
      out += '=';
    }
  }
  return out;
}

std::string DecodeMimeBase64(std::string_view text) {
  std::string packed(text);
  std::erase_if(packed, [](char c) { return c == '\r' || c == '\n' || c == ' ' || c == '\t'; });
  const Result<std::string> bytes = codec::DecodeBase64(packed);
  return bytes ? *bytes : std::string(text);
}

std::string DecodeWords(std::string_view text) {
  std::string out;
  bool after_word = false;
  while (!text.empty()) {
    size_t size = 0;
    if (const auto word = WordAt(text, size)) {
      out += *word;
      text.remove_prefix(size);
      after_word = true;
      continue;
    }
    // Blanks between two words are no part of the text.
    const size_t blanks = std::min(text.find_first_not_of(" \t"), text.size());
    if (after_word && blanks > 0 && WordAt(text.substr(blanks), size)) {
      text.remove_prefix(blanks);
      continue;
    }
    out += text.front();
    text.remove_prefix(1);
    after_word = false;
  }
  return codec::AsUtf8(out);
}

ReadMime ParseMime(std::string_view raw) {
  ReadMime mail;
  mail.fields = TakeHead(raw);
  mail.from = DecodeWords(Get(mail.fields, "from"));
  mail.to = DecodeWords(Get(mail.fields, "to"));
  mail.subject = DecodeWords(Get(mail.fields, "subject"));
  Reader(mail).Read(mail.fields, raw, 0);
  return mail;
}

}  // namespace pontage::sandbox
