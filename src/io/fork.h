#pragma once

#include <optional>

#include "io/task.h"

namespace pontage {

// A task that runs beside its owner: started at once, owned by this object, and destroyed with it,
// wherever it waits. Not to be destroyed from inside the task itself: what the task does must wake
// the owner through the loop (Loop::Post, a socket), never by resuming it directly.
class Fork {
 public:
  Fork() = default;
  explicit Fork(Task<> task) { Start(std::move(task)); }
  ~Fork() { Stop(); }
  Fork(const Fork&) = delete;
  Fork& operator=(const Fork&) = delete;

  // Ends what ran before.
  void Start(Task<> task) {
    Stop();
    result_.reset();
    runner_ = Run(std::move(task), result_).handle;
    runner_.resume();
  }
  void Stop() {
    if (runner_) std::exchange(runner_, nullptr).destroy();
  }
  // Set once the task has finished by itself.
  const std::optional<Result<>>& result() const { return result_; }

 private:
  struct Runner {
    struct promise_type {
      Runner get_return_object() {
        return Runner{std::coroutine_handle<promise_type>::from_promise(*this)};
      }
      std::suspend_always initial_suspend() noexcept { return {}; }
      std::suspend_always final_suspend() noexcept { return {}; }
      void return_void() {}
      void unhandled_exception() noexcept {
        CheckFailed(__FILE__, __LINE__, "exception in a forked coroutine");
      }
    };
    std::coroutine_handle<promise_type> handle;
  };
  static Runner Run(Task<> task, std::optional<Result<>>& result) { result.emplace(co_await task); }

  std::coroutine_handle<> runner_;
  std::optional<Result<>> result_;
};

}  // namespace pontage
