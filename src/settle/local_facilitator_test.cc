#include "settle/local_facilitator.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "codec/hex.h"
#include "testing/expect.h"
#include "testing/settle_fixture.h"

namespace pontage::settle {
namespace {

using Outcome = Facilitator::Outcome;
using testing::FailsWith;
using testing::IsOk;
using testing::SettleFixture;
using Sale = SettleFixture::Sale;

class LocalFacilitatorTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  SettleFixture f{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Engines, LocalFacilitatorTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(LocalFacilitatorTest, VerifiesAndSettlesBothVersions) {
  for (const int version : {1, 2}) {
    const Sale sale = f.Make(static_cast<uint8_t>(version), version);
    const auto verified = f.Verify(sale);
    ASSERT_THAT(verified, IsOk());
    EXPECT_TRUE(verified->valid) << verified->reason;
    EXPECT_EQ(verified->payer, f.payer.address().ToChecksum());
    const auto settled = f.Settle(sale);
    ASSERT_THAT(settled, IsOk());
    EXPECT_EQ(settled->outcome, Outcome::kSettled) << settled->answer.reason;
    EXPECT_TRUE(settled->answer.success);
    EXPECT_EQ(settled->answer.network, sale.requirements.network);
    EXPECT_EQ(settled->answer.transaction.size(), 66U);
  }
  EXPECT_EQ(f.fake.balance[SettleFixture::Key(3).address()], codec::Uint256(2'000));
}

TEST_P(LocalFacilitatorTest, ASecondSettleGivesTheFirstOutcomeAndSendsNothing) {
  const Sale sale = f.Make(1);
  const auto first = f.Settle(sale);
  ASSERT_THAT(first, IsOk());
  const size_t sends = f.fake.sends;
  const auto second = f.Settle(sale);
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->outcome, Outcome::kSettled);
  EXPECT_EQ(second->answer.transaction, first->answer.transaction);
  EXPECT_EQ(f.fake.sends, sends);
  // Not another sale with the same authorization, though.
  Sale other = sale;
  other.requirements.amount = codec::Uint256(999);
  const auto refused = f.Settle(other);
  ASSERT_THAT(refused, IsOk());
  EXPECT_EQ(refused->outcome, Outcome::kRefused);
}

// Fifty callers with one payment: the money moves once.
TEST_P(LocalFacilitatorTest, TheSamePaymentManyTimesAtOnceMovesOnce) {
  f.fake.instant = false;
  const Sale sale = f.Make(1);
  std::vector<Facilitator::Settlement> strangers;
  std::vector<Facilitator::Settlement> owners;
  const auto once = [&]() -> Task<> {
    PTG_CO_TRY(auto s, co_await f.facilitator->SettleOnce(sale.payment, sale.requirements,
                                                          SettleFixture::In(Millis(8'000))));
    strangers.push_back(std::move(s));
    co_return {};
  };
  const auto own = [&]() -> Task<> {
    PTG_CO_TRY(auto s, co_await f.facilitator->Settle(sale.payment, sale.requirements,
                                                      SettleFixture::In(Millis(8'000))));
    owners.push_back(std::move(s));
    co_return {};
  };
  for (int i = 0; i < 25; ++i) {
    f.loop.Spawn(once(), "stranger");
    f.loop.Spawn(own(), "owner");
  }
  f.Wait(Millis(400));
  EXPECT_EQ(f.fake.pool_size(), 1U);
  f.fake.Mine();
  for (int i = 0; i < 40 && strangers.size() + owners.size() < 50; ++i) f.Wait(Millis(100));
  ASSERT_EQ(strangers.size(), 25U);
  ASSERT_EQ(owners.size(), 25U);
  int told = 0;
  for (const auto& s : strangers) {
    told += s.outcome == Outcome::kSettled ? 1 : 0;
    if (s.outcome != Outcome::kSettled) {
      EXPECT_EQ(s.answer.reason, "invalid_exact_evm_nonce_already_used");
      EXPECT_FALSE(s.answer.success);
    }
  }
  EXPECT_LE(told, 1) << "a stranger may serve on each success he hears of";
  for (const auto& s : owners) EXPECT_EQ(s.outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.transfers, 1U);
}

// Verified a moment ago: the chain is not asked about it again, only whether the very transaction
// would go through.
TEST_P(LocalFacilitatorTest, WhatWasJustVerifiedIsSettledOnTheWordOfTheSimulation) {
  EXPECT_EQ(f.Settle(f.Make(1))->outcome, Outcome::kSettled);  // the gas is known from here on
  const Sale good = f.Make(2);
  EXPECT_TRUE(f.Verify(good)->valid);
  const size_t questions = f.fake.questions;
  EXPECT_EQ(f.Settle(good)->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.questions, questions);
  EXPECT_EQ(f.Settle(good)->outcome, Outcome::kSettled) << "an owner may hear it again";
  EXPECT_EQ(f.fake.transfers, 2U);

  // His money went elsewhere meanwhile: asked anew, and refused with the reason.
  const Sale drained = f.Make(3);
  EXPECT_TRUE(f.Verify(drained)->valid);
  const codec::Uint256 had = f.fake.balance[f.payer.address()];
  f.fake.balance[f.payer.address()] = codec::Uint256(1);
  const size_t sends = f.fake.sends;
  EXPECT_EQ(f.Settle(drained)->answer.reason, "invalid_exact_evm_insufficient_balance");
  EXPECT_EQ(f.fake.sends, sends) << "nothing was sent that would be reverted";
  f.fake.balance[f.payer.address()] = had;

  // Somebody else sent it meanwhile: it pays our payee all the same.
  const Sale taken = f.Make(4);
  EXPECT_TRUE(f.Verify(taken)->valid);
  f.fake.FrontRun(taken.auth);
  EXPECT_EQ(f.Settle(taken)->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.sends, sends);
}

// The trace is no way around the depth that receipts must have.
TEST_P(LocalFacilitatorTest, ATraceWaitsForConfirmationsAsAReceiptDoes) {
  SubmitterOptions options;
  options.confirmations = 3;
  f.StartNode(options);
  f.fake.now_s = Clock::System().Now().seconds();
  const Sale sale = f.Make(1);
  ASSERT_EQ(f.Settle(sale, Millis(600))->outcome, Outcome::kUnknown);
  const auto look = [&] {
    return f.loop.RunUntilDone(
        f.facilitator->Lookup(sale.payment, sale.requirements, SettleFixture::In(Millis(2'000))));
  };
  EXPECT_EQ(look()->trace, Facilitator::Trace::kUnknown) << "one of three";
  f.fake.MineEmpty();
  EXPECT_EQ(look()->trace, Facilitator::Trace::kUnknown) << "two of three";
  f.fake.MineEmpty();
  EXPECT_EQ(look()->trace, Facilitator::Trace::kUsed);
  // What is unused was unused at the time of the block that counts.
  const Sale other = f.Make(2);
  const auto unused = f.loop.RunUntilDone(
      f.facilitator->Lookup(other.payment, other.requirements, SettleFixture::In(Millis(2'000))));
  EXPECT_EQ(unused->trace, Facilitator::Trace::kUnused);
  EXPECT_EQ(unused->as_of, UnixMs::FromSeconds(f.fake.now_s - 4));
  // And somebody else's transaction waits as long.
  f.fake.FrontRun(other.auth);
  EXPECT_EQ(f.Settle(other, Millis(600))->outcome, Outcome::kUnknown);
  f.fake.MineEmpty();
  f.fake.MineEmpty();
  EXPECT_EQ(f.Settle(other)->outcome, Outcome::kSettled);
}

// A node that alone says of a payment that it was made, with a log and a receipt of its own making;
// what two are asked for, the honest ones say.
class OneLies final : public testing::FakeEvmChain {
 public:
  using FakeEvmChain::FakeEvmChain;
  bool lies = true;
  FakeEvmChain* dream = nullptr;  // where the lies come from

  Task<bool> NonceUsed(crypto::EvmAddress asset, crypto::EvmAddress payer, codec::Bytes32 nonce,
                       Deadline by) override {
    return lies ? dream->NonceUsed(asset, payer, nonce, by)
                : FakeEvmChain::NonceUsed(asset, payer, nonce, by);
  }
  Task<bool> NonceUsedOfTwo(crypto::EvmAddress asset, crypto::EvmAddress payer,
                            codec::Bytes32 nonce, Deadline by) override {
    return FakeEvmChain::NonceUsed(asset, payer, nonce, by);
  }
  Task<std::vector<chain::FoundLog>> Logs(chain::LogFilter filter, Deadline by) override {
    return lies ? dream->Logs(std::move(filter), by) : FakeEvmChain::Logs(std::move(filter), by);
  }
  Task<std::vector<std::optional<chain::EvmReceipt>>> Receipts(std::vector<crypto::Hash32> hashes,
                                                               Deadline by) override {
    return lies ? dream->Receipts(std::move(hashes), by)
                : FakeEvmChain::Receipts(std::move(hashes), by);
  }
  Task<std::optional<chain::EvmReceipt>> ReceiptOfTwo(crypto::Hash32 hash, Deadline by) override {
    ++of_two;
    std::vector<crypto::Hash32> one{hash};
    PTG_CO_TRY(auto found, co_await FakeEvmChain::Receipts(std::move(one), by));
    co_return std::move(found[0]);
  }
  Task<std::vector<chain::CallResult>> Calls(std::vector<chain::Call> calls, Deadline by) override {
    return lies ? dream->Calls(std::move(calls), by) : FakeEvmChain::Calls(std::move(calls), by);
  }
  Task<std::vector<chain::CallResult>> CallsOfTwo(std::vector<chain::Call> calls,
                                                  Deadline by) override {
    return FakeEvmChain::Calls(std::move(calls), by);
  }
  size_t of_two = 0;
};

TEST_P(LocalFacilitatorTest, OneNodeAloneMakesNoTransferAboveTheQuorum) {
  const chain::ChainId id = chain::ChainId::Evm(84532);
  testing::FakeEvmChain dream(id, f.Domain());
  OneLies liar(id, f.Domain());
  liar.dream = &dream;
  const Sale sale = f.Make(1);
  for (testing::FakeEvmChain* one : {&dream, static_cast<testing::FakeEvmChain*>(&liar)}) {
    one->balance[f.payer.address()] = codec::Uint256(1'000'000);
    one->now_s = Clock::System().Now().seconds();
  }
  dream.FrontRun(f.Make(2).auth);
  dream.FrontRun(sale.auth);
  liar.MineEmpty();
  liar.MineEmpty();
  const auto look = [&](const LocalFacilitator& of) {
    return f.loop.RunUntilDone(const_cast<LocalFacilitator&>(of).Lookup(
        sale.payment, sale.requirements, SettleFixture::In(Millis(2'000))));
  };
  const LocalFacilitator trusting({{&liar, nullptr}}, f.assets, *f.database, Clock::System());
  const LocalFacilitator careful({{&liar, nullptr, Money::Micros(1'000)}}, f.assets, *f.database,
                                 Clock::System());
  EXPECT_EQ(look(trusting)->trace, Facilitator::Trace::kUsed) << "one node is believed below it";
  EXPECT_EQ(look(careful)->trace, Facilitator::Trace::kUnused);
  // Used in truth, by another transaction than the one it names.
  liar.FrontRun(sale.auth);
  EXPECT_EQ(look(careful)->trace, Facilitator::Trace::kUnknown);
  EXPECT_GT(liar.of_two, 0U);
  liar.lies = false;
  EXPECT_EQ(look(careful)->trace, Facilitator::Trace::kUsed);
}

TEST_P(LocalFacilitatorTest, AReceiptThatIsNotSeenInTimeIsPendingAndASecondSettleReconciles) {
  f.fake.instant = false;
  const Sale sale = f.Make(1);
  const auto first = f.Settle(sale, Millis(400));
  ASSERT_THAT(first, IsOk());
  EXPECT_EQ(first->outcome, Outcome::kUnknown);
  EXPECT_EQ(first->answer.reason, "settlement_pending");
  EXPECT_FALSE(first->answer.success);
  EXPECT_EQ(first->answer.transaction.size(), 66U);
  f.fake.Mine();
  const auto second = f.Settle(sale);
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->outcome, Outcome::kSettled);
  EXPECT_EQ(second->answer.transaction, first->answer.transaction);
  EXPECT_EQ(f.fake.transfers, 1U);
}

// The machine's time, but for what the wall clock says.
class WrongClock final : public Clock {
 public:
  explicit WrongClock(Millis off) : off_(off) {}
  UnixMs Now() const override { return System().Now() + off_; }
  SteadyMs Steady() const override { return System().Steady(); }

 private:
  Millis off_;
};

// A node whose clock is far off takes over a payment that another one has sent, or is about to
// send: to say that it is refused would let the buyer sign a new one and pay twice.
TEST_P(LocalFacilitatorTest, AWrongClockRefusesNothingThatAnotherNodeMaySettle) {
  constexpr Millis kHour{3'600'000};
  f.fake.instant = false;
  f.fake.now_s = Clock::System().Now().seconds();
  const Sale sent = f.Make(1);
  ASSERT_EQ(f.Settle(sent, Millis(400))->outcome, Outcome::kUnknown);
  const Sale unsent = f.Make(2);
  for (const Millis off : {-kHour, Millis(0) - Millis(1'200'000), kHour}) {
    const WrongClock clock(off);
    LocalFacilitator wrong({{&f.fake, f.signers.get()}}, f.assets, *f.database, clock);
    const auto settle = [&](const Sale& sale, bool owner) {
      const Deadline by = SettleFixture::In(Millis(400));
      return f.loop.RunUntilDone(owner ? wrong.Settle(sale.payment, sale.requirements, by)
                                       : wrong.SettleOnce(sale.payment, sale.requirements, by));
    };
    EXPECT_EQ(settle(sent, true)->outcome, Outcome::kUnknown) << off.count();
    EXPECT_EQ(settle(sent, false)->outcome, Outcome::kUnknown) << off.count();
    EXPECT_EQ(settle(unsent, true)->outcome, Outcome::kUnknown) << off.count();
    EXPECT_EQ(settle(unsent, false)->outcome, Outcome::kRefused) << "nobody has verified it here";
  }
  EXPECT_EQ(f.fake.pool_size(), 1U);
  f.fake.Mine();
  const WrongClock slow(-kHour);
  LocalFacilitator wrong({{&f.fake, f.signers.get()}}, f.assets, *f.database, slow);
  const auto told = f.loop.RunUntilDone(
      wrong.Settle(sent.payment, sent.requirements, SettleFixture::In(Millis(3'000))));
  ASSERT_THAT(told, IsOk());
  EXPECT_EQ(told->outcome, Outcome::kSettled);
}

// The node dies between storing and broadcasting; the next one brings it to its end.
TEST_P(LocalFacilitatorTest, ACrashAfterSigningLosesNothing) {
  f.fake.DropNext();
  f.fake.instant = false;
  const Sale sale = f.Make(1);
  EXPECT_EQ(f.Settle(sale, Millis(300))->outcome, Outcome::kUnknown);
  EXPECT_EQ(f.fake.pool_size(), 0U);
  f.StartNode();
  f.Wait(Millis(300));
  EXPECT_EQ(f.fake.pool_size(), 1U) << "what was stored was not sent again";
  f.fake.Mine();
  EXPECT_EQ(f.Settle(sale)->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.transfers, 1U);
}

TEST_P(LocalFacilitatorTest, ALostReplyToABroadcastIsNoSecondTransaction) {
  f.fake.LoseNextReply();
  const Sale sale = f.Make(1);
  const auto settled = f.Settle(sale);
  ASSERT_THAT(settled, IsOk());
  EXPECT_EQ(settled->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.transfers, 1U);
}

TEST_P(LocalFacilitatorTest, SomebodyElseSentItFirstAndThePayeeHasHisMoney) {
  f.fake.instant = false;
  const Sale sale = f.Make(1);
  EXPECT_EQ(f.Settle(sale, Millis(300))->outcome, Outcome::kUnknown);
  f.fake.FrontRun(sale.auth);
  f.fake.Mine();  // ours is reverted
  const auto settled = f.Settle(sale);
  ASSERT_THAT(settled, IsOk());
  EXPECT_EQ(settled->outcome, Outcome::kSettled);
  EXPECT_TRUE(settled->answer.transaction.starts_with("0xfe"));
  EXPECT_EQ(f.fake.transfers, 1U);
}

TEST_P(LocalFacilitatorTest, UsedBeforeWeSentItIsSuccessOnlyForItsOwner) {
  const Sale sale = f.Make(1);
  f.fake.FrontRun(sale.auth);
  const auto stranger = f.SettleOnce(sale);
  ASSERT_THAT(stranger, IsOk());
  EXPECT_EQ(stranger->outcome, Outcome::kRefused);
  EXPECT_EQ(stranger->answer.reason, "invalid_exact_evm_nonce_already_used");
  const auto owner = f.Settle(sale);
  ASSERT_THAT(owner, IsOk());
  EXPECT_EQ(owner->outcome, Outcome::kSettled);
  const auto verified = f.Verify(sale);
  ASSERT_THAT(verified, IsOk());
  EXPECT_FALSE(verified->valid);
  const auto traced = f.loop.RunUntilDone(
      f.facilitator->Lookup(sale.payment, sale.requirements, SettleFixture::In(Millis(1'000))));
  ASSERT_THAT(traced, IsOk());
  EXPECT_EQ(traced->trace, Facilitator::Trace::kUsed);
}

// A token that says yes and moves nothing: the status of the receipt is worth nothing.
TEST_P(LocalFacilitatorTest, ATransactionWithoutTheTransferIsNoSuccess) {
  f.fake.moves = false;
  const Sale sale = f.Make(1);
  const auto settled = f.Settle(sale);
  ASSERT_THAT(settled, IsOk());
  EXPECT_EQ(settled->outcome, Outcome::kRefused);
  EXPECT_EQ(settled->answer.reason, "invalid_exact_evm_transfer_event_mismatch");
  EXPECT_FALSE(settled->answer.success);
}

TEST_P(LocalFacilitatorTest, ARevertedTransactionMayBeTriedAgain) {
  f.fake.instant = false;
  const Sale sale = f.Make(1);
  EXPECT_EQ(f.Settle(sale, Millis(300))->outcome, Outcome::kUnknown);
  const codec::Uint256 had = std::exchange(f.fake.balance[f.payer.address()], codec::Uint256());
  f.fake.Mine();
  const auto failed = f.Settle(sale);
  ASSERT_THAT(failed, IsOk());
  EXPECT_EQ(failed->outcome, Outcome::kRefused);
  EXPECT_EQ(failed->answer.reason, "invalid_exact_evm_transaction_failed");
  f.fake.balance[f.payer.address()] = had;
  f.fake.instant = true;
  EXPECT_EQ(f.Settle(sale)->outcome, Outcome::kSettled);
}

TEST_P(LocalFacilitatorTest, AnOutageIsAnErrorAndNeverAnInvalidPayment) {
  const Sale sale = f.Make(1);
  f.fake.GoDown(true);
  EXPECT_THAT(f.Verify(sale), FailsWith(Code::kChainUnreachable));
  EXPECT_THAT(f.Settle(sale), FailsWith(Code::kChainUnreachable));
  // A payment that is bad by itself is so without the chain.
  Sale forged = sale;
  forged.auth.value = codec::Uint256(1);
  f.Sign(forged);
  const auto refused = f.Verify(forged);
  ASSERT_THAT(refused, IsOk());
  EXPECT_FALSE(refused->valid);
  f.fake.GoDown(false);
  EXPECT_EQ(f.Settle(sale)->outcome, Outcome::kSettled);
}

TEST_P(LocalFacilitatorTest, ForgedPaymentsAskTheChainNothing) {
  Sale sale = f.Make(1);
  const size_t before = f.fake.questions;
  sale.payment.raw.Find("payload")
      ->Find("authorization")
      ->Set("nonce", "0x" + std::string(64, 'a'));
  const auto refused = f.Verify(sale);
  ASSERT_THAT(refused, IsOk());
  EXPECT_EQ(refused->reason, "invalid_exact_evm_signature");
  EXPECT_EQ(refused->pointer, "/payload/signature");
  EXPECT_EQ(f.fake.questions, before);
}

TEST_P(LocalFacilitatorTest, UnlistedAssetsAndForeignChainsAreRefused) {
  Sale sale = f.Make(1);
  sale.requirements.asset = SettleFixture::Key(5).address().ToChecksum();
  EXPECT_EQ(f.Verify(sale)->reason, "asset_not_deployed_contract");
  sale = f.Make(1);
  sale.requirements.network = "eip155:8453";
  EXPECT_FALSE(f.Verify(sale)->valid);
  sale = f.Make(1);
  sale.payment.scheme = "upto";
  EXPECT_EQ(f.Verify(sale)->reason, "unsupported_scheme");
  sale = f.Make(1);
  f.fake.accounts_with_code.insert(f.payer.address());
  EXPECT_EQ(f.Verify(sale)->reason, "invalid_exact_evm_signature");
}

// ERC-1271 and EIP-7702: the contract says whether the signature is good, in both directions.
TEST_P(LocalFacilitatorTest, APayerWithCodeIsAskedByItsContract) {
  f.fake.accounts_with_code.insert(f.payer.address());
  Sale sale = f.Make(1);
  EXPECT_EQ(f.Verify(sale)->reason, "invalid_exact_evm_signature")
      << "his key signed, but his code says no";
  f.fake.agreeing_wallets.insert(f.payer.address());
  sale = f.Make(2);
  // What no key can have signed.
  sale.payment.raw.Find("payload")->Set("signature", "0x01" + std::string(130, 'a'));
  EXPECT_TRUE(f.Verify(sale)->valid);
  const auto settled = f.Settle(sale);
  ASSERT_THAT(settled, IsOk());
  EXPECT_EQ(settled->outcome, Outcome::kSettled) << settled->answer.reason;
  EXPECT_EQ(f.fake.transfers, 1U);
  EXPECT_GT(f.fake.wallet_questions, 2U);
}

TEST_P(LocalFacilitatorTest, AnAccountWithoutCodeIsNeverAskedByAContract) {
  Sale sale = f.Make(1);
  sale.payment.raw.Find("payload")->Set("signature", "0x01" + std::string(130, 'a'));
  EXPECT_EQ(f.Verify(sale)->reason, "invalid_exact_evm_signature");
  EXPECT_EQ(f.fake.wallet_questions, 0U);
}

// Searching for the gas costs a node twenty runs of the transfer.
TEST_P(LocalFacilitatorTest, TheGasOfAPayeeIsSearchedForOnce) {
  for (uint8_t n = 1; n <= 3; ++n) EXPECT_EQ(f.Settle(f.Make(n))->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.estimates, 1U);
  // One that failed says that it may have changed.
  f.fake.moves = false;
  EXPECT_EQ(f.Settle(f.Make(4))->outcome, Outcome::kRefused);
  f.fake.moves = true;
  EXPECT_EQ(f.Settle(f.Make(5))->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.estimates, 2U);
}

}  // namespace
}  // namespace pontage::settle
