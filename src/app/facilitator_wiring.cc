#include "app/facilitator_wiring.h"

#include <utility>

namespace pontage::app {

Result<std::unique_ptr<facilitator::FacilitatorApi>> MakeFacilitatorApi(
    const Config& config, Chains& chains, bool at_root, const Clock& clock, Rng& rng) {
  if (chains.local() == nullptr) {
    return Fail(Error(Code::kConfig, "role facilitator needs a [chain] of our own")
                    .Want("x402.facilitator = \"local\" and a [chain] with rpc and signer"));
  }
  facilitator::ApiOptions options;
  options.at_root = at_root;
  for (const Secret& token : config.facilitator.tokens) options.tokens.push_back(token.Clone());
  for (const PayTo& to : config.x402.pay_to) {
    const auto address = crypto::EvmAddress::Parse(to.address);
    if (address) options.pay_to.emplace_back(to.network, *address);
  }
  return std::make_unique<facilitator::FacilitatorApi>(*chains.local(), chains.assets(),
                                                       std::move(options), clock, rng);
}

}  // namespace pontage::app
