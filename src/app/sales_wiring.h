#pragma once

#include <memory>
#include <string>

#include "app/config.h"
#include "app/role.h"
#include "base/rng.h"
#include "base/time.h"
#include "sales/reconcile.h"
#include "sales/shop.h"
#include "sales/stripe_client.h"

namespace pontage::app {

// The price list as it is sold, and Stripe's client for it; for the command line, too. kConfig
// without a key of Stripe's.
sales::Shop ShopOf(const Config& config, const std::string& public_url);
Result<std::unique_ptr<sales::StripeClient>> MakeStripe(const Config& config, const Clock& clock,
                                                        Rng& rng);

// The role `sales` of a process: licenses and their feed always, checkout and webhooks with a key
// of Stripe's, mail with [mail].
class SalesRole : public Role {
 public:
  // kConfig without a key that signs licenses, and for what Stripe's or the mail's sections say
  // wrong.
  static Result<std::unique_ptr<SalesRole>> Make(const RoleParts& parts);
  // For the command line, which starts nothing: null without a key of Stripe's. Both are in no
  // hurry.
  virtual sales::Reconciler* reconciler() = 0;
  virtual sales::Worker* patient_worker() = 0;
};

}  // namespace pontage::app
