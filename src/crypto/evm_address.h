#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/bytes.h"

namespace pontage::crypto {

// An account or contract on an EVM chain. Compared by its bytes, so letter case never matters.
struct EvmAddress {
  std::array<uint8_t, 20> bytes{};

  // "0x" and 40 hex digits. All lower or all upper case is taken as it is; mixed case must be the
  // right EIP-55 checksum when `checksum` asks for it (config, where a slip of the finger sends
  // money astray) and is ignored otherwise (the wire, where clients write what they like). Fails
  // with kBadRequest, the right form in expected().
  enum class Checksum : uint8_t { kIgnore, kVerify };
  static Result<EvmAddress> Parse(std::string_view text, Checksum checksum = Checksum::kIgnore);
  // Of the last 20 bytes of a 32-byte word whose first 12 are zero (a log's topic). Fails with
  // kBadRequest otherwise.
  static Result<EvmAddress> FromWord(const codec::Bytes32& word);
  codec::Bytes32 ToWord() const;

  std::string ToLower() const;     // "0x" and lower-case digits: keys in stores, comparisons.
  std::string ToChecksum() const;  // EIP-55: what people and clients are shown.

  bool IsZero() const { return *this == EvmAddress{}; }
  friend constexpr auto operator<=>(const EvmAddress&, const EvmAddress&) = default;
};

}  // namespace pontage::crypto

template <>
struct std::hash<pontage::crypto::EvmAddress> {
  // An address is a hash already, but one can be ground to taste: use it for configured keys only.
  size_t operator()(const pontage::crypto::EvmAddress& a) const noexcept {
    size_t n = 0;
    std::memcpy(&n, a.bytes.data(), sizeof n);
    return n;
  }
};
