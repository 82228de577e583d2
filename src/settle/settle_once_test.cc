#include <string>

#include <gtest/gtest.h>

#include "base/try.h"
#include "settle/local_facilitator.h"
#include "settle/pending_store.h"
#include "testing/expect.h"
#include "testing/settle_fixture.h"

namespace pontage::settle {
namespace {

using Outcome = Facilitator::Outcome;
using testing::IsOk;
using testing::SettleFixture;
using Sale = SettleFixture::Sale;

// What strangers hear: who may serve only once is told of a success once.
class SettleOnceTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  void Do(const db::Statement& statement) {
    const auto body = [&statement](db::Tx& tx) -> Result<> {
      PTG_RUN(tx.Run(statement));
      return {};
    };
    ASSERT_THAT(f.database->WriteNow(body), IsOk());
  }
  SettleFixture f{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Engines, SettleOnceTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(SettleOnceTest, ASuccessThatDidNotArriveIsToldAgain) {
  const Sale sale = f.Make(1);
  EXPECT_EQ(f.SettleOnce(sale)->outcome, Outcome::kSettled);
  EXPECT_EQ(f.SettleOnce(sale)->outcome, Outcome::kRefused);
  EXPECT_THAT(f.loop.RunUntilDone(f.facilitator->Untell(sale.payment, sale.requirements,
                                                        SettleFixture::In(Millis(1'000)))),
              IsOk());
  EXPECT_EQ(f.SettleOnce(sale)->outcome, Outcome::kSettled);
}

// What its owner has sold nobody else may serve on; the owner hears of it as often as he asks.
TEST_P(SettleOnceTest, WhatTheOwnerWasToldIsUsedForEverybodyElse) {
  const Sale sale = f.Make(1);
  EXPECT_EQ(f.Settle(sale)->outcome, Outcome::kSettled);
  EXPECT_EQ(f.SettleOnce(sale)->outcome, Outcome::kRefused);
  EXPECT_EQ(f.Settle(sale)->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.transfers, 1U);
}

// Who names his sale hears of it as often as he asks; whoever asks for another one does not.
TEST_P(SettleOnceTest, OneSaleHearsItsSuccessAgain) {
  const Sale sale = f.Make(1);
  const auto settle = [&](const std::string& name) {
    return f.loop.RunUntilDone(f.facilitator->SettleOnce(sale.payment, sale.requirements,
                                                         SettleFixture::In(Millis(5'000)), name));
  };
  const auto first = settle("one");
  ASSERT_EQ(first->outcome, Outcome::kSettled);
  const auto again = settle("one");
  EXPECT_EQ(again->outcome, Outcome::kSettled);
  EXPECT_EQ(again->answer.transaction, first->answer.transaction);
  EXPECT_EQ(settle("two")->outcome, Outcome::kRefused);
  EXPECT_EQ(settle("")->outcome, Outcome::kRefused);
  f.StartNode();
  EXPECT_EQ(settle("one")->outcome, Outcome::kSettled) << "after a restart";
  EXPECT_EQ(f.fake.transfers, 1U);
}

// The nonce is the payer's choice. What he signs with one that was used is another payment, and the
// success of the first is not its own.
TEST_P(SettleOnceTest, TwoPaymentsWithOneNonceAreNotOne) {
  Sale cheap = f.Make(1);
  Sale dear = f.Make(1);
  dear.requirements.amount = dear.auth.value = codec::Uint256(900'000);
  f.Sign(dear);
  Sale elsewhere = f.Make(1);
  elsewhere.requirements.pay_to = SettleFixture::Key(4).address().ToChecksum();
  elsewhere.auth.to = SettleFixture::Key(4).address();
  f.Sign(elsewhere);
  // Verified while it was unused, as a gateway does before the work.
  ASSERT_TRUE(f.Verify(dear)->valid);
  f.fake.instant = false;
  EXPECT_EQ(f.SettleOnce(cheap, Millis(300))->outcome, Outcome::kUnknown);
  EXPECT_NE(f.Settle(dear, Millis(300))->outcome, Outcome::kSettled) << "the first is under way";
  f.fake.Mine();
  EXPECT_EQ(f.Settle(dear)->outcome, Outcome::kRefused);
  EXPECT_EQ(f.SettleOnce(dear)->outcome, Outcome::kRefused);
  EXPECT_EQ(f.SettleOnce(cheap)->outcome, Outcome::kSettled) << "what the others heard is not its";
  f.fake.instant = true;
  for (const Sale& other : {dear, elsewhere}) {
    EXPECT_EQ(f.Settle(other)->outcome, Outcome::kRefused);
    EXPECT_EQ(f.SettleOnce(other)->outcome, Outcome::kRefused);
  }
  EXPECT_EQ(f.Settle(cheap)->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.transfers, 1U);
  EXPECT_EQ(f.fake.balance[SettleFixture::Key(3).address()], codec::Uint256(1'000));
}

// Of two nodes that say "used" and "unused" one is behind, and its word refuses nothing.
TEST_P(SettleOnceTest, ANodeThatIsBehindMakesNothingRefused) {
  for (const bool reverted : {false, true}) {
    SCOPED_TRACE(reverted);
    const Sale sale = f.Make(reverted ? 2 : 1);
    f.fake.instant = !reverted;
    if (reverted) {
      EXPECT_EQ(f.Settle(sale, Millis(300))->outcome, Outcome::kUnknown);
    }
    f.fake.FrontRun(sale.auth);
    f.fake.lags = true;
    if (reverted) f.fake.Mine();
    EXPECT_EQ(f.Settle(sale, Millis(1'000))->outcome, Outcome::kUnknown);
    f.fake.lags = false;
    EXPECT_EQ(f.Settle(sale)->outcome, Outcome::kSettled) << "somebody else has paid the payee";
  }
}

// A call that learns late that its transaction failed says nothing of the next one.
TEST_P(SettleOnceTest, OnlyTheTransactionThatCarriesAPaymentCanFailIt) {
  const auto fail = [&](const std::string& hash) {
    const auto body = [&](db::Tx& tx) { return FailPending(tx, "key", hash, UnixMs(3)); };
    return f.database->WriteNow(body).value_or(false);
  };
  const auto claim = [&](const std::string& hash) {
    const auto body = [&](db::Tx& tx) { return ClaimPending(tx, "key", hash, UnixMs(1)); };
    return f.database->WriteNow(body).value_or(false);
  };
  ASSERT_TRUE(claim("0x01"));
  EXPECT_TRUE(fail("0x01"));
  ASSERT_TRUE(claim("0x02"));
  EXPECT_FALSE(fail("0x01"));
  EXPECT_FALSE(claim("0x03")) << "the second one carries it";
  EXPECT_TRUE(fail("0x02"));
}

// The money has moved and the books did not take it: nobody is told "used before" of his own
// payment.
TEST_P(SettleOnceTest, WhatCouldNotBeWrittenDownIsPendingAndNotUsed) {
  const Sale first = f.Make(1);
  ASSERT_EQ(f.SettleOnce(first)->outcome, Outcome::kSettled);
  ASSERT_THAT(f.loop.RunUntilDone(f.facilitator->Untell(first.payment, first.requirements,
                                                        SettleFixture::In(Millis(1'000)))),
              IsOk());
  // One settled row there is; from here on no second one can be written.
  Do({"test.one", "CREATE UNIQUE INDEX one ON pending_settlement (state) WHERE state = 'settled'"});
  const Sale sale = f.Make(2);
  const auto pending = f.SettleOnce(sale);
  ASSERT_THAT(pending, IsOk());
  EXPECT_EQ(pending->outcome, Outcome::kUnknown) << pending->answer.message;
  EXPECT_EQ(f.fake.transfers, 2U);
  Do({"test.more", "DROP INDEX one"});
  EXPECT_EQ(f.SettleOnce(sale)->outcome, Outcome::kSettled);
  EXPECT_EQ(f.SettleOnce(sale)->outcome, Outcome::kRefused);
  EXPECT_EQ(f.fake.transfers, 2U);
}

}  // namespace
}  // namespace pontage::settle
