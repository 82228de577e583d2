// The calls of StripeClient by name: parameters in, objects out.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "sales/stripe_client.h"

namespace pontage::sales {
namespace {

using codec::Json;
using codec::JsonReader;
using stripe::Form;

constexpr size_t kPage = 100;  // the most that Stripe gives

StripePath At(std::string_view before, std::string_view id = {}, std::string_view after = {}) {
  return {std::string(before), std::string(id), std::string(after)};
}

template <typename T>
using Reader = Result<T> (*)(const JsonReader& r);

template <typename T>
Result<T> ReadAs(Reader<T> read, const Json& json) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json, Code::kUpstreamProtocol));
  Result<T> object = read(r);
  if (object) return object;
  const Error& why = object.error();
  return Fail(Error(Code::kUpstreamProtocol, "Stripe's answer cannot be read: " + why.detail())
                  .At(why.pointer())
                  .Want(why.expected()));
}

template <typename T>
Result<std::vector<T>> ReadEach(Reader<T> read, const std::vector<Json>& all) {
  std::vector<T> objects;
  for (const Json& json : all) {
    PTG_TRY(T object, ReadAs(read, json));
    objects.push_back(std::move(object));
  }
  return objects;
}

std::string IdOf(const Json& json) {
  const Json* id = json.Find("id");
  const std::string* text = id == nullptr ? nullptr : id->AsString();
  return text == nullptr ? std::string() : *text;
}

Result<ListedEvent> ReadListedEvent(const JsonReader& r) {
  PTG_TRY(stripe::Event event, stripe::ReadEvent(r));
  return ListedEvent{.event = std::move(event), .payload = codec::ToString(r.json())};
}

// What cannot be read is left out: one odd object must not keep a walk from all others.
template <typename T>
Result<StripePage<T>> ReadPage(Reader<T> read, const Json& json) {
  PTG_TRY(const stripe::List list, ReadAs(stripe::ReadList, json));
  StripePage<T> page;
  page.has_more = list.has_more;
  if (!list.data.empty()) {
    page.newest = IdOf(list.data.front().json());
    page.oldest = IdOf(list.data.back().json());
  }
  for (const JsonReader& one : list.data) {
    Result<T> object = read(one);
    if (object) {
      page.items.push_back(*std::move(object));
      continue;
    }
    ++page.unreadable;
    Log(LogLevel::kError, "stripe.unreadable",
        {{"object", IdOf(one.json())},
         {"reason", object.error().detail()},
         {"pointer", object.error().pointer()}});
  }
  return page;
}

Form Paged(Form query, const StripeCursor& cursor) {
  query.Add("limit", kPage);
  if (!cursor.after.empty()) query.Add("starting_after", cursor.after);
  if (!cursor.before.empty()) query.Add("ending_before", cursor.before);
  return query;
}

Form CreatedSince(UnixMs since) {
  Form query;
  query.Add("created[gte]", since.seconds());
  return query;
}

}  // namespace

Task<std::vector<Json>> StripeClient::All(StripePath path, Form query, Deadline by) {
  std::vector<Json> all;
  StripeCursor cursor;
  while (true) {
    PTG_CO_TRY(const Json json, co_await Get(path, Paged(query, cursor), by));
    PTG_CO_TRY(const stripe::List list, ReadAs(stripe::ReadList, json));
    for (const JsonReader& one : list.data) all.push_back(one.json());
    if (!list.has_more || list.data.empty()) co_return all;
    if (all.size() + kPage > kMostOfList) {
      co_return Fail(Code::kOverloaded, "Stripe has more than " + std::to_string(kMostOfList) +
                                            " objects at " + path.before);
    }
    cursor.after = IdOf(all.back());
  }
}

Task<std::vector<stripe::Customer>> StripeClient::FindCustomers(std::string email, Deadline by) {
  Form query;
  query.Add("email", email);
  PTG_CO_TRY(const std::vector<Json> all, co_await All(At("/v1/customers"), query, by));
  co_return ReadEach(stripe::ReadCustomer, all);
}

Task<stripe::Customer> StripeClient::CreateCustomer(NewCustomer customer, std::string key,
                                                    Deadline by) {
  PTG_CO_TRY(const Json json,
             co_await Post(At("/v1/customers"), CustomerForm(customer), std::move(key), by));
  co_return ReadAs(stripe::ReadCustomer, json);
}

Task<stripe::Customer> StripeClient::RetrieveCustomer(stripe::CustomerId id, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Get(At("/v1/customers", id.str()), Form(), by));
  co_return ReadAs(stripe::ReadCustomer, json);
}

Task<stripe::CheckoutSession> StripeClient::CreateCheckout(Form body, std::string key,
                                                           Deadline by) {
  PTG_CO_TRY(const Json json,
             co_await Post(At("/v1/checkout/sessions"), std::move(body), std::move(key), by));
  co_return ReadAs(stripe::ReadCheckoutSession, json);
}

Task<stripe::CheckoutSession> StripeClient::RetrieveCheckout(stripe::SessionId id, Deadline by) {
  Form query;
  query.AddList("expand", {"subscription", "line_items", "customer"});
  PTG_CO_TRY(const Json json,
             co_await Get(At("/v1/checkout/sessions", id.str()), std::move(query), by));
  co_return ReadAs(stripe::ReadCheckoutSession, json);
}

Task<StripePage<stripe::CheckoutSession>> StripeClient::CheckoutsSince(UnixMs since,
                                                                       StripeCursor cursor,
                                                                       Deadline by) {
  Form query = CreatedSince(since);
  query.Add("status", "complete");
  PTG_CO_TRY(const Json json,
             co_await Get(At("/v1/checkout/sessions"), Paged(std::move(query), cursor), by));
  co_return ReadPage(stripe::ReadCheckoutSession, json);
}

Task<stripe::CheckoutSession> StripeClient::ExpireCheckout(stripe::SessionId id, std::string key,
                                                           Deadline by) {
  PTG_CO_TRY(const Json json, co_await Post(At("/v1/checkout/sessions", id.str(), "/expire"),
                                            Form(), std::move(key), by));
  co_return ReadAs(stripe::ReadCheckoutSession, json);
}

Task<stripe::PortalSession> StripeClient::CreatePortalSession(PortalRequest request,
                                                              std::string key, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Post(At("/v1/billing_portal/sessions"), PortalForm(request),
                                            std::move(key), by));
  co_return ReadAs(stripe::ReadPortalSession, json);
}

Task<stripe::Subscription> StripeClient::RetrieveSubscription(stripe::SubscriptionId id,
                                                              Deadline by) {
  Form query;
  query.AddList("expand", {"latest_invoice.payments"});
  PTG_CO_TRY(const Json json,
             co_await Get(At("/v1/subscriptions", id.str()), std::move(query), by));
  PTG_CO_TRY(stripe::Subscription subscription, ReadAs(stripe::ReadSubscription, json));
  PTG_CO_RUN(co_await CompleteItems(subscription, by));
  co_return subscription;
}

Task<> StripeClient::CompleteItems(stripe::Subscription& subscription, Deadline by) {
  if (!subscription.more_items) co_return {};
  Form query;
  query.Add("subscription", subscription.id.str());
  PTG_CO_TRY(const std::vector<Json> all,
             co_await All(At("/v1/subscription_items"), std::move(query), by));
  PTG_CO_TRY(subscription.items, ReadEach(stripe::ReadSubscriptionItem, all));
  for (const stripe::SubscriptionItem& item : subscription.items) {
    if (item.period_end)
      subscription.period_end = std::max(subscription.period_end, *item.period_end);
  }
  subscription.more_items = false;
  co_return {};
}

Task<StripePage<stripe::Subscription>> StripeClient::ListSubscriptions(stripe::CustomerId customer,
                                                                       StripeCursor cursor,
                                                                       Deadline by) {
  Form query;
  if (!customer.empty()) query.Add("customer", customer.str());
  query.Add("status", "all");
  PTG_CO_TRY(const Json json,
             co_await Get(At("/v1/subscriptions"), Paged(std::move(query), cursor), by));
  PTG_CO_TRY(StripePage<stripe::Subscription> page, ReadPage(stripe::ReadSubscription, json));
  for (stripe::Subscription& one : page.items) PTG_CO_RUN(co_await CompleteItems(one, by));
  co_return page;
}

Task<stripe::Subscription> StripeClient::UpdateSubscription(stripe::SubscriptionId id, Form body,
                                                            std::string key, Deadline by) {
  PTG_CO_TRY(const Json json,
             co_await Post(At("/v1/subscriptions", id.str()), std::move(body), std::move(key), by));
  co_return ReadAs(stripe::ReadSubscription, json);
}

Task<stripe::Subscription> StripeClient::CancelSubscription(stripe::SubscriptionId id,
                                                            Deadline by) {
  const Result<Json> json = co_await Delete(At("/v1/subscriptions", id.str()), by);
  if (json) co_return ReadAs(stripe::ReadSubscription, *json);
  if (json.error().code() != Code::kNotFound) co_return Fail(json.error());
  // Stripe finds no canceled one to cancel; a try whose answer was lost may have been the one.
  PTG_CO_TRY(stripe::Subscription found, co_await RetrieveSubscription(id, by));
  if (found.status.value != stripe::SubscriptionStatus::kCanceled) co_return Fail(json.error());
  co_return found;
}

Task<> StripeClient::CompleteLines(stripe::Invoice& invoice, Deadline by) {
  if (!invoice.more_lines) co_return {};
  PTG_CO_TRY(const std::vector<Json> all,
             co_await All(At("/v1/invoices", invoice.id.str(), "/lines"), Form(), by));
  PTG_CO_TRY(invoice.lines, ReadEach(stripe::ReadInvoiceLine, all));
  invoice.more_lines = false;
  co_return {};
}

Task<stripe::Invoice> StripeClient::RetrieveInvoice(stripe::InvoiceId id, Deadline by) {
  Form query;
  query.AddList("expand", {"payments"});
  PTG_CO_TRY(const Json json, co_await Get(At("/v1/invoices", id.str()), std::move(query), by));
  PTG_CO_TRY(stripe::Invoice invoice, ReadAs(stripe::ReadInvoice, json));
  PTG_CO_RUN(co_await CompleteLines(invoice, by));
  co_return invoice;
}

Task<std::vector<stripe::Invoice>> StripeClient::ListInvoices(stripe::SubscriptionId subscription,
                                                              bool only_paid, Deadline by) {
  Form query;
  query.Add("subscription", subscription.str());
  if (only_paid) query.Add("status", "paid");
  query.AddList("expand", {"data.payments"});
  PTG_CO_TRY(const Json json,
             co_await Get(At("/v1/invoices"), Paged(std::move(query), StripeCursor()), by));
  PTG_CO_TRY(const stripe::List list, ReadAs(stripe::ReadList, json));
  std::vector<stripe::Invoice> invoices;
  for (const JsonReader& one : list.data) {
    PTG_CO_TRY(stripe::Invoice invoice, ReadAs(stripe::ReadInvoice, one.json()));
    PTG_CO_RUN(co_await CompleteLines(invoice, by));
    invoices.push_back(std::move(invoice));
  }
  co_return invoices;
}

Task<std::vector<stripe::InvoicePayment>> StripeClient::PaymentsOfInvoice(stripe::InvoiceId invoice,
                                                                          Deadline by) {
  Form query;
  query.Add("invoice", invoice.str());
  PTG_CO_TRY(const std::vector<Json> all, co_await All(At("/v1/invoice_payments"), query, by));
  co_return ReadEach(stripe::ReadInvoicePayment, all);
}

Task<std::vector<stripe::InvoicePayment>> StripeClient::InvoicesOfPayment(
    stripe::PaymentIntentId payment, Deadline by) {
  Form query;
  query.Add("payment[type]", "payment_intent").Add("payment[payment_intent]", payment.str());
  PTG_CO_TRY(const std::vector<Json> all, co_await All(At("/v1/invoice_payments"), query, by));
  co_return ReadEach(stripe::ReadInvoicePayment, all);
}

Task<stripe::Refund> StripeClient::CreateRefund(RefundRequest request, std::string key,
                                                Deadline by) {
  PTG_CO_TRY(const Json json,
             co_await Post(At("/v1/refunds"), RefundForm(request), std::move(key), by));
  co_return ReadAs(stripe::ReadRefund, json);
}

Task<stripe::Refund> StripeClient::RetrieveRefund(stripe::RefundId id, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Get(At("/v1/refunds", id.str()), Form(), by));
  co_return ReadAs(stripe::ReadRefund, json);
}

Task<std::vector<stripe::Refund>> StripeClient::ListRefunds(stripe::PaymentIntentId payment,
                                                            Deadline by) {
  Form query;
  query.Add("payment_intent", payment.str());
  PTG_CO_TRY(const std::vector<Json> all, co_await All(At("/v1/refunds"), query, by));
  co_return ReadEach(stripe::ReadRefund, all);
}

Task<stripe::Charge> StripeClient::RetrieveCharge(stripe::ChargeId id, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Get(At("/v1/charges", id.str()), Form(), by));
  co_return ReadAs(stripe::ReadCharge, json);
}

Task<stripe::InvoicePayment> StripeClient::RetrieveInvoicePayment(std::string id, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Get(At("/v1/invoice_payments", id), Form(), by));
  co_return ReadAs(stripe::ReadInvoicePayment, json);
}

Task<StripePage<stripe::Refund>> StripeClient::RefundsSince(UnixMs since, StripeCursor cursor,
                                                            Deadline by) {
  PTG_CO_TRY(const Json json,
             co_await Get(At("/v1/refunds"), Paged(CreatedSince(since), cursor), by));
  co_return ReadPage(stripe::ReadRefund, json);
}

Task<StripePage<stripe::Dispute>> StripeClient::DisputesSince(UnixMs since, StripeCursor cursor,
                                                              Deadline by) {
  PTG_CO_TRY(const Json json,
             co_await Get(At("/v1/disputes"), Paged(CreatedSince(since), cursor), by));
  co_return ReadPage(stripe::ReadDispute, json);
}

Task<stripe::Dispute> StripeClient::RetrieveDispute(stripe::DisputeId id, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Get(At("/v1/disputes", id.str()), Form(), by));
  co_return ReadAs(stripe::ReadDispute, json);
}

Task<std::vector<stripe::Dispute>> StripeClient::ListDisputes(stripe::PaymentIntentId payment,
                                                              Deadline by) {
  Form query;
  query.Add("payment_intent", payment.str());
  PTG_CO_TRY(const std::vector<Json> all, co_await All(At("/v1/disputes"), query, by));
  co_return ReadEach(stripe::ReadDispute, all);
}

Task<StripePage<ListedEvent>> StripeClient::ListEvents(EventQuery query, StripeCursor cursor,
                                                       Deadline by) {
  PTG_CO_TRY(const Json json, co_await Get(At("/v1/events"), Paged(EventForm(query), cursor), by));
  co_return ReadPage(ReadListedEvent, json);
}

Task<std::vector<stripe::Price>> StripeClient::FindPrices(std::vector<std::string> lookup_keys,
                                                          Deadline by) {
  // Stripe takes ten keys in one question.
  constexpr size_t kMostKeys = 10;
  std::vector<stripe::Price> prices;
  for (size_t from = 0; from < lookup_keys.size(); from += kMostKeys) {
    const size_t end = std::min(lookup_keys.size(), from + kMostKeys);
    const auto begin = lookup_keys.begin();
    Form query;
    query.AddList("lookup_keys", std::vector<std::string>(begin + static_cast<ptrdiff_t>(from),
                                                          begin + static_cast<ptrdiff_t>(end)));
    PTG_CO_TRY(const std::vector<Json> all, co_await All(At("/v1/prices"), std::move(query), by));
    PTG_CO_TRY(const std::vector<stripe::Price> found, ReadEach(stripe::ReadPrice, all));
    prices.insert(prices.end(), found.begin(), found.end());
  }
  co_return prices;
}

Task<stripe::Price> StripeClient::RetrievePrice(stripe::PriceId id, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Get(At("/v1/prices", id.str()), Form(), by));
  co_return ReadAs(stripe::ReadPrice, json);
}

Task<stripe::Price> StripeClient::CreatePrice(NewPrice price, std::string key, Deadline by) {
  PTG_CO_TRY(const Json json,
             co_await Post(At("/v1/prices"), PriceForm(price), std::move(key), by));
  co_return ReadAs(stripe::ReadPrice, json);
}

Task<std::vector<stripe::Product>> StripeClient::ListProducts(Deadline by) {
  Form query;
  query.Add("active", true);
  PTG_CO_TRY(const std::vector<Json> all, co_await All(At("/v1/products"), std::move(query), by));
  co_return ReadEach(stripe::ReadProduct, all);
}

Task<stripe::Product> StripeClient::CreateProduct(NewProduct product, std::string key,
                                                  Deadline by) {
  PTG_CO_TRY(const Json json,
             co_await Post(At("/v1/products"), ProductForm(product), std::move(key), by));
  co_return ReadAs(stripe::ReadProduct, json);
}

Task<std::vector<stripe::WebhookEndpoint>> StripeClient::ListWebhookEndpoints(Deadline by) {
  PTG_CO_TRY(const std::vector<Json> all, co_await All(At("/v1/webhook_endpoints"), Form(), by));
  co_return ReadEach(stripe::ReadWebhookEndpoint, all);
}

Task<stripe::WebhookEndpoint> StripeClient::CreateWebhookEndpoint(NewWebhookEndpoint endpoint,
                                                                  std::string key, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Post(At("/v1/webhook_endpoints"),
                                            WebhookEndpointForm(endpoint), std::move(key), by));
  co_return ReadAs(stripe::ReadWebhookEndpoint, json);
}

Task<std::vector<stripe::PortalConfiguration>> StripeClient::ListPortalConfigurations(Deadline by) {
  Form query;
  query.Add("active", true);
  PTG_CO_TRY(const std::vector<Json> all,
             co_await All(At("/v1/billing_portal/configurations"), std::move(query), by));
  co_return ReadEach(stripe::ReadPortalConfiguration, all);
}

Task<stripe::PortalConfiguration> StripeClient::CreatePortalConfiguration(PortalSetup setup,
                                                                          std::string key,
                                                                          Deadline by) {
  PTG_CO_TRY(const Json json, co_await Post(At("/v1/billing_portal/configurations"),
                                            PortalConfigurationForm(setup), std::move(key), by));
  co_return ReadAs(stripe::ReadPortalConfiguration, json);
}

Task<stripe::PortalConfiguration> StripeClient::ChangePortalOffers(stripe::PortalConfigurationId id,
                                                                   PortalSetup setup,
                                                                   std::string key, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Post(At("/v1/billing_portal/configurations", id.str()),
                                            PortalOffersForm(setup), std::move(key), by));
  co_return ReadAs(stripe::ReadPortalConfiguration, json);
}

Task<stripe::WebhookEndpoint> StripeClient::ChangeEndpointEvents(stripe::WebhookEndpointId id,
                                                                 std::vector<std::string> events,
                                                                 std::string key, Deadline by) {
  PTG_CO_TRY(const Json json, co_await Post(At("/v1/webhook_endpoints", id.str()),
                                            EndpointEventsForm(events), std::move(key), by));
  co_return ReadAs(stripe::ReadWebhookEndpoint, json);
}

}  // namespace pontage::sales
