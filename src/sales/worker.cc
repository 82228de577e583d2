#include "sales/worker.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include "base/fault.h"
#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "io/fork.h"

namespace pontage::sales {
namespace {

constexpr Millis kLook{500};  // between two looks at the inbox
constexpr Millis kStoreTimeout{10'000};
constexpr Millis kEventTimeout{45'000};  // Stripe is asked some six times
constexpr Millis kReadTimeout{20'000};   // and here mostly not at all
constexpr size_t kAtOnce = 100;
// Rounds that wait for a slow one of theirs; by then Stripe is away for all.
constexpr size_t kMostRounds = 8;
// Before an event is tried again whose purchase somebody else looks at: a look is short.
constexpr Millis kBusyPause{1'000};
// Of a round: events that are read, and purchases that are looked at, beside each other. A look is
// five journeys to Stripe in a row.
constexpr size_t kLanes = 8;
// Of all rounds, beyond one for each: the limit of calls a second is everybody's, and a buyer's
// page waits in the same line.
constexpr size_t kMostLanes = 16;

// Passes by itself: no fault of the event's.
constexpr std::string_view kPurchaseBusy = "purchase_busy";
Error Busy(std::string detail) {
  return Error(Code::kConflict, std::move(detail)).Because(std::string(kPurchaseBusy));
}

// Has a line in a map as long as it lives; a loop that ends may outlive the map's owner.
class Noted {
 public:
  using Map = std::map<std::string, std::string>;
  Noted(std::shared_ptr<Map> in, std::string key, std::string value)
      : in_(std::move(in)), at_(in_->emplace(std::move(key), std::move(value)).first) {}
  Noted(const Noted&) = delete;
  Noted& operator=(const Noted&) = delete;
  ~Noted() { in_->erase(at_); }

 private:
  std::shared_ptr<Map> in_;
  Map::iterator at_;
};

}  // namespace

Worker::Worker(Parts parts)
    : parts_(parts),
      events_(parts.stripe, parts.database),
      facts_(parts.stripe, parts.database, parts.shop),
      name_(NewIdText("worker", parts.clock, parts.rng)),
      done_(parts.metrics.CounterOf("pontage_stripe_events_done_total",
                                    "Events of Stripe that have had their effect.")),
      failed_(parts.metrics.CounterOf("pontage_stripe_events_failed_total",
                                      "Tries of events that have to be repeated.")),
      parked_(parts.metrics.GaugeOf("pontage_stripe_events_parked",
                                    "Events given up since the start; they wait for a person.")) {}

Task<> Worker::Run() {
  while (!stopped_) {
    const Result<std::shared_ptr<Round>> round = co_await Begin();
    if (!round) Log(LogLevel::kWarn, "sales.inbox_unread", {{"detail", round.error().detail()}});
    if (!round || *round == nullptr) {
      PTG_CO_RUN(co_await Sleep(kLook));
      continue;
    }
    const Deadline patience = Deadline::In(parts_.clock, parts_.patience);
    (void)co_await (*round)->done.Wait(patience);
  }
  co_return {};
}

Task<size_t> Worker::RunOnce() {
  PTG_CO_TRY(const std::shared_ptr<Round> round, co_await Begin());
  if (round == nullptr) co_return 0;
  PTG_CO_RUN(co_await round->done.Wait(Deadline::Never()));
  co_return round->told.size();
}

Task<std::shared_ptr<Worker::Round>> Worker::Begin() {
  std::erase_if(rounds_, [](const std::weak_ptr<const Round>& one) { return one.expired(); });
  if (stopped_ || rounds_.size() >= kMostRounds) co_return nullptr;
  // Shared: a loop that ends destroys those beside us in any order.
  auto round = std::make_shared<Round>();
  rounds_.push_back(round);
  PTG_CO_RUN(co_await Take(*round));
  // The stop came while they were being taken.
  if (stopped_) PTG_CO_RUN(co_await GiveBack());
  if (stopped_ || round->told.empty()) co_return nullptr;
  Loop::Current()->Spawn(Deal(round), "sales.round");
  co_return round;
}

Task<> Worker::Deal(std::shared_ptr<Round> round) {
  const Fork keeping(KeepRound(*round));
  const size_t free = std::max<size_t>(1, kMostLanes - std::min(lanes_, kMostLanes));
  round->lanes = std::min({round->told.size(), kLanes, free});
  lanes_ += round->lanes;
  const size_t lanes = round->lanes;
  for (size_t i = 0; i < lanes; ++i) Loop::Current()->Spawn(WorkOff(round), "sales.look");
  PTG_CO_RUN(co_await round->worked_off.Wait(Deadline::Never()));
  round->done.Set();
  co_return {};
}

// What is under way here is kept, and not taken again: a store that hung may have let its lease
// run out.
bool Worker::IsUnderWay(const std::string& event) const {
  return std::ranges::any_of(rounds_, [&event](const std::weak_ptr<const Round>& one) {
    const std::shared_ptr<const Round> round = one.lock();
    return round && std::ranges::any_of(round->told, [&event](const Told& told) {
             return !told.closed && told.stored.id == event;
           });
  });
}

Task<> Worker::Take(Round& round) {
  const auto take = [this](db::Tx& tx) {
    return TakeEvents(tx, parts_.clock.Now(), parts_.lease.lease, kAtOnce);
  };
  const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
  PTG_CO_TRY(std::vector<StoredEvent> events, co_await parts_.database.Write(take, by));
  std::erase_if(events, [this](const StoredEvent& event) { return IsUnderWay(event.id); });
  for (StoredEvent& event : events) round.told.emplace_back().stored = std::move(event);
  co_return {};
}

// First what the events are about, then the purchases: one that is slow to be read holds up no
// purchase that the others have named.
Task<> Worker::WorkOff(std::shared_ptr<Round> round) {
  while (!stopped_) {
    Result<> closed;
    if (round->unread < round->told.size()) {
      PTG_KILL_POINT("event_taken");
      closed = co_await ReadOne(*round, round->told[round->unread++]);
    } else if (round->unvisited < round->visits.size()) {
      closed = co_await Go(round->visits[round->unvisited++]);
    } else {
      break;
    }
    // They are due again when their lease ends.
    if (!closed) Log(LogLevel::kWarn, "sales.inbox_unread", {{"detail", closed.error().detail()}});
  }
  --lanes_;
  if (--round->lanes == 0) round->worked_off.Set();
  co_return {};
}

Task<> Worker::ReadOne(Round& round, Told& told) {
  const Deadline by = Deadline::In(parts_.clock, kReadTimeout);
  const Result<EventNews> news = co_await events_.Read(told.stored, by);
  if (!news) told.done = Fail(news.error());
  if (!news || news->purchases.empty()) co_return co_await Close(told);
  told.open = news->purchases.size();
  for (const std::string& purchase : news->purchases) {
    Visit& visit = VisitFor(round, purchase, news->failed.has_value());
    if (news->failed) visit.failed.push_back(*news->failed);
    if (!visit.done) {
      visit.told.push_back(&told);
      continue;
    }
    if (!*visit.done && told.done) told.done = *visit.done;
    --told.open;
  }
  if (told.open == 0) co_return co_await Close(told);
  co_return {};
}

// A purchase is looked at once for all events of the round that are about it: each of them was
// taken before the look. `anew`: what it says has to be in the question, so the look must be one
// that has not begun.
Worker::Visit& Worker::VisitFor(Round& round, const std::string& purchase, bool anew) {
  const auto at = std::ranges::find_if(round.visits, [&purchase, anew](const Visit& visit) {
    return visit.purchase == purchase && !(anew && visit.begun);
  });
  if (at != round.visits.end()) return *at;
  round.visits.emplace_back().purchase = purchase;
  return round.visits.back();
}

Task<> Worker::Go(Visit& visit) {
  visit.begun = true;
  visit.done = co_await LookFor(visit);
  // Nobody joins it any more.
  for (Told* told : visit.told) {
    if (!*visit.done && told->done) told->done = *visit.done;
    if (--told->open == 0) PTG_CO_RUN(co_await Close(*told));
  }
  co_return {};
}

// Once, and once for each renewal that failed.
Task<> Worker::LookFor(const Visit& visit) {
  std::vector<std::optional<FailedInvoice>> looks(visit.failed.begin(), visit.failed.end());
  if (looks.empty()) looks.emplace_back();
  for (std::optional<FailedInvoice>& failed : looks) {
    const Deadline by = Deadline::In(parts_.clock, kEventTimeout);
    const Result<Fulfilled> done = co_await LookAt(visit.purchase, std::move(failed), by);
    if (!done) co_return Fail(done.error());
  }
  co_return {};
}

std::vector<std::string> Worker::OpenIn(const Round& round) {
  std::vector<std::string> ids;
  for (const Told& told : round.told) {
    if (!told.closed) ids.push_back(told.stored.id);
  }
  return ids;
}

Task<> Worker::GiveBack() {
  stopped_ = true;
  std::vector<std::string> ids;
  for (const std::weak_ptr<const Round>& one : rounds_) {
    const std::shared_ptr<const Round> round = one.lock();
    if (round) std::ranges::copy(OpenIn(*round), std::back_inserter(ids));
  }
  const std::map<std::string, std::string> looked_at = *looked_at_;
  if (ids.empty() && looked_at.empty()) co_return {};
  const UnixMs now = parts_.clock.Now();
  const auto give = [&ids, &looked_at, now](db::Tx& tx) -> Result<> {
    for (const std::string& id : ids) PTG_RUN(KeepEvent(tx, id, now));
    for (const auto& [owner, id] : looked_at) PTG_RUN(ReleasePurchase(tx, id, owner));
    return {};
  };
  co_return co_await parts_.database.Write(give, Deadline::In(parts_.clock, kStoreTimeout));
}

Task<> Worker::KeepRound(const Round& round) {
  return KeepLease(parts_.database, parts_.clock, parts_.lease, stopped_, [&round]() -> Keep {
    return [ids = OpenIn(round)](db::Tx& tx, UnixMs until) -> Result<> {
      for (const std::string& id : ids) PTG_RUN(KeepEvent(tx, id, until));
      return {};
    };
  });
}

Task<> Worker::Close(Told& told) {
  const StoredEvent& stored = told.stored;
  const Result<>& done = told.done;
  // It is given back, and may be another's by now.
  if (stopped_ && !done) co_return {};
  told.closed = true;
  const UnixMs now = parts_.clock.Now();
  // Somebody else looks at the same purchase, a buyer's page most likely: nothing is wrong.
  const bool busy = !done && done.error().reason() == kPurchaseBusy;
  const bool parked = !done && !busy && stored.attempts >= kMostAttempts;
  if (done) {
    done_.Add();
  } else {
    failed_.Add();
    if (parked) parked_.Add(1);
    const LogLevel level = parked ? LogLevel::kError : busy ? LogLevel::kInfo : LogLevel::kWarn;
    Log(level, "sales.event_failed",
        {{"stripe_event", stored.id},
         {"type", stored.type},
         {"attempts", stored.attempts},
         {"detail", done.error().detail()}});
  }
  const bool good = done.has_value();
  const std::string why = done ? "" : done.error().detail();
  const UnixMs next = now + PauseAfter(stored.attempts);
  const std::string id = stored.id;
  const auto write = [good, id, why, next, busy, parked, now](db::Tx& tx) {
    if (good) return EventDone(tx, id, "done", now);
    if (busy) return EventPutOff(tx, id, now + kBusyPause);
    return EventLater(tx, id, why, next, parked);
  };
  const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
  PTG_CO_RUN(co_await parts_.database.Write(write, by));
  PTG_KILL_POINT("event_closed");
  co_return {};
}

void Worker::Raise(const std::string& purchase, const Fulfilled& done) {
  for (const Alarm& alarm : done.alarms) {
    parts_.metrics
        .CounterOf("pontage_sales_alarms_total", "Purchases that a person should look at.",
                   {{"kind", alarm.kind}})
        .Add();
    Log(LogLevel::kWarn, "sales.alarm",
        {{"purchase", purchase}, {"kind", alarm.kind}, {"detail", alarm.text}});
  }
}

Task<std::string> Worker::PurchaseOf(const std::string& session, Deadline by) {
  const stripe::SessionId id(session);
  co_return co_await events_.PurchaseOf(id, by);
}

Task<Fulfilled> Worker::Look(std::string id, std::optional<FailedInvoice> failed, Deadline by) {
  if (id.starts_with("cs_")) {
    PTG_CO_TRY(id, co_await PurchaseOf(id, by));
    if (id.empty()) co_return Fulfilled{};
  }
  co_return co_await LookAt(std::move(id), std::move(failed), by);
}

Task<Fulfilled> Worker::LookAt(std::string id, std::optional<FailedInvoice> failed, Deadline by) {
  const std::string owner = name_ + ":" + NewIdText("look", parts_.clock, parts_.rng);
  // Before it is leased: a stop may come while the store is asked.
  const Noted noted(looked_at_, owner, id);
  const auto lease = [this, id, owner](db::Tx& tx) {
    return LeasePurchase(tx, id, owner, parts_.clock.Now(), parts_.lease.lease);
  };
  PTG_CO_TRY(const bool ours, co_await parts_.database.Write(lease, by));
  if (!ours) co_return Fail(Busy("somebody else looks at this purchase"));
  const Keep keep = [id, owner](db::Tx& tx, UnixMs until) -> Result<> {
    PTG_RUN(KeepPurchase(tx, id, owner, until));
    return {};
  };
  const Fork keeping(
      KeepLease(parts_.database, parts_.clock, parts_.lease, stopped_, [&keep] { return keep; }));
  PTG_KILL_POINT("purchase_leased");
  Result<PurchaseFacts> facts = co_await facts_.Read(id, by);
  PTG_KILL_POINT("purchase_asked");
  Result<Fulfilled> done = Fulfilled{};
  if (facts) {
    const auto apply = [&](db::Tx& tx) -> Result<Fulfilled> {
      const UnixMs until = parts_.clock.Now() + parts_.lease.lease;
      PTG_TRY(const bool still, KeepPurchase(tx, id, owner, until));
      // What somebody else has written since is newer than what was asked here.
      if (!still) return Fail(Busy("somebody else has looked at this purchase"));
      return parts_.fulfilment.Apply(tx, *facts, failed);
    };
    done = co_await parts_.database.Write(apply, by);
    if (done) Raise(id, *done);
    PTG_KILL_POINT("purchase_applied");
  } else {
    done = Fail(facts.error());
  }
  const auto release = [id, owner](db::Tx& tx) { return ReleasePurchase(tx, id, owner); };
  const Deadline release_by = Deadline::In(parts_.clock, kStoreTimeout);
  // It runs out by itself where this fails.
  (void)co_await parts_.database.Write(release, release_by);
  co_return done;
}

}  // namespace pontage::sales
