#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "codec/bytes.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"
#include "crypto/secp256k1.h"

namespace pontage::chain {

// What a node takes at most (geth's txMaxSize).
inline constexpr size_t kMaxTransactionBytes = 128 << 10;

struct AccessListEntry {
  crypto::EvmAddress address;
  std::vector<codec::Bytes32> storage_keys;
  friend bool operator==(const AccessListEntry&, const AccessListEntry&) = default;
};

// An EIP-1559 (type 2) transaction before it is signed. Fees are in wei.
struct EvmTransaction {
  uint64_t chain_id = 0;
  uint64_t nonce = 0;
  codec::Uint256 max_priority_fee_per_gas;
  codec::Uint256 max_fee_per_gas;
  uint64_t gas_limit = 0;
  std::optional<crypto::EvmAddress> to;  // Absent: creates a contract.
  codec::Uint256 value;
  codec::Bytes data;
  std::vector<AccessListEntry> access_list;
  friend bool operator==(const EvmTransaction&, const EvmTransaction&) = default;
};

// The same, signed: `raw` is what eth_sendRawTransaction takes, `hash` its name on the chain.
struct SignedEvmTransaction {
  EvmTransaction tx;
  crypto::EvmAddress sender;
  crypto::Hash32 hash{};
  codec::Bytes raw;
};

// Deterministic: the same transaction and key give the same bytes.
SignedEvmTransaction SignTransaction(const EvmTransaction& tx, const crypto::PrivateKey& key);

// Reads the raw bytes of a type 2 transaction and recovers its sender. Strict RLP, low s. Fails
// with kBadRequest for the form and with the codes of crypto::Recover for the signature.
Result<SignedEvmTransaction> ParseTransaction(codec::ByteView raw);

}  // namespace pontage::chain
