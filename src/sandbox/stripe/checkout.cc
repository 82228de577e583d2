#include "sandbox/stripe/checkout.h"

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "sandbox/stripe/customers.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/invoices.h"
#include "sandbox/stripe/payments.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr Millis kDelayedFor{int64_t{3} * 86'400'000};
constexpr size_t kMaxEmail = 254;  // RFC 5321 with its errata
constexpr size_t kMaxName = 150;

std::unexpected<ApiError> CardFault(Outcome outcome) {
  ApiError error;
  error.status = 402;
  error.type = "card_error";
  const bool check = outcome == Outcome::kActionFailed;
  error.code = check ? "payment_intent_authentication_failure" : "card_declined";
  error.message = check ? "We are unable to authenticate your payment method. Please choose a "
                          "different payment method and try again."
                        : "Your card was declined. Please try a different card.";
  return std::unexpected(std::move(error));
}

Answered<> CheckBuyer(const Buyer& buyer) {
  const size_t at = buyer.email.find('@');
  if (at == 0 || at == std::string::npos || at + 1 == buyer.email.size() ||
      buyer.email.size() > kMaxEmail || buyer.email.find_first_of(" \r\n") != std::string::npos) {
    return Refuse("email_invalid", "Your email is incomplete or invalid.", "email");
  }
  for (const std::string& text : {buyer.name, buyer.business, buyer.tax_id}) {
    if (text.size() > kMaxName) return Refuse("", "A name is too long.", "name");
  }
  return {};
}

// The buyer with what the session and its customer know already.
Buyer Complete(const Account& account, const Json& session, Buyer buyer) {
  const Json* customer = account.store.Find(Kind::kCustomer, TextOf(session, "customer"));
  if (customer != nullptr && buyer.name.empty()) buyer.name = TextOf(*customer, "name");
  if (customer != nullptr && !TextOf(*customer, "email").empty()) {
    buyer.email = TextOf(*customer, "email");
  } else if (const std::string given = TextOf(session, "customer_email"); !given.empty()) {
    buyer.email = given;
  }
  return buyer;
}

// Finds or makes the customer, where the session is one that has one.
void SettleCustomer(Account& account, const Json& session, SessionBook& book, const Buyer& buyer) {
  const std::string name = buyer.business.empty() ? buyer.name : buyer.business;
  if (book.customer.empty()) book.customer = TextOf(session, "customer");
  Json* customer = account.store.Find(Kind::kCustomer, book.customer);
  if (customer != nullptr) {
    if (!book.update_customer || name.empty()) return;
    const Json before = *customer;
    customer->Set("name", name);
    EmitUpdate(account, "customer.updated", before, *customer);
    return;
  }
  const bool guest = TextOf(session, "mode") == "payment" && !book.invoiced &&
                     TextOf(session, "customer_creation") != "always";
  if (guest) return;
  Json fields = Json::Object({{"email", buyer.email}});
  if (!name.empty()) fields.Set("name", name);
  book.customer = TextOf(AddCustomer(account, fields), "id");
}

Json TextOrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json CustomerDetails(const Buyer& buyer) {
  Json tax_ids = Json::Array();
  if (!buyer.tax_id.empty()) {
    const bool vat = buyer.tax_id.size() > 2 && buyer.tax_id[0] >= 'A' && buyer.tax_id[0] <= 'Z';
    tax_ids.Push(Json::Object({{"type", vat ? "eu_vat" : "us_ein"}, {"value", buyer.tax_id}}));
  }
  const Json address = Json::Object({{"city", nullptr},
                                     {"country", "US"},
                                     {"line1", nullptr},
                                     {"line2", nullptr},
                                     {"postal_code", nullptr},
                                     {"state", nullptr}});
  const std::string& name = buyer.business.empty() ? buyer.name : buyer.business;
  return Json::Object({{"address", address},
                       {"business_name", TextOrNull(buyer.business)},
                       {"email", buyer.email},
                       {"individual_name", TextOrNull(buyer.name)},
                       {"name", TextOrNull(name)},
                       {"phone", nullptr},
                       {"tax_exempt", "none"},
                       {"tax_ids", std::move(tax_ids)}});
}

Outcome PaySubscription(Account& account, const Json& session, SessionBook& book,
                        const std::string& method) {
  Json* subscription = account.store.Find(Kind::kSubscription, book.subscription);
  if (subscription == nullptr || IsOver(*subscription)) {
    SubscriptionTerms terms;
    terms.customer = book.customer;
    terms.payment_method = method;
    for (const Json& item : book.line_items) {
      const Json* price = account.store.Find(Kind::kPrice, TextOf(Member(item, "price"), "id"));
      terms.items.push_back({price, IntOf(item, "quantity")});
    }
    terms.metadata = book.metadata;
    terms.description = book.description;
    terms.trial_end = book.trial_end;
    if (book.trial_days > 0) {
      terms.trial_end = UnixMs::FromSeconds(account.Now() + book.trial_days * 86'400);
    }
    terms.when_trial_ends_without_card = book.when_trial_ends_without_card;
    terms.automatic_tax = IsTrue(Member(session, "automatic_tax"), "enabled");
    subscription = &AddSubscription(account, terms);
    book.subscription = TextOf(*subscription, "id");
    book.invoice = TextOf(*subscription, "latest_invoice");
  } else {
    subscription->Set("default_payment_method", method);
  }
  Json& invoice = *account.store.Find(Kind::kInvoice, book.invoice);
  if (TextOf(invoice, "status") == "paid") return Outcome::kPaid;
  const Outcome outcome = Collect(account, invoice, Attempt::kByBuyer);
  if (outcome == Outcome::kPending) SetStatus(account, *subscription, "active");
  return outcome;
}

std::vector<Json> OneOffLines(Account& account, const SessionBook& book) {
  std::vector<Json> lines;
  for (const Json& item : book.line_items) {
    LineTerms line;
    line.amount = IntOf(item, "amount_total");
    line.quantity = IntOf(item, "quantity");
    line.price = &Member(item, "price");
    line.description = TextOf(item, "description");
    line.period_start = account.Now();
    line.period_end = account.Now();
    lines.push_back(NewLine(account, line));
  }
  return lines;
}

Outcome PayInvoiced(Account& account, const Json& session, SessionBook& book,
                    const std::string& method) {
  Json* invoice = account.store.Find(Kind::kInvoice, book.invoice);
  if (invoice == nullptr) {
    InvoiceTerms terms;
    terms.customer = book.customer;
    terms.currency = TextOf(session, "currency");
    terms.reason = "manual";
    terms.lines = OneOffLines(account, book);
    terms.period_start = account.Now();
    terms.period_end = account.Now();
    terms.automatic_tax = IsTrue(Member(session, "automatic_tax"), "enabled");
    terms.metadata = book.invoice_metadata;
    invoice = &AddInvoice(account, terms);
    book.invoice = TextOf(*invoice, "id");
    Finalize(account, *invoice);
    book.intent = account.IntentOf(book.invoice);
    Json* intent = account.store.Find(Kind::kPaymentIntent, book.intent);
    if (intent != nullptr) intent->Set("metadata", book.metadata);
  }
  invoice->Set("default_payment_method", method);
  if (TextOf(*invoice, "status") == "paid") return Outcome::kPaid;
  return Collect(account, *invoice, Attempt::kByBuyer);
}

Outcome PayOnce(Account& account, const Json& session, SessionBook& book, const Buyer& buyer,
                const std::string& method) {
  if (IntOf(session, "amount_total") == 0) return Outcome::kPaid;
  Json* intent = account.store.Find(Kind::kPaymentIntent, book.intent);
  if (intent == nullptr) {
    IntentTerms terms;
    terms.amount = IntOf(session, "amount_total");
    terms.currency = TextOf(session, "currency");
    terms.payer = {book.customer, buyer.email, buyer.name};
    terms.description = book.description;
    terms.metadata = book.metadata;
    intent = &AddIntent(account, terms);
    book.intent = TextOf(*intent, "id");
  }
  const Outcome outcome = OutcomeOf(*buyer.card, false);
  if (outcome == Outcome::kPaid) Succeed(account, *intent, method);
  if (outcome == Outcome::kPending) Suspend(account, *intent, method);
  if (outcome == Outcome::kFailed || outcome == Outcome::kActionFailed) {
    Decline(account, *intent, method, outcome == Outcome::kActionFailed);
  }
  return outcome;
}

void CompleteSession(Account& account, Json& session, SessionBook& book, const Buyer& buyer,
                     Outcome outcome) {
  const bool subscription = TextOf(session, "mode") == "subscription";
  const bool free = IntOf(session, "amount_total") == 0;
  session.Set("customer", TextOrNull(book.customer));
  session.Set("customer_details", CustomerDetails(buyer));
  session.Set("invoice", TextOrNull(book.invoice));
  // In subscription mode it is the invoice that has a payment intent.
  session.Set("payment_intent", TextOrNull(subscription ? "" : book.intent));
  session.Set("payment_status", free                        ? "no_payment_required"
                                : outcome == Outcome::kPaid ? "paid"
                                                            : "unpaid");
  session.Set("status", "complete");
  session.Set("subscription", TextOrNull(book.subscription));
  session.Set("url", nullptr);
  if (IsTrue(Member(session, "automatic_tax"), "enabled")) {
    session.Find("automatic_tax")->Set("status", "complete");
  }
  if (outcome == Outcome::kPending) book.decided_at = account.clock.Now() + kDelayedFor;
  PlanSession(account, session);
  Emit(account, "checkout.session.completed", session);
}

}  // namespace

Answered<> Pay(Account& account, Json& session, const Buyer& typed) {
  if (TextOf(session, "status") != "open") {
    return Refuse("", "This session is " + TextOf(session, "status") + ".");
  }
  const Buyer buyer = Complete(account, session, typed);
  PTG_RUN(CheckBuyer(buyer));
  SessionBook& book = account.sessions[TextOf(session, "id")];
  const bool subscription = TextOf(session, "mode") == "subscription";
  const bool free = IntOf(session, "amount_total") == 0;
  const bool needs_card =
      !free || (subscription && TextOf(session, "payment_method_collection") == "always");
  if (needs_card && !buyer.card) return Refuse("", "A payment method is needed.", "outcome");
  // A trial takes the card, and hears only at its end what it is worth; one that is declined
  // outright is found out at once.
  if (free && buyer.card && *buyer.card != Card::kGood && *buyer.card != Card::kDelayed &&
      *buyer.card != Card::kDeclinesRenewals) {
    return CardFault(OutcomeOf(*buyer.card, false));
  }
  SettleCustomer(account, session, book, buyer);
  std::string method;
  if (buyer.card) method = AddCard(account, {book.customer, buyer.email, buyer.name}, *buyer.card);
  Outcome outcome = Outcome::kPaid;
  if (subscription) {
    outcome = PaySubscription(account, session, book, method);
  } else if (book.invoiced) {
    outcome = PayInvoiced(account, session, book, method);
  } else {
    outcome = PayOnce(account, session, book, buyer, method);
  }
  if (outcome == Outcome::kFailed || outcome == Outcome::kActionFailed) return CardFault(outcome);
  CompleteSession(account, session, book, buyer, outcome);
  return {};
}

void ExpireSession(Account& account, Json& session) {
  session.Set("status", "expired");
  session.Set("url", nullptr);
  PlanSession(account, session);
  Emit(account, "checkout.session.expired", session);
}

void Decide(Account& account, Json& session, bool good) {
  SessionBook& book = account.sessions[TextOf(session, "id")];
  book.decided_at.reset();
  PlanSession(account, session);
  Json* invoice = account.store.Find(Kind::kInvoice, book.invoice);
  const std::string id = invoice != nullptr ? account.IntentOf(book.invoice) : book.intent;
  Json* intent = account.store.Find(Kind::kPaymentIntent, id);
  if (intent == nullptr || TextOf(*intent, "status") != "processing") return;
  const std::string method = TextOf(*intent, "payment_method");
  if (good) {
    Succeed(account, *intent, method);
    if (invoice != nullptr) MarkPaid(account, *invoice);
    session.Set("payment_status", "paid");
    Emit(account, "checkout.session.async_payment_succeeded", session);
  } else {
    Decline(account, *intent, method, false);
    if (invoice != nullptr) MarkFailed(account, *invoice, false);
    Emit(account, "checkout.session.async_payment_failed", session);
  }
}

void PlanSession(Account& account, const Json& session) {
  const std::string id = TextOf(session, "id");
  std::optional<UnixMs> due;
  if (TextOf(session, "status") == "open") due = TimeOf(session, "expires_at");
  if (TextOf(session, "status") == "complete") due = account.sessions[id].decided_at;
  account.agenda.Set(id, due);
}

void RollSession(Account& account, Json& session) {
  if (TextOf(session, "status") == "open") return ExpireSession(account, session);
  Decide(account, session, true);
}

}  // namespace pontage::sandbox::stripe
