#pragma once

#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "base/rng.h"
#include "base/time.h"
#include "io/task.h"
#include "sales/shop.h"
#include "sales/stripe_client.h"

// Stripe's page where a buyer looks after his cards, invoices and plan. What it lets him do stands
// in a configuration there: `pontage stripe setup` makes one for each shop of an account.
namespace pontage::sales {

// Where its links lead back to, and by which a shop knows its own configuration.
std::string PortalReturnUrl(const Shop& shop);

// The shop's own among those of its account: made by us, for it, and in use. Null: none. Pure.
const stripe::PortalConfiguration* FindOurPortal(
    std::span<const stripe::PortalConfiguration> configurations, const Shop& shop);

// Opens it for buyers. Safe to use from every loop.
class Portal {
 public:
  // Somebody may set up the shop anew at any time.
  static constexpr Millis kKept{60'000};

  // All outlive it.
  Portal(StripeClient& stripe, const Shop& shop, const Clock& clock, Rng& rng)
      : stripe_(stripe), shop_(shop), clock_(clock), rng_(rng) {}

  // The page's address, good for some minutes. It is configured as the shop set it up; where it was
  // not, or a key of Stripe's may not look, as the account's default says. Errors: what Stripe's
  // client says; nothing is left behind.
  Task<std::string> Open(stripe::CustomerId customer, Deadline by);

 private:
  struct Kept {
    stripe::PortalConfigurationId id;  // empty: the account's default
    SteadyMs until;
  };
  std::optional<stripe::PortalConfigurationId> Known();
  Task<stripe::PortalConfigurationId> LookUp(Deadline by);

  StripeClient& stripe_;
  const Shop& shop_;
  const Clock& clock_;
  Rng& rng_;
  std::mutex mutex_;
  std::optional<Kept> kept_;
};

}  // namespace pontage::sales
