// What any Ethereum node answers, as far as payments need it.
#include <algorithm>
#include <utility>

#include "base/try.h"
#include "codec/hex.h"
#include "codec/rlp.h"
#include "sandbox/rpc_forms.h"
#include "sandbox/rpc_methods.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using codec::RlpItem;
using codec::Uint256;
using crypto::EvmAddress;

// Stands where a contract's code would be: INVALID, then the name of what is there.
constexpr std::string_view kCodeMarker = "\xfepontage sandbox contract";

const Json* Item(const Params& p, size_t i) {
  if (!p.Has(i)) return nullptr;
  const auto item = p.Any(i);
  return item ? *item : nullptr;
}

bool IsPending(const Json* json) {
  const std::string* tag = json ? json->AsString() : nullptr;
  return tag && *tag == "pending";
}

RpcResult<Json> ChainId(Node& n, const Params&) { return Quantity(n.chain.chain_id()); }
RpcResult<Json> NetVersion(Node& n, const Params&) {
  return Json(std::to_string(n.chain.chain_id()));
}
RpcResult<Json> ClientVersion(Node&, const Params&) { return Json("pontage-sandbox"); }
RpcResult<Json> Listening(Node&, const Params&) { return Json(true); }
RpcResult<Json> Syncing(Node&, const Params&) { return Json(false); }
RpcResult<Json> Accounts(Node&, const Params&) { return Json::Array(); }
RpcResult<Json> GasPrice(Node&, const Params&) { return Quantity(kBaseFee + kPriorityFee); }
RpcResult<Json> MaxPriorityFee(Node&, const Params&) { return Quantity(kPriorityFee); }
RpcResult<Json> BlobBaseFee(Node&, const Params&) { return Quantity(uint64_t{1}); }
RpcResult<Json> BlockNumber(Node& n, const Params&) { return Quantity(n.chain.head().number); }

// ------------------------------------------------------------------------------------------ blocks

RpcResult<Json> BlockByNumber(Node& n, const Params& p) {
  PTG_TRY(const Json* which, p.Any(0));
  PTG_TRY(const bool full, p.Bool(1, false));
  if (IsPending(which)) return BlockJson(n.chain.Pending(), full);
  PTG_TRY(const Block* block, ToBlock(n.chain, which));
  return block ? BlockJson(*block, full) : Json(nullptr);
}

RpcResult<Json> BlockByHash(Node& n, const Params& p) {
  PTG_TRY(const crypto::Hash32 hash, p.Hash(0));
  PTG_TRY(const bool full, p.Bool(1, false));
  const Block* block = n.chain.Find(hash);
  return block ? BlockJson(*block, full) : Json(nullptr);
}

RpcResult<Json> BlockReceipts(Node& n, const Params& p) {
  PTG_TRY(const Json* which, p.Any(0));
  PTG_TRY(const Block* block, ToBlock(n.chain, which));
  if (!block) return Json(nullptr);
  Json receipts = Json::Array();
  for (size_t i = 0; i < block->transactions.size(); ++i) {
    receipts.Push(ReceiptJson({block, &block->transactions[i], i}));
  }
  return receipts;
}

// "0.25" with four decimals; a Json number keeps its text.
RpcResult<Json> Ratio(uint64_t part, uint64_t whole) {
  const std::string tenthousandths = std::to_string(10'000 + part * 10'000 / whole);
  const bool all = part == whole;
  return codec::ParseJson(all ? "1.0" : "0." + tenthousandths.substr(1));
}

RpcResult<Json> FeeHistory(Node& n, const Params& p) {
  PTG_TRY(const uint64_t wanted, p.Small(0, UINT64_MAX));
  PTG_TRY(const Block* newest, ToBlock(n.chain, Item(p, 1)));
  if (!newest) return RpcFail(kRpcBadParams, "block not found");
  const Json* percentiles = Item(p, 2);
  const size_t columns = percentiles && percentiles->AsArray() ? percentiles->AsArray()->size() : 0;
  if (columns > 100) return RpcFail(kRpcBadParams, "too many percentiles");

  const uint64_t count = std::min({wanted, kMaxFeeHistory, newest->number + 1});
  Json base = Json::Array();
  Json ratios = Json::Array();
  Json blob_base = Json::Array();
  Json blob_ratios = Json::Array();
  Json rewards = Json::Array();
  const uint64_t oldest = newest->number + 1 - count;
  for (uint64_t number = oldest; number <= newest->number; ++number) {
    const Block* block = n.chain.Find(number);
    base.Push(Quantity(kBaseFee));
    PTG_TRY(Json ratio, Ratio(block ? block->gas_used : 0, kBlockGasLimit));
    ratios.Push(std::move(ratio));
    blob_base.Push("0x1");
    PTG_TRY(Json none, Ratio(0, 1));
    blob_ratios.Push(std::move(none));
    if (columns > 0) {
      rewards.Push(Json::Array(std::vector<Json>(columns, Quantity(kPriorityFee))));
    }
  }
  base.Push(Quantity(kBaseFee));  // And of the block after the newest.
  blob_base.Push("0x1");
  return Json::Object({{"baseFeePerGas", std::move(base)},
                       {"gasUsedRatio", std::move(ratios)},
                       {"baseFeePerBlobGas", std::move(blob_base)},
                       {"blobGasUsedRatio", std::move(blob_ratios)},
                       {"oldestBlock", Quantity(oldest)},
                       {"reward", std::move(rewards)}});
}

// ------------------------------------------------------------------------------------------- state

RpcResult<Json> Balance(Node& n, const Params& p) {
  PTG_TRY(const EvmAddress who, p.Address(0));
  PTG_TRY(const StateRef at, ToStateRef(n.chain, Item(p, 1)));
  return Quantity(n.chain.Read({SlotKind::kWei, who}, at));
}

RpcResult<Json> TransactionCount(Node& n, const Params& p) {
  PTG_TRY(const EvmAddress who, p.Address(0));
  PTG_TRY(const StateRef at, ToStateRef(n.chain, Item(p, 1)));
  return Quantity(n.chain.NonceOf(who, at));
}

RpcResult<Json> Code(Node& n, const Params& p) {
  PTG_TRY(const EvmAddress at, p.Address(0));
  PTG_RUN(ToStateRef(n.chain, Item(p, 1)));
  return Json(n.chain.HasCode(at) ? codec::Hex0x(codec::AsBytes(kCodeMarker)) : "0x");
}

RpcResult<Json> StorageAt(Node& n, const Params& p) {
  PTG_RUN(p.Address(0));
  PTG_RUN(p.Number(1));
  PTG_RUN(ToStateRef(n.chain, Item(p, 2)));
  return Json(codec::Hex0x(crypto::Hash32{}));  // The state is not laid out in storage words.
}

RpcResult<Json> EthCall(Node& n, const Params& p) {
  PTG_TRY(const Json* object, p.Any(0));
  PTG_TRY(const CallRequest call, ToCallRequest(*object));
  PTG_TRY(const StateRef at, ToStateRef(n.chain, Item(p, 1)));
  PTG_TRY(const codec::Bytes data, n.chain.Run(call, at));
  return Json(codec::Hex0x(data));
}

RpcResult<Json> EstimateGas(Node& n, const Params& p) {
  PTG_TRY(const Json* object, p.Any(0));
  PTG_TRY(const CallRequest call, ToCallRequest(*object));
  PTG_TRY(const StateRef at, ToStateRef(n.chain, Item(p, 1)));
  PTG_TRY(const uint64_t gas, n.chain.Estimate(call, at));
  return Quantity(gas);
}

// ------------------------------------------------------------------------------------ transactions

// What eth_fillTransaction shows: the transaction as it would be sent, with an empty signature.
codec::Bytes UnsignedRaw(const RawTransaction& raw) {
  const chain::EvmTransaction& tx = raw.tx();
  const RlpItem to = tx.to ? RlpItem::Octets(tx.to->bytes) : RlpItem::Octets({});
  const RlpItem none = RlpItem::Uint(uint64_t{0});
  if (raw.type == 0) {
    return codec::EncodeRlp(RlpItem::List(
        {RlpItem::Uint(tx.nonce), RlpItem::Uint(tx.max_fee_per_gas), RlpItem::Uint(tx.gas_limit),
         to, RlpItem::Uint(tx.value), RlpItem::Octets(tx.data), RlpItem::Uint(raw.v), none, none}));
  }
  codec::Bytes out = {raw.type};
  codec::Append(
      out, codec::EncodeRlp(RlpItem::List(
               {RlpItem::Uint(tx.chain_id), RlpItem::Uint(tx.nonce),
                RlpItem::Uint(tx.max_priority_fee_per_gas), RlpItem::Uint(tx.max_fee_per_gas),
                RlpItem::Uint(tx.gas_limit), to, RlpItem::Uint(tx.value), RlpItem::Octets(tx.data),
                RlpItem::List({}), none, none, none})));
  return out;
}

// The members of the request that stand, with what is missing: nonce, fees and gas.
RpcResult<Json> FillTransaction(Node& n, const Params& p) {
  PTG_TRY(const Json* object, p.Any(0));
  PTG_TRY(const CallRequest call, ToCallRequest(*object));
  const Json* gas_price = object->Find("gasPrice");
  const Json* tip = object->Find("maxPriorityFeePerGas");

  RawTransaction raw;
  raw.signed_tx.sender = call.from;
  chain::EvmTransaction& tx = raw.signed_tx.tx;
  tx.chain_id = n.chain.chain_id();
  tx.nonce = call.nonce.value_or(n.chain.NonceOf(call.from, {.pending = true, .number = {}}));
  tx.to = call.to;
  tx.value = call.value;
  tx.data = call.data;
  tx.max_fee_per_gas = call.fee.value_or(Uint256(kBaseFee + kPriorityFee));
  tx.max_priority_fee_per_gas = Uint256(kPriorityFee);
  if (gas_price && !gas_price->IsNull()) {
    raw.type = 0;
    raw.v = tx.chain_id * 2 + 35;
    tx.max_priority_fee_per_gas = tx.max_fee_per_gas;
  } else if (tip && !tip->IsNull()) {
    PTG_TRY(tx.max_priority_fee_per_gas, ToNumber(*tip));
  }
  if (call.gas) {
    tx.gas_limit = *call.gas;
  } else {
    PTG_TRY(tx.gas_limit, n.chain.Estimate(call, {}));
  }
  raw.signed_tx.raw = UnsignedRaw(raw);
  raw.signed_tx.hash = crypto::Keccak256(raw.signed_tx.raw);
  return Json::Object(
      {{"raw", codec::Hex0x(raw.signed_tx.raw)}, {"tx", TransactionJson(raw, std::nullopt)}});
}

RpcResult<Json> SendRaw(Node& n, const Params& p) {
  PTG_TRY(const codec::Bytes bytes, p.Data(0));
  auto raw = ParseRawTransaction(bytes);
  if (!raw) return RpcFail(kRpcBadParams, "Failed to decode transaction");
  PTG_TRY(const crypto::Hash32 hash, n.chain.Submit(std::move(*raw)));
  if (n.mining == Mining::kInstant) n.MineReady();
  return Json(codec::Hex0x(hash));
}

RpcResult<Json> TransactionByHash(Node& n, const Params& p) {
  PTG_TRY(const crypto::Hash32 hash, p.Hash(0));
  if (const auto at = n.chain.FindTransaction(hash)) {
    return TransactionJson(at->transaction->tx, at);
  }
  const RawTransaction* waiting = n.chain.pool().Find(hash);
  return waiting ? TransactionJson(*waiting, std::nullopt) : Json(nullptr);
}

RpcResult<Json> Receipt(Node& n, const Params& p) {
  PTG_TRY(const crypto::Hash32 hash, p.Hash(0));
  const auto at = n.chain.FindTransaction(hash);
  return at ? ReceiptJson(*at) : Json(nullptr);
}

// -------------------------------------------------------------------------------------------- logs

struct Filter {
  uint64_t from = 0;
  uint64_t to = 0;
  std::vector<EvmAddress> addresses;                // Empty: any.
  std::vector<std::vector<codec::Bytes32>> topics;  // By place; empty: any.
};

bool Matches(const Filter& filter, const chain::EvmLog& log) {
  if (!filter.addresses.empty() &&
      std::ranges::find(filter.addresses, log.address) == filter.addresses.end()) {
    return false;
  }
  if (filter.topics.size() > log.topics.size()) return false;
  for (size_t i = 0; i < filter.topics.size(); ++i) {
    const auto& any_of = filter.topics[i];
    if (!any_of.empty() && std::ranges::find(any_of, log.topics[i]) == any_of.end()) return false;
  }
  return true;
}

// A value or a list of them.
const std::vector<Json>& Several(const Json& json, std::vector<Json>& one) {
  if (const auto* list = json.AsArray()) return *list;
  if (!json.IsNull()) one.push_back(json);
  return one;
}

RpcResult<> ReadTopics(const Json& topics, Filter& filter) {
  const std::vector<Json>* places = topics.AsArray();
  if (!places || places->size() > 4) return RpcFail(kRpcBadParams, "at most four topics");
  for (const Json& place : *places) {
    std::vector<Json> one;
    std::vector<codec::Bytes32>& any_of = filter.topics.emplace_back();
    for (const Json& topic : Several(place, one)) {
      PTG_TRY(const crypto::Hash32 hash, ToHash(topic));
      any_of.push_back(hash);
    }
  }
  return {};
}

RpcResult<Filter> ReadFilter(const BlockChain& chain, const Json& json) {
  if (!json.IsObject()) return RpcFail(kRpcBadParams, "invalid type: expected a filter object");
  Filter filter;
  if (const Json* hash = json.Find("blockHash")) {
    PTG_TRY(const crypto::Hash32 wanted, ToHash(*hash));
    const Block* block = chain.Find(wanted);
    if (!block) return RpcFail(kRpcServer, "unknown block");
    filter.from = filter.to = block->number;
  } else {
    PTG_TRY(const Block* from, ToBlock(chain, json.Find("fromBlock")));
    PTG_TRY(const Block* to, ToBlock(chain, json.Find("toBlock")));
    // A range may end, or lie wholly, beyond the head.
    filter.from = from ? from->number : chain.head().number + 1;
    filter.to = to ? to->number : chain.head().number;
  }
  if (const Json* address = json.Find("address")) {
    std::vector<Json> one;
    for (const Json& item : Several(*address, one)) {
      PTG_TRY(const EvmAddress parsed, ToAddress(item));
      filter.addresses.push_back(parsed);
    }
  }
  const Json* topics = json.Find("topics");
  if (topics && !topics->IsNull()) PTG_RUN(ReadTopics(*topics, filter));
  return filter;
}

RpcResult<Json> GetLogs(Node& n, const Params& p) {
  PTG_TRY(const Json* object, p.Any(0));
  PTG_TRY(const Filter filter, ReadFilter(n.chain, *object));
  std::vector<Json> found;
  for (uint64_t number = filter.from; number <= filter.to; ++number) {
    const Block* block = n.chain.Find(number);
    if (!block) continue;
    for (size_t i = 0; i < block->transactions.size(); ++i) {
      const MinedTransaction& mined = block->transactions[i];
      for (const chain::EvmLog& log : mined.logs) {
        if (!Matches(filter, log)) continue;
        if (found.size() == kMaxLogs) {
          return RpcFail(-32005, "query returned more than 10000 results");
        }
        found.push_back(LogJson({block, &mined, i}, log));
      }
    }
  }
  return Json::Array(std::move(found));
}

}  // namespace

void AddNodeMethods(RpcTable& table) {
  table["eth_chainId"] = ChainId;
  table["net_version"] = NetVersion;
  table["net_listening"] = Listening;
  table["web3_clientVersion"] = ClientVersion;
  table["eth_syncing"] = Syncing;
  table["eth_accounts"] = Accounts;
  table["eth_gasPrice"] = GasPrice;
  table["eth_maxPriorityFeePerGas"] = MaxPriorityFee;
  table["eth_blobBaseFee"] = BlobBaseFee;
  table["eth_feeHistory"] = FeeHistory;
  table["eth_blockNumber"] = BlockNumber;
  table["eth_getBlockByNumber"] = BlockByNumber;
  table["eth_getBlockByHash"] = BlockByHash;
  table["eth_getBlockReceipts"] = BlockReceipts;
  table["eth_getBalance"] = Balance;
  table["eth_getTransactionCount"] = TransactionCount;
  table["eth_getCode"] = Code;
  table["eth_getStorageAt"] = StorageAt;
  table["eth_call"] = EthCall;
  table["eth_estimateGas"] = EstimateGas;
  table["eth_fillTransaction"] = FillTransaction;
  table["eth_sendRawTransaction"] = SendRaw;
  table["eth_getTransactionByHash"] = TransactionByHash;
  table["eth_getTransactionReceipt"] = Receipt;
  table["eth_getLogs"] = GetLogs;
}

}  // namespace pontage::sandbox
