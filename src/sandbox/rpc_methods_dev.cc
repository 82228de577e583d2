// The controls of a chain for tests: blocks, time, money.
#include <utility>

#include "base/try.h"
#include "sandbox/rpc_forms.h"
#include "sandbox/rpc_methods.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using codec::Uint256;
using crypto::EvmAddress;

// evm_mine(timestamp or {timestamp}?)
RpcResult<Json> EvmMine(Node& n, const Params& p) {
  if (p.Has(0)) {
    PTG_TRY(const uint64_t at, p.Small(0, kMaxTime));
    PTG_RUN(n.chain.SetNextTimestamp(at));
  }
  n.chain.Mine();
  return Json("0x0");
}

// anvil_mine(blocks = 1, seconds between them = 0)
RpcResult<Json> AnvilMine(Node& n, const Params& p) {
  uint64_t blocks = 1;
  uint64_t seconds = 0;
  if (p.Has(0)) {
    PTG_TRY(blocks, p.Small(0, kMaxMine));
  }
  if (p.Has(1)) {
    PTG_TRY(seconds, p.Small(1, kMaxTime / kMaxMine));
  }
  for (uint64_t i = 0; i < blocks; ++i) {
    if (i > 0 && seconds > 0) {
      PTG_RUN(n.chain.SetNextTimestamp(n.chain.head().timestamp + seconds));
    }
    n.chain.Mine();
  }
  return Json(nullptr);
}

RpcResult<Json> IncreaseTime(Node& n, const Params& p) {
  PTG_TRY(const uint64_t seconds, p.Small(0, kMaxTime));
  if (n.chain.NextTimestamp() + seconds > kMaxTime) {
    return RpcFail(kRpcBadParams, "that is too far in the future");
  }
  return Json(n.chain.IncreaseTime(seconds));
}

RpcResult<Json> SetNextTimestamp(Node& n, const Params& p) {
  PTG_TRY(const uint64_t at, p.Small(0, kMaxTime));
  PTG_RUN(n.chain.SetNextTimestamp(at));
  return Json(nullptr);
}

RpcResult<Json> SetBalance(Node& n, const Params& p) {
  PTG_TRY(const EvmAddress who, p.Address(0));
  PTG_TRY(const Uint256 wei, p.Number(1));
  n.chain.SetWei(who, wei);
  return Json(nullptr);
}

RpcResult<Json> SetAutomine(Node& n, const Params& p) {
  PTG_TRY(const bool on, p.Bool(0, true));
  if (on) {
    n.mining = Mining::kInstant;
    n.MineReady();
  } else if (n.mining == Mining::kInstant) {
    n.mining = Mining::kManual;
  }
  return Json(nullptr);
}

RpcResult<Json> GetAutomine(Node& n, const Params&) { return Json(n.mining == Mining::kInstant); }

RpcResult<Json> SetIntervalMining(Node& n, const Params& p) {
  PTG_TRY(const uint64_t seconds, p.Small(0, 86'400));
  n.MineEvery(Millis(static_cast<int64_t>(seconds * 1'000)));
  return Json(nullptr);
}

RpcResult<Json> Snapshot(Node& n, const Params&) { return Quantity(n.chain.Snapshot()); }

RpcResult<Json> RevertTo(Node& n, const Params& p) {
  PTG_TRY(const uint64_t id, p.Small(0, UINT64_MAX));
  return Json(n.chain.RevertToSnapshot(id));
}

// sandbox_fund(address, atomic units of the dollar = 1,000 dollars, wei = one ether): adds dollars,
// and sees to it that there is at least that much ether. The dollars it has then.
RpcResult<Json> Fund(Node& n, const Params& p) {
  PTG_TRY(const EvmAddress who, p.Address(0));
  Uint256 dollars(1'000'000'000);
  Uint256 wei(1'000'000'000'000'000'000);
  if (p.Has(1)) {
    PTG_TRY(dollars, p.Number(1));
  }
  if (p.Has(2)) {
    PTG_TRY(wei, p.Number(2));
  }
  PTG_RUN(n.chain.MintDollars(who, dollars));
  if (n.chain.Read({SlotKind::kWei, who}, {}) < wei) n.chain.SetWei(who, wei);
  return Quantity(n.chain.Read({SlotKind::kTokenBalance, who}, {}));
}

}  // namespace

void AddDevMethods(RpcTable& table) {
  table["evm_mine"] = EvmMine;
  table["anvil_mine"] = table["hardhat_mine"] = AnvilMine;
  table["evm_increaseTime"] = table["anvil_increaseTime"] = IncreaseTime;
  table["evm_setNextBlockTimestamp"] = SetNextTimestamp;
  table["anvil_setNextBlockTimestamp"] = SetNextTimestamp;
  table["anvil_setBalance"] = table["hardhat_setBalance"] = SetBalance;
  table["evm_setAutomine"] = table["anvil_setAutomine"] = SetAutomine;
  table["anvil_getAutomine"] = table["hardhat_getAutomine"] = GetAutomine;
  table["evm_setIntervalMining"] = table["anvil_setIntervalMining"] = SetIntervalMining;
  table["evm_snapshot"] = table["anvil_snapshot"] = Snapshot;
  table["evm_revert"] = table["anvil_revert"] = RevertTo;
  table["sandbox_fund"] = Fund;
}

}  // namespace pontage::sandbox
