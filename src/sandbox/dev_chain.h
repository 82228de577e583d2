#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/time.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "io/task.h"
#include "net/server.h"
#include "sandbox/identity.h"

namespace pontage::sandbox {

struct DevChainOptions {
  // Base Sepolia, which every official client knows with its USDC. On another listed EVM network
  // the token is that network's default asset; elsewhere it is Base Sepolia's.
  uint64_t chain_id = 84532;
  // Zero: each transaction gets a block at once. Else RunBlocks forms one this often.
  Millis block_time{0};
};

// The largest batch a node of this size answers; viem sends at most 1,000 calls.
inline constexpr size_t kMaxRpcBatch = 1'000;
// A transaction is at most 128 KiB, twice that in hex; a batch of payments some 700 bytes each.
inline constexpr size_t kMaxRpcBody = 2 << 20;

// An EVM chain for people who want to try x402 without an account, a key or the internet: accounts,
// legacy and EIP-1559 transactions, blocks and receipts, USDC and Multicall3 (in C++: no bytecode
// runs here), and the JSON-RPC that the official clients, servers and facilitators speak.
// Identities are funded from the start. Answers and errors are anvil's wherever clients look at
// them (test/conformance/sandbox). Safe to use from any thread.
class DevChain {
 public:
  DevChain(DevChainOptions options, const Clock& clock);
  ~DevChain();

  uint64_t chain_id() const;
  crypto::EvmAddress usdc() const;

  // One JSON-RPC request or batch, at most kMaxRpcBody and kMaxRpcBatch. Empty when there is
  // nothing to say (notifications).
  std::string HandleRpc(std::string_view body);

  // Forms a block when block time and clock say so.
  void Tick();
  // Calls Tick for ever, on the current loop; for Loop::Spawn. The chain must outlive it.
  Task<> RunBlocks();

  // What the token's books say; for the sandbox's own messages and for tests.
  codec::Uint256 BalanceOf(const crypto::EvmAddress& owner);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Serves the chain over HTTP, POST on any path, open to browsers of any origin. The chain must
// outlive the handler.
net::Handler RpcHandler(DevChain& chain);

}  // namespace pontage::sandbox
