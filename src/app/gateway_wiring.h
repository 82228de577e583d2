#pragma once

#include <functional>
#include <memory>

#include "app/config.h"
#include "app/site.h"
#include "base/rng.h"
#include "base/time.h"
#include "facilitator/facilitator_api.h"
#include "gateway/gateway.h"
#include "ledger/ledger.h"
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
    // The facilitator's paths beside the routes; nullptr: none.
    facilitator::FacilitatorApi* api = nullptr;
    std::function<bool()> ready;
    Millis settle_timeout{30'000};
  };
  explicit GatewayShared(Parts parts);

  const gateway::GatewayDeps& deps() const { return deps_; }
  gateway::Upstreams& upstreams() { return upstreams_; }

 private:
  facilitator::FacilitatorApi* const api_;
  gateway::Limiter limiter_;
  gateway::Upstreams upstreams_;
  const gateway::GatewayDeps deps_;
};

// A route that names a built-in path has it; whoever wrote it should know. The same of a route
// without an upstream, which nobody can ask for directly.
void WarnOfRoutes(const gateway::Site& site);

}  // namespace pontage::app
