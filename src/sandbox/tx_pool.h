#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "sandbox/raw_transaction.h"
#include "sandbox/rpc_error.h"

namespace pontage::sandbox {

// What a node keeps waiting; geth keeps 5,120 and its transactions are as small as ours.
inline constexpr size_t kMaxPoolTransactions = 4'096;
// A transaction may be 128 KiB: a full pool of those would be half a gigabyte.
inline constexpr size_t kMaxPoolBytes = 32 << 20;

// Transactions that wait for a block, in the order they came; of one sender in the order of their
// nonces. A transaction may wait for one with a lower nonce. Not thread safe.
class TxPool {
 public:
  using NonceOf = std::function<uint64_t(const crypto::EvmAddress&)>;

  // Takes it, in place of one with the same sender and nonce when both fees are a tenth higher.
  // kRpcRejected otherwise, or when the pool is full.
  RpcResult<> Add(RawTransaction tx);
  // What a block can take, in order: every sender's transactions from its account nonce on, without
  // a gap. `nonce_of` gives the account nonces.
  std::vector<const RawTransaction*> Ready(const NonceOf& nonce_of) const;
  // The nonce behind the last one that is ready, when the account's nonce is `nonce`.
  uint64_t NextNonce(const crypto::EvmAddress& sender, uint64_t nonce) const;
  const RawTransaction* Find(const crypto::Hash32& hash) const;
  // Forgets one; nothing happens when it is not there.
  void Remove(const crypto::EvmAddress& sender, uint64_t nonce);
  // Forgets what `sender` can no longer send.
  void DropBelow(const crypto::EvmAddress& sender, uint64_t nonce);
  size_t size() const { return by_hash_.size(); }
  void Clear();

 private:
  struct Entry {
    RawTransaction tx;
    uint64_t order;
  };
  using Queue = std::map<uint64_t, Entry>;

  std::map<crypto::EvmAddress, Queue> by_sender_;
  std::map<crypto::Hash32, const Entry*> by_hash_;  // Nodes of a map do not move.
  size_t bytes_ = 0;
  uint64_t next_order_ = 0;
};

}  // namespace pontage::sandbox
