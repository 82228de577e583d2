#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/secret.h"
#include "base/time.h"
#include "io/task.h"
#include "sales/shop.h"
#include "sales/stripe_client.h"

namespace pontage::sales {

// A price of ours beside Stripe's.
struct PriceDifference {
  std::string plan;
  std::string ours;     // "$29/month"
  std::string stripes;  // "$19/month", or "none"
};
// Every plan whose price at Stripe is missing, inactive or another one. Fails with what Stripe's
// client says.
Task<std::vector<PriceDifference>> ComparePrices(StripeClient& stripe, const Shop& shop,
                                                 Deadline by);

struct SetupStep {
  std::string what;    // "product", "price", "webhook_endpoint", "portal_configuration"
  std::string name;    // the plan, or the endpoint's address
  std::string id;      // at Stripe; empty: it would be made
  std::string action;  // "kept", "made", "replaced", "changed"; of a dry run "would make"…
  std::string detail;
};
struct SetupReport {
  std::vector<SetupStep> steps;
  Secret endpoint_secret;        // of an endpoint that was made now: Stripe never says it again
  std::optional<Error> failure;  // what ended it after these steps; what they made is there
};

// Makes what the price list needs at Stripe and is not there yet: products, prices under the plans'
// names as lookup keys, the endpoint of our webhook, a portal for buyers. Everything is found again
// by what it is, so that it can be run any number of times, with an empty store, too. A portal of
// ours that offers something else than the price list is changed, and an endpoint that is not told
// all that we need is told more. A price of another amount is never changed (Stripe does not allow
// it): a new one takes its key, and its subscribers keep theirs. `dry`: nothing is made. The portal
// offers ten products at most, which is all that Stripe lets it. Never fails: what was done before
// a failure is in the report, too.
Task<SetupReport> SetUp(StripeClient& stripe, const Shop& shop, bool dry, Deadline by);

}  // namespace pontage::sales
