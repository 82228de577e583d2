#pragma once

#include "base/time.h"

namespace pontage::sim {

// The time of the world. Passes when everybody waits.
class WorldClock final : public Clock {
 public:
  static constexpr int64_t kStart = 1'800'000'000'000;
  UnixMs Now() const override { return UnixMs(kStart + steady_.ms()); }
  SteadyMs Steady() const override { return steady_; }
  void AdvanceTo(SteadyMs at) {
    if (at > steady_) steady_ = at;
  }

 private:
  SteadyMs steady_{1};
};

// What one machine takes for the time: its wall clock may be wrong, its steady one is not.
class NodeClock final : public Clock {
 public:
  explicit NodeClock(const WorldClock& world) : world_(world) {}
  UnixMs Now() const override { return world_.Now() + skew; }
  SteadyMs Steady() const override { return world_.Steady(); }
  Millis skew{0};

 private:
  const WorldClock& world_;
};

}  // namespace pontage::sim
