#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "base/time.h"
#include "io/task.h"

namespace boost::asio {
class io_context;
}

namespace pontage {

class ReadySet;

// Something on a loop that wakes up when its time has come and it has not been taken off before.
// Checked by one coarse sweep (every kSweep), not by a timer each: a time-out may fire that much
// late.
class DeadlineNode {
 public:
  DeadlineNode() = default;
  DeadlineNode(const DeadlineNode&) = delete;
  DeadlineNode& operator=(const DeadlineNode&) = delete;
  virtual ~DeadlineNode() { Unlink(); }
  void Unlink();
  bool linked() const { return prev_ != nullptr; }

 protected:
  // Called on the loop's thread, already unlinked.
  virtual void Expire() = 0;

 private:
  friend class Loop;
  DeadlineNode* prev_ = nullptr;
  DeadlineNode* next_ = nullptr;
  SteadyMs at_;
};

// One thread's event loop: a connection lives and dies on one. Only Post and Stop may be called
// from other threads.
class Loop {
 public:
  static constexpr Millis kSweep{100};
  static constexpr uint64_t kTrimEvery = 100;  // sweeps: memory that a burst left goes back

  // How time passes on it. kByHand is for simulations: nothing is waited for, its owner moves the
  // clock and calls Poll; Sleep and every deadline follow that clock to the millisecond. No
  // sockets.
  enum class Drive : uint8_t { kByTime, kByHand };

  explicit Loop(const Clock& clock = Clock::System(), Drive drive = Drive::kByTime);
  // Destroys what was spawned and has not finished; nothing of it runs any more.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // The loop whose thread this is, or null.
  static Loop* Current();

  // Runs until Stop.
  void Run();
  void Stop();
  // Runs the loop until `task` has finished, and gives its result. For main(), tools and tests.
  template <typename T>
  Result<T> RunUntilDone(Task<T> task);

  // `fn` runs on the loop's thread, in the order posted.
  void Post(std::move_only_function<void()> fn);
  // Starts a coroutine that nobody awaits. What it fails with is logged under `what`.
  void Spawn(Task<> task, std::string_view what);
  // How many spawned coroutines have not finished.
  size_t spawned() const;
  // Destroys them, wherever they stand, as the end of the process would: before what they use is
  // destroyed. Not from within one of them.
  void DropSpawned();

  // Only kByHand. Runs all that was posted and all that is due by the clock, until nothing is; how
  // many steps that was.
  size_t Poll();
  // Only kByHand: the earliest time at which something will be due; nothing when nobody waits.
  std::optional<SteadyMs> NextDue() const;
  Drive drive() const { return drive_; }

  // Puts `node` under the sweep; it must be unlinked or destroyed before the loop is.
  void Watch(DeadlineNode& node, Deadline at);

  const Clock& clock() const { return clock_; }
  boost::asio::io_context& context();
  // Where its sockets stand; null when it is driven by hand, and from the loop's destruction on.
  ReadySet* sockets() const;

 private:
  struct Impl;
  struct Root;
  void RunWhile(const bool& go_on);
  void Sweep();
  size_t ExpireDue();

  const Clock& clock_;
  Drive drive_;
  std::unique_ptr<Impl> impl_;
};

template <typename T>
Result<T> Loop::RunUntilDone(Task<T> task) {
  std::optional<Result<T>> result;
  bool go_on = true;
  const auto wrap = [](Task<T> inner, std::optional<Result<T>>& out, bool& run) -> Task<> {
    out.emplace(co_await inner);
    run = false;
    co_return {};
  };
  Spawn(wrap(std::move(task), result, go_on), "run_until_done");
  RunWhile(go_on);
  if (!result) return Fail(Code::kInternal, "the loop was stopped before the task finished");
  return *std::move(result);
}

// One loop for each of `threads` threads. The threads start in Start and are joined in Join.
class Runtime {
 public:
  explicit Runtime(size_t threads, const Clock& clock = Clock::System());
  ~Runtime();
  size_t size() const { return loops_.size(); }
  Loop& loop(size_t i) { return *loops_[i]; }
  void Start();
  // Asks every loop to stop; safe from any thread, more than once.
  void Stop();
  void Join();

 private:
  std::vector<std::unique_ptr<Loop>> loops_;
  std::vector<std::thread> threads_;
};

}  // namespace pontage
