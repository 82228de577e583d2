#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "license/decision.h"
#include "license/feed.h"

namespace pontage::license {

// The issuer's latest words as a gateway has them: immutable, shared by its loops, replaced as the
// feed goes on. A license without one stands as its token says.
class Entitlements {
 public:
  Entitlements();

  // 128 bits of a license's id: those it is made of, or of its digest.
  using Key = std::array<uint8_t, 16>;
  static Key KeyOf(std::string_view id);

  std::optional<Entitlement> Find(const Key& key) const;
  std::optional<Entitlement> Find(std::string_view id) const { return Find(KeyOf(id)); }
  // These and the lines of `entries`, of which a later one of a license replaces an earlier. What
  // is over `now` is forgotten.
  std::shared_ptr<const Entitlements> With(std::span<const FeedEntry> entries, UnixMs now) const;

  // The last line that it has: where the feed goes on, and what the next is bound to.
  int64_t seq() const { return seq_; }
  const std::string& hash() const { return hash_; }
  size_t size() const { return base_->size() + recent_->size(); }

 private:
  struct Word {
    int64_t expires_ms = 0;
    int32_t generation = 0;
    uint16_t plan = 0;  // in plans_
    Status status = Status::kActive;
  };
  struct Slot {
    Key key{};
    Word word{.generation = kFree};
  };
  // No license has it.
  static constexpr int32_t kFree = -1;

  // Many words in one piece of memory: 43 bytes for each license. Made once and then only read.
  class Table {
   public:
    Table() = default;
    // Those of `before` and of `after`, of which the latter counts where both have one, and of
    // several in `after` the last; free ones count for nothing.
    Table(const Table& before, std::span<const Slot> after);
    // Null: there is none.
    const Word* Find(const Key& key) const;
    size_t size() const { return size_; }
    std::span<const Slot> slots() const { return slots_; }

   private:
    size_t PlaceOf(const Key& key) const;
    void Put(const Slot& one);

    std::vector<Slot> slots_;  // a quarter of them free, each word behind its place
    size_t size_ = 0;
  };

  uint16_t PlanOf(const std::string& plan);

  // What came lately is copied at each step; when it is more than this it becomes part of the base.
  static constexpr size_t kRecent = 4'096;
  // A price list has a few plans. What would be one too many keeps the plan of its token.
  static constexpr size_t kMostPlans = 10'000;

  std::shared_ptr<const Table> base_;
  std::shared_ptr<const Table> recent_;
  std::vector<std::string> plans_;
  // Of the few licenses whose text before is still good, or was when the last lines came.
  std::map<Key, UnixMs> old_until_;
  int64_t seq_ = 0;
  std::string hash_;
};

}  // namespace pontage::license
