#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/gateway_wiring.h"
#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "io/runtime.h"
#include "obs/metrics.h"
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
class SalesRole {
 public:
  // kConfig without a key that signs licenses, and for what Stripe's or the mail's sections say
  // wrong. `public_url` is where buyers reach this process. `database`, `metrics`, `clock` and
  // `rng` outlive it.
  static Result<std::unique_ptr<SalesRole>> Make(const Config& config,
                                                 const std::string& public_url,
                                                 db::Database& database, obs::Registry& metrics,
                                                 const Clock& clock, Rng& rng);
  ~SalesRole();

  std::vector<Door> Doors();
  // On the loop's thread: the inbox, the outbox and the comparisons with Stripe begin to work.
  void Start(Loop& loop);
  // For the command line, which starts nothing: null without a key of Stripe's. Both are in no
  // hurry.
  sales::Reconciler* reconciler();
  sales::Worker* patient_worker();
  // Nobody is kept waiting any more. From any thread.
  void Stop();

 private:
  struct Impl;
  explicit SalesRole(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pontage::app
