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

Entitlements::Entitlements() : base_(std::make_shared<const Words>()), plans_{""} {}

size_t Entitlements::KeyHash::operator()(const Key& key) const {
  // The random end of an id made by us; any part of a digest.
  uint64_t word = 0;
  std::memcpy(&word, key.data() + 8, sizeof word);
  return word;
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
  if (base_->empty() && recent_.empty()) return std::nullopt;
  const Key key = KeyOf(id);
  auto found = recent_.find(key);
  if (found == recent_.end()) {
    found = base_->find(key);
    if (found == base_->end()) return std::nullopt;
  }
  const Word& word = found->second;
  return Entitlement{.status = word.status,
                     .expires = UnixMs(word.expires_ms),
                     .generation = word.generation,
                     .plan = plans_[word.plan]};
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
    auto merged = std::make_shared<Words>(*next->base_);
    for (const auto& [key, word] : next->recent_) (*merged)[key] = word;
    next->base_ = std::move(merged);
    next->recent_.clear();
  }
  return next;
}

}  // namespace pontage::license
