#include "sales/access.h"

#include <algorithm>

namespace pontage::sales {
namespace {

using license::Status;
using stripe::SubscriptionStatus;

// When what was paid for ends, and with it the license.
std::optional<UnixMs> EndOf(const AccessFacts& facts) {
  if (!facts.paid_through) return std::nullopt;
  const UnixMs end = *facts.paid_through + facts.grace;
  return facts.cancel_at ? std::min(end, *facts.cancel_at) : end;
}

// A subscription that is over is over, whatever its clock says (a test clock's runs ahead).
UnixMs EndOfEnded(const AccessFacts& facts, UnixMs now) {
  UnixMs end = std::min(now, facts.ended_at.value_or(now));
  if (const auto paid = EndOf(facts)) end = std::min(end, *paid);
  return end;
}

// What only time decides any more. A license that nothing paid for any more is beyond us: it stays
// as it was until somebody has looked.
Access ByTime(const AccessFacts& facts, Status open, UnixMs now) {
  const std::optional<UnixMs> end = EndOf(facts);
  if (!end)
    return {.status = facts.last, .expires_at = std::nullopt, .alarm = facts.last.has_value()};
  return {.status = now >= *end ? Status::kExpired : open, .expires_at = end};
}

Access KeepLast(const AccessFacts& facts, UnixMs now) {
  Access access;
  if (facts.last && Opens(*facts.last)) {
    access = ByTime(facts, *facts.last, now);
  } else if (facts.last) {
    access = {.status = facts.last, .expires_at = EndOf(facts)};
  }
  access.alarm = true;
  return access;
}

// Without the operator's extension.
Access DecidePaid(const AccessFacts& facts, UnixMs now) {
  const bool refunded = facts.refunded || (facts.refunds_unread && facts.last == Status::kRevoked);
  const bool disputed =
      facts.disputed || (facts.disputes_unread && facts.last == Status::kSuspended);
  if (facts.operator_revoked || refunded) {
    return {.status = Status::kRevoked, .expires_at = EndOf(facts)};
  }
  const SubscriptionStatus status = facts.status.value_or(SubscriptionStatus::kActive);
  if (status == SubscriptionStatus::kCanceled || status == SubscriptionStatus::kIncompleteExpired) {
    return {.status = Status::kExpired, .expires_at = EndOfEnded(facts, now)};
  }
  if (disputed) return {.status = Status::kSuspended, .expires_at = EndOf(facts)};
  switch (status) {
    case SubscriptionStatus::kUnpaid:
    case SubscriptionStatus::kPaused:
      return {.status = Status::kSuspended, .expires_at = EndOf(facts)};
    case SubscriptionStatus::kIncomplete:
      // Stripe never comes back to it; a license that is there all the same is shut, not lost.
      if (facts.last) return {.status = Status::kSuspended, .expires_at = EndOf(facts)};
      return {};
    case SubscriptionStatus::kUnknown:
      return KeepLast(facts, now);
    case SubscriptionStatus::kPastDue:
      return ByTime(facts, Status::kPastDue, now);
    case SubscriptionStatus::kTrialing:
    case SubscriptionStatus::kActive:
    case SubscriptionStatus::kCanceled:
    case SubscriptionStatus::kIncompleteExpired:
      break;
  }
  return ByTime(facts, Status::kActive, now);
}

// Until when it stands by the operator's word; `end`: its own now.
UnixMs ExtendedUntil(const AccessFacts& facts, std::optional<UnixMs> end) {
  UnixMs until = *facts.extended;
  // Without a time of its own an end that is over would move on with the clock.
  const bool over = facts.status == SubscriptionStatus::kCanceled ||
                    facts.status == SubscriptionStatus::kIncompleteExpired;
  if (!end || (over && !facts.ended_at)) return until;
  if (*end < facts.extended_end) until = until - (facts.extended_end - *end);
  return until;
}

}  // namespace

Access DecideAccess(const AccessFacts& facts, UnixMs now) {
  Access access = DecidePaid(facts, now);
  if (!facts.extended || !facts.last) return access;
  const UnixMs until = ExtendedUntil(facts, access.expires_at);
  if (now >= until) return access;
  if (access.status == Status::kExpired) access.status = Status::kActive;
  if (access.opens()) {
    access.expires_at = std::max(access.expires_at.value_or(UnixMs()), until);
  }
  return access;
}

AccessFacts FactsOf(const Projection& projection, const ProjectedItem& item, Millis grace) {
  AccessFacts facts;
  facts.status = projection.status.value;
  facts.paid_through = item.paid_through;
  facts.cancel_at = projection.cancel_at;
  facts.ended_at = projection.ended_at;
  facts.grace = grace;
  return facts;
}

AccessFacts FactsOfTerm(UnixMs paid_at, int64_t days, Millis grace) {
  AccessFacts facts;
  facts.paid_through = paid_at + std::chrono::days(days);
  facts.grace = grace;
  return facts;
}

bool IsWhollyRefunded(stripe::MinorUnits paid, std::span<const stripe::Refund> refunds) {
  int64_t back = 0;
  for (const stripe::Refund& refund : refunds) {
    const bool counts = refund.status.value == stripe::RefundStatus::kSucceeded ||
                        refund.status.value == stripe::RefundStatus::kPending;
    if (counts && __builtin_add_overflow(back, refund.amount.count(), &back)) return true;
  }
  return paid.count() > 0 && back >= paid.count();
}

bool KeepsShut(stripe::DisputeStatus status) {
  switch (status) {
    case stripe::DisputeStatus::kWon:
    case stripe::DisputeStatus::kWarningClosed:
    case stripe::DisputeStatus::kPrevented:
      return false;
    case stripe::DisputeStatus::kUnknown:
    case stripe::DisputeStatus::kNeedsResponse:
    case stripe::DisputeStatus::kUnderReview:
    case stripe::DisputeStatus::kLost:
    case stripe::DisputeStatus::kWarningNeedsResponse:
    case stripe::DisputeStatus::kWarningUnderReview:
      return true;
  }
  return true;
}

}  // namespace pontage::sales
