#include "sandbox/dev_chain.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/try.h"
#include "chain/registry.h"
#include "io/timer.h"
#include "sandbox/rpc_methods.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using codec::Uint256;
using crypto::EvmAddress;

constexpr uint64_t kDollar = 1'000'000;                 // Atomic units.
constexpr uint64_t kEther = 1'000'000'000'000'000'000;  // Wei.
// RunBlocks looks this often whether the block time was changed; a block is late by a tenth of it
// at most.
constexpr Millis kLook{100};

TokenIdentity TokenOf(uint64_t chain_id) {
  const chain::AssetRegistry registry = chain::AssetRegistry::WithDefaults();
  const chain::EvmAsset* asset = registry.DefaultOf(chain::ChainId::Evm(chain_id));
  if (!asset) asset = registry.DefaultOf(chain::ChainId::Evm(DevChainOptions().chain_id));
  PTG_CHECK(asset != nullptr);
  return {asset->address, asset->eip712_name, asset->eip712_version, chain_id};
}

Uint256 Ether(uint64_t n) {
  const Result<Uint256> wei = Mul(Uint256(kEther), n);
  PTG_CHECK(wei.has_value());
  return *wei;
}

void FundIdentities(BlockChain& chain) {
  const struct {
    const char* name;
    uint64_t dollars;
    uint64_t ether;
  } grants[] = {{"buyer", 1'000 * kDollar, 1}, {"facilitator", 0, 100}, {"poor", kDollar / 100, 0}};
  for (const auto& grant : grants) {
    const EvmAddress who = IdentityOf(grant.name).address;
    chain.SetWei(who, Ether(grant.ether));
    PTG_CHECK(chain.MintDollars(who, Uint256(grant.dollars)).has_value());
  }
}

Json ErrorAnswer(Json id, const RpcError& error) {
  Json body = Json::Object({{"code", error.code}, {"message", error.message}});
  if (error.data) body.Set("data", *error.data);
  return Json::Object({{"jsonrpc", "2.0"}, {"id", std::move(id)}, {"error", std::move(body)}});
}

RpcTable Methods() {
  RpcTable table;
  AddNodeMethods(table);
  AddDevMethods(table);
  return table;
}

}  // namespace

void Node::MineReady() {
  const auto nonce_of = [this](const EvmAddress& who) { return chain.NonceOf(who, {}); };
  // A block that takes nothing means that what is ready does not fit or cannot pay.
  while (!chain.pool().Ready(nonce_of).empty() && !chain.Mine().transactions.empty()) {
  }
}

void Node::MineEvery(Millis every) {
  block_time = every;
  mining = every > Millis(0) ? Mining::kTimed : Mining::kManual;
  next_block = clock.Steady() + every;
}

struct DevChain::Impl {
  Impl(const DevChainOptions& options, const Clock& clock)
      : node{.chain = BlockChain(TokenOf(options.chain_id), clock),
             .clock = clock,
             .next_block = {}},
        methods(Methods()) {
    FundIdentities(node.chain);
    if (options.block_time > Millis(0)) node.MineEvery(options.block_time);
  }

  RpcResult<Json> Call(const Json& request);
  // nullopt for a notification.
  std::optional<Json> Answer(const Json& request);

  std::mutex mutex;
  Node node;
  const RpcTable methods;
};

RpcResult<Json> DevChain::Impl::Call(const Json& request) {
  const Json* version = request.Find("jsonrpc");
  const Json* method = request.Find("method");
  const std::string* name = method ? method->AsString() : nullptr;
  if (!version || *version != Json("2.0") || !name) {
    return RpcFail(kRpcInvalidRequest, "Invalid request");
  }
  const auto found = methods.find(*name);
  if (found == methods.end()) return RpcFail(kRpcNoMethod, "Method not found");
  PTG_TRY(const Params params, Params::Of(request.Find("params")));
  return found->second(node, params);
}

std::optional<Json> DevChain::Impl::Answer(const Json& request) {
  if (!request.IsObject()) {
    return ErrorAnswer(nullptr, RpcError(kRpcInvalidRequest, "Invalid request"));
  }
  RpcResult<Json> result = Call(request);
  const Json* id = request.Find("id");
  const bool invalid = !result && result.error().code == kRpcInvalidRequest;
  if (!id && !invalid) return std::nullopt;
  if (!result) return ErrorAnswer(id ? *id : Json(nullptr), result.error());
  return Json::Object({{"jsonrpc", "2.0"}, {"id", *id}, {"result", std::move(*result)}});
}

DevChain::DevChain(DevChainOptions options, const Clock& clock)
    : impl_(std::make_unique<Impl>(options, clock)) {}
DevChain::~DevChain() = default;

uint64_t DevChain::chain_id() const { return impl_->node.chain.chain_id(); }
EvmAddress DevChain::usdc() const { return impl_->node.chain.token().identity().address; }

std::string DevChain::HandleRpc(std::string_view body) {
  const codec::JsonLimits limits{.max_bytes = kMaxRpcBody, .max_depth = 16};
  const Result<Json> parsed = codec::ParseJson(body, limits);
  if (!parsed) return ToString(ErrorAnswer(nullptr, RpcError(kRpcParse, "Parse error")));
  const std::lock_guard lock(impl_->mutex);
  const std::vector<Json>* batch = parsed->AsArray();
  if (!batch) {
    const std::optional<Json> answer = impl_->Answer(*parsed);
    return answer ? ToString(*answer) : "";
  }
  if (batch->empty() || batch->size() > kMaxRpcBatch) {
    const char* why = batch->empty() ? "Invalid request" : "batch too large";
    return ToString(ErrorAnswer(nullptr, RpcError(kRpcInvalidRequest, why)));
  }
  Json answers = Json::Array();
  for (const Json& request : *batch) {
    if (std::optional<Json> answer = impl_->Answer(request)) answers.Push(std::move(*answer));
  }
  return answers.AsArray()->empty() ? "" : ToString(answers);
}

void DevChain::Tick() {
  const std::lock_guard lock(impl_->mutex);
  Node& node = impl_->node;
  const SteadyMs now = node.clock.Steady();
  if (node.mining != Mining::kTimed || now < node.next_block) return;
  node.chain.Mine();
  node.next_block = std::max(node.next_block + node.block_time, now);
}

Task<> DevChain::RunBlocks() {
  for (;;) {
    Millis wait = kLook;
    {
      const std::lock_guard lock(impl_->mutex);
      const Node& node = impl_->node;
      if (node.mining == Mining::kTimed) {
        wait = std::clamp(node.next_block - node.clock.Steady(), Millis(1), kLook);
      }
    }
    PTG_CO_RUN(co_await Sleep(wait));
    Tick();
  }
}

Uint256 DevChain::BalanceOf(const EvmAddress& owner) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->node.chain.Read({SlotKind::kTokenBalance, owner}, {});
}

}  // namespace pontage::sandbox
