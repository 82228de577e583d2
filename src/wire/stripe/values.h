#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/id.h"
#include "base/money.h"

// What Stripe's objects are made of: ids, amounts, and words of which there will be new ones.
namespace pontage::stripe {

using CustomerId = Id<struct CustomerTag>;                        // "cus_…"
using ProductId = Id<struct ProductTag>;                          // "prod_…"
using PriceId = Id<struct PriceTag>;                              // "price_…"
using SubscriptionId = Id<struct SubscriptionTag>;                // "sub_…"
using SubscriptionItemId = Id<struct SubscriptionItemTag>;        // "si_…"
using InvoiceId = Id<struct InvoiceTag>;                          // "in_…"
using PaymentIntentId = Id<struct PaymentIntentTag>;              // "pi_…"
using ChargeId = Id<struct ChargeTag>;                            // "ch_…"
using RefundId = Id<struct RefundTag>;                            // "re_…"
using DisputeId = Id<struct DisputeTag>;                          // "dp_…", "du_…"
using SessionId = Id<struct SessionTag>;                          // "cs_…"
using EventId = Id<struct EventTag>;                              // "evt_…"
using WebhookEndpointId = Id<struct WebhookEndpointTag>;          // "we_…"
using PortalConfigurationId = Id<struct PortalConfigurationTag>;  // "bpc_…"

// A count of a currency's smallest unit, as Stripe has amounts: cents of usd, whole yen of jpy.
// Means nothing without the currency beside it.
class MinorUnits {
 public:
  constexpr MinorUnits() = default;
  constexpr explicit MinorUnits(int64_t count) : count_(count) {}
  constexpr int64_t count() const { return count_; }
  friend constexpr auto operator<=>(MinorUnits, MinorUnits) = default;

 private:
  int64_t count_ = 0;
};

// Exact. None for any currency but "usd", and for more dollars than Money holds.
std::optional<Money> DollarsOf(MinorUnits amount, std::string_view currency);
// kConfig when the amount has fractions of a cent, which no card pays.
Result<MinorUnits> CentsOf(Money amount);
// How many decimals its amounts have: 2, but 0 for yen and their like and 3 for dinars.
int DecimalsOf(std::string_view currency);
// For people. 2900 of "usd" → "$29.00"; 500 of "jpy" → "¥500"; others with their code: "29.00 CHF".
std::string AmountText(MinorUnits amount, std::string_view currency);

// A word of Stripe's: what it means to us, and how it was written. Words that came after this
// program mean kUnknown, and are never a fault.
template <typename E>
struct Word {
  E value = E::kUnknown;
  std::string text;
};

enum class SubscriptionStatus : uint8_t {
  kUnknown,
  kIncomplete,  // its first invoice is not paid yet; 23 hours later it is incomplete_expired
  kIncompleteExpired,
  kTrialing,
  kActive,
  kPastDue,
  kUnpaid,
  kCanceled,
  kPaused,  // a trial that ended without a card; nothing to do with pause_collection
};
enum class InvoiceStatus : uint8_t { kUnknown, kDraft, kOpen, kPaid, kUncollectible, kVoid };
enum class BillingReason : uint8_t {
  kUnknown,
  kSubscriptionCreate,
  kSubscriptionCycle,
  kSubscriptionUpdate,
  kSubscriptionThreshold,
  kManual,
};
enum class InvoicePaymentStatus : uint8_t { kUnknown, kOpen, kPaid, kCanceled };
enum class SessionMode : uint8_t { kUnknown, kPayment, kSubscription, kSetup };
enum class SessionStatus : uint8_t { kUnknown, kOpen, kComplete, kExpired };
enum class PaymentStatus : uint8_t { kUnknown, kPaid, kUnpaid, kNoPaymentRequired };
enum class RefundStatus : uint8_t {
  kUnknown,
  kPending,
  kRequiresAction,
  kSucceeded,
  kFailed,
  kCanceled,
};
enum class DisputeStatus : uint8_t {
  kUnknown,
  kNeedsResponse,
  kUnderReview,
  kWon,
  kLost,
  kWarningNeedsResponse,  // an inquiry: the bank asks, and no money has left yet
  kWarningUnderReview,
  kWarningClosed,
  kPrevented,
};

// By the word; kUnknown for any other. The second argument only says of which kind.
SubscriptionStatus Meaning(std::string_view word, SubscriptionStatus);
InvoiceStatus Meaning(std::string_view word, InvoiceStatus);
BillingReason Meaning(std::string_view word, BillingReason);
InvoicePaymentStatus Meaning(std::string_view word, InvoicePaymentStatus);
SessionMode Meaning(std::string_view word, SessionMode);
SessionStatus Meaning(std::string_view word, SessionStatus);
PaymentStatus Meaning(std::string_view word, PaymentStatus);
RefundStatus Meaning(std::string_view word, RefundStatus);
DisputeStatus Meaning(std::string_view word, DisputeStatus);

// WordOf<SubscriptionStatus>("active"): also what was stored is read with it.
template <typename E>
Word<E> WordOf(std::string_view text) {
  return {Meaning(text, E::kUnknown), std::string(text)};
}

}  // namespace pontage::stripe
