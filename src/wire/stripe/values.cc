#include "wire/stripe/values.h"

#include <algorithm>
#include <array>
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

int DecimalsOf(std::string_view currency) {
  constexpr std::array<std::string_view, 16> kNone = {"bif", "clp", "djf", "gnf", "jpy", "kmf",
                                                      "krw", "mga", "pyg", "rwf", "ugx", "vnd",
                                                      "vuv", "xaf", "xof", "xpf"};
  constexpr std::array<std::string_view, 5> kThree = {"bhd", "jod", "kwd", "omr", "tnd"};
  if (std::ranges::find(kNone, currency) != kNone.end()) return 0;
  return std::ranges::find(kThree, currency) != kThree.end() ? 3 : 2;
}

std::string AmountText(MinorUnits amount, std::string_view currency) {
  const int64_t minor = amount.count();
  const int decimals = DecimalsOf(currency);
  const bool negative = minor < 0;
  // Of the smallest number, too.
  const uint64_t size = negative ? 0 - static_cast<uint64_t>(minor) : static_cast<uint64_t>(minor);
  std::string digits = std::to_string(size);
  const auto behind = static_cast<size_t>(decimals);
  if (digits.size() <= behind) digits.insert(0, behind + 1 - digits.size(), '0');
  if (behind > 0) digits.insert(digits.size() - behind, 1, '.');
  const std::string sign = negative ? "−" : "";
  if (currency == "usd") return sign + "$" + digits;
  if (currency == "eur") return sign + "€" + digits;
  if (currency == "gbp") return sign + "£" + digits;
  if (currency == "jpy") return sign + "¥" + digits;
  std::string code(currency.substr(0, 8));
  for (char& c : code) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return sign + digits + " " + code;
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
