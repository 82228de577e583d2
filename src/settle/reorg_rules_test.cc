#include "settle/reorg_rules.h"

#include <gtest/gtest.h>

namespace pontage::settle {
namespace {

using scheme::Proof;
using Trace = Facilitator::Trace;

crypto::Hash32 HashOf(uint8_t n) {
  crypto::Hash32 hash{};
  hash[31] = n;
  return hash;
}
const InBlock kWas{100, HashOf(1)};

TEST(ReorgRulesTest, ABlockIsThereReplacedFinalOrUnknown) {
  const struct {
    std::string_view name;
    HeightNow now;
    BlockIs want;
  } cases[] = {
      {"it stands", {101, 90, true, HashOf(1)}, BlockIs::kThere},
      {"it is the head", {100, 90, true, HashOf(1)}, BlockIs::kThere},
      {"another one stands there", {101, 90, true, HashOf(2)}, BlockIs::kReplaced},
      {"another one, said to be final", {200, 150, true, HashOf(2)}, BlockIs::kReplaced},
      {"the node is behind, or the chain is shorter", {99, 90, true, {}}, BlockIs::kUnknown},
      {"finalized", {101, 100, true, HashOf(1)}, BlockIs::kFinal},
      {"finalized, one below", {200, 99, true, HashOf(1)}, BlockIs::kThere},
      {"64 blocks, and the node names none as final", {164, {}, false, HashOf(1)}, BlockIs::kFinal},
      {"63 blocks", {163, {}, false, HashOf(1)}, BlockIs::kThere},
      {"64 blocks, and it names one further down", {164, 90, true, HashOf(1)}, BlockIs::kThere},
      {"64 blocks, and it named some before", {164, {}, true, HashOf(1)}, BlockIs::kThere},
      {"a chain that has stopped to name any", {10'100, 90, true, HashOf(1)}, BlockIs::kFinal},
      {"its head is below, and the block is there", {99, {}, false, HashOf(1)}, BlockIs::kThere},
  };
  for (const auto& one : cases) EXPECT_EQ(JudgeBlock(kWas, one.now), one.want) << one.name;
}

TEST(ReorgRulesTest, ATransactionStaysMovesOrIsGone) {
  const struct {
    std::string_view name;
    std::optional<InBlock> now;
    int missed;
    Fate want;
  } cases[] = {
      {"receipt still in the same block", kWas, 0, Fate::kStays},
      {"in another block of that height", InBlock{100, HashOf(2)}, 0, Fate::kMoved},
      {"in a later block", InBlock{102, HashOf(3)}, 1, Fate::kMoved},
      {"no receipt, the first time", std::nullopt, 0, Fate::kUnknown},
      {"no receipt, the second time", std::nullopt, 1, Fate::kGone},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(JudgeTransaction(kWas, one.now, one.missed), one.want) << one.name;
  }
}

TEST(ReorgRulesTest, APaymentIsPaidPaidElsewhereOrLost) {
  const struct {
    std::string_view name;
    std::optional<Proof> proof;
    std::optional<Trace> trace;
    PaymentIs want;
  } cases[] = {
      {"its log is in the new block", Proof::kPaid, {}, PaymentIs::kPaid},
      {"reverted: the authorization paid by another transaction",
       {},
       Trace::kUsed,
       PaymentIs::kPaidElsewhere},
      {"not in a batch that went through: likewise", Proof::kUnused, Trace::kUsed,
       PaymentIs::kPaidElsewhere},
      {"reverted, and nobody used the authorization", {}, Trace::kUnused, PaymentIs::kLost},
      {"reverted, and it was canceled or paid somebody else",
       {},
       Trace::kUsedElsewhere,
       PaymentIs::kLost},
      {"its log pays somebody else", Proof::kElsewhere, Trace::kUsedElsewhere, PaymentIs::kLost},
      {"reverted, and the chain cannot say why", {}, Trace::kUnknown, PaymentIs::kUnknown},
      {"reverted, and the chain does not answer", {}, {}, PaymentIs::kUnknown},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(JudgePayment(one.proof, one.trace), one.want) << one.name;
  }
}

}  // namespace
}  // namespace pontage::settle
