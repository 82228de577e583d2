#include "console/keys.h"

#include <algorithm>

namespace pontage::console {
namespace {

// Who has one address of a network of IPv6 has all of it.
std::string_view Whose(std::string_view address) {
  size_t colons = 0;
  for (size_t i = 0; i < address.size(); ++i) {
    if (address[i] == ':' && ++colons == 4) return address.substr(0, i);
  }
  return address;
}

}  // namespace

WrongTries::Bucket* WrongTries::Find(std::string_view address, SteadyMs now) {
  const std::string_view whose = Whose(address);
  const auto found = std::ranges::find(buckets_, whose, &Bucket::address);
  if (found != buckets_.end()) return &*found;
  // Those that have all their tries again are as good as new.
  if (buckets_.size() >= kMostAddresses / 2) {
    std::erase_if(buckets_, [now](const Bucket& b) { return b.full_at <= now; });
  }
  if (buckets_.size() >= kMostAddresses) return nullptr;
  buckets_.push_back({.address = std::string(whose), .full_at = now});
  return &buckets_.back();
}

std::optional<Millis> WrongTries::Blocked(std::string_view address, SteadyMs now) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(buckets_, Whose(address), &Bucket::address);
  if (found == buckets_.end()) return std::nullopt;
  const Millis over = found->full_at - now - (kTries - 1) * kEach;
  if (over <= Millis(0)) return std::nullopt;
  return over;
}

void WrongTries::Note(std::string_view address, SteadyMs now) {
  const std::lock_guard lock(mutex_);
  Bucket* bucket = Find(address, now);
  if (bucket == nullptr) return;
  bucket->full_at = std::max(bucket->full_at, now) + kEach;
}

Result<Caller> OperatorKeys::Judge(std::string_view presented, std::string_view address,
                                   SteadyMs now) {
  if (const auto wait = wrong_.Blocked(address, now)) {
    return Fail(Error(Code::kRateLimited, "too many wrong keys")
                    .Want("another try in " + std::to_string(wait->count() / 1000 + 1) + " s"));
  }
  const OperatorKey* found = nullptr;
  for (const OperatorKey& key : keys_) {
    // All of them, so that the time says nothing.
    const bool matches = !key.key.empty() && key.key.Matches(presented);
    if (matches && found == nullptr) found = &key;
  }
  if (found != nullptr) return Caller{.name = found->name, .scopes = found->scopes};
  // Who forgot the header does not guess.
  if (!presented.empty()) wrong_.Note(address, now);
  return Fail(Error(Code::kUnauthorized, presented.empty() ? "the operator's key is missing"
                                                           : "this is no operator's "
                                                             "key")
                  .Want("X-Admin-Key: <the key>"));
}

}  // namespace pontage::console
