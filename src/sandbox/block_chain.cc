#include "sandbox/block_chain.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/try.h"
#include "codec/hex.h"

namespace pontage::sandbox {
namespace {

using codec::Uint256;
using crypto::EvmAddress;
using crypto::Hash32;

// Blocks that a contract can ask the hash of.
constexpr uint64_t kHashWindow = 256;
// Test suites take one for each test; the oldest is forgotten.
constexpr size_t kMaxSnapshots = 1'024;

constexpr char kNoFunds[] = "Insufficient funds for gas * price + value";

// gas * fee + value; nullopt beyond 2^256, which nobody has.
std::optional<Uint256> Cost(uint64_t gas, const Uint256& fee, const Uint256& value) {
  const Result<Uint256> price = Mul(fee, gas);
  if (!price) return std::nullopt;
  const Result<Uint256> sum = Add(*price, value);
  if (!sum) return std::nullopt;
  return *sum;
}

Uint256 MustAdd(const Uint256& a, const Uint256& b) {
  const Result<Uint256> sum = Add(a, b);
  PTG_CHECK(sum.has_value());
  return *sum;
}
Uint256 MustSub(const Uint256& a, const Uint256& b) {
  const Result<Uint256> left = Sub(a, b);
  PTG_CHECK(left.has_value());
  return *left;
}

// What a transaction pays for each unit of gas.
Uint256 PriceOf(const chain::EvmTransaction& tx) {
  const Result<Uint256> wish = Add(Uint256(kBaseFee), tx.max_priority_fee_per_gas);
  return wish ? std::min(*wish, tx.max_fee_per_gas) : tx.max_fee_per_gas;
}

std::unexpected<RpcError> Reverted(const codec::Bytes& data) {
  const std::string reason = ReasonOf(data);
  RpcError error(kRpcReverted, "execution reverted" + (reason.empty() ? "" : ": " + reason));
  error.data = codec::Hex0x(data);
  return std::unexpected(std::move(error));
}

EvmAddress Multicall() { return chain::Multicall3Address(); }

}  // namespace

BlockChain::BlockChain(TokenIdentity token, const Clock& clock)
    : clock_(clock), machine_(world_), token_(std::move(token)), multicall_(machine_) {
  machine_.Place(token_.identity().address, token_);
  machine_.Place(Multicall(), multicall_);
  Block genesis;
  genesis.timestamp = static_cast<uint64_t>(ClockSeconds());
  genesis.hash = HeaderOf(genesis).hash;
  Append(std::move(genesis));
}

// ----------------------------------------------------------------------------------------- blocks

const Block* BlockChain::Find(uint64_t number) const {
  const uint64_t first = blocks_.front().number;
  if (number < first || number - first >= blocks_.size()) return nullptr;
  return &blocks_[number - first];
}

const Block* BlockChain::Find(const Hash32& hash) const {
  const auto it = block_by_hash_.find(hash);
  return it == block_by_hash_.end() ? nullptr : Find(it->second);
}

std::optional<MinedAt> BlockChain::FindTransaction(const Hash32& hash) const {
  const auto it = tx_by_hash_.find(hash);
  if (it == tx_by_hash_.end()) return std::nullopt;
  const Block* block = Find(it->second.first);
  PTG_CHECK(block != nullptr);
  const size_t index = it->second.second;
  return MinedAt{block, &block->transactions[index], index};
}

void BlockChain::Append(Block block) {
  block_by_hash_[block.hash] = block.number;
  for (size_t i = 0; i < block.transactions.size(); ++i) {
    tx_by_hash_[block.transactions[i].tx.hash()] = {block.number, i};
  }
  blocks_.push_back(std::move(block));
  if (blocks_.size() <= kMaxBlocks) return;
  const Block& oldest = blocks_.front();
  block_by_hash_.erase(oldest.hash);
  for (const MinedTransaction& mined : oldest.transactions) tx_by_hash_.erase(mined.tx.hash());
  blocks_.pop_front();
}

void BlockChain::DropHead() {
  const Block& block = blocks_.back();
  world_.Undo(block.undo);
  world_.TakeJournal();
  block_by_hash_.erase(block.hash);
  for (const MinedTransaction& mined : block.transactions) tx_by_hash_.erase(mined.tx.hash());
  blocks_.pop_back();
}

std::expected<MinedTransaction, BlockChain::Skip> BlockChain::Include(const RawTransaction& raw,
                                                                      const BlockEnv& env,
                                                                      uint64_t gas_left) {
  const chain::EvmTransaction& tx = raw.tx();
  if (tx.gas_limit > gas_left) return std::unexpected(Skip::kNoRoom);
  const Slot wei{SlotKind::kWei, raw.sender()};
  const std::optional<Uint256> cost = Cost(tx.gas_limit, tx.max_fee_per_gas, tx.value);
  if (!cost || world_.Get(wei) < *cost) return std::unexpected(Skip::kNoFunds);

  MinedTransaction mined;
  mined.tx = raw;
  mined.price = PriceOf(tx);
  world_.Set({SlotKind::kNonce, raw.sender()}, Uint256(tx.nonce + 1));
  const Result<Uint256> all_gas = Mul(mined.price, tx.gas_limit);
  PTG_CHECK(all_gas.has_value());  // At most the cost.
  world_.Set(wei, MustSub(world_.Get(wei), *all_gas));

  const uint64_t intrinsic = IntrinsicGas(tx);
  const Call call{raw.sender(), *tx.to, tx.value, tx.data, tx.gas_limit - intrinsic};
  CallOutcome out = machine_.Run(call, env);
  mined.ok = out.ok;
  mined.gas_used = intrinsic + out.gas;
  mined.logs = std::move(out.logs);

  const Result<Uint256> rest = Mul(mined.price, tx.gas_limit - mined.gas_used);
  PTG_CHECK(rest.has_value());
  world_.Set(wei, MustAdd(world_.Get(wei), *rest));  // What was used is burned.
  return mined;
}

Block BlockChain::Build(std::vector<const RawTransaction*>* broke) {
  Block block;
  block.number = head().number + 1;
  block.timestamp = NextTimestamp();
  block.parent = head().hash;
  const BlockEnv env = EnvOf(block);
  const auto nonce_of = [this](const EvmAddress& who) { return NonceOf(who, {}); };
  std::set<EvmAddress> stuck;  // What came after one that did not fit has to wait as well.
  uint64_t log_index = 0;
  for (const RawTransaction* tx : pool_.Ready(nonce_of)) {
    if (stuck.contains(tx->sender())) continue;
    auto mined = Include(*tx, env, kBlockGasLimit - block.gas_used);
    if (!mined) {
      if (broke && mined.error() == Skip::kNoFunds) broke->push_back(tx);
      stuck.insert(tx->sender());
      continue;
    }
    block.gas_used += mined->gas_used;
    mined->cumulative_gas = block.gas_used;
    for (chain::EvmLog& log : mined->logs) log.log_index = log_index++;
    block.transactions.push_back(std::move(*mined));
  }
  block.hash = HeaderOf(block).hash;
  return block;
}

Block BlockChain::Pending() {
  const World::Mark mark = world_.mark();
  Block block = Build();
  world_.RevertTo(mark);
  return block;
}

const Block& BlockChain::Mine() {
  std::vector<const RawTransaction*> broke;
  Block block = Build(&broke);
  block.undo = world_.TakeJournal();
  // They could pay when they came; what they had went elsewhere.
  for (const RawTransaction* tx : broke) pool_.Remove(tx->sender(), tx->tx().nonce);
  if (next_timestamp_) {
    offset_s_ = static_cast<int64_t>(block.timestamp) - clock_.Now().seconds();
    next_timestamp_.reset();
  }
  for (const MinedTransaction& mined : block.transactions) {
    pool_.DropBelow(mined.tx.sender(), mined.tx.tx().nonce + 1);
  }
  Append(std::move(block));
  return head();
}

// ------------------------------------------------------------------------------------------ state

BlockEnv BlockChain::EnvOf(const Block& block) const {
  BlockEnv env;
  env.chain_id = chain_id();
  env.number = block.number;
  env.timestamp = block.timestamp;
  env.base_fee = Uint256(kBaseFee);
  env.gas_limit = kBlockGasLimit;
  env.hash_of = [this, now = block.number](uint64_t number) {
    const bool in_window = number < now && now - number <= kHashWindow;
    const Block* found = in_window ? Find(number) : nullptr;
    return found ? found->hash : Hash32{};
  };
  return env;
}

void BlockChain::InState(const StateRef& at, const std::function<void(const BlockEnv&)>& fn) {
  const World::Mark mark = world_.mark();
  if (at.pending) {
    const Block block = Build();
    fn(EnvOf(block));
  } else if (at.number && *at.number != head().number) {
    const Block* block = Find(*at.number);
    PTG_CHECK(block != nullptr);
    for (uint64_t n = head().number; n > *at.number; --n) world_.Undo(Find(n)->undo);
    fn(EnvOf(*block));
  } else {
    BlockEnv env = EnvOf(head());
    env.timestamp = NextTimestamp();
    fn(env);
  }
  world_.RevertTo(mark);
}

Uint256 BlockChain::Read(const Slot& slot, const StateRef& at) {
  Uint256 value;
  InState(at, [&](const BlockEnv&) { value = world_.Get(slot); });
  return value;
}

uint64_t BlockChain::NonceOf(const EvmAddress& who, const StateRef& at) {
  const Slot slot{SlotKind::kNonce, who};
  // Pending counts what waits, whether or not it fits into one block.
  if (at.pending) return pool_.NextNonce(who, world_.Get(slot).ToU64().value_or(0));
  if (!at.number) return world_.Get(slot).ToU64().value_or(0);
  return Read(slot, at).ToU64().value_or(0);
}

RpcResult<CallOutcome> BlockChain::Execute(const CallRequest& request, const BlockEnv& env) const {
  const uint64_t gas = std::min(request.gas.value_or(kBlockGasLimit), kBlockGasLimit);
  const bool priced = request.gas && request.fee;
  const std::optional<Uint256> cost =
      Cost(priced ? gas : 0, request.fee.value_or(Uint256()), request.value);
  if (!cost || world_.Get({SlotKind::kWei, request.from}) < *cost) {
    return RpcFail(kRpcRejected, kNoFunds);
  }
  const uint64_t intrinsic = IntrinsicGas(request.data);
  if (gas < intrinsic) {
    return RpcFail(kRpcServer, "intrinsic gas too high -- CallGasCostMoreThanGasLimit");
  }
  if (!request.to) {
    if (request.data.empty()) return CallOutcome{.ok = true, .data = {}, .logs = {}};
    return RpcFail(kRpcServer, "no bytecode runs here: contracts cannot be created");
  }
  const Call call{request.from, *request.to, request.value, request.data, gas - intrinsic};
  CallOutcome out = machine_.Run(call, env);
  if (out.out_of_gas) return RpcFail(-32603, "EVM error OutOfGas");
  if (!out.ok) return Reverted(out.data);
  out.gas += intrinsic;
  return out;
}

RpcResult<codec::Bytes> BlockChain::Run(const CallRequest& request, const StateRef& at) {
  RpcResult<CallOutcome> out = RpcFail(kRpcServer, "not run");
  InState(at, [&](const BlockEnv& env) { out = Execute(request, env); });
  if (!out) return std::unexpected(std::move(out).error());
  return std::move(out->data);
}

RpcResult<uint64_t> BlockChain::Estimate(const CallRequest& request, const StateRef& at) {
  RpcResult<CallOutcome> out = RpcFail(kRpcServer, "not run");
  InState(at, [&](const BlockEnv& env) { out = Execute(request, env); });
  if (!out) return std::unexpected(std::move(out).error());
  return out->gas;
}

// ----------------------------------------------------------------------------------- transactions

RpcResult<> BlockChain::CheckSubmitted(const RawTransaction& raw) const {
  const chain::EvmTransaction& tx = raw.tx();
  if (raw.has_chain_id && tx.chain_id != chain_id()) {
    return RpcFail(kRpcRejected, "invalid chain id for signer");
  }
  const Uint256 nonce = world_.Get({SlotKind::kNonce, raw.sender()});
  if (Uint256(tx.nonce) < nonce) return RpcFail(kRpcRejected, "nonce too low");
  // EIP-2681: the last nonce cannot be used, so that the next one always exists.
  if (tx.nonce == UINT64_MAX) return RpcFail(kRpcRejected, "nonce too high");
  if (tx.gas_limit > kBlockGasLimit) {
    return RpcFail(kRpcServer, "intrinsic gas too high -- tx.gas_limit > env.block.gas_limit");
  }
  if (tx.gas_limit < IntrinsicGas(tx)) return RpcFail(kRpcServer, "intrinsic gas too low");
  if (tx.max_fee_per_gas < Uint256(kBaseFee)) {
    return RpcFail(kRpcRejected, "max fee per gas less than block base fee");
  }
  if (tx.max_priority_fee_per_gas > tx.max_fee_per_gas) {
    return RpcFail(kRpcRejected, "max priority fee per gas higher than max fee per gas");
  }
  const std::optional<Uint256> cost = Cost(tx.gas_limit, tx.max_fee_per_gas, tx.value);
  if (!cost || world_.Get({SlotKind::kWei, raw.sender()}) < *cost) {
    return RpcFail(kRpcRejected, kNoFunds);
  }
  if (!tx.to) return RpcFail(kRpcRejected, "no bytecode runs here: contracts cannot be created");
  return {};
}

RpcResult<Hash32> BlockChain::Submit(RawTransaction tx) {
  PTG_RUN(CheckSubmitted(tx));
  const Hash32 hash = tx.hash();
  PTG_RUN(pool_.Add(std::move(tx)));
  return hash;
}

// --------------------------------------------------------------------------------------- controls

void BlockChain::KeepWrites() {
  std::vector<World::Change> changes = world_.TakeJournal();
  std::vector<World::Change>& undo = blocks_.back().undo;
  std::ranges::move(changes, std::back_inserter(undo));
}

void BlockChain::SetWei(const EvmAddress& who, const Uint256& wei) {
  world_.Set({SlotKind::kWei, who}, wei);
  KeepWrites();
}

RpcResult<> BlockChain::MintDollars(const EvmAddress& who, const Uint256& atomic) {
  const OrRevert<void> minted = Usdc::Mint(world_, who, atomic);
  KeepWrites();
  if (!minted) return Reverted(minted.error().data);
  return {};
}

int64_t BlockChain::ClockSeconds() const { return clock_.Now().seconds() + offset_s_; }

uint64_t BlockChain::NextTimestamp() const {
  if (next_timestamp_) return *next_timestamp_;
  const int64_t now = std::max<int64_t>(ClockSeconds(), 0);
  return std::max(head().timestamp, static_cast<uint64_t>(now));
}

RpcResult<> BlockChain::SetNextTimestamp(uint64_t seconds) {
  if (seconds < head().timestamp) {
    return RpcFail(kRpcBadParams, "Timestamp error: " + std::to_string(seconds) +
                                      " is lower than previous block's timestamp");
  }
  next_timestamp_ = seconds;
  return {};
}

int64_t BlockChain::IncreaseTime(uint64_t seconds) {
  offset_s_ += static_cast<int64_t>(seconds);
  return offset_s_;
}

uint64_t BlockChain::Snapshot() {
  snapshots_[next_snapshot_] = {head().number, head().undo.size(), offset_s_};
  if (snapshots_.size() > kMaxSnapshots) snapshots_.erase(snapshots_.begin());
  return next_snapshot_++;
}

bool BlockChain::RevertToSnapshot(uint64_t id) {
  const auto it = snapshots_.find(id);
  if (it == snapshots_.end()) return false;
  const Saved saved = it->second;
  snapshots_.erase(it, snapshots_.end());
  if (Find(saved.number) == nullptr) return false;
  while (head().number > saved.number) DropHead();
  std::vector<World::Change>& undo = blocks_.back().undo;
  const auto cut = undo.begin() + static_cast<std::ptrdiff_t>(saved.undo_size);
  world_.Undo({cut, undo.end()});
  undo.erase(cut, undo.end());
  world_.TakeJournal();
  offset_s_ = saved.offset_s;
  next_timestamp_.reset();
  pool_.Clear();
  return true;
}

}  // namespace pontage::sandbox
