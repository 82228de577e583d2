#include "sandbox/stripe/invoices.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/shapes.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr int64_t kHour = 3'600;
constexpr int64_t kDay = 86'400;
// How long after each failed attempt the next one comes; the fourth failure is the last.
constexpr int64_t kRetryAfter[] = {3 * kDay, 5 * kDay, 7 * kDay};

Json LineParent(Account& account, const LineTerms& terms) {
  if (terms.subscription.empty()) {
    const Json details =
        Json::Object({{"invoice_item", NewId("ii_1", kLongId - 1, account.rng)},
                      {"proration", false},
                      {"proration_details", Json::Object({{"credited_items", nullptr}})},
                      {"subscription", nullptr}});
    return Json::Object({{"invoice_item_details", details},
                         {"subscription_item_details", nullptr},
                         {"type", "invoice_item_details"}});
  }
  const Json item = terms.proration ? Json(NewId("ii_1", kLongId - 1, account.rng)) : Json(nullptr);
  const Json details =
      Json::Object({{"invoice_item", item},
                    {"proration", terms.proration},
                    {"proration_details", Json::Object({{"credited_items", nullptr}})},
                    {"subscription", terms.subscription},
                    {"subscription_item", terms.item}});
  return Json::Object({{"invoice_item_details", nullptr},
                       {"subscription_item_details", details},
                       {"type", "subscription_item_details"}});
}

Json ParentOf(const Account& account, const std::string& subscription) {
  const Json* found = account.store.Find(Kind::kSubscription, subscription);
  if (found == nullptr) return nullptr;
  // A snapshot: what changes on the subscription later does not come here.
  const Json details =
      Json::Object({{"metadata", Member(*found, "metadata")}, {"subscription", subscription}});
  return Json::Object({{"quote_details", nullptr},
                       {"subscription_details", details},
                       {"type", "subscription_details"}});
}

void SetTransition(Json& invoice, std::string key, int64_t at) {
  invoice.Find("status_transitions")->Set(std::move(key), at);
}

void SetDue(Json& invoice, int64_t due) {
  invoice.Set("amount_due", std::max<int64_t>(due, 0));
  invoice.Set("amount_remaining", std::max<int64_t>(due, 0));
}

Json& AddInvoicePayment(Account& account, const Json& invoice, const std::string& intent) {
  Json payment = Shape(Kind::kInvoicePayment);
  payment.Set("id", NewId("inpay_1", kLongId - 1, account.rng));
  payment.Set("amount_requested", Member(invoice, "amount_due"));
  payment.Set("created", account.Now());
  payment.Set("currency", Member(invoice, "currency"));
  payment.Set("invoice", Member(invoice, "id"));
  payment.Find("payment")->Set("payment_intent", intent);
  return account.store.Add(Kind::kInvoicePayment, std::move(payment));
}

Json* DefaultPayment(Account& account, const std::string& invoice) {
  return account.store.Find(Kind::kInvoicePayment, account.invoices[invoice].payment);
}

// Moves what the customer has in credit, or owes, into the invoice.
void ApplyBalance(Account& account, Json& invoice) {
  Json* customer = account.store.Find(Kind::kCustomer, TextOf(invoice, "customer"));
  if (customer == nullptr) return;
  const int64_t starting = IntOf(*customer, "balance");
  const int64_t due = IntOf(invoice, "total") + starting;
  invoice.Set("starting_balance", starting);
  invoice.Set("ending_balance", std::min<int64_t>(due, 0));
  SetDue(invoice, due);
  const Json before = *customer;
  customer->Set("balance", std::min<int64_t>(due, 0));
  EmitUpdate(account, "customer.updated", before, *customer);
}

// A draft is finalized by itself, and an open invoice tried again, at the time it says.
void PlanInvoice(Account& account, const Json& invoice) {
  const std::string status = TextOf(invoice, "status");
  const bool draft = status == "draft" && IsTrue(invoice, "auto_advance");
  std::optional<UnixMs> due;
  if (draft) due = TimeOf(invoice, "automatically_finalizes_at");
  if (status == "open") due = TimeOf(invoice, "next_payment_attempt");
  account.agenda.Set(TextOf(invoice, "id"), due);
}

void TellFailed(Account& account, const Json& invoice, bool by_check) {
  if (by_check) Emit(account, "invoice.payment_action_required", invoice);
  Emit(account, "invoice.payment_failed", invoice);
}

// What an invoice that is void took from the customer's balance, or paid of his debts.
void GiveBackBalance(Account& account, const Json& invoice) {
  const int64_t taken = IntOf(invoice, "starting_balance") - IntOf(invoice, "ending_balance");
  Json* customer = account.store.Find(Kind::kCustomer, TextOf(invoice, "customer"));
  if (customer == nullptr || IsTrue(*customer, "deleted") || taken == 0) return;
  const Json before = *customer;
  customer->Set("balance", IntOf(*customer, "balance") + taken);
  EmitUpdate(account, "customer.updated", before, *customer);
}

}  // namespace

std::string MethodFor(const Account& account, const Json& invoice) {
  std::string method = TextOf(invoice, "default_payment_method");
  const Json& details = Member(Member(invoice, "parent"), "subscription_details");
  const Json* subscription =
      account.store.Find(Kind::kSubscription, TextOf(details, "subscription"));
  if (method.empty() && subscription != nullptr) method = MethodOf(account, *subscription);
  const Json* customer = account.store.Find(Kind::kCustomer, TextOf(invoice, "customer"));
  if (method.empty() && customer != nullptr) {
    method = TextOf(Member(*customer, "invoice_settings"), "default_payment_method");
  }
  return method;
}

Json NewLine(Account& account, const LineTerms& terms) {
  const Json& price = *terms.price;
  const Json details =
      Json::Object({{"price", Member(price, "id")}, {"product", Member(price, "product")}});
  Json line = InvoiceLineShape();
  line.Set("id", NewId("il_1", kLongId - 1, account.rng));
  line.Set("amount", terms.amount);
  line.Set("currency", Member(price, "currency"));
  line.Set("description", terms.description);
  line.Set("discountable", !terms.proration);
  line.Set("metadata", terms.metadata);
  line.Set("parent", LineParent(account, terms));
  line.Set("period", Json::Object({{"end", terms.period_end}, {"start", terms.period_start}}));
  line.Set("pricing",
           Json::Object({{"price_details", details},
                         {"type", "price_details"},
                         {"unit_amount_decimal", Member(price, "unit_amount_decimal")}}));
  line.Set("quantity", terms.quantity);
  line.Set("quantity_decimal", std::to_string(terms.quantity));
  if (!terms.subscription.empty()) line.Set("subscription", terms.subscription);
  line.Set("subtotal", terms.amount);
  return line;
}

Json& AddInvoice(Account& account, const InvoiceTerms& terms) {
  Json invoice = Shape(Kind::kInvoice);
  const std::string id = NewId("in_1", kLongId - 1, account.rng);
  invoice.Set("id", id);
  if (const Json* customer = account.store.Find(Kind::kCustomer, terms.customer)) {
    invoice.Set("customer", terms.customer);
    for (const char* key : {"address", "email", "name", "phone", "shipping"}) {
      invoice.Set("customer_" + std::string(key), Member(*customer, key));
    }
  }
  if (terms.automatic_tax) {
    Json& tax = *invoice.Find("automatic_tax");
    tax.Set("enabled", true);
    tax.Set("liability", Json::Object({{"type", "self"}}));
    tax.Set("provider", "stripe");
    tax.Set("status", "complete");
  }
  invoice.Set("automatically_finalizes_at", account.Now() + kHour);
  invoice.Set("billing_reason", terms.reason);
  invoice.Set("created", account.Now());
  invoice.Set("currency", terms.currency);
  if (!terms.payment_method.empty()) invoice.Set("default_payment_method", terms.payment_method);
  int64_t total = 0;
  std::vector<Json> lines = terms.lines;
  for (Json& line : lines) {
    line.Set("invoice", id);
    total += IntOf(line, "amount");
  }
  invoice.Set("lines", WholeList(std::move(lines), "/v1/invoices/" + id + "/lines"));
  invoice.Set("metadata", terms.metadata);
  invoice.Set("next_payment_attempt", account.Now() + kHour);
  invoice.Set("parent", ParentOf(account, terms.subscription));
  invoice.Set("period_end", terms.period_end);
  invoice.Set("period_start", terms.period_start);
  for (const char* key : {"subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"}) {
    invoice.Set(key, total);
  }
  SetDue(invoice, total);
  Json& added = account.store.Add(Kind::kInvoice, std::move(invoice));
  Emit(account, "invoice.created", added);
  PlanInvoice(account, added);
  return added;
}

void Finalize(Account& account, Json& invoice) {
  const std::string id = TextOf(invoice, "id");
  ApplyBalance(account, invoice);
  Json* customer = account.store.Find(Kind::kCustomer, TextOf(invoice, "customer"));
  if (customer != nullptr) {
    const int64_t sequence = IntOf(*customer, "next_invoice_sequence");
    std::string digits = std::to_string(sequence);
    digits.insert(0, digits.size() < 4 ? 4 - digits.size() : 0, '0');
    invoice.Set("number", TextOf(*customer, "invoice_prefix") + '-' + digits);
    customer->Set("next_invoice_sequence", sequence + 1);
  }
  invoice.Set("automatically_finalizes_at", nullptr);
  invoice.Set("effective_at", account.Now());
  invoice.Set("hosted_invoice_url", account.url + "/invoices/" + id);
  invoice.Set("invoice_pdf", account.url + "/invoices/" + id + "/pdf");
  invoice.Set("next_payment_attempt", nullptr);
  invoice.Set("status", "open");
  SetTransition(invoice, "finalized_at", account.Now());
  Emit(account, "invoice.finalized", invoice);
  const int64_t due = IntOf(invoice, "amount_due");
  if (due == 0) {
    MarkPaid(account, invoice);
    return;
  }
  IntentTerms terms;
  terms.amount = due;
  terms.currency = TextOf(invoice, "currency");
  terms.payer = {TextOf(invoice, "customer"), TextOf(invoice, "customer_email"),
                 TextOf(invoice, "customer_name")};
  const std::string reason = TextOf(invoice, "billing_reason");
  terms.description = reason == "subscription_create"   ? "Subscription creation"
                      : reason == "subscription_update" ? "Subscription update"
                                                        : "Payment for Invoice";
  const std::string intent = TextOf(AddIntent(account, terms), "id");
  account.invoice_of_intent[intent] = id;
  const std::string payment = TextOf(AddInvoicePayment(account, invoice, intent), "id");
  account.invoices[id] = {intent, payment};
  PlanInvoice(account, invoice);
}

void CollectLater(Account& account, Json& invoice) {
  if (TextOf(invoice, "status") != "open" || !IsTrue(invoice, "auto_advance")) return;
  invoice.Set("next_payment_attempt", account.Now() + kHour);
  PlanInvoice(account, invoice);
}

Outcome Collect(Account& account, Json& invoice, Attempt attempt, const std::string& with) {
  const std::string method = with.empty() ? MethodFor(account, invoice) : with;
  const std::string id = TextOf(invoice, "id");
  Json* intent = account.store.Find(Kind::kPaymentIntent, account.IntentOf(id));
  invoice.Set("attempted", true);
  const int64_t tried = IntOf(invoice, "attempt_count");
  const bool counts = tried == 0 || attempt != Attempt::kByHand;
  if (counts) invoice.Set("attempt_count", tried + 1);
  // Without a card nothing can be collected.
  Outcome outcome = Outcome::kFailed;
  if (!method.empty()) outcome = OutcomeOf(CardOf(account, method), attempt != Attempt::kByBuyer);
  if (intent == nullptr) outcome = Outcome::kPaid;
  switch (outcome) {
    case Outcome::kPaid:
      if (intent != nullptr) Succeed(account, *intent, method);
      MarkPaid(account, invoice);
      break;
    case Outcome::kFailed:
    case Outcome::kActionFailed: {
      const bool by_check = outcome == Outcome::kActionFailed;
      Decline(account, *intent, method, by_check);
      if (counts && TextOf(invoice, "status") == "open") {
        MarkFailed(account, invoice, by_check);
      } else {
        TellFailed(account, invoice, by_check);
      }
      break;
    }
    case Outcome::kPending:
      Suspend(account, *intent, method);
      PlanInvoice(account, invoice);
      break;
  }
  return outcome;
}

void MarkPaid(Account& account, Json& invoice) {
  const int64_t now = account.Now();
  if (Json* payment = DefaultPayment(account, TextOf(invoice, "id"))) {
    payment->Set("amount_paid", Member(invoice, "amount_due"));
    payment->Set("status", "paid");
    payment->Find("status_transitions")->Set("paid_at", now);
    Emit(account, "invoice_payment.paid", *payment);
  }
  invoice.Set("amount_paid", Member(invoice, "amount_due"));
  invoice.Set("amount_remaining", 0);
  invoice.Set("attempted", true);
  invoice.Set("auto_advance", false);
  invoice.Set("next_payment_attempt", nullptr);
  invoice.Set("status", "paid");
  SetTransition(invoice, "paid_at", now);
  PlanInvoice(account, invoice);
  Emit(account, "invoice.paid", invoice);
  Emit(account, "invoice.payment_succeeded", invoice);
  AfterPayment(account, invoice);
}

void MarkFailed(Account& account, Json& invoice, bool by_check) {
  const auto failed = static_cast<size_t>(std::max<int64_t>(IntOf(invoice, "attempt_count"), 1));
  // What was begun at the hosted page is not tried again by itself: its buyer is there.
  const std::string reason = TextOf(invoice, "billing_reason");
  const bool first = reason == "subscription_create" || reason == "manual";
  const bool again = !first && failed <= std::size(kRetryAfter);
  invoice.Set("next_payment_attempt",
              again ? Json(account.Now() + kRetryAfter[failed - 1]) : Json());
  if (!again) invoice.Set("auto_advance", false);
  TellFailed(account, invoice, by_check);
  PlanInvoice(account, invoice);
  AfterFailure(account, invoice, !first && !again);
}

void VoidInvoice(Account& account, Json& invoice) {
  const std::string id = TextOf(invoice, "id");
  if (Json* payment = DefaultPayment(account, id)) {
    payment->Set("status", "canceled");
    payment->Find("status_transitions")->Set("canceled_at", account.Now());
  }
  if (Json* intent = account.store.Find(Kind::kPaymentIntent, account.IntentOf(id))) {
    intent->Set("status", "canceled");
    intent->Set("canceled_at", account.Now());
    intent->Set("cancellation_reason", "void_invoice");
    Emit(account, "payment_intent.canceled", *intent);
  }
  invoice.Set("amount_remaining", 0);
  invoice.Set("auto_advance", false);
  invoice.Set("next_payment_attempt", nullptr);
  invoice.Set("status", "void");
  SetTransition(invoice, "voided_at", account.Now());
  PlanInvoice(account, invoice);
  Emit(account, "invoice.voided", invoice);
  GiveBackBalance(account, invoice);
}

void MarkUncollectible(Account& account, Json& invoice) {
  invoice.Set("auto_advance", false);
  invoice.Set("next_payment_attempt", nullptr);
  invoice.Set("status", "uncollectible");
  SetTransition(invoice, "marked_uncollectible_at", account.Now());
  PlanInvoice(account, invoice);
  Emit(account, "invoice.marked_uncollectible", invoice);
}

void RollInvoice(Account& account, Json& invoice) {
  if (TextOf(invoice, "status") == "draft") Finalize(account, invoice);
  if (TextOf(invoice, "status") == "open") Collect(account, invoice, Attempt::kByClock);
}

Json PaymentsOf(const Account& account, std::string_view invoice) {
  std::vector<Json> payments;
  const auto book = account.invoices.find(invoice);
  if (book != account.invoices.end()) {
    const Json* payment = account.store.Find(Kind::kInvoicePayment, book->second.payment);
    if (payment != nullptr) payments.push_back(*payment);
  }
  return WholeList(std::move(payments), "/v1/invoice_payments");
}

}  // namespace pontage::sandbox::stripe
