#include "paywall/late_charge.h"

#include <gtest/gtest.h>

#include "ledger/ledger_store.h"
#include "testing/exchange_fixture.h"

namespace pontage::paywall {
namespace {

using ledger::Delivery;
using ledger::State;
using testing::FakeRail;
using testing::IsOk;

// A payment was given up, and somebody who has read it on the chain sends it once more.
class LateChargeTest : public testing::ExchangeFixture {
 protected:
  void GiveUp(const ledger::Reservation& row, UnixMs look) {
    EXPECT_THAT(loop_.RunUntilDone(ledger_->Answered(row.id, 200, Deadline::Never())), IsOk());
    EXPECT_THAT(loop_.RunUntilDone(ledger_->Expire(row.id, "reverted", Deadline::Never(), look)),
                IsOk());
  }
};

TEST_F(LateChargeTest, ItsBuyerIsServedWhenHeAsksAgain) {
  rail_->says = FakeRail::Outcome::kRefused;
  rail_->reverted = true;
  for (const bool before : {false, true}) {
    SCOPED_TRACE(before);
    const std::string payment = before ? "b" : "a";
    route_.settle_before = before;
    EXPECT_EQ(Buy(payment)->status, 402);
    EXPECT_EQ(Row(payment).state, State::kExpired);
    const auto lapsed = Buy(payment);
    EXPECT_EQ(lapsed->status, 402);
    EXPECT_NE(lapsed->out.body.find("payment_lapsed"), std::string::npos);
    const int asked = rail_->settle_calls;
    rail_->moved[payment] = 1;
    const auto served = Buy(payment);
    EXPECT_EQ(served->status, 200);
    EXPECT_EQ(served->out.body, "goods");
    EXPECT_NE(served->Field("RECEIPT").find("0x" + payment), std::string::npos);
    EXPECT_EQ(rail_->settle_calls, asked);
    EXPECT_EQ(Row(payment).state, State::kSettled);
    EXPECT_EQ(Buy(payment)->status, 402) << "once";
  }
}

// Nothing was on the chain, and nothing was done for it: the same payment may be tried again.
TEST_F(LateChargeTest, WhatNobodyCouldReadIsVoided) {
  rail_->says = FakeRail::Outcome::kRefused;
  route_.settle_before = true;
  EXPECT_EQ(Buy("n1")->status, 402);
  rail_->says = FakeRail::Outcome::kSettled;
  EXPECT_EQ(Buy("n1")->status, 200);
}

TEST_F(LateChargeTest, WhoeverDoesNotAskIsOwed) {
  const ledger::Reservation row = Reserve("n1");
  GiveUp(row, clock_.Now());
  rail_->moved["n1"] = 1;
  EXPECT_EQ(Sweep(), 1U);
  EXPECT_EQ(Row("n1").state, State::kSettled);
  EXPECT_EQ(Row("n1").delivery, Delivery::kOwed);
  EXPECT_EQ(Buy("n1")->status, 200);
}

TEST_F(LateChargeTest, ItIsLookedForOnceAndWhenItsTimeHasPassed) {
  const ledger::Reservation good = Reserve("n1");
  GiveUp(good, LastLook(good));
  EXPECT_EQ(Sweep(), 0U);
  const ledger::Reservation past = Reserve("n2", -kAfterExpiry - Millis(60'000));
  GiveUp(past, LastLook(past));
  EXPECT_EQ(Sweep(), 1U);
  rail_->moved["n1"] = rail_->moved["n2"] = 1;
  EXPECT_EQ(Sweep(), 0U);
  EXPECT_EQ(Row("n2").state, State::kExpired);
  // Whenever somebody looks again.
  const ledger::Author later{.node = "node_a", .now = clock_.Now() + Millis(3'600'000)};
  const auto rows =
      database_->WriteNow([&](db::Tx& tx) { return ledger::TakeOrphans(tx, later, {}, 10); });
  ASSERT_THAT(rows, IsOk());
  ASSERT_EQ(rows->size(), 1U);
  EXPECT_EQ(rows->front().id, good.id);
}

// A node that is behind says "unused" of a time that has not passed there: not for good.
TEST_F(LateChargeTest, AChainThatIsBehindDoesNotEndIt) {
  const ledger::Reservation row = Reserve("n1");
  GiveUp(row, clock_.Now());
  EXPECT_EQ(Sweep(), 0U);
  EXPECT_EQ(Row("n1").state, State::kExpired);
}

}  // namespace
}  // namespace pontage::paywall
