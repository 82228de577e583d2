#include "license/entitlements.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "codec/hex.h"
#include "crypto/hash.h"

namespace pontage::license {
namespace {

constexpr std::string_view kPrefix = "lic_";
constexpr size_t kIdDigits = 32;

int32_t Clamped(int64_t generation) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(std::clamp<int64_t>(generation, 0, kMost));
}

}  // namespace

Entitlements::Entitlements()
    : base_(std::make_shared<const Table>()),
      recent_(std::make_shared<const Table>()),
      plans_{""} {}

Entitlements::Table::Table(const Table& before, std::span<const Slot> after) {
  const size_t most = before.size_ + after.size();
  slots_.resize(most + most / 3 + 1);
  for (const std::span<const Slot> all : {before.slots(), after}) {
    for (const Slot& slot : all) {
      if (slot.word.generation != kFree) Put(slot);
    }
  }
}

size_t Entitlements::Table::PlaceOf(const Key& key) const {
  // The random end of an id made by us; any part of a digest. Ids have a few bits at its front that
  // are always the same, and it is the front that says the place.
  uint64_t word = 0;
  std::memcpy(&word, key.data() + 8, sizeof word);
  constexpr uint64_t kSpread = 0x9E37'79B9'7F4A'7C15;
  __extension__ using Wide = unsigned __int128;
  return static_cast<size_t>((static_cast<Wide>(word * kSpread) * slots_.size()) >> 64);
}

const Entitlements::Word* Entitlements::Table::Find(const Key& key) const {
  if (slots_.empty()) return nullptr;
  // One is free, so it ends.
  for (size_t at = PlaceOf(key);; at = at + 1 == slots_.size() ? 0 : at + 1) {
    const Slot& slot = slots_[at];
    if (slot.word.generation == kFree) return nullptr;
    if (slot.key == key) return &slot.word;
  }
}

void Entitlements::Table::Put(const Slot& one) {
  size_t at = PlaceOf(one.key);
  while (slots_[at].word.generation != kFree && slots_[at].key != one.key) {
    at = at + 1 == slots_.size() ? 0 : at + 1;
  }
  if (slots_[at].word.generation == kFree) ++size_;
  slots_[at] = one;
}

Entitlements::Key Entitlements::KeyOf(std::string_view id) {
  Key key{};
  if (id.size() == kPrefix.size() + kIdDigits && id.starts_with(kPrefix)) {
    if (codec::HexInto(id.substr(kPrefix.size()), key)) return key;
  }
  const crypto::Hash32 digest = crypto::Sha256(codec::AsBytes(id));
  std::copy_n(digest.begin(), key.size(), key.begin());
  return key;
}

uint16_t Entitlements::PlanOf(const std::string& plan) {
  const auto found = std::ranges::find(plans_, plan);
  if (found == plans_.end()) {
    if (plans_.size() >= kMostPlans) return 0;
    plans_.push_back(plan);
    return static_cast<uint16_t>(plans_.size() - 1);
  }
  return static_cast<uint16_t>(found - plans_.begin());
}

std::optional<Entitlement> Entitlements::Find(const Key& key) const {
  const Word* word = recent_->Find(key);
  if (word == nullptr) word = base_->Find(key);
  if (word == nullptr) return std::nullopt;
  Entitlement out{.status = word->status,
                  .expires = UnixMs(word->expires_ms),
                  .generation = word->generation,
                  .plan = plans_[word->plan]};
  if (word->generation > 1 && !old_until_.empty()) {
    const auto old = old_until_.find(key);
    if (old != old_until_.end()) out.old_until = old->second;
  }
  return out;
}

std::shared_ptr<const Entitlements> Entitlements::With(std::span<const FeedEntry> entries,
                                                       UnixMs now) const {
  auto next = std::make_shared<Entitlements>(*this);
  std::erase_if(next->old_until_, [now](const auto& old) { return old.second <= now; });
  std::vector<Slot> news;
  news.reserve(entries.size());
  for (const FeedEntry& entry : entries) {
    const Key key = KeyOf(entry.license);
    if (entry.word.old_until > now) {
      next->old_until_[key] = entry.word.old_until;
    } else {
      next->old_until_.erase(key);
    }
    news.push_back({.key = key,
                    .word = {.expires_ms = entry.word.expires.ms(),
                             .generation = Clamped(entry.word.generation),
                             .plan = next->PlanOf(entry.word.plan),
                             .status = entry.word.status}});
    next->seq_ = entry.seq;
    next->hash_ = entry.hash;
  }
  next->recent_ = std::make_shared<const Table>(*recent_, news);
  if (next->recent_->size() > kRecent) {
    next->base_ = std::make_shared<const Table>(*base_, next->recent_->slots());
    next->recent_ = std::make_shared<const Table>();
  }
  return next;
}

}  // namespace pontage::license
