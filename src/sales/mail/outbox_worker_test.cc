#include "sales/mail/outbox_worker.h"

#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "testing/mail_fixture.h"

namespace pontage::mail {
namespace {

using testing::Does;
using ::testing::ElementsAre;
using testing::FailsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::MailTo;
using ::testing::SizeIs;

class OutboxTest : public testing::OutboxFixture {};

INSTANTIATE_TEST_SUITE_P(Engines, OutboxTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(OutboxTest, AMailLeavesOnceAndIsForgotten) {
  EXPECT_EQ(Pass(), 0u);
  EXPECT_TRUE(Put(MailTo("Ann@Buyer.example", "license:1")));
  EXPECT_EQ(Pass(), 1u);
  EXPECT_EQ(Pass(), 0u);
  EXPECT_THAT(resend_.calls, ElementsAre("license:1"));
  EXPECT_THAT(smtp_.calls, IsEmpty());
  const OutboxRow row = Row("license:1");
  EXPECT_EQ(row.state, "sent");
  EXPECT_EQ(row.kind, "license");
  EXPECT_EQ(row.license, "lic_1");
  EXPECT_EQ(row.recipient, "ann@buyer.example");
  EXPECT_EQ(row.provider, "resend");
  EXPECT_EQ(row.provider_id, "id:license:1");
  EXPECT_EQ(row.attempts, 1);
  const auto payload = database_->ReadNow([](db::Tx& tx) -> Result<std::string> {
    const db::Statement ask{"test.payload", "SELECT payload FROM mail_outbox"};
    PTG_TRY(const db::Rows rows, tx.Run(ask));
    return rows.at(0).Text(0);
  });
  EXPECT_EQ(payload.value_or("?"), "") << "a license stays in the books";
}

TEST_P(OutboxTest, OneOccasionIsOneMailForEver) {
  EXPECT_TRUE(Put(MailTo("ann@buyer.example", "payment_failed:in_1")));
  EXPECT_FALSE(Put(MailTo("ann@buyer.example", "payment_failed:in_1")));
  EXPECT_EQ(Pass(), 1u);
  EXPECT_FALSE(Put(MailTo("ann@buyer.example", "payment_failed:in_1"))) << "also after it has left";
  EXPECT_EQ(Pass(), 0u);
  EXPECT_EQ(resend_.Delivered("payment_failed:in_1"), 1u);
}

TEST_P(OutboxTest, WhatWasRolledBackIsNotSent) {
  const UnixMs now = clock_.Now();
  const auto failed = Do([&](db::Tx& tx) -> Result<> {
    PTG_RUN(Enqueue(tx, "mail_x", MailTo("ann@buyer.example", "license:1"), "lic_1", now));
    return Fail(Code::kConflict, "the license was not issued after all");
  });
  EXPECT_THAT(failed, FailsWith(Code::kConflict));
  EXPECT_EQ(Pass(), 0u);
}

// A buyer's address that is none must not cost him his license.
TEST_P(OutboxTest, AnAddressThatIsNoneHarmsOnlyTheMail) {
  const UnixMs now = clock_.Now();
  const auto done = Do([&](db::Tx& tx) -> Result<> {
    const Mail bad = MailTo("ann@buyer.example\r\nBcc: all@x.y", "license:1");
    EXPECT_THAT(Enqueue(tx, "mail_x", bad, "lic_1", now), FailsWith(Code::kBadRequest));
    PTG_RUN(Enqueue(tx, "mail_y", MailTo("bob@buyer.example", "license:2"), "lic_2", now));
    return {};
  });
  EXPECT_THAT(done, IsOk());
  EXPECT_EQ(Pass(), 1u);
  EXPECT_THAT(resend_.calls, ElementsAre("license:2"));
}

// The provider has it, and whoever would have written that down is gone.
TEST_P(OutboxTest, ACrashBetweenSendingAndMarkingDeliversOnce) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.script = {Does::kTakeAndHang};
  PassAndDie();
  EXPECT_EQ(Row("license:1").state, "sending");
  EXPECT_EQ(Pass(), 0u) << "its lease still runs";
  clock_.Advance(31'000ms);
  EXPECT_EQ(Pass(), 1u);
  EXPECT_EQ(resend_.Delivered("license:1"), 1u);
  EXPECT_THAT(resend_.calls, SizeIs(2));
  EXPECT_THAT(smtp_.calls, IsEmpty()) << "it does not know the key";
  EXPECT_EQ(Row("license:1").state, "sent");
}

// After a crash nobody knows; a provider that cannot be reached is no reason to mail twice.
TEST_P(OutboxTest, AfterACrashTheOtherProviderWaits) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.script = {Does::kTakeAndHang, Does::kNotThere};
  PassAndDie();
  clock_.Advance(31'000ms);
  EXPECT_EQ(Pass(), 1u);
  EXPECT_THAT(smtp_.calls, IsEmpty());
  clock_.Advance(30'000ms);
  EXPECT_EQ(Pass(), 1u);
  EXPECT_EQ(resend_.Delivered("license:1"), 1u);
}

TEST_P(OutboxTest, WhateverGoesWrongFirstItIsDeliveredOnceAndSoon) {
  const struct {
    const char* name;
    Does first;
  } cases[] = {{"429", Does::kRefuseForNow},
               {"500", Does::kFail},
               {"the answer is lost", Does::kTakeAndLoseTheAnswer},
               {"not there", Does::kNotThere},
               {"alarm", Does::kAlarm}};
  smtp_.usual = Does::kNotThere;
  int n = 0;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const std::string key = "license:" + std::to_string(++n);
    Put(MailTo("ann@buyer.example", key));
    resend_.script = {c.first};
    const std::vector<int64_t> tried = RunFor(15'000ms);
    ASSERT_THAT(tried, SizeIs(2));
    EXPECT_EQ(tried[0], 0);
    EXPECT_LE(tried[1], 10) << "a failed mail is tried again within 10 s";
    EXPECT_EQ(resend_.Delivered(key), 1u);
    EXPECT_EQ(Row(key).state, "sent");
  }
}

TEST_P(OutboxTest, WhatFailsIsTriedOftenForTenMinutesAndThenSlower) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.usual = Does::kNotThere;
  smtp_.usual = Does::kNotThere;
  const std::vector<int64_t> tried = RunFor(Millis(700'000));
  ASSERT_GT(tried.size(), 20u);
  EXPECT_LE(tried[1] - tried[0], 10);
  for (size_t i = 1; i < tried.size() && tried[i - 1] < 570; ++i) {
    EXPECT_LE(tried[i] - tried[i - 1], 30) << "after " << tried[i - 1] << " s";
  }
  EXPECT_LT(tried.size(), 45u) << "and not as often as it goes";
}

TEST_P(OutboxTest, WhatNobodyTakesIsDeadInTheEndAndMayBeSentAgain) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.usual = Does::kRefuseForNow;
  smtp_.usual = Does::kNotThere;
  int64_t passes = 0;
  while (Row("license:1").state != "dead" && passes < 100) {
    passes += Pass() > 0 ? 1 : 0;
    clock_.Advance(Millis(21'600'000));
  }
  EXPECT_EQ(passes, kMaxAttempts);
  EXPECT_EQ(Dead(Kind::kLicense), 1u);
  EXPECT_THAT(Row("license:1").last_error, HasSubstr("given up"));
  EXPECT_EQ(Pass(), 0u);
  resend_.usual = Does::kTake;
  const UnixMs now = clock_.Now();
  const std::string id = Row("license:1").id;
  EXPECT_TRUE(Do([&](db::Tx& tx) { return SendAgain(tx, id, now); }).value_or(false));
  EXPECT_FALSE(Do([&](db::Tx& tx) { return SendAgain(tx, id, now); }).value_or(true));
  EXPECT_EQ(Pass(), 1u);
  EXPECT_EQ(resend_.Delivered("license:1"), 1u);
}

TEST_P(OutboxTest, AProviderThatIsNotThereGivesItToTheNextAtOnce) {
  int n = 0;
  for (const Does does : {Does::kNotThere, Does::kRefuseForNow, Does::kPark, Does::kAlarm}) {
    const std::string key = "license:" + std::to_string(++n);
    Put(MailTo("ann@buyer.example", key));
    resend_.script = {does};
    EXPECT_EQ(Pass(), 1u);
    EXPECT_EQ(smtp_.Delivered(key), 1u) << n;
    EXPECT_EQ(resend_.Delivered(key), 0u) << n;
    EXPECT_EQ(Row(key).provider, "smtp");
  }
}

// It answers 500 or not at all: who has it, nobody knows, until that has gone on for too long.
TEST_P(OutboxTest, ADoubtfulProviderIsAskedAgainBeforeAnother) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.usual = Does::kFail;
  const std::vector<int64_t> tried = RunFor(60'000ms);
  EXPECT_EQ(tried.size(), static_cast<size_t>(kMaxDoubts));
  EXPECT_THAT(resend_.calls, SizeIs(kMaxDoubts));
  EXPECT_THAT(smtp_.calls, SizeIs(1));
  EXPECT_LE(tried.back(), 30);
  EXPECT_EQ(Row("license:1").state, "sent");
}

TEST_P(OutboxTest, ALostAnswerIsNoReasonToSendItByAnotherWay) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.script = {Does::kTakeAndLoseTheAnswer, Does::kTakeAndLoseTheAnswer};
  RunFor(60'000ms);
  EXPECT_EQ(resend_.Delivered("license:1"), 1u);
  EXPECT_THAT(smtp_.calls, IsEmpty());
  EXPECT_EQ(Row("license:1").state, "sent");
}

TEST_P(OutboxTest, ARefusedMailIsDeadAtOnceAndGoesNowhereElse) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.script = {Does::kRefuse};
  EXPECT_EQ(Pass(), 1u);
  EXPECT_THAT(smtp_.calls, IsEmpty());
  EXPECT_EQ(Row("license:1").state, "dead");
  EXPECT_EQ(Dead(Kind::kLicense), 1u);
}

TEST_P(OutboxTest, ABounceStopsFurtherMail) {
  Put(MailTo("Nobody@buyer.example", "license:1"));
  resend_.script = {Does::kNotThere};
  smtp_.script = {Does::kBounce};
  EXPECT_EQ(Pass(), 1u);
  EXPECT_EQ(Row("license:1").state, "dead");
  const auto why =
      database_->ReadNow([](db::Tx& tx) { return SuppressedFor(tx, "NOBODY@buyer.example"); });
  ASSERT_THAT(why, IsOk());
  EXPECT_EQ(why->value_or(""), "bounced");
  resend_.calls.clear();
  Put(MailTo("nobody@BUYER.example", "license:2"));
  Put(MailTo("ann@buyer.example", "license:3"));
  EXPECT_EQ(Pass(), 1u);
  EXPECT_THAT(resend_.calls, ElementsAre("license:3"));
  EXPECT_EQ(Row("license:2").state, "suppressed");
  // The operator may know better.
  EXPECT_TRUE(
      Do([](db::Tx& tx) { return Unsuppress(tx, "nobody@buyer.example"); }).value_or(false));
  Put(MailTo("nobody@buyer.example", "license:4"));
  EXPECT_EQ(Pass(), 1u);
  EXPECT_EQ(Row("license:4").state, "sent");
}

TEST_P(OutboxTest, AUsedUpQuotaIsWaitedFor) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.script = {Does::kPark};
  smtp_.script = {Does::kPark};
  EXPECT_EQ(Pass(), 1u);
  EXPECT_EQ(Row("license:1").state, "parked");
  clock_.Advance(Millis(3'599'000));
  EXPECT_EQ(Pass(), 0u);
  clock_.Advance(Millis(1'000));
  EXPECT_EQ(Pass(), 1u);
  EXPECT_EQ(Row("license:1").state, "sent");
}

// As many nodes as one likes: each mail is one node's at a time.
TEST_P(OutboxTest, TwoNodesAskOnceForEachMail) {
  constexpr int kMails = 40;
  for (int i = 0; i < kMails; ++i) {
    Put(MailTo("ann@buyer.example", "license:" + std::to_string(i)));
  }
  const std::unique_ptr<db::Database> other = engine_.Open();
  std::vector<Provider*> providers = {&resend_, &smtp_};
  OutboxWorker second(*other, providers, metrics_, clock_);
  const auto run = [&]() -> Task<> {
    const Fork beside(Drain(second));
    PTG_CO_RUN(co_await Drain(*worker_));
    while (!beside.result()) PTG_CO_RUN(co_await Sleep(5ms));
    co_return {};
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_THAT(resend_.calls, SizeIs(kMails));
  const std::set<std::string> different(resend_.calls.begin(), resend_.calls.end());
  EXPECT_THAT(different, SizeIs(kMails));
}

TEST_P(OutboxTest, RunsByItselfUntilItIsStopped) {
  const auto run = [&]() -> Task<> {
    const Fork running(worker_->Run());
    PTG_CO_RUN(co_await Sleep(50ms));
    Put(MailTo("ann@buyer.example", "license:1"));
    for (int i = 0; i < 100 && resend_.calls.empty(); ++i) PTG_CO_RUN(co_await Sleep(50ms));
    PTG_CO_RUN(co_await Sleep(50ms));
    worker_->Stop();
    for (int i = 0; i < 100 && !running.result(); ++i) PTG_CO_RUN(co_await Sleep(20ms));
    EXPECT_TRUE(running.result().has_value());
    co_return {};
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_EQ(resend_.Delivered("license:1"), 1u);
  const auto gauge = [&](std::string_view state) {
    return metrics_.GaugeOf("pontage_mail_outbox", "", {{"state", state}}).value();
  };
  EXPECT_EQ(gauge("open"), 0);
  EXPECT_EQ(gauge("dead"), 0);
}

TEST_P(OutboxTest, ASlowProviderHoldsUpNoOtherMail) {
  Put(MailTo("ann@buyer.example", "license:1"));
  LookOftenAtASlowProvider();
  const auto run = [&]() -> Task<> {
    const Fork running(worker_->Run());
    PTG_CO_RUN(co_await UntilCalled(1));
    Put(MailTo("bob@buyer.example", "license:2"));
    PTG_CO_RUN(co_await UntilSent("license:2"));
    EXPECT_EQ(Row("license:1").state, "sending");
    resend_.go.Set();
    PTG_CO_RUN(co_await worker_->Finish(Deadline::In(Clock::System(), 30'000ms)));
    co_return co_await UntilEnded(running);
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_EQ(Row("license:1").state, "sent");
}

// A mail that is cut off may be sent twice.
TEST_P(OutboxTest, AStopWaitsForWhatIsUnderWayAndBeginsNothing) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.script = {Does::kTakeSlowly};
  const auto run = [&]() -> Task<> {
    const Fork running(worker_->Run());
    PTG_CO_RUN(co_await UntilCalled(1));
    const Fork finishing(worker_->Finish(Deadline::In(Clock::System(), 30'000ms)));
    PTG_CO_RUN(co_await Sleep(100ms));
    EXPECT_FALSE(finishing.result().has_value());
    Put(MailTo("bob@buyer.example", "license:2"));
    resend_.go.Set();
    PTG_CO_RUN(co_await UntilEnded(finishing));
    EXPECT_THAT(*finishing.result(), IsOk());
    EXPECT_EQ(Row("license:1").state, "sent");
    co_return co_await Sleep(50ms);
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_EQ(Row("license:2").state, "queued");
  EXPECT_EQ(Pass(), 0u);
}

// What a stop finds being taken is sent, and waited for.
TEST_P(OutboxTest, AStopWaitsForWhatIsBeingTaken) {
  Put(MailTo("ann@buyer.example", "license:1"));
  const auto run = [&]() -> Task<> {
    const Fork running(worker_->Run());  // has gone as far as its first question to the store
    PTG_CO_RUN(co_await worker_->Finish(Deadline::In(Clock::System(), 30'000ms)));
    EXPECT_EQ(Row("license:1").state, "sent");
    // Not from inside of what has ended.
    co_return co_await UntilEnded(running);
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_EQ(Row("license:1").state, "sent");
}

TEST_P(OutboxTest, WhatIsUnderWayIsKept) {
  Put(MailTo("ann@buyer.example", "license:1"));
  resend_.script = {Does::kTakeSlowly};
  WorkerOptions options;
  options.lease = {.lease = Millis(2'000), .every = Millis(20)};
  const auto slow = Worker(options);
  const auto run = [&]() -> Task<> {
    const Fork running(Void(slow->Pass()));
    PTG_CO_RUN(co_await UntilCalled(1));
    for (Millis passed(0); passed < 4'000ms; passed += 50ms) {
      PTG_CO_RUN(co_await Sleep(25ms));
      clock_.Advance(50ms);
      PTG_CO_TRY(const size_t taken, co_await worker_->Pass());
      EXPECT_EQ(taken, 0u);
    }
    resend_.go.Set();
    co_return co_await UntilEnded(running);
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_EQ(resend_.Delivered("license:1"), 1u);
  EXPECT_THAT(resend_.calls, SizeIs(1));
}

// Those that wait for one person each do not wait for a call with many.
TEST_P(OutboxTest, MailsToEverybodyHoldUpNobody) {
  const auto to_everybody = [&](const std::string& n) {
    Put(MailTo("a@buyer.example", "key_rotation:" + n, Kind::kKeyRotation));
  };
  to_everybody("1");
  to_everybody("2");
  LookOftenAtASlowProvider();
  const auto run = [&]() -> Task<> {
    const Fork running(worker_->Run());
    PTG_CO_RUN(co_await UntilCalled(1));
    to_everybody("3");
    to_everybody("4");
    Put(MailTo("bob@buyer.example", "license:2"));
    PTG_CO_RUN(co_await UntilCalled(2));
    EXPECT_EQ(resend_.calls.back(), "license:2");
    resend_.go.Set();
    PTG_CO_RUN(co_await UntilCalled(3));
    PTG_CO_RUN(co_await worker_->Finish(Deadline::In(Clock::System(), 30'000ms)));
    co_return co_await UntilEnded(running);
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_TRUE(resend_.calls.back().starts_with("batch:")) << "and share the next one";
}

TEST_P(OutboxTest, IsListedAndCounted) {
  Put(MailTo("a@buyer.example", "license:1"), "lic_1");
  clock_.Advance(1'000ms);
  const UnixMs second = clock_.Now();
  Put(MailTo("b@buyer.example", "license:2"), "lic_2");
  resend_.script = {Does::kRefuse};
  EXPECT_EQ(Pass(), 2u);
  clock_.Advance(1'000ms);
  Put(MailTo("c@buyer.example", "license:3"), "lic_2");
  const auto list = [&](OutboxFilter filter) {
    std::vector<std::string> keys;
    const auto rows = database_->ReadNow([&](db::Tx& tx) { return ListMails(tx, filter); });
    EXPECT_THAT(rows, IsOk());
    for (const OutboxRow& row : *rows) keys.push_back(row.dedup_key);
    return keys;
  };
  EXPECT_THAT(list({}), ElementsAre("license:3", "license:2", "license:1"));
  EXPECT_THAT(list({.license = "lic_2"}), ElementsAre("license:3", "license:2"));
  EXPECT_THAT(list({.state = "queued"}), ElementsAre("license:3"));
  EXPECT_THAT(list({.limit = 1}), ElementsAre("license:3"));
  const auto totals = database_->ReadNow([](db::Tx& tx) { return CountMails(tx); });
  ASSERT_THAT(totals, IsOk());
  EXPECT_EQ(totals->open, 1);
  EXPECT_EQ(totals->dead, 1);
  EXPECT_EQ(totals->oldest, second + 1'000ms);
}

std::string& Logged() {
  static std::string lines;
  return lines;
}

// A license is as good as money, and whose it is is nobody's business.
TEST_P(OutboxTest, NeitherLicenseNorAddressGetIntoTheLog) {
  SetLogSink([](std::string_view line) { (Logged() += line) += '\n'; });
  resend_.script = {Does::kTake,   Does::kFail, Does::kAlarm,
                    Does::kRefuse, Does::kPark, Does::kBounce};
  smtp_.usual = Does::kPark;
  for (int i = 0; i < 7; ++i) {
    Put(MailTo("ann@buyer.example", "license:" + std::to_string(i)));
    Pass();
  }
  SetLogSink(nullptr);
  for (const char* event : {"mail.sent", "mail.not_sent", R"("outcome":"alarm")", "mail.dead",
                            "mail.parked", "mail.suppressed"}) {
    EXPECT_THAT(Logged(), HasSubstr(event));
  }
  EXPECT_THAT(Logged(), HasSubstr(R"("license_id":"lic_1")"));
  EXPECT_THAT(Logged(), ::testing::Not(HasSubstr("token")));
  EXPECT_THAT(Logged(), ::testing::Not(HasSubstr("buyer.example")));
  Logged().clear();
}

// A payload that cannot be read must not be taken up again and again.
TEST_P(OutboxTest, WhatCannotBeReadIsDead) {
  Put(MailTo("a@buyer.example", "license:1"));
  Put(MailTo("a@buyer.example", "license:2"));
  EXPECT_THAT(Do([](db::Tx& tx) {
                const db::Statement spoil{
                    "test.spoil",
                    "UPDATE mail_outbox SET payload = '{\"from\"' WHERE dedup_key = 'license:1'"};
                return tx.Run(spoil);
              }),
              IsOk());
  EXPECT_EQ(Pass(), 1u);
  EXPECT_EQ(Row("license:1").state, "dead");
  EXPECT_EQ(Row("license:2").state, "sent");
}

TEST(RetryStep, FitsIntoWhatWasPromised) {
  EXPECT_LE(RetryStep(1), 10s);
  Millis sum(0);
  for (int64_t n = 1; n <= kMaxAttempts; ++n) {
    if (sum < 600s) EXPECT_LE(RetryStep(n), 30s) << n;
    if (n > 1) EXPECT_GE(RetryStep(n), RetryStep(n - 1)) << n;
    sum += RetryStep(n);
  }
  EXPECT_GT(sum, Millis(2 * 86'400'000));
  EXPECT_LT(sum, Millis(5 * 86'400'000));
  EXPECT_EQ(RetryStep(1'000'000), RetryStep(kMaxAttempts));
}

TEST(NextAttempt, HeedsTheProviderWithinBounds) {
  const UnixMs begun(1'000'000);
  // The step counts from the beginning of the attempt, which may have taken long.
  EXPECT_EQ(NextAttempt(begun, begun, 1, 0ms), begun + 5s);
  EXPECT_EQ(NextAttempt(begun, begun + 4s, 1, 0ms), begun + 5s);
  EXPECT_EQ(NextAttempt(begun, begun + 20s, 1, 0ms), begun + 21s);
  EXPECT_EQ(NextAttempt(begun, begun, 1, 8s), begun + 8s);
  EXPECT_EQ(NextAttempt(begun, begun, 1, 600s), begun + 30s);
  EXPECT_EQ(NextAttempt(begun, begun, 40, 600s), begun + RetryStep(40));
  EXPECT_EQ(NextAttempt(begun, begun, 33, 600s), begun + 600s);
}

}  // namespace
}  // namespace pontage::mail
