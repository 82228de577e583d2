#include "license/usage_book.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/runtime.h"
#include "io/timer.h"
#include "license/usage_store.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"

namespace pontage::license {
namespace {

using pontage::testing::IsOk;

class UsageBookTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  UsageBookTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  Result<> Flush(UsageBook& book, bool all = false, Millis within = Millis(30'000)) {
    return loop_.RunUntilDone(book.Flush(all, Deadline::In(Clock::System(), within)));
  }
  // What is written of each route: "GET /a=6 GET /b=1 ".
  std::string Written() {
    const auto body = [](db::Tx& tx) -> Result<std::string> {
      constexpr db::Statement kAll{"test.all",
                                   "SELECT route, CAST(SUM(calls) AS BIGINT) FROM license_usage "
                                   "GROUP BY route ORDER BY route"};
      PTG_TRY(const db::Rows rows, tx.Run(kAll));
      std::string text;
      for (const db::Row& row : rows) text += row.Text(0) + "=" + std::to_string(row.Int(1)) + " ";
      return text;
    };
    return database_->ReadNow(body).value_or("unreadable");
  }
  // Calls of licenses `from` up to `to`, one of each.
  static void NoteMany(UsageBook& book, int from, int to) {
    for (int i = from; i < to; ++i) book.Note("lic_" + std::to_string(i), "GET /a");
  }

  Loop loop_;
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Engines, UsageBookTest,
                         ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(UsageBookTest, CallsAreAddedUp) {
  UsageBook book(*database_, Clock::System());
  for (int i = 0; i < 5; ++i) book.Note("lic_1", "GET /a");
  book.Note("lic_1", "GET /b");
  ASSERT_THAT(Flush(book), IsOk());
  EXPECT_EQ(Written(), "GET /a=5 GET /b=1 ") << "of a few, all at once";
  book.Note("lic_1", "GET /a");
  ASSERT_THAT(Flush(book), IsOk());
  ASSERT_THAT(Flush(book), IsOk());
  EXPECT_EQ(Written(), "GET /a=6 GET /b=1 ");
}

TEST_P(UsageBookTest, OfACrowdAPartAtATimeAndNoneTwice) {
  UsageBook book(*database_, Clock::System());
  NoteMany(book, 0, 13'200);
  ASSERT_THAT(Flush(book), IsOk());
  EXPECT_EQ(Written(), "GET /a=1101 ");
  // They come again while the first calls are being written: one row more for each, later.
  NoteMany(book, 0, 13'200);
  for (int i = 1; i < 12; ++i) ASSERT_THAT(Flush(book), IsOk());
  EXPECT_EQ(Written(), "GET /a=13200 ");
  for (int i = 0; i < 12; ++i) ASSERT_THAT(Flush(book), IsOk());
  EXPECT_EQ(Written(), "GET /a=26400 ");
}

TEST_P(UsageBookTest, TheEndWritesAll) {
  UsageBook book(*database_, Clock::System());
  NoteMany(book, 0, 5'000);
  ASSERT_THAT(Flush(book), IsOk());
  NoteMany(book, 0, 3'000);
  ASSERT_THAT(Flush(book, true), IsOk());
  EXPECT_EQ(Written(), "GET /a=8000 ");
}

TEST_P(UsageBookTest, WhatCannotBeWrittenIsKept) {
  UsageBook book(*database_, Clock::System());
  NoteMany(book, 0, 1'500);
  EXPECT_FALSE(Flush(book, false, Millis(-1)));
  EXPECT_FALSE(Flush(book, true, Millis(-1)));
  EXPECT_EQ(Written(), "");
  NoteMany(book, 0, 10);
  ASSERT_THAT(Flush(book, true), IsOk());
  EXPECT_EQ(Written(), "GET /a=1510 ");
}

// The one of the end finds the one before it at work; what that one writes stays until it is
// written.
TEST_P(UsageBookTest, TwoAtOnceLoseNothing) {
  for (int i = 0; i < 20; ++i) {
    UsageBook book(*database_, Clock::System());
    NoteMany(book, 0, 900);
    std::optional<Result<>> first;
    const auto flush = [&]() -> Task<> {
      const Deadline by = Deadline::In(Clock::System(), Millis(30'000));
      first.emplace(co_await book.Flush(false, by));
      co_return {};
    };
    loop_.Spawn(flush(), "test.first");
    const auto both = [&]() -> Task<> {
      PTG_CO_RUN(co_await Sleep(Millis(0)));
      NoteMany(book, 900, 1'000);
      const Deadline by = Deadline::In(Clock::System(), Millis(30'000));
      PTG_CO_RUN(co_await book.Flush(true, by));
      while (!first) PTG_CO_RUN(co_await Sleep(Millis(1)));
      co_return *first;
    };
    ASSERT_THAT(loop_.RunUntilDone(both()), IsOk());
  }
  EXPECT_EQ(Written(), "GET /a=20000 ");
}

TEST_P(UsageBookTest, SaysWhatOneLicenseHasCalledOfLate) {
  pontage::testing::SteppedClock clock;  // 2023-11-14
  UsageBook book(*database_, clock);
  const auto note = [&](std::string_view license, std::string_view route, int calls) {
    for (int i = 0; i < calls; ++i) book.Note(license, route);
  };
  const auto days = [](int n) { return Millis(std::chrono::days(n)); };
  note("lic_1", "GET /long-ago", 9);
  clock.Advance(days(31));  // 2023-12-15: the first of its 31 days is 2023-11-15
  note("lic_1", "GET /a", 2);
  note("lic_1", "GET /b", 3);
  note("lic_2", "GET /a", 50);
  clock.Advance(days(-15));  // 2023-11-30
  note("lic_1", "GET /a", 4);
  clock.Advance(days(14));  // 2023-12-14
  note("lic_1", "GET /b", 5);
  clock.Advance(days(1));
  ASSERT_THAT(Flush(book), IsOk());
  const auto read = [&](const std::string& license) {
    const auto body = [&](db::Tx& tx) { return ReadUsage(tx, license, clock.Now()); };
    return codec::ToString(ToJson(database_->ReadNow(body).value()));
  };
  EXPECT_EQ(read("lic_1"),
            R"({"today":5,"month":10,"days":[{"day":"2023-12-15","calls":5},)"
            R"({"day":"2023-12-14","calls":5},{"day":"2023-11-30","calls":4}],)"
            R"("routes":[{"route":"GET /b","calls":8},{"route":"GET /a","calls":6}]})");
  EXPECT_EQ(read("lic_3"), R"({"today":0,"month":0,"days":[],"routes":[]})");
}

}  // namespace
}  // namespace pontage::license
