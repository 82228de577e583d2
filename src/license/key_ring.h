#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "crypto/jwt.h"

namespace pontage::license {

// The public keys that licenses are checked with, as they are now: one for the process, replaced
// while it runs, shared by all loops. Reading takes a lock, but only who sees a token for the first
// time reads; whoever remembers one compares the version.
class KeyRing {
 public:
  using Keys = std::shared_ptr<const std::vector<crypto::Jwk>>;

  explicit KeyRing(std::vector<crypto::Jwk> keys = {})
      : keys_(std::make_shared<const std::vector<crypto::Jwk>>(std::move(keys))) {}

  Keys keys() const {
    const std::lock_guard lock(mutex_);
    return keys_;
  }
  // From the next token on. True when they are other ones than before.
  bool Replace(std::vector<crypto::Jwk> keys) {
    const std::lock_guard lock(mutex_);
    if (*keys_ == keys) return false;
    keys_ = std::make_shared<const std::vector<crypto::Jwk>>(std::move(keys));
    version_.fetch_add(1, std::memory_order_release);
    return true;
  }
  // Another one after each change.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }

 private:
  mutable std::mutex mutex_;
  Keys keys_;
  std::atomic<uint64_t> version_{0};
};

}  // namespace pontage::license
