#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "base/time.h"
#include "license/claims.h"
#include "sales/mail/templates.h"
#include "sales/projection.h"
#include "wire/stripe/values.h"

namespace pontage::sales {

// A plan as it is sold.
struct SoldPlan {
  std::string name;
  std::vector<std::string> products;
  std::string tier;
  license::Limits limits;
  std::string shown;  // "$29/month"
  Money price;
  std::string interval;  // "month", "year"; empty: once, for `days`
  int64_t days = 30;
  int64_t trial_days = 0;        // of a buyer's first license
  stripe::PriceId stripe_price;  // empty: found by lookup key, the plan's name
};

// All that is sold here, and in whose name. Immutable.
struct Shop {
  std::map<std::string, SoldPlan, std::less<>> plans;
  std::string issuer;      // of licenses
  std::string public_url;  // without a slash at the end
  Millis grace{3 * 86'400'000LL};
  mail::Seller seller;
  bool automatic_tax = false;
  bool receipts = true;  // a mail with the invoice of each renewal
  bool claim_links =
      false;  // mails and pages have a link that shows the license once, in its place

  const SoldPlan* Find(std::string_view name) const {
    const auto found = plans.find(name);
    return found == plans.end() ? nullptr : &found->second;
  }
  PlanMap Prices() const {
    PlanMap map;
    for (const auto& [name, plan] : plans) {
      std::vector<stripe::PriceId> prices;
      if (!plan.stripe_price.empty()) prices.push_back(plan.stripe_price);
      map.Add(name, std::move(prices));
    }
    return map;
  }
};

}  // namespace pontage::sales
