#include "chain/evm_rpc_json.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/try.h"
#include "codec/hex.h"

namespace pontage::chain {
namespace {

using codec::Json;
using codec::JsonReader;

constexpr Code kFault = Code::kChainUnreachable;
constexpr size_t kMaxReturned = 64 << 10;
// A transfer writes two logs; somebody's batch in one transaction a few hundred.
constexpr size_t kMaxLogs = 4'096;
constexpr size_t kMaxTopics = 4;

Error Nonsense(std::string what) { return Error(kFault, "a node answered " + std::move(what)); }

template <size_t N>
Result<std::array<uint8_t, N>> FixedBytes(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::string_view text, r.String(key));
  const Result<std::array<uint8_t, N>> bytes = codec::FromHex0x<N>(text);
  if (!bytes) return Fail(Nonsense("a bad " + std::string(key)));
  return *bytes;
}

Result<uint64_t> Number(const JsonReader& r, std::string_view key) {
  PTG_TRY(const Json* json, r.Any(key));
  return ReadQuantity64(*json);
}

Result<EvmLog> ReadLog(const JsonReader& r) {
  EvmLog log;
  PTG_TRY(log.address.bytes, FixedBytes<20>(r, "address"));
  PTG_TRY(const std::vector<Json>* topics, r.Array("topics"));
  if (topics->size() > kMaxTopics) return Fail(Nonsense("a log with too many topics"));
  for (const Json& topic : *topics) {
    const std::string* text = topic.AsString();
    if (text == nullptr) return Fail(Nonsense("a topic that is no text"));
    const Result<codec::Bytes32> bytes = codec::FromHex0x<32>(*text);
    if (!bytes) return Fail(Nonsense("a bad topic"));
    log.topics.push_back(*bytes);
  }
  PTG_TRY(const Json* data, r.Any("data"));
  PTG_TRY(log.data, ReadBytes(*data));
  PTG_TRY(log.log_index, Number(r, "logIndex"));
  return log;
}

// effectiveGasPrice is EIP-1559's, l1Fee the OP stack's.
Result<std::optional<codec::Uint256>> ReadCost(const JsonReader& r, uint64_t gas_used) {
  const Json* price = r.MaybeAny("effectiveGasPrice");
  if (price == nullptr || price->IsNull()) return std::optional<codec::Uint256>();
  PTG_TRY(const codec::Uint256 wei, ReadQuantity(*price));
  Result<codec::Uint256> cost = Mul(wei, gas_used);
  const Json* parent = r.MaybeAny("l1Fee");
  if (cost && parent != nullptr && !parent->IsNull()) {
    PTG_TRY(const codec::Uint256 fee, ReadQuantity(*parent));
    cost = Add(*cost, fee);
  }
  if (!cost) return Fail(Nonsense("a cost beyond 256 bits"));
  return std::optional<codec::Uint256>(*cost);
}

}  // namespace

Result<std::vector<EvmRpc::Reply>> ReadReplies(std::string_view body, size_t count,
                                               size_t max_bytes) {
  codec::JsonLimits limits;
  limits.max_bytes = max_bytes;
  limits.fault = kFault;
  PTG_TRY(const Json json, codec::ParseJson(body, limits));
  const std::vector<Json>* list = json.AsArray();
  if (list == nullptr || list->size() != count) {
    return Fail(Nonsense("something else than the batch it was asked"));
  }
  std::vector<EvmRpc::Reply> replies(count);
  std::vector<bool> seen(count);
  for (const Json& one : *list) {
    PTG_TRY(const JsonReader r, JsonReader::Of(one, kFault));
    PTG_TRY(const int64_t id, r.Int("id"));
    if (id < 0 || static_cast<size_t>(id) >= count || seen[static_cast<size_t>(id)]) {
      return Fail(Nonsense("an id that was not asked"));
    }
    seen[static_cast<size_t>(id)] = true;
    EvmRpc::Reply& reply = replies[static_cast<size_t>(id)];
    PTG_TRY(const std::optional<JsonReader> error, r.MaybeObject("error"));
    if (!error) {
      const Json* result = one.Find("result");
      if (result == nullptr) return Fail(Nonsense("neither result nor error"));
      reply.result = *result;
      continue;
    }
    reply.failed = true;
    PTG_TRY(reply.code, error->Int("code"));
    PTG_TRY(const std::optional<std::string_view> message, error->MaybeString("message"));
    reply.message = std::string(message.value_or(""));
    const Json* data = error->MaybeAny("data");
    reply.has_data = data != nullptr && data->IsString() && data->AsString()->starts_with("0x");
  }
  return replies;
}

Result<codec::Uint256> ReadQuantity(const Json& json) {
  const std::string* text = json.AsString();
  if (text == nullptr) return Fail(Nonsense("no quantity"));
  const Result<codec::Uint256> number = codec::Uint256::FromHexQuantity(*text);
  if (!number) return Fail(Nonsense("a malformed quantity"));
  return *number;
}

Result<uint64_t> ReadQuantity64(const Json& json) {
  PTG_TRY(const codec::Uint256 number, ReadQuantity(json));
  if (!number.FitsU64()) return Fail(Nonsense("a quantity beyond 64 bits"));
  return *number.ToU64();
}

Result<codec::Bytes> ReadBytes(const Json& json) {
  const std::string* text = json.AsString();
  if (text == nullptr) return Fail(Nonsense("no bytes"));
  Result<codec::Bytes> bytes = codec::FromHex0x(*text, kMaxReturned);
  if (!bytes) return Fail(Nonsense("malformed bytes"));
  return bytes;
}

Result<bool> ReadHasCode(const Json& json) {
  const std::string* text = json.AsString();
  if (text == nullptr || !text->starts_with("0x")) return Fail(Nonsense("no code"));
  return text->size() > 2;
}

Result<EvmBlock> ReadBlock(const Json& json) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json, kFault));
  EvmBlock block;
  PTG_TRY(block.number, Number(r, "number"));
  PTG_TRY(const uint64_t time, Number(r, "timestamp"));
  block.time_s = static_cast<int64_t>(std::min<uint64_t>(time, INT64_MAX));
  if (const Json* fee = r.MaybeAny("baseFeePerGas")) {
    PTG_TRY(block.base_fee, ReadQuantity(*fee));
  }
  return block;
}

Result<std::optional<crypto::Hash32>> ReadBlockHash(const Json& json) {
  if (json.IsNull()) return std::optional<crypto::Hash32>();
  PTG_TRY(const JsonReader r, JsonReader::Of(json, kFault));
  PTG_TRY(const crypto::Hash32 hash, FixedBytes<32>(r, "hash"));
  return std::optional<crypto::Hash32>(hash);
}

Result<std::optional<EvmReceipt>> ReadReceipt(const Json& json) {
  if (json.IsNull()) return std::optional<EvmReceipt>();
  PTG_TRY(const JsonReader r, JsonReader::Of(json, kFault));
  // Some nodes answer a receipt of a transaction that still waits.
  if (r.MaybeAny("blockNumber") == nullptr) return std::optional<EvmReceipt>();
  EvmReceipt receipt;
  PTG_TRY(receipt.hash, FixedBytes<32>(r, "transactionHash"));
  PTG_TRY(const uint64_t status, Number(r, "status"));
  receipt.ok = status == 1;
  PTG_TRY(receipt.block, Number(r, "blockNumber"));
  if (r.MaybeAny("blockHash") != nullptr) {
    PTG_TRY(receipt.block_hash, FixedBytes<32>(r, "blockHash"));
  }
  PTG_TRY(receipt.gas_used, Number(r, "gasUsed"));
  PTG_TRY(receipt.cost, ReadCost(r, receipt.gas_used));
  PTG_TRY(const std::vector<JsonReader> logs, r.Objects("logs", kMaxLogs));
  for (const JsonReader& log : logs) {
    PTG_TRY(EvmLog one, ReadLog(log));
    receipt.logs.push_back(std::move(one));
  }
  return std::optional<EvmReceipt>(std::move(receipt));
}

Result<std::vector<FoundLog>> ReadFoundLogs(const Json& json) {
  const std::vector<Json>* list = json.AsArray();
  if (list == nullptr || list->size() > kMaxLogs) return Fail(Nonsense("no list of logs"));
  std::vector<FoundLog> found;
  for (const Json& one : *list) {
    PTG_TRY(const JsonReader r, JsonReader::Of(one, kFault));
    PTG_TRY(const std::optional<bool> removed, r.MaybeBool("removed"));
    if (removed.value_or(false)) continue;
    FoundLog log;
    PTG_TRY(log.log, ReadLog(r));
    PTG_TRY(log.transaction, FixedBytes<32>(r, "transactionHash"));
    PTG_TRY(log.block, Number(r, "blockNumber"));
    found.push_back(std::move(log));
  }
  return found;
}

Sent ReadSendError(std::string_view message) {
  std::string lower(message);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const auto says = [&lower](std::string_view words) {
    return lower.find(words) != std::string::npos;
  };
  if (says("already known") || says("already imported") || says("known transaction") ||
      says("alreadyknown") || says("already exists")) {
    return Sent::kAccepted;
  }
  if (says("nonce too low") || says("nonce is too low") || says("oldnonce") ||
      says("nonce below")) {
    return Sent::kNonceTooLow;
  }
  if (says("underpriced") || says("replacement") || says("fee too low")) return Sent::kUnderpriced;
  if (says("insufficient funds") || says("insufficientfunds") || says("upfront")) {
    return Sent::kNoFunds;
  }
  return Sent::kRejected;
}

}  // namespace pontage::chain
