#pragma once

#include <string>

#include "base/time.h"

namespace pontage::license {

// What a limit is counted in, always of UTC.
enum class PeriodKind : uint8_t { kMonth, kMinute };
struct Period {
  std::string name;  // "month:2026-11", "minute:29917000": the same on every node
  UnixMs begins;
  UnixMs ends;
};
Period PeriodOf(PeriodKind kind, UnixMs now);

// "2026-11-22".
std::string DayOf(UnixMs now);

}  // namespace pontage::license
