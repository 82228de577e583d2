#include <string>

#include <gtest/gtest.h>

#include "base/try.h"
#include "settle/local_facilitator.h"
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

// The money has moved and the books did not take it: nobody is told "used before" of his own
// payment.
TEST_P(SettleOnceTest, WhatCouldNotBeWrittenDownIsPendingAndNotUsed) {
  ASSERT_EQ(f.Settle(f.Make(1))->outcome, Outcome::kSettled);
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
