#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "sandbox/block_chain.h"
#include "sandbox/rpc_error.h"

namespace pontage::sandbox {

// The parameters of one JSON-RPC call. Every reader fails with kRpcBadParams when the parameter is
// not there or not of that form. Looks into the request, which must outlive it.
class Params {
 public:
  // An absent list is an empty one; named parameters are refused, as nodes do.
  static RpcResult<Params> Of(const codec::Json* params);

  size_t size() const { return items_ ? items_->size() : 0; }
  // Null counts as absent.
  bool Has(size_t i) const { return i < size() && !(*items_)[i].IsNull(); }

  RpcResult<const codec::Json*> Any(size_t i) const;
  RpcResult<crypto::EvmAddress> Address(size_t i) const;
  RpcResult<crypto::Hash32> Hash(size_t i) const;
  RpcResult<codec::Bytes> Data(size_t i) const;
  RpcResult<bool> Bool(size_t i, bool otherwise) const;
  // "0x10", "16" or 16, as dev nodes take it.
  RpcResult<codec::Uint256> Number(size_t i) const;
  // The same, at most `max`.
  RpcResult<uint64_t> Small(size_t i, uint64_t max) const;
  RpcResult<std::string_view> Text(size_t i) const;

 private:
  const std::vector<codec::Json>* items_ = nullptr;
};

// "0x…", decimal digits in a string, or a JSON number.
RpcResult<codec::Uint256> ToNumber(const codec::Json& json);
RpcResult<crypto::EvmAddress> ToAddress(const codec::Json& json);
RpcResult<crypto::Hash32> ToHash(const codec::Json& json);

// A block by tag ("latest", "earliest", "safe", "finalized": the head, since nothing here is ever
// taken back; "pending"), by number, or by {"blockNumber"} or {"blockHash"} (EIP-1898). Absent or
// null: latest. Refused when there is no such block.
RpcResult<StateRef> ToStateRef(const BlockChain& chain, const codec::Json* json);

// The block itself; nullptr when there is none. Not for "pending".
RpcResult<const Block*> ToBlock(const BlockChain& chain, const codec::Json* json);

// A call object: from, to, value, data or input, gas, gasPrice or maxFeePerGas, nonce.
RpcResult<CallRequest> ToCallRequest(const codec::Json& json);

}  // namespace pontage::sandbox
