#include "paywall/exchange.h"

#include <thread>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/timer.h"
#include "paywall/sweeper.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/fake_sale.h"

namespace pontage::paywall {
namespace {

using ledger::Delivery;
using ledger::State;
using testing::FakeRail;
using testing::FakeWork;
using testing::IsOk;
using testing::RecordingWriter;

// A small language: Buy("nonce") is one request with that payment, Sweep() one pass of the sweeper.
class ExchangeTest : public ::testing::Test {
 protected:
  ExchangeTest() : engine_(testing::EngineKind::kSqlite) {
    database_ = engine_.OpenMigrated();
    ledger_ = std::make_unique<ledger::Ledger>(*database_, "node_a", clock_, rng_);
    auto rail = std::make_unique<FakeRail>(clock_);
    rail_ = rail.get();
    std::vector<std::unique_ptr<rail::Rail>> list;
    list.push_back(std::move(rail));
    rails_ = std::make_shared<const rail::RailSet>(std::move(list));
    route_.match = "GET /goods";
    route_.price = Money::Micros(1000);
    EXPECT_THAT(loop_.RunUntilDone(ledger_->Heartbeat(Deadline::Never())), IsOk());
  }

  struct Sale {
    RecordingWriter out;
    int status = 0;
    std::string Field(std::string_view name) const {
      return std::string(out.head.headers.Get(name).value_or(""));
    }
  };

  std::unique_ptr<Sale> Buy(std::string payment, std::string resource = "/goods",
                            std::optional<size_t> breaks_after = std::nullopt) {
    auto sale = std::make_unique<Sale>();
    sale->out.breaks_after = breaks_after;
    const auto task = [](ExchangeTest& t, Sale& s, std::string p, std::string r) -> Task<> {
      net::RequestHead head;
      head.method = "GET";
      head.target = r;
      if (!p.empty()) head.headers.Add("PAY", p);
      for (const auto& [name, value] : t.fields_) head.headers.Add(name, value);
      net::StringBody empty("");
      net::BodySource& body = t.request_ == nullptr ? empty : *t.request_;
      const RequestId id(NewIdText("req", t.clock_, t.rng_));
      Reply reply(s.out, id, head);
      deal::Quote quote;
      quote.route_name = t.route_.match;
      quote.price = t.route_.price;
      quote.method = "GET";
      quote.resource = r;
      quote.resource_url = "https://shop.example" + r;
      Exchange exchange(*t.ledger_, t.metrics_, t.clock_, t.rng_);
      Call call{t.route_, quote, *t.rails_, head, body, t.work_, reply};
      PTG_CO_RUN(co_await exchange.Run(std::move(call)));
      s.status = s.out.head.status;
      // Notes are written behind the answer; the next step of a test wants them there.
      co_return co_await Sleep(Millis(30));
    };
    EXPECT_THAT(loop_.RunUntilDone(task(*this, *sale, std::move(payment), std::move(resource))),
                IsOk());
    return sale;
  }

  size_t Sweep() {
    Sweeper sweeper(*ledger_, [this] { return rails_; }, metrics_, clock_);
    return loop_.RunUntilDone(sweeper.Sweep()).value_or(0);
  }

  ledger::Reservation Row(const std::string& payment) {
    const auto key = crypto::Sha256(codec::AsBytes(payment));
    auto row = loop_.RunUntilDone(ledger_->FindByKey(key, Deadline::Never()));
    EXPECT_TRUE(row.has_value() && row->has_value()) << payment;
    return row && *row ? **row : ledger::Reservation{};
  }

  // What a crash leaves: the process is another one, and nobody else lives.
  void Restart() {
    ledger_ = std::make_unique<ledger::Ledger>(*database_, "node_b", clock_, rng_);
    EXPECT_THAT(loop_.RunUntilDone(ledger_->Heartbeat(Deadline::Never())), IsOk());
    EXPECT_THAT(
        loop_.RunUntilDone(ledger_->ForgetOtherNodes(clock_.Now() + Millis(1), Deadline::Never())),
        IsOk());
  }

  const Clock& clock_ = Clock::System();
  SeededRng rng_{1};
  Loop loop_;
  testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
  std::unique_ptr<ledger::Ledger> ledger_;
  obs::Registry metrics_;
  FakeRail* rail_ = nullptr;
  std::shared_ptr<const rail::RailSet> rails_;
  FakeWork work_;
  catalog::Route route_;
  HeaderList fields_;                   // of the requests to come
  net::BodySource* request_ = nullptr;  // the body of the next one
};

// A request's body of so many bytes that then breaks off, or ends.
class LongBody final : public net::BodySource {
 public:
  LongBody(size_t bytes, bool breaks) : left_(bytes), breaks_(breaks) {}
  Task<std::string_view> Read(Deadline) override {
    if (left_ == 0 && breaks_) co_return Fail(Code::kBadRequest, "no chunk");
    piece_ = std::string(std::min<size_t>(left_, 64 * 1024), 'x');
    left_ -= piece_.size();
    co_return std::string_view(piece_);
  }
  std::optional<uint64_t> length() const override { return std::nullopt; }
  bool empty() const override { return false; }
  const net::Headers& trailers() const override { return none_; }

 private:
  size_t left_;
  bool breaks_;
  std::string piece_;
  net::Headers none_;
};

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

TEST_F(ExchangeTest, ACrashBeforeTheAnswerNeverCharges) {
  ledger::Reservation row;
  row.id = ReservationId("pay_1");
  row.once_key = crypto::Sha256(codec::AsBytes("n1"));
  row.method = "GET";
  row.resource = "/goods";
  row.rail = "fake";
  row.payload = R"({"payload":{"nonce":"n1"}})";
  row.requirement = "{}";
  row.valid_before = clock_.Now() + Millis(300'000);
  EXPECT_THAT(loop_.RunUntilDone(ledger_->Reserve(row, Deadline::Never())), IsOk());
  Restart();
  EXPECT_EQ(Sweep(), 1U);
  EXPECT_EQ(Row("n1").state, State::kExpired);
  EXPECT_EQ(rail_->settle_calls, 0);
  const auto sale = Buy("n1");
  EXPECT_EQ(sale->status, 402);
  EXPECT_NE(sale->out.body.find("payment_lapsed"), std::string::npos);
  EXPECT_NE(sale->Field("OFFER"), "");
  EXPECT_TRUE(work_.keys.empty());
}

TEST_F(ExchangeTest, ACrashAfterTheAnswerSettlesAndOwes) {
  ledger::Reservation row;
  row.id = ReservationId("pay_1");
  row.once_key = crypto::Sha256(codec::AsBytes("n1"));
  row.method = "GET";
  row.resource = "/goods";
  const net::Headers no_fields;
  row.request_digest = RequestDigest("GET", "/goods", no_fields, {.whole = true});
  row.rail = "fake";
  row.payload = R"({"payload":{"nonce":"n1","signature":"n1"}})";
  row.requirement = "{}";
  row.valid_before = clock_.Now() + Millis(300'000);
  EXPECT_THAT(loop_.RunUntilDone(ledger_->Reserve(row, Deadline::Never())), IsOk());
  EXPECT_THAT(loop_.RunUntilDone(ledger_->Answered(row.id, 200, Deadline::Never())), IsOk());
  Restart();
  EXPECT_EQ(Sweep(), 1U);
  EXPECT_EQ(Row("n1").delivery, Delivery::kOwed);
  EXPECT_EQ(Buy("n1")->status, 200);
  EXPECT_EQ(work_.keys, std::vector<std::string>{"pay_1"});
  EXPECT_EQ(rail_->moved["n1"], 1);
  const std::vector<std::pair<std::string, bool>> again{{"pay_1", true}};
  EXPECT_EQ(rail_->asked, again) << "who died may have asked before";
  Buy("n2");
  EXPECT_EQ(rail_->asked.back(), std::pair(Row("n2").id.str(), false));
}

// The store as it is while it is away: no statement of the ledger works.
constexpr db::Statement kAway{"test.away", "ALTER TABLE reservation RENAME TO away"};
constexpr db::Statement kBack{"test.back", "ALTER TABLE away RENAME TO reservation"};

TEST_F(ExchangeTest, WhatTheStoreMissedIsWrittenWhenItIsBack) {
  const auto run = [this](const db::Statement& statement) {
    const auto body = [&statement](db::Tx& tx) -> Result<> {
      PTG_RUN(tx.Run(statement));
      return {};
    };
    ASSERT_THAT(database_->WriteNow(body), IsOk());
  };
  rail_->during = [&] { run(kAway); };
  const auto closed = [&](const std::string& payment) {
    run(kBack);
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
  work_.during = [&] { run(kAway); };
  work_.status = 500;
  EXPECT_EQ(Buy("failed")->status, 500);
  run(kBack);
  work_.during = nullptr;
  work_.status = 200;
  int status = 409;
  for (int i = 0; i < 100 && status == 409; ++i) status = Buy("failed")->status;
  EXPECT_EQ(status, 200) << "nothing was charged, so the payment is good again";
}

// The books cannot be asked whether the payment is still ours: no money moves by this request, and
// none is asked for twice.
TEST_F(ExchangeTest, WithoutTheStoreNothingIsSettled) {
  const auto run = [this](const db::Statement& statement) {
    const auto body = [&statement](db::Tx& tx) -> Result<> {
      PTG_RUN(tx.Run(statement));
      return {};
    };
    ASSERT_THAT(database_->WriteNow(body), IsOk());
  };
  work_.during = [&] { run(kAway); };
  const auto unsure = Buy("n1");
  EXPECT_EQ(unsure->status, 503);
  EXPECT_NE(unsure->out.body.find("settlement_pending"), std::string::npos);
  EXPECT_EQ(rail_->settle_calls, 0);
  work_.during = nullptr;
  run(kBack);
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
TEST_F(ExchangeTest, WhoWasTakenForDeadSettlesNothing) {
  work_.during = [this] {
    const auto body = [](db::Tx& tx) -> Result<> {
      static constexpr db::Statement kTake{"test.take", "UPDATE reservation SET node = 'node_z'"};
      PTG_RUN(tx.Run(kTake));
      return {};
    };
    ASSERT_THAT(database_->WriteNow(body), IsOk());
  };
  EXPECT_EQ(Buy("n1")->status, 409);
  EXPECT_EQ(rail_->settle_calls, 0);
  EXPECT_TRUE(rail_->moved.empty());
}

// A buyer who can make the upstream break off must not live on the parts that left before.
TEST_F(ExchangeTest, AnUploadThatBreaksOffIsTheBuyersDoing) {
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

TEST_F(ExchangeTest, SettledBeforeAndNeverAskedWholeIsBrokenNotOwed) {
  route_.settle_before = true;
  work_.reads_request = true;
  LongBody broken((1 << 20) + 99, true);
  request_ = &broken;
  Buy("n1");
  EXPECT_EQ(Row("n1").delivery, Delivery::kBroken);
}

TEST_F(ExchangeTest, AnAnswerThatBreaksOffInItsMiddleIsOwedAFewTimesOnly) {
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

TEST_F(ExchangeTest, ASecondChanceIsNoneTheMoreForAnUpstreamThatFails) {
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

TEST_F(ExchangeTest, WhatIsOwedIsOwedToTheSameRequestOnly) {
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

// The node that sells was taken for dead while it settled, and another one has settled the payment.
TEST_F(ExchangeTest, WhatAnotherNodeHasSettledAndGivenIsNotGivenHere) {
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
    const auto wipe = [](db::Tx& tx) -> Result<> {
      static constexpr db::Statement kWipe{"test.wipe", "DELETE FROM reservation"};
      PTG_RUN(tx.Run(kWipe));
      return {};
    };
    ASSERT_THAT(database_->WriteNow(wipe), IsOk());
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
