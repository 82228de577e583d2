#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pontage::codec {

// RFC 3629: no overlong forms, no surrogates.
bool IsUtf8(std::string_view text);
// The same text with '?' for every byte that is no part of a well-formed character.
std::string AsUtf8(std::string_view text);

// ASCII's: what would end a line, or move a terminal's cursor.
constexpr bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
// No control characters; may be empty.
bool IsLine(std::string_view text);
// The same text with a blank for every control character.
std::string AsLine(std::string text);

// Without the blanks, tabs and line ends at both ends.
std::string_view Trimmed(std::string_view text);
// A to Z as a to z, and nothing else changed.
std::string AsciiLower(std::string_view text);

// For the content of an HTML element and for an attribute in quotes.
std::string EscapeHtml(std::string_view text);

}  // namespace pontage::codec
