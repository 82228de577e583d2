#include "io/timer.h"

#include <algorithm>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace pontage {
namespace {

struct TimerAwaiter {
  boost::asio::steady_timer timer;

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    timer.async_wait([handle](const boost::system::error_code& error) {
      // Aborted only when the frame that owns the timer is being destroyed.
      if (!error) handle.resume();
    });
  }
  void await_resume() const {}
};

}  // namespace

Task<> Sleep(Millis duration) {
  TimerAwaiter timer{boost::asio::steady_timer(Loop::Current()->context(), duration)};
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
  // Only those that wait now, one at a time: a woken coroutine may clear the event and wait again, or
  // destroy other waiters.
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

}  // namespace pontage
