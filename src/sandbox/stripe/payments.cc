#include "sandbox/stripe/payments.h"

#include <utility>

#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/shapes.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

// As Stripe's test cards end.
std::string_view LastFour(Card card) {
  switch (card) {
    case Card::kDeclined:
      return "0002";
    case Card::kDeclinesRenewals:
      return "0341";
    case Card::kFailsCheck:
      return "3220";
    case Card::kGood:
    case Card::kDelayed:
      return "4242";
  }
  return "4242";
}

Json TextOrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

std::string NewTransaction(Account& account) { return NewId("txn_3", kLongId - 1, account.rng); }

void MarkCharge(Account& account, Json& charge, bool good) {
  charge.Set("status", good ? "succeeded" : "failed");
  charge.Set("paid", good);
  charge.Set("captured", good);
  if (good) {
    charge.Set("amount_captured", Member(charge, "amount"));
    charge.Set("balance_transaction", NewTransaction(account));
    charge.Set("receipt_url", account.url + "/receipts/" + TextOf(charge, "id"));
    return;
  }
  charge.Set("failure_code", "card_declined");
  charge.Set("failure_message", "Your card was declined.");
  Json& outcome = *charge.Find("outcome");
  outcome.Set("network_status", "declined_by_network");
  outcome.Set("reason", "generic_decline");
  outcome.Set("seller_message", "The bank did not return any further details with this decline.");
  outcome.Set("type", "issuer_declined");
}

// A pending charge of what the intent asks for.
Json& AddCharge(Account& account, Json& intent, const std::string& method) {
  Json charge = Shape(Kind::kCharge);
  const std::string id = NewId("ch_3", kLongId - 1, account.rng);
  charge.Set("id", id);
  for (const char* same : {"amount", "currency", "customer", "description", "metadata"}) {
    charge.Set(same, Member(intent, same));
  }
  charge.Set("created", account.Now());
  charge.Set("payment_intent", Member(intent, "id"));
  if (!method.empty()) charge.Set("payment_method", method);
  if (const Json* pm = account.store.Find(Kind::kPaymentMethod, method)) {
    charge.Set("billing_details", Member(*pm, "billing_details"));
    charge.Find("payment_method_details")
        ->Find("card")
        ->Set("last4", Member(Member(*pm, "card"), "last4"));
  }
  intent.Set("latest_charge", id);
  return account.store.Add(Kind::kCharge, std::move(charge));
}

// The charge that waits to be decided, or a new one.
Json& OpenCharge(Account& account, Json& intent, const std::string& method) {
  Json* latest = account.store.Find(Kind::kCharge, TextOf(intent, "latest_charge"));
  if (latest != nullptr && TextOf(*latest, "status") == "pending") return *latest;
  return AddCharge(account, intent, method);
}

Json PaymentError(const Account& account, const std::string& method, bool by_check) {
  const Json* pm = account.store.Find(Kind::kPaymentMethod, method);
  Json error = by_check
                   ? Json::Object({{"code", "payment_intent_authentication_failure"},
                                   {"message",
                                    "The provided PaymentMethod has failed authentication. You "
                                    "can provide payment_method_data or a new PaymentMethod to "
                                    "attempt to fulfill this PaymentIntent again."},
                                   {"type", "invalid_request_error"}})
                   : Json::Object({{"code", "card_declined"},
                                   {"decline_code", "generic_decline"},
                                   {"message", "Your card was declined."},
                                   {"type", "card_error"}});
  if (pm != nullptr) error.Set("payment_method", *pm);
  return error;
}

void SetStatus(Json& intent, const char* status) {
  intent.Set("status", status);
  intent.Set("next_action", nullptr);
  intent.Set("processing", nullptr);
}

}  // namespace

Outcome OutcomeOf(Card card, bool renewal) {
  switch (card) {
    case Card::kGood:
      return Outcome::kPaid;
    case Card::kDeclined:
      return Outcome::kFailed;
    case Card::kDeclinesRenewals:
      return renewal ? Outcome::kFailed : Outcome::kPaid;
    case Card::kFailsCheck:
      return Outcome::kActionFailed;
    case Card::kDelayed:
      return renewal ? Outcome::kPaid : Outcome::kPending;
  }
  return Outcome::kPaid;
}

std::unexpected<ApiError> CardError(Outcome outcome, const std::string& what) {
  ApiError error;
  error.status = 402;
  error.type = "card_error";
  if (outcome == Outcome::kActionFailed) {
    error.code = what + "_payment_intent_requires_action";
    error.message = "Payment for this " + what +
                    " requires additional user action before it can be completed successfully.";
  } else {
    error.code = "card_declined";
    error.decline_code = "generic_decline";
    error.message = "Your card was declined.";
  }
  return std::unexpected(std::move(error));
}

std::string AddCard(Account& account, const Payer& payer, Card card) {
  Json method = Shape(Kind::kPaymentMethod);
  std::string id = NewId("pm_1", kLongId - 1, account.rng);
  method.Set("id", id);
  method.Set("created", account.Now());
  method.Set("customer", TextOrNull(payer.customer));
  method.Find("card")->Set("last4", LastFour(card));
  method.Find("billing_details")->Set("email", TextOrNull(payer.email));
  method.Find("billing_details")->Set("name", TextOrNull(payer.name));
  account.store.Add(Kind::kPaymentMethod, std::move(method));
  account.cards[id] = card;
  return id;
}

Card CardOf(const Account& account, std::string_view payment_method) {
  const auto found = account.cards.find(payment_method);
  return found == account.cards.end() ? Card::kGood : found->second;
}

Json& AddIntent(Account& account, const IntentTerms& terms) {
  Json intent = Shape(Kind::kPaymentIntent);
  const std::string id = NewId("pi_3", kLongId - 1, account.rng);
  intent.Set("id", id);
  intent.Set("amount", terms.amount);
  intent.Set("client_secret", id + "_secret_" + NewId("", kLongId, account.rng));
  intent.Set("created", account.Now());
  intent.Set("currency", terms.currency);
  intent.Set("customer", TextOrNull(terms.payer.customer));
  intent.Set("description", TextOrNull(terms.description));
  intent.Set("metadata", terms.metadata);
  Json& added = account.store.Add(Kind::kPaymentIntent, std::move(intent));
  Emit(account, "payment_intent.created", added);
  return added;
}

void Succeed(Account& account, Json& intent, const std::string& method) {
  Json& charge = OpenCharge(account, intent, method);
  MarkCharge(account, charge, true);
  SetStatus(intent, "succeeded");
  intent.Set("payment_method", method);
  intent.Set("amount_received", Member(intent, "amount"));
  intent.Set("last_payment_error", nullptr);
  Emit(account, "payment_intent.succeeded", intent);
  Emit(account, "charge.succeeded", charge);
}

void Decline(Account& account, Json& intent, const std::string& method, bool by_check) {
  Json error = PaymentError(account, method, by_check);
  if (by_check) {
    SetStatus(intent, "requires_action");
    intent.Set("payment_method", method);
    const Json sdk = Json::Object({{"type", "three_d_secure_redirect"}});
    intent.Set("next_action", Json::Object({{"type", "use_stripe_sdk"}, {"use_stripe_sdk", sdk}}));
    Emit(account, "payment_intent.requires_action", intent);
  } else {
    Json& charge = OpenCharge(account, intent, method);
    MarkCharge(account, charge, false);
    error.Set("charge", Member(charge, "id"));
    Emit(account, "charge.failed", charge);
  }
  SetStatus(intent, "requires_payment_method");
  intent.Set("last_payment_error", std::move(error));
  intent.Set("payment_method", nullptr);
  Emit(account, "payment_intent.payment_failed", intent);
}

void Suspend(Account& account, Json& intent, const std::string& method) {
  const Json& charge = AddCharge(account, intent, method);
  SetStatus(intent, "processing");
  intent.Set("payment_method", method);
  Emit(account, "payment_intent.processing", intent);
  Emit(account, "charge.pending", charge);
}

Json& AddRefund(Account& account, Json& charge, int64_t amount, Json reason, Json metadata) {
  Json shape = Shape(Kind::kRefund);
  shape.Set("id", NewId("re_3", kLongId - 1, account.rng));
  shape.Set("amount", amount);
  shape.Set("balance_transaction", NewTransaction(account));
  shape.Set("charge", Member(charge, "id"));
  shape.Set("created", account.Now());
  shape.Set("currency", Member(charge, "currency"));
  shape.Set("customer", Member(charge, "customer"));
  shape.Set("metadata", std::move(metadata));
  shape.Set("payment_intent", Member(charge, "payment_intent"));
  shape.Set("payment_method", Member(charge, "payment_method"));
  shape.Set("reason", std::move(reason));
  Json& refund = account.store.Add(Kind::kRefund, std::move(shape));
  const Json before = charge;
  const int64_t refunded = IntOf(charge, "amount_refunded") + amount;
  charge.Set("amount_refunded", refunded);
  charge.Set("refunded", refunded == IntOf(charge, "amount"));
  Emit(account, "refund.created", refund);
  EmitUpdate(account, "charge.refunded", before, charge);
  // The bank's reference comes a moment later.
  const Json as_created = refund;
  Json& card = *refund.Find("destination_details")->Find("card");
  card.Set("reference", "2467" + std::to_string(account.store.ids(Kind::kRefund).size()));
  card.Set("reference_status", "available");
  EmitUpdate(account, "refund.updated", as_created, refund);
  return refund;
}

}  // namespace pontage::sandbox::stripe
