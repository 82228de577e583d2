#include "base/time.h"

#include <charconv>
#include <cstdio>

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
  char text[64];
  const int n = std::snprintf(
      text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(ymd.year()),
      static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()),
      static_cast<int>(hms.hours().count()), static_cast<int>(hms.minutes().count()),
      static_cast<int>(hms.seconds().count()), static_cast<int>(hms.subseconds().count()));
  return std::string(text, static_cast<size_t>(n));
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
