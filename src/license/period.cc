#include "license/period.h"

#include <chrono>

namespace pontage::license {
namespace {

using std::chrono::floor;
using std::chrono::year_month;
using std::chrono::year_month_day;

constexpr int64_t kMinute = 60'000;

std::chrono::sys_days DaysOf(UnixMs now) {
  return floor<std::chrono::days>(std::chrono::sys_time<Millis>(Millis(now.ms())));
}

UnixMs BeginOf(year_month month) {
  const std::chrono::sys_days first = month / std::chrono::day(1);
  return UnixMs(std::chrono::duration_cast<Millis>(first.time_since_epoch()).count());
}

std::string TwoDigits(unsigned n) { return (n < 10 ? "0" : "") + std::to_string(n); }

std::string MonthText(const year_month_day& day) {
  return std::to_string(static_cast<int>(day.year())) + '-' +
         TwoDigits(static_cast<unsigned>(day.month()));
}

}  // namespace

Period PeriodOf(PeriodKind kind, UnixMs now) {
  if (kind == PeriodKind::kMinute) {
    const int64_t minute = now.ms() / kMinute;
    return {.name = "minute:" + std::to_string(minute),
            .begins = UnixMs(minute * kMinute),
            .ends = UnixMs((minute + 1) * kMinute)};
  }
  const year_month_day day(DaysOf(now));
  const year_month month = day.year() / day.month();
  return {.name = "month:" + MonthText(day),
          .begins = BeginOf(month),
          .ends = BeginOf(month + std::chrono::months(1))};
}

std::string DayOf(UnixMs now) {
  const year_month_day day(DaysOf(now));
  return MonthText(day) + '-' + TwoDigits(static_cast<unsigned>(day.day()));
}

}  // namespace pontage::license
