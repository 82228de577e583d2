#include <algorithm>
#include <utility>

#include "base/fault.h"
#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "chain/evm_calls.h"
#include "chain/evm_transaction.h"
#include "codec/hex.h"
#include "settle/submitter.h"
#include "settle/submitter_waiter.h"

// The submitter's way from a stored transaction to a mined one: handing it to the nodes, raising
// its fees, mending nonces.
namespace pontage::settle {
namespace {

constexpr Millis kRpcTimeout{10'000};
constexpr Millis kStoreTimeout{10'000};
// One JSON-RPC batch.
constexpr size_t kBatch = 100;
constexpr Millis kTendEvery{1'000};
constexpr Millis kLagOfNodes{60'000};
// How often the receipts of a stale transaction are asked for, and are not there, before another
// is made in its place: a wrong guess costs the gas of a transaction that is reverted.
constexpr int kHealLooks = 5;
// The same where what it was to do is done already: then it was hardly somebody else's nonce.
constexpr int kHealLooksIfDone = 60;
// Nonces of a gap that are filled in one go; more come with the next look.
constexpr uint64_t kGapAtOnce = 16;
// Wider than what may be in flight none can come to be; to fill it would cost gas for nothing.
constexpr uint64_t kWidestGap = 1'024;
constexpr uint64_t kTransferGas = 21'000;
// Transactions whose taking is not written down yet: between two looks come some tens.
constexpr size_t kMaxTaken = 1'000;

// Whether anything the call does may still succeed: an authorization in it runs out later than the
// chain's latest block, or not long before it (the nodes behind one name may lag). What is not ours
// to read is wanted.
bool StillWanted(const chain::EvmTransaction& call, UnixMs chain_time) {
  const UnixMs then = chain_time - kLagOfNodes;
  const codec::Uint256 seconds(static_cast<uint64_t>(std::max<int64_t>(then.seconds(), 0)));
  std::vector<chain::Call> calls;
  if (call.to == chain::Multicall3Address()) {
    Result<std::vector<chain::Call>> inner = chain::ReadAggregate3(call.data);
    if (!inner) return true;
    calls = *std::move(inner);
  } else {
    calls.emplace_back();
    calls.back().data = call.data;
  }
  return std::ranges::any_of(calls, [&seconds](const chain::Call& one) {
    const auto auth = chain::AsTransferWithAuthorization(one.data);
    return !auth || auth->valid_before > seconds;
  });
}

}  // namespace

Task<> Submitter::Broadcast() {
  while (!stopping_) {
    const Result<> woken = co_await work_.Wait(Deadline::In(loop_.clock(), Millis(1'000)));
    if (stopping_) break;
    if (woken) work_.Clear();
    if (!ready_) {
      PTG_CO_RUN(co_await Sleep(Millis(100)));
      continue;
    }
    Result<> done = co_await BroadcastDue();
    if (done && !stopping_) done = co_await Tend();
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

// Ours, by nonce.
std::vector<Submitter::Open*> Submitter::Oldest() {
  std::vector<Open*> ours;
  for (auto& [id, open] : open_) {
    if (open.ours) ours.push_back(&open);
  }
  std::ranges::sort(ours, {}, [](const Open* open) { return open->tx.nonce; });
  return ours;
}

// Hands everything that no node has taken, or that has waited for long, to the nodes by nonce.
Task<> Submitter::BroadcastDue() {
  const SteadyMs now = loop_.clock().Steady();
  std::vector<std::string> ids;
  std::vector<codec::Bytes> raw;
  bool more = false;
  for (const Open* open : Oldest()) {
    // Several looks, perhaps at several nodes.
    const Millis pause = open->stale_since
                             ? std::min(options_.heal / kHealLooks, options_.rebroadcast)
                             : options_.rebroadcast;
    if (open->broadcast && now - open->sent_at < pause) continue;
    more = ids.size() == kBatch;
    if (more) break;
    ids.push_back(open->tx.id);
    raw.push_back(open->tx.versions.back().raw);
  }
  if (ids.empty()) co_return {};
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  PTG_CO_TRY(const std::vector<chain::Sent> sent, co_await view_.Send(std::move(raw), by));
  PTG_KILL_POINT("tx_sent");
  std::vector<std::string> stale;
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto at = open_.find(ids[i]);
    if (at == open_.end()) continue;
    Open& open = at->second;
    open.sent_at = loop_.clock().Steady();
    last_sent_ = open.sent_at;
    open.underpriced = sent[i] == chain::Sent::kUnderpriced;
    open.unfunded = sent[i] == chain::Sent::kNoFunds;
    if (sent[i] == chain::Sent::kNonceTooLow) {
      stale.push_back(ids[i]);
      continue;
    }
    if (sent[i] == chain::Sent::kNoFunds) {
      Log(LogLevel::kError, "settle.signer_has_no_funds",
          {{"chain", signer_.chain}, {"signer", signer_.address}});
    }
    open.stale_since.reset();
    open.stale_looks = 0;
    // One that was refused is kept and tried again after the same time as any other.
    const bool first = !open.broadcast && sent[i] == chain::Sent::kAccepted;
    if (first && taken_.size() < kMaxTaken) taken_.push_back(ids[i]);
    open.broadcast = true;
  }
  watched_.Set();
  if (more) work_.Set();
  for (const std::string& id : stale) PTG_CO_RUN(co_await Heal(id));
  // A chain that makes a block for each transaction has it now.
  if (taken_.empty() || stopping_) co_return {};
  look_again_ = true;
  if (!looking_) {
    ++running_;
    loop_.Spawn(LookOnce(), "submitter.look");
  }
  co_return {};
}

// That a node took them is for people to read: written when a look has not found them mined, so
// that a chain which mines at once costs no write for it. What is lost is not written again.
Task<> Submitter::WriteTaken() {
  std::vector<std::string> taken = std::exchange(taken_, {});
  std::erase_if(taken, [this](const std::string& id) { return !open_.contains(id); });
  if (taken.empty()) co_return {};
  const UnixMs at = loop_.clock().Now();
  const auto body = [&taken, at](db::Tx& tx) -> Result<> {
    for (const std::string& id : taken) PTG_RUN(MarkBroadcast(tx, id, at));
    return {};
  };
  co_return co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout));
}

// The lowest nonce that no transaction of the key has, mined or waiting. A figure far above what is
// mined is no count: with it for a floor the key could sign nothing that is ever mined.
Task<uint64_t> Submitter::NextFree(Deadline by) {
  PTG_CO_TRY(const uint64_t mined, co_await view_.TransactionCount(key_.address(), false, by));
  PTG_CO_TRY(const uint64_t pending, co_await view_.TransactionCount(key_.address(), true, by));
  if (pending <= mined || pending - mined <= kWidestGap) co_return pending;
  Log(LogLevel::kError, "settle.nonce_implausible",
      {{"chain", signer_.chain},
       {"signer", signer_.address},
       {"mined", static_cast<int64_t>(mined)},
       {"pending", static_cast<int64_t>(pending)}});
  co_return Fail(Code::kChainUnreachable, "a node counts more transactions than there can be");
}

// Whether any payment of the call would go through now.
Task<bool> Submitter::StillMoves(chain::EvmTransaction tx, Deadline by) {
  if (!tx.to) co_return true;
  std::vector<chain::Call> calls(1);
  calls[0].target = *tx.to;
  calls[0].data = tx.data;
  PTG_CO_TRY(const std::vector<chain::CallResult> results,
             co_await view_.Calls(std::move(calls), by));
  size_t members = 1;
  if (tx.to == chain::Multicall3Address()) {
    PTG_CO_TRY(const std::vector<chain::Call> inner, chain::ReadAggregate3(tx.data));
    members = inner.size();
  }
  co_return std::ranges::count(Simulated(results[0], members), true) > 0;
}

// The node says that the nonce of this transaction was used. Either by one of its versions: then
// that one's receipt comes. Or by another transaction, which somebody else made with our key: then
// this one can never be mined, and the same call is signed again with a nonce that is free.
Task<> Submitter::Heal(std::string id) {
  const auto at = open_.find(id);
  if (at == open_.end()) co_return {};
  at->second.broadcast = true;
  if (!at->second.stale_since) at->second.stale_since = loop_.clock().Steady();
  const Outgoing old = at->second.tx;
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  std::vector<crypto::Hash32> hashes;
  for (const Version& version : old.versions) hashes.push_back(version.hash);
  PTG_CO_TRY(const auto receipts, co_await view_.Receipts(std::move(hashes), by));
  if (std::ranges::any_of(receipts, [](const auto& r) { return r.has_value(); })) co_return {};
  PTG_CO_TRY(const uint64_t latest, co_await view_.TransactionCount(key_.address(), false, by));
  if (latest <= old.nonce) co_return {};
  const auto still = open_.find(id);
  if (still == open_.end() || !still->second.stale_since) co_return {};
  // One look may have been at a node that is blocks behind.
  const int looks = ++still->second.stale_looks;
  const Millis stale = loop_.clock().Steady() - *still->second.stale_since;
  if (looks < kHealLooks || stale < options_.heal) co_return {};
  // The first version is what the payments asked for, whatever became of it later.
  PTG_CO_TRY(const chain::SignedEvmTransaction parsed,
             chain::ParseTransaction(old.versions.front().raw));
  PTG_CO_TRY(const bool moves, co_await StillMoves(parsed.tx, by));
  if (!moves && looks < kHealLooksIfDone) co_return {};
  PTG_CO_TRY(const uint64_t pending, co_await NextFree(by));
  floor_ = std::max(floor_, pending);
  const std::string new_id = NewIdText("tx", loop_.clock(), rng_);
  const UnixMs now = loop_.clock().Now();
  const SigningRules rules = Rules();
  const auto body = [&](db::Tx& tx) {
    return ReplaceTransaction(tx, signer_, key_, parsed.tx, old, new_id, rules, now);
  };
  Result<std::optional<Outgoing>> made =
      co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout));
  if (!made && made.error().code() == Code::kOverloaded) {
    CountRefusal("gas_per_hour");
    co_return {};
  }
  if (!made && made.error().code() != Code::kConflict) co_return Fail(std::move(made).error());
  // Replaced or raised by another node: what is open is found again in the database.
  Waiters waiters;
  Moves purses;
  if (const auto again = open_.find(id); again != open_.end()) {
    waiters = std::move(again->second.waiters);
    purses = std::move(again->second.moves);
    for (const Version& version : again->second.tx.versions) by_hash_.erase(version.hash);
    open_.erase(again);
  }
  if (!made || !*made) {
    for (const std::shared_ptr<Waiter>& waiter : waiters) waiter->Deliver(nullptr);
    co_return {};
  }
  Outgoing fresh = **std::move(made);
  Log(LogLevel::kWarn, "settle.nonce_healed",
      {{"chain", signer_.chain},
       {"signer", signer_.address},
       {"used", static_cast<int64_t>(old.nonce)},
       {"nonce", static_cast<int64_t>(fresh.nonce)},
       {"transaction", codec::Hex0x(fresh.versions.back().hash)}});
  for (const std::shared_ptr<Waiter>& waiter : waiters) {
    waiter->hash = fresh.versions.back().hash;
  }
  Adopt(std::move(fresh), true, std::move(waiters), std::move(purses));
  co_return {};
}

// Looks after those that wait for too long.
Task<> Submitter::Tend() {
  const SteadyMs now = loop_.clock().Steady();
  if (now - tended_at_ < std::min(kTendEvery, options_.raise)) co_return {};
  tended_at_ = now;
  const UnixMs wall = loop_.clock().Now();
  std::vector<std::string> late;
  std::optional<uint64_t> lowest;
  std::string head;
  for (const Open* open : Oldest()) {
    if (!lowest) {
      lowest = open->tx.nonce;
      head = open->tx.id;
    }
    if (wall - open->tx.signed_at >= options_.raise) late.push_back(open->tx.id);
  }
  if (late.empty()) co_return {};
  PTG_CO_TRY(const chain::EvmFees market, co_await Market());
  for (const std::string& id : late) PTG_CO_RUN(co_await TendOne(id, market, id == head));
  if (late.front() != head || now - gap_asked_at_ < options_.raise) co_return {};
  gap_asked_at_ = now;
  co_return co_await MendGap(*lowest);
}

Task<> Submitter::TendOne(std::string id, chain::EvmFees market, bool head) {
  const auto at = open_.find(id);
  // Whoever cannot pay the price cannot pay a higher one.
  if (at == open_.end() || at->second.unfunded) co_return {};
  const Outgoing old = at->second.tx;
  PTG_CO_TRY(const chain::SignedEvmTransaction last,
             chain::ParseTransaction(old.versions.back().raw));
  Unmined waits;
  const UnixMs now = loop_.clock().Now();
  waits.age = now - old.signed_at;
  waits.versions = old.versions.size();
  waits.head = head;
  waits.underpriced = at->second.underpriced;
  waits.canceled = last.tx.to == key_.address();
  waits.wanted = waits.canceled || StillWanted(last.tx, chain_time_);
  waits.price = {last.tx.max_fee_per_gas, last.tx.max_priority_fee_per_gas};
  const Step step = NextStep(waits, market, options_.raise);
  if (step == Step::kWait) co_return {};
  const std::optional<GasPrice> price = RaisedPrice(waits.price, market, options_.max_fee_per_gas);
  if (!price) {
    Log(LogLevel::kError, "settle.fees_at_cap",
        {{"chain", signer_.chain}, {"transaction", codec::Hex0x(last.hash)}});
    // Said once for each time that passes without a block.
    at->second.tx.signed_at = now;
    co_return {};
  }
  chain::EvmTransaction call = last.tx;
  call.max_fee_per_gas = price->most;
  call.max_priority_fee_per_gas = price->tip;
  if (step == Step::kCancel) {
    call.to = key_.address();
    call.data.clear();
    call.gas_limit = kTransferGas;
  }
  const SigningRules rules = Rules();
  const auto body = [&](db::Tx& tx) {
    return AddVersion(tx, signer_, key_, call, old, rules, now);
  };
  Result<Outgoing> raised =
      co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout));
  if (!raised) {
    // Raised or closed by another node: its version is found with the next look at the database.
    if (raised.error().code() == Code::kConflict) co_return {};
    co_return Fail(std::move(raised).error());
  }
  const std::string hash = codec::Hex0x(raised->versions.back().hash);
  const std::string wei = price->most.ToDecimal();
  const std::initializer_list<LogField> fields = {{"chain", signer_.chain},
                                                  {"nonce", static_cast<int64_t>(old.nonce)},
                                                  {"transaction", hash},
                                                  {"version", raised->versions.size()},
                                                  {"wei", wei}};
  if (step == Step::kCancel) {
    Log(LogLevel::kWarn, "settle.canceled", fields);
  } else {
    Log(LogLevel::kWarn, "settle.fees_raised", fields);
  }
  Adopt(*std::move(raised), true, {});
  co_return {};
}

// The transactions of these nonces that count as mined and are in no block; nullopt when one of
// them is in a block after all: then the count was said before that block came.
Task<std::optional<std::vector<CountedMined>>> Submitter::GoneOf(uint64_t from, uint64_t to) {
  const auto read = [&](db::Tx& tx) { return MinedBetween(tx, signer_, from, to); };
  PTG_CO_TRY(std::vector<CountedMined> mined,
             co_await database_.Read(read, Deadline::In(loop_.clock(), kStoreTimeout)));
  std::vector<crypto::Hash32> hashes;
  for (const CountedMined& one : mined) {
    for (const Version& version : one.tx.versions) hashes.push_back(version.hash);
  }
  if (hashes.empty()) co_return mined;
  PTG_CO_TRY(const std::vector<std::optional<chain::EvmReceipt>> receipts,
             co_await view_.Receipts(std::move(hashes), Deadline::In(loop_.clock(), kRpcTimeout)));
  const auto there = [](const std::optional<chain::EvmReceipt>& one) { return one.has_value(); };
  if (std::ranges::any_of(receipts, there)) co_return std::nullopt;
  co_return mined;
}

// Between what the chain has of the key and the lowest that waits there may be nonces that nobody
// sends any more: of a transaction that a reorganisation threw out after it was written down as
// mined, or one that the database forgot. The first kind is sent again, the second is filled.
Task<> Submitter::MendGap(uint64_t lowest) {
  const Deadline by = Deadline::In(loop_.clock(), kRpcTimeout);
  PTG_CO_TRY(const uint64_t count, co_await view_.TransactionCount(key_.address(), false, by));
  if (count >= lowest) co_return {};
  if (lowest - count > kWidestGap) {
    // Not one that we left: some node was wrong about the count, and what is signed waits for ever.
    Log(LogLevel::kError, "settle.gap_too_wide",
        {{"chain", signer_.chain},
         {"signer", signer_.address},
         {"mined", static_cast<int64_t>(count)},
         {"lowest", static_cast<int64_t>(lowest)}});
    co_return {};
  }
  const uint64_t to = std::min(lowest, count + kGapAtOnce);
  PTG_CO_TRY(const std::optional<std::vector<CountedMined>> gone, co_await GoneOf(count, to));
  if (!gone) co_return {};
  PTG_CO_TRY(const GasPrice price, co_await Price());
  const UnixMs now = loop_.clock().Now();
  chain::EvmTransaction call;
  call.chain_id = view_.chain().number();
  call.max_fee_per_gas = price.most;
  call.max_priority_fee_per_gas = price.tip;
  call.gas_limit = kTransferGas;
  call.to = key_.address();
  std::vector<std::string> ids;
  const SigningRules rules = Rules();
  for (uint64_t n = count; n < to; ++n) ids.push_back(NewIdText("tx", loop_.clock(), rng_));
  const auto body = [&](db::Tx& tx) -> Result<std::vector<Outgoing>> {
    std::vector<Outgoing> mended;
    for (const CountedMined& one : *gone) {
      PTG_TRY(const bool reopened, Reopen(tx, one, now));
      if (reopened) mended.push_back(one.tx);
    }
    PTG_TRY(const std::vector<Outgoing> open, OpenTransactions(tx, signer_, UnixMs(INT64_MAX)));
    for (uint64_t n = count; n < to; ++n) {
      const auto is = [n](const Outgoing& one) { return one.nonce == n; };
      if (std::ranges::any_of(open, is)) continue;
      chain::EvmTransaction filler = call;
      filler.nonce = n;
      PTG_TRY(Outgoing made, StoreFiller(tx, signer_, key_, filler, ids[n - count], rules, now));
      mended.push_back(std::move(made));
    }
    return mended;
  };
  Result<std::vector<Outgoing>> mended =
      co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout));
  if (!mended) {
    if (mended.error().code() == Code::kConflict) co_return {};  // another node was first
    if (mended.error().code() == Code::kOverloaded) {
      CountRefusal("gas_per_hour");
      co_return {};
    }
    co_return Fail(std::move(mended).error());
  }
  for (Outgoing& one : *mended) {
    Log(LogLevel::kWarn, "settle.gap_filled",
        {{"chain", signer_.chain},
         {"signer", signer_.address},
         {"nonce", static_cast<int64_t>(one.nonce)},
         {"transaction", codec::Hex0x(one.versions.back().hash)}});
    Adopt(std::move(one), true, {});
  }
  co_return {};
}

}  // namespace pontage::settle
