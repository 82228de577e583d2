#pragma once

#include <cstdint>
#include <optional>

#include "codec/json.h"
#include "sandbox/block_chain.h"

namespace pontage::sandbox {

// How blocks, transactions, receipts and logs look in JSON-RPC. Members and their order are
// anvil's.

codec::Json Quantity(uint64_t n);
codec::Json Quantity(const codec::Uint256& n);

// With the transactions in full, or their hashes.
codec::Json BlockJson(const Block& block, bool full);
// `at` absent: it still waits for a block.
codec::Json TransactionJson(const RawTransaction& tx, const std::optional<MinedAt>& at);
codec::Json ReceiptJson(const MinedAt& at);
codec::Json LogJson(const MinedAt& at, const chain::EvmLog& log);

}  // namespace pontage::sandbox
