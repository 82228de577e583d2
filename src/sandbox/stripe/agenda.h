#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/time.h"

namespace pontage::sandbox::stripe {

// What the account's clock will do: for each object at most one time at which something becomes of
// it. Bounded by the objects that there are.
class Agenda {
 public:
  struct Item {
    UnixMs due;
    std::string id;
  };

  // Replaces the time of `id`; nothing takes it off.
  void Set(const std::string& id, std::optional<UnixMs> due) {
    const auto old = by_id_.find(id);
    if (old != by_id_.end()) {
      by_time_.erase({old->second, id});
      by_id_.erase(old);
    }
    if (!due) return;
    by_id_.emplace(id, *due);
    by_time_.emplace(*due, id);
  }
  std::optional<Item> First() const {
    if (by_time_.empty()) return std::nullopt;
    return Item{by_time_.begin()->first, by_time_.begin()->second};
  }

 private:
  std::map<std::string, UnixMs> by_id_;
  std::set<std::pair<UnixMs, std::string>> by_time_;
};

// The account's time: the machine's, moved by the test clock. While what has become due is worked
// through, it stands at the moment for which each thing was planned.
class AccountClock {
 public:
  explicit AccountClock(const Clock& clock) : clock_(clock) {}

  UnixMs Now() const { return standing_ ? *standing_ : clock_.Now() + moved_; }
  // What receivers of events compare the time in a signature with.
  UnixMs Real() const { return clock_.Now(); }
  Millis moved() const { return moved_; }
  void Move(Millis by) { moved_ += by; }
  void StandAt(UnixMs at) { standing_ = at; }
  void Go() { standing_.reset(); }

 private:
  const Clock& clock_;
  Millis moved_{0};
  std::optional<UnixMs> standing_;
};

}  // namespace pontage::sandbox::stripe
