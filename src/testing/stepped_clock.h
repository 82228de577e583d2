#pragma once

#include <atomic>

#include "base/time.h"

namespace pontage::testing {

// Stands still but for Advance, from any thread.
class SteppedClock final : public Clock {
 public:
  UnixMs Now() const override { return UnixMs(ms_.load()); }
  SteadyMs Steady() const override { return SteadyMs(ms_.load()); }
  void Advance(Millis d) { ms_ += d.count(); }

 private:
  std::atomic<int64_t> ms_{1'700'000'000'000};
};

}  // namespace pontage::testing
