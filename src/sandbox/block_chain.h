#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/time.h"
#include "sandbox/machine.h"
#include "sandbox/multicall3.h"
#include "sandbox/rpc_error.h"
#include "sandbox/tx_pool.h"
#include "sandbox/usdc.h"
#include "sandbox/world.h"

namespace pontage::sandbox {

// Ethereum's block gas limit for years; some 300 payments fit into one block.
inline constexpr uint64_t kBlockGasLimit = 30'000'000;
// Fees never move here: a sandbox has no market.
inline constexpr uint64_t kBaseFee = 1'000'000'000;
inline constexpr uint64_t kPriorityFee = 1'000'000'000;
// A day and more of one-second blocks; older ones are forgotten, with their receipts.
inline constexpr size_t kMaxBlocks = 100'000;

using Bloom = std::array<uint8_t, 256>;

struct MinedTransaction {
  RawTransaction tx;
  bool ok = false;
  uint64_t gas_used = 0;
  uint64_t cumulative_gas = 0;      // In the block, with its own.
  codec::Uint256 price;             // Wei paid for each unit of gas.
  std::vector<chain::EvmLog> logs;  // log_index counts in the block.
};

struct Block {
  uint64_t number = 0;
  uint64_t timestamp = 0;  // Seconds since 1970.
  crypto::Hash32 hash{};
  crypto::Hash32 parent{};
  uint64_t gas_used = 0;
  std::vector<MinedTransaction> transactions;
  std::vector<World::Change> undo;  // What takes the world back to before this block.
};

// Where a mined transaction stands.
struct MinedAt {
  const Block* block;
  const MinedTransaction* transaction;
  size_t index;
};

// Which state a question is about.
struct StateRef {
  bool pending = false;            // The head with what waits on top.
  std::optional<uint64_t> number;  // A past block; absent: the head.
};

struct CallRequest {
  crypto::EvmAddress from;
  std::optional<crypto::EvmAddress> to;
  codec::Uint256 value;
  codec::Bytes data;
  std::optional<uint64_t> gas;
  std::optional<codec::Uint256> fee;  // Most wei for each unit of gas.
  std::optional<uint64_t> nonce;
};

// The chain itself: state, blocks, and what waits for one. Blocks form when told to. Not thread
// safe: DevChain holds the lock.
class BlockChain {
 public:
  BlockChain(TokenIdentity token, const Clock& clock);
  BlockChain(const BlockChain&) = delete;  // The machine knows where its contracts stand.
  BlockChain& operator=(const BlockChain&) = delete;

  uint64_t chain_id() const { return token_.identity().chain_id; }
  const Usdc& token() const { return token_; }
  bool HasCode(const crypto::EvmAddress& at) const { return machine_.HasCode(at); }

  // Blocks. Number 0 is the genesis block; the head always exists.
  const Block& head() const { return blocks_.back(); }
  const Block* Find(uint64_t number) const;
  const Block* Find(const crypto::Hash32& hash) const;
  std::optional<MinedAt> FindTransaction(const crypto::Hash32& hash) const;
  const TxPool& pool() const { return pool_; }
  // What the next block would be if it were formed now. Not kept.
  Block Pending();

  // Reads one slot of a state. The number must be of a block that Find finds.
  codec::Uint256 Read(const Slot& slot, const StateRef& at);
  uint64_t NonceOf(const crypto::EvmAddress& who, const StateRef& at);

  // Runs a call and takes it back. At the head (and pending) the contracts see the time that a
  // block formed now would have, so that a chain that was idle for an hour does not judge by old
  // time. kRpcReverted with the data when it reverts, kRpcRejected without the funds for its value
  // or its gas, kRpcServer when the gas does not suffice.
  RpcResult<codec::Bytes> Run(const CallRequest& request, const StateRef& at);
  // The gas a transaction with this call would use; the errors of Run.
  RpcResult<uint64_t> Estimate(const CallRequest& request, const StateRef& at);

  // Puts a transaction into the pool. kRpcRejected and kRpcServer as anvil says it.
  RpcResult<crypto::Hash32> Submit(RawTransaction tx);
  // Forms one block of what is ready, as much as fits.
  const Block& Mine();

  // Play money, outside of any transaction.
  void SetWei(const crypto::EvmAddress& who, const codec::Uint256& wei);
  RpcResult<> MintDollars(const crypto::EvmAddress& who, const codec::Uint256& atomic);

  // Time. Blocks never go back in time; several may share a second.
  uint64_t NextTimestamp() const;
  // kRpcBadParams when it is before the head.
  RpcResult<> SetNextTimestamp(uint64_t seconds);
  // Moves the chain's clock forward; the whole offset in seconds.
  int64_t IncreaseTime(uint64_t seconds);

  // Remembers the state; evm_revert goes back to it, once, and forgets what came after.
  uint64_t Snapshot();
  bool RevertToSnapshot(uint64_t id);

 private:
  struct Saved {
    uint64_t number;
    size_t undo_size;
    int64_t offset_s;
  };

  BlockEnv EnvOf(const Block& block) const;
  // Runs `fn` on the state that `at` names and puts the state of the head back.
  void InState(const StateRef& at, const std::function<void(const BlockEnv&)>& fn);
  RpcResult<CallOutcome> Execute(const CallRequest& request, const BlockEnv& env) const;
  // Executes what is ready on the world; the world keeps it. Who could not pay is added to `broke`.
  Block Build(std::vector<const RawTransaction*>* broke = nullptr);
  enum class Skip : uint8_t { kNoRoom, kNoFunds };
  std::expected<MinedTransaction, Skip> Include(const RawTransaction& tx, const BlockEnv& env,
                                                uint64_t gas_left);
  RpcResult<> CheckSubmitted(const RawTransaction& tx) const;
  void Append(Block block);
  void DropHead();
  // What was written outside of blocks belongs to the head.
  void KeepWrites();
  int64_t ClockSeconds() const;

  const Clock& clock_;
  World world_;
  Machine machine_;
  Usdc token_;
  Multicall3 multicall_;
  TxPool pool_;
  std::deque<Block> blocks_;
  std::map<crypto::Hash32, uint64_t> block_by_hash_;
  std::map<crypto::Hash32, std::pair<uint64_t, size_t>> tx_by_hash_;
  std::map<uint64_t, Saved> snapshots_;
  uint64_t next_snapshot_ = 0;
  int64_t offset_s_ = 0;
  std::optional<uint64_t> next_timestamp_;
};

// The bits of the addresses and topics of `logs` (yellow paper, 4.3.1).
Bloom BloomOf(const std::vector<chain::EvmLog>& logs);
Bloom BloomOf(const Block& block);

// The header as JSON-RPC shows it and as its hash is made. The roots are opaque: no tries stand
// behind them.
struct Header {
  crypto::Hash32 state_root{};
  crypto::Hash32 transactions_root{};
  crypto::Hash32 receipts_root{};
  Bloom bloom{};
  crypto::Hash32 hash{};
  size_t size = 0;  // Bytes of the header and of the transactions.
};
Header HeaderOf(const Block& block);

}  // namespace pontage::sandbox
