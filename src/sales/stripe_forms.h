#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "wire/stripe/form.h"
#include "wire/stripe/values.h"

// The parameters of the calls that we make of Stripe, but for the checkout's
// (checkout_request.h). Pure.
namespace pontage::sales {

struct NewCustomer {
  std::string email;
  std::string name;  // empty: not known
  TenantId tenant;
};
stripe::Form CustomerForm(const NewCustomer& customer);

struct PortalRequest {
  stripe::CustomerId customer;
  std::string return_url;
  // "subscription_cancel", "payment_method_update"…: where the portal opens; empty: its first page.
  std::string flow;
  stripe::SubscriptionId subscription;          // that the flow is about; empty: none
  stripe::PortalConfigurationId configuration;  // empty: the account's default
};
stripe::Form PortalForm(const PortalRequest& request);

// Ends, or does not end, with the period that is paid for.
stripe::Form CancelAtPeriodEndForm(bool cancel);
// Another plan, from now on; the difference is invoiced at once.
stripe::Form ChangePriceForm(const stripe::SubscriptionItemId& item, const stripe::PriceId& price);

struct RefundRequest {
  stripe::PaymentIntentId payment_intent;
  std::optional<stripe::MinorUnits> amount;  // none: what is left of it
  // "duplicate", "fraudulent" or "requested_by_customer": Stripe knows no other.
  std::string reason = "requested_by_customer";
  std::string actor;  // who ordered it
  std::string id{};   // of ours, by which it is found again; empty: none
};
stripe::Form RefundForm(const RefundRequest& request);

// Stripe takes no more types in one question.
inline constexpr size_t kMostEventTypes = 20;
struct EventQuery {
  UnixMs since;
  std::vector<std::string> types;  // at most kMostEventTypes; none: all
  bool undelivered = false;        // only what no endpoint has taken
};
stripe::Form EventForm(const EventQuery& query);

// A product and its price are found again by their plan: the product by its metadata, the price by
// its lookup key, which moves here from the price that had it before.
struct NewProduct {
  std::string name;
  std::string plan;
};
stripe::Form ProductForm(const NewProduct& product);
struct NewPrice {
  stripe::ProductId product;
  std::string plan;
  stripe::MinorUnits cents;  // of US dollars
  std::string interval;      // "month" or "year"; empty: paid once
};
stripe::Form PriceForm(const NewPrice& price);

struct NewWebhookEndpoint {
  std::string url;
  std::vector<std::string> events;
  std::string api_version;
};
stripe::Form WebhookEndpointForm(const NewWebhookEndpoint& endpoint);
stripe::Form EndpointEventsForm(const std::vector<std::string>& events);

// What a buyer may do by himself at Stripe: his data and card, his invoices, leave at the end of
// the period, and change between these prices.
struct PortalSetup {
  using Offer = std::pair<stripe::ProductId, std::vector<stripe::PriceId>>;
  using Products = std::vector<Offer>;
  Products products;  // that a subscriber may change to
  std::string return_url;
  std::string offers;  // the products' digest: it tells whether what is there is what is wanted
};
stripe::Form PortalConfigurationForm(const PortalSetup& setup);
// Of one that is there: what it offers, and nothing else that somebody may have set.
stripe::Form PortalOffersForm(const PortalSetup& setup);

// How our own objects are known among the account's.
inline constexpr std::string_view kPlanKey = "plan";
inline constexpr std::string_view kRefundKey = "refund";
inline constexpr std::string_view kMadeByKey = "made_by";
inline constexpr std::string_view kMadeBy = "pontage";
inline constexpr std::string_view kOffersKey = "offers";

}  // namespace pontage::sales
