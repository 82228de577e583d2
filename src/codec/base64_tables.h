#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "codec/bytes.h"

// What both alphabets of RFC 4648 share. Only base64.cc and base64url.cc include this.
namespace pontage::codec::internal {

inline constexpr uint8_t kNoDigit = 0xff;

struct Base64Alphabet {
  std::array<char, 64> digit{};
  std::array<uint8_t, 256> value{};
};

constexpr Base64Alphabet MakeAlphabet(char c62, char c63) {
  Base64Alphabet a;
  for (size_t i = 0; i < 26; ++i) {
    a.digit[i] = static_cast<char>('A' + i);
    a.digit[26 + i] = static_cast<char>('a' + i);
  }
  for (size_t i = 0; i < 10; ++i) a.digit[52 + i] = static_cast<char>('0' + i);
  a.digit[62] = c62;
  a.digit[63] = c63;
  a.value.fill(kNoDigit);
  for (size_t i = 0; i < 64; ++i) {
    a.value[static_cast<uint8_t>(a.digit[i])] = static_cast<uint8_t>(i);
  }
  return a;
}

// The digits of `bytes`, without padding.
inline std::string EncodeDigits(const Base64Alphabet& alphabet, ByteView bytes, bool pad) {
  std::string out;
  out.resize((bytes.size() + 2) / 3 * 4);
  char* o = out.data();
  const uint8_t* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 3; left -= 3, p += 3) {
    const uint32_t n = static_cast<uint32_t>(p[0] << 16 | p[1] << 8 | p[2]);
    *o++ = alphabet.digit[n >> 18];
    *o++ = alphabet.digit[n >> 12 & 63];
    *o++ = alphabet.digit[n >> 6 & 63];
    *o++ = alphabet.digit[n & 63];
  }
  if (left == 0) return out;
  const uint32_t n = static_cast<uint32_t>(p[0] << 16 | (left == 2 ? p[1] << 8 : 0));
  *o++ = alphabet.digit[n >> 18];
  *o++ = alphabet.digit[n >> 12 & 63];
  if (left == 2) *o++ = alphabet.digit[n >> 6 & 63];
  if (pad) {
    while (o != out.data() + out.size()) *o++ = '=';
  } else {
    out.resize(static_cast<size_t>(o - out.data()));
  }
  return out;
}

enum class DigitsFault : uint8_t { kNone, kForeign, kLength, kTrailingBits };

// How many bytes so many digits are; not for a length that has a fault.
constexpr size_t BytesOf(size_t digits) {
  return digits / 4 * 3 + (digits % 4 == 0 ? 0 : digits % 4 - 1);
}

struct DigitsRead {
  DigitsFault fault = DigitsFault::kNone;
  size_t at = 0;  // Where the foreign character stands.
};

// `text` without its padding, into `out` with room for BytesOf(text.size()).
inline DigitsRead DecodeDigitsInto(const Base64Alphabet& alphabet, std::string_view text,
                                   char* out) {
  DigitsRead d;
  if (text.size() % 4 == 1) {
    d.fault = DigitsFault::kLength;
    return d;
  }
  // Plain pointers: every place is inside by the loop's own bound, and each value is below 256.
  const auto* const in = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const values = alphabet.value.data();
  char* o = out;
  uint32_t seen = 0;  // Foreign characters raise bit 7.
  size_t i = 0;
  for (; i + 4 <= text.size(); i += 4) {
    const uint32_t a = values[in[i]], b = values[in[i + 1]];
    const uint32_t c = values[in[i + 2]], e = values[in[i + 3]];
    seen |= a | b | c | e;
    const uint32_t n = a << 18 | b << 12 | c << 6 | e;
    *o++ = static_cast<char>(n >> 16);
    *o++ = static_cast<char>(n >> 8);
    *o++ = static_cast<char>(n);
  }
  uint32_t unused = 0;
  if (text.size() - i >= 2) {
    const uint32_t a = values[in[i]], b = values[in[i + 1]];
    const uint32_t c = text.size() - i == 3 ? values[in[i + 2]] : 0;
    seen |= a | b | c;
    const uint32_t n = a << 18 | b << 12 | c << 6;
    *o++ = static_cast<char>(n >> 16);
    if (text.size() - i == 3) *o++ = static_cast<char>(n >> 8);
    unused = text.size() - i == 3 ? c & 3 : b & 15;
  }
  if ((seen & 0x80) != 0) {
    d.fault = DigitsFault::kForeign;
    while (values[in[d.at]] != kNoDigit) ++d.at;
  } else if (unused != 0) {
    d.fault = DigitsFault::kTrailingBits;
  }
  return d;
}

struct DecodedDigits {
  std::string bytes;
  DigitsFault fault = DigitsFault::kNone;
  size_t at = 0;
};

inline DecodedDigits DecodeDigits(const Base64Alphabet& alphabet, std::string_view text) {
  DecodedDigits d;
  const size_t bytes = BytesOf(text.size());
  d.bytes.resize_and_overwrite(bytes, [&](char* out, size_t /*room*/) {
    const DigitsRead read = DecodeDigitsInto(alphabet, text, out);
    d.fault = read.fault;
    d.at = read.at;
    return read.fault == DigitsFault::kLength ? 0 : bytes;
  });
  return d;
}

}  // namespace pontage::codec::internal
