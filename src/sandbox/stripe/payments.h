#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "codec/json.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/api_error.h"

namespace pontage::sandbox::stripe {

// Who pays, as billing_details and receipts say it.
struct Payer {
  std::string customer;  // empty: a guest
  std::string email;
  std::string name;
};

enum class Outcome : uint8_t { kPaid, kFailed, kActionFailed, kPending };
// What becomes of a payment with that card; `renewal`: nobody is there.
Outcome OutcomeOf(Card card, bool renewal);
// The 402 of a payment that failed with that outcome; `what` was to be paid: "invoice".
std::unexpected<ApiError> CardError(Outcome outcome, const std::string& what);

// A payment method with that card. Its id.
std::string AddCard(Account& account, const Payer& payer, Card card);
// The card of a payment method; a good one for "".
Card CardOf(const Account& account, std::string_view payment_method);

struct IntentTerms {
  int64_t amount = 0;  // in the currency's smallest unit
  std::string currency;
  Payer payer;
  std::string description;
  codec::Json metadata = codec::Json::Object();
};
// A payment intent that waits for a payment method; payment_intent.created.
codec::Json& AddIntent(Account& account, const IntentTerms& terms);

// The payment with `method` succeeds: a charge, and the events of both.
void Succeed(Account& account, codec::Json& intent, const std::string& method);
// It fails, by the bank (a failed charge) or, with `by_check`, in 3-D Secure (no charge).
void Decline(Account& account, codec::Json& intent, const std::string& method, bool by_check);
// It will be decided later: a pending charge.
void Suspend(Account& account, codec::Json& intent, const std::string& method);

// Gives `amount` of a charge back: the refund, with its events. The caller has checked the amount.
codec::Json& AddRefund(Account& account, codec::Json& charge, int64_t amount, codec::Json reason,
                       codec::Json metadata);

}  // namespace pontage::sandbox::stripe
