#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "wire/stripe/objects.h"

// What a subscription at Stripe means to us, computed anew from what Stripe says now. Pure: the
// caller has fetched the subscription and its invoices; events only say that it is time to look.
namespace pontage::sales {

// Which plan a price sells. By its id as configured; else by its lookup key, which is the plan's
// name; else by the plan that `pontage stripe setup` wrote into its metadata: a plan's older price,
// which keeps its subscribers, has lost the key to the newer one.
class PlanMap {
 public:
  // A plan, with the prices that the configuration names for it.
  void Add(std::string plan, std::vector<stripe::PriceId> prices = {});
  // nullptr: the price belongs to no plan of ours.
  const std::string* Find(const stripe::Price& price) const;

 private:
  struct Plan {
    std::string name;
    std::vector<stripe::PriceId> prices;
  };
  const std::string* ByName(std::string_view name) const;
  std::vector<Plan> plans_;
};

struct ProjectedItem {
  stripe::SubscriptionItemId id;
  stripe::PriceId price;
  std::string plan;                    // empty: of no plan of ours; opens nothing, and is an alarm
  std::optional<UnixMs> paid_through;  // none: nothing was paid for it yet
  // Set while the change to `price` is owed: the one that was paid for, and whose plan it has
  // until then.
  std::optional<stripe::PriceId> paid_price = {};
};

struct Projection {
  stripe::SubscriptionId id;
  stripe::CustomerId customer;
  stripe::Word<stripe::SubscriptionStatus> status;
  UnixMs period_end;  // to show and to look again by; never what was paid for
  std::optional<UnixMs> cancel_at;
  std::optional<UnixMs> ended_at;
  bool cancel_at_period_end = false;
  bool collection_paused = false;
  std::vector<ProjectedItem> items;
  // The last invoice that somebody paid money for: whose refund ends the license.
  std::optional<stripe::InvoiceId> latest_paid;
};

// `invoices`: those of the subscription in any state, their lines complete; the newest hundred are
// enough. Newest first, as Stripe lists them: that decides between those of one second.
//
// paid_through is the end of what paid invoices (of nothing, too: trials, coupons, balances) bought
// of the item, or, where none names the item, of the subscription; but while an
// invoice is owed, what names another of its items counts for that one alone. A draft, open, void
// or uncollectible invoice buys nothing. A credit for unused time takes back what was bought from
// there on, so that a year that was exchanged for a month is over with the month. While a
// subscription is on trial, the trial's end counts as paid.
//
// A change of the price within what was paid for, whose invoice was not paid (past_due), changes
// nothing until it is: paid_price. One that is billed with the next period is as Stripe has it.
Projection Project(const stripe::Subscription& subscription,
                   std::span<const stripe::Invoice> invoices, const PlanMap& plans);

// The newest paid invoice with an amount; nullptr when there is none.
const stripe::Invoice* LatestPaid(std::span<const stripe::Invoice> invoices);

// Whether a later invoice that is paid, of nothing, too (a coupon, a balance), bought a later
// period than `latest`: then the refund of `latest` takes nothing back that still counts.
bool IsSuperseded(const stripe::Invoice& latest, std::span<const stripe::Invoice> invoices);

}  // namespace pontage::sales
