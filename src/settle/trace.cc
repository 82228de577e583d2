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

bool RanOut(const chain::TransferAuthorization& auth, UnixMs as_of) {
  // Nodes behind one name may be this much behind each other.
  constexpr Millis kLagOfNodes{60'000};
  constexpr uint64_t kNever = INT64_MAX / 1'000;
  const uint64_t end = std::min(auth.valid_before.ToU64().value_or(kNever), kNever);
  return as_of > UnixMs::FromSeconds(static_cast<int64_t>(end)) + kLagOfNodes;
}

bool WorthTwo(const codec::Uint256& amount, uint8_t decimals, const std::optional<Money>& above) {
  if (!above) return false;
  constexpr uint64_t kMicros = 1'000'000;
  codec::Uint256 least(static_cast<uint64_t>(std::max<int64_t>(above->micros(), 0)));
  for (uint8_t i = 0; i < decimals; ++i) {
    const Result<codec::Uint256> more = Mul(least, 10);
    if (!more) return false;
    least = *more;
  }
  const Result<codec::Uint256> mine = Mul(amount, kMicros);
  return !mine || *mine >= least;
}

namespace {

// Both at one node, or the word of two.
Task<chain::EvmBlock> Latest(chain::EvmView& view, bool two, Deadline by) {
  return two ? view.LatestOfTwo(by) : view.Block(std::nullopt, by);
}

Task<bool> Used(chain::EvmView& view, const scheme::TransferClaim& claim, TraceRules rules,
                Deadline by) {
  if (rules.two) return view.NonceUsedOfTwo(claim.asset, claim.payer, claim.nonce, by);
  if (rules.since == 0) return view.NonceUsed(claim.asset, claim.payer, claim.nonce, by);
  return view.NonceUsedSince(claim.asset, claim.payer, claim.nonce, rules.since, by);
}

Task<std::optional<chain::EvmReceipt>> ReceiptOf(chain::EvmView& view, crypto::Hash32 hash,
                                                 bool two, Deadline by) {
  if (two) co_return co_await view.ReceiptOfTwo(hash, by);
  std::vector<crypto::Hash32> hashes{hash};
  PTG_CO_TRY(std::vector<std::optional<chain::EvmReceipt>> receipts,
             co_await view.Receipts(std::move(hashes), by));
  if (!receipts[0]) {
    co_return Fail(Code::kChainUnreachable, "the chain gives a log without its receipt");
  }
  co_return std::move(receipts[0]);
}

// That a node finds a log in a transaction is its own word; that it is there is its receipt's.
bool Holds(const chain::EvmReceipt& receipt, const chain::LogFilter& filter) {
  return std::ranges::any_of(receipt.logs, [&filter](const chain::EvmLog& log) {
    return log.address == filter.address && log.topics.size() == filter.topics.size() &&
           std::ranges::equal(log.topics, filter.topics, [](const auto& is, const auto& wanted) {
             return !wanted || is == *wanted;
           });
  });
}

}  // namespace

Task<TracedTransfer> TraceTransfer(chain::EvmView& view, scheme::TransferClaim claim,
                                   int64_t oldest_s, TraceRules rules, Deadline by) {
  TracedTransfer traced;
  const uint64_t above = std::max<uint64_t>(rules.confirmations, 1) - 1;  // blocks on top of it
  // The time first: what is unused then was unused at that time at least.
  PTG_CO_TRY(chain::EvmBlock block, co_await Latest(view, rules.two, by));
  if (block.number < rules.since) {
    co_return Fail(Code::kChainUnreachable,
                   "the chain has not got block " + std::to_string(rules.since) + " yet");
  }
  traced.as_of = UnixMs::FromSeconds(block.time_s);
  PTG_CO_TRY(const bool used, co_await Used(view, claim, rules, by));
  if (!used) {
    if (above > 0) {
      // What is above may be thrown out, and with other blocks in its place it may yet be used at
      // an earlier time.
      PTG_CO_TRY(block, co_await view.Block(block.number - std::min(block.number, above), by));
      traced.as_of = std::min(traced.as_of, UnixMs::FromSeconds(block.time_s));
    }
    traced.trace = Facilitator::Trace::kUnused;
    co_return traced;
  }
  // It may have been used in a block since.
  PTG_CO_TRY(block, co_await Latest(view, rules.two, by));
  const uint64_t head = block.number;
  uint64_t to = head;
  for (int range = 0; range < kMaxRanges; ++range) {
    const uint64_t from = to >= kLogRange ? to - kLogRange + 1 : 0;
    for (const codec::Bytes32& topic :
         {chain::AuthorizationUsedTopic(), AuthorizationCanceledTopic()}) {
      chain::LogFilter filter;
      filter.address = claim.asset;
      filter.topics = {topic, claim.payer.ToWord(), claim.nonce};
      filter.from_block = from;
      filter.to_block = to;
      chain::LogFilter asked = filter;
      PTG_CO_TRY(const std::vector<chain::FoundLog> found,
                 co_await view.Logs(std::move(asked), by));
      if (found.empty()) continue;
      const crypto::Hash32 hash = found.front().transaction;
      PTG_CO_TRY(const std::optional<chain::EvmReceipt> receipt,
                 co_await ReceiptOf(view, hash, rules.two, by));
      // Not there, or not yet.
      if (!receipt || !Holds(*receipt, filter) || receipt->block + above > head) co_return traced;
      traced.transaction = hash;
      const bool paid =
          receipt->ok && scheme::ProveTransfer(receipt->logs, claim) == scheme::Proof::kPaid;
      traced.trace = paid ? Facilitator::Trace::kUsed : Facilitator::Trace::kUsedElsewhere;
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
