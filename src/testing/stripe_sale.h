#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "codec/json.h"
#include "testing/stripe_peer.h"

// A subscription that is bought once: what Stripe says of it after each of its events.
namespace pontage::testing {

// In the order in which they happen at Stripe; each makes what stands before it true.
inline constexpr std::array<std::string_view, 7> kPurchaseEvents = {
    "customer.subscription.created", "invoice.created", "invoice.finalized",
    "payment_intent.succeeded",      "invoice.paid",    "customer.subscription.updated",
    "checkout.session.completed"};

// One purchase at Stripe, as it is after so many of its events.
struct StripeSale {
  std::string n;
  int64_t start = 0;
  int64_t end = 0;

  std::string Id(std::string_view kind) const { return std::string(kind) + "_" + n; }
  // Each sale is another buyer's: one who buys twice is told of.
  std::string Email(std::string_view name) const { return std::string(name) + n + "@example.com"; }
  codec::Json Subscription(size_t stage) const {
    const codec::Json price = codec::Json::Object({{"id", "price_1"},
                                                   {"object", "price"},
                                                   {"active", true},
                                                   {"currency", "usd"},
                                                   {"unit_amount", 2900},
                                                   {"lookup_key", "pro"},
                                                   {"product", "prod_1"},
                                                   {"metadata", codec::Json::Object({})}});
    codec::Json items = codec::Json::Array();
    items.Push(codec::Json::Object({{"id", Id("si")},
                                    {"object", "subscription_item"},
                                    {"price", price},
                                    {"current_period_end", end}}));
    return codec::Json::Object(
        {{"id", Id("sub")},
         {"object", "subscription"},
         {"customer", Id("cus")},
         {"status", stage >= 5 ? "active" : "incomplete"},
         {"items", codec::Json::Object({{"object", "list"}, {"data", items}, {"has_more", false}})},
         {"cancel_at_period_end", false},
         {"latest_invoice", Id("in")},
         {"created", start},
         {"metadata", codec::Json::Object({})}});
  }
  codec::Json Invoice(size_t stage) const {
    const bool paid = stage >= 4;
    const std::string sub = Id("sub");
    codec::Json lines = codec::Json::Array();
    lines.Push(codec::Json::Object(
        {{"id", Id("il")},
         {"object", "line_item"},
         {"amount", 2900},
         {"period", codec::Json::Object({{"start", start}, {"end", end}})},
         {"parent", codec::Json::Object({{"type", "subscription_item_details"},
                                         {"subscription_item_details",
                                          codec::Json::Object({{"subscription", sub},
                                                               {"subscription_item", Id("si")},
                                                               {"proration", false}})}})},
         {"pricing",
          codec::Json::Object({{"price_details", codec::Json::Object({{"price", "price_1"}})}})}}));
    codec::Json payments = codec::Json::Array();
    payments.Push(Payment(stage));
    const codec::Json parent = codec::Json::Object(
        {{"type", "subscription_details"},
         {"subscription_details",
          codec::Json::Object({{"subscription", sub}, {"metadata", codec::Json::Object({})}})}});
    return codec::Json::Object(
        {{"id", Id("in")},
         {"object", "invoice"},
         {"customer", Id("cus")},
         {"customer_email", Email("ann")},
         {"parent", parent},
         {"status", stage < 2 ? "draft"
                    : paid    ? "paid"
                              : "open"},
         {"billing_reason", "subscription_create"},
         {"currency", "usd"},
         {"amount_due", 2900},
         {"amount_paid", paid ? 2900 : 0},
         {"lines", codec::Json::Object({{"object", "list"}, {"data", lines}, {"has_more", false}})},
         {"payments",
          codec::Json::Object({{"object", "list"}, {"data", payments}, {"has_more", false}})},
         {"number", "A-1"},
         {"hosted_invoice_url", "https://pay.example/in"},
         {"invoice_pdf", "https://pay.example/in.pdf"},
         {"created", start},
         {"attempt_count", 1}});
  }
  codec::Json Payment(size_t stage) const {
    return codec::Json::Object({{"id", Id("inpay")},
                                {"object", "invoice_payment"},
                                {"invoice", Id("in")},
                                {"amount_paid", stage >= 4 ? 2900 : 0},
                                {"status", stage >= 4 ? "paid" : "open"},
                                {"payment", codec::Json::Object({{"type", "payment_intent"},
                                                                 {"payment_intent", Id("pi")}})}});
  }
  codec::Json Session(size_t stage) const {
    const bool done = stage >= 6;
    return codec::Json::Object({{"id", Id("cs")},
                                {"object", "checkout.session"},
                                {"mode", "subscription"},
                                {"status", done ? "complete" : "open"},
                                {"payment_status", done ? "paid" : "unpaid"},
                                {"customer", Id("cus")},
                                {"subscription", Id("sub")},
                                {"created", start},
                                {"metadata", codec::Json::Object({})}});
  }
  // What event `i` carries: the object as it was then.
  codec::Json Object(size_t i) const {
    const std::string_view type = kPurchaseEvents.at(i);
    if (type.starts_with("customer.subscription.")) return Subscription(i);
    if (type.starts_with("invoice.")) return Invoice(i);
    if (type == "checkout.session.completed") return Session(i);
    return codec::Json::Object({{"id", Id("pi")}, {"object", "payment_intent"}});
  }
  std::string Event(size_t i) const {
    return codec::ToString(
        codec::Json::Object({{"id", "evt_" + n + "x" + std::to_string(i)},
                             {"object", "event"},
                             {"api_version", "2026-10-28.endive"},
                             {"created", start},
                             {"livemode", false},
                             {"type", kPurchaseEvents.at(i)},
                             {"data", codec::Json::Object({{"object", Object(i)}})}}));
  }
  // `stripe` is at `stage` of it, and knows of nothing else.
  void Show(StripePeer& stripe, size_t stage) const {
    const codec::Json invoice = Invoice(stage);
    stripe.objects.clear();
    stripe.lists.clear();
    stripe.calls.clear();
    stripe.objects["/v1/subscriptions/" + Id("sub")] = Subscription(stage);
    stripe.objects["/v1/invoices/" + Id("in")] = invoice;
    stripe.objects["/v1/checkout/sessions/" + Id("cs")] = Session(stage);
    stripe.objects["/v1/customers/" + Id("cus")] =
        codec::Json::Object({{"id", Id("cus")}, {"object", "customer"}, {"email", Email("Ann")}});
    stripe.lists["/v1/invoices"] = {invoice};
    stripe.lists["/v1/invoice_payments"] = {Payment(stage)};
    stripe.lists["/v1/refunds"] = {};
    stripe.lists["/v1/disputes"] = {};
  }
};

}  // namespace pontage::testing
