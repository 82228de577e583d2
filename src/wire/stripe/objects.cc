#include "wire/stripe/objects.h"

#include <algorithm>

#include "wire/stripe/read.h"

namespace pontage::stripe {
namespace {

using codec::Json;
using codec::JsonReader;
using read::AmountAt;
using read::CheckKind;
using read::CheckPart;
using read::FlagAt;
using read::IdAt;
using read::MaybeAmountAt;
using read::MaybeTimeAt;
using read::RefAt;
using read::TextAt;
using read::TimeAt;
using read::WordAt;

// Values that are no text are passed over: Stripe makes none.
Result<Metadata> MetadataAt(const JsonReader& r, std::string_view key) {
  Metadata metadata;
  PTG_TRY(const std::optional<JsonReader> map, r.MaybeObject(key));
  if (!map) return metadata;
  for (const codec::JsonMember& member : *map->json().AsObject()) {
    if (const std::string* text = member.value.AsString()) metadata.emplace(member.key, *text);
  }
  return metadata;
}

Result<List> ListAt(const JsonReader& r, std::string_view key) {
  PTG_TRY(const JsonReader list, r.Object(key));
  return ReadList(list);
}

// Whether the object is there in full; only an id or nothing otherwise.
bool IsExpanded(const JsonReader& r, std::string_view key) {
  const Json* found = r.MaybeAny(key);
  return found != nullptr && found->IsObject();
}

// Of a line of an invoice: where it comes from.
Result<> ReadLineParent(const JsonReader& r, InvoiceLine& line) {
  PTG_TRY(const std::optional<JsonReader> parent, r.MaybeObject("parent"));
  if (!parent) {
    // Before basil (2025-03-31).
    PTG_TRY(const std::string type, TextAt(r, "type"));
    line.extra = type == "invoiceitem";
    PTG_TRY(line.proration, FlagAt(r, "proration"));
    PTG_TRY(line.subscription, RefAt<SubscriptionId>(r, "subscription"));
    PTG_TRY(line.item, RefAt<SubscriptionItemId>(r, "subscription_item"));
    return {};
  }
  PTG_TRY(const std::string type, TextAt(*parent, "type"));
  line.extra = type == "invoice_item_details";
  PTG_TRY(const std::optional<JsonReader> details, parent->MaybeObject(type));
  if (!details) return {};
  PTG_TRY(line.proration, FlagAt(*details, "proration"));
  PTG_TRY(line.subscription, RefAt<SubscriptionId>(*details, "subscription"));
  PTG_TRY(line.item, RefAt<SubscriptionItemId>(*details, "subscription_item"));
  return {};
}

Result<PriceId> ReadLinePrice(const JsonReader& r) {
  PTG_TRY(const std::optional<JsonReader> pricing, r.MaybeObject("pricing"));
  if (!pricing) return RefAt<PriceId>(r, "price");  // before basil
  PTG_TRY(const std::optional<JsonReader> details, pricing->MaybeObject("price_details"));
  if (!details) return PriceId();
  return RefAt<PriceId>(*details, "price");
}

// Of an invoice: the subscription that it is for, if it is for one.
Result<> ReadInvoiceParent(const JsonReader& r, Invoice& invoice) {
  if (r.json().Find("parent") == nullptr && r.json().Find("subscription") == nullptr) {
    return Fail(r.Bad("parent",
                      "what the invoice is for is neither at parent.subscription_details nor at "
                      "subscription"));
  }
  PTG_TRY(const std::optional<JsonReader> parent, r.MaybeObject("parent"));
  if (parent) {
    PTG_TRY(const std::optional<JsonReader> details, parent->MaybeObject("subscription_details"));
    if (!details) return {};  // a quote's
    PTG_TRY(invoice.subscription, RefAt<SubscriptionId>(*details, "subscription"));
    if (invoice.subscription.empty()) {
      return Fail(details->Bad("subscription", "subscription is missing", "an id"));
    }
    PTG_TRY(invoice.subscription_metadata, MetadataAt(*details, "metadata"));
    return {};
  }
  PTG_TRY(invoice.subscription, RefAt<SubscriptionId>(r, "subscription"));
  PTG_TRY(const std::optional<JsonReader> details, r.MaybeObject("subscription_details"));
  if (details) {
    PTG_TRY(invoice.subscription_metadata, MetadataAt(*details, "metadata"));
  }
  return {};
}

Result<> ReadInvoicePayments(const JsonReader& r, Invoice& invoice) {
  if (r.MaybeAny("payments") != nullptr) {
    PTG_TRY(const List list, ListAt(r, "payments"));
    std::vector<InvoicePayment>& payments = invoice.payments.emplace();
    for (const JsonReader& one : list.data) {
      PTG_TRY(InvoicePayment payment, ReadInvoicePayment(one));
      payments.push_back(std::move(payment));
    }
    if (list.has_more) invoice.payments.reset();
    return {};
  }
  // Before basil: one payment at the most, on the invoice itself.
  InvoicePayment payment;
  PTG_TRY(payment.payment_intent, RefAt<PaymentIntentId>(r, "payment_intent"));
  PTG_TRY(payment.charge, RefAt<ChargeId>(r, "charge"));
  if (payment.payment_intent.empty() && payment.charge.empty()) return {};
  payment.invoice = invoice.id;
  payment.amount_paid = invoice.amount_paid;
  payment.status =
      WordOf<InvoicePaymentStatus>(invoice.status.value == InvoiceStatus::kPaid ? "paid" : "open");
  invoice.payments.emplace().push_back(std::move(payment));
  return {};
}

Result<> ReadInvoiceAmounts(const JsonReader& r, Invoice& invoice) {
  PTG_TRY(invoice.currency, TextAt(r, "currency"));
  PTG_TRY(invoice.amount_due, AmountAt(r, "amount_due"));
  PTG_TRY(invoice.amount_paid, AmountAt(r, "amount_paid"));
  PTG_TRY(invoice.amount_remaining, MaybeAmountAt(r, "amount_remaining"));
  PTG_TRY(invoice.total, MaybeAmountAt(r, "total"));
  return {};
}

// The latest end of the items' periods; before basil it stood on the subscription.
Result<UnixMs> ReadPeriodEnd(const JsonReader& r, const std::vector<SubscriptionItem>& items) {
  std::optional<UnixMs> latest;
  for (const SubscriptionItem& item : items) {
    if (item.period_end && (!latest || *item.period_end > *latest)) latest = item.period_end;
  }
  if (latest) return *latest;
  PTG_TRY(const std::optional<UnixMs> old, MaybeTimeAt(r, "current_period_end"));
  if (old) return *old;
  return Fail(r.Bad("current_period_end",
                    "current_period_end is neither on the items nor on the subscription",
                    "seconds since 1970"));
}

Result<> ReadSessionLinks(const JsonReader& r, CheckoutSession& session) {
  PTG_TRY(session.customer, RefAt<CustomerId>(r, "customer"));
  PTG_TRY(session.subscription, RefAt<SubscriptionId>(r, "subscription"));
  PTG_TRY(session.invoice, RefAt<InvoiceId>(r, "invoice"));
  PTG_TRY(session.payment_intent, RefAt<PaymentIntentId>(r, "payment_intent"));
  if (IsExpanded(r, "subscription")) {
    PTG_TRY(const JsonReader inner, r.Object("subscription"));
    PTG_TRY(session.expanded_subscription, ReadSubscription(inner));
  }
  if (r.MaybeAny("line_items") != nullptr) {
    PTG_TRY(const List list, ListAt(r, "line_items"));
    std::vector<Price>& prices = session.line_items.emplace();
    for (const JsonReader& one : list.data) {
      PTG_TRY(const JsonReader inner, one.Object("price"));
      PTG_TRY(Price price, ReadPrice(inner));
      prices.push_back(std::move(price));
    }
  }
  return {};
}

// Whose it is: as typed at Stripe, else as the session was opened, else as the customer has it.
Result<> ReadSessionBuyer(const JsonReader& r, CheckoutSession& session) {
  PTG_TRY(const std::optional<JsonReader> details, r.MaybeObject("customer_details"));
  if (details) {
    PTG_TRY(session.email, TextAt(*details, "email"));
    PTG_TRY(session.name, TextAt(*details, "name"));
  }
  if (session.email.empty()) {
    PTG_TRY(session.email, TextAt(r, "customer_email"));
  }
  if (IsExpanded(r, "customer")) {
    PTG_TRY(const JsonReader customer, r.Object("customer"));
    PTG_TRY(session.customer_email, TextAt(customer, "email"));
    if (session.email.empty()) session.email = session.customer_email;
  }
  return {};
}

}  // namespace

std::string_view InMetadata(const Metadata& metadata, std::string_view key) {
  const auto at = metadata.find(key);
  return at == metadata.end() ? std::string_view() : std::string_view(at->second);
}

Result<List> ReadList(const JsonReader& r) {
  PTG_RUN(CheckPart(r, "list"));
  List list;
  PTG_TRY(list.data, r.Objects("data", kMostListed));
  PTG_TRY(list.has_more, FlagAt(r, "has_more"));
  return list;
}

Result<Customer> ReadCustomer(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "customer"));
  Customer customer;
  PTG_TRY(customer.id, IdAt<CustomerId>(r, "id"));
  PTG_TRY(customer.deleted, FlagAt(r, "deleted"));
  PTG_TRY(customer.email, TextAt(r, "email"));
  PTG_TRY(customer.name, TextAt(r, "name"));
  PTG_TRY(customer.metadata, MetadataAt(r, "metadata"));
  return customer;
}

Result<Product> ReadProduct(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "product"));
  Product product;
  PTG_TRY(product.id, IdAt<ProductId>(r, "id"));
  PTG_TRY(product.name, TextAt(r, "name"));
  PTG_TRY(product.active, FlagAt(r, "active"));
  PTG_TRY(product.metadata, MetadataAt(r, "metadata"));
  return product;
}

Result<Price> ReadPrice(const JsonReader& r) {
  PTG_RUN(CheckPart(r, "price"));
  Price price;
  PTG_TRY(price.id, IdAt<PriceId>(r, "id"));
  PTG_TRY(price.active, FlagAt(r, "active"));
  PTG_TRY(price.currency, TextAt(r, "currency"));
  PTG_TRY(const std::optional<int64_t> amount, r.MaybeInt("unit_amount"));
  if (amount) price.unit_amount = MinorUnits(*amount);
  PTG_TRY(price.lookup_key, TextAt(r, "lookup_key"));
  PTG_TRY(price.product, RefAt<ProductId>(r, "product"));
  PTG_TRY(price.metadata, MetadataAt(r, "metadata"));
  PTG_TRY(const std::optional<JsonReader> recurring, r.MaybeObject("recurring"));
  if (recurring) {
    PTG_TRY(price.interval, TextAt(*recurring, "interval"));
    PTG_TRY(const std::optional<int64_t> count, recurring->MaybeInt("interval_count"));
    price.interval_count = count.value_or(1);
  }
  return price;
}

Result<InvoicePayment> ReadInvoicePayment(const JsonReader& r) {
  PTG_RUN(CheckPart(r, "invoice_payment"));
  InvoicePayment payment;
  PTG_TRY(payment.id, TextAt(r, "id"));
  PTG_TRY(payment.invoice, RefAt<InvoiceId>(r, "invoice"));
  PTG_TRY(payment.amount_paid, MaybeAmountAt(r, "amount_paid"));
  PTG_TRY(payment.status, WordAt<InvoicePaymentStatus>(r, "status"));
  PTG_TRY(const JsonReader by, r.Object("payment"));
  PTG_TRY(payment.payment_intent, RefAt<PaymentIntentId>(by, "payment_intent"));
  PTG_TRY(payment.charge, RefAt<ChargeId>(by, "charge"));
  return payment;
}

Result<InvoiceLine> ReadInvoiceLine(const JsonReader& r) {
  PTG_RUN(CheckPart(r, "line_item"));
  InvoiceLine line;
  PTG_TRY(line.id, TextAt(r, "id"));
  PTG_TRY(line.amount, AmountAt(r, "amount"));
  PTG_TRY(const JsonReader period, r.Object("period"));
  PTG_TRY(line.from, TimeAt(period, "start"));
  PTG_TRY(line.until, TimeAt(period, "end"));
  PTG_RUN(ReadLineParent(r, line));
  PTG_TRY(line.price, ReadLinePrice(r));
  return line;
}

Result<Invoice> ReadInvoice(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "invoice"));
  Invoice invoice;
  PTG_TRY(invoice.id, IdAt<InvoiceId>(r, "id"));
  PTG_TRY(invoice.customer, RefAt<CustomerId>(r, "customer"));
  PTG_TRY(invoice.customer_email, TextAt(r, "customer_email"));
  PTG_RUN(ReadInvoiceParent(r, invoice));
  PTG_TRY(invoice.status, WordAt<InvoiceStatus>(r, "status"));
  PTG_TRY(invoice.billing_reason, WordAt<BillingReason>(r, "billing_reason"));
  PTG_RUN(ReadInvoiceAmounts(r, invoice));
  PTG_TRY(const List lines, ListAt(r, "lines"));
  invoice.more_lines = lines.has_more;
  for (const JsonReader& one : lines.data) {
    PTG_TRY(InvoiceLine line, ReadInvoiceLine(one));
    invoice.lines.push_back(std::move(line));
  }
  PTG_RUN(ReadInvoicePayments(r, invoice));
  PTG_TRY(invoice.number, TextAt(r, "number"));
  PTG_TRY(invoice.hosted_invoice_url, TextAt(r, "hosted_invoice_url"));
  PTG_TRY(invoice.invoice_pdf, TextAt(r, "invoice_pdf"));
  PTG_TRY(invoice.created, TimeAt(r, "created"));
  PTG_TRY(const std::optional<JsonReader> steps, r.MaybeObject("status_transitions"));
  if (steps) {
    PTG_TRY(invoice.paid_at, MaybeTimeAt(*steps, "paid_at"));
  }
  PTG_TRY(invoice.next_payment_attempt, MaybeTimeAt(r, "next_payment_attempt"));
  PTG_TRY(const std::optional<int64_t> attempts, r.MaybeInt("attempt_count"));
  invoice.attempt_count = attempts.value_or(0);
  return invoice;
}

Result<SubscriptionItem> ReadSubscriptionItem(const JsonReader& r) {
  SubscriptionItem item;
  PTG_TRY(item.id, IdAt<SubscriptionItemId>(r, "id"));
  PTG_TRY(const JsonReader price, r.Object("price"));
  PTG_TRY(item.price, ReadPrice(price));
  PTG_TRY(item.period_end, MaybeTimeAt(r, "current_period_end"));
  PTG_TRY(const std::optional<int64_t> quantity, r.MaybeInt("quantity"));
  item.quantity = quantity.value_or(1);
  return item;
}

Result<Subscription> ReadSubscription(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "subscription"));
  Subscription subscription;
  PTG_TRY(subscription.id, IdAt<SubscriptionId>(r, "id"));
  PTG_TRY(subscription.customer, RefAt<CustomerId>(r, "customer"));
  PTG_TRY(subscription.status, WordAt<SubscriptionStatus>(r, "status"));
  PTG_TRY(const List items, ListAt(r, "items"));
  subscription.more_items = items.has_more;
  for (const JsonReader& one : items.data) {
    PTG_TRY(SubscriptionItem item, ReadSubscriptionItem(one));
    subscription.items.push_back(std::move(item));
  }
  PTG_TRY(subscription.period_end, ReadPeriodEnd(r, subscription.items));
  PTG_TRY(subscription.cancel_at_period_end, FlagAt(r, "cancel_at_period_end"));
  PTG_TRY(subscription.cancel_at, MaybeTimeAt(r, "cancel_at"));
  PTG_TRY(subscription.canceled_at, MaybeTimeAt(r, "canceled_at"));
  PTG_TRY(subscription.ended_at, MaybeTimeAt(r, "ended_at"));
  PTG_TRY(subscription.trial_end, MaybeTimeAt(r, "trial_end"));
  subscription.collection_paused = r.MaybeAny("pause_collection") != nullptr;
  PTG_TRY(subscription.latest_invoice, RefAt<InvoiceId>(r, "latest_invoice"));
  if (IsExpanded(r, "latest_invoice")) {
    PTG_TRY(const JsonReader inner, r.Object("latest_invoice"));
    PTG_TRY(subscription.expanded_invoice, ReadInvoice(inner));
  }
  PTG_TRY(subscription.created, TimeAt(r, "created"));
  PTG_TRY(subscription.metadata, MetadataAt(r, "metadata"));
  return subscription;
}

Result<CheckoutSession> ReadCheckoutSession(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "checkout.session"));
  CheckoutSession session;
  PTG_TRY(session.id, IdAt<SessionId>(r, "id"));
  PTG_TRY(session.mode, WordAt<SessionMode>(r, "mode"));
  PTG_TRY(session.status, WordAt<SessionStatus>(r, "status"));
  PTG_TRY(session.payment_status, WordAt<PaymentStatus>(r, "payment_status"));
  PTG_RUN(ReadSessionLinks(r, session));
  PTG_RUN(ReadSessionBuyer(r, session));
  PTG_TRY(session.client_reference_id, TextAt(r, "client_reference_id"));
  PTG_TRY(session.currency, TextAt(r, "currency"));
  PTG_TRY(const std::optional<int64_t> total, r.MaybeInt("amount_total"));
  if (total) session.amount_total = MinorUnits(*total);
  PTG_TRY(session.url, TextAt(r, "url"));
  PTG_TRY(session.created, TimeAt(r, "created"));
  PTG_TRY(session.expires_at, MaybeTimeAt(r, "expires_at"));
  PTG_TRY(session.metadata, MetadataAt(r, "metadata"));
  return session;
}

Result<Charge> ReadCharge(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "charge"));
  Charge charge;
  PTG_TRY(charge.id, IdAt<ChargeId>(r, "id"));
  PTG_TRY(charge.customer, RefAt<CustomerId>(r, "customer"));
  PTG_TRY(charge.payment_intent, RefAt<PaymentIntentId>(r, "payment_intent"));
  PTG_TRY(charge.currency, TextAt(r, "currency"));
  PTG_TRY(charge.amount, AmountAt(r, "amount"));
  PTG_TRY(charge.amount_refunded, AmountAt(r, "amount_refunded"));
  PTG_TRY(charge.refunded, FlagAt(r, "refunded"));
  return charge;
}

Result<Refund> ReadRefund(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "refund"));
  Refund refund;
  PTG_TRY(refund.id, IdAt<RefundId>(r, "id"));
  PTG_TRY(refund.payment_intent, RefAt<PaymentIntentId>(r, "payment_intent"));
  PTG_TRY(refund.charge, RefAt<ChargeId>(r, "charge"));
  PTG_TRY(refund.currency, TextAt(r, "currency"));
  PTG_TRY(refund.amount, AmountAt(r, "amount"));
  PTG_TRY(refund.status, WordAt<RefundStatus>(r, "status"));
  PTG_TRY(refund.reason, TextAt(r, "reason"));
  PTG_TRY(refund.created, TimeAt(r, "created"));
  PTG_TRY(refund.metadata, MetadataAt(r, "metadata"));
  return refund;
}

Result<Dispute> ReadDispute(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "dispute"));
  Dispute dispute;
  PTG_TRY(dispute.id, IdAt<DisputeId>(r, "id"));
  PTG_TRY(dispute.payment_intent, RefAt<PaymentIntentId>(r, "payment_intent"));
  PTG_TRY(dispute.charge, RefAt<ChargeId>(r, "charge"));
  PTG_TRY(dispute.currency, TextAt(r, "currency"));
  PTG_TRY(dispute.amount, AmountAt(r, "amount"));
  PTG_TRY(dispute.status, WordAt<DisputeStatus>(r, "status"));
  PTG_TRY(dispute.reason, TextAt(r, "reason"));
  PTG_TRY(dispute.created, TimeAt(r, "created"));
  return dispute;
}

Result<PortalSession> ReadPortalSession(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "billing_portal.session"));
  PortalSession session;
  PTG_TRY(session.url, r.String("url"));
  return session;
}

Result<PortalConfiguration> ReadPortalConfiguration(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "billing_portal.configuration"));
  PortalConfiguration configuration;
  PTG_TRY(configuration.id, IdAt<PortalConfigurationId>(r, "id"));
  PTG_TRY(configuration.active, FlagAt(r, "active"));
  PTG_TRY(configuration.is_default, FlagAt(r, "is_default"));
  PTG_TRY(configuration.default_return_url, TextAt(r, "default_return_url"));
  PTG_TRY(const std::optional<UnixMs> updated, MaybeTimeAt(r, "updated"));
  configuration.updated = updated.value_or(UnixMs());
  PTG_TRY(configuration.metadata, MetadataAt(r, "metadata"));
  return configuration;
}

Result<WebhookEndpoint> ReadWebhookEndpoint(const JsonReader& r) {
  PTG_RUN(CheckKind(r, "webhook_endpoint"));
  WebhookEndpoint endpoint;
  PTG_TRY(endpoint.id, IdAt<WebhookEndpointId>(r, "id"));
  PTG_TRY(endpoint.url, TextAt(r, "url"));
  PTG_TRY(endpoint.api_version, TextAt(r, "api_version"));
  PTG_TRY(const std::string status, TextAt(r, "status"));
  endpoint.enabled = status == "enabled";
  PTG_TRY(const std::vector<Json>* events, r.Array("enabled_events"));
  for (const Json& event : *events) {
    if (const std::string* name = event.AsString()) endpoint.enabled_events.push_back(*name);
  }
  PTG_TRY(std::string secret, TextAt(r, "secret"));
  endpoint.secret = Secret(std::move(secret));
  return endpoint;
}

}  // namespace pontage::stripe
