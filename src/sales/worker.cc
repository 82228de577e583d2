#include "sales/worker.h"

#include <algorithm>
#include <span>

#include "base/fault.h"
#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "io/timer.h"

namespace pontage::sales {
namespace {

using codec::JsonReader;

constexpr Millis kLook{500};  // between two looks at the inbox
constexpr Millis kStoreTimeout{10'000};
constexpr Millis kEventTimeout{45'000};  // Stripe is asked some six times
constexpr Millis kLease{60'000};         // longer than that
constexpr size_t kAtOnce = 20;
constexpr size_t kMaxEvent = 1 << 20;
constexpr size_t kShown = 24;  // invoices of a purchase that are written down at a look

bool IsDispute(const stripe::Event& event) { return event.object_kind == "dispute"; }

Result<stripe::Event> ReadStored(const std::string& payload) {
  codec::JsonLimits limits;
  limits.max_bytes = kMaxEvent;
  limits.max_depth = 64;
  PTG_TRY(const codec::Json json, codec::ParseJson(payload, limits));
  PTG_TRY(const JsonReader reader, JsonReader::Of(json));
  return stripe::ReadEvent(reader);
}

// "$29.00" for people; the bare number where we do not know the currency.
std::string AmountText(stripe::MinorUnits amount, const std::string& currency) {
  const std::optional<Money> dollars = stripe::DollarsOf(amount, currency);
  if (dollars) return dollars->ToString();
  return std::to_string(amount.count()) + " " + currency;
}

FailedInvoice FailedOf(const stripe::Invoice& invoice) {
  return FailedInvoice{.id = invoice.id.str(),
                       .amount = AmountText(invoice.amount_due, invoice.currency),
                       .pay_url = invoice.hosted_invoice_url};
}

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

std::vector<std::string> One(std::string id) {
  std::vector<std::string> out;
  if (!id.empty()) out.push_back(std::move(id));
  return out;
}

}  // namespace

Worker::Worker(Parts parts)
    : parts_(parts),
      name_(NewIdText("worker", parts.clock, parts.rng)),
      done_(parts.metrics.CounterOf("pontage_stripe_events_done_total",
                                    "Events of Stripe that have had their effect.")),
      failed_(parts.metrics.CounterOf("pontage_stripe_events_failed_total",
                                      "Tries of events that have to be repeated.")),
      parked_(parts.metrics.GaugeOf("pontage_stripe_events_parked",
                                    "Events given up since the start; they wait for a person.")) {}

Task<> Worker::Run() {
  while (true) {
    const Result<size_t> done = co_await RunOnce();
    if (!done) Log(LogLevel::kWarn, "sales.inbox_unread", {{"detail", done.error().detail()}});
    if (!done || *done == 0) PTG_CO_RUN(co_await Sleep(kLook));
  }
}

Task<size_t> Worker::RunOnce() {
  const UnixMs now = parts_.clock.Now();
  const auto take = [now](db::Tx& tx) { return TakeEvents(tx, now, kLease, kAtOnce); };
  const Deadline take_by = Deadline::In(parts_.clock, kStoreTimeout);
  PTG_CO_TRY(const std::vector<StoredEvent> events, co_await parts_.database.Write(take, take_by));
  for (const StoredEvent& stored : events) {
    PTG_KILL_POINT("event_taken");
    const Deadline by = Deadline::In(parts_.clock, kEventTimeout);
    const Result<> done = co_await Handle(stored, by);
    PTG_CO_RUN(co_await Close(stored, done));
  }
  co_return events.size();
}

Task<> Worker::Close(const StoredEvent& stored, const Result<>& done) {
  const UnixMs now = parts_.clock.Now();
  const bool parked = !done && stored.attempts >= kMostAttempts;
  if (done) {
    done_.Add();
  } else {
    failed_.Add();
    if (parked) parked_.Add(1);
    // Somebody else looks at the same purchase, a buyer's page most likely: nothing is wrong.
    const bool busy = done.error().code() == Code::kConflict;
    const LogLevel level = parked ? LogLevel::kError : busy ? LogLevel::kInfo : LogLevel::kWarn;
    Log(level, "sales.event_failed",
        {{"stripe_event", stored.id},
         {"type", stored.type},
         {"attempts", stored.attempts},
         {"detail", done.error().detail()}});
  }
  const bool good = done.has_value();
  const std::string why = done ? "" : done.error().detail();
  const UnixMs next = now + PauseAfter(stored.attempts);
  const std::string id = stored.id;
  const auto write = [good, id, why, next, parked, now](db::Tx& tx) {
    return good ? EventDone(tx, id, "done", now) : EventLater(tx, id, why, next, parked);
  };
  const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
  PTG_CO_RUN(co_await parts_.database.Write(write, by));
  PTG_KILL_POINT("event_closed");
  co_return {};
}

Task<> Worker::Handle(const StoredEvent& stored, Deadline by) {
  PTG_CO_TRY(const stripe::Event event, ReadStored(stored.payload));
  PTG_CO_TRY(const std::vector<std::string> subjects, co_await SubjectsOf(event, by));
  PTG_CO_TRY(const std::optional<FailedInvoice> failed, co_await FailedBy(event, by));
  for (const std::string& subject : subjects) PTG_CO_RUN(co_await Look(subject, failed, by));
  co_return {};
}

// A thin event has no invoice in it.
Task<std::optional<FailedInvoice>> Worker::FailedBy(const stripe::Event& event, Deadline by) {
  if (event.type != "invoice.payment_failed") co_return std::nullopt;
  if (event.object.IsObject()) {
    const auto reader = JsonReader::Of(event.object);
    if (!reader) co_return std::nullopt;
    const auto invoice = stripe::ReadInvoice(*reader);
    if (!invoice) co_return std::nullopt;
    co_return FailedOf(*invoice);
  }
  if (event.object_id.empty()) co_return std::nullopt;
  const stripe::InvoiceId id(event.object_id);
  PTG_CO_TRY(const stripe::Invoice invoice, co_await parts_.stripe.RetrieveInvoice(id, by));
  co_return FailedOf(invoice);
}

void Worker::Raise(const std::string& purchase, const Fulfilled& done) {
  for (const Alarm& alarm : done.alarms) {
    parts_.metrics
        .CounterOf("pontage_sales_alarms_total", "Purchases that a person should look at.",
                   {{"kind", alarm.kind}})
        .Add();
    Log(LogLevel::kWarn, "sales.alarm",
        {{"purchase", purchase}, {"kind", alarm.kind}, {"detail", alarm.text}});
  }
}

Task<Fulfilled> Worker::Look(std::string id, std::optional<FailedInvoice> failed, Deadline by) {
  if (id.starts_with("cs_")) {
    // A session that sold a subscription is that subscription.
    const stripe::SessionId session_id(id);
    PTG_CO_TRY(const stripe::CheckoutSession session,
               co_await parts_.stripe.RetrieveCheckout(session_id, by));
    if (session.mode.value == stripe::SessionMode::kSubscription) {
      if (session.subscription.empty()) co_return Fulfilled{};
      id = session.subscription.str();
    }
  }
  const UnixMs now = parts_.clock.Now();
  const std::string owner = name_ + ":" + NewIdText("look", parts_.clock, parts_.rng);
  const auto lease = [id, owner, now](db::Tx& tx) {
    return LeasePurchase(tx, id, owner, now, kLease);
  };
  PTG_CO_TRY(const bool ours, co_await parts_.database.Write(lease, by));
  if (!ours) co_return Fail(Code::kConflict, "somebody else looks at this purchase");
  PTG_KILL_POINT("purchase_leased");
  Result<PurchaseFacts> facts = co_await Ask(id, by);
  PTG_KILL_POINT("purchase_asked");
  Result<Fulfilled> done = Fulfilled{};
  if (facts) {
    const auto apply = [this, &facts, &failed](db::Tx& tx) {
      return parts_.fulfilment.Apply(tx, *facts, failed);
    };
    done = co_await parts_.database.Write(apply, by);
    if (done) Raise(id, *done);
    PTG_KILL_POINT("purchase_applied");
  } else {
    done = Fail(facts.error());
  }
  const auto release = [id, owner](db::Tx& tx) { return ReleasePurchase(tx, id, owner); };
  const Deadline release_by = Deadline::In(parts_.clock, kStoreTimeout);
  // It runs out by itself where this fails.
  (void)co_await parts_.database.Write(release, release_by);
  co_return done;
}

Task<std::vector<std::string>> Worker::SubjectsOf(const stripe::Event& event, Deadline by) {
  // Of a session Look asks what it has sold.
  if (event.object_kind == "subscription" || event.object_kind == "checkout.session") {
    co_return One(event.object_id);
  }
  if (event.object_kind == "invoice" || event.object_kind == "invoice_payment") {
    co_return co_await OfInvoice(event, by);
  }
  if (event.object_kind == "customer") {
    const std::string customer = event.object_id;
    const auto read = [customer](db::Tx& tx) { return PurchasesOfCustomer(tx, customer); };
    co_return co_await parts_.database.Read(read, by);
  }
  PTG_CO_TRY(std::string payment, co_await PaymentOf(event, by));
  if (payment.empty()) co_return std::vector<std::string>();
  co_return co_await OfPayment(std::move(payment), IsDispute(event), by);
}

Task<std::vector<std::string>> Worker::OfInvoice(const stripe::Event& event, Deadline by) {
  std::string invoice_id = event.object_id;
  if (event.object_kind == "invoice_payment") {
    stripe::InvoicePayment payment;
    if (event.object.IsObject()) {
      PTG_CO_TRY(const JsonReader reader, JsonReader::Of(event.object));
      PTG_CO_TRY(payment, stripe::ReadInvoicePayment(reader));
    } else {
      PTG_CO_TRY(payment, co_await parts_.stripe.RetrieveInvoicePayment(event.object_id, by));
    }
    invoice_id = payment.invoice.str();
  } else if (event.object.IsObject()) {
    PTG_CO_TRY(const JsonReader reader, JsonReader::Of(event.object));
    PTG_CO_TRY(const stripe::Invoice invoice, stripe::ReadInvoice(reader));
    co_return One(invoice.subscription.str());
  }
  const stripe::InvoiceId id(invoice_id);
  PTG_CO_TRY(const stripe::Invoice invoice, co_await parts_.stripe.RetrieveInvoice(id, by));
  co_return One(invoice.subscription.str());
}

// Of a refund, a charge, a dispute, or the payment itself.
Task<std::string> Worker::PaymentOf(const stripe::Event& event, Deadline by) {
  if (event.object_kind == "payment_intent") co_return event.object_id;
  if (event.object.IsObject()) {
    PTG_CO_TRY(const JsonReader reader, JsonReader::Of(event.object));
    if (event.object_kind == "refund") {
      PTG_CO_TRY(const stripe::Refund refund, stripe::ReadRefund(reader));
      co_return refund.payment_intent.str();
    }
    if (event.object_kind == "charge") {
      PTG_CO_TRY(const stripe::Charge charge, stripe::ReadCharge(reader));
      co_return charge.payment_intent.str();
    }
    if (event.object_kind == "dispute") {
      PTG_CO_TRY(const stripe::Dispute dispute, stripe::ReadDispute(reader));
      co_return dispute.payment_intent.str();
    }
  }
  if (event.object_kind == "refund") {
    const stripe::RefundId id(event.object_id);
    PTG_CO_TRY(const stripe::Refund refund, co_await parts_.stripe.RetrieveRefund(id, by));
    co_return refund.payment_intent.str();
  }
  if (event.object_kind == "charge") {
    const stripe::ChargeId id(event.object_id);
    PTG_CO_TRY(const stripe::Charge charge, co_await parts_.stripe.RetrieveCharge(id, by));
    co_return charge.payment_intent.str();
  }
  if (event.object_kind == "dispute") {
    const stripe::DisputeId id(event.object_id);
    PTG_CO_TRY(const stripe::Dispute dispute, co_await parts_.stripe.RetrieveDispute(id, by));
    co_return dispute.payment_intent.str();
  }
  co_return std::string();
}

Task<std::vector<std::string>> Worker::OfPayment(std::string payment, bool disputed, Deadline by) {
  const auto read = [payment](db::Tx& tx) { return PurchaseOfPayment(tx, payment); };
  PTG_CO_TRY(std::string purchase, co_await parts_.database.Read(read, by));
  if (purchase.empty()) {
    const stripe::PaymentIntentId id(payment);
    PTG_CO_TRY(const std::vector<stripe::InvoicePayment> paid,
               co_await parts_.stripe.InvoicesOfPayment(id, by));
    for (const stripe::InvoicePayment& one : paid) {
      PTG_CO_TRY(const stripe::Invoice invoice,
                 co_await parts_.stripe.RetrieveInvoice(one.invoice, by));
      if (!invoice.subscription.empty()) purchase = invoice.subscription.str();
    }
  }
  if (!purchase.empty() && disputed) {
    const auto note = [payment, purchase](db::Tx& tx) {
      return NoteDispute(tx, payment, purchase);
    };
    PTG_CO_RUN(co_await parts_.database.Write(note, by));
  }
  // A payment of none of our purchases, or of one whose session has not been looked at yet: that
  // look asks about refunds and disputes itself.
  co_return One(std::move(purchase));
}

Task<PurchaseFacts> Worker::Ask(const std::string& id, Deadline by) {
  if (!id.starts_with("cs_")) {
    const stripe::SubscriptionId subscription(id);
    co_return co_await AskSubscription(subscription, by);
  }
  const stripe::SessionId session_id(id);
  PTG_CO_TRY(stripe::CheckoutSession session,
             co_await parts_.stripe.RetrieveCheckout(session_id, by));
  co_return co_await AskTerm(std::move(session), by);
}

Task<Worker::MoneyBack> Worker::AskMoneyBack(const std::string& purchase,
                                             std::vector<std::string> payments,
                                             stripe::MinorUnits paid, Deadline by) {
  MoneyBack back;
  std::vector<stripe::Refund> refunds;
  for (const std::string& payment : payments) {
    const stripe::PaymentIntentId id(payment);
    PTG_CO_TRY(const std::vector<stripe::Refund> some, co_await parts_.stripe.ListRefunds(id, by));
    refunds.insert(refunds.end(), some.begin(), some.end());
  }
  back.refunded = IsWhollyRefunded(paid, refunds);
  back.refunds = std::move(refunds);
  const auto read = [purchase](db::Tx& tx) { return DisputedPayments(tx, purchase); };
  PTG_CO_TRY(const std::vector<std::string> told, co_await parts_.database.Read(read, by));
  for (const std::string& payment : told) {
    if (std::ranges::find(payments, payment) == payments.end()) payments.push_back(payment);
  }
  for (const std::string& payment : payments) {
    const stripe::PaymentIntentId id(payment);
    PTG_CO_TRY(const std::vector<stripe::Dispute> some,
               co_await parts_.stripe.ListDisputes(id, by));
    back.disputed = back.disputed || std::ranges::any_of(some, [](const stripe::Dispute& one) {
                      return KeepsShut(one.status.value);
                    });
  }
  co_return back;
}

Task<PurchaseFacts> Worker::AskSubscription(const stripe::SubscriptionId& id, Deadline by) {
  PTG_CO_TRY(const stripe::Subscription subscription,
             co_await parts_.stripe.RetrieveSubscription(id, by));
  PTG_CO_TRY(const std::vector<stripe::Invoice> invoices,
             co_await parts_.stripe.ListInvoices(id, false, by));
  PTG_CO_TRY(const stripe::Customer customer,
             co_await parts_.stripe.RetrieveCustomer(subscription.customer, by));
  const PlanMap prices = parts_.shop.Prices();
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
    PTG_CO_TRY(const std::vector<stripe::InvoicePayment> payments,
               co_await parts_.stripe.PaymentsOfInvoice(latest->id, by));
    for (const stripe::InvoicePayment& one : payments) {
      if (!one.payment_intent.empty()) facts.payments.push_back(one.payment_intent.str());
    }
    PTG_CO_TRY(back, co_await AskMoneyBack(facts.id, facts.payments, latest->amount_paid, by));
    facts.refunds = back.refunds;
  }
  for (const ProjectedItem& item : projection.items) {
    SoldItem sold;
    sold.origin = "sub:" + facts.id + ":" + item.id.str();
    sold.plan = item.plan;
    sold.facts = FactsOf(projection, item, parts_.shop.grace);
    sold.facts.refunded = back.refunded;
    sold.facts.disputed = back.disputed;
    facts.items.push_back(std::move(sold));
  }
  co_return facts;
}

Task<PurchaseFacts> Worker::AskTerm(stripe::CheckoutSession session, Deadline by) {
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
               co_await parts_.stripe.RetrieveInvoice(session.invoice, by));
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
  const PlanMap prices = parts_.shop.Prices();
  std::string plan(stripe::InMetadata(session.metadata, "plan"));
  if (session.line_items && !session.line_items->empty()) {
    const std::string* found = prices.Find(session.line_items->front());
    plan = found != nullptr ? *found : "";
  }
  SoldItem sold;
  sold.origin = "session:" + facts.id;
  sold.plan = plan;
  const SoldPlan* terms = parts_.shop.Find(plan);
  sold.facts = FactsOfTerm(paid_at, terms == nullptr ? 0 : terms->days, parts_.shop.grace);
  sold.facts.refunded = back.refunded;
  sold.facts.disputed = back.disputed;
  facts.items.push_back(std::move(sold));
  co_return facts;
}

}  // namespace pontage::sales
