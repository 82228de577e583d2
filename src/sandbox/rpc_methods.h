#pragma once

#include <map>
#include <string_view>

#include "base/time.h"
#include "codec/json.h"
#include "sandbox/block_chain.h"
#include "sandbox/rpc_error.h"
#include "sandbox/rpc_params.h"

namespace pontage::sandbox {

// When blocks form.
enum class Mining : uint8_t {
  kInstant,  // With each transaction.
  kTimed,    // Every block_time.
  kManual,   // When told to.
};

// The chain with what drives it.
struct Node {
  BlockChain chain;
  const Clock& clock;
  Mining mining = Mining::kInstant;
  Millis block_time{0};
  SteadyMs next_block;  // When the next timed block is due.

  // Forms blocks until nothing is ready.
  void MineReady();
  void MineEvery(Millis block_time);
};

using RpcMethod = RpcResult<codec::Json> (*)(Node&, const Params&);
using RpcTable = std::map<std::string_view, RpcMethod>;

// eth_…, net_… and web3_…: what any node answers.
void AddNodeMethods(RpcTable& table);
// evm_…, anvil_… and sandbox_…: the controls of a chain for tests.
void AddDevMethods(RpcTable& table);

// How many blocks one call may form, some 100 ms of work.
inline constexpr uint64_t kMaxMine = 10'000;
// The furthest time, in the year 36812: it fits every client's number and leaves room to add.
inline constexpr uint64_t kMaxTime = 1'099'511'627'776;
// Logs of one answer, as public nodes limit them.
inline constexpr size_t kMaxLogs = 10'000;
// geth's limit for eth_feeHistory.
inline constexpr uint64_t kMaxFeeHistory = 1'024;

}  // namespace pontage::sandbox
