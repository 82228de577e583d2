#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "base/time.h"

namespace pontage::chain {

// What is known of one node of a chain. Safe to use from every loop; nobody waits for anybody.
class NodeHealth {
 public:
  // A node that failed is left alone for a second, twice as long each time, at most half a minute:
  // a dead one costs a caller its time-out once, and one that is back is found again soon.
  static constexpr Millis kFirstRest{1'000};
  static constexpr Millis kLongestRest{30'000};

  // What stands behind a name may change without a failure that we see: a connection that was idle
  // is opened anew.
  static constexpr Millis kKnownFor{30'000};

  void Succeeded() { failures_.store(0, std::memory_order_relaxed); }
  void Failed(SteadyMs now);
  // It said which chain it is on, and that is ours.
  void Named(SteadyMs now) {
    known_until_.store((now + kKnownFor).ms(), std::memory_order_relaxed);
  }
  // Else it must say so again before anything of it is believed.
  bool Known(SteadyMs now) const { return now.ms() < known_until_.load(std::memory_order_relaxed); }
  bool Rests(SteadyMs now) const { return now.ms() < rests_until_.load(std::memory_order_relaxed); }
  uint32_t failures() const { return failures_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> failures_{0};
  std::atomic<int64_t> rests_until_{INT64_MIN};
  std::atomic<int64_t> known_until_{INT64_MIN};
};

// Whether a chain goes on, by what is told of its latest block. Safe to use from every loop.
class HeadWatch {
 public:
  static constexpr Millis kStill{30'000};
  // True when it has been no higher for kStill, and again each time that as long has passed: then
  // another node may know more.
  bool Stands(uint64_t head, SteadyMs now);

 private:
  std::mutex mutex_;
  uint64_t highest_ = 0;
  std::optional<SteadyMs> since_;
};

// Whom to ask, first to last: those that do not rest, from `first` on; then the others, since
// somebody must be asked. Each once.
std::vector<size_t> OrderOfNodes(const std::vector<bool>& rests, size_t first);

}  // namespace pontage::chain
