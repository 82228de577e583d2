#include "settle/trace.h"

#include <algorithm>

#include "base/try.h"

namespace pontage::settle {
namespace {

// Nodes refuse wide ranges; the most common limit is 10,000 blocks, some have 2,000.
constexpr uint64_t kLogRange = 2'000;
// 100,000 blocks are two days at two seconds each: longer than payments are valid.
constexpr int kMaxRanges = 50;

codec::Bytes32 AuthorizationCanceledTopic() {
  return crypto::Keccak256(codec::AsBytes("AuthorizationCanceled(address,bytes32)"));
}

}  // namespace

scheme::TransferClaim ClaimOf(const chain::TransferAuthorization& auth,
                              const scheme::ExactEvmTerms& terms) {
  scheme::TransferClaim claim;
  claim.asset = terms.asset;
  claim.payer = auth.from;
  claim.nonce = auth.nonce;
  claim.to = terms.pay_to;
  claim.value = terms.amount;
  return claim;
}

int64_t OldestOf(const chain::TransferAuthorization& auth, const scheme::ExactEvmTerms& terms) {
  constexpr int64_t kDay = 86'400;
  const uint64_t before = auth.valid_before.ToU64().value_or(INT64_MAX);
  return static_cast<int64_t>(std::min<uint64_t>(before, INT64_MAX)) -
         std::clamp<int64_t>(terms.max_timeout_s, 0, kDay) - 2 * scheme::kWindowSkewS;
}

Task<TracedTransfer> TraceTransfer(chain::EvmView& view, scheme::TransferClaim claim,
                                   int64_t oldest_s, Deadline by) {
  TracedTransfer traced;
  // The time first: what is unused then was unused at that time at least.
  PTG_CO_TRY(chain::EvmBlock block, co_await view.Block(std::nullopt, by));
  traced.as_of = UnixMs::FromSeconds(block.time_s);
  PTG_CO_TRY(const bool used, co_await view.NonceUsed(claim.asset, claim.payer, claim.nonce, by));
  if (!used) {
    traced.trace = Facilitator::Trace::kUnused;
    co_return traced;
  }
  // It may have been used in a block since.
  PTG_CO_TRY(block, co_await view.Block(std::nullopt, by));
  uint64_t to = block.number;
  for (int range = 0; range < kMaxRanges; ++range) {
    const uint64_t from = to >= kLogRange ? to - kLogRange + 1 : 0;
    for (const codec::Bytes32& topic :
         {chain::AuthorizationUsedTopic(), AuthorizationCanceledTopic()}) {
      chain::LogFilter filter;
      filter.address = claim.asset;
      filter.topics = {topic, claim.payer.ToWord(), claim.nonce};
      filter.from_block = from;
      filter.to_block = to;
      PTG_CO_TRY(const std::vector<chain::FoundLog> found,
                 co_await view.Logs(std::move(filter), by));
      if (found.empty()) continue;
      traced.trace = Facilitator::Trace::kUsedElsewhere;
      traced.transaction = found.front().transaction;
      std::vector<crypto::Hash32> hashes{traced.transaction};
      PTG_CO_TRY(const auto receipts, co_await view.Receipts(std::move(hashes), by));
      if (!receipts[0]) {
        co_return Fail(Code::kChainUnreachable, "the chain gives a log without its receipt");
      }
      if (receipts[0]->ok &&
          scheme::ProveTransfer(receipts[0]->logs, claim) == scheme::Proof::kPaid) {
        traced.trace = Facilitator::Trace::kUsed;
      }
      co_return traced;
    }
    if (from == 0) break;
    PTG_CO_TRY(block, co_await view.Block(from, by));
    if (block.time_s < oldest_s) break;
    to = from - 1;
  }
  co_return traced;
}

}  // namespace pontage::settle
