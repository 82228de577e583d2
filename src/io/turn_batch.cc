#include "io/turn_batch.h"

namespace pontage {

void TurnBatch::Work::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  batch_.waiting_.Append(*this);
  // Whoever has gone on and wants more in the same turn would hold up everybody else.
  if (batch_.going_on_) return batch_.AskForNextTurnEnd();
  batch_.AskForTurnEnd();
}

void TurnBatch::AtTurnEnd() {
  // Behind those who only want to send what they have.
  if (!last_) {
    last_ = true;
    return AskForTurnEnd();
  }
  last_ = false;
  pontage::IoLink done;
  for (size_t i = 0; i < most_ && !waiting_.alone(); ++i) {
    auto* const work = static_cast<Work*>(waiting_.after);
    work->Unlink();
    work->Do();
    done.Append(*work);
  }
  if (!waiting_.alone()) AskForNextTurnEnd();
  going_on_ = true;
  while (!done.alone()) {
    auto* const work = static_cast<Work*>(done.after);
    work->Unlink();
    work->handle_.resume();
  }
  going_on_ = false;
}

}  // namespace pontage
