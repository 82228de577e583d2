#include "chain/rpc_health.h"

#include <algorithm>

namespace pontage::chain {

void NodeHealth::Failed(SteadyMs now) {
  const uint32_t before = failures_.fetch_add(1, std::memory_order_relaxed);
  constexpr uint32_t kMostDoublings = 5;
  const Millis rest = kFirstRest * (1 << std::min(before, kMostDoublings));
  rests_until_.store((now + std::min(rest, kLongestRest)).ms(), std::memory_order_relaxed);
  known_until_.store(INT64_MIN, std::memory_order_relaxed);
}

bool HeadWatch::Stands(uint64_t head, SteadyMs now) {
  const std::lock_guard lock(mutex_);
  if (!since_ || head > highest_) {
    highest_ = head;
    since_ = now;
    return false;
  }
  if (now - *since_ < kStill) return false;
  since_ = now;
  return true;
}

std::vector<size_t> OrderOfNodes(const std::vector<bool>& rests, size_t first) {
  std::vector<size_t> order;
  for (const bool resting : {false, true}) {
    for (size_t i = 0; i < rests.size(); ++i) {
      const size_t at = (first + i) % rests.size();
      if (rests[at] == resting) order.push_back(at);
    }
  }
  return order;
}

}  // namespace pontage::chain
