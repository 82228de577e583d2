#include "codec/hex.h"

#include <array>
#include <cstring>

namespace pontage::codec {
namespace {

constexpr char kDigits[] = "0123456789abcdef";

// By tables: transactions and calls are hex by the kilobyte. What a digit stands for; -1: none.
constexpr std::array<int16_t, 256> kNibbles = [] {
  std::array<int16_t, 256> nibbles{};
  nibbles.fill(-1);
  for (int16_t i = 0; i < 16; ++i) {
    const auto digit = static_cast<uint8_t>(kDigits[i]);
    nibbles[digit] = i;
    if (i >= 10) nibbles[digit - 'a' + 'A'] = i;
  }
  return nibbles;
}();
// The two digits of each byte.
constexpr std::array<std::array<char, 2>, 256> kPairs = [] {
  std::array<std::array<char, 2>, 256> pairs{};
  for (size_t b = 0; b < pairs.size(); ++b) pairs[b] = {kDigits[b >> 4], kDigits[b & 15]};
  return pairs;
}();

void AppendHex(std::string& to, ByteView bytes) {
  const size_t at = to.size();
  to.resize_and_overwrite(at + 2 * bytes.size(), [&](char* text, size_t size) {
    char* out = text + at;
    for (const uint8_t b : bytes) {
      std::memcpy(out, kPairs[b].data(), 2);
      out += 2;
    }
    return size;
  });
}

bool HasPrefix(std::string_view text) { return text.starts_with("0x"); }

}  // namespace

std::string ToHex(ByteView bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  AppendHex(text, bytes);
  return text;
}

std::string Hex0x(ByteView bytes) {
  std::string text;
  text.reserve(2 + 2 * bytes.size());
  text = "0x";
  AppendHex(text, bytes);
  return text;
}

bool HexInto(std::string_view digits, std::span<uint8_t> out) {
  if (digits.size() != 2 * out.size()) return false;
  int bad = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const int high = kNibbles[static_cast<uint8_t>(digits[2 * i])];
    const int low = kNibbles[static_cast<uint8_t>(digits[2 * i + 1])];
    bad |= high | low;  // Negative as soon as one of them is.
    out[i] = static_cast<uint8_t>(((high & 15) << 4) | (low & 15));
  }
  return bad >= 0;
}

Result<Bytes> FromHex0x(std::string_view text, size_t max_bytes) {
  const auto fault = [](std::string why) {
    return Fail(
        Error(Code::kBadRequest, std::move(why)).Want("0x and an even number of hex digits"));
  };
  if (!HasPrefix(text)) return fault("does not begin with 0x");
  text.remove_prefix(2);
  if (text.size() % 2 != 0) return fault("an odd number of hex digits");
  if (text.size() / 2 > max_bytes) {
    return fault("longer than " + std::to_string(max_bytes) + " bytes");
  }
  Bytes out(text.size() / 2);
  if (!HexInto(text, out)) return fault("a character that is no hex digit");
  return out;
}

Result<> FromHex0xInto(std::string_view text, std::span<uint8_t> out) {
  const auto fault = [&](std::string why) {
    return Fail(Error(Code::kBadRequest, std::move(why))
                    .Want("0x and " + std::to_string(2 * out.size()) + " hex digits"));
  };
  if (!HasPrefix(text)) return fault("does not begin with 0x");
  text.remove_prefix(2);
  if (text.size() != 2 * out.size()) {
    return fault(std::to_string(text.size()) + " digits behind the 0x");
  }
  if (!HexInto(text, out)) return fault("a character that is no hex digit");
  return {};
}

}  // namespace pontage::codec
