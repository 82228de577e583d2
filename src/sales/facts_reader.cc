#include "sales/facts_reader.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/log.h"
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

// A key that may not ask, or a question that is none there: no later try will have an answer, and a
// sale does not wait for it.
bool IsKeptFromUs(const Error& error) {
  return error.code() == Code::kForbidden || error.code() == Code::kNotFound;
}

void TellUnread(std::string_view what, const std::string& purchase, const Error& error) {
  Log(LogLevel::kWarn, "sales.kept_from_us",
      {{"what", what}, {"purchase", purchase}, {"detail", error.detail()}});
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
    const Result<std::vector<stripe::Refund>> some = co_await stripe_.ListRefunds(id, by);
    if (!some) {
      if (!IsKeptFromUs(some.error())) co_return Fail(some.error());
      back.refunds_unread = true;
      TellUnread("refunds", purchase, some.error());
      continue;
    }
    refunds.insert(refunds.end(), some->begin(), some->end());
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
    const Result<std::vector<stripe::Dispute>> some = co_await stripe_.ListDisputes(id, by);
    if (!some) {
      if (!IsKeptFromUs(some.error())) co_return Fail(some.error());
      back.disputes_unread = !told.empty();
      TellUnread("disputes", purchase, some.error());
      continue;
    }
    back.disputed = back.disputed || std::ranges::any_of(*some, [](const stripe::Dispute& one) {
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

// The plan of what was paid for, in place of one that is owed.
Task<> FactsReader::KeepPaid(stripe::PriceId paid, const PlanMap& prices, SoldItem& sold,
                             Deadline by) {
  const Result<stripe::Price> price = co_await stripe_.RetrievePrice(paid, by);
  if (!price) {
    if (!IsKeptFromUs(price.error())) co_return Fail(price.error());
    TellUnread("prices", sold.origin, price.error());
    co_return {};
  }
  const std::string* plan = prices.Find(*price);
  if (plan == nullptr) co_return {};
  sold.plan = *plan;
  sold.price = paid.str();
  co_return {};
}

Task<PurchaseFacts> FactsReader::OfSubscription(const stripe::SubscriptionId& id, Deadline by) {
  PTG_CO_TRY(const stripe::Subscription subscription,
             co_await stripe_.RetrieveSubscription(id, by));
  PTG_CO_TRY(const std::vector<stripe::Invoice> invoices,
             co_await stripe_.ListInvoices(id, false, by));
  Result<stripe::Customer> asked = co_await stripe_.RetrieveCustomer(subscription.customer, by);
  if (!asked && !IsKeptFromUs(asked.error())) co_return Fail(asked.error());
  if (!asked) TellUnread("customers", id.str(), asked.error());
  const stripe::Customer customer = asked ? *std::move(asked) : stripe::Customer();
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
    back.refunded = back.refunded && !IsSuperseded(*latest, invoices);
  }
  for (const ProjectedItem& item : projection.items) {
    SoldItem sold;
    sold.origin = "sub:" + facts.id + ":" + item.id.str();
    sold.plan = item.plan;
    sold.price = item.price.str();
    if (item.paid_price) PTG_CO_RUN(co_await KeepPaid(*item.paid_price, prices, sold, by));
    sold.facts = FactsOf(projection, item, shop_.grace);
    sold.facts.refunded = back.refunded;
    sold.facts.disputed = back.disputed;
    sold.facts.refunds_unread = back.refunds_unread;
    sold.facts.disputes_unread = back.disputes_unread;
    facts.items.push_back(std::move(sold));
  }
  co_return facts;
}

Task<PurchaseFacts> FactsReader::OfTerm(stripe::CheckoutSession session, Deadline by) {
  PurchaseFacts facts;
  facts.id = session.id.str();
  facts.customer = session.customer.str();
  // He may have another address since.
  facts.email = session.customer_email.empty() ? session.email : session.customer_email;
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
  std::string price;
  if (session.line_items && !session.line_items->empty()) {
    price = session.line_items->front().id.str();
    const std::string* found = prices.Find(session.line_items->front());
    plan = found != nullptr ? *found : "";
  }
  SoldItem sold;
  sold.origin = "session:" + facts.id;
  sold.plan = plan;
  sold.price = std::move(price);
  const SoldPlan* terms = shop_.Find(plan);
  sold.facts = FactsOfTerm(paid_at, terms == nullptr ? 0 : terms->days, shop_.grace);
  sold.facts.refunded = back.refunded;
  sold.facts.disputed = back.disputed;
  sold.facts.refunds_unread = back.refunds_unread;
  sold.facts.disputes_unread = back.disputes_unread;
  facts.items.push_back(std::move(sold));
  co_return facts;
}

}  // namespace pontage::sales
