// What the clock makes of a subscription.
#include <algorithm>
#include <utility>

#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/invoices.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr Millis kIncompleteFor{int64_t{23} * 3'600'000};
// So long before a trial ends its end is announced.
constexpr Millis kTrialNotice{int64_t{3} * 86'400'000};

void ExpireIncomplete(Account& account, Json& subscription) {
  if (Json* invoice = account.store.Find(Kind::kInvoice, TextOf(subscription, "latest_invoice"))) {
    if (TextOf(*invoice, "status") == "open") VoidInvoice(account, *invoice);
  }
  SetStatus(account, subscription, "incomplete_expired");
}

// A draft for the period that has just begun, as it stands on the subscription.
Json& AddPeriodInvoice(Account& account, Json& subscription, int64_t start, int64_t end) {
  InvoiceTerms terms;
  terms.customer = TextOf(subscription, "customer");
  terms.currency = TextOf(subscription, "currency");
  terms.reason = "subscription_cycle";
  terms.subscription = TextOf(subscription, "id");
  terms.lines = PeriodLines(account, subscription);
  // Stripe's period of an invoice is the one behind it; that of its lines is the one ahead.
  terms.period_start = start;
  terms.period_end = end;
  terms.automatic_tax = IsTrue(Member(subscription, "automatic_tax"), "enabled");
  return AddInvoice(account, terms);
}

// An unpaid subscription's invoices stay drafts; with pause_collection it says what becomes of
// them.
void HoldBack(Account& account, const Json& subscription, Json& invoice) {
  const std::string pause = TextOf(Member(subscription, "pause_collection"), "behavior");
  const bool unpaid = TextOf(subscription, "status") == "unpaid";
  if (!unpaid && pause.empty()) return;
  invoice.Set("auto_advance", false);
  invoice.Set("automatically_finalizes_at", nullptr);
  invoice.Set("next_payment_attempt", nullptr);
  account.agenda.Set(TextOf(invoice, "id"), std::nullopt);
  if (pause == "void") VoidInvoice(account, invoice);
  if (pause == "mark_uncollectible") MarkUncollectible(account, invoice);
}

// The period goes forward first, with the subscription as it was; the invoice is a draft for an
// hour, and only then collected. Whoever grants access for the new period at this point grants it
// for nothing.
void BeginPeriod(Account& account, Json& subscription) {
  SubscriptionBook& book = account.subscriptions[TextOf(subscription, "id")];
  const Json before = subscription;
  const int64_t start = PeriodEnd(subscription);
  const int64_t end =
      IntervalsAfter(book.anchor, BillingIntervalOf(subscription), ++book.periods).seconds();
  const int64_t last_start = PeriodStart(subscription);
  SetPeriod(subscription, start, end);
  if (TextOf(subscription, "status") == "trialing") subscription.Set("status", "active");
  Json& invoice = AddPeriodInvoice(account, subscription, last_start, start);
  subscription.Set("latest_invoice", TextOf(invoice, "id"));
  HoldBack(account, subscription, invoice);
  PlanSubscription(account, subscription);
  EmitUpdate(account, "customer.subscription.updated", before, subscription);
}

void EndTrial(Account& account, Json& subscription) {
  const std::string without = TextOf(Member(Member(subscription, "trial_settings"), "end_behavior"),
                                     "missing_payment_method");
  const bool card = HasCard(account, subscription);
  if (!card && without == "cancel") return Cancel(account, subscription, "payment_failed");
  if (!card && without == "pause") {
    return Pause(account, subscription, "trial_end_without_payment_method");
  }
  BeginPeriod(account, subscription);
}

UnixMs AtSeconds(int64_t seconds) { return UnixMs::FromSeconds(seconds); }

// When a pause of the collection is over by itself.
std::optional<UnixMs> CollectsFrom(const Json& subscription) {
  return TimeOf(Member(subscription, "pause_collection"), "resumes_at");
}

// What became of invoices meanwhile stays as it is.
void ResumeCollection(Account& account, Json& subscription) {
  const Json before = subscription;
  subscription.Set("pause_collection", nullptr);
  PlanSubscription(account, subscription);
  EmitUpdate(account, "customer.subscription.updated", before, subscription);
}

}  // namespace

void PlanSubscription(Account& account, const Json& subscription) {
  const std::string id = TextOf(subscription, "id");
  const std::string status = TextOf(subscription, "status");
  std::optional<UnixMs> due;
  if (status == "incomplete") {
    due = AtSeconds(IntOf(subscription, "created")) + kIncompleteFor;
  } else if (status != "paused" && !IsOver(subscription)) {
    due = AtSeconds(PeriodEnd(subscription));
    const std::optional<UnixMs> cancel_at = TimeOf(subscription, "cancel_at");
    if (cancel_at) due = std::min(*due, *cancel_at);
    if (status == "trialing" && !account.subscriptions[id].trial_end_told) {
      due = std::min(*due, AtSeconds(IntOf(subscription, "trial_end")) - kTrialNotice);
    }
  }
  const std::optional<UnixMs> collects = CollectsFrom(subscription);
  if (collects && !IsOver(subscription)) due = std::min(due.value_or(*collects), *collects);
  account.agenda.Set(id, due);
}

void RollSubscription(Account& account, Json& subscription) {
  const UnixMs now = account.clock.Now();
  const std::string status = TextOf(subscription, "status");
  SubscriptionBook& book = account.subscriptions[TextOf(subscription, "id")];
  const std::optional<UnixMs> cancel_at = TimeOf(subscription, "cancel_at");
  const std::optional<UnixMs> collects = CollectsFrom(subscription);
  if (collects && *collects <= now) {
    ResumeCollection(account, subscription);
  } else if (status == "incomplete") {
    ExpireIncomplete(account, subscription);
  } else if (status == "trialing" && !book.trial_end_told) {
    book.trial_end_told = true;
    PlanSubscription(account, subscription);
    Emit(account, "customer.subscription.trial_will_end", subscription);
  } else if (cancel_at && *cancel_at <= now) {
    Cancel(account, subscription, "cancellation_requested");
  } else if (status == "trialing") {
    EndTrial(account, subscription);
  } else {
    BeginPeriod(account, subscription);
  }
}

}  // namespace pontage::sandbox::stripe
