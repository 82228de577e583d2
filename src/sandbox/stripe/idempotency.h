#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/time.h"

namespace pontage::sandbox::stripe {

// The answers that were given under an Idempotency-Key, to be given again for a day.
class KeptAnswers {
 public:
  static constexpr size_t kMaxKept = 10'000;  // some 6 KiB each; the oldest make room
  static constexpr size_t kMaxKey = 255;      // as Stripe's

  struct Kept {
    std::string question;  // a digest of method, path and parameters
    int status = 200;
    std::string body;
    std::string request_id;
  };
  // nullptr when there is none that is young enough.
  const Kept* Find(const std::string& key, UnixMs now) const {
    const auto found = kept_.find(key);
    if (found == kept_.end() || found->second.first + kFor < now) return nullptr;
    return &found->second.second;
  }
  void Keep(const std::string& key, Kept answer, UnixMs now) {
    if (kept_.insert_or_assign(key, std::pair(now, std::move(answer))).second)
      order_.push_back(key);
    while (order_.size() > kMaxKept) {
      kept_.erase(order_.front());
      order_.pop_front();
    }
  }

 private:
  static constexpr Millis kFor{86'400'000};
  std::unordered_map<std::string, std::pair<UnixMs, Kept>> kept_;
  std::deque<std::string> order_;
};

}  // namespace pontage::sandbox::stripe
