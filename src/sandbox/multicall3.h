#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "sandbox/machine.h"

namespace pontage::sandbox {

// A few hundred calls a time is what wallets and explorers ask for; calldata bounds it as well.
inline constexpr size_t kMaxMulticalls = 1'024;

// Multicall3: many calls in one, each allowed to fail or not. Clients read with it and the official
// facilitator finds out by it why a payment did not simulate.
class Multicall3 final : public Contract {
 public:
  // The machine must outlive the contract.
  explicit Multicall3(const Machine& machine);

  Returned Run(Frame& frame) const override;

 private:
  using Args = codec::AbiDecoder;
  using Method = Returned (Multicall3::*)(Frame&, const Args&) const;
  void Define(std::string_view signature, Method run);

  Returned Aggregate(Frame& f, const Args& a) const;
  Returned TryAggregate(Frame& f, const Args& a) const;
  Returned BlockAndAggregate(Frame& f, const Args& a) const;
  Returned TryBlockAndAggregate(Frame& f, const Args& a) const;
  Returned Aggregate3(Frame& f, const Args& a) const;
  Returned Aggregate3Value(Frame& f, const Args& a) const;
  Returned EthBalance(Frame& f, const Args& a) const;
  Returned BlockHash(Frame& f, const Args& a) const;
  Returned BlockNumber(Frame& f, const Args& a) const;
  Returned LastBlockHash(Frame& f, const Args& a) const;
  Returned Timestamp(Frame& f, const Args& a) const;
  Returned GasLimit(Frame& f, const Args& a) const;
  Returned Difficulty(Frame& f, const Args& a) const;
  Returned Coinbase(Frame& f, const Args& a) const;
  Returned BaseFee(Frame& f, const Args& a) const;
  Returned ChainId(Frame& f, const Args& a) const;

  CallOutcome Inner(Frame& f, const crypto::EvmAddress& target, const codec::Uint256& value,
                    codec::ByteView data) const;
  // (address,bytes)[] at `index`: (bool,bytes) of each.
  OrRevert<std::vector<codec::Bytes>> Tried(Frame& f, const Args& a, size_t index,
                                            bool require_success) const;
  Returned WithBlock(Frame& f, const std::vector<codec::Bytes>& results) const;

  const Machine& machine_;
  std::map<uint32_t, Method> methods_;
};

}  // namespace pontage::sandbox
