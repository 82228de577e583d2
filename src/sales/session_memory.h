#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/time.h"

namespace pontage::sales {

// What Stripe said checkout sessions bought, for a while: a page that is loaded again and again
// asks no more than once, and neither does a stranger who tries ids. Of more than `most` sessions
// the first is forgotten. Safe to use from every loop.
class SessionMemory {
 public:
  static constexpr size_t kMost = 4'096;  // some 400 KiB
  // A session whose purchase is known buys nothing else.
  static constexpr Millis kKnown{600'000};
  // One that Stripe does not know will hardly be made meanwhile.
  static constexpr Millis kUnknown{30'000};

  explicit SessionMemory(size_t most = kMost) : most_(most) {}

  // Its purchase; "": Stripe knows no such session. Nothing: ask.
  std::optional<std::string> Find(const std::string& session, SteadyMs now) const;
  // What to say of it for kKnown; for kUnknown where `purchase` is empty.
  void Note(const std::string& session, std::string purchase, SteadyMs now);

 private:
  struct Entry {
    std::string purchase;
    SteadyMs until;
  };
  const size_t most_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
  std::deque<std::string> order_;  // as they came; each of `entries_` once
};

}  // namespace pontage::sales
