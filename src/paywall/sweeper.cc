#include "paywall/sweeper.h"

#include <algorithm>

#include "base/log.h"
#include "base/try.h"
#include "io/fork.h"
#include "paywall/late_charge.h"

namespace pontage::paywall {

using deal::Settlement;
using ledger::State;

Sweeper::Sweeper(ledger::Ledger& ledger, Rails rails, obs::Registry& metrics, const Clock& clock)
    : ledger_(ledger), rails_(std::move(rails)), metrics_(metrics), clock_(clock) {}

void Sweeper::Stop() { stop_.Set(); }

Task<> Sweeper::Run() {
  // Beside the passes: one of them may wait for a chain for longer than this node may be silent.
  const Fork beat(Beat());
  while (!stop_.is_set()) {
    const Result<size_t> closed = co_await Sweep();
    if (!closed) Log(LogLevel::kWarn, "sweep.failed", {{"detail", closed.error().detail()}});
    (void)co_await Measure();
    if (closed && *closed == kBatch) continue;
    (void)co_await stop_.Wait(Deadline::In(clock_, kEvery));
  }
  co_return {};
}

Task<> Sweeper::Beat() {
  while (!stop_.is_set()) {
    const Deadline by = Deadline::In(clock_, ledger::Ledger::kHeartbeat);
    const Result<> beat = co_await ledger_.Heartbeat(by);
    if (!beat) Log(LogLevel::kWarn, "ledger.unreachable", {{"detail", beat.error().detail()}});
    answered_ = beat.has_value();
    (void)co_await stop_.Wait(Deadline::In(clock_, ledger::Ledger::kHeartbeat));
  }
  co_return {};
}

Task<size_t> Sweeper::Sweep() {
  const Result<std::vector<ledger::Reservation>> rows = co_await ledger_.Orphans(kBatch, By());
  answered_ = rows.has_value();
  if (!rows) co_return Fail(rows.error());
  if (rows->empty()) co_return 0;
  const auto pass = std::make_shared<Pass>();
  pass->rows = *rows;
  pass->workers = std::min(pass->rows.size(), kAtOnce);
  for (size_t i = 0; i < pass->workers; ++i) Loop::Current()->Spawn(WorkOff(pass), "sweep");
  PTG_CO_RUN(co_await pass->done.Wait(Deadline::Never()));
  co_return pass->closed;
}

Task<> Sweeper::WorkOff(std::shared_ptr<Pass> pass) {
  while (pass->next < pass->rows.size()) {
    const ledger::Reservation& row = pass->rows[pass->next++];
    const Result<bool> done = co_await Finish(row);
    if (done && *done) ++pass->closed;
    if (!done) {
      Log(LogLevel::kWarn, "sweep.later",
          {{"payment", row.id.str()}, {"detail", done.error().detail()}});
    }
  }
  if (--pass->workers == 0) pass->done.Set();
  co_return {};
}

Task<bool> Sweeper::Finish(const ledger::Reservation& row) {
  const std::shared_ptr<const rail::RailSet> rails = rails_();
  const rail::Rail* rail = rails->ByName(row.rail);
  if (rail == nullptr) co_return Fail(Code::kConfig, "no rail \"" + row.rail + "\" is configured");
  if (row.state == State::kExpired) co_return co_await LookAgain(*rail, row);
  const bool doubted = row.state == State::kInDoubt;
  if (row.state == State::kHeld && row.stage == ledger::Stage::kAnswered) {
    co_return co_await Collect(*rail, row);
  }
  PTG_CO_TRY(const rail::Traced traced, co_await rail->Lookup(row.payload, row.requirement, By()));
  switch (traced.trace) {
    case rail::Trace::kUsed:
      co_return co_await Close(row, traced.settlement);
    case rail::Trace::kUsedElsewhere:
      PTG_CO_RUN(co_await ledger_.Expire(row.id, "used_elsewhere", By()));
      co_return true;
    case rail::Trace::kUnused:
      if (!doubted) co_return co_await GiveUp(row);
      // By the chain's time: with a wrong clock of ours it might still be mined.
      if (traced.as_of > row.valid_before + kAfterExpiry) {
        PTG_CO_RUN(co_await ledger_.Expire(row.id, "ran_out_unused", By()));
        co_return true;
      }
      break;
    case rail::Trace::kUnknown:
      // A chain that was asked says that it is used, and not yet by what.
      if (!doubted && traced.as_of == UnixMs()) co_return co_await GiveUp(row);
      break;
  }
  // Without a chain to ask, only settling again can tell.
  co_return co_await Collect(*rail, row);
}

// The work had not been answered when its process died, and before that nobody is asked to settle:
// nobody was served, nobody is charged.
Task<bool> Sweeper::GiveUp(const ledger::Reservation& row) {
  PTG_CO_RUN(co_await ledger_.GiveUp(row.id, "interrupted", By()));
  co_return true;
}

// It was given up when somebody had been asked to settle it, and has run out since.
Task<bool> Sweeper::LookAgain(const rail::Rail& rail, const ledger::Reservation& row) {
  const Result<rail::Traced> said = co_await rail.Lookup(row.payload, row.requirement, By());
  const bool long_past = clock_.Now() > row.valid_before + kLookFor;
  if (!said && !long_past) co_return Fail(said.error());
  const rail::Traced traced = said ? *said : rail::Traced();
  if (traced.trace == rail::Trace::kUsed) co_return co_await Close(row, traced.settlement);
  const bool unused =
      traced.trace == rail::Trace::kUnused && traced.as_of > row.valid_before + kAfterExpiry;
  const bool nobody_knows = traced.trace == rail::Trace::kUnknown && traced.as_of == UnixMs();
  const bool elsewhere = traced.trace == rail::Trace::kUsedElsewhere;
  if (!unused && !nobody_knows && !elsewhere && !long_past) co_return false;
  PTG_CO_RUN(co_await ledger_.EndLook(row.id, By()));
  co_return true;
}

Task<bool> Sweeper::Collect(const rail::Rail& rail, const ledger::Reservation& row) {
  // Whether it was asked for before, nobody can tell: who died may have.
  const deal::Asking asking{row.id.str(), true};
  PTG_CO_TRY(const Settlement settlement,
             co_await rail.Settle(row.payload, row.requirement, asking, By()));
  co_return co_await Close(row, settlement);
}

Task<bool> Sweeper::Close(const ledger::Reservation& row, const Settlement& settlement) {
  switch (settlement.outcome) {
    case Settlement::Outcome::kSettled: {
      ledger::Ledger::Settlement books;
      books.transaction = settlement.transaction;
      books.receipt = settlement.receipt;
      books.delivery = ledger::Delivery::kOwed;
      PTG_CO_RUN(co_await ledger_.Commit(row.id, std::move(books), By()));
      Log(LogLevel::kInfo, "payment.recovered",
          {{"payment", row.id.str()}, {"transaction", settlement.transaction}});
      co_return true;
    }
    case Settlement::Outcome::kRefused: {
      const std::string why = settlement.reason.empty() ? "settle_failed" : settlement.reason;
      PTG_CO_RUN(co_await ledger_.Expire(row.id, why, By(), LastLook(row)));
      co_return true;
    }
    case Settlement::Outcome::kUnknown:
      PTG_CO_RUN(
          co_await ledger_.Doubt(row.id, settlement.transaction, "settlement_pending", By()));
      co_return false;
  }
  co_return false;
}

Task<> Sweeper::Measure() {
  PTG_CO_TRY(const ledger::Ledger::Totals totals, co_await ledger_.Count(By()));
  const auto set = [this](std::string_view state, int64_t n) {
    metrics_
        .GaugeOf("pontage_reservations", "Rows of the ledger that are open or owed.",
                 {{"state", state}})
        .Set(n);
  };
  set("held", totals.held);
  set("in_doubt", totals.in_doubt);
  set("owed", totals.owed);
  set("broken", totals.broken);
  const SteadyMs now = clock_.Steady();
  if (overdue_at_ && now - *overdue_at_ < kOverdueEvery) co_return {};
  overdue_at_ = now;
  co_return co_await MeasureOverdue(totals.in_doubt);
}

Task<> Sweeper::MeasureOverdue(int64_t in_doubt) {
  int64_t overdue = 0;
  if (in_doubt > 0) {
    PTG_CO_TRY(const std::vector<ledger::Reservation> rows, co_await ledger_.Overdue(By()));
    overdue = static_cast<int64_t>(rows.size());
    if (overdue > 0) {
      Log(LogLevel::kError, "payment.undecided",
          {{"payments", overdue},
           {"payment", rows.front().id.str()},
           {"network", rows.front().network}});
    }
  }
  metrics_
      .GaugeOf("pontage_reservations_overdue",
               "Payments in doubt whose authorization has run out and of which nobody says what "
               "became.")
      .Set(overdue);
  co_return {};
}

}  // namespace pontage::paywall
