#include "settle/submitter.h"

#include <algorithm>
#include <utility>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "chain/evm_transaction.h"
#include "codec/hex.h"

namespace pontage::settle {
namespace {

// A fee that is this old may be paid: base fees move by an eighth each block, and the cap is twice
// the base.
constexpr Millis kFeeAge{3'000};
constexpr Millis kRpcTimeout{10'000};
constexpr Millis kStoreTimeout{10'000};
// One JSON-RPC batch.
constexpr size_t kBatch = 100;
// What was finished is remembered for a week: longer than any payment may be valid, by far.
constexpr Millis kRemember{7LL * 24 * 3600 * 1000};

}  // namespace

// Somebody who waits for a receipt, on any loop. Delivered once, by whichever comes first.
struct Submitter::Waiter final : DeadlineNode {
  explicit Waiter(crypto::Hash32 h) : hash(h) {}
  void Deliver(std::optional<chain::EvmReceipt> receipt) {
    if (done) return;
    done = true;
    Unlink();
    Sent sent;
    sent.hash = hash;
    sent.receipt = std::move(receipt);
    answer.Set(std::move(sent));
  }
  void Expire() override { Deliver(std::nullopt); }

  crypto::Hash32 hash;
  bool done = false;
  Completion<Sent> answer;
};

Submitter::Submitter(Loop& loop, chain::EvmView& view, db::Database& database,
                     crypto::PrivateKey key, Rng& rng, SubmitterOptions options)
    : loop_(loop),
      view_(view),
      database_(database),
      key_(std::move(key)),
      rng_(rng),
      options_(options),
      signer_{view.chain().Caip2(), key_.address().ToLower()} {}

Submitter::~Submitter() = default;

void Submitter::Start() {
  loop_.Post([this] {
    running_ = 2;
    loop_.Spawn(Broadcast(), "submitter.broadcast");
    loop_.Spawn(Watch(), "submitter.watch");
  });
}

Task<> Submitter::Stop() {
  stopping_ = true;
  work_.Set();
  watched_.Set();
  if (running_ > 0) PTG_CO_RUN(co_await stopped_.Wait(Deadline::Never()));
  for (auto& [hash, open] : open_) {
    for (const std::shared_ptr<Waiter>& waiter : open.waiters) waiter->Deliver(std::nullopt);
  }
  open_.clear();
  co_return {};
}

// The most that is paid for a unit of gas, and the tip in it.
Task<codec::Uint256> Submitter::FeePerGas(codec::Uint256& priority, Deadline by) {
  chain::EvmFees fees;
  bool fresh = false;
  {
    const std::lock_guard lock(fee_mutex_);
    fees = fees_;
    const SteadyMs now = loop_.clock().Steady();
    fresh = fees_at_.ms() != INT64_MIN && now - fees_at_ < kFeeAge;
  }
  if (!fresh) {
    PTG_CO_TRY(fees, co_await view_.Fees(by));
    const std::lock_guard lock(fee_mutex_);
    fees_ = fees;
    fees_at_ = loop_.clock().Steady();
  }
  priority = fees.priority_fee;
  // Twice the base fee keeps a transaction good through six full blocks.
  PTG_CO_TRY(const codec::Uint256 twice, Mul(fees.base_fee, 2));
  PTG_CO_TRY(codec::Uint256 most, Add(twice, priority));
  PTG_CO_TRY(const codec::Uint256 needed, Add(fees.base_fee, priority));
  if (needed > options_.max_fee_per_gas) {
    Log(LogLevel::kError, "settle.gas_too_dear",
        {{"chain", signer_.chain}, {"wei", needed.ToDecimal()}});
    co_return Fail(Code::kOverloaded, "gas on " + signer_.chain + " costs more than we pay");
  }
  co_return std::min(most, options_.max_fee_per_gas);
}

// How long a payment waits for a signer that is not ready yet, 2 s in all.
constexpr int kReadyTries = 100;
constexpr Millis kReadyPause{20};

Task<Submitter::Sent> Submitter::Submit(Job job, Deadline by) {
  // The first payment may come before our count is known: it was read behind the start.
  for (int i = 0; i < kReadyTries && !ready_ && !by.Passed(loop_.clock()); ++i) {
    PTG_CO_RUN(co_await Sleep(kReadyPause));
  }
  if (!ready_) {
    co_return Fail(Code::kChainUnreachable, "the chain has not answered since we started");
  }
  if (job.gas > options_.gas_cap) {
    Log(LogLevel::kWarn, "settle.gas_above_cap",
        {{"chain", signer_.chain}, {"gas", static_cast<int64_t>(job.gas)}});
    co_return Fail(Code::kOverloaded, "the transfer needs more gas than we pay for");
  }
  chain::EvmTransaction call;
  PTG_CO_TRY(call.max_fee_per_gas, co_await FeePerGas(call.max_priority_fee_per_gas, by));
  call.chain_id = view_.chain().number();
  call.gas_limit = std::min(job.gas + job.gas / 4, options_.gas_cap);
  call.to = job.to;
  call.data = std::move(job.data);
  const Clock& clock = loop_.clock();
  const std::string id = NewIdText("tx", clock, rng_);
  const uint64_t floor = floor_.load();
  const UnixMs now = clock.Now();
  // The write is not given up with the caller's patience: a transaction that was stored is sent.
  const auto body = [&](db::Tx& tx) {
    return StoreTransaction(tx, signer_, key_, call, id, job.key, floor, now);
  };
  PTG_CO_TRY(const chain::SignedEvmTransaction made,
             co_await database_.Write(body, Deadline::In(clock, kStoreTimeout)));
  Outgoing fresh;
  fresh.id = id;
  fresh.nonce = made.tx.nonce;
  fresh.hash = made.hash;
  fresh.raw = made.raw;
  fresh.key = job.key;
  co_return co_await WaitFor(made.hash, std::move(fresh), by);
}

Task<Submitter::Sent> Submitter::Await(crypto::Hash32 hash, Deadline by) {
  co_return co_await WaitFor(hash, std::nullopt, by);
}

Task<Submitter::Sent> Submitter::WaitFor(crypto::Hash32 hash, std::optional<Outgoing> fresh,
                                         Deadline by) {
  const auto waiter = std::make_shared<Waiter>(hash);
  loop_.Post([this, waiter, hash, by, tx = std::move(fresh)]() mutable {
    if (stopping_ || by.Passed(loop_.clock())) {
      if (tx) Adopt(*std::move(tx), nullptr);
      waiter->Deliver(std::nullopt);
      return;
    }
    if (!tx) {
      // Of another node, or from before a restart: only its receipt is waited for.
      tx.emplace();
      tx->hash = hash;
    }
    loop_.Watch(*waiter, by);
    Adopt(*std::move(tx), waiter);
  });
  co_return co_await waiter->answer;
}

void Submitter::Adopt(Outgoing tx, std::shared_ptr<Waiter> waiter) {
  if (stopping_) {
    if (waiter) waiter->Deliver(std::nullopt);
    return;
  }
  const crypto::Hash32 hash = tx.hash;
  const auto [at, added] = open_.try_emplace(hash);
  Open& open = at->second;
  // What is only watched becomes ours when its bytes come to hand.
  if (added || open.tx.raw.empty()) open.tx = std::move(tx);
  std::erase_if(open.waiters, [](const std::shared_ptr<Waiter>& w) { return w->done; });
  if (waiter) open.waiters.push_back(std::move(waiter));
  if (!open.broadcast && !open.tx.raw.empty()) work_.Set();
  last_sent_ = loop_.clock().Steady();
  watched_.Set();
}

Task<> Submitter::Broadcast() {
  while (!stopping_) {
    const Result<> woken = co_await work_.Wait(Deadline::In(loop_.clock(), Millis(1'000)));
    if (stopping_) break;
    if (woken) work_.Clear();
    if (!ready_) {
      PTG_CO_RUN(co_await Sleep(Millis(100)));
      continue;
    }
    const Result<> done = co_await BroadcastDue();
    if (!done) {
      Log(LogLevel::kWarn, "settle.broadcast_failed",
          {{"chain", signer_.chain}, {"reason", done.error().detail()}});
      PTG_CO_RUN(co_await Sleep(Millis(500)));
      work_.Set();
    }
  }
  if (--running_ == 0) stopped_.Set();
  co_return {};
}

// Hands everything that no node has taken, or that has waited for long, to the nodes by nonce.
Task<> Submitter::BroadcastDue() {
  const SteadyMs now = loop_.clock().Steady();
  std::vector<const Open*> due;
  for (const auto& [hash, open] : open_) {
    if (open.tx.raw.empty()) continue;
    if (!open.broadcast || now - open.sent_at >= options_.rebroadcast) due.push_back(&open);
  }
  if (due.empty()) co_return {};
  std::ranges::sort(due, {}, [](const Open* open) { return open->tx.nonce; });
  const bool more = due.size() > kBatch;
  if (more) due.resize(kBatch);
  std::vector<codec::Bytes> raw;
  std::vector<crypto::Hash32> hashes;
  for (const Open* open : due) {
    raw.push_back(open->tx.raw);
    hashes.push_back(open->tx.hash);
  }
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  PTG_CO_TRY(const std::vector<chain::Sent> sent, co_await view_.Send(std::move(raw), by));
  std::vector<std::string> taken;
  std::vector<crypto::Hash32> stale;
  for (size_t i = 0; i < hashes.size(); ++i) {
    const auto at = open_.find(hashes[i]);
    if (at == open_.end()) continue;
    Open& open = at->second;
    open.sent_at = loop_.clock().Steady();
    last_sent_ = open.sent_at;
    if (sent[i] == chain::Sent::kNonceTooLow) {
      stale.push_back(hashes[i]);
      continue;
    }
    if (sent[i] == chain::Sent::kNoFunds) {
      Log(LogLevel::kError, "settle.signer_has_no_funds",
          {{"chain", signer_.chain}, {"signer", signer_.address}});
    }
    // One that was refused is kept and tried again after the same time as any other.
    if (!open.broadcast && sent[i] == chain::Sent::kAccepted) taken.push_back(open.tx.id);
    open.broadcast = true;
  }
  watched_.Set();
  if (more) work_.Set();
  for (const crypto::Hash32& hash : stale) PTG_CO_RUN(co_await Heal(hash));
  if (taken.empty()) co_return {};
  const UnixMs at = loop_.clock().Now();
  const auto body = [&taken, at](db::Tx& tx) -> Result<> {
    for (const std::string& id : taken) PTG_RUN(MarkBroadcast(tx, id, at));
    return {};
  };
  co_return co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout));
}

// The node says that the nonce of this transaction was used. Either by this very transaction: then
// its receipt comes. Or by another one, which somebody else made with our key: then this one can
// never be mined, and the same call is signed again with a nonce that is free.
Task<> Submitter::Heal(crypto::Hash32 hash) {
  const auto at = open_.find(hash);
  if (at == open_.end()) co_return {};
  const Outgoing old = at->second.tx;
  at->second.broadcast = true;
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  std::vector<crypto::Hash32> one{hash};
  PTG_CO_TRY(const auto receipts, co_await view_.Receipts(std::move(one), by));
  if (receipts[0]) co_return {};
  PTG_CO_TRY(const uint64_t latest, co_await view_.TransactionCount(key_.address(), false, by));
  if (latest <= old.nonce) co_return {};
  PTG_CO_TRY(const uint64_t pending, co_await view_.TransactionCount(key_.address(), true, by));
  const uint64_t floor = std::max(floor_.load(), pending);
  floor_ = floor;
  PTG_CO_TRY(const chain::SignedEvmTransaction parsed, chain::ParseTransaction(old.raw));
  const std::string id = NewIdText("tx", loop_.clock(), rng_);
  const UnixMs now = loop_.clock().Now();
  const auto body = [&](db::Tx& tx) {
    return ReplaceTransaction(tx, signer_, key_, parsed.tx, old.id, id, old.key, floor, now);
  };
  Result<chain::SignedEvmTransaction> made =
      co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout));
  if (!made) {
    if (made.error().code() != Code::kConflict) co_return Fail(std::move(made).error());
    co_return {};
  }
  Log(LogLevel::kWarn, "settle.nonce_healed",
      {{"chain", signer_.chain},
       {"signer", signer_.address},
       {"used", static_cast<int64_t>(old.nonce)},
       {"nonce", static_cast<int64_t>(made->tx.nonce)},
       {"transaction", codec::Hex0x(made->hash)}});
  std::vector<std::shared_ptr<Waiter>> waiters;
  if (const auto again = open_.find(hash); again != open_.end()) {
    waiters = std::move(again->second.waiters);
    open_.erase(again);
  }
  Outgoing fresh;
  fresh.id = id;
  fresh.nonce = made->tx.nonce;
  fresh.hash = made->hash;
  fresh.raw = made->raw;
  fresh.key = old.key;
  for (const std::shared_ptr<Waiter>& waiter : waiters) waiter->hash = fresh.hash;
  const crypto::Hash32 now_hash = fresh.hash;
  Adopt(std::move(fresh), nullptr);
  if (const auto in = open_.find(now_hash); in != open_.end()) in->second.waiters = waiters;
  co_return {};
}

// What the chain says of the key: the count that nonces start from, and the transactions that were
// stored and not seen mined, which are sent again.
Task<> Submitter::Begin() {
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  PTG_CO_TRY(const uint64_t pending, co_await view_.TransactionCount(key_.address(), true, by));
  const UnixMs now = loop_.clock().Now();
  const auto mend = [&](db::Tx& tx) -> Result<bool> {
    PTG_RUN(PrunePending(tx, now - kRemember));
    return MendNonce(tx, signer_, pending, now);
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
       {"open", open_.size()}});
  ready_ = true;
  work_.Set();
  co_return {};
}

Task<> Submitter::AdoptStored(UnixMs before) {
  const auto body = [&](db::Tx& tx) { return OpenTransactions(tx, signer_, before); };
  PTG_CO_TRY(std::vector<Outgoing> stored,
             co_await database_.Read(body, Deadline::In(loop_.clock(), kStoreTimeout)));
  for (Outgoing& tx : stored) Adopt(std::move(tx), nullptr);
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

Task<> Submitter::Watch() {
  uint64_t seen_block = 0;
  SteadyMs checked_at;
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
    if (open_.empty()) {
      watched_.Clear();
      const Result<> woken = co_await watched_.Wait(Deadline::In(loop_.clock(), Millis(1'000)));
      if (!woken || stopping_) continue;
    }
    PTG_CO_RUN(co_await Sleep(Pace()));
    if (stopping_ || open_.empty()) continue;
    const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
    const Result<chain::EvmBlock> block = co_await view_.Block(std::nullopt, by);
    const SteadyMs then = loop_.clock().Steady();
    // Receipts are asked for when there is a new block, and now and then in case that two nodes
    // behind one name do not agree.
    if (!block || (block->number == seen_block && then - checked_at < Millis(2'000))) continue;
    const Result<> checked = co_await CheckReceipts(block->number);
    if (checked) {
      seen_block = block->number;
      checked_at = then;
    }
  }
  if (--running_ == 0) stopped_.Set();
  co_return {};
}

Task<> Submitter::CheckReceipts(uint64_t block) {
  std::vector<crypto::Hash32> hashes;
  for (const auto& [hash, open] : open_) hashes.push_back(hash);
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  std::vector<crypto::Hash32> asked = hashes;
  PTG_CO_TRY(const std::vector<std::optional<chain::EvmReceipt>> receipts,
             co_await view_.Receipts(std::move(asked), by));
  struct Mined {
    std::string id;
    uint64_t block;
    bool ok;
  };
  std::vector<Mined> mined;
  for (size_t i = 0; i < hashes.size(); ++i) {
    const auto at = open_.find(hashes[i]);
    if (at == open_.end()) continue;
    if (!receipts[i] || block + 1 < receipts[i]->block + options_.confirmations) {
      // Those that were only watched and for whom nobody waits any more are let go.
      std::erase_if(at->second.waiters, [](const auto& waiter) { return waiter->done; });
      if (at->second.tx.raw.empty() && at->second.waiters.empty()) open_.erase(at);
      continue;
    }
    if (!at->second.tx.id.empty()) {
      mined.push_back({at->second.tx.id, receipts[i]->block, receipts[i]->ok});
    }
    Log(LogLevel::kInfo, "settle.mined",
        {{"chain", signer_.chain},
         {"transaction", codec::Hex0x(hashes[i])},
         {"nonce", static_cast<int64_t>(at->second.tx.nonce)},
         {"block", static_cast<int64_t>(receipts[i]->block)},
         {"ok", receipts[i]->ok},
         {"gas", static_cast<int64_t>(receipts[i]->gas_used)}});
    const std::vector<std::shared_ptr<Waiter>> waiters = std::move(at->second.waiters);
    open_.erase(at);
    for (const std::shared_ptr<Waiter>& waiter : waiters) waiter->Deliver(receipts[i]);
  }
  if (mined.empty()) co_return {};
  const UnixMs now = loop_.clock().Now();
  const auto body = [&mined, now](db::Tx& tx) -> Result<> {
    for (const Mined& one : mined) PTG_RUN(MarkMined(tx, one.id, one.block, one.ok, now));
    return {};
  };
  const Result<> marked =
      co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout));
  if (!marked) {
    // They stay open in the database; the next look at it finds their receipts again.
    Log(LogLevel::kWarn, "settle.mark_failed",
        {{"chain", signer_.chain}, {"reason", marked.error().detail()}});
  }
  co_return {};
}

}  // namespace pontage::settle
