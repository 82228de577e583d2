#include "wire/stripe/values.h"

#include <utility>

namespace pontage::stripe {
namespace {

constexpr int64_t kMicrosOfCent = 10'000;

template <typename E, size_t N>
E Find(std::string_view word, const std::pair<std::string_view, E> (&words)[N]) {
  for (const auto& [text, value] : words) {
    if (text == word) return value;
  }
  return E::kUnknown;
}

template <typename E>
using Pair = std::pair<std::string_view, E>;

constexpr Pair<SubscriptionStatus> kSubscriptionStatus[] = {
    {"incomplete", SubscriptionStatus::kIncomplete},
    {"incomplete_expired", SubscriptionStatus::kIncompleteExpired},
    {"trialing", SubscriptionStatus::kTrialing},
    {"active", SubscriptionStatus::kActive},
    {"past_due", SubscriptionStatus::kPastDue},
    {"unpaid", SubscriptionStatus::kUnpaid},
    {"canceled", SubscriptionStatus::kCanceled},
    {"paused", SubscriptionStatus::kPaused},
};
constexpr Pair<InvoiceStatus> kInvoiceStatus[] = {
    {"draft", InvoiceStatus::kDraft}, {"open", InvoiceStatus::kOpen},
    {"paid", InvoiceStatus::kPaid},   {"uncollectible", InvoiceStatus::kUncollectible},
    {"void", InvoiceStatus::kVoid},
};
constexpr Pair<BillingReason> kBillingReason[] = {
    {"subscription_create", BillingReason::kSubscriptionCreate},
    {"subscription_cycle", BillingReason::kSubscriptionCycle},
    {"subscription_update", BillingReason::kSubscriptionUpdate},
    {"subscription_threshold", BillingReason::kSubscriptionThreshold},
    {"manual", BillingReason::kManual},
};
constexpr Pair<InvoicePaymentStatus> kInvoicePaymentStatus[] = {
    {"open", InvoicePaymentStatus::kOpen},
    {"paid", InvoicePaymentStatus::kPaid},
    {"canceled", InvoicePaymentStatus::kCanceled},
};
constexpr Pair<SessionMode> kSessionMode[] = {
    {"payment", SessionMode::kPayment},
    {"subscription", SessionMode::kSubscription},
    {"setup", SessionMode::kSetup},
};
constexpr Pair<SessionStatus> kSessionStatus[] = {
    {"open", SessionStatus::kOpen},
    {"complete", SessionStatus::kComplete},
    {"expired", SessionStatus::kExpired},
};
constexpr Pair<PaymentStatus> kPaymentStatus[] = {
    {"paid", PaymentStatus::kPaid},
    {"unpaid", PaymentStatus::kUnpaid},
    {"no_payment_required", PaymentStatus::kNoPaymentRequired},
};
constexpr Pair<RefundStatus> kRefundStatus[] = {
    {"pending", RefundStatus::kPending},     {"requires_action", RefundStatus::kRequiresAction},
    {"succeeded", RefundStatus::kSucceeded}, {"failed", RefundStatus::kFailed},
    {"canceled", RefundStatus::kCanceled},
};
constexpr Pair<DisputeStatus> kDisputeStatus[] = {
    {"needs_response", DisputeStatus::kNeedsResponse},
    {"under_review", DisputeStatus::kUnderReview},
    {"won", DisputeStatus::kWon},
    {"lost", DisputeStatus::kLost},
    {"warning_needs_response", DisputeStatus::kWarningNeedsResponse},
    {"warning_under_review", DisputeStatus::kWarningUnderReview},
    {"warning_closed", DisputeStatus::kWarningClosed},
    {"prevented", DisputeStatus::kPrevented},
};

}  // namespace

std::optional<Money> DollarsOf(MinorUnits amount, std::string_view currency) {
  int64_t micros = 0;
  if (currency != "usd" || __builtin_mul_overflow(amount.count(), kMicrosOfCent, &micros)) {
    return std::nullopt;
  }
  return Money::Micros(micros);
}

Result<MinorUnits> CentsOf(Money amount) {
  if (amount.micros() % kMicrosOfCent != 0) {
    return Fail(Error(Code::kConfig, "a card cannot pay " + amount.ToString())
                    .Want("an amount in whole cents"));
  }
  return MinorUnits(amount.micros() / kMicrosOfCent);
}

SubscriptionStatus Meaning(std::string_view word, SubscriptionStatus) {
  return Find(word, kSubscriptionStatus);
}
InvoiceStatus Meaning(std::string_view word, InvoiceStatus) { return Find(word, kInvoiceStatus); }
BillingReason Meaning(std::string_view word, BillingReason) { return Find(word, kBillingReason); }
InvoicePaymentStatus Meaning(std::string_view word, InvoicePaymentStatus) {
  return Find(word, kInvoicePaymentStatus);
}
SessionMode Meaning(std::string_view word, SessionMode) { return Find(word, kSessionMode); }
SessionStatus Meaning(std::string_view word, SessionStatus) { return Find(word, kSessionStatus); }
PaymentStatus Meaning(std::string_view word, PaymentStatus) { return Find(word, kPaymentStatus); }
RefundStatus Meaning(std::string_view word, RefundStatus) { return Find(word, kRefundStatus); }
DisputeStatus Meaning(std::string_view word, DisputeStatus) { return Find(word, kDisputeStatus); }

}  // namespace pontage::stripe
