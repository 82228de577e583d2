#include <thread>

#include <gtest/gtest.h>

#include "paywall/exchange.h"
#include "testing/exchange_fixture.h"
#include "testing/expect.h"

namespace pontage::paywall {
namespace {

using ledger::Delivery;
using ledger::State;
using testing::FakeRail;
using testing::FakeWork;
using testing::IsOk;

// What a crash, a store that is away and a node that was taken for dead leave behind.
class ExchangeCrashTest : public testing::ExchangeFixture {
 protected:
  void Do(const db::Statement& statement) {
    const auto body = [&statement](db::Tx& tx) -> Result<> {
      PTG_RUN(tx.Run(statement));
      return {};
    };
    ASSERT_THAT(database_->WriteNow(body), IsOk());
  }
};

TEST_F(ExchangeCrashTest, ACrashBeforeTheAnswerNeverCharges) {
  for (const bool chainless : {false, true}) {
    SCOPED_TRACE(chainless);
    const std::string payment = chainless ? "b" : "a";
    rail_->chainless = chainless;
    Reserve(payment);
    Restart();
    EXPECT_EQ(Sweep(), 1U);
    EXPECT_EQ(Row(payment).state, State::kExpired);
    EXPECT_EQ(rail_->settle_calls, 0);
    const auto sale = Buy(payment);
    EXPECT_EQ(sale->status, 402);
    EXPECT_NE(sale->out.body.find("payment_lapsed"), std::string::npos);
    EXPECT_NE(sale->Field("OFFER"), "");
    EXPECT_TRUE(work_.keys.empty());
  }
}

// Somebody else has sent it meanwhile: its buyer has paid, however long the chain takes to say how.
TEST_F(ExchangeCrashTest, ACrashBeforeTheAnswerOwesWhatSomebodyElseHasSettled) {
  Reserve("n1");
  rail_->moved["n1"] = 1;
  rail_->shallow = true;
  rail_->says = FakeRail::Outcome::kUnknown;
  Restart();
  EXPECT_EQ(Sweep(), 0U);
  EXPECT_EQ(Row("n1").state, State::kInDoubt);
  EXPECT_EQ(Buy("n1")->status, 503);
  rail_->shallow = false;
  for (int i = 0; i < 100 && Sweep() == 0; ++i) {
    EXPECT_THAT(loop_.RunUntilDone(Sleep(Millis(50))), IsOk());
  }
  EXPECT_EQ(Row("n1").delivery, Delivery::kOwed);
  EXPECT_EQ(Buy("n1")->out.body, "goods");
}

TEST_F(ExchangeCrashTest, ACrashAfterTheAnswerSettlesAndOwes) {
  const ledger::Reservation row = Reserve("n1");
  EXPECT_THAT(loop_.RunUntilDone(ledger_->Answered(row.id, 200, Deadline::Never())), IsOk());
  Restart();
  EXPECT_EQ(Sweep(), 1U);
  EXPECT_EQ(Row("n1").delivery, Delivery::kOwed);
  EXPECT_EQ(Buy("n1")->status, 200);
  EXPECT_EQ(work_.keys, std::vector<std::string>{"pay_n1"});
  EXPECT_EQ(rail_->moved["n1"], 1);
  const std::vector<std::pair<std::string, bool>> again{{"pay_n1", true}};
  EXPECT_EQ(rail_->asked, again) << "who died may have asked before";
  Buy("n2");
  EXPECT_EQ(rail_->asked.back(), std::pair(Row("n2").id.str(), false));
}

// The store as it is while it is away: no statement of the ledger works.
constexpr db::Statement kAway{"test.away", "ALTER TABLE reservation RENAME TO away"};
constexpr db::Statement kBack{"test.back", "ALTER TABLE away RENAME TO reservation"};

TEST_F(ExchangeCrashTest, WhatTheStoreMissedIsWrittenWhenItIsBack) {
  rail_->during = [&] { Do(kAway); };
  const auto closed = [&](const std::string& payment) {
    Do(kBack);
    for (int i = 0; i < 200 && Row(payment).state == State::kHeld; ++i) {
      EXPECT_THAT(loop_.RunUntilDone(Sleep(Millis(20))), IsOk());
    }
    EXPECT_THAT(loop_.RunUntilDone(Sleep(Millis(50))), IsOk());
    return Row(payment);
  };
  const auto served = Buy("served");
  EXPECT_EQ(served->status, 200) << "the money has moved: the goods leave";
  const ledger::Reservation sold = closed("served");
  EXPECT_EQ(sold.state, State::kSettled);
  EXPECT_EQ(sold.delivery, Delivery::kDelivered);

  rail_->during = nullptr;
  work_.during = [&] { Do(kAway); };
  work_.status = 500;
  EXPECT_EQ(Buy("failed")->status, 500);
  Do(kBack);
  work_.during = nullptr;
  work_.status = 200;
  int status = 409;
  for (int i = 0; i < 100 && status == 409; ++i) status = Buy("failed")->status;
  EXPECT_EQ(status, 200) << "nothing was charged, so the payment is good again";
}

// The books cannot be asked whether the payment is still ours: no money moves by this request, and
// none is asked for twice.
TEST_F(ExchangeCrashTest, WithoutTheStoreNothingIsSettled) {
  work_.during = [&] { Do(kAway); };
  const auto unsure = Buy("n1");
  EXPECT_EQ(unsure->status, 503);
  EXPECT_NE(unsure->out.body.find("settlement_pending"), std::string::npos);
  EXPECT_EQ(rail_->settle_calls, 0);
  work_.during = nullptr;
  Do(kBack);
  for (int i = 0; i < 200 && Row("n1").state == State::kHeld; ++i) {
    EXPECT_THAT(loop_.RunUntilDone(Sleep(Millis(20))), IsOk());
  }
  EXPECT_EQ(Row("n1").state, State::kInDoubt);
  for (int i = 0; i < 100 && Sweep() == 0; ++i) {
    EXPECT_THAT(loop_.RunUntilDone(Sleep(Millis(50))), IsOk());
  }
  EXPECT_EQ(Row("n1").delivery, Delivery::kOwed);
  EXPECT_EQ(Buy("n1")->status, 200);
}

// Another node took this one for dead while the upstream worked, and gave the payment up.
TEST_F(ExchangeCrashTest, WhoWasTakenForDeadSettlesNothing) {
  work_.during = [this] { Do({"test.take", "UPDATE reservation SET node = 'node_z'"}); };
  EXPECT_EQ(Buy("n1")->status, 409);
  EXPECT_EQ(rail_->settle_calls, 0);
  EXPECT_TRUE(rail_->moved.empty());
}

// The node that sells was taken for dead while it settled, and another one has settled the payment.
TEST_F(ExchangeCrashTest, WhatAnotherNodeHasSettledAndGivenIsNotGivenHere) {
  ledger::Ledger other(*database_, "node_b", clock_, rng_);
  std::string hash;
  bool redeems = false;
  const auto take_over = [&]() -> Task<> {
    const ledger::Reservation row = Row("n");
    const ledger::Ledger::Settlement books{
        .transaction = hash, .receipt = "{}", .delivery = Delivery::kOwed};
    PTG_CO_RUN(co_await other.Commit(row.id, books, Deadline::Never()));
    if (redeems) PTG_CO_RUN(co_await other.Redeem(row.id, row.request_digest, Deadline::Never()));
    co_return {};
  };
  struct Case {
    bool before, redeems;
    const char* hash;
    int status;
    size_t runs;
    Delivery ends;
  } cases[] = {
      {true, true, "0xn", 409, 0, Delivery::kRedeeming},
      {true, true, "0xother", 409, 0, Delivery::kRedeeming},
      {true, false, "0xn", 200, 1, Delivery::kDelivered},
      {true, false, "0xother", 200, 1, Delivery::kDelivered},
      {false, true, "0xn", 409, 1, Delivery::kRedeeming},
      {false, false, "0xn", 200, 1, Delivery::kDelivered},
      {false, false, "0xother", 200, 1, Delivery::kDelivered},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(::testing::Message() << c.before << c.redeems << c.hash);
    Do({"test.wipe", "DELETE FROM reservation"});
    rail_->moved.clear();
    work_ = FakeWork();
    route_.settle_before = c.before;
    hash = c.hash;
    redeems = c.redeems;
    // On a loop of its own: the one of the sale runs already.
    rail_->during = [&] {
      std::thread([&] {
        Loop loop;
        EXPECT_THAT(loop.RunUntilDone(take_over()), IsOk());
      }).join();
    };
    EXPECT_EQ(Buy("n")->status, c.status);
    EXPECT_EQ(work_.keys.size(), c.runs);
    rail_->during = nullptr;
    EXPECT_EQ(Row("n").delivery, c.ends);
    EXPECT_NE(Buy("n")->status, 200);
  }
}

}  // namespace
}  // namespace pontage::paywall
