#pragma once

#include <mutex>
#include <string>
#include <unordered_map>

#include "base/time.h"
#include "io/task.h"
#include "sales/shop.h"
#include "sales/stripe_client.h"

namespace pontage::sales {

// The price at Stripe under which a plan is sold: that which the configuration names, else the one
// that has the plan's name as its lookup key now. Safe to use from every loop.
class SoldPrices {
 public:
  // A key may go to another price at any time (`pontage stripe setup` moves it to the newer one).
  static constexpr Millis kKept{60'000};

  // Both outlive it.
  SoldPrices(StripeClient& stripe, const Clock& clock) : stripe_(stripe), clock_(clock) {}

  // kConflict at /plan when no price that can be sold has the key; else what Stripe's client says.
  Task<stripe::PriceId> Of(const SoldPlan& plan, Deadline by);
  // For a price that Stripe did not sell. Whether there may be another one by now.
  bool Forget(const SoldPlan& plan);

 private:
  struct Kept {
    stripe::PriceId price;
    SteadyMs until;
  };
  StripeClient& stripe_;
  const Clock& clock_;
  std::mutex mutex_;
  std::unordered_map<std::string, Kept> kept_;  // by plan
};

}  // namespace pontage::sales
