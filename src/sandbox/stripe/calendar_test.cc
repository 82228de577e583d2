#include "sandbox/stripe/calendar.h"

#include <gtest/gtest.h>

namespace pontage::sandbox::stripe {
namespace {

using Unit = Interval::Unit;

std::string After(int64_t anchor_s, Interval interval, int64_t n) {
  return IntervalsAfter(UnixMs::FromSeconds(anchor_s), interval, n).Rfc3339();
}

// A subscription of the 31st is billed at the end of shorter months, and on the 31st again after.
TEST(CalendarTest, MonthsAreCountedFromTheAnchor) {
  constexpr int64_t kAnchor = 1'769'817'600;  // 2026-01-31T00:00:00Z
  EXPECT_EQ(After(kAnchor, {Unit::kMonth, 1}, 0), "2026-01-31T00:00:00.000Z");
  EXPECT_EQ(After(kAnchor, {Unit::kMonth, 1}, 1), "2026-02-28T00:00:00.000Z");
  EXPECT_EQ(After(kAnchor, {Unit::kMonth, 1}, 2), "2026-03-31T00:00:00.000Z");
  EXPECT_EQ(After(kAnchor, {Unit::kMonth, 1}, 3), "2026-04-30T00:00:00.000Z");
  EXPECT_EQ(After(kAnchor, {Unit::kMonth, 3}, 2), "2026-07-31T00:00:00.000Z");
  EXPECT_EQ(After(kAnchor, {Unit::kMonth, 1}, 25), "2028-02-29T00:00:00.000Z");
}

TEST(CalendarTest, OtherUnits) {
  constexpr int64_t kLeapDay = 1'709'210'096;  // 2024-02-29T12:34:56Z
  EXPECT_EQ(After(kLeapDay, {Unit::kYear, 1}, 1), "2025-02-28T12:34:56.000Z");
  EXPECT_EQ(After(kLeapDay, {Unit::kYear, 1}, 4), "2028-02-29T12:34:56.000Z");
  EXPECT_EQ(After(kLeapDay, {Unit::kDay, 10}, 2), "2024-03-20T12:34:56.000Z");
  EXPECT_EQ(After(kLeapDay, {Unit::kWeek, 2}, 1), "2024-03-14T12:34:56.000Z");
  EXPECT_EQ(UnitOf("month"), Unit::kMonth);
  EXPECT_EQ(UnitOf("fortnight"), std::nullopt);
}

}  // namespace
}  // namespace pontage::sandbox::stripe
