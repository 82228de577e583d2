#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/secret.h"
#include "base/time.h"
#include "codec/json.h"
#include "wire/stripe/values.h"

// Stripe's objects as far as we use them, read out of JSON. Shapes of API version
// 2026-10-28.endive; where a field lay elsewhere in versions that may still be replayed to us (up
// to acacia, 2025-02), the new place is looked at first, then the old one, and an object that has
// it in neither is refused in so many words. Unknown members and words are passed over.
//
// Each Read… fails with the reader's code and the pointer of the member at fault, also when
// `object` says that it is something else: a double, or a proxy, answers 200 with anything.
namespace pontage::stripe {

// A page of Stripe's has at most 100, and so has an array inside an object.
inline constexpr size_t kMostListed = 100;

using Metadata = std::map<std::string, std::string, std::less<>>;
// "" when it has none.
std::string_view InMetadata(const Metadata& metadata, std::string_view key);

struct Customer {
  CustomerId id;
  std::string email;
  std::string name;
  bool deleted = false;
  Metadata metadata;
};

struct Product {
  ProductId id;
  std::string name;
  bool active = false;
  Metadata metadata;
};

struct Price {
  PriceId id;
  bool active = false;
  std::string currency;
  std::optional<MinorUnits> unit_amount;  // none: tiers, or fractions of a cent
  std::string lookup_key;
  ProductId product;
  std::string interval;  // "month", "year"…; empty: paid once
  int64_t interval_count = 1;
  Metadata metadata;
};

struct InvoicePayment {
  std::string id;
  InvoiceId invoice;
  PaymentIntentId payment_intent;  // empty: paid another way
  ChargeId charge;
  MinorUnits amount_paid;
  Word<InvoicePaymentStatus> status;
};

struct InvoiceLine {
  std::string id;
  MinorUnits amount;  // negative: a credit
  UnixMs from;
  UnixMs until;
  SubscriptionId subscription;  // empty: not said
  SubscriptionItemId item;      // empty: not said
  PriceId price;                // empty: none
  bool proration = false;
  bool extra = false;  // an invoice item: something sold beside the subscription, if no proration
};

struct Invoice {
  InvoiceId id;
  CustomerId customer;
  std::string customer_email;
  SubscriptionId subscription;     // empty: of none
  Metadata subscription_metadata;  // as it was when the invoice was made
  Word<InvoiceStatus> status;
  Word<BillingReason> billing_reason;
  std::string currency;
  MinorUnits amount_due;
  MinorUnits amount_paid;
  MinorUnits amount_remaining;
  MinorUnits total;
  std::vector<InvoiceLine> lines;
  bool more_lines = false;  // `lines` is only the first of them
  // None: not part of this answer (they come expanded), or not all; ask for the invoice's payments.
  std::optional<std::vector<InvoicePayment>> payments;
  std::string number;
  std::string hosted_invoice_url;  // where it is paid; empty before it is finalized
  std::string invoice_pdf;
  UnixMs created;
  std::optional<UnixMs> paid_at;
  std::optional<UnixMs> next_payment_attempt;
  int64_t attempt_count = 0;
};

struct SubscriptionItem {
  SubscriptionItemId id;
  Price price;
  std::optional<UnixMs> period_end;
  int64_t quantity = 1;
};

struct Subscription {
  SubscriptionId id;
  CustomerId customer;
  Word<SubscriptionStatus> status;
  std::vector<SubscriptionItem> items;
  bool more_items = false;  // `items` is only the first of them
  // The latest of its items'. It moves on before the renewal is paid: never what was paid for.
  UnixMs period_end;
  bool cancel_at_period_end = false;
  std::optional<UnixMs> cancel_at;
  std::optional<UnixMs> canceled_at;
  std::optional<UnixMs> ended_at;
  std::optional<UnixMs> trial_end;
  bool collection_paused = false;  // pause_collection; the status does not change with it
  InvoiceId latest_invoice;
  std::optional<Invoice> expanded_invoice;
  UnixMs created;
  Metadata metadata;
};

struct CheckoutSession {
  SessionId id;
  Word<SessionMode> mode;
  Word<SessionStatus> status;
  Word<PaymentStatus> payment_status;
  CustomerId customer;
  std::string email;           // what was typed at Stripe, else what it was opened with
  std::string customer_email;  // the customer's now; empty: not part of this answer, or he is gone
  std::string name;
  SubscriptionId subscription;
  std::optional<Subscription> expanded_subscription;
  InvoiceId invoice;
  PaymentIntentId payment_intent;  // never in subscription mode
  std::string client_reference_id;
  std::string currency;
  std::optional<MinorUnits> amount_total;
  std::optional<std::vector<Price>> line_items;  // none: not part of this answer
  std::string url;                               // empty once it is not open
  UnixMs created;
  std::optional<UnixMs> expires_at;
  Metadata metadata;
};

struct Charge {
  ChargeId id;
  CustomerId customer;
  PaymentIntentId payment_intent;
  std::string currency;
  MinorUnits amount;
  MinorUnits amount_refunded;
  bool refunded = false;  // wholly
};

struct Refund {
  RefundId id;
  PaymentIntentId payment_intent;
  ChargeId charge;
  std::string currency;
  MinorUnits amount;
  Word<RefundStatus> status;
  std::string reason;
  UnixMs created;
  Metadata metadata;
};

struct Dispute {
  DisputeId id;
  PaymentIntentId payment_intent;
  ChargeId charge;
  std::string currency;
  MinorUnits amount;
  Word<DisputeStatus> status;
  std::string reason;
  UnixMs created;
};

struct PortalSession {
  std::string url;
};

struct PortalConfiguration {
  PortalConfigurationId id;
  bool active = false;
  bool is_default = false;
  std::string default_return_url;  // empty: none
  UnixMs updated;
  Metadata metadata;
};

struct WebhookEndpoint {
  WebhookEndpointId id;
  std::string url;
  std::string api_version;
  bool enabled = false;
  std::vector<std::string> enabled_events;
  Secret secret;  // only in the answer that made it
};

Result<Customer> ReadCustomer(const codec::JsonReader& r);
Result<Product> ReadProduct(const codec::JsonReader& r);
Result<Price> ReadPrice(const codec::JsonReader& r);
Result<InvoicePayment> ReadInvoicePayment(const codec::JsonReader& r);
Result<InvoiceLine> ReadInvoiceLine(const codec::JsonReader& r);
Result<Invoice> ReadInvoice(const codec::JsonReader& r);
Result<SubscriptionItem> ReadSubscriptionItem(const codec::JsonReader& r);
Result<Subscription> ReadSubscription(const codec::JsonReader& r);
Result<CheckoutSession> ReadCheckoutSession(const codec::JsonReader& r);
Result<Charge> ReadCharge(const codec::JsonReader& r);
Result<Refund> ReadRefund(const codec::JsonReader& r);
Result<Dispute> ReadDispute(const codec::JsonReader& r);
Result<PortalSession> ReadPortalSession(const codec::JsonReader& r);
Result<PortalConfiguration> ReadPortalConfiguration(const codec::JsonReader& r);
Result<WebhookEndpoint> ReadWebhookEndpoint(const codec::JsonReader& r);

// {"object":"list","data":[…],"has_more":…}: one page, or an array inside an object. The readers
// look into the document.
struct List {
  std::vector<codec::JsonReader> data;
  bool has_more = false;
};
Result<List> ReadList(const codec::JsonReader& r);

}  // namespace pontage::stripe
