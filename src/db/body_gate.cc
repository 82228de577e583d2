#include "db/body_gate.h"

namespace pontage::db {

bool BodyGate::Enter() {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  running_ = true;
  return true;
}

void BodyGate::Leave() {
  const std::lock_guard lock(mutex_);
  running_ = false;
  if (ended_) ended_->Set({});
  ended_.reset();
  idle_.notify_all();
}

bool BodyGate::Close(const Completion<void>& ended) {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  if (running_) ended_ = ended;
  return !running_;
}

void BodyGate::CloseNow() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  idle_.wait(lock, [this] { return !running_; });
}

}  // namespace pontage::db
