#pragma once

#include <cstdint>

#include "base/error.h"
#include "chain/evm_transaction.h"
#include "codec/bytes.h"
#include "codec/uint256.h"

namespace pontage::sandbox {

// A signed transaction as a node keeps it: also its type and its signature, which JSON-RPC shows.
struct RawTransaction {
  uint8_t type = 2;  // 0 (legacy, both fees are the gas price) or 2 (EIP-1559).
  // Absent in a legacy transaction from before EIP-155, which is good on any chain.
  bool has_chain_id = true;
  chain::SignedEvmTransaction signed_tx;
  uint64_t v = 0;  // As it stands in the transaction.
  codec::Uint256 r;
  codec::Uint256 s;

  const chain::EvmTransaction& tx() const { return signed_tx.tx; }
  const crypto::Hash32& hash() const { return signed_tx.hash; }
  const crypto::EvmAddress& sender() const { return signed_tx.sender; }
};

// Reads what eth_sendRawTransaction was given. Types 0 and 2; others, and whatever is not the one
// spelling of a transaction, fail with kBadRequest.
Result<RawTransaction> ParseRawTransaction(codec::ByteView raw);

// What a transaction pays for itself: 21,000 and its calldata (EIP-2028), and 2,400 and 1,900 for
// each address and key of an access list (EIP-2930).
uint64_t IntrinsicGas(const chain::EvmTransaction& tx);
uint64_t IntrinsicGas(codec::ByteView data);

}  // namespace pontage::sandbox
