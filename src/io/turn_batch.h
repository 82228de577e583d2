#pragma once

#include <coroutine>
#include <cstddef>

#include "io/turn.h"

namespace pontage {

// Long arithmetic of many, done in one go when a turn of the loop is over (io/turn.h), and only
// then does each go on with its result: what the arithmetic needs stays in the caches, whom the
// first result wakes is still awake for the others, and who has nothing to compute comes before all
// of them. Belongs to the loop's thread, and outlives whoever waits.
class TurnBatch final : private TurnNode {
 public:
  // At most `most` of them in a turn: so long it may hold up the loop.
  explicit TurnBatch(size_t most) : most_(most) {}

  // What one wants done: derived classes say what, and give the result. Await it where it was made.
  // Destroyed before its turn, it is not done.
  class Work : private pontage::IoLink {
   public:
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle);

   protected:
    explicit Work(TurnBatch& batch) : batch_(batch) {}
    virtual ~Work() = default;
    virtual void Do() = 0;

   private:
    friend class TurnBatch;
    TurnBatch& batch_;
    std::coroutine_handle<> handle_;
  };

 private:
  void AtTurnEnd() override;

  const size_t most_;
  pontage::IoLink waiting_;
  bool last_ = false;      // all that asked before it had its end of the turn
  bool going_on_ = false;  // those whose work is done
};

}  // namespace pontage
