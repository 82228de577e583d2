#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "catalog/route.h"
#include "codec/json.h"
#include "deal/deal.h"
#include "license/decision.h"
#include "license/freshness.h"
#include "license/verifier.h"
#include "net/message.h"

namespace pontage::rail {

// A plan as an offer shows it.
struct PlanOffer {
  std::string name;
  std::vector<std::string> products;  // none: every route that names the plan
  std::string price;                  // "$29/month"
  std::string checkout;               // where it is bought; empty: not here
};

// Licenses: bought by card, checked here without asking anybody. Made once for each configuration;
// safe to use from every loop.
class LicenseRail {
 public:
  LicenseRail(std::shared_ptr<const license::Verifier> verifier,
              const std::vector<catalog::Route>& routes, const std::vector<PlanOffer>& plans,
              license::Plans terms = {}, license::StalePolicy stale = {});

  const std::shared_ptr<const license::Verifier>& verifier() const { return verifier_; }

  const license::StalePolicy& stale() const { return stale_; }

  // The license of a request: Authorization: Bearer, or X-API-Key. Not judged, but refused
  // (kLicenseInvalid) where it could be read in two ways: a field given twice, two that differ.
  static Result<std::optional<std::string_view>> Find(const net::Headers& headers);

  // What opens the route, in words of the license's own.
  license::Demand DemandOf(const catalog::Route& route) const {
    return {.product = route.product, .plans = route.plans, .terms = &terms_};
  }
  // Whether any license could open it.
  static bool Opens(const catalog::Route& route) {
    return !route.plans.empty() || !route.product.empty();
  }

  // Adds the plans that open the route, as the member "plans".
  void Offer(size_t route, deal::Challenge& challenge) const;

 private:
  std::shared_ptr<const license::Verifier> verifier_;
  license::Plans terms_;
  license::StalePolicy stale_;
  std::vector<codec::Json> offers_;  // by route; null: no plan opens it
};

}  // namespace pontage::rail
