#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "io/runtime.h"
#include "io/task.h"

namespace pontage {

// Waits for `duration` on the current loop, by a timer of its own (exact to a millisecond or so).
Task<> Sleep(Millis duration);

// A flag that coroutines of one loop wait for. Set wakes all that wait; it stays set until Clear.
// The event must outlive a running Set: what is woken must not destroy it.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  bool is_set() const { return set_; }
  void Set();
  void Clear() { set_ = false; }
  // kTimeout when `by` passes first (at the sweep's grain).
  Task<> Wait(Deadline by);

 private:
  struct Waiter;
  std::vector<Waiter*> waiters_;
  std::vector<Waiter*> waking_;
  bool set_ = false;
};

// Somebody of a loop who waits for a result from elsewhere.
struct CompletionState {
  explicit CompletionState(Loop* l) : loop(l) {}
  // On the loop's thread, once the result is there: goes on with whoever still waits.
  void Resume() {
    std::coroutine_handle<> who;
    {
      const std::lock_guard lock(mutex);
      who = std::exchange(waiter, nullptr);
    }
    if (who) who.resume();
  }
  std::mutex mutex;
  Loop* loop;  // there as long as `waiter` is
  std::coroutine_handle<> waiter;
};

// As long as it lives, on its thread, results that are set wake nobody; when it ends, all whose
// results were set meanwhile go on, with one wake-up for each loop instead of one for each of them.
class WakeTogether {
 public:
  WakeTogether();
  ~WakeTogether();
  WakeTogether(const WakeTogether&) = delete;
  WakeTogether& operator=(const WakeTogether&) = delete;
  // Of this thread; null: whoever is to wake is woken at once.
  static WakeTogether* Current();
  void Add(std::shared_ptr<CompletionState> state) { states_.push_back(std::move(state)); }

 private:
  WakeTogether* const before_;
  std::vector<std::shared_ptr<CompletionState>> states_;
};

// One result that another thread (or a callback) delivers to one waiting coroutine. Copies share
// the one slot. A coroutine that is destroyed while it waits is forgotten: what is delivered then
// is dropped, whether or not its loop is still there.
template <typename T>
class Completion {
  struct State : CompletionState {
    using CompletionState::CompletionState;
    std::optional<Result<T>> result;
  };

  class Awaiter final : public DeadlineNode {
   public:
    Awaiter(std::shared_ptr<State> state, Deadline by, std::optional<Error> late)
        : state_(std::move(state)), by_(by), late_(std::move(late)) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    ~Awaiter() override {
      const std::lock_guard lock(state_->mutex);
      state_->waiter = nullptr;
    }
    bool await_ready() const {
      const std::lock_guard lock(state_->mutex);
      return state_->result.has_value();
    }
    bool await_suspend(std::coroutine_handle<> handle) {
      const std::lock_guard lock(state_->mutex);
      if (state_->result) return false;
      state_->waiter = handle;
      if (late_) state_->loop->Watch(*this, by_);
      return true;
    }
    Result<T> await_resume() {
      Unlink();
      const std::lock_guard lock(state_->mutex);
      if (!state_->result) return std::unexpected(*std::move(late_));
      return *std::move(state_->result);
    }

   private:
    void Expire() override {
      std::coroutine_handle<> waiter;
      {
        const std::lock_guard lock(state_->mutex);
        waiter = std::exchange(state_->waiter, nullptr);
      }
      if (waiter) waiter.resume();
    }

    std::shared_ptr<State> state_;
    Deadline by_;
    std::optional<Error> late_;
  };

 public:
  // Called on the loop that will wait.
  Completion() : state_(std::make_shared<State>(Loop::Current())) {}

  // From any thread, once. The waiter resumes on its own loop.
  void Set(Result<T> result) const {
    const std::lock_guard lock(state_->mutex);
    state_->result.emplace(std::move(result));
    if (!state_->waiter) return;
    if (WakeTogether* const together = WakeTogether::Current()) return together->Add(state_);
    state_->loop->Post([state = state_] { state->Resume(); });
  }

  // For awaiting, once.
  Awaiter operator co_await() const { return Awaiter(state_, Deadline::Never(), std::nullopt); }
  // The same for those who will not wait for ever: `late` once `by` has passed (at the sweep's
  // grain); a result that comes later is dropped.
  Awaiter Until(Deadline by, Error late) const { return Awaiter(state_, by, std::move(late)); }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace pontage
