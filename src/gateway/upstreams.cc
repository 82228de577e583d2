#include "gateway/upstreams.h"

#include <algorithm>

#include "base/check.h"
#include "base/try.h"
#include "io/timer.h"

namespace pontage::gateway {

Ask MayAsk(Health& health, const UpstreamLimits& limits, SteadyMs now) {
  if (!health.down) return Ask::kYes;
  if (now < health.retry_at) return Ask::kNo;
  // The next one tries after as long again, should nothing be heard of this one.
  health.retry_at = now + limits.down_for;
  return Ask::kTry;
}

Change Note(Health& health, const UpstreamLimits& limits, Outcome outcome, SteadyMs now) {
  if (outcome == Outcome::kGood) {
    const bool was_down = health.down;
    health = Health{};
    return was_down ? Change::kUp : Change::kNone;
  }
  const bool connect = outcome == Outcome::kNoConnect;
  const size_t most = connect ? limits.max_connect_failures : limits.max_errors;
  size_t& streak = connect ? health.connect_failures : health.errors;
  ++streak;
  // It took the connection.
  if (!connect) health.connect_failures = 0;
  if (health.down) {
    health.for_connects = connect;
    health.retry_at = now + limits.down_for;
    return Change::kNone;
  }
  if (most == 0 || streak < most) return Change::kNone;
  health.down = true;
  health.for_connects = connect;
  health.retry_at = now + limits.down_for;
  return Change::kDown;
}

Ask SharedHealth::MayAsk(const UpstreamLimits& limits, SteadyMs now) {
  if (up()) return Ask::kYes;
  const std::lock_guard lock(mutex_);
  return gateway::MayAsk(health_, limits, now);
}

Change SharedHealth::Note(const UpstreamLimits& limits, Outcome outcome, SteadyMs now) {
  if (outcome == Outcome::kGood && up()) return Change::kNone;
  const std::lock_guard lock(mutex_);
  const Change change = gateway::Note(health_, limits, outcome, now);
  clean_.store(outcome == Outcome::kGood, std::memory_order_relaxed);
  if (change != Change::kNone) down_.Set(change == Change::kDown ? 1 : 0);
  return change;
}

bool SharedHealth::for_connects() {
  const std::lock_guard lock(mutex_);
  return health_.for_connects;
}

struct Gate::Waiter {
  Completion<void> turn;
  bool granted = false;  // under the gate's lock, as the line is
};

// A place in the line. Whoever leaves it, however he does (a client that hangs up takes his
// coroutine with him), neither blocks it nor keeps what he was given meanwhile.
class Gate::Place {
 public:
  Place(Gate& gate, std::shared_ptr<Waiter> waiter) : gate_(gate), waiter_(std::move(waiter)) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    const std::lock_guard lock(gate_.mutex_);
    if (!waiter_->granted) {
      std::erase(gate_.line_, waiter_);
    } else if (!taken_) {
      --gate_.used_;
      gate_.Grant();
    }
    gate_.waiting_.Set(static_cast<int64_t>(gate_.line_.size()));
  }
  // Whether it was granted; it belongs to the caller then.
  bool Take() {
    const std::lock_guard lock(gate_.mutex_);
    taken_ = waiter_->granted;
    return taken_;
  }

 private:
  Gate& gate_;
  const std::shared_ptr<Waiter> waiter_;
  bool taken_ = false;
};

Task<Gate::Permit> Gate::Enter(const UpstreamLimits& limits, const Clock& clock) {
  if (limits.max_in_flight == 0) co_return Permit();
  const std::shared_ptr<Gate> self = shared_from_this();
  const auto busy = [](const char* why) { return Fail(Code::kUpstreamBusy, why); };
  auto waiter = std::make_shared<Waiter>();
  {
    const std::lock_guard lock(mutex_);
    most_ = limits.max_in_flight;
    Grant();
    if (used_ < most_ && line_.empty()) {
      in_flight_.Set(static_cast<int64_t>(++used_));
      co_return Permit(self);
    }
    if (line_.size() >= limits.max_waiting) {
      co_return busy("as many requests as may wait for the upstream are waiting");
    }
    line_.push_back(waiter);
    waiting_.Set(static_cast<int64_t>(line_.size()));
  }
  Place place(*this, waiter);
  Error late(Code::kUpstreamBusy, "the upstream was busy for too long");
  auto turn = waiter->turn.Until(Deadline::In(clock, limits.wait_timeout), late);
  (void)co_await turn;
  if (!place.Take()) co_return Fail(std::move(late));
  co_return Permit(self);
}

void Gate::Leave() {
  const std::lock_guard lock(mutex_);
  PTG_CHECK(used_ > 0);
  --used_;
  Grant();
}

void Gate::Grant() {
  while (used_ < most_ && !line_.empty()) {
    const std::shared_ptr<Waiter> next = std::move(line_.front());
    line_.pop_front();
    next->granted = true;
    ++used_;
    next->turn.Set({});
  }
  in_flight_.Set(static_cast<int64_t>(used_));
  waiting_.Set(static_cast<int64_t>(line_.size()));
}

std::shared_ptr<Gate> Upstreams::GateOf(const std::string& upstream) {
  const std::lock_guard lock(mutex_);
  std::erase_if(gates_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<Gate>& known = gates_[upstream];
  std::shared_ptr<Gate> gate = known.lock();
  if (gate == nullptr) {
    gate = std::make_shared<Gate>(
        metrics_.GaugeOf("pontage_upstream_in_flight",
                         "Requests at an upstream that has max_in_flight.",
                         {{"upstream", upstream}}),
        metrics_.GaugeOf("pontage_upstream_waiting", "Requests that wait for their turn at it.",
                         {{"upstream", upstream}}));
    known = gate;
  }
  return gate;
}

std::shared_ptr<SharedHealth> Upstreams::HealthOf(const std::string& upstream,
                                                  const std::string& address) {
  const std::lock_guard lock(mutex_);
  std::erase_if(healths_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<SharedHealth>& known = healths_[{upstream, address}];
  std::shared_ptr<SharedHealth> health = known.lock();
  if (health == nullptr) {
    health = std::make_shared<SharedHealth>(metrics_.GaugeOf(
        "pontage_upstream_down", "1 while an address of an upstream counts as down.",
        {{"upstream", upstream}, {"address", address}}));
    known = health;
  }
  return health;
}

}  // namespace pontage::gateway
