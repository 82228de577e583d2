#include "wire/stripe/objects.h"

#include <gtest/gtest.h>

#include "base/try.h"
#include "testing/expect.h"

namespace pontage::stripe {
namespace {

using codec::Json;
using codec::JsonReader;
using testing::FailsAt;
using testing::FailsWith;
using testing::IsOk;

template <typename T>
Result<T> ReadJson(Result<T> (*read)(const JsonReader&), const Json& json) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json, Code::kUpstreamProtocol));
  return read(r);
}
Json Parse(std::string_view text) { return codec::ParseJson(text).value(); }
Json With(Json json, std::string key, Json value) {
  json.Set(std::move(key), std::move(value));
  return json;
}
Json Without(Json json, std::string_view key) {
  json.Remove(key);
  return json;
}
UnixMs At(int64_t s) { return UnixMs::FromSeconds(s); }

constexpr std::string_view kItem = R"({"id":"si_1","object":"subscription_item","quantity":1,
  "current_period_start":1700000000,"current_period_end":1702592000,
  "price":{"id":"price_1","object":"price","active":true,"currency":"usd","unit_amount":2900,
    "lookup_key":"pro","product":"prod_1","metadata":{"plan":"pro"},
    "recurring":{"interval":"month","interval_count":1,"usage_type":"licensed"}}})";

// As version 2026-10-28.endive has it.
Json NewSubscription() {
  return Parse(R"({"id":"sub_1","object":"subscription","customer":"cus_1","status":"active",
    "items":{"object":"list","data":[)" +
               std::string(kItem) + R"(],"has_more":false},
    "cancel_at_period_end":false,"cancel_at":null,"canceled_at":null,"ended_at":null,
    "trial_end":null,"pause_collection":null,"latest_invoice":"in_1","created":1700000000,
    "metadata":{"tenant_id":"t_1","plan":"basic"},"billing_mode":{"type":"flexible"}})");
}
// As acacia had it, before 2025-03-31.
Json OldSubscription() {
  Json json = NewSubscription();
  Json item = Without(Parse(kItem), "current_period_end");
  json.Find("items")->Set("data", Json::Array({std::move(item)}));
  json.Set("current_period_start", 1'700'000'000);
  json.Set("current_period_end", 1'702'592'000);
  return json;
}

TEST(SubscriptionTest, IsReadInBothEras) {
  for (const Json& json : {NewSubscription(), OldSubscription()}) {
    const auto read = ReadJson(ReadSubscription, json);
    ASSERT_THAT(read, IsOk());
    EXPECT_EQ(read->id, SubscriptionId("sub_1"));
    EXPECT_EQ(read->customer, CustomerId("cus_1"));
    EXPECT_EQ(read->status.value, SubscriptionStatus::kActive);
    EXPECT_EQ(read->period_end, At(1'702'592'000));
    EXPECT_EQ(read->latest_invoice, InvoiceId("in_1"));
    EXPECT_EQ(read->expanded_invoice.has_value(), false);
    EXPECT_EQ(read->collection_paused, false);
    EXPECT_EQ(InMetadata(read->metadata, "tenant_id"), "t_1");
    EXPECT_EQ(InMetadata(read->metadata, "nothing"), "");
    ASSERT_EQ(read->items.size(), 1U);
    const Price& price = read->items[0].price;
    EXPECT_EQ(price.id, PriceId("price_1"));
    EXPECT_EQ(price.lookup_key, "pro");
    EXPECT_EQ(price.unit_amount, MinorUnits(2900));
    EXPECT_EQ(price.interval, "month");
    EXPECT_EQ(price.product, ProductId("prod_1"));
  }
}

TEST(SubscriptionTest, ThePeriodEndIsTheLatestOfItsItemsAndThoseCountBeforeTheOldPlace) {
  Json json = NewSubscription();
  Json later = With(Parse(kItem), "current_period_end", 1'733'000'000);
  json.Find("items")->Set("data", Json::Array({Parse(kItem), std::move(later), Parse(kItem)}));
  json.Set("current_period_end", 1'600'000'000);
  const auto read = ReadJson(ReadSubscription, json);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->period_end, At(1'733'000'000));
}

TEST(SubscriptionTest, WithAPeriodEndInNeitherPlaceItIsRefused) {
  EXPECT_THAT(ReadJson(ReadSubscription, Without(OldSubscription(), "current_period_end")),
              FailsAt("/current_period_end", "neither on the items nor on the subscription"));
}

TEST(SubscriptionTest, WordsAndMembersThatCameLaterAreNoFault) {
  Json json = With(NewSubscription(), "status", "hibernating");
  json.Set("managed_payments", Json::Object({{"enabled", true}}));
  const auto read = ReadJson(ReadSubscription, json);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->status.value, SubscriptionStatus::kUnknown);
  EXPECT_EQ(read->status.text, "hibernating");
}

TEST(SubscriptionTest, ItsEndsAndPausesAreRead) {
  Json json = NewSubscription();
  json.Set("cancel_at_period_end", true).Set("cancel_at", 1'702'592'000);
  json.Set("canceled_at", 1'700'000'500)
      .Set("ended_at", 1'702'592'001)
      .Set("trial_end", 1'701'000'000);
  json.Set("pause_collection", Json::Object({{"behavior", "void"}, {"resumes_at", nullptr}}));
  const auto read = ReadJson(ReadSubscription, json);
  ASSERT_THAT(read, IsOk());
  EXPECT_TRUE(read->cancel_at_period_end);
  EXPECT_EQ(read->cancel_at, At(1'702'592'000));
  EXPECT_EQ(read->canceled_at, At(1'700'000'500));
  EXPECT_EQ(read->ended_at, At(1'702'592'001));
  EXPECT_EQ(read->trial_end, At(1'701'000'000));
  EXPECT_TRUE(read->collection_paused);
}

constexpr std::string_view kNewLine = R"({"id":"il_1","object":"line_item","amount":2900,
  "period":{"start":1700000000,"end":1702592000},
  "parent":{"type":"subscription_item_details","invoice_item_details":null,
    "subscription_item_details":{"subscription":"sub_1","subscription_item":"si_1",
      "proration":false,"invoice_item":null}},
  "pricing":{"type":"price_details","price_details":{"price":"price_1","product":"prod_1"}}})";

Json NewInvoice() {
  return Parse(R"({"id":"in_1","object":"invoice","customer":"cus_1","customer_email":"a@b.test",
    "parent":{"type":"subscription_details","quote_details":null,
      "subscription_details":{"subscription":"sub_1","metadata":{"plan":"pro"}}},
    "status":"paid","billing_reason":"subscription_cycle","currency":"usd","amount_due":2900,
    "amount_paid":2900,"amount_remaining":0,"total":2900,"number":"A-1","created":1700000000,
    "lines":{"object":"list","has_more":false,"data":[)" +
               std::string(kNewLine) + R"(]},
    "payments":{"object":"list","has_more":false,"data":[{"id":"inpay_1","object":"invoice_payment",
      "invoice":"in_1","amount_paid":2900,"status":"paid",
      "payment":{"type":"payment_intent","payment_intent":"pi_1"}}]},
    "hosted_invoice_url":"https://invoice.test/i","invoice_pdf":"https://invoice.test/p",
    "status_transitions":{"paid_at":1700000100},"next_payment_attempt":null,"attempt_count":1})");
}
Json OldInvoice() {
  Json json = Without(Without(NewInvoice(), "parent"), "payments");
  json.Set("subscription", "sub_1");
  json.Set("subscription_details", Json::Object({{"metadata", Json::Object({{"plan", "pro"}})}}));
  json.Set("payment_intent", "pi_1").Set("charge", "ch_1").Set("paid", true);
  json.Find("lines")->Set("data", Json::Array({Parse(R"({"id":"il_1","object":"line_item",
    "amount":2900,"period":{"start":1700000000,"end":1702592000},"type":"subscription",
    "subscription":"sub_1","subscription_item":"si_1","proration":false,
    "price":{"id":"price_1","object":"price"}})")}));
  return json;
}

TEST(InvoiceTest, IsReadInBothEras) {
  for (const Json& json : {NewInvoice(), OldInvoice()}) {
    const auto read = ReadJson(ReadInvoice, json);
    ASSERT_THAT(read, IsOk());
    EXPECT_EQ(read->subscription, SubscriptionId("sub_1"));
    EXPECT_EQ(InMetadata(read->subscription_metadata, "plan"), "pro");
    EXPECT_EQ(read->status.value, InvoiceStatus::kPaid);
    EXPECT_EQ(read->billing_reason.value, BillingReason::kSubscriptionCycle);
    EXPECT_EQ(read->amount_due, MinorUnits(2900));
    EXPECT_EQ(read->amount_paid, MinorUnits(2900));
    EXPECT_EQ(read->hosted_invoice_url, "https://invoice.test/i");
    EXPECT_EQ(read->invoice_pdf, "https://invoice.test/p");
    EXPECT_EQ(read->paid_at, At(1'700'000'100));
    ASSERT_EQ(read->lines.size(), 1U);
    const InvoiceLine& line = read->lines[0];
    EXPECT_EQ(line.until, At(1'702'592'000));
    EXPECT_EQ(line.from, At(1'700'000'000));
    EXPECT_EQ(line.item, SubscriptionItemId("si_1"));
    EXPECT_EQ(line.subscription, SubscriptionId("sub_1"));
    EXPECT_EQ(line.price, PriceId("price_1"));
    EXPECT_FALSE(line.proration);
    EXPECT_FALSE(line.extra);
    ASSERT_TRUE(read->payments.has_value());
    ASSERT_EQ(read->payments->size(), 1U);
    EXPECT_EQ(read->payments->at(0).payment_intent, PaymentIntentId("pi_1"));
    EXPECT_EQ(read->payments->at(0).status.value, InvoicePaymentStatus::kPaid);
  }
}

TEST(InvoiceTest, WhatItIsForIsSaidOrItIsRefused) {
  EXPECT_THAT(ReadJson(ReadInvoice, Without(NewInvoice(), "parent")),
              FailsAt("/parent", "neither at parent.subscription_details nor at subscription"));
  // Said, and none: a one-off's, in both eras, and a quote's.
  const Json quote = Parse(R"({"type":"quote_details","subscription_details":null})");
  for (const Json& json :
       {With(NewInvoice(), "parent", nullptr), With(OldInvoice(), "subscription", nullptr),
        With(NewInvoice(), "parent", quote)}) {
    const auto read = ReadJson(ReadInvoice, json);
    ASSERT_THAT(read, IsOk());
    EXPECT_TRUE(read->subscription.empty());
  }
  Json half = NewInvoice();
  half.Find("parent")->Find("subscription_details")->Remove("subscription");
  EXPECT_THAT(ReadJson(ReadInvoice, half),
              FailsAt("/parent/subscription_details/subscription", "missing"));
}

TEST(InvoiceTest, PaymentsThatWereNotAskedForAreNotNone) {
  const auto read = ReadJson(ReadInvoice, Without(NewInvoice(), "payments"));
  ASSERT_THAT(read, IsOk());
  EXPECT_FALSE(read->payments.has_value());
}

TEST(InvoiceTest, LinesSayWhereTheyComeFrom) {
  const struct {
    const char* what;
    Json line;
    bool extra;
    bool proration;
  } rows[] = {
      {"a proration", Parse(R"({"object":"line_item","amount":-900,"period":{"start":1,"end":2},
        "parent":{"type":"invoice_item_details","invoice_item_details":{"proration":true,
          "subscription":"sub_1"}},"pricing":{"price_details":{"price":{"id":"price_1"}}}})"),
       true, true},
      {"sold beside", Parse(R"({"object":"line_item","amount":900,"period":{"start":1,"end":2},
        "parent":{"type":"invoice_item_details","invoice_item_details":{"proration":false}}})"),
       true, false},
      {"sold beside, in the old era", Parse(R"({"object":"line_item","amount":900,
        "period":{"start":1,"end":2},"type":"invoiceitem","proration":false,"price":null})"),
       true, false},
      {"a word that came later", Parse(R"({"object":"line_item","amount":900,
        "period":{"start":1,"end":2},"parent":{"type":"gift_details","gift_details":{}}})"),
       false, false},
  };
  for (const auto& row : rows) {
    const auto read = ReadJson(ReadInvoiceLine, row.line);
    ASSERT_THAT(read, IsOk()) << row.what;
    EXPECT_EQ(read->extra, row.extra) << row.what;
    EXPECT_EQ(read->proration, row.proration) << row.what;
  }
}

TEST(InvoiceTest, TheFirstOfManyLinesSaysSo) {
  Json json = NewInvoice();
  json.Find("lines")->Set("has_more", true);
  EXPECT_TRUE(ReadJson(ReadInvoice, json)->more_lines);
  EXPECT_FALSE(ReadJson(ReadInvoice, NewInvoice())->more_lines);
}

TEST(SubscriptionTest, TheFirstOfManyItemsSaysSo) {
  Json json = NewSubscription();
  json.Find("items")->Set("has_more", true);
  EXPECT_TRUE(ReadJson(ReadSubscription, json)->more_items);
  EXPECT_FALSE(ReadJson(ReadSubscription, NewSubscription())->more_items);
}

TEST(SubscriptionTest, TheInvoiceInItIsReadWhenItWasExpanded) {
  const auto read =
      ReadJson(ReadSubscription, With(NewSubscription(), "latest_invoice", NewInvoice()));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->latest_invoice, InvoiceId("in_1"));
  ASSERT_TRUE(read->expanded_invoice.has_value());
  EXPECT_EQ(read->expanded_invoice->payments->at(0).payment_intent, PaymentIntentId("pi_1"));
}

Json Session() {
  return Parse(R"({"id":"cs_1","object":"checkout.session","mode":"subscription",
    "status":"complete","payment_status":"paid","customer":"cus_1","customer_email":null,
    "customer_details":{"email":"typed@b.test","name":"Ann"},"subscription":"sub_1",
    "invoice":"in_1","payment_intent":null,"client_reference_id":"t_1","currency":"usd",
    "amount_total":2900,"url":null,"created":1700000000,"expires_at":1700086400,
    "metadata":{"tenant_id":"t_1","plan":"pro"}})");
}

TEST(CheckoutSessionTest, IsReadWithAndWithoutWhatMayBeExpanded) {
  const auto plain = ReadJson(ReadCheckoutSession, Session());
  ASSERT_THAT(plain, IsOk());
  EXPECT_EQ(plain->mode.value, SessionMode::kSubscription);
  EXPECT_EQ(plain->status.value, SessionStatus::kComplete);
  EXPECT_EQ(plain->payment_status.value, PaymentStatus::kPaid);
  EXPECT_EQ(plain->email, "typed@b.test");
  EXPECT_TRUE(plain->payment_intent.empty()) << "null for every subscription: no key to keep";
  EXPECT_EQ(plain->subscription, SubscriptionId("sub_1"));
  EXPECT_FALSE(plain->expanded_subscription.has_value());
  EXPECT_FALSE(plain->line_items.has_value());
  EXPECT_EQ(plain->amount_total, MinorUnits(2900));

  Json whole = With(Session(), "subscription", NewSubscription());
  whole.Set("customer", Parse(R"({"id":"cus_1","object":"customer","email":"kept@b.test"})"));
  whole.Set("line_items", Parse(R"({"object":"list","has_more":false,"data":[{"id":"li_1",
    "object":"item","price":{"id":"price_1","object":"price","lookup_key":"pro"}}]})"));
  const auto read = ReadJson(ReadCheckoutSession, whole);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->customer, CustomerId("cus_1"));
  EXPECT_EQ(read->email, "typed@b.test");
  EXPECT_EQ(read->customer_email, "kept@b.test");
  EXPECT_EQ(read->subscription, SubscriptionId("sub_1"));
  ASSERT_TRUE(read->expanded_subscription.has_value());
  EXPECT_EQ(read->expanded_subscription->status.value, SubscriptionStatus::kActive);
  ASSERT_TRUE(read->line_items.has_value());
  EXPECT_EQ(read->line_items->at(0).lookup_key, "pro");

  whole.Set("customer_details", nullptr);
  EXPECT_EQ(ReadJson(ReadCheckoutSession, whole)->email, "kept@b.test");
  whole.Set("customer_email", "asked@b.test");
  EXPECT_EQ(ReadJson(ReadCheckoutSession, whole)->email, "asked@b.test");
}

TEST(RefundAndDisputeTest, AreRead) {
  const auto refund = ReadJson(ReadRefund, Parse(R"({"id":"re_1","object":"refund","amount":500,
    "currency":"usd","payment_intent":"pi_1","charge":{"id":"ch_1","object":"charge"},
    "status":"succeeded","reason":"requested_by_customer","created":1700000000,
    "metadata":{"actor":"op"}})"));
  ASSERT_THAT(refund, IsOk());
  EXPECT_EQ(refund->amount, MinorUnits(500));
  EXPECT_EQ(refund->charge, ChargeId("ch_1"));
  EXPECT_EQ(refund->status.value, RefundStatus::kSucceeded);
  EXPECT_EQ(InMetadata(refund->metadata, "actor"), "op");

  const auto dispute = ReadJson(ReadDispute, Parse(R"({"id":"dp_1","object":"dispute",
    "amount":2900,"currency":"usd","payment_intent":"pi_1","charge":"ch_1",
    "status":"warning_needs_response","reason":"fraudulent","created":1700000000})"));
  ASSERT_THAT(dispute, IsOk());
  EXPECT_EQ(dispute->status.value, DisputeStatus::kWarningNeedsResponse);

  const auto charge = ReadJson(ReadCharge, Parse(R"({"id":"ch_1","object":"charge","amount":2900,
    "amount_refunded":2900,"refunded":true,"currency":"usd","payment_intent":"pi_1",
    "customer":"cus_1"})"));
  ASSERT_THAT(charge, IsOk());
  EXPECT_TRUE(charge->refunded);
}

TEST(SetupObjectsTest, AreRead) {
  const auto endpoint = ReadJson(ReadWebhookEndpoint, Parse(R"({"id":"we_1","status":"enabled",
    "object":"webhook_endpoint","url":"https://h/webhooks/stripe","api_version":null,
    "enabled_events":["invoice.paid","*"],"secret":"whsec_1"})"));
  ASSERT_THAT(endpoint, IsOk());
  EXPECT_TRUE(endpoint->enabled);
  EXPECT_EQ(endpoint->enabled_events, (std::vector<std::string>{"invoice.paid", "*"}));
  EXPECT_TRUE(endpoint->secret.Matches("whsec_1"));
  const auto customer =
      ReadJson(ReadCustomer, Parse(R"({"id":"cus_1","object":"customer","deleted":true})"));
  ASSERT_THAT(customer, IsOk());
  EXPECT_TRUE(customer->deleted);
  const auto product = ReadJson(ReadProduct, Parse(R"({"id":"prod_1","object":"product",
    "name":"Pro","active":true,"metadata":{}})"));
  ASSERT_THAT(product, IsOk());
  EXPECT_EQ(product->name, "Pro");
  const auto portal = ReadJson(ReadPortalConfiguration, Parse(R"({"id":"bpc_1","active":true,
    "object":"billing_portal.configuration","is_default":false,"metadata":{"made_by":"x"}})"));
  ASSERT_THAT(portal, IsOk());
  EXPECT_EQ(portal->id, PortalConfigurationId("bpc_1"));
}

// A proxy, or a double that does not know the path, answers 200 with anything.
TEST(ObjectsTest, AnotherKindOfObjectIsNotTakenForIt) {
  const Json nothing = Parse(R"({"message":"Not Found"})");
  EXPECT_THAT(ReadJson(ReadSubscription, nothing), FailsWith(Code::kUpstreamProtocol));
  EXPECT_THAT(ReadJson(ReadCustomer, nothing), FailsAt("/object", "missing"));
  EXPECT_THAT(ReadJson(ReadPrice, nothing), FailsAt("/id", "missing"));
  EXPECT_THAT(ReadJson(ReadList, nothing), FailsAt("/data", "missing"));
  EXPECT_THAT(ReadJson(ReadInvoice, NewSubscription()), FailsAt("/object", "another kind"));
  EXPECT_THAT(ReadJson(ReadCheckoutSession, NewInvoice()), FailsAt("/object", "another kind"));
  EXPECT_THAT(ReadJson(ReadRefund, With(Session(), "id", "")), FailsAt("/object", "another kind"));
  EXPECT_THAT(ReadJson(ReadCheckoutSession, With(Session(), "id", "")), FailsAt("/id", "empty"));
}

TEST(ObjectsTest, AListIsNoLongerThanAPage) {
  std::vector<Json> items(kMostListed + 1, Json::Object());
  const auto list = [&items] {
    return Json::Object({{"object", "list"}, {"data", Json::Array(items)}, {"has_more", true}});
  };
  EXPECT_THAT(ReadJson(ReadList, list()), FailsAt("/data", "101 items"));
  items.pop_back();
  const Json json = list();
  const auto read = ReadJson(ReadList, json);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->data.size(), kMostListed);
  EXPECT_TRUE(read->has_more);
}

TEST(ValuesTest, AmountsBecomeDollarsExactlyOrNotAtAll) {
  EXPECT_EQ(DollarsOf(MinorUnits(2900), "usd"), Money::Micros(29'000'000));
  EXPECT_EQ(DollarsOf(MinorUnits(2900), "eur"), std::nullopt);
  EXPECT_EQ(DollarsOf(MinorUnits(INT64_MAX), "usd"), std::nullopt);
  EXPECT_EQ(CentsOf(Money::Micros(29'000'000)).value(), MinorUnits(2900));
  EXPECT_THAT(CentsOf(Money::Micros(5'000)), FailsWith(Code::kConfig));
}

}  // namespace
}  // namespace pontage::stripe
