#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "chain/view.h"
#include "codec/bytes.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"
#include "crypto/secp256k1.h"
#include "db/db.h"
#include "io/runtime.h"
#include "io/timer.h"
#include "settle/pending_store.h"

namespace pontage::settle {

struct SubmitterOptions {
  uint64_t confirmations = 1;  // blocks that make a receipt count, its own included
  // An EIP-3009 transfer takes some 100,000; a token that wants more than this burns our money.
  uint64_t gas_cap = 500'000;
  // 1000 gwei: ten times what Ethereum charged in its dearest weeks. Wei for each unit of gas.
  codec::Uint256 max_fee_per_gas{1'000'000'000'000};
  // How long a transaction may wait unmined before it is handed to the nodes again.
  Millis rebroadcast{15'000};
  // How often transactions of nodes that died are looked for in the database.
  Millis adopt{30'000};
};

// Sends transactions of one key on one chain and waits for their receipts. It owns the key's
// nonces: each transaction gets its nonce, is signed and is stored in one database write before
// anything is broadcast, so that a crash loses none and none is signed twice; nobody waits for the
// receipt of an earlier one. What could not be broadcast is broadcast again until it is mined, on
// this node or on another that shares the database. One coroutine broadcasts and one watches, both
// on `loop`; Submit and Await may be called from every loop.
class Submitter {
 public:
  // `view`, `database`, `loop` outlive it.
  Submitter(Loop& loop, chain::EvmView& view, db::Database& database, crypto::PrivateKey key,
            Rng& rng, SubmitterOptions options = {});
  ~Submitter();
  Submitter(const Submitter&) = delete;
  Submitter& operator=(const Submitter&) = delete;

  // Starts the two coroutines. Reads the chain's count of the key first and keeps trying while the
  // chain does not answer; until then Submit fails with kChainUnreachable.
  void Start();
  // Ends them; on `loop`. Transactions under way stay in the database. Those who wait hear that the
  // receipt was not seen.
  Task<> Stop();

  struct Job {
    std::string key;  // of the payment; at most one transaction at a time is made for it
    crypto::EvmAddress to;
    codec::Bytes data;
    uint64_t gas = 0;  // as estimated; what is sent is a quarter more, at most gas_cap
  };
  struct Sent {
    crypto::Hash32 hash{};
    std::optional<chain::EvmReceipt> receipt;  // absent: not seen before the deadline
  };
  // Errors leave nothing behind: kChainUnreachable (fees or nonce are not known), kOverloaded (gas
  // is dearer than max_fee_per_gas, or needs more than gas_cap), kConflict (the payment has a
  // transaction already). But kStore: the transaction may be stored and sent later.
  Task<Sent> Submit(Job job, Deadline by);
  // Waits for the receipt of a transaction that was submitted before, here or on another node.
  Task<Sent> Await(crypto::Hash32 hash, Deadline by);

  const crypto::EvmAddress& address() const { return key_.address(); }
  // For tests and metrics: how many transactions wait for their receipt on this node. On `loop`.
  size_t open() const { return open_.size(); }

 private:
  struct Waiter;
  struct Open {
    Outgoing tx;
    bool broadcast = false;  // a node took it
    SteadyMs sent_at;        // last handed to a node
    std::vector<std::shared_ptr<Waiter>> waiters;
  };

  Task<codec::Uint256> FeePerGas(codec::Uint256& priority, Deadline by);
  Task<Sent> WaitFor(crypto::Hash32 hash, std::optional<Outgoing> fresh, Deadline by);
  void Adopt(Outgoing tx, std::shared_ptr<Waiter> waiter);

  Task<> Broadcast();
  Task<> BroadcastDue();
  Task<> Heal(crypto::Hash32 hash);
  Task<> Watch();
  Task<> Begin();
  Task<> AdoptStored(UnixMs before);
  Task<> CheckReceipts(uint64_t block);
  Millis Pace() const;

  Loop& loop_;
  chain::EvmView& view_;
  db::Database& database_;
  crypto::PrivateKey key_;
  Rng& rng_;
  SubmitterOptions options_;
  Signer signer_;

  std::atomic<bool> ready_{false};
  std::atomic<uint64_t> floor_{0};  // no nonce below this is given
  std::mutex fee_mutex_;
  chain::EvmFees fees_;
  SteadyMs fees_at_{INT64_MIN};

  // On `loop_` only.
  std::map<crypto::Hash32, Open> open_;
  Event work_;     // something is to be broadcast
  Event watched_;  // something is to be watched
  SteadyMs last_sent_;
  bool stopping_ = false;
  int running_ = 0;
  Event stopped_;
};

}  // namespace pontage::settle
