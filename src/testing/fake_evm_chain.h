#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/try.h"
#include "chain/evm_calls.h"
#include "chain/evm_transaction.h"
#include "chain/evm_typed_data.h"
#include "chain/view.h"
#include "codec/abi.h"
#include "crypto/secp256k1.h"

namespace pontage::testing {

// An EVM chain with one EIP-3009 token, as far as a facilitator sees it: balances, used
// authorizations, account nonces, a pool of transactions that waits for Mine (or is mined at once).
// Deterministic and single-threaded.
class FakeEvmChain : public chain::EvmView {
 public:
  FakeEvmChain(chain::ChainId id, chain::Eip712Domain token) : id_(std::move(id)), token_(token) {}

  // ---- What a test does to it, and sees of it.
  // Whether that authorization moved its money.
  bool Moved(const crypto::EvmAddress& payer, const codec::Bytes32& nonce) const {
    return moved_.contains({payer, nonce});
  }
  // Likewise, though a reorganisation may have undone it.
  bool EverMoved(const crypto::EvmAddress& payer, const codec::Bytes32& nonce) const {
    return ever_moved_.contains({payer, nonce});
  }
  // What a node says of it that has not got the last block (where the chain may reorganise).
  bool WasUsed(const crypto::EvmAddress& payer, const codec::Bytes32& nonce) const {
    return (past_.empty() ? used_ : past_.back().used).contains({payer, nonce});
  }
  // Authorizations that the token takes without moving anything.
  std::set<codec::Bytes32> eaten;
  // Told of every authorization that is mined in a transaction of ours, and whether it went
  // through.
  std::function<void(const chain::TransferAuthorization&, bool ok)> mined;
  std::map<crypto::EvmAddress, codec::Uint256> balance;
  std::set<crypto::EvmAddress> accounts_with_code;
  std::set<crypto::EvmAddress> agreeing_wallets;  // of those: who says yes to every signature
  bool instant = true;                            // every transaction makes a block
  bool moves = true;            // false: a token that takes authorizations and moves nothing
  bool multicall = false;       // Multicall3 is at its address
  bool revert_batches = false;  // when mined, though not when simulated
  std::set<codec::Bytes32> fails_in_batch;  // nonces of authorizations, when mined in a batch
  std::optional<crypto::EvmAddress> refuse_calls_to;  // no node takes a transaction to it
  codec::Uint256 base_fee{1'000};
  codec::Uint256 least_fee;  // what pays less for a unit of gas is taken and not mined
  int64_t now_s = 1'000'000;
  bool lags = false;                  // one of its nodes has not seen what was used lately
  bool withholds_receipts = false;    // as nodes that are blocks behind
  bool forgets_old_blocks = false;    // what it is asked about its first block is an error
  bool may_reorganise = false;        // it keeps what Reorganise goes back to
  std::optional<uint64_t> finalized;  // what it says of it; absent: nothing
  bool keeps_time = false;            // an authorization is good only between its two times

  void GoDown(bool down) { down_ = down; }
  // The next answer to Send is lost, but what was sent has arrived.
  void LoseNextReply() { lose_reply_ = true; }
  // The next transaction that is sent never arrives, though the node says it took it.
  void DropNext() { drop_next_ = true; }
  // While it is, nothing that is sent arrives, though the node says it took it.
  void GoDeaf(bool deaf) { deaf_ = deaf; }
  // A block of everything that waits and whose nonce is due.
  void Mine() {
    MineEmpty();
    for (bool more = true; more;) {
      more = false;
      for (size_t i = 0; i < pool_.size(); ++i) {
        if (pool_[i].tx.nonce != count_[pool_[i].sender]) continue;
        if (pool_[i].tx.max_fee_per_gas < least_fee) continue;
        const chain::SignedEvmTransaction tx = pool_[i];
        pool_.erase(pool_.begin() + static_cast<std::ptrdiff_t>(i));
        Run(tx);
        more = true;
        break;
      }
    }
  }
  void MineEmpty() {
    if (may_reorganise) {
      past_.push_back(State{count_, used_, moved_, receipts_, balance, transfers, batches});
      if (past_.size() > kMostPast) past_.erase(past_.begin());
    }
    ++block_;
    forks_[block_] = fork_;
    now_s += 2;
  }
  // A reorganisation: the last `depth` blocks never were, and as many empty ones are in their
  // place. What was in them waits in the pool again, or is forgotten by every node.
  enum class Thrown : uint8_t { kWaits, kForgotten };
  void Reorganise(size_t depth, Thrown thrown) {
    depth = std::min(depth, past_.size());
    if (depth == 0) return;
    const State& then = past_[past_.size() - depth];
    for (const auto& [hash, tx] : mined_) {
      const bool was = then.receipts.contains(hash);
      if (was || !receipts_.contains(hash) || thrown == Thrown::kForgotten) continue;
      pool_.push_back(tx);
    }
    std::erase_if(mined_, [&](const auto& one) { return !then.receipts.contains(one.first); });
    count_ = then.count;
    used_ = then.used;
    moved_ = then.moved;
    receipts_ = then.receipts;
    balance = then.balance;
    transfers = then.transfers;
    batches = then.batches;
    past_.resize(past_.size() - depth);
    block_ -= depth;
    ++fork_;
    for (size_t i = 0; i < depth; ++i) MineEmpty();
  }
  uint64_t head() const { return block_; }
  size_t looks = 0;  // calls of Blocks
  // Another chain of the same number: nothing that was is there.
  void StartOver() {
    genesis_ += 1;
    count_.clear();
    used_.clear();
    moved_.clear();
    receipts_.clear();
    pool_.clear();
    past_.clear();
    mined_.clear();
  }
  // Somebody else sends the authorization, by a transaction that is not ours.
  void FrontRun(const chain::TransferAuthorization& auth) {
    MineEmpty();
    chain::EvmReceipt receipt;
    receipt.hash[0] = 0xfe;
    receipt.hash[31] = static_cast<uint8_t>(receipts_.size());
    receipt.block = block_;
    receipt.block_hash = HashOf(block_);
    receipt.ok = Transfer(auth, receipt.logs);
    receipts_[receipt.hash] = receipt;
  }
  // The one transaction that waits, out of the pool: a test mines it when it likes.
  std::optional<chain::SignedEvmTransaction> TakeFromPool() {
    if (pool_.empty()) return std::nullopt;
    chain::SignedEvmTransaction tx = pool_.front();
    pool_.erase(pool_.begin());
    return tx;
  }
  void MineThis(const chain::SignedEvmTransaction& tx) {
    pool_.clear();
    pool_.push_back(tx);
    Mine();
  }
  // A reorganisation: the last transaction of `account` was never mined, and no node has it.
  void UndoLast(const crypto::EvmAddress& account) {
    --count_[account];
    receipts_.erase(last_);
    used_.erase(last_used_);
  }
  std::vector<codec::Uint256> FeesInPool() const {
    std::vector<codec::Uint256> fees;
    for (const chain::SignedEvmTransaction& tx : pool_) fees.push_back(tx.tx.max_fee_per_gas);
    return fees;
  }
  // Another program has sent a transaction with `account`'s key.
  void UseNonceElsewhere(const crypto::EvmAddress& account) { ++count_[account]; }

  uint64_t counts_behind = 0;    // how old an answer about an account's mined nonces is
  uint64_t counts_too_many = 0;  // the next count of what waits is so much too high
  size_t counts_asked = 0;       // of them
  size_t sends = 0;              // calls of Send
  size_t questions = 0;          // calls of AskTransfer
  size_t transfers = 0;          // that moved money
  size_t estimates = 0;          // of those questions, with the gas
  size_t wallet_questions = 0;   // ERC-1271
  size_t batches = 0;            // transactions through Multicall3 that were not reverted
  size_t pool_size() const { return pool_.size(); }

  // ---- chain::EvmView
  const chain::ChainId& chain() const override { return id_; }
  Task<uint64_t> ChainNumber(Deadline) override {
    PTG_CO_RUN(Up());
    co_return id_.number();
  }
  Task<chain::EvmBlock> Block(std::optional<uint64_t> number, Deadline) override {
    PTG_CO_RUN(Up());
    chain::EvmBlock block;
    block.number = number.value_or(block_);
    block.time_s = now_s - 2 * static_cast<int64_t>(block_ - block.number);
    block.base_fee = base_fee;
    co_return block;
  }
  Task<chain::Canon> Blocks(std::vector<uint64_t> heights, Deadline) override {
    ++looks;
    PTG_CO_RUN(Up());
    if (forgets_old_blocks && std::ranges::find(heights, 0U) != heights.end()) {
      co_return Fail(Code::kChainUnreachable, "pruned history unavailable");
    }
    chain::Canon canon;
    canon.head = block_;
    canon.finalized = finalized;
    for (const uint64_t height : heights) {
      canon.blocks.push_back(height <= block_ ? std::optional(HashOf(height)) : std::nullopt);
    }
    co_return canon;
  }
  Task<chain::TransferFacts> AskTransfer(chain::TransferQuestion q, Deadline) override {
    ++questions;
    estimates += q.estimate ? 1 : 0;
    PTG_CO_RUN(Up());
    chain::TransferFacts facts;
    facts.asset_has_code = q.asset == token_.verifying_contract;
    facts.payer_has_code = accounts_with_code.contains(q.payer);
    facts.nonce_used = used_.contains({q.payer, q.nonce});
    facts.balance = balance[q.payer];
    const auto auth = chain::AsTransferWithAuthorization(q.calldata);
    facts.succeeds = auth && WouldRun(*auth);
    if (facts.succeeds && q.estimate) facts.gas = 90'000;
    co_return facts;
  }
  Task<bool> NonceUsed(crypto::EvmAddress, crypto::EvmAddress payer, codec::Bytes32 nonce,
                       Deadline) override {
    PTG_CO_RUN(Up());
    co_return !lags && used_.contains({payer, nonce});
  }
  Task<bool> NonceUsedSince(crypto::EvmAddress asset, crypto::EvmAddress payer,
                            codec::Bytes32 nonce, uint64_t since, Deadline by) override {
    if (lags && since >= block_) co_return Fail(Code::kChainUnreachable, "no such block yet");
    co_return co_await NonceUsed(asset, payer, nonce, by);
  }
  Task<std::vector<chain::CallResult>> Calls(std::vector<chain::Call> calls, Deadline) override {
    PTG_CO_RUN(Up());
    std::vector<chain::CallResult> results;
    for (const chain::Call& call : calls) {
      chain::CallResult result;
      if (multicall && call.target == chain::Multicall3Address()) {
        results.push_back(Simulate(call.data));
        continue;
      }
      if (accounts_with_code.contains(call.target)) {
        ++wallet_questions;
        result.success = true;
        result.data.assign(32, 0);
        if (agreeing_wallets.contains(call.target)) {
          std::copy_n(call.data.begin(), 4, result.data.begin());
        }
        results.push_back(std::move(result));
        continue;
      }
      result.success = call.target == token_.verifying_contract;
      if (const auto auth = chain::AsTransferWithAuthorization(call.data)) {
        result.success = result.success && WouldRun(*auth);
        results.push_back(std::move(result));
        continue;
      }
      const crypto::Hash32 separator = chain::DomainSeparator(token_);
      if (result.success) result.data.assign(separator.begin(), separator.end());
      results.push_back(std::move(result));
    }
    co_return results;
  }
  Task<std::vector<bool>> HaveCode(std::vector<crypto::EvmAddress> addresses, Deadline) override {
    PTG_CO_RUN(Up());
    std::vector<bool> have;
    for (const crypto::EvmAddress& one : addresses) {
      have.push_back(one == token_.verifying_contract || accounts_with_code.contains(one) ||
                     (multicall && one == chain::Multicall3Address()));
    }
    co_return have;
  }
  Task<std::vector<chain::FoundLog>> Logs(chain::LogFilter filter, Deadline) override {
    PTG_CO_RUN(Up());
    std::vector<chain::FoundLog> found;
    for (const auto& [hash, receipt] : receipts_) {
      if (receipt.block < filter.from_block || receipt.block > filter.to_block) continue;
      for (const chain::EvmLog& log : receipt.logs) {
        bool match = log.address == filter.address;
        for (size_t i = 0; match && i < filter.topics.size(); ++i) {
          match =
              !filter.topics[i] || (i < log.topics.size() && log.topics[i] == *filter.topics[i]);
        }
        if (match) found.push_back({log, hash, receipt.block});
      }
    }
    co_return found;
  }
  Task<std::vector<std::optional<chain::EvmReceipt>>> Receipts(std::vector<crypto::Hash32> hashes,
                                                               Deadline) override {
    PTG_CO_RUN(Up());
    std::vector<std::optional<chain::EvmReceipt>> found;
    for (const crypto::Hash32& hash : hashes) {
      const auto at = receipts_.find(hash);
      const bool known = at != receipts_.end() && !withholds_receipts;
      found.push_back(known ? std::optional(at->second) : std::nullopt);
    }
    co_return found;
  }
  Task<uint64_t> TransactionCount(crypto::EvmAddress account, bool pending, Deadline) override {
    PTG_CO_RUN(Up());
    uint64_t count = count_[account];
    if (!pending) {
      ++counts_asked;
      count -= std::min(count, counts_behind);
    } else {
      count += std::exchange(counts_too_many, 0);
    }
    const auto waits = [&](const chain::SignedEvmTransaction& tx) {
      return tx.sender == account && tx.tx.nonce == count;
    };
    while (pending && std::ranges::any_of(pool_, waits)) ++count;
    co_return count;
  }
  Task<codec::Uint256> Balance(crypto::EvmAddress, Deadline) override {
    PTG_CO_RUN(Up());
    co_return codec::Uint256(1'000'000'000'000'000'000);
  }
  Task<chain::EvmFees> Fees(Deadline) override {
    PTG_CO_RUN(Up());
    co_return chain::EvmFees{base_fee, codec::Uint256(10)};
  }
  Task<std::vector<chain::Sent>> Send(std::vector<codec::Bytes> raw, Deadline) override {
    ++sends;
    PTG_CO_RUN(Up());
    std::vector<chain::Sent> sent;
    for (const codec::Bytes& bytes : raw) {
      Result<chain::SignedEvmTransaction> tx = chain::ParseTransaction(bytes);
      if (!tx) {
        sent.push_back(chain::Sent::kRejected);
        continue;
      }
      sent.push_back(Take(*std::move(tx)));
    }
    if (std::exchange(lose_reply_, false)) co_return Fail(Code::kChainUnreachable, "reply lost");
    co_return sent;
  }

 private:
  Result<> Up() const {
    if (down_) return Fail(Code::kChainUnreachable, "the chain is down");
    return {};
  }

  chain::Sent Take(chain::SignedEvmTransaction tx) {
    if (std::exchange(drop_next_, false) || deaf_) return chain::Sent::kAccepted;
    if (refuse_calls_to && tx.tx.to == refuse_calls_to) return chain::Sent::kRejected;
    if (tx.tx.nonce < count_[tx.sender]) return chain::Sent::kNonceTooLow;
    for (const chain::SignedEvmTransaction& other : pool_) {
      if (other.hash == tx.hash) return chain::Sent::kAccepted;
      if (other.sender != tx.sender || other.tx.nonce != tx.tx.nonce) continue;
      // A tenth more takes the other's place, as in geth.
      if (*Mul(tx.tx.max_fee_per_gas, 10) < *Mul(other.tx.max_fee_per_gas, 11)) {
        return chain::Sent::kUnderpriced;
      }
      std::erase_if(pool_, [hash = other.hash](const auto& one) { return one.hash == hash; });
      break;
    }
    pool_.push_back(std::move(tx));
    if (instant) Mine();
    return chain::Sent::kAccepted;
  }

  bool WouldRun(const chain::TransferAuthorization& auth) {
    const codec::Uint256 now(static_cast<uint64_t>(now_s));
    return !used_.contains({auth.from, auth.nonce}) && balance[auth.from] >= auth.value &&
           (!keeps_time || (auth.valid_after < now && now < auth.valid_before));
  }

  bool Transfer(const chain::TransferAuthorization& auth, std::vector<chain::EvmLog>& logs) {
    if (!WouldRun(auth)) return false;
    used_.insert({auth.from, auth.nonce});
    last_used_ = {auth.from, auth.nonce};
    chain::EvmLog used;
    used.address = token_.verifying_contract;
    used.topics = {chain::AuthorizationUsedTopic(), auth.from.ToWord(), auth.nonce};
    used.log_index = logs.size();
    logs.push_back(std::move(used));
    if (!moves || eaten.contains(auth.nonce)) return true;
    ++transfers;
    moved_.insert({auth.from, auth.nonce});
    ever_moved_.insert({auth.from, auth.nonce});
    balance[auth.from] = *Sub(balance[auth.from], auth.value);
    balance[auth.to] = *Add(balance[auth.to], auth.value);
    chain::EvmLog moved;
    moved.address = token_.verifying_contract;
    moved.topics = {chain::TransferTopic(), auth.from.ToWord(), auth.to.ToWord()};
    const codec::Bytes32 value = auth.value.ToBytesBE();
    moved.data.assign(value.begin(), value.end());
    moved.log_index = logs.size();
    logs.push_back(std::move(moved));
    return true;
  }

  // What aggregate3 would answer. The transfers of a batch are not seen by each other, but for what
  // they take from one balance.
  chain::CallResult Simulate(codec::ByteView data) {
    chain::CallResult result;
    const Result<std::vector<chain::Call>> calls = chain::ReadAggregate3(data);
    if (!calls) return result;
    std::map<crypto::EvmAddress, codec::Uint256> left = balance;
    std::vector<codec::Bytes> rows;
    for (const chain::Call& call : *calls) {
      const auto auth = chain::AsTransferWithAuthorization(call.data);
      const bool good = auth && WouldRun(*auth) && left[auth->from] >= auth->value;
      if (good) left[auth->from] = *Sub(left[auth->from], auth->value);
      rows.push_back(codec::AbiEncoder().Bool(good).Dynamic({}).Finish());
    }
    result.success = true;
    result.data = codec::AbiEncoder().DynamicArray(rows).Finish();
    return result;
  }

  bool RunCall(const chain::EvmTransaction& tx, std::vector<chain::EvmLog>& logs) {
    if (multicall && tx.to == chain::Multicall3Address()) {
      const Result<std::vector<chain::Call>> calls = chain::ReadAggregate3(tx.data);
      if (!calls || revert_batches) return false;
      ++batches;
      for (const chain::Call& call : *calls) {
        const auto auth = chain::AsTransferWithAuthorization(call.data);
        if (auth) Carry(*auth, logs, !fails_in_batch.contains(auth->nonce));
      }
      return true;
    }
    if (tx.data.empty()) return true;
    const auto auth = chain::AsTransferWithAuthorization(tx.data);
    return auth && Carry(*auth, logs, true);
  }

  // Of a transaction of ours.
  bool Carry(const chain::TransferAuthorization& auth, std::vector<chain::EvmLog>& logs, bool may) {
    const bool ok = may && Transfer(auth, logs);
    if (mined) mined(auth, ok);
    return ok;
  }

  void Run(const chain::SignedEvmTransaction& tx) {
    ++count_[tx.sender];
    chain::EvmReceipt receipt;
    receipt.hash = tx.hash;
    receipt.block = block_;
    receipt.block_hash = HashOf(block_);
    receipt.gas_used = 80'000;
    receipt.cost = *Mul(tx.tx.max_fee_per_gas, receipt.gas_used);
    receipt.ok = RunCall(tx.tx, receipt.logs);
    last_ = tx.hash;
    if (may_reorganise) mined_.emplace_back(tx.hash, tx);
    receipts_[tx.hash] = std::move(receipt);
  }

  crypto::Hash32 HashOf(uint64_t block) const {
    crypto::Hash32 hash{};
    const auto fork = forks_.find(block);
    hash[0] = 1;
    hash[1] = genesis_;
    hash[2] = fork == forks_.end() ? 0 : fork->second;
    for (size_t i = 0; i < 8; ++i) hash[31 - i] = static_cast<uint8_t>(block >> (8 * i));
    return hash;
  }

  // What a reorganisation goes back to: what was before a block.
  struct State {
    std::map<crypto::EvmAddress, uint64_t> count;
    std::set<std::pair<crypto::EvmAddress, codec::Bytes32>> used;
    std::set<std::pair<crypto::EvmAddress, codec::Bytes32>> moved;
    std::map<crypto::Hash32, chain::EvmReceipt> receipts;
    std::map<crypto::EvmAddress, codec::Uint256> balance;
    size_t transfers = 0;
    size_t batches = 0;
  };
  static constexpr size_t kMostPast = 8;

  chain::ChainId id_;
  chain::Eip712Domain token_;
  uint64_t block_ = 100;
  bool down_ = false;
  bool lose_reply_ = false;
  bool drop_next_ = false;
  bool deaf_ = false;
  std::vector<chain::SignedEvmTransaction> pool_;
  std::map<crypto::EvmAddress, uint64_t> count_;
  std::set<std::pair<crypto::EvmAddress, codec::Bytes32>> used_;
  std::set<std::pair<crypto::EvmAddress, codec::Bytes32>> moved_;
  std::set<std::pair<crypto::EvmAddress, codec::Bytes32>> ever_moved_;
  std::map<crypto::Hash32, chain::EvmReceipt> receipts_;
  crypto::Hash32 last_{};
  std::pair<crypto::EvmAddress, codec::Bytes32> last_used_;
  std::vector<State> past_;  // before each of the last blocks
  std::vector<std::pair<crypto::Hash32, chain::SignedEvmTransaction>> mined_;
  std::map<uint64_t, uint8_t> forks_;
  uint8_t fork_ = 0;
  uint8_t genesis_ = 0;
};

}  // namespace pontage::testing
