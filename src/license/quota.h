#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "db/db.h"
#include "io/task.h"
#include "license/claims.h"
#include "license/period.h"

namespace pontage::license {

// What a license may still do, of one limit of its plan.
struct Allowed {
  bool pass = false;
  int64_t most = 0;
  int64_t left = 0;  // as far as this process knows; never too much by what it gave away itself
  Period period;
};

// How much of a plan's limits each license has used, exact over all processes that share a store:
// what a process gives away it has taken from the store before, in blocks, and it gives back what
// it does not need. The first is a single call; each that was used up within seconds is followed by
// one of twice the size, up to a part of what is left. So a process that dies takes along about as
// much as was called in its last seconds: a customer then gets so much less, never more. Serves all
// loops.
class Quota {
 public:
  Quota(db::Database& database, const Clock& clock) : database_(database), clock_(clock) {}

  // One call, when no question to the store is needed for the answer: nothing is left to wait for.
  std::optional<Allowed> TryTake(const std::string& license, PeriodKind kind, int64_t most,
                                 UnixMs now);
  // One call. kStore and kTimeout when the store does not say; nothing is taken then.
  Task<Allowed> Take(std::string license, PeriodKind kind, int64_t most, Deadline by);

  // Gives the store back what nobody asked for lately (`all`: everything), and forgets what is
  // over. For a task that runs every few seconds, and for the end.
  Task<> GiveBack(bool all, Deadline by);
  // Deletes what is over in the store (minutes after an hour, months after a quarter of a year), as
  // much as there is time for. For one task.
  Task<> Prune(Deadline by);

  // How much is taken at once at most when so much is left of a period. A minute is over before
  // what one holds is missed by another.
  static int64_t MostOf(PeriodKind kind, int64_t left);
  // How much after a block of `last` (0: there was none) that lasted `lasted`.
  static int64_t NextOf(int64_t last, Millis lasted);

 private:
  struct Held {
    Period period;
    int64_t left = 0;       // of blocks taken
    int64_t block = 0;      // how much was taken last; 0: nothing yet
    SteadyMs taken;         // when that was
    int64_t elsewhere = 0;  // what the store had left when it was asked last
    SteadyMs used;          // when it was asked last
    SteadyMs empty_until;   // the store has nothing more before this
    bool asking = false;
  };
  using Kinds = std::array<Held, 2>;
  struct Lease {
    int64_t taken = 0;
    int64_t left = 0;  // in the store, after it
  };
  struct Rest {
    std::string license;
    std::string period;
    int64_t left = 0;
  };

  Held& HeldOf(const std::string& license, PeriodKind kind, UnixMs now);
  static Allowed Given(Held& held, int64_t most);
  struct Wanted {
    std::string license;
    PeriodKind kind;
    Period period;
    int64_t most = 0;   // in the period
    int64_t block = 0;  // now
  };
  static Result<Lease> TakeBlock(db::Tx& tx, const Wanted& wanted);
  std::vector<Rest> Unneeded(bool all);

  // Others may have given something back meanwhile.
  static constexpr Millis kAskAgain{1'000};
  static constexpr Millis kIdle{5'000};
  // Some 200 bytes each; beyond them what is idle goes at once.
  static constexpr size_t kMostHeld = 100'000;

  db::Database& database_;
  const Clock& clock_;
  int64_t minutes_pruned_ = 0;  // of Prune alone: those that ended before are gone
  std::mutex mutex_;
  std::unordered_map<std::string, Kinds> held_;
};

}  // namespace pontage::license
