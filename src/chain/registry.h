#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "chain/chain_id.h"
#include "crypto/evm_address.h"

namespace pontage::chain {

// How the exact scheme moves a token: by the token's own transferWithAuthorization, or through
// Permit2 for tokens that have none.
enum class TransferMethod : uint8_t { kEip3009, kPermit2 };

// A token on an EVM chain, as far as pricing and signing go.
struct EvmAsset {
  ChainId chain;
  crypto::EvmAddress address;
  std::string symbol;    // For people; never compared.
  uint8_t decimals = 0;  // Atomic units per token: 10^decimals.
  // The token's EIP-712 domain. A wrong name is the most common mistake of sellers: it is checked
  // against DOMAIN_SEPARATOR() on the chain when a facilitator starts.
  std::string eip712_name;
  std::string eip712_version;
  TransferMethod method = TransferMethod::kEip3009;
  // In the official client's own table: it pays this asset without being configured to.
  bool stock = false;
};

// 10^18 atomic units is what tokens have; 10^38 is the most a 128-bit token could mean.
inline constexpr uint8_t kMaxDecimals = 38;

// Which assets can be offered and taken, by chain and address. Filled at start, read only
// afterwards.
class AssetRegistry {
 public:
  // Empty: a configuration that names its assets one by one.
  AssetRegistry() = default;
  // The stablecoins of the networks x402 is spoken on (docs/reference/assets.md).
  static AssetRegistry WithDefaults();

  // Adds an asset, or replaces the one at the same chain and address. The first asset of a chain is
  // its default. Fails with kConfig when the chain is not an EVM chain, the address is zero, the
  // decimals are above kMaxDecimals, or the domain's name or version is empty.
  Result<> AddAsset(EvmAsset asset);

  // nullptr when not known. Valid until the next AddAsset.
  const EvmAsset* Find(const ChainId& chain, const crypto::EvmAddress& address) const;
  // What a price in dollars means on that chain; nullptr when the chain has no asset here.
  const EvmAsset* DefaultOf(const ChainId& chain) const;
  // By symbol, letter case ignored ("usdc"); nullptr when there is none on that chain.
  const EvmAsset* FindSymbol(const ChainId& chain, std::string_view symbol) const;
  std::span<const EvmAsset> all() const { return assets_; }

 private:
  std::vector<EvmAsset> assets_;  // Some forty: a walk is faster than a map.
};

}  // namespace pontage::chain
