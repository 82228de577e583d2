#include "settle/reorg_rules.h"

namespace pontage::settle {

BlockIs JudgeBlock(const InBlock& was, const HeightNow& now) {
  if (!now.hash) return BlockIs::kUnknown;
  if (*now.hash != was.hash) return BlockIs::kReplaced;
  if (now.finalized && was.block <= *now.finalized) return BlockIs::kFinal;
  // One answer without the word says nothing where other answers had it.
  const uint64_t depth = now.finalized || now.names_final ? kWatchedDepth : kFinalDepth;
  return now.head >= was.block && now.head - was.block >= depth ? BlockIs::kFinal : BlockIs::kThere;
}

Fate JudgeTransaction(const InBlock& was, const std::optional<InBlock>& now, int missed) {
  if (!now) return missed + 1 >= kGoneLooks ? Fate::kGone : Fate::kUnknown;
  return *now == was ? Fate::kStays : Fate::kMoved;
}

PaymentIs JudgePayment(const std::optional<scheme::Proof>& proof,
                       const std::optional<Facilitator::Trace>& trace) {
  if (proof == scheme::Proof::kPaid) return PaymentIs::kPaid;
  if (!trace) return PaymentIs::kUnknown;
  switch (*trace) {
    case Facilitator::Trace::kUsed:
      return PaymentIs::kPaidElsewhere;
    case Facilitator::Trace::kUnused:
    case Facilitator::Trace::kUsedElsewhere:
      return PaymentIs::kLost;
    case Facilitator::Trace::kUnknown:
      break;
  }
  return PaymentIs::kUnknown;
}

}  // namespace pontage::settle
