// What an exchange tells the log, the numbers and, behind the answer, the books.
#include <algorithm>

#include "base/fault.h"
#include "base/log.h"
#include "base/try.h"
#include "io/timer.h"
#include "paywall/exchange.h"
#include "paywall/late_charge.h"
#include "wire/problem/error_map.h"

namespace pontage::paywall {
namespace {

using ledger::Delivery;

// A store that is away for longer than this has been restored from somewhere else. How many wait is
// bounded by the requests that ran when it went: without it nothing new is reserved, and of what
// was not confirmed to be kMostUnreserved wait at most.
constexpr Millis kInsistFor{3'600'000};
constexpr size_t kMostUnreserved = 256;
constexpr Millis kFirstPause{250};
constexpr Millis kLongestPause{4'000};

bool IsOutage(const Error& error) {
  return error.code() == Code::kStore || error.code() == Code::kTimeout ||
         error.code() == Code::kOverloaded;
}

using Write = std::function<Task<>(Deadline)>;

// Writes until it is written or the books say otherwise. A note that was lost would leave its row
// to the sweeper, which cannot know that this process is done with it and waits for minutes.
Task<> Insist(const Clock& clock, Millis patience, Write write) {
  const Deadline end = Deadline::In(clock, kInsistFor);
  Millis pause = kFirstPause;
  for (;;) {
    const Result<> written = co_await write(Deadline::In(clock, patience));
    if (written || !IsOutage(written.error()) || end.Passed(clock)) co_return written;
    PTG_CO_RUN(co_await Sleep(pause));
    pause = std::min(pause * 2, kLongestPause);
  }
}

// Both, in this order. Where another node has written the first in its own words (the same
// authorization, settled by another transaction), the second still has to say what became of the
// goods; the books know whether it applies.
Task<> InsistBoth(const Clock& clock, Millis patience, Write first, Write second) {
  const Result<> one = co_await Insist(clock, patience, std::move(first));
  if (!one && one.error().code() != Code::kConflict) co_return one;
  co_return co_await Insist(clock, patience, std::move(second));
}

Task<> CommitOnly(ledger::Ledger& ledger, ReservationId id, ledger::Ledger::Settlement books,
                  Deadline by) {
  PTG_CO_RUN(co_await ledger.Commit(std::move(id), std::move(books), by));
  co_return {};
}

}  // namespace

void Exchange::NoteLater(std::function<Task<>(Deadline)> write, std::string_view what) {
  Loop::Current()->Spawn(Insist(clock_, options_.store_timeout, std::move(write)), what);
}

// What the numbers and the log say of money that has moved.
void Exchange::NoteSettled(const Held& held, const std::string& transaction) {
  const Call& call = held.call;
  Count("settled", call);
  metrics_
      .CounterOf(
          "pontage_revenue_micros_total", "Settled payments in millionths of a dollar.",
          {{"route", call.route.match}, {"network", held.row.network}, {"asset", held.row.asset}})
      .Add(static_cast<uint64_t>(held.row.price.micros()));
  Log(LogLevel::kInfo, "payment.settled",
      {{"payment", held.row.id.str()},
       {"request_id", call.reply.id().str()},
       {"route", call.route.match},
       {"payer", held.row.payer},
       {"amount", held.row.amount.ToDecimal()},
       {"network", held.row.network},
       {"transaction", transaction}});
}

// Notes are written behind the answer: nobody waits for them, and the writer takes them in order.
void Exchange::NoteVoid(const ledger::Reservation& row, std::string why, int status) {
  if (PTG_PLANTED("drop_void")) return;
  NoteLater([&l = ledger_, id = row.id, why = std::move(why),
             status](Deadline by) { return l.Void(id, why, status, by); },
            "ledger.void");
}

// A reservation that was not confirmed: perhaps it was written all the same, and nobody works on
// it. Whoever sends one payment again and again while the store is away brings one such note each
// time, so they are few; what has none the sweeper finds after some minutes.
void Exchange::NoteUnreserved(const ledger::Reservation& row, const Error& why) {
  if (PTG_PLANTED("drop_void")) return;
  if (why.code() == Code::kOverloaded || *unreserved_ >= kMostUnreserved) return;
  ++*unreserved_;
  const std::shared_ptr<void> place(nullptr, [count = unreserved_](void*) { --*count; });
  NoteLater([&l = ledger_, id = row.id, slug = std::string(problem::RowOf(why.code()).slug),
             place](Deadline by) { return l.Void(id, slug, 0, by); },
            "ledger.void");
}

void Exchange::NoteExpired(const ledger::Reservation& row, std::string why) {
  NoteLater([&l = ledger_, id = row.id, why = std::move(why),
             look = LastLook(row)](Deadline by) { return l.Expire(id, why, by, look); },
            "ledger.expire");
}

void Exchange::NoteDoubt(const ledger::Reservation& row, std::string transaction) {
  NoteLater([&l = ledger_, id = row.id, transaction = std::move(transaction)](
                Deadline by) { return l.Doubt(id, transaction, "settlement_pending", by); },
            "ledger.doubt");
}

void Exchange::NoteDelivery(const Held& held, ledger::Ledger::Ending ending,
                            std::optional<ledger::Ledger::Settlement> uncommitted) {
  const ledger::Reservation& row = held.row;
  if (ending.outcome != Delivery::kDelivered) {
    Log(LogLevel::kWarn, "payment.undelivered",
        {{"payment", row.id.str()}, {"delivery", ledger::ToString(ending.outcome)}});
  }
  metrics_
      .CounterOf("pontage_deliveries_total", "Paid answers by what became of them.",
                 {{"outcome", ledger::ToString(ending.outcome)}})
      .Add();
  Write deliver = [&l = ledger_, id = row.id, ending, attempt = held.attempt](Deadline by) {
    return l.Deliver(id, ending, by, attempt);
  };
  if (!uncommitted) return NoteLater(std::move(deliver), "ledger.deliver");
  Write commit = [&l = ledger_, id = row.id, books = *std::move(uncommitted)](Deadline by) {
    return CommitOnly(l, id, books, by);
  };
  Loop::Current()->Spawn(
      InsistBoth(clock_, options_.store_timeout, std::move(commit), std::move(deliver)),
      "ledger.commit");
}

}  // namespace pontage::paywall
