#include "web/key_rules.h"

#include <algorithm>
#include <array>
#include <set>

namespace pontage::web {
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

}  // namespace pontage::web
