#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>

#include "io/timer.h"

namespace pontage::db {

// Between a coroutine that waits for a body and the database thread that runs it: the body refers
// to variables of the coroutine, so it must not begin, or still run, once that has gone on or was
// destroyed. Shared by both.
class BodyGate {
 public:
  // One run of the body; false when nobody waits for it any more.
  class Pass {
   public:
    explicit Pass(BodyGate& gate) : gate_(gate), open_(gate.Enter()) {}
    ~Pass() {
      if (open_) gate_.Leave();
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    explicit operator bool() const { return open_; }

   private:
    BodyGate& gate_;
    bool open_;
  };
  // In the coroutine's frame. When that is destroyed while the body runs (a process that ends), its
  // thread waits for the end: as long as the server takes for a statement, at most.
  class Owner {
   public:
    explicit Owner(BodyGate& gate) : gate_(gate) {}
    ~Owner() { gate_.CloseNow(); }
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;

   private:
    BodyGate& gate_;
  };

  // From now on the body does not begin. False when it is running: `ended` is set when it ends.
  bool Close(const Completion<void>& ended);

 private:
  bool Enter();
  void Leave();
  void CloseNow();

  std::mutex mutex_;
  std::condition_variable idle_;
  bool closed_ = false;
  bool running_ = false;
  std::optional<Completion<void>> ended_;
};

}  // namespace pontage::db
