#include "sales/reconcile.h"

#include <algorithm>
#include <ranges>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "io/fork.h"
#include "io/timer.h"
#include "sales/inbox.h"
#include "sales/lease.h"
#include "sales/setup.h"

namespace pontage::sales {
namespace {

constexpr Millis kStoreTimeout{10'000};
constexpr Millis kLookTimeout{45'000};  // a look asks some six times
// Nobody has to wait long for a run that a crash has ended.
constexpr LeaseTerms kRoundLease{.lease = Millis(30'000), .every = Millis(10'000)};
constexpr Millis kTick{15'000};
constexpr Millis kHour{3'600'000};
constexpr Millis kDay{86'400'000};
// What is on its way to an endpoint for less than this is no drift.
constexpr Millis kOnItsWay{60'000};
// Stripe's lists lag behind its clock.
constexpr Millis kMargin = kHour;
constexpr Millis kKeepDrift = kDay * 90;
// So long somebody may ask what Stripe said; then its words, which name people, go.
constexpr Millis kKeepEvents = kDay * 90;
constexpr int64_t kForgetAtOnce = 500;
constexpr int kMostForgets = 100;  // in one run
constexpr Millis kAskPricesAgain{60'000};
constexpr Millis kBusy{300};
constexpr int kBusyTries = 20;
constexpr int kMostFailures = 3;
constexpr size_t kPage = 200;

// Whether Stripe itself is what failed, and not one object of it.
bool IsOutage(const Error& error) {
  switch (error.code()) {
    case Code::kUpstreamUnreachable:
    case Code::kUpstreamTimeout:
    case Code::kTimeout:
    case Code::kRateLimited:
    case Code::kConnection:
      return true;
    default:
      return false;
  }
}

bool IsRefusedKey(const Error& error) {
  return error.code() == Code::kUnauthorized || error.code() == Code::kForbidden;
}

std::string DescriptionOf(DriftClass kind, const Picture& before, const Picture& after) {
  switch (kind) {
    case DriftClass::kPurchaseUnknown:
      return after.status + (after.plan.empty() ? ", of no plan" : ", plan " + after.plan);
    case DriftClass::kLicenseMissing:
      return "plan " + after.plan;
    case DriftClass::kLicenseOrphan:
      return "its purchase was not in our books";
    case DriftClass::kRefundMissed:
      return "revoked";
    default:
      break;
  }
  if (before.status != after.status) return before.status + " here, " + after.status + " there";
  if (before.plan != after.plan) return "plan " + before.plan + " here, " + after.plan + " there";
  if (before.paid_through != after.paid_through) {
    return "paid through " + before.paid_through.Rfc3339() + " here, " +
           after.paid_through.Rfc3339() + " there";
  }
  return "its license or its dates";
}

}  // namespace

Reconciler::Reconciler(Parts parts)
    : parts_(parts),
      mispriced_(parts.metrics.GaugeOf(
          "pontage_prices_differ", "Plans whose price at Stripe is another one, or missing.")) {}

Deadline Reconciler::StoreBy() const { return Deadline::In(parts_.clock, kStoreTimeout); }
Deadline Reconciler::StripeBy() const { return Deadline::In(parts_.clock, kLookTimeout); }

Task<LoopReport> Reconciler::RunLoop(LoopKind loop) {
  Run run;
  run.report.loop = loop;
  run.report.began = parts_.clock.Now();
  Result<> done;
  switch (loop) {
    case LoopKind::kEvents:
      done = co_await RunEvents(run);
      break;
    case LoopKind::kRows:
      done = co_await RunRows(run);
      break;
    case LoopKind::kWalk:
      done = co_await RunWalk(run);
      break;
  }
  LoopReport& report = run.report;
  if (!done && done.error().code() == Code::kStore) co_return Fail(done.error());
  if (!done) report.fault = done.error();
  report.ended = parts_.clock.Now();
  const UnixMs forget = report.ended - kKeepDrift;
  const auto write = [&report, forget](db::Tx& tx) -> Result<int64_t> {
    PTG_RUN(ForgetDrift(tx, forget));
    return EndLoop(tx, report);
  };
  PTG_CO_TRY(const int64_t drifted, co_await parts_.database.Write(write, StoreBy()));
  Tell(report, drifted);
  PTG_CO_RUN(co_await ForgetOldEvents());
  co_return std::move(report);
}

Task<> Reconciler::ForgetOldEvents() {
  const UnixMs before = parts_.clock.Now() - kKeepEvents;
  const auto forget = [before](db::Tx& tx) { return ForgetEvents(tx, before, kForgetAtOnce); };
  for (int i = 0; i < kMostForgets; ++i) {
    PTG_CO_TRY(const int64_t gone, co_await parts_.database.Write(forget, StoreBy()));
    if (gone < kForgetAtOnce) break;
  }
  co_return {};
}

void Reconciler::Tell(const LoopReport& report, int64_t drifted) {
  const std::string_view loop = ToString(report.loop);
  for (const Drift& one : report.drift) {
    Log(LogLevel::kWarn, "sales.drift",
        {{"loop", loop},
         {"class", ToString(one.kind)},
         {"what", one.what},
         {"detail", one.detail},
         {"healed", one.healed}});
  }
  for (size_t i = 0; i < report.counts.size(); ++i) {
    parts_.metrics
        .CounterOf("pontage_reconcile_drift_total", "Where our books and Stripe's differed.",
                   {{"class", ToString(static_cast<DriftClass>(i))}})
        .Add(static_cast<uint64_t>(report.counts.at(i)));
  }
  const std::string_view outcome =
      report.fault ? "failed" : (report.total() > 0 ? "drift" : "clean");
  parts_.metrics
      .CounterOf("pontage_reconcile_runs_total", "Comparisons of our books with Stripe's.",
                 {{"loop", loop}, {"outcome", outcome}})
      .Add();
  if (report.fault) {
    Log(LogLevel::kWarn, "sales.reconcile_failed",
        {{"loop", loop}, {"detail", report.fault->detail()}});
  }
  if (report.total() > 0 && drifted >= kAlarmAfter) {
    Log(LogLevel::kError, "sales.drift_again", {{"loop", loop}, {"times", drifted}});
  }
  Log(LogLevel::kInfo, "sales.reconciled",
      {{"loop", loop},
       {"looked_at", report.looked_at},
       {"drift", report.total()},
       {"healed", report.healed},
       {"ms", report.ended - report.began}});
}

Task<> Reconciler::Follow(LoopKind loop) {
  obs::Gauge& alarm = parts_.metrics.GaugeOf(
      "pontage_reconcile_alarm", "1: the last two comparisons have both found something.",
      {{"loop", ToString(loop)}});
  // What was never delivered to a house that was closed is asked for as soon as it opens.
  bool at_once = loop == LoopKind::kEvents;
  const UnixMs first = parts_.clock.Now() + EveryOf(loop);
  while (!stopped_) {
    const std::string owner = NewIdText("rec", parts_.clock, parts_.rng);
    const UnixMs now = parts_.clock.Now();
    const UnixMs due = at_once ? std::max(first, now + EveryOf(loop)) : now;
    const LoopTerms terms{.now = now, .due = due, .first = first, .lease = kRoundLease.lease};
    const auto begin = [loop, owner, terms](db::Tx& tx) {
      return BeginLoop(tx, loop, owner, terms);
    };
    // Before it is leased: a stop may come while the store is asked.
    held_[loop] = owner;
    const Result<bool> ours = co_await parts_.database.Write(begin, StoreBy());
    at_once = at_once && !ours;
    if (ours && *ours) {
      const Keep keep = [loop, owner](db::Tx& tx, UnixMs until) {
        return KeepLoop(tx, loop, owner, until);
      };
      const Fork keeping(KeepLease(parts_.database, parts_.clock, kRoundLease, stopped_,
                                   [&keep] { return keep; }));
      const Result<LoopReport> report = co_await RunLoop(loop);
      if (!report) {
        Log(LogLevel::kWarn, "sales.reconcile_failed",
            {{"loop", ToString(loop)}, {"detail", report.error().detail()}});
      }
    }
    held_.erase(loop);
    const auto read = [](db::Tx& tx) { return ReadLoops(tx); };
    const Result<std::vector<LoopState>> loops = co_await parts_.database.Read(read, StoreBy());
    for (const LoopState& one : loops.value_or(std::vector<LoopState>())) {
      if (one.loop == loop) alarm.Set(one.drifted >= kAlarmAfter ? 1 : 0);
    }
    PTG_CO_RUN(co_await Sleep(kTick));
  }
  co_return {};
}

Task<> Reconciler::GiveBack() {
  stopped_ = true;
  if (held_.empty()) co_return {};
  const UnixMs now = parts_.clock.Now();
  // A copy: a run may end meanwhile.
  const auto write = [held = held_, now](db::Tx& tx) -> Result<> {
    for (const auto& [loop, owner] : held) PTG_RUN(KeepLoop(tx, loop, owner, now));
    return {};
  };
  co_return co_await parts_.database.Write(write, StoreBy());
}

Task<> Reconciler::TellPrices() {
  while (true) {
    const Result<std::vector<PriceDifference>> differing =
        co_await ComparePrices(parts_.stripe, parts_.shop, StripeBy());
    if (!differing) {
      Log(LogLevel::kWarn, "sales.prices_unknown", {{"detail", differing.error().detail()}});
      PTG_CO_RUN(co_await Sleep(kAskPricesAgain));
      continue;
    }
    mispriced_.Set(static_cast<int64_t>(differing->size()));
    for (const PriceDifference& one : *differing) {
      Log(LogLevel::kWarn, "sales.price_differs",
          {{"plan", one.plan}, {"ours", one.ours}, {"stripe", one.stripes}});
    }
    co_return {};
  }
}

// ------------------------------------------------------------------------------------- events

Task<> Reconciler::RunEvents(Run& run) {
  const auto read = [](db::Tx& tx) { return ReadWatermark(tx); };
  PTG_CO_TRY(const UnixMs from, co_await parts_.database.Read(read, StoreBy()));
  EventQuery query;
  query.undelivered = true;
  if (from > UnixMs()) query.since = from - kMargin;
  // A list begins with what is newest: down to its end first, then back up from there.
  StripeCursor cursor;
  StripePage<ListedEvent> page;
  do {
    PTG_CO_TRY(page, co_await parts_.stripe.ListEvents(query, cursor, StripeBy()));
    cursor.after = page.oldest;
  } while (page.has_more && !page.oldest.empty());
  UnixMs watermark = from;
  bool held = false;
  while (!page.newest.empty()) {
    cursor = {.after = "", .before = page.newest};
    PTG_CO_RUN(co_await TakeIn(run, std::move(page), watermark, held));
    PTG_CO_TRY(page, co_await parts_.stripe.ListEvents(query, cursor, StripeBy()));
    // What answers for Stripe does not know the parameter.
    if (page.newest == cursor.before) co_return {};
  }
  co_return {};
}

// Newest first on the page, oldest first into the inbox. From the first one on that is left alone
// (`held`), the watermark stays.
Task<> Reconciler::TakeIn(Run& run, StripePage<ListedEvent> page, UnixMs& watermark, bool& held) {
  run.report.looked_at += static_cast<int64_t>(page.items.size());
  const UnixMs now = parts_.clock.Now();
  std::vector<const ListedEvent*> taken;
  for (const ListedEvent& one : page.items | std::views::reverse) {
    const Millis age = now - one.event.created;
    const bool on_its_way = one.event.pending > 0 && age >= Millis(0) && age < kOnItsWay;
    if (on_its_way) held = true;
    if (on_its_way) continue;
    if (!held) watermark = std::max(watermark, one.event.created);
    if (IsOfUse(one.event.type)) taken.push_back(&one);
  }
  std::vector<const ListedEvent*> fresh;
  const auto store = [&](db::Tx& tx) -> Result<> {
    fresh.clear();
    for (const ListedEvent* one : taken) {
      PTG_TRY(const bool added, StoreEvent(tx, one->event, one->payload, "list", now));
      if (added) fresh.push_back(one);
    }
    return SetWatermark(tx, watermark);
  };
  PTG_CO_RUN(co_await parts_.database.Write(store, StoreBy()));
  for (const ListedEvent* one : fresh) {
    run.report.Add({.kind = DriftClass::kEventMissed,
                    .what = one->event.once_key().str(),
                    .detail = one->event.type + " of " + one->event.object_id,
                    .healed = true});
  }
  co_return {};
}

// --------------------------------------------------------------------------------------- rows

Task<> Reconciler::RunRows(Run& run) {
  std::string after;
  while (true) {
    const UnixMs now = parts_.clock.Now();
    const auto read = [after, now](db::Tx& tx) { return DuePurchases(tx, after, now, kPage); };
    PTG_CO_TRY(const std::vector<std::string> ids, co_await parts_.database.Read(read, StoreBy()));
    if (ids.empty()) co_return {};
    for (const std::string& id : ids) PTG_CO_RUN(co_await LookAgain(run, id));
    after = ids.back();
  }
}

Task<Picture> Reconciler::PictureNow(std::string purchase) {
  const UnixMs now = parts_.clock.Now();
  const auto read = [purchase, now](db::Tx& tx) { return PictureOf(tx, purchase, now); };
  co_return co_await parts_.database.Read(read, StoreBy());
}

Task<> Reconciler::LookAgain(Run& run, std::string purchase) {
  ++run.report.looked_at;
  PTG_CO_TRY(const Picture before, co_await PictureNow(purchase));
  Result<Fulfilled> done = co_await parts_.worker.Look(purchase, std::nullopt, StripeBy());
  // Somebody else is at it, and does the same.
  for (int i = 0; i < kBusyTries && !done && done.error().code() == Code::kConflict; ++i) {
    PTG_CO_RUN(co_await Sleep(kBusy));
    done = co_await parts_.worker.Look(purchase, std::nullopt, StripeBy());
  }
  if (!done) co_return co_await CouldNotLook(run, std::move(purchase), done.error());
  run.failures = 0;
  PTG_CO_TRY(const Picture after, co_await PictureNow(purchase));
  const std::optional<DriftClass> kind = DifferenceOf(before, after);
  if (!kind) co_return {};
  run.report.Add({.kind = *kind,
                  .what = purchase,
                  .detail = DescriptionOf(*kind, before, after),
                  .healed = true});
  co_return {};
}

// Nothing was changed. One object that cannot be had does not keep us from the others.
Task<> Reconciler::CouldNotLook(Run& run, std::string purchase, Error why) {
  if (why.code() == Code::kConflict) co_return {};
  if (why.code() == Code::kNotFound) {
    PTG_CO_TRY(const Picture picture, co_await PictureNow(purchase));
    run.report.Add({.kind = picture.known || picture.licenses.empty()
                                ? DriftClass::kPurchaseNotAtStripe
                                : DriftClass::kLicenseOrphan,
                    .what = std::move(purchase),
                    .detail = "Stripe does not know it; nothing was changed",
                    .healed = false});
    co_return {};
  }
  if (!IsOutage(why) && !IsRefusedKey(why) && why.code() != Code::kStore) {
    run.report.Add({.kind = DriftClass::kUnreadable,
                    .what = std::move(purchase),
                    .detail = why.detail(),
                    .healed = false});
    co_return {};
  }
  if (IsRefusedKey(why) || why.code() == Code::kStore || ++run.failures >= kMostFailures) {
    co_return Fail(std::move(why));
  }
  if (!run.report.fault) run.report.fault = std::move(why);
  co_return {};
}

}  // namespace pontage::sales
