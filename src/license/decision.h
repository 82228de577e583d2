#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "license/claims.h"

namespace pontage::license {

// Where a license stands by its issuer's books; the spelling of the operator's API.
enum class Status : uint8_t { kActive, kPastDue, kSuspended, kRevoked, kExpired };
std::string_view ToString(Status status);
std::optional<Status> ParseStatus(std::string_view text);
// Whether a license that stands so opens anything, if its time has not come.
constexpr bool Opens(Status status) {
  return status == Status::kActive || status == Status::kPastDue;
}

// The latest word of the issuer about one license, which the token itself cannot carry: a customer
// pastes it once.
struct Entitlement {
  Status status = Status::kActive;
  UnixMs expires;
  int64_t generation = 1;
  std::string plan;  // which may have changed since; empty: as issued
  // Until when the text of the generation before opens, too; 0: it ended with it.
  UnixMs old_until{};

  friend bool operator==(const Entitlement&, const Entitlement&) = default;
};

// What a plan opens and allows by the configuration in force: for a license whose plan has changed
// since its token was signed.
struct PlanTerms {
  std::vector<std::string> products;
  Limits limits;
};
using Plans = std::map<std::string, PlanTerms, std::less<>>;

// What a route asks for.
struct Demand {
  std::string_view product;            // empty: belongs to none
  std::span<const std::string> plans;  // that it names; none: any plan of its product
  const Plans* terms = nullptr;        // nullptr: tokens alone say what a plan is
};

// What counts for a license now: its token's, but of another plan by the issuer's latest word that
// plan's.
struct InForce {
  std::string_view plan;
  const std::vector<std::string>* products;
  const Limits* limits;
};
InForce TermsOf(const Claims& claims, const std::optional<Entitlement>& word, const Plans* terms);

// Clocks differ; a license is never good for longer than this past its end.
inline constexpr Millis kLeeway{5'000};

// Whether a license opens a route now: the first fault of revoked, suspended, expired, not yet
// good, wrong product, wrong plan. `word` is the issuer's latest, if there is one.
Result<> Decide(const Claims& claims, const std::optional<Entitlement>& word, const Demand& demand,
                UnixMs now);

// The end that counts: what the issuer says now, be it earlier or later than what the token says
// (surface §5: nothing passes after `expires_at`); the token's where he has said nothing of it.
UnixMs EndOf(const Claims& claims, const std::optional<Entitlement>& word);

}  // namespace pontage::license
