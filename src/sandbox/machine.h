#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "chain/evm_calls.h"
#include "codec/abi.h"
#include "codec/bytes.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"
#include "sandbox/world.h"

namespace pontage::sandbox {

// What a contract sees of the block it runs in.
struct BlockEnv {
  uint64_t chain_id = 0;
  uint64_t number = 0;
  uint64_t timestamp = 0;  // Seconds since 1970.
  codec::Uint256 base_fee;
  uint64_t gas_limit = 0;
  // The hash of one of the 256 blocks before this one, else zero.
  std::function<crypto::Hash32(uint64_t)> hash_of;
};

// Why a call was taken back: the data it returns, Error(string) or nothing.
struct Revert {
  codec::Bytes data;
  Revert() = default;
  explicit Revert(std::string_view reason);
  // Calldata that does not decode reverts without a word, as Solidity's decoder does.
  Revert(const Error&) {}  // NOLINT: so that PTG_TRY turns one into the other.
};
template <typename T>
using OrRevert = std::expected<T, Revert>;
using Returned = OrRevert<codec::Bytes>;

// require(condition, reason)
inline OrRevert<void> Require(bool condition, std::string_view reason) {
  if (condition) return {};
  return std::unexpected(Revert(reason));
}
// The text inside Error(string) data; empty when there is none.
std::string ReasonOf(codec::ByteView revert_data);

struct Call {
  crypto::EvmAddress from;
  crypto::EvmAddress to;
  codec::Uint256 value;  // Wei.
  codec::ByteView data;
  uint64_t gas = 0;  // The most its contracts may use.
};

// What one contract call works with. `gas` is added to by whoever runs; past call.gas the call is
// taken back, and a contract that loops looks at it, because aliased calldata is short and deep.
struct Frame {
  World& world;
  const BlockEnv& env;
  const Call& call;
  std::vector<chain::EvmLog>& logs;
  uint64_t& gas;
  int depth;
};

// A contract, written in C++ instead of in bytecode. Stateless: what it keeps is in the world.
class Contract {
 public:
  virtual ~Contract() = default;
  virtual Returned Run(Frame& frame) const = 0;
};

struct CallOutcome {
  bool ok = false;
  codec::Bytes data;  // What was returned, or the revert data.
  std::vector<chain::EvmLog> logs;
  uint64_t gas = 0;  // Used by the contracts, without the transaction's own 21,000 and calldata.
  bool out_of_gas = false;
};

// A call inside a call costs at least its own calldata, but a few KiB of well-nested calldata could
// still go deep; nobody nests a multicall more than once.
inline constexpr int kMaxCallDepth = 16;

// Runs calls against a world. Contracts know the machine when they call others.
class Machine {
 public:
  explicit Machine(World& world) : world_(world) {}

  // The contract must outlive the machine.
  void Place(const crypto::EvmAddress& at, const Contract& contract);
  bool HasCode(const crypto::EvmAddress& at) const { return Find(at) != nullptr; }

  // Moves the value and runs what stands at `to`; an account without code just takes the value. A
  // call that fails leaves the world as it was.
  CallOutcome Run(const Call& call, const BlockEnv& env, int depth = 0) const;

 private:
  const Contract* Find(const crypto::EvmAddress& at) const;
  World& world_;
  std::vector<std::pair<crypto::EvmAddress, const Contract*>> contracts_;
};

// The first four bytes of keccak256 of "transfer(address,uint256)".
uint32_t Selector(std::string_view signature);

}  // namespace pontage::sandbox
