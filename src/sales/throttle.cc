#include "sales/throttle.h"

#include <algorithm>

namespace pontage::sales {

// The generic cell rate algorithm, with a wait instead of a refusal.
std::optional<Millis> Throttle::Take(SteadyMs now, Millis most) {
  const int64_t now_us = now.ms() * 1000;
  const std::lock_guard lock(mutex_);
  const int64_t from_us = std::max(full_until_us_, now_us);
  const int64_t wait_us = std::max<int64_t>(0, from_us - now_us - ahead_us_);
  const Millis wait((wait_us + 999) / 1000);
  if (wait > most) return std::nullopt;
  full_until_us_ = from_us + step_us_;
  return wait;
}

}  // namespace pontage::sales
