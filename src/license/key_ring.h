#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "crypto/jwt.h"
#include "license/claims.h"

namespace pontage::license {

// The public keys that licenses are checked with, as they are now: one for the process, replaced
// while it runs, shared by all loops. Reading takes a lock, but only who sees a token for the first
// time reads; whoever remembers one compares the version.
class KeyRing {
 public:
  struct Named {
    crypto::Jwk jwk;
    // How the licenses begin that its owner signs with it: who finds this has read their header.
    std::string license_head;
  };
  using Keys = std::shared_ptr<const std::vector<Named>>;

  explicit KeyRing(std::vector<crypto::Jwk> keys = {}) : keys_(Name(std::move(keys))) {}

  Keys keys() const {
    const std::lock_guard lock(mutex_);
    return keys_;
  }
  // From the next token on. True when they are other ones than before.
  bool Replace(std::vector<crypto::Jwk> keys) {
    const std::lock_guard lock(mutex_);
    if (std::ranges::equal(*keys_, keys, {}, &Named::jwk)) return false;
    keys_ = Name(std::move(keys));
    version_.fetch_add(1, std::memory_order_release);
    return true;
  }
  // Another one after each change.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }

 private:
  static Keys Name(std::vector<crypto::Jwk> keys) {
    auto out = std::make_shared<std::vector<Named>>();
    for (crypto::Jwk& jwk : keys) {
      std::string head = crypto::JwsHead(jwk.kid, kLicenseType);
      out->push_back({.jwk = std::move(jwk), .license_head = std::move(head)});
    }
    return out;
  }

  mutable std::mutex mutex_;
  Keys keys_;
  std::atomic<uint64_t> version_{0};
};

}  // namespace pontage::license
