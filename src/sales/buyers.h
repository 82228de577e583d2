#pragma once

#include <string>

#include "base/time.h"
#include "db/db.h"
#include "io/task.h"
#include "sales/stripe_client.h"

namespace pontage::sales {

// Which customer of Stripe's an address is: one, however many checkouts are open. Safe to use from
// every loop.
class Buyers {
 public:
  // All of them outlive it.
  Buyers(StripeClient& stripe, db::Database& database, const Clock& clock)
      : stripe_(stripe), database_(database), clock_(clock) {}

  // The customer of `email` (in the spelling of NormalEmail): that of our books while Stripe has
  // him under this address; else one that is found or made there, and takes his place. A customer
  // may be deleted at Stripe, or get another address there: what is sold to him would be somebody
  // else's. Errors are those of Stripe's client and of the store.
  Task<stripe::CustomerId> CustomerOf(std::string email, Deadline by);

 private:
  Task<bool> IsStill(const std::string& customer, const std::string& email, Deadline by);
  // `gone`: who was it before; empty: nobody.
  Task<std::string> FindOrMake(const std::string& email, const std::string& gone, Deadline by);

  StripeClient& stripe_;
  db::Database& database_;
  const Clock& clock_;
};

}  // namespace pontage::sales
