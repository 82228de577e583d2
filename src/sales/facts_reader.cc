#include "sales/facts_reader.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/try.h"

namespace pontage::sales {
namespace {

constexpr size_t kShown = 24;  // invoices of a purchase that are written down at a look

// As people are shown it.
license::InvoiceRow RowOf(const stripe::Invoice& invoice) {
  license::InvoiceRow row;
  row.id = invoice.id.str();
  row.number = invoice.number;
  row.status = invoice.status.text;
  row.currency = invoice.currency;
  row.due = invoice.amount_due.count();
  row.paid = invoice.amount_paid.count();
  row.url = invoice.hosted_invoice_url;
  row.created = invoice.created;
  return row;
}

}  // namespace

Task<PurchaseFacts> FactsReader::Read(std::string id, Deadline by) {
  if (!id.starts_with("cs_")) {
    const stripe::SubscriptionId subscription(id);
    co_return co_await OfSubscription(subscription, by);
  }
  const stripe::SessionId session_id(id);
  PTG_CO_TRY(stripe::CheckoutSession session, co_await stripe_.RetrieveCheckout(session_id, by));
  co_return co_await OfTerm(std::move(session), by);
}

Task<FactsReader::MoneyBack> FactsReader::AskMoneyBack(const std::string& purchase,
                                                       std::vector<std::string> payments,
                                                       stripe::MinorUnits paid, Deadline by) {
  MoneyBack back;
  std::vector<stripe::Refund> refunds;
  for (const std::string& payment : payments) {
    const stripe::PaymentIntentId id(payment);
    PTG_CO_TRY(const std::vector<stripe::Refund> some, co_await stripe_.ListRefunds(id, by));
    refunds.insert(refunds.end(), some.begin(), some.end());
  }
  back.refunded = IsWhollyRefunded(paid, refunds);
  back.refunds = std::move(refunds);
  const auto read = [purchase](db::Tx& tx) { return DisputedPayments(tx, purchase); };
  PTG_CO_TRY(const std::vector<std::string> told, co_await database_.Read(read, by));
  for (const std::string& payment : told) {
    if (std::ranges::find(payments, payment) == payments.end()) payments.push_back(payment);
  }
  for (const std::string& payment : payments) {
    const stripe::PaymentIntentId id(payment);
    PTG_CO_TRY(const std::vector<stripe::Dispute> some, co_await stripe_.ListDisputes(id, by));
    back.disputed = back.disputed || std::ranges::any_of(some, [](const stripe::Dispute& one) {
                      return KeepsShut(one.status.value);
                    });
  }
  co_return back;
}

// They are part of the invoice already where it has not more than a few.
Task<std::vector<std::string>> FactsReader::PaymentsOf(const stripe::Invoice& invoice,
                                                       Deadline by) {
  std::vector<stripe::InvoicePayment> all;
  if (invoice.payments) {
    all = *invoice.payments;
  } else {
    PTG_CO_TRY(all, co_await stripe_.PaymentsOfInvoice(invoice.id, by));
  }
  std::vector<std::string> out;
  for (const stripe::InvoicePayment& one : all) {
    if (!one.payment_intent.empty()) out.push_back(one.payment_intent.str());
  }
  co_return out;
}

Task<PurchaseFacts> FactsReader::OfSubscription(const stripe::SubscriptionId& id, Deadline by) {
  PTG_CO_TRY(const stripe::Subscription subscription,
             co_await stripe_.RetrieveSubscription(id, by));
  PTG_CO_TRY(const std::vector<stripe::Invoice> invoices,
             co_await stripe_.ListInvoices(id, false, by));
  PTG_CO_TRY(const stripe::Customer customer,
             co_await stripe_.RetrieveCustomer(subscription.customer, by));
  const PlanMap prices = shop_.Prices();
  const Projection projection = Project(subscription, invoices, prices);
  PurchaseFacts facts;
  facts.id = id.str();
  facts.customer = subscription.customer.str();
  facts.email = customer.email;
  facts.subscription = id.str();
  facts.status = subscription.status.text;
  facts.period_end = projection.period_end;
  facts.cancel_at = projection.cancel_at.value_or(UnixMs());
  // Newest first; those before were seen when they were new.
  for (const stripe::Invoice& one : std::span(invoices).first(std::min(invoices.size(), kShown))) {
    facts.invoices.push_back(RowOf(one));
  }
  MoneyBack back;
  if (const stripe::Invoice* latest = LatestPaid(invoices)) {
    facts.invoice_url = latest->hosted_invoice_url;
    facts.invoice_pdf = latest->invoice_pdf;
    if (facts.email.empty()) facts.email = latest->customer_email;
    PTG_CO_TRY(facts.payments, co_await PaymentsOf(*latest, by));
    PTG_CO_TRY(back, co_await AskMoneyBack(facts.id, facts.payments, latest->amount_paid, by));
    facts.refunds = back.refunds;
  }
  for (const ProjectedItem& item : projection.items) {
    SoldItem sold;
    sold.origin = "sub:" + facts.id + ":" + item.id.str();
    sold.plan = item.plan;
    sold.facts = FactsOf(projection, item, shop_.grace);
    sold.facts.refunded = back.refunded;
    sold.facts.disputed = back.disputed;
    facts.items.push_back(std::move(sold));
  }
  co_return facts;
}

Task<PurchaseFacts> FactsReader::OfTerm(stripe::CheckoutSession session, Deadline by) {
  PurchaseFacts facts;
  facts.id = session.id.str();
  facts.customer = session.customer.str();
  facts.email = session.email;
  facts.status = session.payment_status.text;
  const bool paid = session.payment_status.value == stripe::PaymentStatus::kPaid ||
                    session.payment_status.value == stripe::PaymentStatus::kNoPaymentRequired;
  if (session.mode.value != stripe::SessionMode::kPayment || !paid) co_return facts;
  UnixMs paid_at = session.created;
  if (!session.invoice.empty()) {
    PTG_CO_TRY(const stripe::Invoice invoice,
               co_await stripe_.RetrieveInvoice(session.invoice, by));
    paid_at = invoice.paid_at.value_or(paid_at);
    facts.invoice_url = invoice.hosted_invoice_url;
    facts.invoice_pdf = invoice.invoice_pdf;
    facts.invoices.push_back(RowOf(invoice));
  } else if (session.amount_total) {
    license::InvoiceRow row;
    row.id = facts.id;
    row.status = session.payment_status.text;
    row.currency = session.currency;
    row.due = row.paid = session.amount_total->count();
    row.created = session.created;
    facts.invoices.push_back(std::move(row));
  }
  if (!session.payment_intent.empty()) facts.payments.push_back(session.payment_intent.str());
  PTG_CO_TRY(const MoneyBack back,
             co_await AskMoneyBack(facts.id, facts.payments,
                                   session.amount_total.value_or(stripe::MinorUnits()), by));
  facts.refunds = back.refunds;
  const PlanMap prices = shop_.Prices();
  std::string plan(stripe::InMetadata(session.metadata, "plan"));
  if (session.line_items && !session.line_items->empty()) {
    const std::string* found = prices.Find(session.line_items->front());
    plan = found != nullptr ? *found : "";
  }
  SoldItem sold;
  sold.origin = "session:" + facts.id;
  sold.plan = plan;
  const SoldPlan* terms = shop_.Find(plan);
  sold.facts = FactsOfTerm(paid_at, terms == nullptr ? 0 : terms->days, shop_.grace);
  sold.facts.refunded = back.refunded;
  sold.facts.disputed = back.disputed;
  facts.items.push_back(std::move(sold));
  co_return facts;
}

}  // namespace pontage::sales
