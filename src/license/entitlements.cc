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

Entitlements::Entitlements() : base_(std::make_shared<const Table>()), plans_{""} {}

size_t Entitlements::KeyHash::operator()(const Key& key) const {
  // The random end of an id made by us; any part of a digest.
  uint64_t word = 0;
  std::memcpy(&word, key.data() + 8, sizeof word);
  return word;
}

Entitlements::Table::Table(const Table& before, const Words& after) {
  const size_t most = before.size_ + after.size();
  slots_.resize(most + most / 3 + 1);
  for (const auto& [key, word] : after) Put(key, word);
  for (const Slot& slot : before.slots_) {
    if (slot.word.generation != kFree && Find(slot.key) == nullptr) Put(slot.key, slot.word);
  }
}

size_t Entitlements::Table::PlaceOf(const Key& key) const {
  // Ids have a few bits at the front of their random end that are always the same; and it is the
  // front that says the place.
  constexpr uint64_t kSpread = 0x9E37'79B9'7F4A'7C15;
  __extension__ using Wide = unsigned __int128;
  return static_cast<size_t>((static_cast<Wide>(KeyHash()(key) * kSpread) * slots_.size()) >> 64);
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

void Entitlements::Table::Put(const Key& key, const Word& word) {
  size_t at = PlaceOf(key);
  while (slots_[at].word.generation != kFree) at = at + 1 == slots_.size() ? 0 : at + 1;
  slots_[at] = {.key = key, .word = word};
  ++size_;
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

std::optional<Entitlement> Entitlements::Find(std::string_view id) const {
  if (size() == 0) return std::nullopt;
  const Key key = KeyOf(id);
  const auto recent = recent_.find(key);
  const Word* const word = recent != recent_.end() ? &recent->second : base_->Find(key);
  if (word == nullptr) return std::nullopt;
  return Entitlement{.status = word->status,
                     .expires = UnixMs(word->expires_ms),
                     .generation = word->generation,
                     .plan = plans_[word->plan]};
}

std::shared_ptr<const Entitlements> Entitlements::With(std::span<const FeedEntry> entries) const {
  auto next = std::make_shared<Entitlements>(*this);
  for (const FeedEntry& entry : entries) {
    next->recent_[KeyOf(entry.license)] = {.expires_ms = entry.word.expires.ms(),
                                           .generation = Clamped(entry.word.generation),
                                           .plan = next->PlanOf(entry.word.plan),
                                           .status = entry.word.status};
    next->seq_ = entry.seq;
    next->hash_ = entry.hash;
  }
  if (next->recent_.size() > kRecent) {
    next->base_ = std::make_shared<const Table>(*next->base_, next->recent_);
    next->recent_ = Words();
  }
  return next;
}

}  // namespace pontage::license
