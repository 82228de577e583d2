#include "sales/sold_prices.h"

#include <utility>
#include <vector>

#include "base/try.h"

namespace pontage::sales {

Task<stripe::PriceId> SoldPrices::Of(const SoldPlan& plan, Deadline by) {
  if (!plan.stripe_price.empty()) co_return plan.stripe_price;
  {
    const std::lock_guard lock(mutex_);
    const auto found = kept_.find(plan.name);
    if (found != kept_.end() && clock_.Steady() < found->second.until) {
      co_return found->second.price;
    }
  }
  std::vector<std::string> keys{plan.name};
  PTG_CO_TRY(const std::vector<stripe::Price> prices,
             co_await stripe_.FindPrices(std::move(keys), by));
  for (const stripe::Price& price : prices) {
    if (!price.active) continue;
    const std::lock_guard lock(mutex_);
    kept_[plan.name] = {.price = price.id, .until = clock_.Steady() + kKept};
    co_return price.id;
  }
  co_return Fail(Error(Code::kConflict, "the plan " + plan.name + " has no price at Stripe yet")
                     .At("/plan")
                     .Want("stripe_price of the plan, or a price with its name as lookup_key"));
}

bool SoldPrices::Forget(const SoldPlan& plan) {
  const std::lock_guard lock(mutex_);
  return kept_.erase(plan.name) > 0;
}

}  // namespace pontage::sales
