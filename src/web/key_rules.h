#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// What an operator's key may do and what makes it one: for the configuration, which is read in
// every binary, and for the console.
namespace pontage::web {

// What a key may do. Each has what those before it have.
//   read     everything there is to see
//   support  reissue, extend, re-run an event, retry a mail
//   refund   money back
//   owner    issue and revoke, and whatever comes
enum class Scope : uint8_t { kRead, kSupport, kRefund, kOwner };
std::string_view ToString(Scope scope);
std::optional<Scope> ParseScope(std::string_view text);

// A set of scopes, as a key or a session has it.
class Scopes {
 public:
  Scopes() = default;
  static Scopes All();
  void Add(Scope scope) { bits_ |= 1u << static_cast<unsigned>(scope); }
  // Owner covers all; the others cover reading and themselves.
  bool Cover(Scope wanted) const;
  bool empty() const { return bits_ == 0; }

 private:
  unsigned bits_ = 0;
};

// Why a key is too weak to serve with, in words for the configuration; nothing: it is good. Shorter
// than kLeastKey, one letter over and over, or a word that everybody tries first.
std::optional<std::string> WeaknessOf(std::string_view key);
inline constexpr size_t kLeastKey = 16;

}  // namespace pontage::web
