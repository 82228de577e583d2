#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "chain/evm_transaction.h"
#include "chain/view.h"
#include "codec/bytes.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"

// Which of the payments that wait become which transactions, and what such a transaction is. Pure.
// A payment that is alone goes out alone and at once. Behind a transaction that is not mined yet
// the queue may form for a moment (WaitForMore), and goes into one transaction, as does what has
// queued while the one before was priced, signed and stored, or while as many as we want are in
// flight.
namespace pontage::settle {

struct QueueLimits {
  // Payments in one transaction; 1: no batches. Fifty save all that batching saves but 1 % (the
  // 21,000 gas of a transaction are shared), and one that fails holds up no more than that.
  size_t batch = 50;
  // Gas limit of a batch: half of what a transaction may have (2^24, EIP-7825).
  uint64_t batch_gas = 8'388'608;
  // Transactions of the key that may wait to be mined. 16 is what geth keeps of an account however
  // full its pool is (txpool.accountslots).
  size_t in_flight = 16;
  // The same where there are no batches: there each payment needs one, and nodes drop what is
  // beyond accountslots only when their pool is full.
  size_t in_flight_alone = 256;
  // How long a payment waits for others while a transaction of the key is under way. What a
  // transaction costs us is some five times what a payment in it does; and this is a small part of
  // the block that it waits for. A chain whose block comes sooner ends the wait.
  Millis gather{30};
};

// A payment that waits for its transaction.
struct SettleJob {
  std::string key;  // of the payment; at most one transaction at a time is made for it
  crypto::EvmAddress to;
  codec::Bytes data;
  uint64_t gas = 0;  // as estimated for it alone; a quarter more is given
  // Not with others: it may behave otherwise when mined (a contract wallet), or failed in a batch.
  bool alone = false;
  // The chain was not asked about it just now: it is simulated also when it is by itself.
  bool unproven = false;
  crypto::EvmAddress payer;  // of the asset `to`
  codec::Uint256 value;
  codec::Uint256 balance;  // of the payer, when it was verified
};

// Whose money it is: an asset and who has it.
using Purse = std::pair<crypto::EvmAddress, crypto::EvmAddress>;
inline Purse PurseOf(const SettleJob& job) { return {job.to, job.payer}; }

// The places in `queue` of the payments that may go now. One waits whose payer has others under way
// (`under_way`: what they move) or before it in the queue, and was not seen to have enough for all
// of them: it could but fail beside them, and its gas is ours. When they are mined the chain tells.
std::vector<size_t> Affordable(std::span<const SettleJob* const> queue,
                               std::map<Purse, codec::Uint256> under_way);

// Jobs by their place in `queue`, in its order, and each group one transaction. Empty while
// `in_flight` transactions are as many as may be; never more groups than may still be sent. One key
// is in it once: a second job of that key waits for the next round.
std::vector<std::vector<size_t>> PlanGroups(std::span<const SettleJob* const> queue,
                                            const QueueLimits& limits, size_t in_flight);

// Whether what is in the queue should wait for more, `waited` being how long its oldest has: not on
// an idle key, not when a batch is full, and not with one in it that goes alone anyway.
bool WaitForMore(std::span<const SettleJob* const> queue, const QueueLimits& limits,
                 size_t in_flight, Millis waited);

// What is given to a payment of `estimate`: a quarter more, at most `cap`.
uint64_t GasLimitOf(uint64_t estimate, uint64_t cap);

// Target, calldata and gas limit of one transaction for `jobs`, at least one: the call itself, or
// Multicall3's aggregate3 in which each may fail by itself.
chain::EvmTransaction CallFor(std::span<const SettleJob* const> jobs, uint64_t gas_cap);

// The same as a simulation, and which of `jobs` calls succeed in what it answered. All false when
// the call as a whole was reverted or its answer is none.
chain::Call SimulationOf(std::span<const SettleJob* const> jobs);
std::vector<bool> Simulated(const chain::CallResult& answer, size_t jobs);

}  // namespace pontage::settle
