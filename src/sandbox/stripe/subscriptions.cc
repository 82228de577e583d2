#include "sandbox/stripe/subscriptions.h"

#include <algorithm>
#include <utility>

#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/invoices.h"
#include "sandbox/stripe/shapes.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

// The older twin of a price that items still carry.
Json PlanOf(const Json& price) {
  const Json& recurring = Member(price, "recurring");
  Json plan = Json::Object({{"id", Member(price, "id")}, {"object", "plan"}});
  plan.Set("active", Member(price, "active"));
  plan.Set("amount", Member(price, "unit_amount"));
  plan.Set("amount_decimal", Member(price, "unit_amount_decimal"));
  plan.Set("billing_scheme", "per_unit");
  for (const char* same : {"created", "currency"}) plan.Set(same, Member(price, same));
  plan.Set("interval", Member(recurring, "interval"));
  plan.Set("interval_count", Member(recurring, "interval_count"));
  plan.Set("livemode", false);
  plan.Set("metadata", Member(price, "metadata"));
  plan.Set("meter", nullptr);
  plan.Set("nickname", Member(price, "nickname"));
  plan.Set("product", Member(price, "product"));
  for (const char* none : {"tiers_mode", "transform_usage", "trial_period_days"}) {
    plan.Set(none, nullptr);
  }
  plan.Set("usage_type", "licensed");
  return plan;
}

std::string NameOf(const Account& account, const Json& price) {
  const Json* product = account.store.Find(Kind::kProduct, TextOf(price, "product"));
  return product != nullptr ? TextOf(*product, "name") : "a product";
}

Json* SubscriptionOf(Account& account, const Json& invoice) {
  const Json& details = Member(Member(invoice, "parent"), "subscription_details");
  return account.store.Find(Kind::kSubscription, TextOf(details, "subscription"));
}

void StopCollecting(Account& account, const Json& subscription) {
  Json* invoice = account.store.Find(Kind::kInvoice, TextOf(subscription, "latest_invoice"));
  if (invoice == nullptr || TextOf(*invoice, "status") == "paid") return;
  invoice->Set("auto_advance", false);
  invoice->Set("next_payment_attempt", nullptr);
  account.agenda.Set(TextOf(*invoice, "id"), std::nullopt);
}

Json NewSubscription(Account& account, const SubscriptionTerms& terms, const std::string& id) {
  const int64_t now = account.Now();
  Json subscription = Shape(Kind::kSubscription);
  subscription.Set("id", id);
  if (terms.automatic_tax) {
    Json& tax = *subscription.Find("automatic_tax");
    tax.Set("enabled", true);
    tax.Set("liability", Json::Object({{"type", "self"}}));
  }
  subscription.Set("created", now);
  subscription.Set("currency", Member(*terms.items.front().price, "currency"));
  subscription.Set("customer", terms.customer);
  if (!terms.payment_method.empty()) {
    subscription.Set("default_payment_method", terms.payment_method);
  }
  if (!terms.description.empty()) subscription.Set("description", terms.description);
  subscription.Set("metadata", terms.metadata);
  subscription.Set("start_date", now);
  subscription.Find("trial_settings")
      ->Find("end_behavior")
      ->Set("missing_payment_method", terms.when_trial_ends_without_card);
  return subscription;
}

}  // namespace

Interval IntervalOf(const Json& price) {
  const Json& recurring = Member(price, "recurring");
  Interval interval;
  interval.unit = UnitOf(TextOf(recurring, "interval")).value_or(Interval::Unit::kMonth);
  interval.count = std::max<int64_t>(IntOf(recurring, "interval_count"), 1);
  return interval;
}

Interval BillingIntervalOf(const Json& subscription) {
  return IntervalOf(Member(ItemsOf(Member(subscription, "items")).front(), "price"));
}

int64_t PeriodStart(const Json& subscription) {
  int64_t start = 0;
  for (const Json& item : ItemsOf(Member(subscription, "items"))) {
    start = std::max(start, IntOf(item, "current_period_start"));
  }
  return start;
}

int64_t PeriodEnd(const Json& subscription) {
  int64_t end = 0;
  for (const Json& item : ItemsOf(Member(subscription, "items"))) {
    end = std::max(end, IntOf(item, "current_period_end"));
  }
  return end;
}

void SetPeriod(Json& subscription, int64_t start, int64_t end) {
  std::vector<Json> items = ItemsOf(Member(subscription, "items"));
  for (Json& item : items) {
    item.Set("current_period_start", start);
    item.Set("current_period_end", end);
  }
  subscription.Find("items")->Set("data", Json::Array(std::move(items)));
}

bool IsOver(const Json& subscription) {
  const std::string status = TextOf(subscription, "status");
  return status == "canceled" || status == "incomplete_expired";
}

std::string MethodOf(const Account& account, const Json& subscription) {
  std::string method = TextOf(subscription, "default_payment_method");
  const Json* customer = account.store.Find(Kind::kCustomer, TextOf(subscription, "customer"));
  if (method.empty() && customer != nullptr) {
    method = TextOf(Member(*customer, "invoice_settings"), "default_payment_method");
  }
  return method;
}

bool HasCard(const Account& account, const Json& subscription) {
  return !MethodOf(account, subscription).empty();
}

Json NewItem(Account& account, const std::string& subscription, const ItemTerms& terms,
             int64_t period_start, int64_t period_end) {
  Json item = SubscriptionItemShape();
  item.Set("id", NewId("si_", kShortId, account.rng));
  item.Set("created", account.Now());
  item.Set("current_period_end", period_end);
  item.Set("current_period_start", period_start);
  item.Set("plan", PlanOf(*terms.price));
  item.Set("price", *terms.price);
  item.Set("quantity", terms.quantity);
  item.Set("subscription", subscription);
  return item;
}

std::vector<Json> PeriodLines(Account& account, const Json& subscription) {
  const bool trial = TextOf(subscription, "status") == "trialing";
  std::vector<Json> lines =
      std::exchange(account.subscriptions[TextOf(subscription, "id")].pending_lines, {});
  for (const Json& item : ItemsOf(Member(subscription, "items"))) {
    const Json& price = Member(item, "price");
    LineTerms line;
    line.quantity = IntOf(item, "quantity");
    line.amount = trial ? 0 : line.quantity * IntOf(price, "unit_amount");
    line.price = &price;
    const std::string name = NameOf(account, price);
    line.description =
        trial ? "Trial period for " + name : std::to_string(line.quantity) + " × " + name;
    line.subscription = TextOf(subscription, "id");
    line.item = TextOf(item, "id");
    line.period_start = IntOf(item, "current_period_start");
    line.period_end = IntOf(item, "current_period_end");
    line.metadata = Member(subscription, "metadata");
    lines.push_back(NewLine(account, line));
  }
  return lines;
}

Json& AddSubscription(Account& account, const SubscriptionTerms& terms) {
  const UnixMs now = account.clock.Now();
  const std::string id = NewId("sub_1", kLongId - 1, account.rng);
  Json made = NewSubscription(account, terms, id);
  SubscriptionBook& book = account.subscriptions[id];
  const Interval interval = IntervalOf(*terms.items.front().price);
  // A trial is a period of its own, and the others are counted from its end.
  book.anchor = terms.trial_end.value_or(UnixMs::FromSeconds(now.seconds()));
  book.periods = terms.trial_end ? 0 : 1;
  const int64_t end = IntervalsAfter(book.anchor, interval, book.periods).seconds();
  std::vector<Json> items;
  for (const ItemTerms& item : terms.items) {
    items.push_back(NewItem(account, id, item, now.seconds(), end));
  }
  made.Set("billing_cycle_anchor", book.anchor.seconds());
  made.Set("items", WholeList(std::move(items), "/v1/subscription_items?subscription=" + id));
  if (terms.trial_end) {
    made.Set("status", "trialing");
    made.Set("trial_end", terms.trial_end->seconds());
    made.Set("trial_start", now.seconds());
  }
  Json& subscription = account.store.Add(Kind::kSubscription, std::move(made));
  InvoiceTerms first;
  first.customer = terms.customer;
  first.currency = TextOf(subscription, "currency");
  first.reason = "subscription_create";
  first.subscription = id;
  first.lines = PeriodLines(account, subscription);
  first.period_start = now.seconds();
  first.period_end = now.seconds();
  first.automatic_tax = terms.automatic_tax;
  Json& invoice = AddInvoice(account, first);
  subscription.Set("latest_invoice", TextOf(invoice, "id"));
  Emit(account, "customer.subscription.created", subscription);
  Finalize(account, invoice);
  PlanSubscription(account, subscription);
  return subscription;
}

void SetStatus(Account& account, Json& subscription, const std::string& status) {
  const Json before = subscription;
  subscription.Set("status", status);
  PlanSubscription(account, subscription);
  EmitUpdate(account, "customer.subscription.updated", before, subscription);
}

void AfterPayment(Account& account, const Json& invoice) {
  Json* subscription = SubscriptionOf(account, invoice);
  if (subscription == nullptr) return;
  const std::string status = TextOf(*subscription, "status");
  if (status != "incomplete" && status != "past_due" && status != "unpaid") return;
  // An older debt that is paid does not make up for the latest one.
  const Json* latest = account.store.Find(Kind::kInvoice, TextOf(*subscription, "latest_invoice"));
  if (latest != nullptr && TextOf(*latest, "status") == "open") return;
  SetStatus(account, *subscription, "active");
}

void AfterFailure(Account& account, const Json& invoice, bool last) {
  Json* subscription = SubscriptionOf(account, invoice);
  if (subscription == nullptr || IsOver(*subscription)) return;
  const std::string status = TextOf(*subscription, "status");
  if (status == "active" || status == "trialing") SetStatus(account, *subscription, "past_due");
  if (!last || status == "incomplete") return;
  if (account.after_retries == AfterRetries::kCancel) {
    Cancel(account, *subscription, "payment_failed");
  } else if (account.after_retries == AfterRetries::kUnpaid) {
    SetStatus(account, *subscription, "unpaid");
  }
}

void AfterWriteOff(Account& account, const Json& invoice) {
  Json* subscription = SubscriptionOf(account, invoice);
  if (subscription == nullptr) return;
  if (TextOf(*subscription, "latest_invoice") != TextOf(invoice, "id")) return;
  const std::string status = TextOf(*subscription, "status");
  const bool first = status == "incomplete" && TextOf(invoice, "status") == "void";
  if (first) SetStatus(account, *subscription, "incomplete_expired");
  if (status == "past_due") SetStatus(account, *subscription, "active");
}

void Cancel(Account& account, Json& subscription, const std::string& reason) {
  const int64_t now = account.Now();
  subscription.Set("status", "canceled");
  if (Member(subscription, "canceled_at").IsNull()) subscription.Set("canceled_at", now);
  subscription.Set("ended_at", now);
  Json& details = *subscription.Find("cancellation_details");
  if (Member(details, "reason").IsNull()) details.Set("reason", reason);
  account.subscriptions[TextOf(subscription, "id")].pending_lines.clear();
  StopCollecting(account, subscription);
  PlanSubscription(account, subscription);
  Emit(account, "customer.subscription.deleted", subscription);
}

void CancelAtPeriodEnd(Account& account, Json& subscription, bool cancel) {
  subscription.Set("cancel_at_period_end", cancel);
  subscription.Set("cancel_at", cancel ? Json(PeriodEnd(subscription)) : Json());
  subscription.Set("canceled_at", cancel ? Json(account.Now()) : Json());
  subscription.Find("cancellation_details")
      ->Set("reason", cancel ? Json("cancellation_requested") : Json());
  PlanSubscription(account, subscription);
}

void Pause(Account& account, Json& subscription, const std::string& why) {
  const Json before = subscription;
  subscription.Set("status", "paused");
  const Json paused = Json::Object({{"subscription", Json::Object({{"type", why}})},
                                    {"transitioned_at", account.Now()},
                                    {"type", "subscription"}});
  subscription.Set("status_details", Json::Object({{"paused", paused}}));
  PlanSubscription(account, subscription);
  Emit(account, "customer.subscription.paused", subscription, Changes(before, subscription));
}

void Resume(Account& account, Json& subscription) {
  const Json before = subscription;
  subscription.Set("status", "active");
  subscription.Remove("status_details");
  // A period that ended meanwhile is not made up for: the next one begins now.
  if (PeriodEnd(subscription) <= account.Now()) {
    SubscriptionBook& book = account.subscriptions[TextOf(subscription, "id")];
    book.anchor = UnixMs::FromSeconds(account.Now());
    book.periods = 0;
    subscription.Set("billing_cycle_anchor", account.Now());
    SetPeriod(subscription, account.Now(), account.Now());
  }
  PlanSubscription(account, subscription);
  Emit(account, "customer.subscription.resumed", subscription, Changes(before, subscription));
}

}  // namespace pontage::sandbox::stripe
