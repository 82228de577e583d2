#pragma once

#include <functional>

#include "base/time.h"
#include "db/db.h"
#include "io/task.h"

namespace pontage::sales {

// How long what somebody is at is his, and how often he says that he still is. What a dead process
// had waits that long, so it is short: a buyer waits, too.
struct LeaseTerms {
  Millis lease{6'000};
  Millis every{1'500};
};

// Writes a new end, inside a transaction.
using Keep = std::function<Result<>(db::Tx& tx, UnixMs until)>;

// Keeps what its owner is at, until it is destroyed, or `stopped`: from then on it may be
// another's. `keep_of` is asked each time, on the loop, what there is to keep. A write that fails
// is not repeated before the next: where that goes on, another one does the same work. All
// arguments outlive it.
Task<> KeepLease(db::Database& database, const Clock& clock, LeaseTerms terms, const bool& stopped,
                 std::function<Keep()> keep_of);

}  // namespace pontage::sales
