#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/time.h"

namespace pontage::license {

// When the issuer was heard last, by this process: written by who follows his feed, read by all
// loops.
class Freshness {
 public:
  void Heard(UnixMs at) {
    int64_t before = heard_ms_.load(std::memory_order_relaxed);
    while (before < at.ms() && !heard_ms_.compare_exchange_weak(before, at.ms())) {
    }
  }
  // None: never.
  std::optional<Millis> Age(UnixMs now) const {
    const int64_t at = heard_ms_.load(std::memory_order_relaxed);
    if (at == 0) return std::nullopt;
    return now.ms() > at ? Millis(now.ms() - at) : Millis(0);
  }

 private:
  std::atomic<int64_t> heard_ms_{0};
};

// What a gateway does with licenses while it does not hear their issuer. What it knows stands in
// any case: words that were revoked stay so, and what was paid for is paid for.
struct StalePolicy {
  Millis max{86'400'000};
  bool deny = false;  // beyond `max`; else it goes on
};
// Up to here nothing is said of it: an issuer who is asked by long-poll is heard twice a minute.
inline constexpr Millis kFreshFor{60'000};

}  // namespace pontage::license
