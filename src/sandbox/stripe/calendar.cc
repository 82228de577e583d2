#include "sandbox/stripe/calendar.h"

#include <chrono>

namespace pontage::sandbox::stripe {
namespace {

constexpr Millis kDay{86'400'000};

UnixMs MonthsAfter(UnixMs anchor, int64_t months) {
  using std::chrono::days;
  using std::chrono::sys_days;
  using std::chrono::year_month_day;
  using std::chrono::year_month_day_last;
  const std::chrono::sys_time<Millis> at{Millis(anchor.ms())};
  const sys_days date = std::chrono::floor<days>(at);
  const Millis time_of_day = at - date;
  year_month_day then = year_month_day(date) + std::chrono::months(months);
  if (!then.ok())
    then = year_month_day(year_month_day_last(then.year() / then.month() / std::chrono::last));
  const std::chrono::sys_time<Millis> sum = sys_days(then) + time_of_day;
  return UnixMs(sum.time_since_epoch().count());
}

}  // namespace

std::optional<Interval::Unit> UnitOf(std::string_view word) {
  if (word == "day") return Interval::Unit::kDay;
  if (word == "week") return Interval::Unit::kWeek;
  if (word == "month") return Interval::Unit::kMonth;
  if (word == "year") return Interval::Unit::kYear;
  return std::nullopt;
}

UnixMs IntervalsAfter(UnixMs anchor, Interval interval, int64_t n) {
  const int64_t count = interval.count * n;
  switch (interval.unit) {
    case Interval::Unit::kDay:
      return anchor + kDay * count;
    case Interval::Unit::kWeek:
      return anchor + kDay * 7 * count;
    case Interval::Unit::kMonth:
      return MonthsAfter(anchor, count);
    case Interval::Unit::kYear:
      return MonthsAfter(anchor, count * 12);
  }
  return anchor;
}

}  // namespace pontage::sandbox::stripe
