#include "app/cli/commands.h"
#include "app/compose.h"
#include "app/local_server.h"
#include "sandbox/dev_chain.h"

namespace pontage::app {
namespace {

using codec::Json;

void Announce(const CommonOptions& common, sandbox::DevChain& chain, const std::string& url) {
  if (WantsJson(common)) {
    Json identities = Json::Array();
    for (const sandbox::Identity& who : sandbox::Identities()) {
      identities.Push(Json::Object({{"name", who.name},
                                    {"address", who.address.ToChecksum()},
                                    {"key", who.key_text},
                                    {"usdc", chain.BalanceOf(who.address).ToDecimal()}}));
    }
    PrintJson(Json::Object({{"event", "sandbox.ready"},
                            {"rpc", url},
                            {"chain_id", chain.chain_id()},
                            {"network", chain::ChainId::Evm(chain.chain_id()).Caip2()},
                            {"usdc", chain.usdc().ToChecksum()},
                            {"identities", std::move(identities)}}));
    return;
  }
  PrintLine("Sandbox chain " + std::to_string(chain.chain_id()) + " at " + url + ", USDC at " +
            chain.usdc().ToChecksum() + ". The keys are public and worth nothing.\n");
  std::vector<std::vector<std::string>> rows;
  for (const sandbox::Identity& who : sandbox::Identities()) {
    rows.push_back({who.name, who.address.ToChecksum(), who.key_text,
                    chain.BalanceOf(who.address).ToDecimal()});
  }
  PrintLine(FormatTable({"WHO", "ADDRESS", "KEY", "USDC (ATOMIC)"}, rows));
}

}  // namespace

int Sandbox(const CommonOptions& common, const SandboxOptions& options) {
  sandbox::DevChainOptions chain_options;
  chain_options.chain_id = static_cast<uint64_t>(options.chain_id);
  if (!options.block_time.empty()) {
    const auto time = ParseDuration(options.block_time);
    if (!time || *time < Millis(10)) {
      return FailWith(common, Error(Code::kUsage, "--block-time " + options.block_time)
                                  .Want("a duration of at least 10ms, \"1s\""));
    }
    chain_options.block_time = *time;
  }
  BlockSignals();
  sandbox::DevChain chain(chain_options, Clock::System());
  // Also without a block time: evm_setIntervalMining gives it one.
  const std::function<Task<>()> blocks = [&chain] { return chain.RunBlocks(); };
  const auto server = LocalServer::Start("127.0.0.1:" + std::to_string(options.port),
                                         sandbox::RpcHandler(chain), blocks);
  if (!server) return FailWith(common, server.error());
  Announce(common, chain, (*server)->url());
  // SIGHUP too: a terminal that goes takes its sandbox along.
  while (WaitForSignal(Millis(60'000)) == 0) {
  }
  return kDone;
}

}  // namespace pontage::app
