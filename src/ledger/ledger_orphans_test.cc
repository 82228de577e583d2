#include <gtest/gtest.h>

#include "base/try.h"
#include "ledger/ledger_store.h"
#include "testing/expect.h"
#include "testing/ledger_fixture.h"

namespace pontage::ledger {
namespace {

using testing::IsOk;
using testing::Sample;

// What dead and forgetful nodes leave behind, and who takes it up.
class LedgerOrphansTest : public testing::LedgerStoreFixture {};

INSTANTIATE_TEST_SUITE_P(Engines, LedgerOrphansTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(LedgerOrphansTest, OrphansAreWhatDeadNodesLeftBehind) {
  Beat(At(100'000, "node_a"));
  Beat(At(70'000, "node_dead"));
  Beat(At(99'000, "node_b"));
  ASSERT_TRUE(Held(Sample("pay_mine", 1), At(90'000, "node_a")));
  ASSERT_TRUE(Held(Sample("pay_alive", 2), At(90'000, "node_b")));
  ASSERT_TRUE(Held(Sample("pay_dead", 3), At(70'000, "node_dead")));
  ASSERT_TRUE(Held(Sample("pay_unknown", 4), At(70'000, "node_never_seen")));
  ASSERT_TRUE(Held(Sample("pay_done", 5), At(70'000, "node_dead")));
  ASSERT_THAT(Do([&](db::Tx& tx) {
                return Expire(tx, At(70'001, "node_dead"), ReservationId("pay_done"), "w");
              }),
              IsOk());
  ASSERT_TRUE(Held(Sample("pay_sent", 6), At(70'000, "node_dead")));
  ASSERT_THAT(Settle("pay_sent", At(70'001, "node_dead")), IsOk());
  ASSERT_TRUE(Held(Sample("pay_sending", 7), At(70'000, "node_b")));
  ASSERT_THAT(Settle("pay_sending", At(70'001, "node_b"), "0xcc"), IsOk());

  const std::vector<std::string> want = {"pay_dead", "pay_unknown"};
  EXPECT_EQ(Orphans(At(100'000)), want);
  EXPECT_EQ(Row("pay_dead").node, "node_a");
  EXPECT_EQ(Row("pay_sent").delivery, Delivery::kOwed);
  EXPECT_EQ(Row("pay_sending").delivery, Delivery::kPending);
  EXPECT_EQ(History("pay_sent").back(), "owed");
  EXPECT_EQ(History("pay_dead").back(), "taken_over");
  // They are node_a's now, for as long as it says that it lives.
  Beat(At(100'000, "node_b"));
  EXPECT_TRUE(Orphans(At(100'001, "node_b")).empty());
  // What was taken over and still is not finished comes again.
  Beat(At(165'000, "node_b"));
  Beat(At(165'000, "node_a"));
  EXPECT_EQ(Orphans(At(165'000)), want);
}

TEST_P(LedgerOrphansTest, ARedemptionThatIsGivenBackIsDueAgain) {
  ASSERT_TRUE(Held(Sample("pay_1"), At(1)));
  const ReservationId id("pay_1");
  Digest digest = Sample("pay_1").request_digest;
  const auto body = [&](db::Tx& tx) -> Result<std::vector<Delivery>> {
    std::vector<Delivery> seen;
    const auto look = [&]() -> Result<> {
      PTG_TRY(const auto row, ReadReservation(tx, id));
      seen.push_back(row->delivery);
      return {};
    };
    const Ledger::Settlement settlement{.transaction = "0x1", .delivery = Delivery::kOwed};
    PTG_RUN(Commit(tx, At(2), id, settlement, "out_1"));
    PTG_RUN(Redeem(tx, At(3), id, digest, "red_1"));
    PTG_RUN(GiveBack(tx, At(4), id, "red_2"));
    PTG_RUN(look());
    PTG_RUN(GiveBack(tx, At(5), id, "red_1"));
    PTG_RUN(look());
    PTG_RUN(Redeem(tx, At(6), id, digest, "red_2"));
    PTG_RUN(Deliver(tx, At(7), id, {Delivery::kDelivered}, "red_2"));
    PTG_RUN(GiveBack(tx, At(8), id, "red_2"));
    PTG_RUN(look());
    return seen;
  };
  const auto seen = database_->WriteNow(body);
  ASSERT_THAT(seen, testing::IsOk());
  const std::vector<Delivery> want = {Delivery::kRedeeming, Delivery::kOwed, Delivery::kDelivered};
  EXPECT_EQ(*seen, want);
}

TEST_P(LedgerOrphansTest, WhoDiesWhileFinishingIsFollowedAtOnce) {
  Beat(At(100'000, "node_a"));
  ASSERT_TRUE(Held(Sample("pay_1"), At(70'000, "node_dead")));
  const std::vector<std::string> want = {"pay_1"};
  EXPECT_EQ(Orphans(At(100'000, "node_a")), want);
  Beat(At(101'000, "node_b"));
  EXPECT_TRUE(Orphans(At(101'000, "node_b")).empty());
  EXPECT_EQ(Orphans(At(100'001 + Ledger::kNodeSilence.count(), "node_b")), want);
}

TEST_P(LedgerOrphansTest, APaymentInDoubtIsLookedAtAgainAtGrowingSteps) {
  Beat(At(0));
  ASSERT_TRUE(Held(Sample("pay_1"), At(0)));
  ASSERT_THAT(
      Do([&](db::Tx& tx) { return Doubt(tx, At(0), ReservationId("pay_1"), "0xaa", "timeout"); }),
      IsOk());
  std::vector<int64_t> looks;
  for (int64_t ms = 0; ms <= 300'000; ms += 1'000) {
    Beat(At(ms));
    if (!Orphans(At(ms)).empty()) looks.push_back(ms);
  }
  const std::vector<int64_t> want = {1'000,  3'000,   7'000,   15'000, 31'000,
                                     63'000, 123'000, 183'000, 243'000};
  EXPECT_EQ(looks, want);
}

// The process lives, but what should have closed the row failed (the database was away).
TEST_P(LedgerOrphansTest, ARowThatItsOwnNodeForgotIsTakenUpAgain) {
  ASSERT_TRUE(Held(Sample("pay_1"), At(0)));
  ASSERT_THAT(Do([&](db::Tx& tx) { return Answered(tx, At(1'000), ReservationId("pay_1"), 200); }),
              IsOk());
  Beat(At(120'000));
  EXPECT_TRUE(Orphans(At(120'000)).empty());
  const std::vector<std::string> want = {"pay_1"};
  EXPECT_EQ(Orphans(At(121'001)), want);
  EXPECT_TRUE(Orphans(At(121'002)).empty());
}

TEST_P(LedgerOrphansTest, TheOnlyProcessNeedNotWaitForTheSilenceOfItsPredecessor) {
  Beat(At(50'000, "node_before"));
  ASSERT_TRUE(Held(Sample("pay_1"), At(50'000, "node_before")));
  Beat(At(51'000, "node_now"));
  EXPECT_TRUE(Orphans(At(51'000, "node_now")).empty());
  ASSERT_THAT(
      Do([&](db::Tx& tx) { return ForgetOtherNodes(tx, At(51'000, "node_now"), UnixMs(51'000)); }),
      IsOk());
  const std::vector<std::string> want = {"pay_1"};
  EXPECT_EQ(Orphans(At(51'000, "node_now")), want);
}

TEST_P(LedgerOrphansTest, TakesNoMoreThanItsLimit) {
  for (uint8_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(Held(Sample("pay_" + std::to_string(i), i), At(0, "gone")));
  }
  Beat(At(60'000));
  EXPECT_EQ(Orphans(At(60'000), 4).size(), 4U);
  EXPECT_EQ(Orphans(At(60'000), 4).size(), 4U);
  EXPECT_EQ(Orphans(At(60'000), 4).size(), 2U);
}

}  // namespace
}  // namespace pontage::ledger
