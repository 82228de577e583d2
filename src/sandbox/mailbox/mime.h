#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pontage::sandbox {

// A mail as it came over SMTP, read for people: forgiving where real mail is sloppy, and bounded.
// What cannot be decoded is shown as it came; everything is UTF-8.
struct ReadMime {
  std::string from;  // fields as written, encoded words decoded
  std::string to;
  std::string subject;
  std::string text;  // the first text/plain part
  std::string html;  // the first text/html part
  // Every field of the head, unfolded, in order.
  std::vector<std::pair<std::string, std::string>> fields;
};
ReadMime ParseMime(std::string_view raw);

// Encoded words of RFC 2047 in UTF-8 decoded, the rest unchanged.
std::string DecodeWords(std::string_view text);
// RFC 2045 §6.7; a '=' that begins nothing stays.
std::string DecodeQuotedPrintable(std::string_view text);
// RFC 2045 §6.8, line ends allowed; the text itself when it is no base64.
std::string DecodeMimeBase64(std::string_view text);

}  // namespace pontage::sandbox
