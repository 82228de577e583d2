#include "sales/lease.h"

#include "base/try.h"
#include "io/timer.h"

namespace pontage::sales {
namespace {

constexpr Millis kStoreTimeout{10'000};

}  // namespace

Task<> KeepLease(db::Database& database, const Clock& clock, LeaseTerms terms, const bool& stopped,
                 std::function<Keep()> keep_of) {
  while (true) {
    PTG_CO_RUN(co_await Sleep(terms.every));
    if (stopped) co_return {};
    // From when it is written on: a store that hung has made it wait.
    const auto write = [keep = keep_of(), &clock, terms](db::Tx& tx) {
      return keep(tx, clock.Now() + terms.lease);
    };
    const Deadline by = Deadline::In(Loop::Current()->clock(), kStoreTimeout);
    (void)co_await database.Write(write, by);
  }
}

}  // namespace pontage::sales
