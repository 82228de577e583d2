#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "base/time.h"

namespace pontage::sales {

// Spreads calls: `at_once` after a rest, then `per_second`, in the order in which they were asked
// for. Nobody waits longer than he says: what would is refused at once, so that nothing piles up.
// Safe to use from every thread.
class Throttle {
 public:
  // Both at least 1.
  Throttle(int64_t per_second, int64_t at_once)
      : step_us_(1'000'000 / per_second), ahead_us_((at_once - 1) * step_us_) {}

  // A place: how long to wait for it. Nothing, and no place is taken, when that is more than
  // `most`.
  std::optional<Millis> Take(SteadyMs now, Millis most);

 private:
  const int64_t step_us_;
  const int64_t ahead_us_;
  std::mutex mutex_;
  int64_t full_until_us_ = 0;  // when all of the allowance will be there again
};

}  // namespace pontage::sales
