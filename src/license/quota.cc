#include "license/quota.h"

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "io/timer.h"

namespace pontage::license {
namespace {

constexpr db::Statement kOpen{"license_quota.open",
                              "INSERT INTO license_quota (license, period, used, ends_ms)"
                              " VALUES ($1, $2, 0, $3) ON CONFLICT (license, period) DO NOTHING"};
constexpr db::Statement kUsed{"license_quota.used",
                              "SELECT used FROM license_quota WHERE license = $1 AND period = $2"};
// The condition is what makes it exact: whoever saw another number asks again.
constexpr db::Statement kTake{"license_quota.take",
                              "UPDATE license_quota SET used = $4"
                              " WHERE license = $1 AND period = $2 AND used = $3"};
constexpr db::Statement kGiveBack{"license_quota.give_back",
                                  "UPDATE license_quota SET used = used - $3"
                                  " WHERE license = $1 AND period = $2 AND used >= $3"};
constexpr db::Statement kPrune{"license_quota.prune",
                               "DELETE FROM license_quota WHERE (license, period) IN"
                               " (SELECT license, period FROM license_quota WHERE ends_ms < $1"
                               "  ORDER BY ends_ms LIMIT $2)"};
// Of minutes alone ("minute:" comes before it, "month:" behind), and only those whose time came
// since the last look: the months between them are not walked through each time.
constexpr db::Statement kPruneMinutes{
    "license_quota.prune_minutes",
    "DELETE FROM license_quota WHERE (license, period) IN"
    " (SELECT license, period FROM license_quota WHERE ends_ms >= $1 AND ends_ms < $2"
    "  AND period < 'mj' ORDER BY ends_ms LIMIT $3)"};
// A license that calls all day makes 1,440 minutes of it, and nobody asks for one that is over, but
// a node whose clock is behind. A month is looked at for a while.
constexpr Millis kKeepMinutes{3'600'000};
constexpr Millis kKeepMonths{90 * 86'400'000LL};
constexpr int64_t kAtOnce = 1'000;
constexpr Millis kLetOthers{5};  // between two of them
constexpr Millis kLookAgain{1};
constexpr int kTries = 16;
constexpr int64_t kLargest = 1'000;
// A block that was used up within this is followed by a larger one.
constexpr Millis kSoon{5'000};

}  // namespace

int64_t Quota::MostOf(PeriodKind kind, int64_t left) {
  const int64_t part = kind == PeriodKind::kMinute ? 8 : 50;
  return std::clamp<int64_t>(left / part, 1, kLargest);
}

int64_t Quota::NextOf(int64_t last, Millis lasted) {
  if (last <= 0) return 1;
  return lasted < kSoon ? std::min(last * 2, kLargest) : last;
}

// Under the mutex.
Quota::Held& Quota::HeldOf(const std::string& license, PeriodKind kind, UnixMs now) {
  Held& held = held_[license][static_cast<size_t>(kind)];
  // What is left of a period that is over is of no use to anybody.
  if (now >= held.period.ends) {
    // How fast it calls does not change with the period.
    const Held before = std::exchange(held, {});
    held.period = PeriodOf(kind, now);
    held.asking = before.asking;
    held.block = before.block;
    held.taken = before.taken;
  }
  held.used = clock_.Coarse();
  return held;
}

Allowed Quota::Given(Held& held, int64_t most) {
  --held.left;
  return {.pass = true, .most = most, .left = held.left + held.elsewhere, .period = held.period};
}

std::optional<Allowed> Quota::TryTake(const std::string& license, PeriodKind kind, int64_t most,
                                      UnixMs now) {
  const std::lock_guard lock(mutex_);
  Held& held = HeldOf(license, kind, now);
  if (held.left > 0) return Given(held, most);
  if (!held.asking && clock_.Coarse() < held.empty_until) {
    return Allowed{.pass = false, .most = most, .left = 0, .period = held.period};
  }
  return std::nullopt;
}

Result<Quota::Lease> Quota::TakeBlock(db::Tx& tx, const Wanted& wanted) {
  const std::string& period = wanted.period.name;
  PTG_RUN(tx.Run(kOpen, wanted.license, period, wanted.period.ends.ms()));
  for (int i = 0; i < kTries; ++i) {
    PTG_TRY(const db::Rows rows, tx.Run(kUsed, wanted.license, period));
    const int64_t used = rows.empty() ? 0 : rows.front().Int(0);
    const int64_t left = wanted.most - used;
    if (left <= 0) return Lease{};
    const int64_t block = std::min(wanted.block, MostOf(wanted.kind, left));
    PTG_TRY(const db::Rows taken, tx.Run(kTake, wanted.license, period, used, used + block));
    if (taken.changed > 0) return Lease{.taken = block, .left = left - block};
  }
  return Fail(Code::kOverloaded, "too many ask for this license at once");
}

Task<Allowed> Quota::Take(std::string license, PeriodKind kind, int64_t most, Deadline by) {
  Wanted wanted{.license = license, .kind = kind, .period = {}, .most = most};
  // One question at a time for each license: the answer serves those who wait, too.
  while (true) {
    const std::optional<Allowed> now = TryTake(license, kind, most, clock_.Now());
    if (now) co_return *now;
    {
      const std::lock_guard lock(mutex_);
      Held& held = HeldOf(license, kind, clock_.Now());
      if (!held.asking) {
        held.asking = true;
        wanted.period = held.period;
        wanted.block = NextOf(held.block, clock_.Coarse() - held.taken);
        break;
      }
    }
    if (by.Passed(clock_)) co_return Fail(Code::kTimeout, "the license's quota is not known yet");
    PTG_CO_RUN(co_await Sleep(kLookAgain));
  }
  const auto body = [wanted](db::Tx& tx) { return TakeBlock(tx, wanted); };
  const Result<Lease> lease = co_await database_.Write(body, by);
  const std::lock_guard lock(mutex_);
  Held& held = held_[license][static_cast<size_t>(kind)];
  held.asking = false;
  if (!lease) co_return Fail(lease.error());
  // The period may have ended while the store was asked; its block is then nobody's.
  if (held.period.name != wanted.period.name) {
    co_return Allowed{.pass = lease->taken > 0, .most = most, .left = 0, .period = wanted.period};
  }
  held.left += lease->taken;
  held.elsewhere = lease->left;
  if (lease->taken > 0) {
    held.block = lease->taken;
    held.taken = clock_.Coarse();
  }
  if (held.left > 0) co_return Given(held, most);
  held.empty_until = clock_.Coarse() + kAskAgain;
  co_return Allowed{.pass = false, .most = most, .left = 0, .period = held.period};
}

std::vector<Quota::Rest> Quota::Unneeded(bool all) {
  std::vector<Rest> out;
  const SteadyMs now = clock_.Coarse();
  const UnixMs today = clock_.Now();
  const std::lock_guard lock(mutex_);
  const bool crowded = held_.size() > kMostHeld;
  for (auto at = held_.begin(); at != held_.end();) {
    bool idle = true;
    for (Held& held : at->second) {
      const bool quiet = all || crowded || held.used + kIdle <= now;
      idle = idle && quiet && !held.asking;
      if (!quiet || held.left == 0) continue;
      if (today < held.period.ends) out.push_back({at->first, held.period.name, held.left});
      held.left = 0;
    }
    at = idle ? held_.erase(at) : std::next(at);
  }
  return out;
}

Task<> Quota::GiveBack(bool all, Deadline by) {
  const std::vector<Rest> rest = Unneeded(all);
  if (rest.empty()) co_return {};
  // Whatever becomes of it, it is not given away here again: less for the customer, never more.
  const auto body = [&rest](db::Tx& tx) -> Result<> {
    for (const Rest& one : rest) PTG_RUN(tx.Run(kGiveBack, one.license, one.period, one.left));
    return {};
  };
  co_return co_await database_.Write(body, by);
}

Task<> Quota::Prune(Deadline by) {
  const int64_t minutes = (clock_.Now() - kKeepMinutes).ms();
  const int64_t months = (clock_.Now() - kKeepMonths).ms();
  const auto body = [this, minutes, months](db::Tx& tx) -> Result<bool> {
    PTG_TRY(const db::Rows m, tx.Run(kPruneMinutes, minutes_pruned_, minutes, kAtOnce));
    PTG_TRY(const db::Rows all, tx.Run(kPrune, months, kAtOnce));
    return m.changed == kAtOnce || all.changed == kAtOnce;
  };
  bool more = true;
  while (more && !by.Passed(clock_)) {
    PTG_CO_TRY(more, co_await database_.Write(body, by));
    if (more) PTG_CO_RUN(co_await Sleep(kLetOthers));
  }
  if (!more) minutes_pruned_ = minutes;
  co_return {};
}

}  // namespace pontage::license
