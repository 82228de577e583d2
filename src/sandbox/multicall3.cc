#include "sandbox/multicall3.h"

#include <utility>

#include "base/try.h"

namespace pontage::sandbox {
namespace {

using codec::AbiDecoder;
using codec::AbiEncoder;
using codec::Bytes;
using codec::ByteView;
using codec::Uint256;
using crypto::EvmAddress;

constexpr uint64_t kOwnGas = 700;
constexpr uint64_t kCallGas = 3'500;  // A cold account and copying the calldata there and back.
constexpr std::string_view kFailed = "Multicall3: call failed";

Bytes Number(const Uint256& n) { return AbiEncoder().Uint(n).Finish(); }

OrRevert<EvmAddress> AddressAt(const AbiDecoder& args, size_t index) {
  PTG_TRY(const codec::AddressBytes bytes, args.Address(index));
  return EvmAddress{bytes};
}

// (bool success, bytes returnData)
Bytes ResultTuple(const CallOutcome& out) {
  return AbiEncoder().Bool(out.ok).Dynamic(out.data).Finish();
}

// An element of bytes[]: a tuple of one without the offset in front.
Bytes BytesElement(ByteView bytes) {
  Bytes tuple = AbiEncoder().Dynamic(bytes).Finish();
  tuple.erase(tuple.begin(), tuple.begin() + 32);
  return tuple;
}

}  // namespace

Multicall3::Multicall3(const Machine& machine) : machine_(machine) {
  Define("aggregate((address,bytes)[])", &Multicall3::Aggregate);
  Define("tryAggregate(bool,(address,bytes)[])", &Multicall3::TryAggregate);
  Define("blockAndAggregate((address,bytes)[])", &Multicall3::BlockAndAggregate);
  Define("tryBlockAndAggregate(bool,(address,bytes)[])", &Multicall3::TryBlockAndAggregate);
  Define("aggregate3((address,bool,bytes)[])", &Multicall3::Aggregate3);
  Define("aggregate3Value((address,bool,uint256,bytes)[])", &Multicall3::Aggregate3Value);
  Define("getEthBalance(address)", &Multicall3::EthBalance);
  Define("getBlockHash(uint256)", &Multicall3::BlockHash);
  Define("getBlockNumber()", &Multicall3::BlockNumber);
  Define("getLastBlockHash()", &Multicall3::LastBlockHash);
  Define("getCurrentBlockTimestamp()", &Multicall3::Timestamp);
  Define("getCurrentBlockGasLimit()", &Multicall3::GasLimit);
  Define("getCurrentBlockDifficulty()", &Multicall3::Difficulty);
  Define("getCurrentBlockCoinbase()", &Multicall3::Coinbase);
  Define("getBasefee()", &Multicall3::BaseFee);
  Define("getChainId()", &Multicall3::ChainId);
}

void Multicall3::Define(std::string_view signature, Method run) {
  methods_[Selector(signature)] = run;
}

Returned Multicall3::Run(Frame& frame) const {
  frame.gas += kOwnGas;
  const ByteView data = frame.call.data;
  if (data.size() < 4) return std::unexpected(Revert());
  const uint32_t selector =
      uint32_t{data[0]} << 24 | uint32_t{data[1]} << 16 | uint32_t{data[2]} << 8 | data[3];
  const auto method = methods_.find(selector);
  if (method == methods_.end()) return std::unexpected(Revert());
  return (this->*method->second)(frame, Args(data.subspan(4)));
}

CallOutcome Multicall3::Inner(Frame& f, const EvmAddress& target, const Uint256& value,
                              ByteView data) const {
  CallOutcome out;
  f.gas += kCallGas;
  if (f.gas > f.call.gas) return out;  // Nothing more runs; the machine takes all of it back.
  const Call call{f.call.to, target, value, data, f.call.gas - f.gas};
  out = machine_.Run(call, f.env, f.depth + 1);
  f.gas += out.gas;
  for (chain::EvmLog& log : out.logs) f.logs.push_back(std::move(log));
  return out;
}

OrRevert<std::vector<Bytes>> Multicall3::Tried(Frame& f, const Args& a, size_t index,
                                               bool require_success) const {
  PTG_TRY(const auto calls, a.DynamicArray(index, kMaxMulticalls));
  std::vector<Bytes> results;
  results.reserve(calls.size());
  for (const AbiDecoder& call : calls) {
    PTG_TRY(const EvmAddress target, AddressAt(call, 0));
    PTG_TRY(const ByteView data, call.Dynamic(1));
    const CallOutcome out = Inner(f, target, {}, data);
    if (require_success) PTG_RUN(Require(out.ok, kFailed));
    results.push_back(ResultTuple(out));
  }
  return results;
}

Returned Multicall3::Aggregate(Frame& f, const Args& a) const {
  PTG_TRY(const auto calls, a.DynamicArray(0, kMaxMulticalls));
  std::vector<Bytes> results;
  results.reserve(calls.size());
  for (const AbiDecoder& call : calls) {
    PTG_TRY(const EvmAddress target, AddressAt(call, 0));
    PTG_TRY(const ByteView data, call.Dynamic(1));
    const CallOutcome out = Inner(f, target, {}, data);
    PTG_RUN(Require(out.ok, kFailed));
    results.push_back(BytesElement(out.data));
  }
  return AbiEncoder().Uint(f.env.number).DynamicArray(results).Finish();
}

Returned Multicall3::TryAggregate(Frame& f, const Args& a) const {
  PTG_TRY(const bool require_success, a.Bool(0));
  PTG_TRY(const std::vector<Bytes> results, Tried(f, a, 1, require_success));
  return AbiEncoder().DynamicArray(results).Finish();
}

Returned Multicall3::WithBlock(Frame& f, const std::vector<Bytes>& results) const {
  return AbiEncoder()
      .Uint(f.env.number)
      .Word(
          f.env.hash_of(f.env.number))  // Zero on every chain: a block does not know its own hash.
      .DynamicArray(results)
      .Finish();
}

Returned Multicall3::BlockAndAggregate(Frame& f, const Args& a) const {
  PTG_TRY(const std::vector<Bytes> results, Tried(f, a, 0, true));
  return WithBlock(f, results);
}

Returned Multicall3::TryBlockAndAggregate(Frame& f, const Args& a) const {
  PTG_TRY(const bool require_success, a.Bool(0));
  PTG_TRY(const std::vector<Bytes> results, Tried(f, a, 1, require_success));
  return WithBlock(f, results);
}

Returned Multicall3::Aggregate3(Frame& f, const Args& a) const {
  PTG_TRY(const auto calls, a.DynamicArray(0, kMaxMulticalls));
  std::vector<Bytes> results;
  results.reserve(calls.size());
  for (const AbiDecoder& call : calls) {
    PTG_TRY(const EvmAddress target, AddressAt(call, 0));
    PTG_TRY(const bool allow_failure, call.Bool(1));
    PTG_TRY(const ByteView data, call.Dynamic(2));
    const CallOutcome out = Inner(f, target, {}, data);
    PTG_RUN(Require(out.ok || allow_failure, kFailed));
    results.push_back(ResultTuple(out));
  }
  return AbiEncoder().DynamicArray(results).Finish();
}

Returned Multicall3::Aggregate3Value(Frame& f, const Args& a) const {
  PTG_TRY(const auto calls, a.DynamicArray(0, kMaxMulticalls));
  std::vector<Bytes> results;
  results.reserve(calls.size());
  Uint256 total;
  for (const AbiDecoder& call : calls) {
    PTG_TRY(const EvmAddress target, AddressAt(call, 0));
    PTG_TRY(const bool allow_failure, call.Bool(1));
    PTG_TRY(const Uint256 value, call.Uint(2));
    PTG_TRY(const ByteView data, call.Dynamic(3));
    PTG_TRY(total, Add(total, value));
    const CallOutcome out = Inner(f, target, value, data);
    PTG_RUN(Require(out.ok || allow_failure, kFailed));
    results.push_back(ResultTuple(out));
  }
  PTG_RUN(Require(total == f.call.value, "Multicall3: value mismatch"));
  return AbiEncoder().DynamicArray(results).Finish();
}

Returned Multicall3::EthBalance(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress owner, AddressAt(a, 0));
  return Number(f.world.Get({SlotKind::kWei, owner}));
}

Returned Multicall3::BlockHash(Frame& f, const Args& a) const {
  PTG_TRY(const Uint256 number, a.Uint(0));
  const auto n = number.ToU64();
  const crypto::Hash32 hash = n ? f.env.hash_of(*n) : crypto::Hash32{};
  return AbiEncoder().Word(hash).Finish();
}

Returned Multicall3::LastBlockHash(Frame& f, const Args&) const {
  const uint64_t n = f.env.number;
  return AbiEncoder().Word(n == 0 ? crypto::Hash32{} : f.env.hash_of(n - 1)).Finish();
}

Returned Multicall3::BlockNumber(Frame& f, const Args&) const {
  return Number(Uint256(f.env.number));
}
Returned Multicall3::Timestamp(Frame& f, const Args&) const {
  return Number(Uint256(f.env.timestamp));
}
Returned Multicall3::GasLimit(Frame& f, const Args&) const {
  return Number(Uint256(f.env.gas_limit));
}
Returned Multicall3::Difficulty(Frame&, const Args&) const { return Number({}); }
Returned Multicall3::Coinbase(Frame&, const Args&) const { return Number({}); }
Returned Multicall3::BaseFee(Frame& f, const Args&) const { return Number(f.env.base_fee); }
Returned Multicall3::ChainId(Frame& f, const Args&) const {
  return Number(Uint256(f.env.chain_id));
}

}  // namespace pontage::sandbox
