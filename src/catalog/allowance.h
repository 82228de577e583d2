#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"

namespace pontage::catalog {

// "20/s": `count` for each `window`, to one client. A count of zero is no limit.
struct Allowance {
  uint64_t count = 0;
  Millis window{0};
  bool limits() const { return count > 0; }
};

// What one client has used: zero at first, and as good as new once `until_ns` has passed. Keeps its
// meaning under another allowance, so a reload neither forgets nor invents: three requests of an
// hour are three of six as they were three of three.
struct Usage {
  int64_t until_ns = 0;  // of the steady clock
  uint64_t used = 0;     // of a quota
  int64_t one_ns = 0;    // of a rate: how long each request counted
};

struct Verdict {
  bool pass = false;
  uint64_t left = 0;  // how many more would pass now
  Millis reset{0};    // until all of it is there again
  Millis retry{0};    // until one more would pass; zero when one passed
};

// A rate, by the generic cell rate algorithm: `count` at once, then one for each window / count
// (rounded up to a nanosecond). One number per client, no doubling at the edge of a window. A
// refused request costs nothing.
Verdict TakeRate(const Allowance& allowance, Usage& usage, SteadyMs now);

// A quota, by a window that begins with the client's first request: never more than `count` in it.
// The rate's way would give nearly twice as many in a day, and "100/day" is a promise about a day.
Verdict TakeQuota(const Allowance& allowance, Usage& usage, SteadyMs now);

// How much of the allowance is used up at `now`, from 0 (as good as new) to 2^16 (all of it).
uint32_t FillOfRate(const Allowance& allowance, const Usage& usage, SteadyMs now);
uint32_t FillOfQuota(const Allowance& allowance, const Usage& usage, SteadyMs now);

// Members of the fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10
// §3, §4): "rate";q=20;w=1 and "rate";r=19;t=1, times in whole seconds, rounded up.
std::string PolicyMember(std::string_view name, const Allowance& allowance);
std::string LimitMember(std::string_view name, const Verdict& verdict);

// Whole seconds, at least one: for Retry-After.
int64_t RetrySeconds(Millis wait);

}  // namespace pontage::catalog
