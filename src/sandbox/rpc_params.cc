#include "sandbox/rpc_params.h"

#include <utility>

#include "base/try.h"
#include "chain/evm_transaction.h"
#include "codec/hex.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using codec::Uint256;

std::unexpected<RpcError> Bad(std::string message) {
  return RpcFail(kRpcBadParams, std::move(message));
}

// Calldata: what a transaction may carry.
constexpr size_t kMaxData = chain::kMaxTransactionBytes;

RpcResult<std::string_view> ToText(const Json& json) {
  const std::string* text = json.AsString();
  if (!text) return Bad("invalid type: expected a string");
  return *text;
}

RpcResult<codec::Bytes> ToData(const Json& json) {
  PTG_TRY(const std::string_view text, ToText(json));
  return codec::FromHex0x(text, kMaxData);
}

}  // namespace

RpcResult<Uint256> ToNumber(const Json& json) {
  if (const std::string* digits = json.AsNumberText()) return Uint256::FromDecimal(*digits);
  PTG_TRY(const std::string_view text, ToText(json));
  if (!text.starts_with("0x")) return Uint256::FromDecimal(text);
  // Quantities with leading zeros are common in the wild.
  std::string_view digits = text.substr(2);
  while (digits.size() > 1 && digits.front() == '0') digits.remove_prefix(1);
  return Uint256::FromHexQuantity("0x" + std::string(digits));
}

RpcResult<crypto::EvmAddress> ToAddress(const Json& json) {
  PTG_TRY(const std::string_view text, ToText(json));
  return crypto::EvmAddress::Parse(text);
}

RpcResult<crypto::Hash32> ToHash(const Json& json) {
  PTG_TRY(const std::string_view text, ToText(json));
  return codec::FromHex0x<32>(text);
}

RpcResult<Params> Params::Of(const Json* params) {
  Params out;
  if (!params || params->IsNull()) return out;
  out.items_ = params->AsArray();
  if (!out.items_) return Bad("invalid type: expected a sequence");
  return out;
}

RpcResult<const Json*> Params::Any(size_t i) const {
  if (i >= size()) return Bad("missing parameter " + std::to_string(i));
  return &(*items_)[i];
}

RpcResult<crypto::EvmAddress> Params::Address(size_t i) const {
  PTG_TRY(const Json* json, Any(i));
  return ToAddress(*json);
}

RpcResult<crypto::Hash32> Params::Hash(size_t i) const {
  PTG_TRY(const Json* json, Any(i));
  return ToHash(*json);
}

RpcResult<codec::Bytes> Params::Data(size_t i) const {
  PTG_TRY(const Json* json, Any(i));
  return ToData(*json);
}

RpcResult<bool> Params::Bool(size_t i, bool otherwise) const {
  if (!Has(i)) return otherwise;
  const bool* value = (*items_)[i].AsBool();
  if (!value) return Bad("invalid type: expected a boolean");
  return *value;
}

RpcResult<Uint256> Params::Number(size_t i) const {
  PTG_TRY(const Json* json, Any(i));
  return ToNumber(*json);
}

RpcResult<uint64_t> Params::Small(size_t i, uint64_t max) const {
  PTG_TRY(const Uint256 number, Number(i));
  const std::optional<uint64_t> small = number.ToU64();
  if (!small || *small > max) return Bad("number too large: at most " + std::to_string(max));
  return *small;
}

RpcResult<std::string_view> Params::Text(size_t i) const {
  PTG_TRY(const Json* json, Any(i));
  return ToText(*json);
}

namespace {

// Of a tag or number: nullptr when there is no such block.
RpcResult<const Block*> BlockOf(const BlockChain& chain, const Json& json) {
  if (const std::string* tag = json.AsString()) {
    if (*tag == "latest" || *tag == "safe" || *tag == "finalized" || *tag == "pending") {
      return &chain.head();
    }
    if (*tag == "earliest") return chain.Find(0);
    if (!tag->starts_with("0x")) return Bad("hex string without 0x prefix");
    if (tag->size() == 66) {
      PTG_TRY(const crypto::Hash32 hash, ToHash(json));
      return chain.Find(hash);
    }
  }
  PTG_TRY(const Uint256 number, ToNumber(json));
  const std::optional<uint64_t> n = number.ToU64();
  return n ? chain.Find(*n) : nullptr;
}

}  // namespace

RpcResult<const Block*> ToBlock(const BlockChain& chain, const Json* json) {
  if (!json || json->IsNull()) return &chain.head();
  if (!json->IsObject()) return BlockOf(chain, *json);
  if (const Json* hash = json->Find("blockHash"); hash && !hash->IsNull()) {
    PTG_TRY(const crypto::Hash32 wanted, ToHash(*hash));
    return chain.Find(wanted);
  }
  const Json* number = json->Find("blockNumber");
  if (!number) return Bad("a block needs blockHash or blockNumber");
  return BlockOf(chain, *number);
}

RpcResult<StateRef> ToStateRef(const BlockChain& chain, const Json* json) {
  StateRef at;
  const std::string* tag = json ? json->AsString() : nullptr;
  at.pending = tag && *tag == "pending";
  if (at.pending) return at;
  PTG_TRY(const Block* block, ToBlock(chain, json));
  if (block) {
    at.number = block->number;
    return at;
  }
  if (json->IsObject() && json->Find("blockHash")) {
    return RpcFail(kRpcNotFound, "Resource not found");
  }
  const Json* wanted = json->IsObject() ? json->Find("blockNumber") : json;
  const RpcResult<Uint256> number = ToNumber(*wanted);
  return Bad("BlockOutOfRangeError: block height is " + std::to_string(chain.head().number) +
             " but requested was " + (number ? number->ToDecimal() : "another"));
}

RpcResult<CallRequest> ToCallRequest(const Json& json) {
  if (!json.IsObject()) return Bad("invalid type: expected a call object");
  const auto find = [&json](const char* key) -> const Json* {
    const Json* found = json.Find(key);
    return found && !found->IsNull() ? found : nullptr;
  };
  CallRequest call;
  if (const Json* from = find("from")) {
    PTG_TRY(call.from, ToAddress(*from));
  }
  if (const Json* to = find("to")) {
    PTG_TRY(call.to, ToAddress(*to));
  }
  if (const Json* value = find("value")) {
    PTG_TRY(call.value, ToNumber(*value));
  }
  const Json* data = find("input") ? find("input") : find("data");
  if (data) {
    PTG_TRY(call.data, ToData(*data));
  }
  if (const Json* gas = find("gas")) {
    PTG_TRY(const Uint256 limit, ToNumber(*gas));
    call.gas = limit.ToU64().value_or(UINT64_MAX);
  }
  const Json* fee = find("maxFeePerGas") ? find("maxFeePerGas") : find("gasPrice");
  if (fee) {
    PTG_TRY(call.fee, ToNumber(*fee));
  }
  if (const Json* nonce = find("nonce")) {
    PTG_TRY(const Uint256 n, ToNumber(*nonce));
    call.nonce = n.ToU64();
  }
  return call;
}

}  // namespace pontage::sandbox
