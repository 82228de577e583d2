#pragma once

#include <cstdint>
#include <optional>

#include "base/money.h"
#include "base/time.h"
#include "chain/view.h"
#include "codec/uint256.h"
#include "crypto/hash.h"
#include "scheme/exact_evm.h"
#include "scheme/transfer_proof.h"
#include "settle/facilitator.h"

namespace pontage::settle {

// What a payment must have done to count as settled for these terms.
scheme::TransferClaim ClaimOf(const chain::TransferAuthorization& auth,
                              const scheme::ExactEvmTerms& terms);
// Before when (seconds since 1970) it cannot have been used: nobody signs further ahead than the
// offer says, but for the skew that is allowed.
int64_t OldestOf(const chain::TransferAuthorization& auth, const scheme::ExactEvmTerms& terms);

// Whether an authorization that was unused at `as_of`, by the chain's time, will never be used: its
// end is so far back that no node can be behind it.
bool RanOut(const chain::TransferAuthorization& auth, UnixMs as_of);

// Whether `amount`, in atomic units of a token that is worth a dollar, is worth the word of two
// nodes.
bool WorthTwo(const codec::Uint256& amount, uint8_t decimals, const std::optional<Money>& above);

// How sure a trace must be: as sure as the receipt of a transaction of ours.
struct TraceRules {
  uint64_t confirmations = 1;  // blocks that make a transaction count, its own included
  bool two = false;            // only what two nodes say
  uint64_t since = 0;          // a node that has not got this block says nothing
};

// Looks for the transaction that used an authorization, backwards from the latest block. kUsed with
// its hash when it paid what `claim` says; kUsedElsewhere when it did not or when the authorization
// was cancelled; kUnused; kUnknown when it is not as deep as `rules` want yet, or lies before
// `oldest_s` (seconds since 1970) or further back than we look. Errors: kChainUnreachable, also
// when no two nodes agree.
struct TracedTransfer {
  Facilitator::Trace trace = Facilitator::Trace::kUnknown;
  crypto::Hash32 transaction{};
  UnixMs as_of;  // the time of the latest block that was deep enough when it was asked
};
Task<TracedTransfer> TraceTransfer(chain::EvmView& view, scheme::TransferClaim claim,
                                   int64_t oldest_s, TraceRules rules, Deadline by);

}  // namespace pontage::settle
