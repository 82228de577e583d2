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
#include "web/key_rules.h"

// Who the operator is: keys with scopes, and a bound on guessing.
namespace pontage::console {

using web::kLeastKey;
using web::ParseScope;
using web::Scope;
using web::Scopes;
using web::ToString;
using web::WeaknessOf;

struct OperatorKey {
  std::string name;  // as the audit says it: "operator", "key:bot"
  Secret key;
  Scopes scopes;
};

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
