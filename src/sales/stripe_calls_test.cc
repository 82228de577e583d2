#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "sales/checkout_request.h"
#include "sales/stripe_client.h"
#include "testing/expect.h"
#include "testing/stripe_peer.h"

// What each call puts on the wire, and what it makes of lists.
namespace pontage::sales {
namespace {

using codec::Json;
using stripe::Form;
using testing::FailsAt;
using testing::FailsWith;
using testing::IsOk;

class StripeCallsTest : public ::testing::Test {
 protected:
  StripeCallsTest() {
    client = *StripeClient::Make(pontage::testing::OptionsFor(peer), Clock::System(), rng);
  }
  static Deadline In() { return Deadline::In(Clock::System(), Millis(5'000)); }
  template <typename T>
  Result<T> Run(Task<T> task) {
    return loop.RunUntilDone(std::move(task));
  }
  struct Sent {
    std::string_view target;
    std::string_view body;
    std::function<bool()> call;
  };
  void CheckPosts(const std::vector<Sent>& rows) {
    for (const Sent& row : rows) {
      EXPECT_FALSE(row.call()) << "what was made is another kind of object";
      const auto& call = peer.calls.back();
      EXPECT_EQ(call.method, "POST");
      EXPECT_EQ(call.target, row.target);
      EXPECT_EQ(call.body, row.body);
      EXPECT_EQ(call.key, "k");
      peer.Forget();
    }
  }

  Loop loop;
  testing::StripePeer peer{loop};
  SeededRng rng{7};
  std::unique_ptr<StripeClient> client;
};

TEST_F(StripeCallsTest, EachPostIsAsCaptured) {
  StripeClient& c = *client;
  const stripe::SubscriptionId sub("sub_1");
  CheckPosts({
      {"/v1/customers", "email=a%40b.test&name=Ann&metadata[tenant_id]=t_1",
       [&] {
         return Run(c.CreateCustomer({"a@b.test", "Ann", TenantId("t_1")}, "k", In())).has_value();
       }},
      {"/v1/checkout/sessions/cs_1/expire", "",
       [&] { return Run(c.ExpireCheckout(stripe::SessionId("cs_1"), "k", In())).has_value(); }},
      {"/v1/billing_portal/sessions", "customer=cus_1&return_url=https%3A%2F%2Fh%2F",
       [&] {
         PortalRequest request;
         request.customer = stripe::CustomerId("cus_1");
         request.return_url = "https://h/";
         return Run(c.CreatePortalSession(request, "k", In())).has_value();
       }},
      {"/v1/billing_portal/sessions",
       "customer=cus_1&return_url=https%3A%2F%2Fh%2F&configuration=bpc_1"
       "&flow_data[type]=subscription_cancel"
       "&flow_data[subscription_cancel][subscription]=sub_1",
       [&] {
         PortalRequest request;
         request.customer = stripe::CustomerId("cus_1");
         request.return_url = "https://h/";
         request.flow = "subscription_cancel";
         request.subscription = sub;
         request.configuration = stripe::PortalConfigurationId("bpc_1");
         return Run(c.CreatePortalSession(request, "k", In())).has_value();
       }},
      {"/v1/subscriptions/sub_1", "cancel_at_period_end=true",
       [&] {
         return Run(c.UpdateSubscription(sub, CancelAtPeriodEndForm(true), "k", In())).has_value();
       }},
      {"/v1/subscriptions/sub_1",
       "items[0][id]=si_1&items[0][price]=price_2&proration_behavior=always_invoice",
       [&] {
         Form form =
             ChangePriceForm(stripe::SubscriptionItemId("si_1"), stripe::PriceId("price_2"));
         return Run(c.UpdateSubscription(sub, std::move(form), "k", In())).has_value();
       }},
      {"/v1/refunds",
       "payment_intent=pi_1&amount=500&reason=requested_by_customer&metadata[actor]=op",
       [&] {
         RefundRequest request;
         request.payment_intent = stripe::PaymentIntentId("pi_1");
         request.amount = stripe::MinorUnits(500);
         request.actor = "op";
         return Run(c.CreateRefund(request, "k", In())).has_value();
       }},
      {"/v1/refunds", "payment_intent=pi_1&reason=fraudulent&metadata[actor]=op",
       [&] {
         RefundRequest request;
         request.payment_intent = stripe::PaymentIntentId("pi_1");
         request.reason = "fraudulent";
         request.actor = "op";
         return Run(c.CreateRefund(request, "k", In())).has_value();
       }},
  });
}

TEST_F(StripeCallsTest, WhatSetupMakesCanBeFoundAgainByItsPlan) {
  StripeClient& c = *client;
  CheckPosts({
      {"/v1/products", "name=Pro%20plan&metadata[plan]=pro&metadata[made_by]=pontage",
       [&] { return Run(c.CreateProduct({"Pro plan", "pro"}, "k", In())).has_value(); }},
      {"/v1/prices",
       "product=prod_1&currency=usd&unit_amount=2900&recurring[interval]=month&lookup_key=pro"
       "&transfer_lookup_key=true&metadata[plan]=pro&metadata[made_by]=pontage",
       [&] {
         NewPrice price{stripe::ProductId("prod_1"), "pro", stripe::MinorUnits(2900), "month"};
         return Run(c.CreatePrice(price, "k", In())).has_value();
       }},
      {"/v1/prices",
       "product=prod_1&currency=usd&unit_amount=900&lookup_key=day&transfer_lookup_key=true"
       "&metadata[plan]=day&metadata[made_by]=pontage",
       [&] {
         NewPrice price{stripe::ProductId("prod_1"), "day", stripe::MinorUnits(900), ""};
         return Run(c.CreatePrice(price, "k", In())).has_value();
       }},
      {"/v1/webhook_endpoints",
       "url=https%3A%2F%2Fh%2Fwebhooks%2Fstripe&enabled_events[0]=invoice.paid"
       "&enabled_events[1]=refund.created&api_version=2026-10-28.endive",
       [&] {
         NewWebhookEndpoint endpoint{"https://h/webhooks/stripe",
                                     {"invoice.paid", "refund.created"},
                                     std::string(kStripeVersion)};
         return Run(c.CreateWebhookEndpoint(endpoint, "k", In())).has_value();
       }},
  });
}

TEST_F(StripeCallsTest, TheCheckoutGoesOutAsItWasBuilt) {
  CheckoutRequest request;
  request.plan = "pro";
  const Form form = CheckoutForm(request);
  EXPECT_FALSE(Run(client->CreateCheckout(form, "checkout:1", In())).has_value());
  EXPECT_EQ(peer.calls.back().target, "/v1/checkout/sessions");
  EXPECT_EQ(peer.calls.back().body, form.Encode());
  EXPECT_EQ(peer.calls.back().key, "checkout:1");
}

TEST_F(StripeCallsTest, ThePortalLetsABuyerChangeBetweenOurPrices) {
  PortalSetup setup;
  setup.return_url = "https://h/";
  setup.offers = "5e";
  const std::vector<stripe::PriceId> prices{stripe::PriceId("p_1"), stripe::PriceId("p_2")};
  setup.products.emplace_back(stripe::ProductId("prod_1"), prices);
  const std::string form = PortalConfigurationForm(setup).Encode();
  EXPECT_EQ(form,
            "default_return_url=https%3A%2F%2Fh%2F&features[customer_update][enabled]=true"
            "&features[customer_update][allowed_updates][0]=name"
            "&features[customer_update][allowed_updates][1]=address"
            "&features[customer_update][allowed_updates][2]=tax_id"
            "&features[invoice_history][enabled]=true"
            "&features[payment_method_update][enabled]=true"
            "&features[subscription_cancel][enabled]=true"
            "&features[subscription_cancel][mode]=at_period_end"
            "&features[subscription_update][enabled]=true"
            "&features[subscription_update][default_allowed_updates][0]=price"
            "&features[subscription_update][proration_behavior]=always_invoice"
            "&features[subscription_update][products][0][product]=prod_1"
            "&features[subscription_update][products][0][prices][0]=p_1"
            "&features[subscription_update][products][0][prices][1]=p_2"
            "&metadata[made_by]=pontage&metadata[offers]=5e");
  EXPECT_TRUE(form.ends_with('&' + PortalOffersForm(setup).Encode()));
  setup.products.clear();
  EXPECT_TRUE(PortalConfigurationForm(setup).Encode().contains(
      "&features[subscription_update][enabled]=false&metadata"));
  EXPECT_FALSE(Run(client->CreatePortalConfiguration(setup, "k", In())).has_value());
  EXPECT_EQ(peer.calls.back().target, "/v1/billing_portal/configurations");
  const stripe::PortalConfigurationId id("bpc_1");
  EXPECT_FALSE(Run(client->ChangePortalOffers(id, setup, "k2", In())).has_value());
  EXPECT_EQ(peer.calls.back().target, "/v1/billing_portal/configurations/bpc_1");
  EXPECT_EQ(peer.calls.back().body, PortalOffersForm(setup).Encode());
}

TEST_F(StripeCallsTest, AnEndpointIsToldWhatToHear) {
  const stripe::WebhookEndpointId id("we_1");
  EXPECT_FALSE(Run(client->ChangeEndpointEvents(id, {"a", "b"}, "k", In())).has_value());
  EXPECT_EQ(peer.calls.back().target, "/v1/webhook_endpoints/we_1");
  EXPECT_EQ(peer.calls.back().body, "enabled_events[0]=a&enabled_events[1]=b");
}

TEST_F(StripeCallsTest, EachQuestionIsAsCaptured) {
  StripeClient& c = *client;
  const stripe::SubscriptionId sub("sub_1");
  const stripe::PaymentIntentId pi("pi_1");
  StripeCursor older;
  older.after = "sub_9";
  StripeCursor newer;
  newer.before = "evt_9";
  EventQuery query;
  query.since = UnixMs::FromSeconds(1'700'000'000);
  query.types = {"invoice.paid"};
  query.undelivered = true;
  const struct {
    std::string_view target;
    std::function<bool()> call;
  } rows[] = {
      {"/v1/customers?email=a%2Bb%40c.test&limit=100",
       [&] { return Run(c.FindCustomers("a+b@c.test", In())).has_value(); }},
      {"/v1/customers/cus_1",
       [&] { return Run(c.RetrieveCustomer(stripe::CustomerId("cus_1"), In())).has_value(); }},
      {"/v1/checkout/sessions/cs_1?expand[0]=subscription&expand[1]=line_items&expand[2]=customer",
       [&] { return Run(c.RetrieveCheckout(stripe::SessionId("cs_1"), In())).has_value(); }},
      {"/v1/subscriptions/sub_1?expand[0]=latest_invoice.payments",
       [&] { return Run(c.RetrieveSubscription(sub, In())).has_value(); }},
      {"/v1/subscriptions?status=all&limit=100&starting_after=sub_9",
       [&] { return Run(c.ListSubscriptions({}, older, In())).has_value(); }},
      {"/v1/subscriptions?customer=cus_1&status=all&limit=100",
       [&] { return Run(c.ListSubscriptions(stripe::CustomerId("cus_1"), {}, In())).has_value(); }},
      {"/v1/invoices/in_1?expand[0]=payments",
       [&] { return Run(c.RetrieveInvoice(stripe::InvoiceId("in_1"), In())).has_value(); }},
      {"/v1/invoices?subscription=sub_1&status=paid&expand[0]=data.payments&limit=100",
       [&] { return Run(c.ListInvoices(sub, true, In())).has_value(); }},
      {"/v1/invoices?subscription=sub_1&expand[0]=data.payments&limit=100",
       [&] { return Run(c.ListInvoices(sub, false, In())).has_value(); }},
      {"/v1/invoice_payments?invoice=in_1&limit=100",
       [&] { return Run(c.PaymentsOfInvoice(stripe::InvoiceId("in_1"), In())).has_value(); }},
      {"/v1/invoice_payments?payment[type]=payment_intent&payment[payment_intent]=pi_1&limit=100",
       [&] { return Run(c.InvoicesOfPayment(pi, In())).has_value(); }},
      {"/v1/refunds?payment_intent=pi_1&limit=100",
       [&] { return Run(c.ListRefunds(pi, In())).has_value(); }},
      {"/v1/refunds/re_1",
       [&] { return Run(c.RetrieveRefund(stripe::RefundId("re_1"), In())).has_value(); }},
      {"/v1/disputes?payment_intent=pi_1&limit=100",
       [&] { return Run(c.ListDisputes(pi, In())).has_value(); }},
      {"/v1/disputes/dp_1",
       [&] { return Run(c.RetrieveDispute(stripe::DisputeId("dp_1"), In())).has_value(); }},
      {"/v1/events?created[gte]=1700000000&types[0]=invoice.paid&delivery_success=false&limit=100"
       "&ending_before=evt_9",
       [&] { return Run(c.ListEvents(query, newer, In())).has_value(); }},
      {"/v1/prices?lookup_keys[0]=pro&lookup_keys[1]=team&limit=100",
       [&] { return Run(c.FindPrices({"pro", "team"}, In())).has_value(); }},
      {"/v1/prices/price_1",
       [&] { return Run(c.RetrievePrice(stripe::PriceId("price_1"), In())).has_value(); }},
      {"/v1/products?active=true&limit=100", [&] { return Run(c.ListProducts(In())).has_value(); }},
      {"/v1/webhook_endpoints?limit=100",
       [&] { return Run(c.ListWebhookEndpoints(In())).has_value(); }},
      {"/v1/billing_portal/configurations?active=true&limit=100",
       [&] { return Run(c.ListPortalConfigurations(In())).has_value(); }},
  };
  for (const auto& row : rows) {
    EXPECT_FALSE(row.call()) << "nothing is there";
    EXPECT_EQ(peer.calls.back().method, "GET");
    EXPECT_EQ(peer.calls.back().target, row.target);
  }
}

Json SubscriptionNo(int n) {
  return codec::ParseJson(R"({"id":"sub_)" + std::to_string(n) + R"(","object":"subscription",
    "customer":"cus_1","status":"active","created":1,"items":{"data":[{"id":"si_1",
    "current_period_end":2,"price":{"id":"price_1"}}]}})")
      .value();
}

TEST_F(StripeCallsTest, AWalkGoesPageByPageAndAnOddObjectDoesNotEndIt) {
  auto& all = peer.lists["/v1/subscriptions"];
  for (int i = 0; i < 250; ++i) all.push_back(SubscriptionNo(i));
  all[120] = Json::Object({{"id", "sub_120"}, {"object", "subscription"}});
  std::set<std::string> seen;
  size_t unreadable = 0;
  StripeCursor cursor;
  for (int pages = 1;; ++pages) {
    const auto page = Run(client->ListSubscriptions({}, cursor, In()));
    ASSERT_THAT(page, IsOk());
    for (const auto& one : page->items) seen.insert(one.id.str());
    unreadable += page->unreadable;
    cursor.after = page->oldest;
    if (page->has_more) continue;
    EXPECT_EQ(pages, 3);
    break;
  }
  EXPECT_EQ(seen.size(), 249U);
  EXPECT_EQ(unreadable, 1U);
  EXPECT_EQ(cursor.after, "sub_249");
}

TEST_F(StripeCallsTest, AListThatIsAskedForWholeIsWholeOrAFault) {
  auto& all = peer.lists["/v1/products"];
  for (int i = 0; i < 1'000; ++i) {
    all.push_back(Json::Object({{"id", "prod_" + std::to_string(i)}, {"object", "product"}}));
  }
  const auto products = Run(client->ListProducts(In()));
  ASSERT_THAT(products, IsOk());
  EXPECT_EQ(products->size(), 1'000U);
  EXPECT_EQ(products->back().id, stripe::ProductId("prod_999"));
  all.push_back(all.back());
  EXPECT_THAT(Run(client->ListProducts(In())), FailsWith(Code::kOverloaded));
  all.resize(2);
  all[1] = Json::Object({{"object", "product"}});
  EXPECT_THAT(Run(client->ListProducts(In())), FailsAt("/id", "missing"));
  all.clear();
  EXPECT_EQ(Run(client->ListProducts(In()))->size(), 0U);
}

TEST_F(StripeCallsTest, ManyLookupKeysAreAskedForInTens) {
  peer.lists["/v1/prices"] = {Json::Object({{"id", "price_1"}, {"object", "price"}})};
  const std::vector<std::string> keys(21, "pro");
  const auto prices = Run(client->FindPrices(keys, In()));
  ASSERT_THAT(prices, IsOk());
  EXPECT_EQ(prices->size(), 3U);
  ASSERT_EQ(peer.calls.size(), 3U);
  EXPECT_EQ(peer.calls[2].target, "/v1/prices?lookup_keys[0]=pro&limit=100");
}

Json Line(int64_t until) {
  return Json::Object({{"object", "line_item"},
                       {"id", "il_" + std::to_string(until)},
                       {"amount", 100},
                       {"period", Json::Object({{"start", 1}, {"end", until}})}});
}

// Ten lines come with an invoice; what was paid for may stand on the eleventh.
TEST_F(StripeCallsTest, AnInvoiceComesWithAllItsLines) {
  const Json lines = Json::Object({{"data", Json::Array({Line(5)})}, {"has_more", true}});
  const Json invoice = Json::Object({{"id", "in_1"},
                                     {"object", "invoice"},
                                     {"parent", nullptr},
                                     {"status", "paid"},
                                     {"amount_due", 100},
                                     {"amount_paid", 100},
                                     {"created", 1},
                                     {"lines", lines}});
  peer.lists["/v1/invoices"] = {invoice};
  peer.objects["/v1/invoices/in_1"] = invoice;
  auto& all = peer.lists["/v1/invoices/in_1/lines"];
  for (int64_t i = 1; i <= 130; ++i) all.push_back(Line(i));
  const auto listed = Run(client->ListInvoices(stripe::SubscriptionId("sub_1"), true, In()));
  ASSERT_THAT(listed, IsOk());
  ASSERT_EQ(listed->size(), 1U);
  EXPECT_EQ(listed->at(0).lines.size(), 130U);
  EXPECT_FALSE(listed->at(0).more_lines);
  const auto one = Run(client->RetrieveInvoice(stripe::InvoiceId("in_1"), In()));
  ASSERT_THAT(one, IsOk());
  EXPECT_EQ(one->lines.back().until, UnixMs::FromSeconds(130));
}

// An item that is not on the first page is not one that is gone.
TEST_F(StripeCallsTest, ASubscriptionComesWithAllItsItems) {
  Json subscription = SubscriptionNo(1);
  subscription.Find("items")->Set("has_more", true);
  peer.objects["/v1/subscriptions/sub_1"] = subscription;
  peer.lists["/v1/subscriptions"] = {subscription, SubscriptionNo(2)};
  auto& all = peer.lists["/v1/subscription_items"];
  for (int64_t i = 1; i <= 130; ++i) {
    all.push_back(Json::Object({{"id", "si_" + std::to_string(i)},
                                {"object", "subscription_item"},
                                {"current_period_end", i},
                                {"price", Json::Object({{"id", "price_1"}})}}));
  }
  const auto one = Run(client->RetrieveSubscription(stripe::SubscriptionId("sub_1"), In()));
  ASSERT_THAT(one, IsOk());
  EXPECT_EQ(one->items.size(), 130U);
  EXPECT_FALSE(one->more_items);
  EXPECT_EQ(one->period_end, UnixMs::FromSeconds(130));
  EXPECT_EQ(peer.calls[1].target, "/v1/subscription_items?subscription=sub_1&limit=100");
  const auto listed = Run(client->ListSubscriptions({}, {}, In()));
  ASSERT_THAT(listed, IsOk());
  EXPECT_EQ(listed->items.at(0).items.size(), 130U);
  EXPECT_EQ(listed->items.at(1).items.size(), 1U);
}

// The first try may have canceled it before its answer was lost.
TEST_F(StripeCallsTest, ACanceledSubscriptionIsCanceledAlready) {
  const stripe::SubscriptionId sub("sub_1");
  Json json = SubscriptionNo(1);
  json.Set("status", "canceled");
  peer.objects["/v1/subscriptions/sub_1"] = json;
  const testing::StripePeer::Fault gone{
      .status = 404, .body = R"({"error":{"code":"resource_missing","message":"No such one"}})"};
  peer.faults = {gone};
  const auto canceled = Run(client->CancelSubscription(sub, In()));
  ASSERT_THAT(canceled, IsOk());
  EXPECT_EQ(canceled->status.value, stripe::SubscriptionStatus::kCanceled);
  EXPECT_EQ(peer.calls[0].method, "DELETE");
  EXPECT_EQ(peer.calls[0].target, "/v1/subscriptions/sub_1");
  EXPECT_EQ(peer.calls[0].key, "");
  // One that is alive was not found for another reason.
  peer.objects["/v1/subscriptions/sub_1"] = SubscriptionNo(1);
  peer.faults = {gone};
  EXPECT_THAT(Run(client->CancelSubscription(sub, In())), FailsWith(Code::kNotFound));
  peer.objects.clear();
  EXPECT_THAT(Run(client->CancelSubscription(sub, In())), FailsWith(Code::kNotFound));
}

}  // namespace
}  // namespace pontage::sales
