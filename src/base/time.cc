#include "base/time.h"

#include <charconv>
#include <ctime>

namespace pontage {
namespace {

class SystemClock final : public Clock {
 public:
  UnixMs Now() const override {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return UnixMs(std::chrono::duration_cast<Millis>(since).count());
  }
  SteadyMs Steady() const override {
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return SteadyMs(std::chrono::duration_cast<Millis>(since).count());
  }
  SteadyMs Coarse() const override {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return SteadyMs(int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000);
  }
};

}  // namespace

Clock& Clock::System() {
  static SystemClock clock;
  return clock;
}

std::string UnixMs::Rfc3339() const {
  const std::chrono::sys_time<Millis> t{Millis(ms_)};
  const auto day = std::chrono::floor<std::chrono::days>(t);
  const std::chrono::year_month_day ymd(day);
  const std::chrono::hh_mm_ss<Millis> hms(t - day);
  // One a log line: snprintf would cost as much as the rest of it.
  std::string text = "0000-00-00T00:00:00.000Z";
  const auto put = [&text](size_t end, auto number, int digits) {
    auto left = static_cast<unsigned>(number);
    for (int i = 0; i < digits; ++i, left /= 10) text[--end] = static_cast<char>('0' + left % 10);
  };
  put(4, static_cast<int>(ymd.year()), 4);
  put(7, static_cast<unsigned>(ymd.month()), 2);
  put(10, static_cast<unsigned>(ymd.day()), 2);
  put(13, hms.hours().count(), 2);
  put(16, hms.minutes().count(), 2);
  put(19, hms.seconds().count(), 2);
  put(23, hms.subseconds().count(), 3);
  return text;
}

Result<Millis> ParseDuration(std::string_view text) {
  const auto bad = [&] {
    return Fail(Error(Code::kConfig, "not a duration: \"" + std::string(text) + "\"")
                    .Want("a number with ms, s, m, h or d, like \"30s\""));
  };
  int64_t n = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec != std::errc() || n < 0) return bad();
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  int64_t scale = 0;
  if (unit == "ms") scale = 1;
  if (unit == "s") scale = 1000;
  if (unit == "m") scale = 60'000;
  if (unit == "h") scale = 3'600'000;
  if (unit == "d") scale = 86'400'000;
  constexpr int64_t kTenYearsMs = 315'360'000'000;
  int64_t ms = 0;
  if (scale == 0 || __builtin_mul_overflow(n, scale, &ms) || ms > kTenYearsMs) return bad();
  return Millis(ms);
}

}  // namespace pontage
