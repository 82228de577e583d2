#pragma once

#include <memory>

#include "app/config.h"
#include "gateway/gateway.h"
#include "settle/facilitator.h"

namespace pontage::app {

// The gateway's immutable snapshot out of a configuration: routes parsed and ordered, prices turned
// into exact offers, upstream URLs read. `running` is the configuration of the chains and times
// that are in force: the same one at start. Licenses are checked with what `keys` has at the time.
// kConfig names the route at fault. `facilitator`, `upstreams` and `clock` outlive it.
Result<std::shared_ptr<const gateway::Site>> BuildSite(const Config& config, const Config& running,
                                                       const std::string& public_url,
                                                       settle::Facilitator& facilitator,
                                                       gateway::Upstreams& upstreams,
                                                       std::shared_ptr<const license::KeyRing> keys,
                                                       const Clock& clock);

}  // namespace pontage::app
