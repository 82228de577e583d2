#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/id.h"
#include "wire/stripe/form.h"
#include "wire/stripe/values.h"

namespace pontage::sales {

// What somebody buys at Stripe's hosted page.
struct CheckoutRequest {
  // Once, for a term; or by the month or year.
  bool subscription = true;
  stripe::PriceId price;
  std::string plan;  // by our name
  // Who buys, by our books: Stripe gives it back with everything that comes of the purchase.
  TenantId tenant;
  // Whom Stripe knows; empty: the page asks for an address and makes a customer of it.
  stripe::CustomerId customer;
  std::string success_url;  // may hold {CHECKOUT_SESSION_ID}, which Stripe fills in
  std::string cancel_url;
  int64_t trial_days = 0;  // of a subscription
  // Stripe Tax; needs an origin address and registrations in the account.
  bool automatic_tax = true;
};

// `public_url` + the page that Stripe sends the buyer back to, with a place for the session's id.
std::string SuccessUrl(std::string_view public_url);

// The parameters of POST /v1/checkout/sessions. The tenant and the plan stand in three places:
// client_reference_id and metadata are the session's and stay with it, so what the session makes
// gets them as well. Companies are asked for their tax id and, with it, their name; what they type
// is kept with the customer. The billing address comes with automatic tax, or is asked for without.
// Nothing of a request's own goes into the two URLs.
stripe::Form CheckoutForm(const CheckoutRequest& request);

}  // namespace pontage::sales
