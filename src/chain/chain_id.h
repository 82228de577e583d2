#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/bytes.h"

namespace pontage::chain {

enum class Family : uint8_t { kEvm = 1, kSvm = 2 };

// One blockchain network. Two spellings on the wire (x402 v1's short name, CAIP-2), one value here.
class ChainId {
 public:
  static ChainId Evm(uint64_t number);
  // "eip155:84532" or "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1": case counts, the number is 1 to
  // 2^64 - 1 without leading zeros, the genesis hash 32 characters of base58. Fails with
  // kPaymentNetwork, the right form in expected().
  static Result<ChainId> FromCaip2(std::string_view text);
  // "base-sepolia": one of the names v1 knows. Fails with kPaymentNetwork.
  static Result<ChainId> FromV1Name(std::string_view name);
  // Either of the two; a colon makes it CAIP-2.
  static Result<ChainId> Parse(std::string_view text);

  Family family() const { return family_; }
  // The number of an EVM chain; 0 for the others.
  uint64_t number() const { return number_; }
  // The genesis hash of a Solana cluster; empty for EVM chains.
  const std::string& reference() const { return reference_; }

  std::string Caip2() const;
  // The name v1 has for it, if it has one.
  std::optional<std::string_view> V1Name() const;
  // The octets that stand for this chain in a once-key: no two chains share them and no spelling
  // changes them. The family, then the number (8 bytes, big-endian) or the genesis hash.
  codec::Bytes Binary() const;

  friend auto operator<=>(const ChainId&, const ChainId&) = default;

 private:
  ChainId(Family family, uint64_t number, std::string reference)
      : family_(family), number_(number), reference_(std::move(reference)) {}
  Family family_;
  uint64_t number_;
  std::string reference_;
};

}  // namespace pontage::chain
