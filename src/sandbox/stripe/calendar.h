#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.h"

namespace pontage::sandbox::stripe {

// How often a price is billed: every `count` of these.
struct Interval {
  enum class Unit : uint8_t { kDay, kWeek, kMonth, kYear };
  Unit unit = Unit::kMonth;
  int64_t count = 1;
  friend bool operator==(const Interval&, const Interval&) = default;
};

// "day", "week", "month", "year".
std::optional<Interval::Unit> UnitOf(std::string_view word);

// `n` intervals after `anchor`, in UTC. Counted from the anchor and not from the period before, so
// that a subscription of 31 January is billed on 28 February and on 31 March.
UnixMs IntervalsAfter(UnixMs anchor, Interval interval, int64_t n);

}  // namespace pontage::sandbox::stripe
