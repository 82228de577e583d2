#include "io/timer.h"

#include <algorithm>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace pontage {
namespace {

// The handler may already be queued, with success, when the waiting frame is destroyed: it reaches
// the coroutine only through `waiter_`.
class TimerAwaiter {
 public:
  explicit TimerAwaiter(Millis duration) : timer_(Loop::Current()->context(), duration) {}
  ~TimerAwaiter() {
    if (waiter_) *waiter_ = nullptr;
  }
  TimerAwaiter(const TimerAwaiter&) = delete;
  TimerAwaiter& operator=(const TimerAwaiter&) = delete;

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiter_ = std::make_shared<std::coroutine_handle<>>(handle);
    timer_.async_wait([waiter = waiter_](const boost::system::error_code&) {
      if (*waiter) std::exchange(*waiter, nullptr).resume();
    });
  }
  void await_resume() const {}

 private:
  boost::asio::steady_timer timer_;
  std::shared_ptr<std::coroutine_handle<>> waiter_;
};

// The same on a loop that is driven by hand.
class NodeAwaiter final : public DeadlineNode {
 public:
  explicit NodeAwaiter(Millis duration) : duration_(duration) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    Loop& loop = *Loop::Current();
    loop.Watch(*this, Deadline::In(loop.clock(), duration_));
  }
  void await_resume() const {}

 private:
  void Expire() override { handle_.resume(); }
  Millis duration_;
  std::coroutine_handle<> handle_;
};

}  // namespace

Task<> Sleep(Millis duration) {
  if (Loop::Current()->drive() == Loop::Drive::kByHand) {
    NodeAwaiter node(duration);
    co_await node;
    co_return {};
  }
  TimerAwaiter timer(duration);
  co_await timer;
  co_return {};
}

struct Event::Waiter final : DeadlineNode {
  explicit Waiter(Event& e, Deadline d) : event(e), by(d) {}
  ~Waiter() override { Forget(); }

  bool await_ready() const { return event.set_; }
  void await_suspend(std::coroutine_handle<> h) {
    handle = h;
    event.waiters_.push_back(this);
    Loop::Current()->Watch(*this, by);
  }
  Result<> await_resume() {
    Forget();
    if (expired) return Fail(Code::kTimeout, "timed out");
    return {};
  }
  void Expire() override {
    expired = true;
    Forget();
    handle.resume();
  }

  void Forget() {
    Unlink();
    std::erase(event.waiters_, this);
    std::erase(event.waking_, this);
  }

  Event& event;
  Deadline by;
  std::coroutine_handle<> handle;
  bool expired = false;
};

void Event::Set() {
  set_ = true;
  // Only those that wait now, one at a time: a woken coroutine may clear the event and wait again,
  // or destroy other waiters.
  waking_.insert(waking_.end(), waiters_.begin(), waiters_.end());
  waiters_.clear();
  while (!waking_.empty()) {
    Waiter* const waiter = waking_.front();
    waking_.erase(waking_.begin());
    waiter->Unlink();
    waiter->handle.resume();
  }
}

Task<> Event::Wait(Deadline by) {
  Waiter waiter(*this, by);
  PTG_CHECK(Loop::Current() != nullptr);
  co_return co_await waiter;
}

namespace {
thread_local WakeTogether* t_together = nullptr;
}  // namespace

WakeTogether::WakeTogether() : before_(std::exchange(t_together, this)) {}

WakeTogether* WakeTogether::Current() { return t_together; }

WakeTogether::~WakeTogether() {
  t_together = before_;
  while (!states_.empty()) {
    Loop* const loop = states_.front()->loop;
    std::vector<std::shared_ptr<CompletionState>> here;
    std::vector<std::shared_ptr<CompletionState>> others;
    for (auto& state : states_) {
      (state->loop == loop ? here : others).push_back(std::move(state));
    }
    states_ = std::move(others);
    const std::shared_ptr<CompletionState> keeper = [&here]() -> std::shared_ptr<CompletionState> {
      for (const auto& state : here) {
        state->mutex.lock();
        if (state->waiter) return state;
        state->mutex.unlock();
      }
      return nullptr;
    }();
    // Nobody of that loop waits any more: it may be gone.
    if (keeper == nullptr) continue;
    const std::lock_guard lock(keeper->mutex, std::adopt_lock);
    loop->Post([here = std::move(here)] {
      for (const auto& state : here) state->Resume();
    });
  }
}

}  // namespace pontage
