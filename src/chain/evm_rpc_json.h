#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "chain/evm_rpc.h"
#include "codec/json.h"

// Readers of what Ethereum JSON-RPC nodes answer. Pure and strict: what is not of the right shape
// is kChainUnreachable, because a node that answers nonsense is as good as none.
namespace pontage::chain {

// `count` replies out of the answer to a batch, in the order of the ids 0 … count - 1, whatever
// order they came in. Every id must be there exactly once.
Result<std::vector<EvmRpc::Reply>> ReadReplies(std::string_view body, size_t count,
                                               size_t max_bytes);
Result<codec::Uint256> ReadQuantity(const codec::Json& json);
Result<uint64_t> ReadQuantity64(const codec::Json& json);
// "0x…", up to what a contract may return to us (64 KiB).
Result<codec::Bytes> ReadBytes(const codec::Json& json);
Result<bool> ReadHasCode(const codec::Json& json);
Result<EvmBlock> ReadBlock(const codec::Json& json);
// null: there is none.
Result<std::optional<crypto::Hash32>> ReadBlockHash(const codec::Json& json);
// null: not mined.
Result<std::optional<EvmReceipt>> ReadReceipt(const codec::Json& json);
Result<std::vector<FoundLog>> ReadFoundLogs(const codec::Json& json);
// The words that geth, erigon, nethermind, reth, anvil and besu have for each refusal.
Sent ReadSendError(std::string_view message);

}  // namespace pontage::chain
