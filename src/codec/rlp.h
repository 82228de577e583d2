#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "codec/bytes.h"
#include "codec/uint256.h"

namespace pontage::codec {

// One item of Ethereum's Recursive Length Prefix encoding: octets, or a list of items.
struct RlpItem {
  bool is_list = false;
  Bytes bytes;                 // Empty for a list.
  std::vector<RlpItem> items;  // Empty for octets.

  static RlpItem Octets(ByteView bytes) { return {false, Bytes(bytes.begin(), bytes.end()), {}}; }
  static RlpItem List(std::vector<RlpItem> items) { return {true, {}, std::move(items)}; }
  // Big-endian without leading zeros; zero is no octets at all.
  static RlpItem Uint(const Uint256& n);
  static RlpItem Uint(uint64_t n) { return Uint(Uint256(n)); }

  // The number that Uint wrote. Fails with kBadRequest on a list, a leading zero or above 32 bytes.
  Result<Uint256> ToUint() const;
  Result<uint64_t> ToU64() const;

  friend bool operator==(const RlpItem&, const RlpItem&) = default;
};

// An access list is the deepest thing in a transaction: list, entry, keys, key.
inline constexpr size_t kMaxRlpDepth = 8;

Bytes EncodeRlp(const RlpItem& item);

// Exactly one item and nothing behind it, in its only valid spelling: what EncodeRlp would write.
// Fails with kBadRequest. Bounded by the input's length and kMaxRlpDepth.
Result<RlpItem> DecodeRlp(ByteView bytes);

}  // namespace pontage::codec
