#include "sandbox/tx_pool.h"

#include <set>
#include <utility>

#include "base/try.h"

namespace pontage::sandbox {
namespace {

using codec::Uint256;

// geth's price bump: at least 10 % more.
bool Outbids(const Uint256& fee, const Uint256& old) {
  const Result<Uint256> ten = Mul(fee, 10);
  const Result<Uint256> eleven = Mul(old, 11);
  if (!eleven) return false;
  return !ten || *ten >= *eleven;  // More than 2^256 is more.
}

}  // namespace

RpcResult<> TxPool::Add(RawTransaction tx) {
  if (by_hash_.contains(tx.hash())) return RpcFail(kRpcRejected, "transaction already imported");
  const auto queue = by_sender_.find(tx.sender());
  if (queue != by_sender_.end()) {
    const auto same = queue->second.find(tx.tx().nonce);
    if (same != queue->second.end()) {
      const chain::EvmTransaction& old = same->second.tx.tx();
      if (!Outbids(tx.tx().max_fee_per_gas, old.max_fee_per_gas) ||
          !Outbids(tx.tx().max_priority_fee_per_gas, old.max_priority_fee_per_gas)) {
        return RpcFail(kRpcRejected, "replacement transaction underpriced");
      }
      Remove(tx.sender(), tx.tx().nonce);
    }
  }
  if (size() >= kMaxPoolTransactions || bytes_ + tx.signed_tx.raw.size() > kMaxPoolBytes) {
    return RpcFail(kRpcRejected, "txpool is full");
  }
  bytes_ += tx.signed_tx.raw.size();
  const crypto::EvmAddress sender = tx.sender();
  const uint64_t nonce = tx.tx().nonce;
  const crypto::Hash32 hash = tx.hash();
  const auto [it, added] =
      by_sender_[sender].try_emplace(nonce, Entry{std::move(tx), next_order_++});
  by_hash_[hash] = &it->second;
  return {};
}

std::vector<const RawTransaction*> TxPool::Ready(const NonceOf& nonce_of) const {
  // The next of each sender, by arrival.
  std::map<uint64_t, std::pair<const Queue*, Queue::const_iterator>> next;
  for (const auto& [sender, queue] : by_sender_) {
    const auto it = queue.find(nonce_of(sender));
    if (it != queue.end()) next[it->second.order] = {&queue, it};
  }
  std::vector<const RawTransaction*> ready;
  while (!next.empty()) {
    const auto [queue, it] = next.begin()->second;
    next.erase(next.begin());
    ready.push_back(&it->second.tx);
    const auto after = std::next(it);
    if (after != queue->end() && after->first == it->first + 1) {
      next[after->second.order] = {queue, after};
    }
  }
  return ready;
}

uint64_t TxPool::NextNonce(const crypto::EvmAddress& sender, uint64_t nonce) const {
  const auto queue = by_sender_.find(sender);
  if (queue == by_sender_.end()) return nonce;
  for (auto it = queue->second.find(nonce); it != queue->second.end() && it->first == nonce; ++it) {
    ++nonce;
  }
  return nonce;
}

const RawTransaction* TxPool::Find(const crypto::Hash32& hash) const {
  const auto it = by_hash_.find(hash);
  return it == by_hash_.end() ? nullptr : &it->second->tx;
}

void TxPool::Remove(const crypto::EvmAddress& sender, uint64_t nonce) {
  const auto queue = by_sender_.find(sender);
  if (queue == by_sender_.end()) return;
  const auto it = queue->second.find(nonce);
  if (it == queue->second.end()) return;
  bytes_ -= it->second.tx.signed_tx.raw.size();
  by_hash_.erase(it->second.tx.hash());
  queue->second.erase(it);
  if (queue->second.empty()) by_sender_.erase(queue);
}

void TxPool::DropBelow(const crypto::EvmAddress& sender, uint64_t nonce) {
  for (;;) {
    const auto queue = by_sender_.find(sender);
    if (queue == by_sender_.end() || queue->second.begin()->first >= nonce) return;
    Remove(sender, queue->second.begin()->first);
  }
}

void TxPool::Clear() {
  by_sender_.clear();
  by_hash_.clear();
  bytes_ = 0;
}

}  // namespace pontage::sandbox
