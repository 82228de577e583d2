#include "paywall/exchange.h"

#include <gtest/gtest.h>

#include "testing/exchange_fixture.h"
#include "testing/expect.h"

namespace pontage::paywall {
namespace {

using ledger::Delivery;
using ledger::State;
using testing::FakeRail;
using testing::IsOk;

class ExchangeTest : public testing::ExchangeFixture {};

TEST_F(ExchangeTest, UnpaidIsAnOfferAndNobodyIsAsked) {
  const auto sale = Buy("");
  EXPECT_EQ(sale->status, 402);
  EXPECT_EQ(sale->Field("OFFER"), "https://shop.example/goods");
  EXPECT_EQ(sale->Field("Cache-Control"), "no-store");
  EXPECT_NE(sale->out.body.find("\"code\":\"payment_required\""), std::string::npos);
  EXPECT_TRUE(work_.keys.empty());
}

TEST_F(ExchangeTest, WorkThatHasNoPlaceTakesNoPaymentAndThePaymentIsGoodLater) {
  for (const bool before : {false, true}) {
    const std::string payment = before ? "b" : "a";
    route_.settle_before = before;
    work_.busy = true;
    const auto refused = Buy(payment);
    EXPECT_EQ(refused->status, 503);
    EXPECT_EQ(refused->Field("Retry-After"), "1");
    EXPECT_TRUE(rail_->moved.empty());
    const auto row = loop_.RunUntilDone(
        ledger_->FindByKey(crypto::Sha256(codec::AsBytes(payment)), Deadline::Never()));
    EXPECT_TRUE(row.has_value() && !row->has_value()) << "nothing was reserved";
    work_.busy = false;
    EXPECT_EQ(Buy(payment)->status, 200);
    rail_->moved.clear();
  }
}

TEST_F(ExchangeTest, AnOwedAnswerThatHasNoPlaceStaysOwed) {
  work_.breaks_in_body = true;
  route_.settle_before = true;
  Buy("a");
  EXPECT_EQ(Row("a").delivery, Delivery::kOwed);
  work_.breaks_in_body = false;
  work_.busy = true;
  EXPECT_EQ(Buy("a")->status, 503);
  EXPECT_EQ(Row("a").delivery, Delivery::kOwed);
  work_.busy = false;
  EXPECT_EQ(Buy("a")->out.body, "goods");
}

TEST_F(ExchangeTest, ABadPaymentSaysWhatIsWrongAndNobodyIsAsked) {
  const auto sale = Buy("bad");
  EXPECT_EQ(sale->status, 402);
  EXPECT_NE(sale->out.body.find("\"code\":\"payment_signature\""), std::string::npos);
  EXPECT_TRUE(work_.keys.empty());
}

TEST_F(ExchangeTest, PaidIsServedOnceWithAReceipt) {
  const auto sale = Buy("n1");
  EXPECT_EQ(sale->status, 200);
  EXPECT_EQ(sale->out.body, "goods");
  EXPECT_TRUE(sale->out.ended);
  EXPECT_EQ(sale->Field("RECEIPT"), R"({"success":true,"transaction":"0xn1"})");
  EXPECT_EQ(sale->Field("Cache-Control"), "private, max-age=60");
  EXPECT_EQ(Row("n1").state, State::kSettled);
  EXPECT_EQ(Row("n1").delivery, Delivery::kDelivered);
  EXPECT_EQ(work_.keys, std::vector<std::string>{Row("n1").id.str()});

  const auto again = Buy("n1");
  EXPECT_EQ(again->status, 402);
  EXPECT_NE(again->out.body.find("payment_already_used"), std::string::npos);
  EXPECT_EQ(again->Field("RECEIPT"), sale->Field("RECEIPT"));
  EXPECT_EQ(again->Field("OFFER"), "");
  EXPECT_EQ(work_.keys.size(), 1U);
}

TEST_F(ExchangeTest, AUsedPaymentIsRefusedElsewhere) {
  Buy("n1");
  const auto other = Buy("n1", "/other");
  EXPECT_EQ(other->status, 402);
  EXPECT_NE(other->out.body.find("payment_already_used"), std::string::npos);
  EXPECT_EQ(work_.keys.size(), 1U);
}

TEST_F(ExchangeTest, AnUpstreamErrorIsRelayedAndCostsNothing) {
  work_.status = 500;
  const auto sale = Buy("n1");
  EXPECT_EQ(sale->status, 500);
  EXPECT_EQ(sale->Field("RECEIPT"), "");
  EXPECT_EQ(rail_->settle_calls, 0);
  // The claim is released: the same payment buys once the seller is well.
  work_.status = 200;
  EXPECT_EQ(Buy("n1")->status, 200);
}

TEST_F(ExchangeTest, AnUpstreamThatBreaksOffCostsNothing) {
  work_.breaks_in_body = true;
  const auto sale = Buy("n1");
  EXPECT_EQ(sale->status, 502);
  EXPECT_EQ(rail_->settle_calls, 0);
}

TEST_F(ExchangeTest, ARefusedSettlementDeliversNothingAndRunsNothingAgain) {
  rail_->says = FakeRail::Outcome::kRefused;
  const auto sale = Buy("n1");
  EXPECT_EQ(sale->status, 402);
  EXPECT_EQ(sale->out.body.find("goods"), std::string::npos);
  EXPECT_NE(sale->Field("RECEIPT").find("insufficient_funds"), std::string::npos);
  EXPECT_EQ(sale->Field("OFFER"), "");
  EXPECT_EQ(Row("n1").state, State::kExpired);
  EXPECT_EQ(Buy("n1")->status, 402);
  EXPECT_EQ(work_.keys.size(), 1U);
}

TEST_F(ExchangeTest, AnUnknownSettlementIsNoOfferAndIsOwedLater) {
  rail_->says = FakeRail::Outcome::kUnknown;
  const auto sale = Buy("n1");
  EXPECT_EQ(sale->status, 503);
  EXPECT_EQ(sale->Field("Retry-After"), "1");
  EXPECT_EQ(sale->Field("OFFER"), "");
  EXPECT_NE(sale->Field("RECEIPT").find("settlement_pending"), std::string::npos);
  EXPECT_EQ(sale->out.body.find("goods"), std::string::npos);
  EXPECT_EQ(Row("n1").state, State::kInDoubt);
  EXPECT_EQ(Buy("n1")->status, 503);

  rail_->says = FakeRail::Outcome::kSettled;
  for (int i = 0; i < 100 && Row("n1").state == State::kInDoubt; ++i) {
    Sweep();
    EXPECT_THAT(loop_.RunUntilDone(Sleep(Millis(50))), IsOk());
  }
  EXPECT_EQ(Row("n1").state, State::kSettled);
  EXPECT_EQ(Row("n1").delivery, Delivery::kOwed);
  const auto redeemed = Buy("n1");
  EXPECT_EQ(redeemed->status, 200);
  EXPECT_EQ(redeemed->out.body, "goods");
  EXPECT_EQ(Row("n1").delivery, Delivery::kDelivered);
  EXPECT_EQ(work_.keys[0], work_.keys[1]);
  EXPECT_EQ(rail_->moved["n1"], 1);
  EXPECT_EQ(Buy("n1")->status, 402);
}

TEST_F(ExchangeTest, ABreakIsRedeemedOnceAndOnlyOnce) {
  Buy("n1", "/goods", 2);
  EXPECT_EQ(Row("n1").delivery, Delivery::kBroken);
  Buy("n1", "/goods", 2);
  EXPECT_EQ(Row("n1").delivery, Delivery::kRedeemed);
  EXPECT_EQ(Buy("n1")->status, 402);
  EXPECT_EQ(work_.keys.size(), 2U);
  EXPECT_EQ(rail_->settle_calls, 1);
}

TEST_F(ExchangeTest, ARedemptionTheSellerCannotServeStaysDue) {
  Buy("n1", "/goods", 2);
  work_.status = 503;
  EXPECT_EQ(Buy("n1")->status, 503);
  EXPECT_EQ(Row("n1").delivery, Delivery::kBroken);
  work_.status = 200;
  EXPECT_EQ(Buy("n1")->status, 200);
  EXPECT_EQ(Row("n1").delivery, Delivery::kDelivered);
}

TEST_F(ExchangeTest, SettleBeforeOwesWhatTheSellerFailsToGive) {
  route_.settle_before = true;
  work_.status = 500;
  const auto sale = Buy("n1");
  EXPECT_EQ(sale->status, 500);
  EXPECT_NE(sale->Field("RECEIPT"), "");
  EXPECT_EQ(Row("n1").delivery, Delivery::kOwed);
  work_.status = 200;
  EXPECT_EQ(Buy("n1")->status, 200);
  EXPECT_EQ(rail_->settle_calls, 1);
}

TEST_F(ExchangeTest, EverySaleIsCountedWheneverItSettles) {
  EXPECT_EQ(Buy("n1")->status, 200);
  route_.settle_before = true;
  EXPECT_EQ(Buy("n2")->status, 200);
  rail_->says = FakeRail::Outcome::kRefused;
  EXPECT_EQ(Buy("n3")->status, 402);
  const std::string text = metrics_.Expose();
  EXPECT_THAT(text, ::testing::ContainsRegex("pontage_revenue_micros_total\\{[^\n]*\\} 2000\n"));
  EXPECT_THAT(text, ::testing::ContainsRegex("pontage_funnel_total\\{[^\n]*settled[^\n]*\\} 2\n"));
}

TEST_F(ExchangeTest, SettleBeforeRefusedAsksNobody) {
  route_.settle_before = true;
  rail_->says = FakeRail::Outcome::kRefused;
  EXPECT_EQ(Buy("n1")->status, 402);
  EXPECT_TRUE(work_.keys.empty());
}

TEST_F(ExchangeTest, AnEventStreamSettlesBeforeItsFirstByte) {
  work_.content_type = "text/event-stream";
  rail_->says = FakeRail::Outcome::kRefused;
  const auto refused = Buy("n1");
  EXPECT_EQ(refused->status, 402);
  EXPECT_EQ(refused->out.body.find("goods"), std::string::npos);
  rail_->says = FakeRail::Outcome::kSettled;
  EXPECT_EQ(Buy("n2")->out.body, "goods");
}

TEST_F(ExchangeTest, WhatIsLongerThanTheHoldIsSettledAndThenStreams) {
  route_.hold_max = 3;
  const auto sale = Buy("n1");
  EXPECT_EQ(sale->out.body, "goods");
  EXPECT_EQ(Row("n1").delivery, Delivery::kDelivered);
}

TEST_F(ExchangeTest, AnUpstreamThatBreaksOffAfterSettlingIsOwed) {
  route_.hold_max = 3;
  work_.breaks_in_body = true;
  const auto sale = Buy("n1");
  EXPECT_TRUE(sale->out.aborted);
  EXPECT_EQ(Row("n1").delivery, Delivery::kOwed);
}

TEST_F(ExchangeTest, AStoredAnswerGoesOutAgainToAnEqualRequestOnly) {
  route_.replay_answer = true;
  Buy("n1");
  const auto again = Buy("n1");
  EXPECT_EQ(again->status, 200);
  EXPECT_EQ(again->out.body, "goods");
  EXPECT_NE(again->Field("RECEIPT"), "");
  EXPECT_EQ(Buy("n1", "/other")->status, 402);
  EXPECT_EQ(work_.keys.size(), 1U);
}

// The books keep text: what cannot be kept is sold all the same, and not given again.
TEST_F(ExchangeTest, AnAnswerThatCannotBeStoredIsSoldOnce) {
  route_.replay_answer = true;
  work_.content_type = "text/plain; name=\"caf\xe9\"";
  EXPECT_EQ(Buy("n1")->out.body, "goods");
  EXPECT_EQ(Row("n1").state, State::kSettled);
  EXPECT_EQ(Row("n1").delivery, Delivery::kDelivered);
  EXPECT_EQ(Buy("n1")->status, 402);
  EXPECT_EQ(work_.keys.size(), 1U);
}

// While the chain is silent the books still know what was bought here.
TEST_F(ExchangeTest, WhenNobodyCanJudgeAPaymentTheBooksAreAsked) {
  rail_->says = FakeRail::Outcome::kUnknown;
  Buy("doubt");
  rail_->says = FakeRail::Outcome::kSettled;
  route_.settle_before = true;
  work_.status = 500;
  Buy("owed");
  work_.status = 200;
  rail_->away = true;
  const auto doubted = Buy("doubt");
  EXPECT_EQ(doubted->status, 503);
  EXPECT_NE(doubted->Field("RECEIPT").find("settlement_pending"), std::string::npos);
  for (const char* stranger : {"owed!guessed", "new"}) {
    const auto other = Buy(stranger);
    EXPECT_EQ(other->status, 503) << stranger;
    EXPECT_NE(other->out.body.find("chain_unreachable"), std::string::npos) << other->out.body;
    EXPECT_EQ(other->Field("RECEIPT"), "");
  }
  EXPECT_EQ(Buy("owed")->out.body, "goods");
  EXPECT_EQ(Row("owed").delivery, Delivery::kDelivered);
}

TEST_F(ExchangeTest, TheWorkEndsWhileThePaymentCanStillBeSettled) {
  rail_->valid_for = route_.answer_timeout + Millis(36'000 + 20'000);
  Buy("n1");
  const Millis left = work_.latest.at() - clock_.Steady();
  EXPECT_LE(left, route_.answer_timeout + Millis(20'000));
  EXPECT_GT(left, route_.answer_timeout);
  route_.settle_before = true;
  Buy("n2");
  EXPECT_EQ(work_.latest.at(), Deadline::Never().at());
}

TEST_F(ExchangeTest, APaymentThatRanOutWhileTheBodyCameIsToldSoAndNothingRuns) {
  rail_->valid_for = route_.answer_timeout + Millis(36'000 - 1'000);
  const auto sale = Buy("n1");
  EXPECT_EQ(sale->status, 402);
  EXPECT_NE(sale->out.body.find("payment_expired"), std::string::npos);
  EXPECT_NE(sale->Field("OFFER"), "");
  EXPECT_TRUE(work_.keys.empty());
  // One that was shown before is told what became of it, and nobody is asked to sign another.
  rail_->valid_for = Millis(300'000);
  rail_->says = FakeRail::Outcome::kUnknown;
  rail_->moves = false;
  Buy("n2");
  rail_->says = FakeRail::Outcome::kSettled;
  rail_->valid_for = route_.answer_timeout + Millis(36'000 - 1'000);
  const auto doubted = Buy("n2");
  EXPECT_EQ(doubted->status, 503);
  EXPECT_NE(doubted->Field("RECEIPT").find("settlement_pending"), std::string::npos);
  EXPECT_EQ(doubted->Field("OFFER"), "");
  // Settled first, it needs no time for the work.
  route_.settle_before = true;
  EXPECT_EQ(Buy("n1")->status, 200);
}

}  // namespace
}  // namespace pontage::paywall
