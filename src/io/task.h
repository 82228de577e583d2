#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/shelves.h"

namespace pontage {

// A coroutine that is started by being awaited and gives a Result<T>. It runs on the thread of the
// loop that awaits it and never moves to another one. Destroying a Task that has not finished
// destroys its frame and everything in it; only its owner may do that, and not from inside it.
//
//   Task<Hold> Reserve(Grant grant, Deadline by);         // declaration
//   PTG_CO_TRY(const Hold hold, co_await Reserve(g, by)); // use, in another Task
//
// Inside, `co_return value;`, `co_return Fail(…);`, and for Task<> `co_return {};`. An exception
// that leaves the body becomes kInternal: adapters catch at their edge, this is the net below them.
template <typename T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(Handle h) const noexcept {
      return h.promise().continuation ? h.promise().continuation : std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };

  struct promise_type {
    static void* operator new(std::size_t bytes) { return TakeShelved(bytes); }
    static void operator delete(void* frame, std::size_t bytes) { GiveShelved(frame, bytes); }

    std::coroutine_handle<> continuation;
    std::optional<Result<T>> value;

    Task get_return_object() { return Task(Handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    FinalAwaiter final_suspend() noexcept { return {}; }
    void return_value(Result<T> result) { value.emplace(std::move(result)); }
    void unhandled_exception() noexcept {
      value.emplace(Fail(Code::kInternal, "unexpected exception"));
    }
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
    handle_.promise().continuation = awaiting;
    return handle_;
  }
  Result<T> await_resume() {
    PTG_CHECK(handle_.promise().value.has_value());
    return *std::move(handle_.promise().value);
  }

 private:
  explicit Task(Handle handle) : handle_(handle) {}
  Handle handle_;
};

}  // namespace pontage
