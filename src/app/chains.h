#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "app/config.h"
#include "base/rng.h"
#include "base/time.h"
#include "chain/evm_rpc.h"
#include "chain/registry.h"
#include "db/db.h"
#include "io/runtime.h"
#include "obs/metrics.h"
#include "settle/facilitator.h"
#include "settle/local_facilitator.h"
#include "settle/signers.h"
#include "settle/submitter.h"

namespace pontage::app {

// What each key may spend within an hour, as the submitter counts it; absent: no bound.
std::optional<int64_t> GweiPerHour(const ChainConfig& chain);

// The chains of a configuration and the facilitator over them: ours, or somebody else's.
class Chains {
 public:
  // `database`, `loop` and `metrics` outlive it. kConfig for a key that is none, a URL that is
  // none, and for a local facilitator without a chain.
  static Result<std::unique_ptr<Chains>> Make(const Config& config, db::Database& database,
                                              Loop& loop, const Clock& clock, Rng& rng,
                                              obs::Registry& metrics);

  // Asks every chain that has not said so yet whether it is the one it is configured to be (chain
  // id, code and EIP-712 domain of its assets). kConfig when one is not; one that does not answer
  // is a warning and leaves ready() false.
  Task<> Check();
  bool ready() const { return ready_.load(); }

  // On `loop`: starts and stops the submitters.
  void Start();
  Task<> Stop();

  settle::Facilitator& facilitator() { return *facilitator_; }
  // nullptr when the facilitator is somebody else's.
  settle::LocalFacilitator* local() { return local_; }
  const chain::AssetRegistry& assets() const { return assets_; }

 private:
  struct One {
    chain::ChainId network;
    std::unique_ptr<chain::EvmRpc> rpc;
    std::vector<std::unique_ptr<settle::Submitter>> keys;
    std::unique_ptr<settle::Signers> signers;
    bool checked = false;
  };

  Result<> MakeRemote(const Config& config, const Clock& clock);

  chain::AssetRegistry assets_;
  std::vector<One> chains_;
  std::unique_ptr<settle::Facilitator> facilitator_;
  settle::LocalFacilitator* local_ = nullptr;
  const Clock* clock_ = nullptr;
  std::atomic<bool> ready_{false};
};

}  // namespace pontage::app
