#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "app/config.h"
#include "app/door.h"
#include "app/license_keys.h"
#include "app/site.h"
#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "gateway/gateway.h"
#include "ledger/ledger.h"
#include "license/quota.h"
#include "license/usage_book.h"
#include "net/server.h"
#include "obs/metrics.h"

// What the gateway role of a process is made of beside its loops.
namespace pontage::app {

// What outlives configurations and is shared by all loops: who used how much, how the upstreams
// are, and the dependencies that a Gateway takes. Made before the loops run.
class GatewayShared {
 public:
  struct Parts {
    ledger::Ledger& ledger;
    obs::Registry& metrics;
    const Clock& clock;
    Rng& rng;
    std::vector<Door> doors;  // beside the routes
    std::function<bool()> ready;
    Millis settle_timeout{30'000};
    db::Database& database;  // where licenses are counted
    LicenseKeys& keys;
    const license::Freshness* heard = nullptr;  // the issuer of licenses
  };
  explicit GatewayShared(Parts parts);

  const gateway::GatewayDeps& deps() const { return deps_; }
  gateway::Upstreams& upstreams() { return upstreams_; }
  // Writes down what licenses used, and gives blocks of quotas back that nobody asks for (`all`: at
  // the end). What the store does not take is logged, and tried again.
  Task<> WriteLicenses(bool all);
  // That every few seconds. Never ends by itself.
  Task<> CountLicenses();

 private:
  const std::vector<Door> doors_;
  const Clock& clock_;
  gateway::Limiter limiter_;
  gateway::Upstreams upstreams_;
  license::Quota quota_;
  license::UsageBook usage_;
  const gateway::GatewayDeps deps_;
};

// A route that names a built-in path has it; whoever wrote it should know. The same of a route
// without an upstream, which nobody can ask for directly.
void WarnOfRoutes(const gateway::Site& site);

}  // namespace pontage::app
