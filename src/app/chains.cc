#include "app/chains.h"

#include <algorithm>

#include "base/log.h"
#include "base/try.h"
#include "settle/remote_facilitator.h"

namespace pontage::app {
namespace {

settle::SubmitterOptions OptionsOf(const ChainConfig& from, obs::Registry& metrics) {
  settle::SubmitterOptions options;
  options.confirmations = from.confirmations;
  options.gas_cap = from.gas_cap;
  options.max_fee_per_gas = from.max_fee_per_gas;
  options.gwei_per_hour = GweiPerHour(from);
  options.queue.batch = from.batch;
  options.metrics = &metrics;
  return options;
}

}  // namespace

std::optional<int64_t> GweiPerHour(const ChainConfig& chain) {
  if (!chain.gas_per_hour) return std::nullopt;
  constexpr uint64_t kWeiOfGwei = 1'000'000'000;
  const uint64_t gwei =
      DivMod(*chain.gas_per_hour, kWeiOfGwei).quotient.ToU64().value_or(INT64_MAX);
  return static_cast<int64_t>(std::min<uint64_t>(gwei, INT64_MAX / 2));
}

Result<std::unique_ptr<Chains>> Chains::Make(const Config& config, db::Database& database,
                                             Loop& loop, const Clock& clock, Rng& rng,
                                             obs::Registry& metrics) {
  auto chains = std::make_unique<Chains>();
  chains->clock_ = &clock;
  chains->assets_ = config.Assets();
  std::vector<settle::LocalChain> locals;
  for (const ChainConfig& from : config.chains) {
    if (from.network.family() != chain::Family::kEvm) {
      Log(LogLevel::kWarn, "chain.unsupported",
          {{"network", from.network.Caip2()}, {"detail", "only EVM chains are in this version"}});
      continue;
    }
    One one{.network = from.network, .rpc = nullptr, .keys = {}, .signers = nullptr};
    chain::EvmRpcOptions nodes;
    nodes.metrics = &metrics;
    PTG_TRY(one.rpc, chain::EvmRpc::Make(from.network, from.rpc, clock, nodes));
    std::vector<settle::Submitter*> keys;
    for (const Secret& signer : from.signers) {
      if (signer.empty()) continue;
      Result<crypto::PrivateKey> key = crypto::PrivateKey::FromHex(signer.Reveal());
      if (!key) {
        return Fail(Error(Code::kConfig, "chain." + from.network.Caip2() + ".signer is no key")
                        .Want(key.error().expected()));
      }
      one.keys.push_back(std::make_unique<settle::Submitter>(
          loop, *one.rpc, database, *std::move(key), rng, OptionsOf(from, metrics)));
      keys.push_back(one.keys.back().get());
    }
    if (!keys.empty()) {
      one.signers = std::make_unique<settle::Signers>(std::move(keys), database, clock);
    }
    locals.push_back({one.rpc.get(), one.signers.get(), from.quorum_above, from.confirmations});
    chains->chains_.push_back(std::move(one));
  }
  if (config.x402.local_facilitator) {
    auto local = std::make_unique<settle::LocalFacilitator>(std::move(locals), chains->assets_,
                                                            database, clock);
    chains->local_ = local.get();
    chains->facilitator_ = std::move(local);
  } else {
    PTG_RUN(chains->MakeRemote(config, clock));
  }
  chains->ready_ = chains->chains_.empty();
  return chains;
}

Result<> Chains::MakeRemote(const Config& config, const Clock& clock) {
  settle::RemoteOptions options;
  for (const std::string& url : config.x402.facilitator_urls) {
    options.endpoints.push_back({url, config.x402.facilitator_token.Clone()});
  }
  options.check = config.x402.check_receipts;
  for (const One& one : chains_) {
    const ChainConfig* from = config.ChainOf(one.network);
    options.views.push_back({one.rpc.get(), from->confirmations, from->quorum_above});
  }
  PTG_TRY(facilitator_, settle::RemoteFacilitator::Make(std::move(options), assets_, clock));
  return {};
}

Task<> Chains::Check() {
  bool all = true;
  for (One& one : chains_) {
    if (one.checked) continue;
    std::vector<chain::EvmAsset> offered;
    // What would be offered on it; the other known assets are nobody's business here.
    if (const chain::EvmAsset* asset = assets_.DefaultOf(one.network)) {
      offered.push_back(*asset);
    }
    const Result<> checked = co_await chain::CheckEvmChain(*one.rpc, std::move(offered),
                                                           Deadline::In(*clock_, Millis(10'000)));
    if (checked) {
      one.checked = true;
      continue;
    }
    all = false;
    if (checked.error().code() == Code::kConfig) co_return checked;
    Log(LogLevel::kWarn, "chain.unreachable",
        {{"network", one.network.Caip2()}, {"detail", checked.error().detail()}});
  }
  ready_ = all;
  co_return {};
}

void Chains::Start() {
  for (One& one : chains_) {
    for (const auto& key : one.keys) key->Start();
  }
}

Task<> Chains::Stop() {
  for (One& one : chains_) {
    for (const auto& key : one.keys) (void)co_await key->Stop();
  }
  co_return {};
}

}  // namespace pontage::app
