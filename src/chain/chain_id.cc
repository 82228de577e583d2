#include "chain/chain_id.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "codec/base58.h"

namespace pontage::chain {
namespace {

struct V1Row {
  std::string_view name;
  uint64_t number;             // Of an EVM chain, or
  std::string_view reference;  // of a Solana cluster.
};

// The short names of x402 v1, those of the official packages' compatibility tables included.
constexpr V1Row kV1Names[] = {
    {"ethereum", 1, {}},
    {"sepolia", 11155111, {}},
    {"base", 8453, {}},
    {"base-sepolia", 84532, {}},
    {"polygon", 137, {}},
    {"polygon-amoy", 80002, {}},
    {"avalanche", 43114, {}},
    {"avalanche-fuji", 43113, {}},
    {"abstract", 2741, {}},
    {"abstract-testnet", 11124, {}},
    {"celo", 42220, {}},
    {"celo-sepolia", 11142220, {}},
    {"stable", 988, {}},
    {"stable-testnet", 2201, {}},
    {"iotex", 4689, {}},
    {"sei", 1329, {}},
    {"sei-testnet", 1328, {}},
    {"peaq", 3338, {}},
    {"story", 1514, {}},
    {"educhain", 41923, {}},
    {"skale-base-sepolia", 324705682, {}},
    {"megaeth", 4326, {}},
    {"monad", 143, {}},
    {"flare", 14, {}},
    {"xdc", 50, {}},
    {"xrpl-evm", 1440000, {}},
    {"radius", 723487, {}},
    {"radius-testnet", 72344, {}},
    {"solana", 0, "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"},
    {"solana-devnet", 0, "EtWTRABZaYq6iMfeYKouRu166VU2xqa1"},
    {"solana-testnet", 0, "4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"},
};

// CAIP-30: the first 32 characters of the genesis hash in base58.
constexpr size_t kSolanaReference = 32;
// What 32 characters of base58 can hold.
constexpr size_t kSolanaReferenceBytes = 32;

std::unexpected<Error> Fault(std::string why) {
  return Fail(Error(Code::kPaymentNetwork, std::move(why))
                  .Want("a CAIP-2 id such as eip155:8453, or a v1 name such as base"));
}

}  // namespace

ChainId ChainId::Evm(uint64_t number) { return ChainId(Family::kEvm, number, {}); }

Result<ChainId> ChainId::FromCaip2(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == text.npos) return Fault("a network without a colon");
  const std::string_view space = text.substr(0, colon);
  const std::string_view reference = text.substr(colon + 1);
  if (space == "eip155") {
    uint64_t number = 0;
    const char* end = reference.data() + reference.size();
    const auto [at, fault] = std::from_chars(reference.data(), end, number);
    if (fault != std::errc() || at != end || reference.starts_with('0')) {
      return Fault("eip155 without a chain number");
    }
    return Evm(number);
  }
  if (space == "solana") {
    if (reference.size() != kSolanaReference ||
        !codec::DecodeBase58(reference, kSolanaReferenceBytes)) {
      return Fault("solana without a genesis hash of 32 characters");
    }
    return ChainId(Family::kSvm, 0, std::string(reference));
  }
  return Fault("a network of a family we do not speak");
}

Result<ChainId> ChainId::FromV1Name(std::string_view name) {
  for (const V1Row& row : kV1Names) {
    if (row.name != name) continue;
    if (row.reference.empty()) return Evm(row.number);
    return ChainId(Family::kSvm, 0, std::string(row.reference));
  }
  return Fault("a network v1 has no name for");
}

Result<ChainId> ChainId::Parse(std::string_view text) {
  return text.contains(':') ? FromCaip2(text) : FromV1Name(text);
}

std::string ChainId::Caip2() const {
  if (family_ == Family::kEvm) return "eip155:" + std::to_string(number_);
  return "solana:" + reference_;
}

std::optional<std::string_view> ChainId::V1Name() const {
  for (const V1Row& row : kV1Names) {
    if (row.number == number_ && row.reference == reference_) return row.name;
  }
  return std::nullopt;
}

codec::Bytes ChainId::Binary() const {
  codec::Bytes out = {static_cast<uint8_t>(family_)};
  if (family_ == Family::kEvm) {
    for (int shift = 56; shift >= 0; shift -= 8) {
      out.push_back(static_cast<uint8_t>(number_ >> shift));
    }
  } else {
    codec::Append(out, codec::AsBytes(reference_));
  }
  return out;
}

}  // namespace pontage::chain
