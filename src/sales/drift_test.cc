// The books of comparisons with Stripe, and what is asked of ours.
#include "sales/drift.h"

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "sales/purchase.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::sales {
namespace {

using codec::Json;
using license::License;
using license::Status;
using pontage::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr Millis kHour{3'600'000};
constexpr Millis kDay{86'400'000};
constexpr UnixMs kNow{1'795'000'000'000};

class DriftTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  DriftTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  template <typename F>
  auto Do(F body) {
    auto done = database_->WriteNow(body);
    EXPECT_THAT(done, IsOk());
    return *std::move(done);
  }
  void Run(db::Tx& tx, std::string sql) {
    const db::Statement statement{"test.any", sql};
    EXPECT_THAT(tx.Run(statement), IsOk());
  }
  void Sql(const std::string& sql) {
    Do([&](db::Tx& tx) -> Result<> {
      Run(tx, sql);
      return {};
    });
  }
  struct Row {
    std::string id;
    std::string status = "active";
    UnixMs paid_through = kNow + kDay;
    UnixMs period_end = kNow + kDay;
    UnixMs fetched = kNow - kHour;
    UnixMs created = kNow - kDay;
  };
  void AddPurchase(const Row& row) {
    const auto n = [](UnixMs at) { return std::to_string(at.ms()); };
    Sql("INSERT INTO purchase (id, customer, email, status, plan, paid_through_ms, period_end_ms,"
        " cancel_at_ms, invoice_url, invoice_pdf, alarm, lease, lease_until_ms, fetched_ms,"
        " created_ms) VALUES ('" +
        row.id + "', 'cus_1', 'a@b.test', '" + row.status + "', 'pro', " + n(row.paid_through) +
        ", " + n(row.period_end) + ", 0, '', '', '', '', 0, " + n(row.fetched) + ", " +
        n(row.created) + ")");
  }
  License AddLicense(const std::string& id, const std::string& origin,
                     const std::string& subscription = "") {
    License l;
    l.id = id;
    l.origin = origin;
    l.customer = "cus_1";
    l.email = "a@b.test";
    l.plan = "pro";
    l.subscription = subscription;
    l.expires = kNow + kDay;
    l.signed_until = l.expires;
    Do([&](db::Tx& tx) { return license::InsertLicense(tx, l, kNow); });
    return l;
  }
  LoopReport Report(LoopKind loop, int64_t drift, bool complete = true) {
    LoopReport report;
    report.loop = loop;
    report.began = kNow;
    report.ended = kNow + Millis(1'000);
    for (int64_t i = 0; i < drift; ++i) {
      report.Add({.kind = DriftClass::kPurchaseStale,
                  .what = "sub_" + std::to_string(i),
                  .detail = "x",
                  .healed = i % 2 == 0});
    }
    if (!complete) report.fault = Error(Code::kUpstreamUnreachable, "away");
    return report;
  }
  int64_t End(const LoopReport& report) {
    return Do([&](db::Tx& tx) { return EndLoop(tx, report); });
  }
  std::vector<LoopState> Loops() {
    return Do([](db::Tx& tx) { return ReadLoops(tx); });
  }
  bool Begin(LoopKind loop, const std::string& owner, UnixMs now) {
    const LoopTerms terms{.now = now, .due = now, .first = kNow, .lease = Millis(1'000)};
    return Do([&](db::Tx& tx) { return BeginLoop(tx, loop, owner, terms); });
  }

  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Engines, DriftTest, ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(DriftTest, OneProcessRunsALoopWhenItIsDue) {
  EXPECT_FALSE(Begin(LoopKind::kRows, "a", kNow - Millis(1))) << "not yet";
  EXPECT_TRUE(Begin(LoopKind::kRows, "a", kNow));
  EXPECT_FALSE(Begin(LoopKind::kRows, "b", kNow + Millis(999)));
  const auto keep = [](db::Tx& tx) {
    return KeepLoop(tx, LoopKind::kRows, "a", kNow + Millis(2'000));
  };
  ASSERT_THAT(database_->WriteNow(keep), IsOk());
  EXPECT_FALSE(Begin(LoopKind::kRows, "b", kNow + Millis(1'999)));
  EXPECT_TRUE(Begin(LoopKind::kRows, "b", kNow + Millis(2'000))) << "whose process died";
  EXPECT_TRUE(Begin(LoopKind::kWalk, "a", kNow)) << "another loop";
  End(Report(LoopKind::kRows, 0));
  EXPECT_FALSE(Begin(LoopKind::kRows, "a", kNow + kHour - Millis(1)));
  EXPECT_TRUE(Begin(LoopKind::kRows, "a", kNow + kHour));
}

TEST_P(DriftTest, WhatDidNotLookAtEverythingIsSoonTriedAgain) {
  End(Report(LoopKind::kWalk, 0, false));
  EXPECT_EQ(Loops().at(0).due, kNow + kHour);
  End(Report(LoopKind::kWalk, 0));
  EXPECT_EQ(Loops().at(0).due, kNow + kDay);
  End(Report(LoopKind::kEvents, 0, false));
  EXPECT_EQ(Loops().at(0).due, kNow + Millis(300'000));
}

TEST_P(DriftTest, TwiceInARowIsAnAlarm) {
  EXPECT_EQ(End(Report(LoopKind::kWalk, 2)), 1);
  EXPECT_EQ(End(Report(LoopKind::kWalk, 0, false)), 1) << "who saw nothing says nothing";
  EXPECT_EQ(End(Report(LoopKind::kWalk, 1)), kAlarmAfter);
  EXPECT_EQ(End(Report(LoopKind::kEvents, 0)), 0) << "each loop by itself";
  EXPECT_EQ(End(Report(LoopKind::kWalk, 0)), 0);
}

TEST_P(DriftTest, TheLastReportAndWhatWasFoundAreKept) {
  EXPECT_FALSE(Do([](db::Tx& tx) { return ReadLastReport(tx); }).has_value());
  End(Report(LoopKind::kWalk, 3));
  End(Report(LoopKind::kWalk, 1));
  const std::vector<LoopState> loops = Loops();
  ASSERT_THAT(loops, SizeIs(1));
  EXPECT_EQ(loops[0].loop, LoopKind::kWalk);
  EXPECT_EQ(loops[0].report.Find("drift")->AsInt64(), 1);
  EXPECT_EQ(loops[0].report.Find("classes")->Find("purchase_stale")->AsInt64(), 1);
  const std::vector<KnownDrift> known = Do([](db::Tx& tx) { return RecentDrift(tx, 10); });
  ASSERT_THAT(known, SizeIs(3));
  EXPECT_EQ(known[0].what, "sub_0");
  EXPECT_EQ(known[0].times, 2);
  EXPECT_TRUE(known[0].healed);
  EXPECT_FALSE(known[1].healed);
  EXPECT_THAT(Do([](db::Tx& tx) { return RecentDrift(tx, 2); }), SizeIs(2));
  End(Report(LoopKind::kRows, 2));
  const auto last = Do([](db::Tx& tx) { return ReadLastReport(tx); });
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->at, kNow + Millis(1'000));
  EXPECT_EQ(last->report.Find("drift")->AsInt64(), 3);
  EXPECT_EQ(last->report.Find("classes")->Find("purchase_stale")->AsInt64(), 3);
  EXPECT_EQ(*last->report.Find("alarm"), Json(true)) << "the walk, twice";
  EXPECT_EQ(last->report.Find("recent")->AsArray()->size(), 3u);
  const auto forget = [](db::Tx& tx) { return ForgetDrift(tx, kNow + kDay); };
  ASSERT_THAT(database_->WriteNow(forget), IsOk());
  EXPECT_THAT(Do([](db::Tx& tx) { return RecentDrift(tx, 10); }), IsEmpty());
}

TEST_P(DriftTest, TheWatermarkNeverGoesBack) {
  const auto read = [](db::Tx& tx) { return ReadWatermark(tx); };
  EXPECT_EQ(Do(read), UnixMs());
  for (const int64_t at : {5, 9, 7}) {
    const auto set = [at](db::Tx& tx) { return SetWatermark(tx, UnixMs(at)); };
    ASSERT_THAT(database_->WriteNow(set), IsOk());
  }
  EXPECT_EQ(Do(read), UnixMs(9));
  End(Report(LoopKind::kEvents, 0));
  EXPECT_EQ(Do(read), UnixMs(9));
}

TEST_P(DriftTest, WhatIsDueIsWhatCanStillChangeAndWasNotLookedAt) {
  const UnixMs past = kNow - kHour;
  AddPurchase({.id = "sub_a_fresh"});
  AddPurchase({.id = "sub_b_over", .period_end = past});
  AddPurchase({.id = "sub_c_over_but_just_asked", .period_end = past, .fetched = kNow});
  AddPurchase({.id = "sub_d_day", .fetched = kNow - kDay});
  AddPurchase(
      {.id = "sub_e_ended", .status = "canceled", .period_end = past, .fetched = kNow - kDay});
  AddPurchase({.id = "sub_f_never", .fetched = UnixMs()});
  AddPurchase({.id = "cs_a_term", .status = "paid", .fetched = kNow - kDay});
  AddPurchase(
      {.id = "cs_b_term_over", .status = "paid", .paid_through = past, .fetched = kNow - kDay});
  AddPurchase(
      {.id = "cs_c_delayed", .status = "unpaid", .paid_through = UnixMs(), .fetched = kNow - kDay});
  AddPurchase({.id = "cs_d_never_paid",
               .status = "unpaid",
               .paid_through = UnixMs(),
               .fetched = kNow - kDay,
               .created = kNow - kDay * 31});
  const auto due = [&](const std::string& after, size_t limit) {
    return Do([&](db::Tx& tx) { return DuePurchases(tx, after, kNow, limit); });
  };
  EXPECT_THAT(due("", 10), ElementsAre("cs_a_term", "cs_c_delayed", "sub_b_over", "sub_d_day"));
  EXPECT_THAT(due("cs_c_delayed", 1), ElementsAre("sub_b_over"));
}

TEST_P(DriftTest, FindsLicensesWithoutPurchasesAndPurchasesWithoutLicenses) {
  AddPurchase({.id = "sub_1"});
  AddPurchase({.id = "sub_2", .fetched = UnixMs()});
  AddPurchase({.id = "cs_1", .status = "paid"});
  AddPurchase({.id = "cs_2", .status = "paid"});
  AddPurchase({.id = "cs_3", .status = "paid", .paid_through = kNow - kDay});
  AddLicense("lic_1", "sub:sub_1:si_1", "sub_1");
  AddLicense("lic_2", "sub:sub_2:si_1", "sub_2");
  AddLicense("lic_3", "sub:sub_3:si_1", "sub_3");
  AddLicense("lic_4", "session:cs_1");
  AddLicense("lic_5", "session:cs_9");
  AddLicense("lic_6", "operator:lic_6");
  EXPECT_THAT(Do([](db::Tx& tx) { return UnknownOrigins(tx, "", 10); }),
              ElementsAre("cs_9", "sub_2", "sub_3"));
  EXPECT_THAT(Do([](db::Tx& tx) { return UnknownOrigins(tx, "cs_9", 1); }), ElementsAre("sub_2"));
  EXPECT_THAT(Do([](db::Tx& tx) { return TermsWithoutLicense(tx, "", kNow, 10); }),
              ElementsAre("cs_2"));
  EXPECT_THAT(Do([](db::Tx& tx) { return OpenSubscriptions(tx, "", kNow, 10); }),
              ElementsAre("sub_1"));
}

TEST_P(DriftTest, AnUnmailedLicenseIsOneThatWasBoughtAndOpens) {
  AddLicense("lic_1", "sub:sub_1:si_1", "sub_1");
  AddLicense("lic_2", "operator:lic_2");
  License over = AddLicense("lic_3", "sub:sub_3:si_1", "sub_3");
  over.expires = kNow - kDay;
  Do([&](db::Tx& tx) { return license::UpdateLicense(tx, over, kNow); });
  License shut = AddLicense("lic_4", "session:cs_4");
  shut.status = Status::kSuspended;
  Do([&](db::Tx& tx) { return license::UpdateLicense(tx, shut, kNow); });
  const auto unmailed = [&] {
    std::vector<std::string> ids;
    for (const License& one : Do([](db::Tx& tx) { return UnmailedLicenses(tx, "", kNow, 10); })) {
      ids.push_back(one.id);
    }
    return ids;
  };
  EXPECT_THAT(unmailed(), ElementsAre("lic_1"));
  Sql("INSERT INTO mail_outbox (id, kind, dedup_key, license, recipient, payload, state, attempts,"
      " doubts, next_ms, lease_until_ms, batch, provider, provider_id, last_error, created_ms,"
      " updated_ms) VALUES ('mail_1', 'license', 'k', 'lic_1', 'a@b.test', '', 'sent', 1, 0, 0, 0,"
      " '', '', '', '', 0, 0)");
  EXPECT_THAT(unmailed(), IsEmpty());
}

TEST_P(DriftTest, APictureShowsTheTimeAsItIs) {
  AddPurchase({.id = "sub_1"});
  AddLicense("lic_1", "sub:sub_1:si_1", "sub_1");
  const auto at = [&](UnixMs now) {
    return Do([&](db::Tx& tx) { return PictureOf(tx, "sub_1", now); });
  };
  const Picture now = at(kNow);
  EXPECT_TRUE(now.known);
  EXPECT_EQ(now.status, "active");
  ASSERT_NE(now.Find("sub:sub_1:si_1"), nullptr);
  EXPECT_EQ(now.licenses[0].status, Status::kActive);
  EXPECT_EQ(at(kNow + kDay).licenses[0].status, Status::kExpired);
  EXPECT_FALSE(Do([](db::Tx& tx) { return PictureOf(tx, "sub_9", kNow); }).known);
}

TEST(DifferenceTest, IsNamedByWhatWasAmiss) {
  Picture whole;
  whole.known = true;
  whole.status = "active";
  whole.licenses.emplace_back();
  whole.licenses[0].origin = "a";
  EXPECT_EQ(DifferenceOf(whole, whole), std::nullopt);
  Picture other = whole;
  other.status = "past_due";
  EXPECT_EQ(DifferenceOf(other, whole), DriftClass::kPurchaseStale);
  other = whole;
  other.licenses.clear();
  EXPECT_EQ(DifferenceOf(other, whole), DriftClass::kLicenseMissing);
  EXPECT_EQ(DifferenceOf(Picture(), whole), DriftClass::kPurchaseUnknown);
  other = whole;
  other.known = false;
  EXPECT_EQ(DifferenceOf(other, whole), DriftClass::kLicenseOrphan);
  other = whole;
  other.licenses[0].revoked_by_payment = true;
  other.licenses[0].status = Status::kRevoked;
  EXPECT_EQ(DifferenceOf(whole, other), DriftClass::kRefundMissed);
  EXPECT_EQ(DifferenceOf(other, whole), DriftClass::kPurchaseStale) << "the other way round";
}

TEST(LoopReportTest, CountsWhatItDoesNotShow) {
  LoopReport report;
  for (size_t i = 0; i < LoopReport::kMostShown + 5; ++i) {
    report.Add({.kind = DriftClass::kEventMissed, .what = "e", .detail = "", .healed = true});
  }
  EXPECT_EQ(report.total(), static_cast<int64_t>(LoopReport::kMostShown) + 5);
  EXPECT_EQ(report.healed, report.total());
  EXPECT_EQ(report.drift.size(), LoopReport::kMostShown);
}

}  // namespace
}  // namespace pontage::sales
