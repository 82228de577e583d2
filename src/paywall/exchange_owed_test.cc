#include <gtest/gtest.h>

#include "paywall/exchange.h"
#include "testing/exchange_fixture.h"

namespace pontage::paywall {
namespace {

using ledger::Delivery;
using testing::FakeWork;
using testing::LongBody;

// Who broke a sale off, and how often its buyer may ask again.
class ExchangeOwedTest : public testing::ExchangeFixture {};

// A buyer who can make the upstream break off must not live on the parts that left before.
TEST_F(ExchangeOwedTest, AnUploadThatBreaksOffIsTheBuyersDoing) {
  for (const bool before : {true, false}) {
    SCOPED_TRACE(before);
    const std::string payment = before ? "b" : "a";
    route_.settle_before = before;
    route_.hold_max = 3;
    work_ = FakeWork();
    work_.reads_request = work_.answers_early = work_.breaks_in_body = true;
    LongBody broken((1 << 20) + 99, true);
    request_ = &broken;
    EXPECT_TRUE(Buy(payment)->out.aborted);
    EXPECT_EQ(Row(payment).delivery, Delivery::kBroken);
    // What was sent cannot be compared with what comes now.
    LongBody again((1 << 20) + 99, false);
    request_ = &again;
    const auto refused = Buy(payment);
    EXPECT_EQ(refused->status, 402);
    EXPECT_NE(refused->out.body.find("longer than 1048576 bytes"), std::string::npos);
    EXPECT_NE(refused->Field("RECEIPT"), "");
    EXPECT_EQ(work_.keys.size(), 1U);
  }
}

TEST_F(ExchangeOwedTest, SettledBeforeAndNeverAskedWholeIsBrokenNotOwed) {
  route_.settle_before = true;
  work_.reads_request = true;
  LongBody broken((1 << 20) + 99, true);
  request_ = &broken;
  Buy("n1");
  EXPECT_EQ(Row("n1").delivery, Delivery::kBroken);
}

TEST_F(ExchangeOwedTest, AnAnswerThatBreaksOffInItsMiddleIsOwedAFewTimesOnly) {
  route_.settle_before = true;
  work_.breaks_in_body = true;
  int runs = 0;
  while (runs < 20 && Buy("n1")->status != 402) ++runs;
  EXPECT_EQ(runs, 1 + ledger::Ledger::kMostCuts);
  EXPECT_EQ(Row("n1").delivery, Delivery::kRedeemed);
  // Where nothing has left, for ever.
  work_.unreachable = true;
  for (int i = 0; i < 6; ++i) EXPECT_EQ(Buy("n2")->status, 502);
  EXPECT_EQ(Row("n2").delivery, Delivery::kOwed);
}

TEST_F(ExchangeOwedTest, ASecondChanceIsNoneTheMoreForAnUpstreamThatFails) {
  route_.hold_max = 3;
  Buy("n1", "/goods", 2);
  EXPECT_EQ(Row("n1").delivery, Delivery::kBroken);
  work_.breaks_in_body = true;
  Buy("n1");
  EXPECT_EQ(Row("n1").delivery, Delivery::kBroken);
  work_.breaks_in_body = false;
  Buy("n1", "/goods", 2);
  EXPECT_EQ(Row("n1").delivery, Delivery::kRedeemed);
}

TEST_F(ExchangeOwedTest, WhatIsOwedIsOwedToTheSameRequestOnly) {
  work_.breaks_in_body = true;
  route_.settle_before = true;
  fields_ = {{"Range", "bytes=0-9"}};
  Buy("n1");
  work_.breaks_in_body = false;
  fields_ = {{"Range", "bytes=10-19"}};
  EXPECT_EQ(Buy("n1")->status, 402);
  fields_ = {{"range", "bytes=0-9"}, {"Accept", "text/html"}};
  EXPECT_EQ(Buy("n1")->status, 200);
}

// Routes are matched without regard to case and parameters; the seller's work may tell them apart.
TEST_F(ExchangeOwedTest, WhatIsOwedIsOwedToTheSameTargetOnly) {
  target_ = "/goods;page=1";
  Buy("n1", "/goods", 2);
  EXPECT_EQ(Row("n1").delivery, Delivery::kBroken);
  target_ = "/Goods;page=2";
  EXPECT_EQ(Buy("n1")->status, 402);
  target_ = "/goods;page=1";
  EXPECT_EQ(Buy("n1")->status, 200);
}

}  // namespace
}  // namespace pontage::paywall
