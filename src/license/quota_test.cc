#include "license/quota.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/runtime.h"
#include "io/timer.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"

namespace pontage::license {
namespace {

using pontage::testing::IsOk;

TEST(PeriodTest, MonthsOfTheCalendarInUtc) {
  const auto month = [](int64_t seconds) {
    return PeriodOf(PeriodKind::kMonth, UnixMs::FromSeconds(seconds));
  };
  // 2026-11-22T15:26:05Z.
  const Period november = month(1'795'361'165);
  EXPECT_EQ(november.name, "month:2026-11");
  EXPECT_EQ(november.begins.Rfc3339(), "2026-11-01T00:00:00.000Z");
  EXPECT_EQ(november.ends.Rfc3339(), "2026-12-01T00:00:00.000Z");
  EXPECT_EQ(month(november.ends.seconds()).name, "month:2026-12");
  EXPECT_EQ(month(november.ends.seconds()).ends.Rfc3339(), "2027-01-01T00:00:00.000Z");
  EXPECT_EQ(month(november.ends.seconds() - 1).name, "month:2026-11");
  // A leap year's February.
  EXPECT_EQ(month(1'835'000'000).name, "month:2028-02");
  EXPECT_EQ(month(1'835'000'000).ends.Rfc3339(), "2028-03-01T00:00:00.000Z");
  const Period minute = PeriodOf(PeriodKind::kMinute, UnixMs(1'795'361'165'999));
  EXPECT_EQ(minute.begins.ms(), 1'795'361'160'000);
  EXPECT_EQ(minute.ends.ms(), 1'795'361'220'000);
  EXPECT_EQ(DayOf(UnixMs::FromSeconds(1'795'361'165)), "2026-11-22");
}

class QuotaTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  QuotaTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  // How many of `calls` at once are let through by `quota`.
  int Pass(Quota& quota, int calls, int64_t most, PeriodKind kind = PeriodKind::kMonth) {
    struct Count {
      int passed = 0;
      int done = 0;
    } count;
    const auto one = [](Quota& q, PeriodKind k, int64_t m, Deadline by, Count& n) -> Task<> {
      const Result<Allowed> allowed = co_await q.Take("lic_1", k, m, by);
      n.passed += allowed && allowed->pass ? 1 : 0;
      ++n.done;
      co_return {};
    };
    for (int i = 0; i < calls; ++i) loop_.Spawn(one(quota, kind, most, By(), count), "call");
    const auto all = [](Count& n, int want) -> Task<> {
      while (n.done < want) PTG_CO_RUN(co_await Sleep(Millis(1)));
      co_return {};
    };
    EXPECT_THAT(loop_.RunUntilDone(all(count, calls)), IsOk());
    return count.passed;
  }
  int64_t Used() {
    const auto body = [](db::Tx& tx) -> Result<int64_t> {
      constexpr db::Statement kSum{
          "test.sum", "SELECT CAST(COALESCE(SUM(used), 0) AS BIGINT) FROM license_quota"};
      PTG_TRY(const db::Rows rows, tx.Run(kSum));
      return rows.front().Int(0);
    };
    return database_->ReadNow(body).value_or(-1);
  }
  static Deadline By() { return Deadline::In(Clock::System(), Millis(30'000)); }

  Loop loop_;
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Engines, QuotaTest, ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(QuotaTest, AThousandAtOnceGetWhatIsLeftAndNoMore) {
  Quota quota(*database_, Clock::System());
  EXPECT_EQ(Pass(quota, 99, 100), 99);
  EXPECT_EQ(Pass(quota, 1'000, 100), 1);
  EXPECT_EQ(Used(), 100);
}

TEST(QuotaBlockTest, GrowsWithTheCallsAndShrinksTowardsTheEnd) {
  const auto next = [](int64_t last, int64_t ms) { return Quota::NextOf(last, Millis(ms)); };
  EXPECT_EQ(next(0, 0), 1);
  EXPECT_EQ(next(1, 4'999), 2);
  EXPECT_EQ(next(600, 10), 1'000);
  EXPECT_EQ(next(1'000, 10), 1'000);
  EXPECT_EQ(next(8, 5'000), 8) << "fast enough";
  const auto month = [](int64_t left) { return Quota::MostOf(PeriodKind::kMonth, left); };
  const auto minute = [](int64_t left) { return Quota::MostOf(PeriodKind::kMinute, left); };
  EXPECT_EQ(month(100'000), 1'000);
  EXPECT_EQ(month(500), 10);
  EXPECT_EQ(month(99), 1);
  EXPECT_EQ(minute(600), 75);
  EXPECT_EQ(minute(60), 7);
  EXPECT_EQ(minute(15), 1);
  EXPECT_EQ(minute(1), 1);
}

// A process that is killed has given away nothing that nobody called.
TEST_P(QuotaTest, WhatDiesTakesAlongNoMoreThanItsLastSecondsCalled) {
  pontage::testing::SteppedClock clock;
  int64_t called = 0;
  for (int life = 0; life < 5; ++life) {
    Quota quota(*database_, clock);
    called += Pass(quota, 1, 100'000);
  }
  EXPECT_EQ(Used(), called) << "one call each: nothing is lost";
  Quota quota(*database_, clock);
  const auto calls = [&](int n, Millis each) {
    for (int i = 0; i < n; ++i) {
      clock.Advance(each);
      called += Pass(quota, 1, 100'000);
    }
  };
  // One a second: it never holds for more than some seconds.
  calls(100, Millis(1'000));
  EXPECT_LE(Used() - called, 8);
  // A thousand at once may be a thousand more.
  calls(3'000, Millis(1));
  EXPECT_LE(Used() - called, 1'000);
  EXPECT_EQ(called, 3'105);
}

// A plan of sixty a minute does not write to the store for each call.
TEST_P(QuotaTest, AMinuteIsTakenInBlocks) {
  pontage::testing::SteppedClock clock;
  Quota quota(*database_, clock);
  int64_t changes = 0;
  int64_t before = 0;
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(Pass(quota, 1, 60, PeriodKind::kMinute), 1) << i;
    const int64_t now = Used();
    changes += now != before ? 1 : 0;
    before = now;
  }
  EXPECT_LT(changes, 30);
  EXPECT_EQ(Pass(quota, 1, 60, PeriodKind::kMinute), 0);
  EXPECT_EQ(Used(), 60);
}

TEST_P(QuotaTest, TwoProcessesShareOneQuota) {
  Quota a(*database_, Clock::System());
  Quota b(*database_, Clock::System());
  int passed = 0;
  for (int round = 0; round < 12; ++round) {
    passed += Pass(a, 30, 500);
    passed += Pass(b, 30, 500);
  }
  // What is left now may lie at the other one, until it gives it back.
  for (Quota* quota : {&a, &b}) {
    ASSERT_THAT(loop_.RunUntilDone(quota->GiveBack(true, By())), IsOk());
  }
  passed += Pass(a, 200, 500);
  ASSERT_THAT(loop_.RunUntilDone(a.GiveBack(true, By())), IsOk());
  passed += Pass(b, 200, 500);
  EXPECT_EQ(passed, 500);
  EXPECT_EQ(Used(), 500);
}

TEST_P(QuotaTest, WhatIsGivenBackIsThereForOthers) {
  Quota a(*database_, Clock::System());
  // Blocks of 1, 2, 4 and 8.
  EXPECT_EQ(Pass(a, 9, 10'000), 9);
  EXPECT_EQ(Used(), 15);
  ASSERT_THAT(loop_.RunUntilDone(a.GiveBack(true, By())), IsOk());
  EXPECT_EQ(Used(), 9);
  ASSERT_THAT(loop_.RunUntilDone(a.GiveBack(true, By())), IsOk());
  EXPECT_EQ(Used(), 9) << "not twice";
}

// A license that calls all day makes 1,440 minutes of it.
TEST_P(QuotaTest, MinutesGoSoonAndMonthsAfterAWhile) {
  pontage::testing::SteppedClock clock;
  Quota quota(*database_, clock);
  constexpr Millis kMinute{60'000};
  constexpr Millis kDay{86'400'000};
  const auto put = [&](std::string_view kind, int64_t name, Millis ago) {
    const auto body = [&](db::Tx& tx) -> Result<> {
      constexpr db::Statement kPut{"test.put",
                                   "INSERT INTO license_quota (license, period, used, ends_ms)"
                                   " VALUES ('lic_1', $1, 1, $2)"};
      PTG_RUN(tx.Run(kPut, std::string(kind) + std::to_string(name), (clock.Now() - ago).ms()));
      return {};
    };
    ASSERT_THAT(database_->WriteNow(body), IsOk());
  };
  const auto prune = [&] {
    ASSERT_THAT(loop_.RunUntilDone(quota.Prune(Deadline::Never())), IsOk());
  };
  for (int64_t i = 0; i < 2'500; ++i) put("minute:", i, 120 * kMinute);
  put("minute:", 9'000, 30 * kMinute);
  put("month:", 1, 10 * kDay);
  put("month:", 2, 91 * kDay);
  prune();
  EXPECT_EQ(Used(), 2) << "half an hour, and ten days";
  clock.Advance(31 * kMinute);
  prune();
  EXPECT_EQ(Used(), 1);
  clock.Advance(81 * kDay);
  prune();
  EXPECT_EQ(Used(), 0);
}

TEST_P(QuotaTest, ANewPeriodBeginsAnew) {
  pontage::testing::SteppedClock clock;
  Quota quota(*database_, clock);
  const auto take = [&] {
    const auto allowed =
        loop_.RunUntilDone(quota.Take("lic_1", PeriodKind::kMinute, 2, Deadline::Never()));
    EXPECT_THAT(allowed, IsOk());
    return allowed.value_or(Allowed{});
  };
  EXPECT_TRUE(take().pass);
  EXPECT_EQ(take().left, 0);
  EXPECT_FALSE(take().pass);
  clock.Advance(Millis(60'000));
  const Allowed next = take();
  EXPECT_TRUE(next.pass);
  EXPECT_EQ(next.left, 1);
}

}  // namespace
}  // namespace pontage::license
