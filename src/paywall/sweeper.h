#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "io/timer.h"
#include "ledger/ledger.h"
#include "obs/metrics.h"
#include "rail/rail_set.h"

namespace pontage::paywall {

// Finishes what was left open: by a crash of ours or of another node, by a settlement whose end
// nobody saw. Runs on one loop of each process that owns a ledger.
//
//   held, not answered   the chain says used: settled and owed; unused, or there is no chain to
//                        ask: expired, never charged
//   held, answered       settled (asking again is safe), and owed
//   in doubt             the chain is asked, then settling; gives up when the authorization ran out
//   unused. Where there is no chain to ask and the facilitator does not say either, it stays in
//   doubt, and is overdue: counted, and named in the log.
//   given up             when it can no longer be charged, the chain is asked once more: settled
//   and owed, if somebody has sent it all the same
class Sweeper {
 public:
  // `rails` gives the rails in force now; called on the sweeper's loop.
  using Rails = std::function<std::shared_ptr<const rail::RailSet>()>;
  Sweeper(ledger::Ledger& ledger, Rails rails, obs::Registry& metrics, const Clock& clock);

  // Heartbeats and sweeps until Stop.
  Task<> Run();
  void Stop();
  // Whether the store answered when it was last asked. From any thread.
  bool store_answers() const { return answered_.load(); }
  // One pass: how many rows were closed. For tests and `pontage reconcile`.
  Task<size_t> Sweep();

 private:
  // One pass, worked off by several at once: a settlement is mostly waiting for a block.
  struct Pass {
    std::vector<ledger::Reservation> rows;
    size_t next = 0;
    size_t closed = 0;
    size_t workers = 0;
    Event done;
  };
  // Says every few seconds that this node lives, until Stop.
  Task<> Beat();
  Task<> WorkOff(std::shared_ptr<Pass> pass);
  Task<bool> Finish(const ledger::Reservation& row);
  Task<bool> GiveUp(const ledger::Reservation& row);
  Task<bool> LookAgain(const rail::Rail& rail, const ledger::Reservation& row);
  Task<bool> Collect(const rail::Rail& rail, const ledger::Reservation& row);
  Task<bool> Close(const ledger::Reservation& row, const deal::Settlement& settlement);
  Task<> Measure();
  Task<> MeasureOverdue(int64_t in_doubt);
  Deadline By() const { return Deadline::In(clock_, Millis(30'000)); }

  // How many open rows one pass takes over; the next pass follows at once when there were as many.
  static constexpr size_t kBatch = 128;
  // How many of them at once: of what a new payment may need from the chain this leaves the most.
  static constexpr size_t kAtOnce = 32;
  static constexpr Millis kEvery{1'000};
  // How long a chain that does not answer is asked about what was given up.
  static constexpr Millis kLookFor{86'400'000};
  // How often those that nothing ends are counted: their rows are read for it.
  static constexpr Millis kOverdueEvery{30'000};

  ledger::Ledger& ledger_;
  Rails rails_;
  obs::Registry& metrics_;
  const Clock& clock_;
  Event stop_;
  std::atomic<bool> answered_{true};
  std::optional<SteadyMs> overdue_at_;
};

}  // namespace pontage::paywall
