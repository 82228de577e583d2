#pragma once

#include <cstdint>
#include <optional>

#include "crypto/hash.h"
#include "scheme/transfer_proof.h"
#include "settle/facilitator.h"

// What it means for a settled payment when a chain throws blocks out again. Pure.
namespace pontage::settle {

// Where a transaction was mined.
struct InBlock {
  uint64_t block = 0;
  crypto::Hash32 hash{};
  friend auto operator<=>(const InBlock&, const InBlock&) = default;
};

// Deeper than this nothing is thrown out where a chain does not say what is final: two epochs of
// Ethereum, what its exchanges wait for.
inline constexpr uint64_t kFinalDepth = 64;
// A chain that calls nothing final for so many blocks (a day of Ethereum, and more) is not waited
// for.
inline constexpr uint64_t kWatchedDepth = 10'000;
// A transaction is believed to be in no block when so many looks in a row say so: the receipt comes
// from another node than the block, perhaps.
inline constexpr int kGoneLooks = 2;

// What the chain says of one height.
struct HeightNow {
  uint64_t head = 0;
  std::optional<uint64_t> finalized;   // absent: it does not say
  bool names_final = false;            // it has said what is final before
  std::optional<crypto::Hash32> hash;  // the block that stands there; absent: none
};
enum class BlockIs : uint8_t {
  kThere,     // and may still be thrown out
  kFinal,     // there for good
  kReplaced,  // another one stands in its place
  kUnknown,   // the node is behind, or the chain is shorter than it was
};
BlockIs JudgeBlock(const InBlock& was, const HeightNow& now);

enum class Fate : uint8_t {
  kStays,    // its receipt is that of its block: a node that is behind, or the block came back
  kMoved,    // in another block; what it did there is to be read
  kGone,     // in no block: it is sent again
  kUnknown,  // no receipt, and too few looks
};
// Of a transaction whose block was replaced: its receipt's place, by any version, and how many
// looks before this one found none.
Fate JudgeTransaction(const InBlock& was, const std::optional<InBlock>& now, int missed);

enum class PaymentIs : uint8_t {
  kPaid,           // by its transaction, wherever that is now
  kPaidElsewhere,  // another transaction used the authorization and paid the payee
  kLost,           // the authorization was not used, or it paid somebody else
  kUnknown,        // ask again
};
// Of a payment whose transaction was mined anew: what its logs prove (absent: it was reverted), and
// where that is no payment, what the chain says of the authorization (absent: it was not asked, or
// did not answer).
PaymentIs JudgePayment(const std::optional<scheme::Proof>& proof,
                       const std::optional<Facilitator::Trace>& trace);

}  // namespace pontage::settle
