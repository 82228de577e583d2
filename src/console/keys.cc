#include "console/keys.h"

#include <algorithm>
#include <array>
#include <set>

namespace pontage::console {
namespace {

constexpr std::array<std::string_view, 4> kScopes = {"read", "support", "refund", "owner"};

// What stands in examples, and what people type first: none of these is a key, however long.
constexpr std::array<std::string_view, 14> kKnown = {
    "changeme", "change-me", "change_me", "password", "secret",   "operator", "admin",
    "default",  "example",   "pontage",   "test",     "12345678", "x402",     "letmein"};
// So many different letters a key made by chance has, whatever it is written in.
constexpr size_t kLeastLetters = 6;

std::string Lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return out;
}

// Whether known words and what people put between them are all there is.
bool IsMadeOfKnownWords(std::string_view text) {
  const auto filler = [](char c) {
    return (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '!' || c == ' ';
  };
  size_t words = 0;
  while (!text.empty()) {
    const auto* const word = std::ranges::find_if(
        kKnown, [text](std::string_view known) { return text.starts_with(known); });
    if (word != kKnown.end()) {
      text.remove_prefix(word->size());
      ++words;
    } else if (filler(text.front()) || text.starts_with("key")) {
      text.remove_prefix(text.starts_with("key") ? 3 : 1);
    } else {
      return false;
    }
  }
  return words > 0;
}

// Who has one address of a network of IPv6 has all of it.
std::string_view Whose(std::string_view address) {
  size_t colons = 0;
  for (size_t i = 0; i < address.size(); ++i) {
    if (address[i] == ':' && ++colons == 4) return address.substr(0, i);
  }
  return address;
}

}  // namespace

std::string_view ToString(Scope scope) { return kScopes[static_cast<size_t>(scope)]; }

std::optional<Scope> ParseScope(std::string_view text) {
  const auto* const found = std::ranges::find(kScopes, text);
  if (found == kScopes.end()) return std::nullopt;
  return static_cast<Scope>(found - kScopes.begin());
}

Scopes Scopes::All() {
  Scopes all;
  all.Add(Scope::kOwner);
  return all;
}

bool Scopes::Cover(Scope wanted) const {
  const auto has = [this](Scope scope) {
    return (bits_ >> static_cast<unsigned>(scope) & 1u) != 0;
  };
  if (has(Scope::kOwner) || has(wanted)) return true;
  return wanted == Scope::kRead && !empty();
}

std::optional<std::string> WeaknessOf(std::string_view key) {
  if (key.empty()) return "it is empty";
  if (key.size() < kLeastKey) {
    return "it has less than " + std::to_string(kLeastKey) + " characters";
  }
  if (IsMadeOfKnownWords(Lower(key))) return "it is one that everybody tries first";
  if (std::set<char>(key.begin(), key.end()).size() < kLeastLetters) {
    return "it is made of too few different characters";
  }
  return std::nullopt;
}

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
