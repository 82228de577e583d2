#pragma once

#include <optional>

#include "base/error.h"
#include "base/time.h"
#include "chain/view.h"
#include "codec/uint256.h"

// What is paid for gas, and what is done about a transaction that is not mined. Pure.
namespace pontage::settle {

// Of a type 2 transaction, in wei for each unit of gas.
struct GasPrice {
  codec::Uint256 most;  // maxFeePerGas
  codec::Uint256 tip;   // maxPriorityFeePerGas
  friend bool operator==(const GasPrice&, const GasPrice&) = default;
};

// What of a node's word is believed: a tip of at most 50 gwei, or the base fee where that is more.
// No chain has asked more for days together, and one node's mistake should not empty the signer.
chain::EvmFees Believed(chain::EvmFees market);

// For a first version: twice the base fee, which keeps it good through six full blocks, and the
// tip; at most `cap`. kOverloaded when not even the next block is to be had for `cap`.
Result<GasPrice> FirstPrice(const chain::EvmFees& market, const codec::Uint256& cap);

// For the next version of a transaction: an eighth more of both, which every node takes for a
// replacement (geth asks a tenth), and at least what a first version would get now. nullopt when
// `cap` leaves no room for that eighth.
std::optional<GasPrice> RaisedPrice(const GasPrice& last, const chain::EvmFees& market,
                                    const codec::Uint256& cap);

// A transaction of ours that no block has yet.
struct Unmined {
  Millis age{0};             // since its last version was signed
  size_t versions = 1;       // that were signed
  bool head = false;         // no transaction with a lower nonce waits
  bool underpriced = false;  // a node said so of its last version
  bool wanted = true;        // a payment in it may still succeed
  bool canceled = false;     // its last version moves nothing
  GasPrice price;            // of its last version
};
enum class Step : uint8_t {
  kWait,    // or hand it to the nodes again, as it is
  kRaise,   // sign it with higher fees
  kCancel,  // sign a transfer of nothing with its nonce, at higher fees: what it did is not wanted
};
// Each raise is an eighth, so that this many are a factor of 43; then somebody must look at it.
inline constexpr size_t kMaxVersions = 32;
// After `patience` without a block. Behind another one that waits nothing is wrong with it unless
// the market has left it behind.
Step NextStep(const Unmined& tx, const chain::EvmFees& market, Millis patience);

}  // namespace pontage::settle
