#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/secret.h"
#include "base/time.h"
#include "crypto/fernet.h"
#include "license/claims.h"
#include "license/decision.h"

// Licenses in Fernet's format, for those who have such: whoever can check one can make one.
namespace pontage::license {

// A plan whose licenses have this format. A token names its product and tier only; so no two plans
// have the same of both. A plan without products has its own name in their place.
struct FernetPlan {
  std::string name;
  std::vector<std::string> products;
  std::string tier;
  Limits limits;

  std::vector<std::string> named() const {
    return products.empty() ? std::vector<std::string>{name} : products;
  }
};

// What such a token says: {"product", "tier", "customer_id", "issued_at", "expires_at", "jti"}. The
// product is a name, or a list of several. Its id has the generation behind it from the second on:
// "lic_…", "lic_….2".
std::string FernetPayload(const Claims& claims);

// Shared keys, and what their tokens mean. Immutable.
class FernetKeys {
 public:
  // `others`: products that are sold in another format alone; whoever has a key of this one makes
  // nothing that opens them. kConfig, saying which, for a key that is none.
  static Result<FernetKeys> Parse(const std::vector<Secret>& keys, std::vector<FernetPlan> plans,
                                  std::vector<std::string> others = {});

  // With the first key. The same claims are the same text.
  std::string Issue(const Claims& claims) const;
  // A token of any of the keys. Times without a zone are UTC. A token without "jti", as they were
  // before us, is known by what it says. kLicenseInvalid otherwise, in words for whoever shows it.
  Result<Claims> Read(std::string_view token, std::string_view issuer, UnixMs now) const;

  // Whether `text` could be such a token at all.
  static bool LooksLikeOne(std::string_view text);

 private:
  FernetKeys(std::vector<crypto::FernetKey> keys, std::vector<FernetPlan> plans,
             std::vector<std::string> others)
      : keys_(std::move(keys)), plans_(std::move(plans)), others_(std::move(others)) {}

  std::vector<crypto::FernetKey> keys_;
  std::vector<FernetPlan> plans_;
  std::vector<std::string> others_;
};

// "2026-11-22T10:58:00", perhaps with a fraction, "Z" or "+01:00"; UTC without either. kBadRequest
// otherwise.
Result<UnixMs> ParseIsoTime(std::string_view text);

}  // namespace pontage::license
