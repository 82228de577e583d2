#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/secret.h"
#include "base/time.h"

// Who the operator is: keys with scopes, and a bound on guessing.
namespace pontage::console {

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

struct OperatorKey {
  std::string name;  // as the audit says it: "operator", "key:bot"
  Secret key;
  Scopes scopes;
};

// Why a key is too weak to serve with, in words for the configuration; nothing: it is good. Shorter
// than kLeastKey, one letter over and over, or a word that everybody tries first.
std::optional<std::string> WeaknessOf(std::string_view key);
inline constexpr size_t kLeastKey = 16;

// Who came in.
struct Caller {
  std::string name;
  Scopes scopes;
};

// Wrong tries: of one address (of IPv6: its /64) kTries at once and then one each kEach. Right ones
// cost nothing, but an address that is out of tries is not even asked. No bound over all addresses:
// guessing a key of kLeastKey is hopeless, and shutting the operator out is not. Safe to use from
// every loop.
class WrongTries {
 public:
  static constexpr int64_t kTries = 10;
  static constexpr Millis kEach{6'000};
  static constexpr size_t kMostAddresses = 10'000;

  // How long the address has to wait before it is asked again; nothing: it may try.
  std::optional<Millis> Blocked(std::string_view address, SteadyMs now);
  void Note(std::string_view address, SteadyMs now);

 private:
  struct Bucket {
    std::string address;
    SteadyMs full_at{};  // when all tries will be there again
  };
  Bucket* Find(std::string_view address, SteadyMs now);
  std::mutex mutex_;
  std::vector<Bucket> buckets_;
};

// The keys of the configuration. Every key is compared, each in constant time.
class OperatorKeys {
 public:
  explicit OperatorKeys(std::vector<OperatorKey> keys) : keys_(std::move(keys)) {}

  // By the key that was presented. `address`: of the client, for the bound. kUnauthorized for a
  // wrong one or none, kRateLimited when too many were wrong.
  Result<Caller> Judge(std::string_view presented, std::string_view address, SteadyMs now);
  // By its name; nullptr when there is no such key.
  const OperatorKey* Find(std::string_view name) const {
    for (const OperatorKey& key : keys_) {
      if (key.name == name) return &key;
    }
    return nullptr;
  }

 private:
  const std::vector<OperatorKey> keys_;
  WrongTries wrong_;
};

}  // namespace pontage::console
