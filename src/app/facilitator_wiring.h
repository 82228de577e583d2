#pragma once

#include <memory>

#include "app/chains.h"
#include "app/config.h"
#include "base/rng.h"
#include "base/time.h"
#include "facilitator/facilitator_api.h"

namespace pontage::app {

// The facilitator role over HTTP, on the chains of this process. kConfig without a chain of our
// own. `chains`, `clock` and `rng` outlive it.
Result<std::unique_ptr<facilitator::FacilitatorApi>> MakeFacilitatorApi(
    const Config& config, Chains& chains, bool at_root, const Clock& clock, Rng& rng);

}  // namespace pontage::app
