#include "sandbox/rpc_forms.h"

#include <algorithm>
#include <utility>

#include "codec/hex.h"

namespace pontage::sandbox {
namespace {

using codec::Hex0x;
using codec::Json;
using codec::Uint256;

Json Hash(const crypto::Hash32& hash) { return Hex0x(hash); }
Json Zeros(size_t bytes) { return Hex0x(codec::Bytes(bytes, 0)); }

// keccak256(rlp([])) and keccak256(rlp("")), as every block without uncles and withdrawals has.
constexpr char kNoUncles[] = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347";
constexpr char kEmptyRoot[] = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421";
// sha256("")
constexpr char kNoRequests[] = "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

Json AccessListJson(const chain::EvmTransaction& tx) {
  Json list = Json::Array();
  for (const chain::AccessListEntry& entry : tx.access_list) {
    Json keys = Json::Array();
    for (const codec::Bytes32& key : entry.storage_keys) keys.Push(Hash(key));
    list.Push(
        Json::Object({{"address", entry.address.ToLower()}, {"storageKeys", std::move(keys)}}));
  }
  return list;
}

Json ToJson(const std::optional<crypto::EvmAddress>& to) {
  return to ? Json(to->ToLower()) : Json(nullptr);
}

// What the gas of a transaction that is not mined yet would cost at most.
Uint256 OfferedPrice(const chain::EvmTransaction& tx) {
  const Result<Uint256> wish = Add(Uint256(kBaseFee), tx.max_priority_fee_per_gas);
  return wish ? std::min(*wish, tx.max_fee_per_gas) : tx.max_fee_per_gas;
}

}  // namespace

Json Quantity(uint64_t n) { return Quantity(Uint256(n)); }
Json Quantity(const Uint256& n) { return n.ToHexQuantity(); }

Json BlockJson(const Block& block, bool full) {
  const Header header = HeaderOf(block);
  Json transactions = Json::Array();
  for (size_t i = 0; i < block.transactions.size(); ++i) {
    const MinedTransaction& mined = block.transactions[i];
    transactions.Push(full ? TransactionJson(mined.tx, MinedAt{&block, &mined, i})
                           : Hash(mined.tx.hash()));
  }
  return Json::Object({{"hash", Hash(block.hash)},
                       {"parentHash", Hash(block.parent)},
                       {"sha3Uncles", kNoUncles},
                       {"miner", Zeros(20)},
                       {"stateRoot", Hash(header.state_root)},
                       {"transactionsRoot", Hash(header.transactions_root)},
                       {"receiptsRoot", Hash(header.receipts_root)},
                       {"logsBloom", Hex0x(header.bloom)},
                       {"difficulty", "0x0"},
                       {"number", Quantity(block.number)},
                       {"gasLimit", Quantity(kBlockGasLimit)},
                       {"gasUsed", Quantity(block.gas_used)},
                       {"timestamp", Quantity(block.timestamp)},
                       {"extraData", "0x"},
                       {"mixHash", Zeros(32)},
                       {"nonce", Zeros(8)},
                       {"baseFeePerGas", Quantity(kBaseFee)},
                       {"withdrawalsRoot", kEmptyRoot},
                       {"blobGasUsed", "0x0"},
                       {"excessBlobGas", "0x0"},
                       {"parentBeaconBlockRoot", Zeros(32)},
                       {"requestsHash", kNoRequests},
                       {"totalDifficulty", "0x0"},
                       {"size", Quantity(uint64_t{header.size})},
                       {"uncles", Json::Array()},
                       {"transactions", std::move(transactions)},
                       {"withdrawals", Json::Array()}});
}

Json TransactionJson(const RawTransaction& raw, const std::optional<MinedAt>& at) {
  const chain::EvmTransaction& tx = raw.tx();
  Json out = Json::Object({{"type", Quantity(uint64_t{raw.type})}});
  if (raw.has_chain_id) out.Set("chainId", Quantity(tx.chain_id));
  out.Set("nonce", Quantity(tx.nonce));
  if (raw.type == 0) {
    out.Set("gasPrice", Quantity(tx.max_fee_per_gas));
    out.Set("gas", Quantity(tx.gas_limit));
  } else {
    out.Set("gas", Quantity(tx.gas_limit));
    out.Set("maxFeePerGas", Quantity(tx.max_fee_per_gas));
    out.Set("maxPriorityFeePerGas", Quantity(tx.max_priority_fee_per_gas));
  }
  out.Set("to", ToJson(tx.to));
  out.Set("value", Quantity(tx.value));
  if (raw.type != 0) out.Set("accessList", AccessListJson(tx));
  out.Set("input", Hex0x(tx.data));
  out.Set("r", Quantity(raw.r));
  out.Set("s", Quantity(raw.s));
  if (raw.type != 0) out.Set("yParity", Quantity(raw.v));
  out.Set("v", Quantity(raw.v));
  out.Set("hash", Hash(raw.hash()));
  out.Set("blockHash", at ? Hash(at->block->hash) : Json(nullptr));
  out.Set("blockNumber", at ? Quantity(at->block->number) : Json(nullptr));
  out.Set("transactionIndex", at ? Quantity(uint64_t{at->index}) : Json(nullptr));
  out.Set("from", raw.sender().ToLower());
  if (raw.type != 0) {
    out.Set("gasPrice", Quantity(at ? at->transaction->price : OfferedPrice(tx)));
  }
  if (at) out.Set("blockTimestamp", Quantity(at->block->timestamp));
  return out;
}

Json LogJson(const MinedAt& at, const chain::EvmLog& log) {
  Json topics = Json::Array();
  for (const codec::Bytes32& topic : log.topics) topics.Push(Hash(topic));
  return Json::Object({{"address", log.address.ToLower()},
                       {"topics", std::move(topics)},
                       {"data", Hex0x(log.data)},
                       {"blockHash", Hash(at.block->hash)},
                       {"blockNumber", Quantity(at.block->number)},
                       {"blockTimestamp", Quantity(at.block->timestamp)},
                       {"transactionHash", Hash(at.transaction->tx.hash())},
                       {"transactionIndex", Quantity(uint64_t{at.index})},
                       {"logIndex", Quantity(log.log_index)},
                       {"removed", false}});
}

Json ReceiptJson(const MinedAt& at) {
  const MinedTransaction& mined = *at.transaction;
  Json logs = Json::Array();
  for (const chain::EvmLog& log : mined.logs) logs.Push(LogJson(at, log));
  return Json::Object({{"type", Quantity(uint64_t{mined.tx.type})},
                       {"status", mined.ok ? "0x1" : "0x0"},
                       {"cumulativeGasUsed", Quantity(mined.cumulative_gas)},
                       {"logs", std::move(logs)},
                       {"logsBloom", Hex0x(BloomOf(mined.logs))},
                       {"transactionHash", Hash(mined.tx.hash())},
                       {"transactionIndex", Quantity(uint64_t{at.index})},
                       {"blockHash", Hash(at.block->hash)},
                       {"blockNumber", Quantity(at.block->number)},
                       {"gasUsed", Quantity(mined.gas_used)},
                       {"effectiveGasPrice", Quantity(mined.price)},
                       {"from", mined.tx.sender().ToLower()},
                       {"to", ToJson(mined.tx.tx().to)},
                       {"contractAddress", nullptr}});
}

}  // namespace pontage::sandbox
