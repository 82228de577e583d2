#include "sales/access.h"

#include <gtest/gtest.h>

namespace pontage::sales {
namespace {

using license::Status;
using stripe::DisputeStatus;
using stripe::MinorUnits;
using stripe::RefundStatus;
using S = stripe::SubscriptionStatus;

constexpr auto kActive = Status::kActive;
constexpr auto kPastDue = Status::kPastDue;
constexpr auto kSuspended = Status::kSuspended;
constexpr auto kRevoked = Status::kRevoked;
constexpr auto kExpired = Status::kExpired;
constexpr std::nullopt_t kPending = std::nullopt;

UnixMs Day(int64_t n) { return UnixMs::FromSeconds(1'700'000'000 + n * 86'400); }

// Paid until day 30, three days of grace: it ends on day 33.
AccessFacts Paid(std::optional<S> status) {
  AccessFacts facts;
  facts.status = status;
  facts.paid_through = Day(30);
  facts.grace = std::chrono::days(3);
  facts.last = Status::kActive;
  return facts;
}
AccessFacts Unpaid(S status) {
  AccessFacts facts = Paid(status);
  facts.paid_through.reset();
  facts.last.reset();
  return facts;
}
AccessFacts With(AccessFacts facts, void (*change)(AccessFacts&)) {
  change(facts);
  return facts;
}

struct Row {
  const char* what;
  AccessFacts facts;
  UnixMs now;
  std::optional<Status> status;
  std::optional<UnixMs> expires_at = Day(33);
  bool alarm = false;
};

void Check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    const Access access = DecideAccess(row.facts, row.now);
    EXPECT_EQ(access.status, row.status);
    EXPECT_EQ(access.expires_at, row.expires_at);
    EXPECT_EQ(access.alarm, row.alarm);
    EXPECT_EQ(access.opens(), row.status == kActive || row.status == kPastDue);
  }
}

TEST(AccessTest, EachStatusOfASubscription) {
  const auto ended = [](AccessFacts& f) { f.ended_at = Day(12); };
  const auto ended_late = [](AccessFacts& f) { f.ended_at = Day(45); };
  const auto by_clock_ahead = [](AccessFacts& f) { f.ended_at = Day(400); };
  Check({
      {"trialing", Paid(S::kTrialing), Day(10), kActive},
      {"active", Paid(S::kActive), Day(10), kActive},
      {"active, in grace: the draft window, and a first failure", Paid(S::kActive), Day(31),
       kActive},
      {"active, a millisecond before the end", Paid(S::kActive), Day(33) - 1ms, kActive},
      {"active, at the end", Paid(S::kActive), Day(33), kExpired},
      {"past_due, in grace", Paid(S::kPastDue), Day(31), kPastDue},
      {"past_due, a millisecond before the end", Paid(S::kPastDue), Day(33) - 1ms, kPastDue},
      {"past_due, after grace", Paid(S::kPastDue), Day(33), kExpired},
      {"active, nothing paid yet", Unpaid(S::kActive), Day(10), kPending, std::nullopt},
      {"past_due, nothing ever paid", Unpaid(S::kPastDue), Day(10), kPending, std::nullopt},
      {"incomplete", Unpaid(S::kIncomplete), Day(0), kPending, std::nullopt},
      {"incomplete_expired", With(Unpaid(S::kIncompleteExpired), ended), Day(20), kExpired,
       Day(12)},
      {"incomplete_expired, without a date", Unpaid(S::kIncompleteExpired), Day(20), kExpired,
       Day(20)},
      {"canceled at once, in the paid month", With(Paid(S::kCanceled), ended), Day(20), kExpired,
       Day(12)},
      {"canceled after the dunning", With(Paid(S::kCanceled), ended_late), Day(50), kExpired},
      {"canceled, without a date", Paid(S::kCanceled), Day(20), kExpired, Day(20)},
      {"canceled by a clock that runs ahead of ours", With(Paid(S::kCanceled), by_clock_ahead),
       Day(20), kExpired, Day(20)},
      {"unpaid", Paid(S::kUnpaid), Day(40), kSuspended},
      {"unpaid, in a paid month", Paid(S::kUnpaid), Day(10), kSuspended},
      {"paused", Paid(S::kPaused), Day(10), kSuspended},
  });
}

TEST(AccessTest, AnEndThatWasAskedForMayBeEarlierThanWhatWasPaid) {
  const auto at_period_end = [](AccessFacts& f) { f.cancel_at = Day(30); };
  const auto early = [](AccessFacts& f) { f.cancel_at = Day(15); };
  const auto later = [](AccessFacts& f) { f.cancel_at = Day(90); };
  Check({
      {"cancel_at_period_end keeps the month", With(Paid(S::kActive), at_period_end), Day(30) - 1ms,
       kActive, Day(30)},
      {"and ends with it", With(Paid(S::kActive), at_period_end), Day(30), kExpired, Day(30)},
      {"cancel_at in the month", With(Paid(S::kActive), early), Day(14), kActive, Day(15)},
      {"it has come", With(Paid(S::kActive), early), Day(15), kExpired, Day(15)},
      {"cancel_at after months to be paid", With(Paid(S::kActive), later), Day(32), kActive},
      {"which were not", With(Paid(S::kPastDue), later), Day(33), kExpired},
  });
}

TEST(AccessTest, WhatEndsALicenseAndWhatBringsItBack) {
  const auto refunded = [](AccessFacts& f) { f.refunded = true; };
  const auto disputed = [](AccessFacts& f) { f.disputed = true; };
  const auto both = [](AccessFacts& f) { f.disputed = f.refunded = true; };
  const auto by_operator = [](AccessFacts& f) {
    f.operator_revoked = true;
    f.last = Status::kRevoked;
  };
  const auto revoked_before = [](AccessFacts& f) { f.last = Status::kRevoked; };
  const auto refund_unread = [](AccessFacts& f) {
    f.refunds_unread = true;
    f.last = Status::kRevoked;
  };
  const auto dispute_unread = [](AccessFacts& f) {
    f.disputes_unread = true;
    f.last = Status::kSuspended;
  };
  const auto both_unread = [](AccessFacts& f) {
    f.disputes_unread = f.refunds_unread = true;
    f.last.reset();
  };
  const auto suspended_before = [](AccessFacts& f) { f.last = Status::kSuspended; };
  const auto expired_before = [](AccessFacts& f) { f.last = Status::kExpired; };
  Check({
      {"a full refund", With(Paid(S::kActive), refunded), Day(10), kRevoked},
      {"of one that was canceled", With(Paid(S::kCanceled), refunded), Day(10), kRevoked},
      {"of a one-off", With(Paid(std::nullopt), refunded), Day(10), kRevoked},
      {"a refund that failed later", With(Paid(S::kActive), revoked_before), Day(10), kActive},
      {"a dispute", With(Paid(S::kActive), disputed), Day(10), kSuspended},
      {"a dispute of a one-off", With(Paid(std::nullopt), disputed), Day(10), kSuspended},
      {"a dispute in dunning", With(Paid(S::kPastDue), disputed), Day(31), kSuspended},
      {"a dispute and a refund", With(Paid(S::kActive), both), Day(10), kRevoked},
      {"a dispute of what is over", With(Paid(S::kCanceled), disputed), Day(40), kExpired},
      {"refunds that we may not ask about, new", With(Paid(S::kActive), both_unread), Day(10),
       kActive},
      {"and revoked before", With(Paid(S::kActive), refund_unread), Day(10), kRevoked},
      {"disputes that we may not ask about", With(Paid(S::kActive), dispute_unread), Day(10),
       kSuspended},
      {"a dispute that was won", With(Paid(S::kActive), suspended_before), Day(10), kActive},
      {"resumed", With(Paid(S::kActive), suspended_before), Day(10), kActive},
      {"paid after it had run out", With(Paid(S::kActive), expired_before), Day(10), kActive},
      {"revoked by the operator", With(Paid(S::kActive), by_operator), Day(10), kRevoked},
      {"and renewed at Stripe", With(Paid(S::kTrialing), by_operator), Day(10), kRevoked},
      {"and canceled", With(Paid(S::kCanceled), by_operator), Day(10), kRevoked},
      {"and a word that we do not know", With(Paid(S::kUnknown), by_operator), Day(10), kRevoked},
  });
}

TEST(AccessTest, AWordThatCameLaterChangesNothingButTimeDoes) {
  const auto last = [](Status status) {
    AccessFacts facts = Paid(S::kUnknown);
    facts.last = status;
    return facts;
  };
  Check({
      {"active before", last(kActive), Day(10), kActive, Day(33), true},
      {"past_due before", last(kPastDue), Day(31), kPastDue, Day(33), true},
      {"suspended before", last(kSuspended), Day(10), kSuspended, Day(33), true},
      {"revoked before", last(kRevoked), Day(10), kRevoked, Day(33), true},
      {"expired before", last(kExpired), Day(40), kExpired, Day(33), true},
      {"active before, and over", last(kActive), Day(33), kExpired, Day(33), true},
      {"never seen before", Unpaid(S::kUnknown), Day(10), kPending, std::nullopt, true},
  });
}

TEST(AccessTest, ALicenseThatNothingPaysForIsLeftAndTold) {
  const auto issued = [](AccessFacts& f) { f.last = Status::kActive; };
  Check({
      {"active", With(Unpaid(S::kActive), issued), Day(10), kActive, std::nullopt, true},
      {"incomplete, which Stripe never comes back to", With(Unpaid(S::kIncomplete), issued),
       Day(10), kSuspended, std::nullopt},
  });
}

TEST(AccessTest, ATermIsBoughtFromItsPayment) {
  AccessFacts facts = FactsOfTerm(Day(0), 30, std::chrono::days(3));
  Check({
      {"in its days", facts, Day(29), kActive},
      {"in grace", facts, Day(32), kActive},
      {"over", facts, Day(33), kExpired},
  });
}

TEST(AccessTest, APauseOfCollectionChangesNothing) {
  Projection projection;
  projection.status = stripe::WordOf<S>("active");
  projection.cancel_at = Day(32);
  projection.items.push_back(
      {stripe::SubscriptionItemId("si_1"), stripe::PriceId("price_1"), "pro", Day(30)});
  const auto decide = [&projection](UnixMs now) {
    return DecideAccess(FactsOf(projection, projection.items[0], std::chrono::days(3)), now);
  };
  for (const bool paused : {false, true}) {
    projection.collection_paused = paused;
    EXPECT_EQ(decide(Day(10)).status, kActive);
    EXPECT_EQ(decide(Day(10)).expires_at, Day(32));
    EXPECT_EQ(decide(Day(32)).status, kExpired);
  }
  projection.status = stripe::WordOf<S>("canceled");
  projection.ended_at = Day(5);
  EXPECT_EQ(decide(Day(10)).status, kExpired);
  EXPECT_EQ(decide(Day(10)).expires_at, Day(5));
}

stripe::Refund RefundOf(int64_t amount, std::string_view status) {
  stripe::Refund refund;
  refund.amount = MinorUnits(amount);
  refund.status = stripe::WordOf<RefundStatus>(status);
  return refund;
}

TEST(RefundTest, OnlyAllOfItIsAll) {
  const struct {
    std::vector<stripe::Refund> refunds;
    bool wholly;
  } rows[] = {
      {{}, false},
      {{RefundOf(2900, "succeeded")}, true},
      {{RefundOf(2900, "pending")}, true},
      {{RefundOf(2899, "succeeded")}, false},
      {{RefundOf(2000, "succeeded"), RefundOf(900, "pending")}, true},
      {{RefundOf(2000, "succeeded"), RefundOf(900, "failed")}, false},
      {{RefundOf(2900, "failed")}, false},
      {{RefundOf(2900, "canceled")}, false},
      {{RefundOf(2900, "requires_action")}, false},
      {{RefundOf(2900, "a word that came later")}, false},
      {{RefundOf(INT64_MAX, "succeeded"), RefundOf(1, "succeeded")}, true},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(IsWhollyRefunded(MinorUnits(2900), row.refunds), row.wholly);
  }
  EXPECT_FALSE(IsWhollyRefunded(MinorUnits(0), {})) << "nothing was paid, nothing came back";
}

TEST(DisputeTest, ShutUntilItIsWonOrClosed) {
  for (const std::string_view shut : {"needs_response", "under_review", "lost",
                                      "warning_needs_response", "warning_under_review", "new"}) {
    EXPECT_TRUE(KeepsShut(stripe::WordOf<DisputeStatus>(shut).value)) << shut;
  }
  for (const std::string_view open : {"won", "warning_closed", "prevented"}) {
    EXPECT_FALSE(KeepsShut(stripe::WordOf<DisputeStatus>(open).value)) << open;
  }
}

TEST(AccessTest, WhatTheOperatorExtended) {
  const auto extended = [](AccessFacts& f) { f.extended = Day(60); };
  const auto ended = [](AccessFacts& f) {
    f.extended = Day(60);
    f.ended_at = Day(12);
  };
  const auto refunded = [](AccessFacts& f) {
    f.extended = Day(60);
    f.refunded = true;
  };
  const auto disputed = [](AccessFacts& f) {
    f.extended = Day(60);
    f.disputed = true;
  };
  const auto less = [](AccessFacts& f) { f.extended = Day(20); };
  Check({
      {"active", With(Paid(S::kActive), extended), Day(10), kActive, Day(60)},
      {"its period is over", With(Paid(S::kActive), extended), Day(40), kActive, Day(60)},
      {"past_due stays so", With(Paid(S::kPastDue), extended), Day(31), kPastDue, Day(60)},
      {"canceled", With(Paid(S::kCanceled), ended), Day(20), kActive, Day(60)},
      {"over", With(Paid(S::kActive), extended), Day(60), kExpired},
      {"shorter than what was paid", With(Paid(S::kActive), less), Day(10), kActive},
      {"revoked", With(Paid(S::kActive), refunded), Day(10), kRevoked},
      {"suspended", With(Paid(S::kActive), disputed), Day(10), kSuspended},
      {"opens nothing that was never issued", With(Unpaid(S::kActive), extended), Day(10), kPending,
       std::nullopt},
  });
}

constexpr Millis kFiveDays{5 * 86'400'000};

// Five days behind a month and its grace are five days behind whatever comes of the month.
TEST(AccessTest, WhatEndsEarlierTakesItsExtensionAlong) {
  const auto extended = [](S status, Millis later, std::optional<UnixMs> ended_at = {}) {
    AccessFacts facts = Paid(status);
    facts.extended_end = *facts.paid_through + facts.grace + later;
    facts.extended = facts.extended_end + kFiveDays;
    facts.ended_at = ended_at;
    return facts;
  };
  const AccessFacts month = Paid(S::kActive);
  const UnixMs end = *month.paid_through + month.grace;
  Check({
      {"as it was", extended(S::kActive, Millis(0)), Day(10), kActive, end + kFiveDays},
      {"a year that became a month", extended(S::kActive, 60 * kFiveDays), Day(10), kActive,
       end + kFiveDays},
      {"paid for since", extended(S::kActive, -kFiveDays), Day(10), kActive, end},
      {"canceled now", extended(S::kCanceled, Millis(0), Day(12)), Day(16), kActive, Day(17)},
      {"and its days are over", extended(S::kCanceled, Millis(0), Day(12)), Day(17), kExpired,
       Day(12)},
      {"canceled, and Stripe says not when", extended(S::kCanceled, Millis(0)), Day(20), kActive,
       end + kFiveDays},
  });
}

}  // namespace
}  // namespace pontage::sales
