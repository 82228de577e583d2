#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace pontage {

// Two digits for each byte, in small letters, from `to` on; where they end. For ids, of which each
// request takes three: what reads hex, too, is codec/hex.h.
inline char* WriteHexDigits(std::span<const uint8_t> bytes, char* to) {
  static constexpr auto kPairs = [] {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::array<std::array<char, 2>, 256> pairs{};
    for (size_t i = 0; i < pairs.size(); ++i) pairs[i] = {kDigits[i >> 4], kDigits[i & 15]};
    return pairs;
  }();
  for (const uint8_t byte : bytes) {
    *to++ = kPairs[byte][0];
    *to++ = kPairs[byte][1];
  }
  return to;
}

}  // namespace pontage
