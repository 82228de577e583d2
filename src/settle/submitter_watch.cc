#include <algorithm>
#include <utility>

#include "base/fault.h"
#include "base/log.h"
#include "base/try.h"
#include "chain/evm_calls.h"
#include "codec/hex.h"
#include "settle/pending_store.h"
#include "settle/submitter.h"
#include "settle/submitter_waiter.h"

// The submitter's eye on the chain: what the key's count is, and which transactions were mined.
namespace pontage::settle {
namespace {

constexpr Millis kRpcTimeout{10'000};
constexpr Millis kStoreTimeout{10'000};
constexpr Millis kMeasureEvery{60'000};
// Mined transactions that the store has not taken: an hour of a key at a block a second.
constexpr size_t kMaxUnmarked = 3'600;
// What was finished is remembered for a week: longer than any payment may be valid, by far.
constexpr Millis kRemember{7LL * 24 * 3600 * 1000};

// What a mined transaction cost, in gwei, rounded up; nullopt when the node does not say.
std::optional<int64_t> CostOf(const chain::EvmReceipt& receipt) {
  constexpr uint64_t kWeiOfGwei = 1'000'000'000;
  if (!receipt.cost) return std::nullopt;
  const codec::QuotientRemainder gwei = DivMod(*receipt.cost, kWeiOfGwei);
  const uint64_t whole = gwei.quotient.ToU64().value_or(INT64_MAX / 4);
  return static_cast<int64_t>(std::min<uint64_t>(whole, INT64_MAX / 4)) +
         (gwei.remainder != 0 ? 1 : 0);
}

}  // namespace

// What the chain says of the key: the count that nonces start from, whether payments may share a
// transaction there, and the transactions that were stored and not seen mined, which are sent
// again.
Task<> Submitter::Begin() {
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  PTG_CO_TRY(const uint64_t pending, co_await NextFree(by));
  std::vector<crypto::EvmAddress> multicall{chain::Multicall3Address()};
  PTG_CO_TRY(const std::vector<bool> code, co_await view_.HaveCode(std::move(multicall), by));
  batching_ = code[0] && options_.queue.batch > 1;
  std::vector<uint64_t> genesis{0};
  // Nodes that keep no old blocks may answer an error: then it counts as the chain it was.
  const Result<chain::Canon> canon = co_await view_.Blocks(std::move(genesis), by);
  ChainStart start{pending, std::nullopt};
  if (canon && !canon->blocks.empty()) start.first_block = canon->blocks[0];
  const UnixMs now = loop_.clock().Now();
  const auto mend = [&](db::Tx& tx) -> Result<bool> {
    PTG_RUN(PrunePending(tx, now - kRemember));
    return MendNonce(tx, signer_, start, now);
  };
  PTG_CO_TRY(const bool mended,
             co_await database_.Write(mend, Deadline::In(loop_.clock(), kStoreTimeout)));
  if (mended) {
    Log(LogLevel::kWarn, "settle.nonce_wound_back",
        {{"chain", signer_.chain}, {"nonce", static_cast<int64_t>(pending)}});
  }
  floor_ = pending;
  PTG_CO_RUN(co_await AdoptStored(now));
  Log(LogLevel::kInfo, "settle.signer_ready",
      {{"chain", signer_.chain},
       {"signer", signer_.address},
       {"nonce", static_cast<int64_t>(pending)},
       {"open", open_.size()},
       {"batches", batching_}});
  ready_ = true;
  work_.Set();
  pack_.Set();
  co_return {};
}

Task<> Submitter::AdoptStored(UnixMs before) {
  // What a node with a wrong clock left behind is not waited for until that time has come.
  const UnixMs after = loop_.clock().Now() + options_.adopt;
  const auto body = [&](db::Tx& tx) { return OpenTransactions(tx, signer_, before, after); };
  PTG_CO_TRY(std::vector<Outgoing> stored,
             co_await database_.Read(body, Deadline::In(loop_.clock(), kStoreTimeout)));
  for (Outgoing& tx : stored) Adopt(std::move(tx), true, {});
  co_return {};
}

// Quick at first, so that a chain with instant blocks is not slept over; slower the longer nothing
// new was sent.
Millis Submitter::Pace() const {
  const Millis since = loop_.clock().Steady() - last_sent_;
  if (since < Millis(200)) return Millis(40);
  if (since < Millis(5'000)) return Millis(150);
  if (since < Millis(30'000)) return Millis(500);
  return Millis(2'000);
}

Task<> Submitter::WatchChain() {
  SteadyMs adopted_at = loop_.clock().Steady();
  while (!stopping_) {
    if (!ready_) {
      const Result<> begun = co_await Begin();
      if (stopping_) break;
      if (!begun) {
        Log(LogLevel::kWarn, "settle.signer_not_ready",
            {{"chain", signer_.chain}, {"reason", begun.error().detail()}});
        PTG_CO_RUN(co_await Sleep(Millis(1'000)));
        continue;
      }
    }
    const SteadyMs now = loop_.clock().Steady();
    if (now - adopted_at >= options_.adopt) {
      adopted_at = now;
      // Only what is older than any broadcast of a living node takes.
      const Result<> adopted = co_await AdoptStored(loop_.clock().Now() - options_.adopt);
      if (!adopted) {
        Log(LogLevel::kWarn, "settle.adopt_failed",
            {{"chain", signer_.chain}, {"reason", adopted.error().detail()}});
      }
    }
    if (measured_at_.ms() == INT64_MIN || now - measured_at_ >= kMeasureEvery) {
      measured_at_ = now;
      (void)co_await Measure();
    }
    if (open_.empty() && !unmarked_.empty()) PTG_CO_RUN(co_await WriteMined());
    if (open_.empty()) {
      watched_.Clear();
      const Result<> woken = co_await watched_.Wait(Deadline::In(loop_.clock(), Millis(1'000)));
      if (!woken || stopping_) continue;
    }
    PTG_CO_RUN(co_await Sleep(Pace()));
    if (stopping_ || open_.empty() || looking_) continue;
    (void)co_await LookAround();
  }
  if (--running_ == 0) stopped_.Set();
  co_return {};
}

// Until nothing was sent meanwhile. One at a time.
Task<> Submitter::LookAround() {
  looking_ = true;
  do {
    look_again_ = false;
    (void)co_await Look();
    (void)co_await WriteTaken();
  } while (look_again_ && !stopping_);
  looking_ = false;
  co_return {};
}

// Receipts are asked for when there is a new block, and now and then in case that two nodes behind
// one name do not agree.
Task<> Submitter::Look() {
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  PTG_CO_TRY(const chain::EvmBlock block, co_await view_.Block(std::nullopt, by));
  const SteadyMs then = loop_.clock().Steady();
  chain_time_ = std::max(chain_time_, UnixMs::FromSeconds(block.time_s));
  const bool lately = checked_at_.ms() != INT64_MIN && then - checked_at_ < Millis(2'000);
  if (block.number == seen_block_ && !look_now_ && lately) co_return {};
  look_now_ = false;
  PTG_CO_RUN(co_await CheckReceipts(block.number));
  seen_block_ = block.number;
  checked_at_ = then;
  co_return {};
}

// In the pauses of WatchChain, never beside it: an answer that was on its way for longer than
// another would say what has been. It looks again soon: what this one fails with is nobody's loss.
Task<> Submitter::LookOnce() {
  (void)co_await LookAround();
  if (--running_ == 0) stopped_.Set();
  co_return {};
}

Task<> Submitter::CheckReceipts(uint64_t block) {
  std::vector<crypto::Hash32> hashes;
  for (const auto& [hash, id] : by_hash_) hashes.push_back(hash);
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  std::vector<crypto::Hash32> asked = hashes;
  PTG_CO_TRY(const std::vector<std::optional<chain::EvmReceipt>> receipts,
             co_await view_.Receipts(std::move(asked), by));
  std::vector<Mined> mined;
  for (size_t i = 0; i < hashes.size(); ++i) {
    const auto known = by_hash_.find(hashes[i]);
    if (known == by_hash_.end()) continue;
    const std::string id = known->second;
    if (receipts[i] && block + 1 >= receipts[i]->block + options_.confirmations) {
      Close(id, *receipts[i], mined);
      continue;
    }
    // Those that were only watched and for whom nobody waits any more are let go.
    Open& open = open_.at(id);
    std::erase_if(open.waiters, [](const auto& w) { return w->state == Waiter::State::kDone; });
    if (open.ours || !open.waiters.empty()) continue;
    for (const Version& version : open.tx.versions) by_hash_.erase(version.hash);
    open_.erase(id);
  }
  load_ = queue_.size() + open_.size();
  if (mined.empty()) co_return {};
  PTG_KILL_POINT("tx_mined");
  pack_.Set();
  // What does not fit is found open in the database, and its receipt again.
  const size_t room = kMaxUnmarked - std::min(kMaxUnmarked, unmarked_.size());
  if (mined.size() > room) mined.resize(room);
  std::ranges::move(mined, std::back_inserter(unmarked_));
  co_return co_await WriteMined();
}

// Writes down what was mined. What cannot be written now is written later.
Task<> Submitter::WriteMined() {
  if (unmarked_.empty()) co_return {};
  const std::vector<Mined> mined = std::exchange(unmarked_, {});
  const UnixMs now = loop_.clock().Now();
  const auto body = [&mined, now, this](db::Tx& tx) -> Result<std::vector<bool>> {
    std::vector<bool> back;
    for (const Mined& one : mined) {
      PTG_TRY(const bool again, MarkMined(tx, signer_, one, now));
      back.push_back(again);
    }
    return back;
  };
  const Result<std::vector<bool>> marked =
      co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout));
  if (!marked) {
    Log(LogLevel::kWarn, "settle.mark_failed",
        {{"chain", signer_.chain}, {"reason", marked.error().detail()}});
    unmarked_.insert(unmarked_.begin(), mined.begin(), mined.end());
    co_return {};
  }
  for (size_t i = 0; i < mined.size(); ++i) {
    reorgs_.Mined({mined[i].block, mined[i].block_hash});
    if ((*marked)[i]) reorgs_.CameBack(mined[i].hash, mined[i].block);
  }
  co_return {};
}

Task<> Submitter::WatchReorgs() {
  // On another chain than before there is nothing to watch: that is found out first.
  while (!ready_ && !stopping_) PTG_CO_RUN(co_await Sleep(Millis(100)));
  const Result<> done = co_await reorgs_.Run();
  if (--running_ == 0) stopped_.Set();
  co_return done;
}

// What the key has and spends, for people to see before it runs dry.
Task<> Submitter::Measure() {
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  PTG_CO_TRY(const codec::Uint256 wei, co_await view_.Balance(key_.address(), by));
  const UnixMs now = loop_.clock().Now();
  const auto read = [&](db::Tx& tx) { return GasOfLastHour(tx, signer_, now); };
  PTG_CO_TRY(const int64_t spent,
             co_await database_.Read(read, Deadline::In(loop_.clock(), kStoreTimeout)));
  if (wei < options_.low_balance) {
    Log(LogLevel::kWarn, "settle.signer_low",
        {{"chain", signer_.chain}, {"signer", signer_.address}, {"wei", wei.ToDecimal()}});
  }
  if (options_.metrics == nullptr) co_return {};
  const auto set = [this](std::string_view name, std::string_view help, uint64_t value) {
    options_.metrics->GaugeOf(name, help, {{"network", signer_.chain}, {"signer", signer_.address}})
        .Set(static_cast<int64_t>(std::min<uint64_t>(value, INT64_MAX)));
  };
  constexpr uint64_t kWeiOfGwei = 1'000'000'000;
  set("pontage_signer_balance_gwei", "What the key that pays for gas has.",
      DivMod(wei, kWeiOfGwei).quotient.ToU64().value_or(INT64_MAX));
  set("pontage_signer_gas_hour_gwei", "What its transactions of the last hour cost or may cost.",
      static_cast<uint64_t>(std::max<int64_t>(spent, 0)));
  set("pontage_signer_load", "Payments that wait for a transaction and transactions for a block.",
      load());
  co_return {};
}

// One version of `id` is in a block that counts.
void Submitter::Close(const std::string& id, const chain::EvmReceipt& receipt,
                      std::vector<Mined>& mined) {
  const auto at = open_.find(id);
  const Open open = std::move(at->second);
  for (const Version& version : open.tx.versions) by_hash_.erase(version.hash);
  open_.erase(at);
  if (!open.tx.id.empty()) {
    mined.push_back(
        {open.tx.id, receipt.hash, receipt.block, receipt.block_hash, receipt.ok, CostOf(receipt)});
  }
  Log(LogLevel::kInfo, "settle.mined",
      {{"chain", signer_.chain},
       {"transaction", codec::Hex0x(receipt.hash)},
       {"nonce", static_cast<int64_t>(open.tx.nonce)},
       {"block", static_cast<int64_t>(receipt.block)},
       {"ok", receipt.ok},
       {"gas", static_cast<int64_t>(receipt.gas_used)},
       {"payments", std::max<size_t>(1, open.waiters.size())}});
  if (options_.metrics != nullptr && open.ours) {
    const obs::Labels labels = {{"network", signer_.chain},
                                {"kind", open.tx.batch ? "batch" : "alone"}};
    options_.metrics
        ->CounterOf("pontage_settle_transactions_total", "Transactions of our keys in a block.",
                    labels)
        .Add();
    options_.metrics->CounterOf("pontage_settle_gas_total", "Gas that they took.", labels)
        .Add(receipt.gas_used);
  }
  const auto shared = std::make_shared<const chain::EvmReceipt>(receipt);
  for (const std::shared_ptr<Waiter>& waiter : open.waiters) waiter->Deliver(shared);
}

}  // namespace pontage::settle
