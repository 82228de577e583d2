#include "settle/submitter.h"

#include <algorithm>
#include <utility>

#include "base/fault.h"
#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "codec/hex.h"
#include "settle/submitter_waiter.h"

namespace pontage::settle {
namespace {

// A fee that is this old may be paid: base fees move by an eighth each block, and the cap is twice
// the base.
constexpr Millis kFeeAge{3'000};
// Who waits behind a node that says nothing hears of it in time.
constexpr Millis kRpcTimeout{5'000};
constexpr Millis kStoreTimeout{10'000};
// How long a payment waits for a signer that is not ready yet, 2 s in all.
constexpr int kReadyTries = 100;
constexpr Millis kReadyPause{20};

}  // namespace

Submitter::Submitter(Loop& loop, chain::EvmView& view, db::Database& database,
                     crypto::PrivateKey key, Rng& rng, SubmitterOptions options)
    : loop_(loop),
      view_(view),
      database_(database),
      key_(std::move(key)),
      rng_(rng),
      options_(options),
      signer_{view.chain().Caip2(), key_.address().ToLower()},
      reorgs_(loop, view, database, signer_,
              ReorgOptions{.look = options.reorg_look,
                           .confirmations = options.confirmations,
                           .metrics = options.metrics},
              [this](Outgoing tx) { Adopt(std::move(tx), true, {}); }) {}

Submitter::~Submitter() = default;

void Submitter::Start() {
  loop_.Post([this] {
    running_ = 4;
    loop_.Spawn(Pack(), "submitter.pack");
    loop_.Spawn(Broadcast(), "submitter.broadcast");
    loop_.Spawn(WatchChain(), "submitter.watch");
    loop_.Spawn(WatchReorgs(), "submitter.reorgs");
  });
}

Task<> Submitter::Stop() {
  stopping_ = true;
  pack_.Set();
  work_.Set();
  watched_.Set();
  reorgs_.Stop();
  if (running_ > 0) PTG_CO_RUN(co_await stopped_.Wait(Deadline::Never()));
  for (const std::shared_ptr<Waiter>& waiter : queue_) {
    waiter->Refuse(Error(Code::kChainUnreachable, "the process is stopping"));
  }
  queue_.clear();
  for (auto& [id, open] : open_) {
    for (const std::shared_ptr<Waiter>& waiter : open.waiters) waiter->Deliver(nullptr);
  }
  open_.clear();
  by_hash_.clear();
  co_return {};
}

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
    CountRefusal("gas_cap");
    co_return Fail(Code::kOverloaded, "the transfer needs more gas than we pay for");
  }
  const auto waiter = std::make_shared<Waiter>(std::move(job), by);
  loop_.Post([this, waiter] { Enqueue(waiter); });
  co_return co_await waiter->answer;
}

void Submitter::Enqueue(std::shared_ptr<Waiter> waiter) {
  if (stopping_ || queue_.size() >= kMaxQueue || waiter->by.Passed(loop_.clock())) {
    waiter->Refuse(stopping_ ? Error(Code::kChainUnreachable, "the process is stopping")
                             : Error(Code::kOverloaded, "too many payments wait to be settled"));
    return;
  }
  loop_.Watch(*waiter, waiter->by);
  waiter->since = loop_.clock().Steady();
  queue_.push_back(std::move(waiter));
  load_ = queue_.size() + open_.size();
  pack_.Set();
}

size_t Submitter::InFlight() const {
  const auto ours = [](const auto& entry) { return entry.second.ours; };
  return static_cast<size_t>(std::ranges::count_if(open_, ours));
}

// What open transactions are about to take out of whose purse.
std::map<Purse, codec::Uint256> Submitter::UnderWay() const {
  std::map<Purse, codec::Uint256> sums;
  for (const auto& [id, open] : open_) {
    for (const auto& [purse, value] : open.moves) {
      codec::Uint256& sum = sums[purse];
      sum = Add(sum, value).value_or(codec::Uint256::Max());
    }
  }
  return sums;
}

// What leaves the queue now, each group as one transaction.
std::vector<Submitter::Waiters> Submitter::NextGroups() {
  std::vector<Waiters> groups;
  if (!ready_ || queue_.empty()) return groups;
  std::vector<const SettleJob*> all;
  for (const std::shared_ptr<Waiter>& waiter : queue_) all.push_back(&waiter->job);
  const std::vector<size_t> places = Affordable(all, UnderWay());
  // What was seen of the payers of the others is old when their turn comes.
  for (size_t i = 0, next = 0; i < queue_.size(); ++i) {
    const bool goes = next < places.size() && places[next] == i;
    if (goes) ++next;
    if (!goes) queue_[i]->job.unproven = true;
  }
  if (places.empty()) return groups;
  std::vector<const SettleJob*> jobs;
  for (const size_t place : places) jobs.push_back(all[place]);
  QueueLimits limits = options_.queue;
  if (!batching_) limits.batch = 1;
  const size_t in_flight = InFlight();
  const Millis waited = loop_.clock().Steady() - queue_[places.front()]->since;
  if (!WaitForMore(jobs, limits, in_flight, waited)) {
    for (std::vector<size_t> group : PlanGroups(jobs, limits, in_flight)) {
      for (size_t& place : group) place = places[place];
      groups.push_back(TakeOut(group));
    }
  } else if (!gathering_) {
    gathering_ = true;
    ++running_;
    loop_.Spawn(EndGather(limits.gather - waited), "submitter.gather");
  }
  return groups;
}

// Turns what waits into transactions. One round at a time: what comes meanwhile is the next one's.
Task<> Submitter::Pack() {
  while (!stopping_) {
    pack_.Clear();
    std::erase_if(queue_, [](const auto& w) { return w->state == Waiter::State::kDone; });
    std::vector<Waiters> groups = NextGroups();
    if (groups.empty()) {
      (void)co_await pack_.Wait(Deadline::In(loop_.clock(), Millis(1'000)));
      continue;
    }
    std::erase_if(queue_, [](const auto& w) { return w == nullptr; });
    packing_ = groups.size();
    packed_.Clear();
    for (Waiters& group : groups) loop_.Spawn(SendGroup(std::move(group)), "submitter.send");
    PTG_CO_RUN(co_await packed_.Wait(Deadline::Never()));
    load_ = queue_.size() + open_.size();
  }
  if (--running_ == 0) stopped_.Set();
  co_return {};
}

// Deadlines are looked at too rarely for this: a timer of its own.
Task<> Submitter::EndGather(Millis in) {
  (void)co_await Sleep(in);
  gathering_ = false;
  pack_.Set();
  if (--running_ == 0) stopped_.Set();
  co_return {};
}

// Leaves holes in the queue, so that the places of the other groups stay right.
Submitter::Waiters Submitter::TakeOut(const std::vector<size_t>& group) {
  Waiters out;
  for (const size_t i : group) out.push_back(std::move(queue_[i]));
  return out;
}

Task<> Submitter::SendGroup(Waiters group) {
  const Result<> done = co_await Store(group);
  // Who was stored has his answer coming; the others hear why not.
  for (const std::shared_ptr<Waiter>& waiter : group) {
    if (!done && waiter->state != Waiter::State::kStored) waiter->Refuse(done.error());
  }
  if (--packing_ == 0) packed_.Set();
  co_return {};
}

// Simulates, prices, signs and stores one transaction for `group` and hands it on. Who gave up
// meanwhile is left out; who fails in the simulation is refused and left out.
Task<> Submitter::Store(Waiters& group) {
  const auto drop_done = [&group] {
    std::erase_if(group, [](const auto& w) { return w->state == Waiter::State::kDone; });
  };
  if (group.size() > 1 || group[0]->job.unproven) PTG_CO_RUN(co_await Simulate(group));
  drop_done();
  if (group.empty()) co_return {};
  PTG_CO_TRY(const GasPrice price, co_await Price());
  drop_done();
  if (group.empty()) co_return {};
  Unsigned wanted;
  wanted.id = NewIdText("tx", loop_.clock(), rng_);
  wanted.fees.chain_id = view_.chain().number();
  wanted.fees.max_fee_per_gas = price.most;
  wanted.fees.max_priority_fee_per_gas = price.tip;
  for (const std::shared_ptr<Waiter>& waiter : group) {
    // From here on nobody may leave: what is stored is sent.
    waiter->state = Waiter::State::kStoring;
    waiter->Unlink();
    wanted.jobs.push_back(&waiter->job);
  }
  const SigningRules rules = Rules();
  const UnixMs now = loop_.clock().Now();
  const auto body = [&](db::Tx& tx) {
    return StoreTransaction(tx, signer_, key_, wanted, rules, now);
  };
  PTG_KILL_POINT("tx_unsigned");
  const Result<Stored> stored =
      co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout));
  PTG_KILL_POINT("tx_stored");
  if (!stored) {
    if (stored.error().code() == Code::kOverloaded) {
      Log(LogLevel::kError, "settle.gas_budget_spent",
          {{"chain", signer_.chain}, {"signer", signer_.address}});
      CountRefusal("gas_per_hour");
    }
    co_return Fail(stored.error());
  }
  StoredAs(*stored, group);
  co_return {};
}

void Submitter::StoredAs(const Stored& stored, const Waiters& group) {
  for (const size_t i : stored.refused) {
    group[i]->Refuse(Error(Code::kConflict, "the payment is being settled already"));
  }
  if (!stored.made) return;
  Waiters waiters;
  Moves moves;
  for (const size_t i : stored.claimed) {
    const std::shared_ptr<Waiter>& waiter = group[i];
    moves.emplace_back(PurseOf(waiter->job), waiter->job.value);
    waiter->state = Waiter::State::kStored;
    waiter->hash = stored.made->versions.back().hash;
    waiter->batch = stored.made->batch;
    if (stopping_ || waiter->by.Passed(loop_.clock())) {
      waiter->Deliver(nullptr);
      continue;
    }
    loop_.Watch(*waiter, waiter->by);
    waiters.push_back(waiter);
  }
  Adopt(*stored.made, true, std::move(waiters), std::move(moves));
}

// Runs the batch where nothing changes. Each payment was good by itself; beside the others one may
// not be: they may share a balance, or the chain has moved on since.
Task<> Submitter::Simulate(Waiters& group) {
  std::vector<const SettleJob*> jobs;
  for (const std::shared_ptr<Waiter>& waiter : group) jobs.push_back(&waiter->job);
  std::vector<chain::Call> calls;
  calls.push_back(SimulationOf(jobs));
  PTG_CO_TRY(const std::vector<chain::CallResult> answers,
             co_await view_.Calls(std::move(calls), Deadline::In(loop_.clock(), kRpcTimeout)));
  const std::vector<bool> good = Simulated(answers[0], group.size());
  for (size_t i = 0; i < group.size(); ++i) {
    if (good[i]) continue;
    Log(LogLevel::kInfo, "settle.split_off",
        {{"chain", signer_.chain}, {"payments", group.size()}});
    group[i]->Refuse(Error(Code::kPaymentSimulation, "the transfer would fail beside the others"));
  }
  co_return {};
}

SigningRules Submitter::Rules() const {
  SigningRules rules;
  rules.gas_cap = options_.gas_cap;
  rules.floor = floor_;
  rules.gwei_per_hour = options_.gwei_per_hour;
  return rules;
}

void Submitter::CountRefusal(std::string_view why) const {
  if (options_.metrics == nullptr) return;
  options_.metrics
      ->CounterOf("pontage_gas_refusals_total", "Settlements refused by a bound on gas.",
                  {{"network", signer_.chain}, {"bound", why}})
      .Add();
}

Task<chain::EvmFees> Submitter::Market() {
  const SteadyMs now = loop_.clock().Steady();
  if (market_at_.ms() != INT64_MIN && now - market_at_ < kFeeAge) co_return market_;
  PTG_CO_TRY(const chain::EvmFees fees,
             co_await view_.Fees(Deadline::In(loop_.clock(), kRpcTimeout)));
  market_ = Believed(fees);
  market_at_ = loop_.clock().Steady();
  co_return market_;
}

// The most that is paid for a unit of gas, and the tip in it.
Task<GasPrice> Submitter::Price() {
  PTG_CO_TRY(const chain::EvmFees market, co_await Market());
  const Result<GasPrice> price = FirstPrice(market, options_.max_fee_per_gas);
  if (!price && price.error().code() == Code::kOverloaded) {
    Log(LogLevel::kError, "settle.gas_too_dear",
        {{"chain", signer_.chain}, {"wei", market.base_fee.ToDecimal()}});
    CountRefusal("max_fee_per_gas");
    co_return Fail(Code::kOverloaded, "gas on " + signer_.chain + " costs more than we pay");
  }
  co_return price;
}

Task<Submitter::Sent> Submitter::Watch(Outgoing tx, crypto::Hash32 hash, Deadline by) {
  const auto waiter = std::make_shared<Waiter>(Job{}, by);
  waiter->state = Waiter::State::kStored;
  waiter->hash = hash;
  waiter->batch = tx.batch;
  loop_.Post([this, waiter, watched = std::move(tx)]() mutable {
    if (stopping_ || waiter->by.Passed(loop_.clock())) return waiter->Deliver(nullptr);
    loop_.Watch(*waiter, waiter->by);
    look_now_ = true;
    Adopt(std::move(watched), false, {waiter});
  });
  co_return co_await waiter->answer;
}

// Takes a transaction under watch; with `ours` it is also sent until it is mined. What is known of
// it already stays, and what `tx` adds is added.
void Submitter::Adopt(Outgoing tx, bool ours, Waiters waiters, Moves moves) {
  if (stopping_) {
    for (const std::shared_ptr<Waiter>& waiter : waiters) waiter->Deliver(nullptr);
    return;
  }
  std::string id = tx.id;
  if (id.empty()) {
    // All that is known is a hash, perhaps of one that we have whole.
    const crypto::Hash32 hash = tx.versions.back().hash;
    const auto known = by_hash_.find(hash);
    id = known != by_hash_.end() ? known->second : codec::Hex0x(hash);
  }
  Open& open = open_[id];
  for (const Version& version : tx.versions) {
    // What was watched by its hash alone is known by its id now.
    const auto known = by_hash_.find(version.hash);
    if (known != by_hash_.end() && known->second != id) {
      std::ranges::move(open_[known->second].waiters, std::back_inserter(waiters));
      open_.erase(known->second);
    }
    by_hash_[version.hash] = id;
  }
  const bool newer = open.tx.versions.size() < tx.versions.size();
  std::vector<Version> others =
      newer ? std::exchange(open.tx, std::move(tx)).versions : std::move(tx.versions);
  // Every hash that leads here is one of its versions, the newest last, whoever knew of which.
  for (Version& other : others) {
    std::vector<Version>& all = open.tx.versions;
    if (std::ranges::find(all, other.hash, &Version::hash) == all.end()) {
      all.insert(all.begin(), std::move(other));
    }
  }
  if (newer) {
    open.broadcast = false;
    open.underpriced = false;
  }
  open.ours = open.ours || ours;
  if (!moves.empty()) open.moves = std::move(moves);
  std::erase_if(open.waiters, [](const auto& w) { return w->state == Waiter::State::kDone; });
  std::ranges::move(waiters, std::back_inserter(open.waiters));
  if (open.ours && !open.broadcast) work_.Set();
  last_sent_ = loop_.clock().Steady();
  load_ = queue_.size() + open_.size();
  watched_.Set();
}

}  // namespace pontage::settle
