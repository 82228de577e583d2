#include "ledger/ledger.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "base/try.h"
#include "ledger/ledger_store.h"

// Each method gives the database a body that owns all it needs: the coroutine may be gone by the
// time the database's thread runs it.
namespace pontage::ledger {

Ledger::Ledger(db::Database& database, std::string node, const Clock& clock, Rng& rng)
    : database_(database), node_(std::move(node)), clock_(clock), rng_(rng) {}

Task<Ledger::Reserved> Ledger::Reserve(Reservation reservation, Deadline by) {
  if (reservation.id.empty()) reservation.id = ReservationId(NewIdText("pay", clock_, rng_));
  const Author author{.node = node_, .now = clock_.Now()};
  const auto held = std::make_shared<const Reservation>(AsHeld(author, std::move(reservation)));
  auto body = [author, held](db::Tx& tx) { return ReserveHeld(tx, author, *held); };
  const auto ahead = [held] { return AskReserve(*held); };
  co_return co_await database_.Write(std::move(body), by, ahead);
}

Task<> Ledger::Answered(ReservationId id, int upstream_status, Deadline by) {
  const Author author{.node = node_, .now = clock_.Now()};
  auto body = [author, id, upstream_status](db::Tx& tx) {
    return ledger::Answered(tx, author, id, upstream_status);
  };
  const auto ahead = [author, id, upstream_status] {
    return AskAnswered(author, id, upstream_status);
  };
  co_return co_await database_.Write(std::move(body), by, ahead);
}

Task<Delivery> Ledger::Commit(ReservationId id, Settlement settlement, Deadline by) {
  const Author author{.node = node_, .now = clock_.Now()};
  std::string outbox_id = NewIdText("out", clock_, rng_);
  const auto books = std::make_shared<const Settlement>(std::move(settlement));
  auto body = [author, id, books, outbox_id = std::move(outbox_id)](db::Tx& tx) {
    return ledger::Commit(tx, author, id, *books, outbox_id);
  };
  const auto ahead = [author, id, books] { return AskCommit(author, id, *books); };
  co_return co_await database_.Write(std::move(body), by, ahead);
}

Task<> Ledger::Void(ReservationId id, std::string why, int upstream_status, Deadline by) {
  const Author author{.node = node_, .now = clock_.Now()};
  auto body = [author, id = std::move(id), why = std::move(why), upstream_status](db::Tx& tx) {
    return ledger::Void(tx, author, id, why, upstream_status);
  };
  co_return co_await database_.Write(std::move(body), by);
}

Task<> Ledger::Doubt(ReservationId id, std::string transaction, std::string why, Deadline by) {
  const Author author{.node = node_, .now = clock_.Now()};
  auto body = [author, id = std::move(id), transaction = std::move(transaction),
               why = std::move(why)](db::Tx& tx) {
    return ledger::Doubt(tx, author, id, transaction, why);
  };
  co_return co_await database_.Write(std::move(body), by);
}

Task<> Ledger::Expire(ReservationId id, std::string why, Deadline by, std::optional<UnixMs> look) {
  const Author author{.node = node_, .now = clock_.Now()};
  auto body = [author, id = std::move(id), why = std::move(why), look](db::Tx& tx) {
    return ledger::Expire(tx, author, id, why, look);
  };
  co_return co_await database_.Write(std::move(body), by);
}

Task<> Ledger::EndLook(ReservationId id, Deadline by) {
  auto body = [id = std::move(id)](db::Tx& tx) { return ledger::EndLook(tx, id); };
  co_return co_await database_.Write(std::move(body), by);
}

Task<> Ledger::GiveUp(ReservationId id, std::string why, Deadline by) {
  const Author author{.node = node_, .now = clock_.Now()};
  auto body = [author, id = std::move(id), why = std::move(why)](db::Tx& tx) {
    return ledger::GiveUp(tx, author, id, why);
  };
  co_return co_await database_.Write(std::move(body), by);
}

Task<> Ledger::Deliver(ReservationId id, Ending ending, Deadline by, std::string attempt) {
  const Author author{.node = node_, .now = clock_.Now()};
  std::move_only_function<db::Ask()> ahead;
  if (ending.outcome == Delivery::kDelivered && attempt.empty()) {
    ahead = [author, id] { return AskDelivered(author, id); };
  }
  auto body = [author, id = std::move(id), ending, attempt = std::move(attempt)](db::Tx& tx) {
    return ledger::Deliver(tx, author, id, ending, attempt);
  };
  co_return co_await database_.Write(std::move(body), by, std::move(ahead));
}

// A redemption whose commit was lost would stay "redeeming" for as long as this node lives, and the
// buyer without his goods: it is asked again, by the same name, before it is given up.
Task<Delivery> Ledger::Redeem(ReservationId id, Digest request_digest, Deadline by,
                              std::string attempt) {
  constexpr int kTries = 3;
  constexpr Millis kPause{200};
  if (attempt.empty()) attempt = NewIdText("red", clock_, rng_);
  for (int i = 1;; ++i) {
    const Author author{.node = node_, .now = clock_.Now()};
    auto body = [author, id, request_digest, attempt](db::Tx& tx) {
      return ledger::Redeem(tx, author, id, request_digest, attempt);
    };
    Result<Delivery> from = co_await database_.Write(std::move(body), by);
    if (from || from.error().code() != Code::kStore || i == kTries) co_return from;
    PTG_CO_RUN(co_await Sleep(kPause));
  }
}

Task<> Ledger::GiveBack(ReservationId id, std::string attempt, Deadline by) {
  const Author author{.node = node_, .now = clock_.Now()};
  auto body = [author, id = std::move(id), attempt = std::move(attempt)](db::Tx& tx) {
    return ledger::GiveBack(tx, author, id, attempt);
  };
  co_return co_await database_.Write(std::move(body), by);
}

Task<std::optional<Ledger::StoredAnswer>> Ledger::Answer(ReservationId id, Deadline by) {
  auto body = [id = std::move(id)](db::Tx& tx) { return ReadAnswer(tx, id); };
  co_return co_await database_.Read(std::move(body), by);
}

Task<> Ledger::Heartbeat(Deadline by) {
  const Author author{.node = node_, .now = clock_.Now()};
  auto body = [author](db::Tx& tx) { return ledger::Heartbeat(tx, author); };
  PTG_CO_RUN(co_await database_.Write(std::move(body), by));
  {
    const std::lock_guard lock(mutex_);
    beat_ = clock_.Steady();
  }
  // Who is silent is heard here as well: a sweep may take longer than a node may be silent.
  auto look = [author](db::Tx& tx) { return OtherNodes(tx, author); };
  PTG_CO_TRY(const std::vector<NodeBeat> others, co_await database_.Read(std::move(look), by));
  (void)Listen(others);
  co_return {};
}

Task<> Ledger::ForgetOtherNodes(UnixMs before, Deadline by) {
  const Author author{.node = node_, .now = clock_.Now()};
  auto body = [author, before](db::Tx& tx) { return ledger::ForgetOtherNodes(tx, author, before); };
  co_return co_await database_.Write(std::move(body), by);
}

Task<std::vector<Reservation>> Ledger::Orphans(size_t limit, Deadline by) {
  const Author author{.node = node_, .now = clock_.Now()};
  auto look = [author](db::Tx& tx) { return OtherNodes(tx, author); };
  PTG_CO_TRY(const std::vector<NodeBeat> others, co_await database_.Read(std::move(look), by));
  auto body = [author, dead = Listen(others), limit](db::Tx& tx) {
    return TakeOrphans(tx, author, dead, limit);
  };
  co_return co_await database_.Write(std::move(body), by);
}

// A node is dead when its heartbeat has stood still for kNodeSilence by our own steady clock: what
// its wall clock or ours says does not matter. While we ourselves could not listen, or not be heard
// (the store was away, or took no writes, for the others too), nobody was silent.
std::vector<NodeBeat> Ledger::Listen(const std::vector<NodeBeat>& others) {
  const SteadyMs now = clock_.Steady();
  std::vector<NodeBeat> dead;
  std::map<std::string, Heard> heard;
  const std::lock_guard lock(mutex_);
  const Millis since_last = now - listened_;
  const bool mute = beat_ && now - *beat_ > 2 * kHeartbeat;
  const Millis deaf = mute || since_last > 2 * kHeartbeat ? since_last : Millis(0);
  listened_ = now;
  for (const NodeBeat& node : others) {
    const auto before = heard_.find(node.id);
    const bool still = before != heard_.end() && before->second.beat == node.at;
    Heard last{.beat = node.at, .since = now};
    if (still) last.since = std::min(now, before->second.since + deaf);
    if (now - last.since > kNodeSilence) dead.push_back(node);
    heard.emplace(node.id, last);
  }
  heard_ = std::move(heard);
  return dead;
}

Task<std::vector<Reservation>> Ledger::Find(std::string name, Deadline by) {
  auto body = [name = std::move(name)](db::Tx& tx) { return FindReservations(tx, name); };
  co_return co_await database_.Read(std::move(body), by);
}

Task<std::optional<Reservation>> Ledger::FindByKey(OnceKey once_key, Deadline by) {
  auto body = [once_key](db::Tx& tx) { return ReadByKey(tx, once_key); };
  co_return co_await database_.Read(std::move(body), by);
}

Task<std::vector<Reservation>> Ledger::List(Filter filter, Deadline by) {
  auto body = [filter = std::move(filter)](db::Tx& tx) { return ListReservations(tx, filter); };
  co_return co_await database_.Read(std::move(body), by);
}

bool Ledger::IsOverdue(const Reservation& row, UnixMs now) {
  return row.state == State::kInDoubt && row.valid_before + kOverdue < now;
}

Task<std::vector<Reservation>> Ledger::Overdue(Deadline by) {
  Filter filter;
  filter.state = State::kInDoubt;
  filter.limit = kMostOverdue;
  PTG_CO_TRY(std::vector<Reservation> rows, co_await List(std::move(filter), by));
  const UnixMs now = clock_.Now();
  std::erase_if(rows, [now](const Reservation& row) { return !IsOverdue(row, now); });
  co_return rows;
}

Task<std::vector<Ledger::Event>> Ledger::History(ReservationId id, Deadline by) {
  auto body = [id = std::move(id)](db::Tx& tx) { return ReadHistory(tx, id); };
  co_return co_await database_.Read(std::move(body), by);
}

Task<Ledger::Totals> Ledger::Count(Deadline by) {
  auto body = [](db::Tx& tx) { return CountReservations(tx); };
  co_return co_await database_.Read(std::move(body), by);
}

}  // namespace pontage::ledger
