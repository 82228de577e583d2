#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pontage {

using Millis = std::chrono::milliseconds;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

// A point of wall time: milliseconds since 1970-01-01T00:00:00Z, as every table and wire of ours
// has it.
class UnixMs {
 public:
  constexpr UnixMs() = default;
  constexpr explicit UnixMs(int64_t ms) : ms_(ms) {}
  // What lies further off than any clock goes stays that far off.
  static constexpr UnixMs FromSeconds(int64_t s) {
    constexpr int64_t kFar = INT64_MAX / 4'000;
    return UnixMs((s > kFar ? kFar : s < -kFar ? -kFar : s) * 1000);
  }

  constexpr int64_t ms() const { return ms_; }
  // Whole seconds, rounded down.
  constexpr int64_t seconds() const { return ms_ >= 0 ? ms_ / 1000 : (ms_ - 999) / 1000; }
  // "2026-11-21T10:58:00.123Z" (RFC 3339, UTC).
  std::string Rfc3339() const;

  friend constexpr auto operator<=>(UnixMs, UnixMs) = default;
  friend constexpr UnixMs operator+(UnixMs t, Millis d) { return UnixMs(t.ms_ + d.count()); }
  friend constexpr UnixMs operator-(UnixMs t, Millis d) { return UnixMs(t.ms_ - d.count()); }
  friend constexpr Millis operator-(UnixMs a, UnixMs b) { return Millis(a.ms_ - b.ms_); }

 private:
  int64_t ms_ = 0;
};

// A point of a clock that never jumps: milliseconds since some start. Not comparable across
// processes.
class SteadyMs {
 public:
  constexpr SteadyMs() = default;
  constexpr explicit SteadyMs(int64_t ms) : ms_(ms) {}
  constexpr int64_t ms() const { return ms_; }
  friend constexpr auto operator<=>(SteadyMs, SteadyMs) = default;
  friend constexpr SteadyMs operator+(SteadyMs t, Millis d) { return SteadyMs(t.ms_ + d.count()); }
  friend constexpr Millis operator-(SteadyMs a, SteadyMs b) { return Millis(a.ms_ - b.ms_); }

 private:
  int64_t ms_ = 0;
};

// The one clock. Everything that asks for the time takes one of these, so that tests own time.
// Safe to call from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual UnixMs Now() const = 0;
  virtual SteadyMs Steady() const = 0;
  // Steady() as it was at the kernel's last tick, some milliseconds ago at most, and cheaper: what
  // deadlines go by.
  virtual SteadyMs Coarse() const { return Steady(); }
  // The machine's clock; lives for ever.
  static Clock& System();
};

// Until when an operation may take. Passed as an argument to everything that may wait.
class Deadline {
 public:
  constexpr explicit Deadline(SteadyMs at) : at_(at) {}
  static Deadline In(const Clock& clock, Millis d) { return Deadline(clock.Coarse() + d); }
  static constexpr Deadline Never() { return Deadline(SteadyMs(INT64_MAX)); }

  constexpr SteadyMs at() const { return at_; }
  bool Passed(const Clock& clock) const { return clock.Coarse() >= at_; }
  // What is left; zero when it has passed.
  Millis Left(const Clock& clock) const {
    const SteadyMs now = clock.Coarse();
    return now >= at_ ? Millis(0) : at_ - now;
  }
  // The earlier of two.
  friend constexpr Deadline Sooner(Deadline a, Deadline b) { return a.at_ < b.at_ ? a : b; }

 private:
  SteadyMs at_;
};

// "30s", "500ms", "5m", "2h" or "1d" to milliseconds. Fails with kConfig on anything else, on a
// negative value and beyond ten years.
Result<Millis> ParseDuration(std::string_view text);

}  // namespace pontage
