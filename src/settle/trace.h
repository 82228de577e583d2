#pragma once

#include <cstdint>

#include "base/time.h"
#include "chain/view.h"
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

// Looks for the transaction that used an authorization, backwards from the latest block. kUsed with
// its hash when it paid what `claim` says; kUsedElsewhere when it did not or when the authorization
// was cancelled; kUnused; kUnknown when it lies before `oldest_s` (seconds since 1970) or further
// back than we look. Errors: kChainUnreachable.
struct TracedTransfer {
  Facilitator::Trace trace = Facilitator::Trace::kUnknown;
  crypto::Hash32 transaction{};
  UnixMs as_of;  // the time of the latest block when it was asked
};
Task<TracedTransfer> TraceTransfer(chain::EvmView& view, scheme::TransferClaim claim,
                                   int64_t oldest_s, Deadline by);

}  // namespace pontage::settle
