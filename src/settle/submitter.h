#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "chain/view.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"
#include "crypto/secp256k1.h"
#include "db/db.h"
#include "io/runtime.h"
#include "io/timer.h"
#include "obs/metrics.h"
#include "settle/fee_policy.h"
#include "settle/outgoing_store.h"
#include "settle/reorg_watch.h"
#include "settle/settlement_queue.h"

namespace pontage::settle {

struct SubmitterOptions {
  uint64_t confirmations = 1;  // blocks that make a receipt count, its own included
  // An EIP-3009 transfer takes some 100,000; a token that wants more than this burns our money.
  uint64_t gas_cap = 500'000;
  // 1000 gwei: ten times what Ethereum charged in its dearest weeks. Wei for each unit of gas.
  codec::Uint256 max_fee_per_gas{1'000'000'000'000};
  // What the key may spend within an hour, in gwei; absent: no bound.
  std::optional<int64_t> gwei_per_hour;
  // How long a transaction may wait unmined before it is handed to the nodes again.
  Millis rebroadcast{5'000};
  // How long a version may wait unmined before its fees are raised: some blocks of a slow chain.
  Millis raise{45'000};
  // How long the nodes must say that a nonce is used, and of none of our versions that it was
  // mined, before that is believed: behind one name there may be nodes of which some are blocks
  // behind.
  Millis heal{10'000};
  // How often transactions of nodes that died are looked for in the database.
  Millis adopt{30'000};
  // How often the blocks that settled payments are in are looked at until they are final.
  Millis reorg_look{5'000};
  // A signer with less wei than this is complained of: some ten settlements of a cheap chain.
  codec::Uint256 low_balance{500'000'000'000'000};
  obs::Registry* metrics = nullptr;  // outlives the submitter; none: nothing is counted
  // Batches are made only where Multicall3 has code.
  QueueLimits queue;
};

// Sends transactions of one key on one chain and waits for their receipts. It owns the key's
// nonces: each transaction gets its nonce, is signed and is stored in one database write before
// anything is broadcast, so that a crash loses none and none is signed twice; nobody waits for the
// receipt of an earlier one. Payments that queue up share a transaction (settlement_queue.h). What
// could not be broadcast is broadcast again until it is mined, on this node or on another that
// shares the database; what is not mined gets higher fees; what the chain throws out again is sent
// again (reorg_watch.h). Four coroutines on `loop`; Submit and Watch may be called from every loop.
class Submitter {
 public:
  // A second of the queue at the rate that a chain of 1 s blocks takes, six times over.
  static constexpr size_t kMaxQueue = 5'000;

  // `view`, `database`, `loop` outlive it.
  Submitter(Loop& loop, chain::EvmView& view, db::Database& database, crypto::PrivateKey key,
            Rng& rng, SubmitterOptions options = {});
  ~Submitter();
  Submitter(const Submitter&) = delete;
  Submitter& operator=(const Submitter&) = delete;

  // Starts the coroutines. Reads the chain's count of the key first and keeps trying while the
  // chain does not answer; until then Submit fails with kChainUnreachable.
  void Start();
  // Ends them; on `loop`. Transactions under way stay in the database. Those who wait hear that the
  // receipt was not seen, those in the queue that nothing was sent.
  Task<> Stop();

  using Job = SettleJob;
  struct Sent {
    crypto::Hash32 hash{};  // of the version that was mined, else of the last one
    // Null: not seen before the deadline. One for all that share the transaction.
    std::shared_ptr<const chain::EvmReceipt> receipt;
    // It settles others too: that it did not move this payment may be their fault, or the batch's.
    bool batch = false;
  };
  // Errors leave nothing behind: kChainUnreachable (fees or nonce are not known), kOverloaded (gas
  // is dearer than max_fee_per_gas, needs more than gas_cap, the hour's is spent, or the queue did
  // not come to it in time), kConflict (the payment has a transaction already), kPaymentSimulation
  // (it fails beside the others; ask about it anew and try it alone). But kStore: the transaction
  // may be stored and sent later.
  Task<Sent> Submit(Job job, Deadline by);
  // Waits for the receipt of a transaction that was submitted before, here or on another node, and
  // that one of its versions has `hash` (signers.h finds it).
  Task<Sent> Watch(Outgoing tx, crypto::Hash32 hash, Deadline by);

  const crypto::EvmAddress& address() const { return key_.address(); }
  // Payments in the queue and transactions that wait to be mined: the less the better for the next.
  size_t load() const { return load_.load(std::memory_order_relaxed); }
  // For tests and metrics: how many transactions wait for their receipt on this node. On `loop`.
  size_t open() const { return open_.size(); }

 private:
  struct Waiter;
  using Waiters = std::vector<std::shared_ptr<Waiter>>;
  // What it takes out of whose purse; empty where another node made it.
  using Moves = std::vector<std::pair<Purse, codec::Uint256>>;
  struct Open {
    Outgoing tx;
    bool ours = false;       // its bytes are at hand and it is not known to be closed
    bool broadcast = false;  // a node took it
    bool underpriced = false;
    bool unfunded = false;  // a node says that the signer cannot pay for it
    Moves moves;
    SteadyMs sent_at;                     // last handed to a node
    std::optional<SteadyMs> stale_since;  // a node says that its nonce is used
    int stale_looks = 0;                  // and it was looked for, and no version was mined
    Waiters waiters;
  };

  // submitter.cc: the queue.
  void Enqueue(std::shared_ptr<Waiter> waiter);
  Task<> Pack();
  Task<> EndGather(Millis in);
  Waiters TakeOut(const std::vector<size_t>& group);
  Task<> SendGroup(Waiters group);
  Task<> Store(Waiters& group);
  Task<> Simulate(Waiters& group);
  void StoredAs(const Stored& stored, const Waiters& group);
  Task<GasPrice> Price();
  Task<chain::EvmFees> Market();
  SigningRules Rules() const;
  void CountRefusal(std::string_view why) const;
  size_t InFlight() const;
  std::map<Purse, codec::Uint256> UnderWay() const;
  std::vector<Waiters> NextGroups();
  void Adopt(Outgoing tx, bool ours, Waiters waiters, Moves moves = {});

  // submitter_send.cc: what becomes of stored ones until they are mined.
  Task<> Broadcast();
  Task<> BroadcastDue();
  Task<> WriteTaken();
  std::vector<Open*> Oldest();
  Task<> Heal(std::string id);
  Task<uint64_t> NextFree(Deadline by);
  Task<bool> StillMoves(chain::EvmTransaction tx, Deadline by);
  Task<> Tend();
  Task<> TendOne(std::string id, chain::EvmFees market, bool head);
  Task<> MendGap(uint64_t lowest);
  Task<std::optional<std::vector<CountedMined>>> GoneOf(uint64_t from, uint64_t to);

  // submitter_watch.cc: the chain's side.
  Task<> WatchChain();
  Task<> WatchReorgs();
  Task<> Begin();
  Task<> Measure();
  Task<> AdoptStored(UnixMs before);
  Task<> Look();
  Task<> LookOnce();
  Task<> LookAround();
  Task<> CheckReceipts(uint64_t block);
  Task<> WriteMined();
  void Close(const std::string& id, const chain::EvmReceipt& receipt, std::vector<Mined>& mined);
  Millis Pace() const;

  Loop& loop_;
  chain::EvmView& view_;
  db::Database& database_;
  crypto::PrivateKey key_;
  Rng& rng_;
  SubmitterOptions options_;
  Signer signer_;
  ReorgWatch reorgs_;

  std::atomic<bool> ready_{false};
  std::atomic<size_t> load_{0};

  // On `loop_` only.
  uint64_t floor_ = 0;  // no nonce below this is given
  bool batching_ = false;
  chain::EvmFees market_;
  SteadyMs market_at_{INT64_MIN};
  std::deque<std::shared_ptr<Waiter>> queue_;
  Event pack_;  // something came into the queue, or a transaction was mined
  size_t packing_ = 0;
  Event packed_;
  bool gathering_ = false;                         // EndGather is under way
  std::map<std::string, Open> open_;               // by id; by hash where that is all we know
  std::map<crypto::Hash32, std::string> by_hash_;  // every version of those
  Event work_;                                     // something is to be broadcast
  Event watched_;                                  // something is to be watched
  bool look_now_ = false;    // somebody asks about a transaction that may be mined already
  bool looking_ = false;     // one of the two
  bool look_again_ = false;  // something was sent since the look began
  uint64_t seen_block_ = 0;  // whose receipts were asked for, at
  SteadyMs checked_at_{INT64_MIN};
  std::vector<Mined> unmarked_;     // in a block, and the database does not know yet
  std::vector<std::string> taken_;  // by a node, and the database does not know yet
  SteadyMs last_sent_;
  SteadyMs tended_at_;
  UnixMs chain_time_;  // of the latest block that was seen
  SteadyMs gap_asked_at_;
  SteadyMs measured_at_{INT64_MIN};
  bool stopping_ = false;
  int running_ = 0;
  Event stopped_;
};

}  // namespace pontage::settle
