// Buying at the hosted page, as the API and the events show it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/stripe_fixture.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kDay = 86'400;

class CheckoutTest : public testing::StripeFixture {};

TEST_F(CheckoutTest, ASubscriptionIsBoughtAndPaid) {
  const Json session =
      OpenSession(MakePrice(),
                  "client_reference_id=acme&metadata[tenant_id]=acme"
                  "&subscription_data[metadata][tenant_id]=acme&allow_promotion_codes=true");
  EXPECT_EQ(Text(session, "status"), "open");
  EXPECT_EQ(Text(session, "payment_status"), "unpaid");
  EXPECT_EQ(Int(session, "amount_total"), 2'900);
  EXPECT_EQ(Int(session, "expires_at"), Now() + kDay);
  EXPECT_TRUE(Member(session, "customer").IsNull());
  NewEvents();

  const Answer paid = PayAt(session, "paid");
  EXPECT_EQ(paid.status, 303);
  EXPECT_EQ(HeaderOf(paid, "Location"), "https://shop.example/ok?sid=" + Text(session, "id"));
  const Json done = Get("/v1/checkout/sessions/" + Text(session, "id") +
                        "?expand[]=subscription&expand[]=line_items&expand[]=customer");
  EXPECT_EQ(Text(done, "status"), "complete");
  EXPECT_EQ(Text(done, "payment_status"), "paid");
  EXPECT_TRUE(Member(done, "payment_intent").IsNull());
  EXPECT_TRUE(Member(done, "url").IsNull());
  EXPECT_EQ(Text(Member(done, "customer_details"), "email"), "ann@buyer.example");
  EXPECT_EQ(Text(Member(done, "customer"), "email"), "ann@buyer.example");
  EXPECT_EQ(Int(First(Member(done, "line_items")), "amount_total"), 2'900);

  const Json& subscription = Member(done, "subscription");
  EXPECT_EQ(Text(subscription, "status"), "active");
  EXPECT_EQ(subscription.Find("current_period_end"), nullptr);
  EXPECT_EQ(Text(Member(subscription, "metadata"), "tenant_id"), "acme");
  const Json item = First(Member(subscription, "items"));
  EXPECT_EQ(Int(item, "current_period_start"), Now());
  EXPECT_EQ(Int(item, "current_period_end"), Now() + 30 * kDay);
  EXPECT_EQ(Int(Member(item, "price"), "unit_amount"), 2'900);

  EXPECT_THAT(NewEvents(),
              ElementsAre("customer.created", "invoice.created", "customer.subscription.created",
                          "invoice.finalized", "payment_intent.created", "payment_intent.succeeded",
                          "charge.succeeded", "invoice_payment.paid", "invoice.paid",
                          "invoice.payment_succeeded", "customer.subscription.updated",
                          "checkout.session.completed"));
}

TEST_F(CheckoutTest, TheInvoiceNamesItsSubscriptionAndItsPaymentWhereEndiveDoes) {
  const std::string id = Subscribe("paid", "subscription_data[metadata][tenant_id]=acme");
  const Json subscription = Subscription(id, "latest_invoice.payments");
  const Json& invoice = Member(subscription, "latest_invoice");
  EXPECT_EQ(Text(invoice, "status"), "paid");
  EXPECT_EQ(Text(invoice, "billing_reason"), "subscription_create");
  for (const char* gone : {"subscription", "payment_intent", "charge", "paid", "tax"}) {
    EXPECT_EQ(invoice.Find(gone), nullptr) << gone;
  }
  const Json& parent = Member(invoice, "parent");
  EXPECT_EQ(Text(parent, "type"), "subscription_details");
  EXPECT_EQ(Text(Member(parent, "subscription_details"), "subscription"), id);
  EXPECT_EQ(Text(Member(Member(parent, "subscription_details"), "metadata"), "tenant_id"), "acme");
  const Json line = First(Member(invoice, "lines"));
  EXPECT_EQ(Int(Member(line, "period"), "end"), Now() + 30 * kDay);
  const Json payment = First(Member(invoice, "payments"));
  EXPECT_EQ(Text(payment, "status"), "paid");
  EXPECT_EQ(Int(payment, "amount_paid"), 2'900);
  const std::string intent = Text(Member(payment, "payment"), "payment_intent");
  EXPECT_EQ(Text(Get("/v1/payment_intents/" + intent), "status"), "succeeded");
  const Json listed = Get("/v1/invoice_payments?invoice=" + Text(invoice, "id"));
  EXPECT_EQ(Text(First(listed), "id"), Text(payment, "id"));
  // Without being asked for it is not there.
  EXPECT_EQ(Get("/v1/invoices/" + Text(invoice, "id")).Find("payments"), nullptr);
}

TEST_F(CheckoutTest, ACardThatFailsLeavesTheSessionOpen) {
  const Json session = OpenSession(MakePrice());
  NewEvents();
  const Answer declined = PayAt(session, "decline");
  EXPECT_EQ(declined.status, 402);
  EXPECT_THAT(declined.body, HasSubstr("role=\"alert\">Your card was declined"));
  EXPECT_THAT(NewEvents(),
              ElementsAre("customer.created", "invoice.created", "customer.subscription.created",
                          "invoice.finalized", "payment_intent.created", "charge.failed",
                          "payment_intent.payment_failed", "invoice.payment_failed"));
  EXPECT_EQ(PayAt(session, "3ds_fail").status, 402);
  EXPECT_THAT(NewEvents(),
              ElementsAre("payment_intent.requires_action", "payment_intent.payment_failed",
                          "invoice.payment_action_required", "invoice.payment_failed"));
  const Json open = Get("/v1/checkout/sessions/" + Text(session, "id"));
  EXPECT_EQ(Text(open, "status"), "open");
  EXPECT_TRUE(Member(open, "subscription").IsNull());
  const Json waiting = First(Get("/v1/subscriptions?status=incomplete"));
  EXPECT_EQ(Text(waiting, "status"), "incomplete");

  // The next attempt goes on with the same subscription.
  EXPECT_EQ(PayAt(session, "paid").status, 303);
  EXPECT_EQ(Items(Get("/v1/subscriptions?status=all")).size(), 1U);
  EXPECT_EQ(Text(Subscription(Text(waiting, "id")), "status"), "active");
  EXPECT_EQ(Items(Get("/v1/customers")).size(), 1U);
}

TEST_F(CheckoutTest, AnIncompleteSubscriptionExpires) {
  const Json session = OpenSession(MakePrice());
  PayAt(session, "decline");
  const std::string id = Text(First(Get("/v1/subscriptions?status=all")), "id");
  Advance(23 * 3'600 + 1);
  const Json subscription = Subscription(id, "latest_invoice");
  EXPECT_EQ(Text(subscription, "status"), "incomplete_expired");
  EXPECT_EQ(Text(Member(subscription, "latest_invoice"), "status"), "void");
  EXPECT_THAT(NewEvents(), Contains("invoice.voided"));
  Advance(3'600);
  EXPECT_EQ(Text(Get("/v1/checkout/sessions/" + Text(session, "id")), "status"), "expired");
  EXPECT_EQ(PayAt(session, "paid").status, 410);
}

TEST_F(CheckoutTest, ADelayedPaymentIsDecidedDaysLater) {
  const Json session = OpenSession(MakePrice());
  EXPECT_EQ(PayAt(session, "async").status, 303);
  const std::string at = "/v1/checkout/sessions/" + Text(session, "id");
  const std::string id = Text(Get(at), "subscription");
  EXPECT_EQ(Text(Get(at), "payment_status"), "unpaid");
  EXPECT_EQ(Text(Subscription(id), "status"), "active");
  NewEvents();
  Advance(3 * kDay);
  EXPECT_EQ(Text(Get(at), "payment_status"), "paid");
  EXPECT_THAT(NewEvents(), Contains("checkout.session.async_payment_succeeded"));
  EXPECT_EQ(Text(Member(Subscription(id, "latest_invoice"), "latest_invoice"), "status"), "paid");

  const Json other = OpenSession(MakePrice());
  PayAt(other, "async");
  NewEvents();
  Post("/_test/async", "outcome=failed&session=" + Text(other, "id"));
  EXPECT_THAT(NewEvents(), Contains("checkout.session.async_payment_failed"));
  const Json lost = Get("/v1/checkout/sessions/" + Text(other, "id"));
  EXPECT_EQ(Text(lost, "payment_status"), "unpaid");
  EXPECT_EQ(Text(Subscription(Text(lost, "subscription")), "status"), "past_due");
}

TEST_F(CheckoutTest, AOneOffPaymentWithAnInvoice) {
  const Json session =
      OpenSession(MakePrice("nickname=once"),
                  "customer_creation=always&invoice_creation[enabled]=true&metadata[plan]=pro"
                  "&payment_intent_data[metadata][plan]=pro",
                  "payment");
  EXPECT_EQ(PayAt(session, "paid").status, 303);
  const Json done = Get("/v1/checkout/sessions/" + Text(session, "id") + "?expand[]=invoice");
  EXPECT_EQ(Text(done, "payment_status"), "paid");
  EXPECT_TRUE(Member(done, "subscription").IsNull());
  const Json& invoice = Member(done, "invoice");
  EXPECT_EQ(Text(invoice, "status"), "paid");
  EXPECT_TRUE(Member(invoice, "parent").IsNull());
  const Json intent = Get("/v1/payment_intents/" + Text(done, "payment_intent"));
  EXPECT_EQ(Int(intent, "amount_received"), 2'900);
  EXPECT_EQ(Text(Member(intent, "metadata"), "plan"), "pro");
  EXPECT_THAT(NewEvents(), Contains("invoice.paid"));
}

TEST_F(CheckoutTest, AGuestPaysOnceWithoutCustomerAndInvoice) {
  const Json session = OpenSession(MakePrice("nickname=once"), "", "payment");
  PayAt(session, "paid");
  const Json done = Get("/v1/checkout/sessions/" + Text(session, "id"));
  EXPECT_TRUE(Member(done, "customer").IsNull());
  EXPECT_TRUE(Member(done, "invoice").IsNull());
  EXPECT_FALSE(Text(done, "payment_intent").empty());
  EXPECT_EQ(Text(Member(done, "customer_details"), "email"), "ann@buyer.example");
}

TEST_F(CheckoutTest, ThePageAsksForWhatIsNotKnown) {
  const std::string price = MakePrice();
  const Json unknown = OpenSession(price, "tax_id_collection[enabled]=true");
  const Answer page = Ask("GET", "/checkout/pay/" + Text(unknown, "id"));
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, HasSubstr("<label>E-mail <input name=\"email\""));
  EXPECT_THAT(page.body, HasSubstr("name=\"business_name\""));
  EXPECT_THAT(page.body, HasSubstr("$29.00 every 1 month"));
  EXPECT_THAT(page.body, Not(HasSubstr("no_card")));
  EXPECT_EQ(PayAt(unknown, "paid", "email=nobody").status, 400);
  EXPECT_EQ(PayAt(unknown, "steal").status, 400);
  PayAt(unknown, "paid", "email=a%40b.example&business_name=ACME+%26+Co&tax_id=DE123456789");
  const Json done = Get("/v1/checkout/sessions/" + Text(unknown, "id") + "?expand[]=customer");
  const Json& details = Member(done, "customer_details");
  EXPECT_EQ(Text(details, "business_name"), "ACME & Co");
  EXPECT_EQ(Text(Member(details, "tax_ids").AsArray()->front(), "type"), "eu_vat");
  EXPECT_EQ(Text(Member(done, "customer"), "name"), "ACME & Co");

  const std::string customer = Text(Post("/v1/customers", "email=bob%40b.example"), "id");
  const Json known = OpenSession(price, "customer=" + customer);
  EXPECT_THAT(Ask("GET", "/checkout/pay/" + Text(known, "id")).body, Not(HasSubstr("E-mail")));
  EXPECT_EQ(PayAt(known, "paid", "email=other%40b.example").status, 303);
  EXPECT_EQ(Text(Get("/v1/checkout/sessions/" + Text(known, "id")), "customer"), customer);
  EXPECT_EQ(Text(Get("/v1/customers/" + customer), "email"), "bob@b.example");
}

TEST_F(CheckoutTest, ATestCompletesASessionInOneCall) {
  const std::string price = MakePrice();
  const auto complete = [this](const Json& session, const std::string& rest) {
    return Ask("POST", "/checkout/pay/" + Text(session, "id") + "/complete" + rest).status;
  };
  const auto now = [this](const Json& session) {
    return Get("/v1/checkout/sessions/" + Text(session, "id"));
  };
  const Json session = OpenSession(price);
  EXPECT_EQ(complete(session, "?outcome=steal"), 400);
  EXPECT_EQ(complete(session, "?outcome=3ds_fail"), 402);
  EXPECT_EQ(Text(now(session), "status"), "open");
  EXPECT_EQ(Ask("GET", "/checkout/pay/" + Text(session, "id") + "/complete").status, 404);
  EXPECT_EQ(complete(session, "?outcome=paid"), 303);
  EXPECT_EQ(Text(now(session), "payment_status"), "paid");
  EXPECT_EQ(Text(Member(now(session), "customer_details"), "email"), "buyer@example.com");
  const Json named = OpenSession(price);
  EXPECT_EQ(complete(named, "?outcome=async&email=ann%40buyer.example"), 303);
  EXPECT_EQ(Text(now(named), "payment_status"), "unpaid");
  EXPECT_EQ(Text(Member(now(named), "customer_details"), "email"), "ann@buyer.example");
  EXPECT_EQ(Ask("POST", "/checkout/pay/cs_none/complete?outcome=paid").status, 404);
}

// What others wrote is text on our pages, never markup.
TEST_F(CheckoutTest, ThePageEscapes) {
  const std::string price = MakePrice("recurring[interval]=day");
  Post("/v1/products/" + Text(Get("/v1/prices/" + price), "product"), "name=<script>alert(1)");
  const Json session = OpenSession(price);
  const Answer page =
      Ask("POST", "/checkout/pay/" + Text(session, "id"), "email=\"><b>&outcome=paid");
  EXPECT_EQ(page.status, 400);
  EXPECT_THAT(page.body, Not(HasSubstr("<script>")));
  EXPECT_THAT(page.body, Not(HasSubstr("<b>")));
  EXPECT_THAT(page.body, HasSubstr("value=\"&quot;&gt;&lt;b&gt;\""));
  EXPECT_THAT(HeaderOf(page, "Content-Security-Policy"), HasSubstr("default-src 'none'"));
}

TEST_F(CheckoutTest, SessionsAreCheckedAsStripeChecksThem) {
  const std::string price = MakePrice();
  const std::string once = MakePrice("nickname=once");
  const std::string customer = Text(Post("/v1/customers", "email=bob%40b.example"), "id");
  const std::string good = "mode=subscription&line_items[0][price]=" + price +
                           "&line_items[0][quantity]=1&success_url=https%3A%2F%2Fshop.example";
  const auto fault = [&](const std::string& more) {
    return Fault("POST", "/v1/checkout/sessions", good + more);
  };
  EXPECT_EQ(fault("&payment_method_types[]=card"), "400 parameter_unknown payment_method_types[0]");
  EXPECT_EQ(fault("&customer=cus_none"), "404 resource_missing customer");
  EXPECT_EQ(fault("&customer=" + customer + "&customer_email=a%40b.c"), "400  customer_email");
  EXPECT_EQ(fault("&customer_update[name]=auto"), "400  customer_update");
  EXPECT_EQ(fault("&automatic_tax[enabled]=true&customer=" + customer),
            "400 customer_tax_location_invalid ");
  EXPECT_EQ(fault("&tax_id_collection[enabled]=true&customer=" + customer), "400  ");
  EXPECT_EQ(fault("&expires_at=" + std::to_string(Now() + 60)), "400  expires_at");
  EXPECT_EQ(fault("&payment_intent_data[description]=x"), "400  payment_intent_data");
  EXPECT_EQ(fault("&cancel_url=javascript:alert(1)"), "400 url_invalid cancel_url");
  EXPECT_EQ(Fault("POST", "/v1/checkout/sessions", "mode=subscription&success_url=https%3A%2F%2Fx"),
            "400 parameter_missing line_items");
  EXPECT_EQ(Fault("POST", "/v1/checkout/sessions",
                  "mode=subscription&success_url=https%3A%2F%2Fx&line_items[0][quantity]=1"
                  "&line_items[0][price]=" +
                      once),
            "400  line_items[0][price]");
  EXPECT_EQ(Fault("POST", "/v1/checkout/sessions",
                  "mode=payment&success_url=https%3A%2F%2Fx&line_items[0][quantity]=1"
                  "&line_items[0][price]=" +
                      price),
            "400  line_items[0][price]");
  const Json both = OpenSession(
      price, "automatic_tax[enabled]=true&tax_id_collection[enabled]=true&customer=" + customer +
                 "&customer_update[address]=auto&customer_update[name]=auto");
  EXPECT_EQ(Text(Post("/v1/checkout/sessions/" + Text(both, "id") + "/expire"), "status"),
            "expired");
  EXPECT_EQ(Fault("POST", "/v1/checkout/sessions/" + Text(both, "id") + "/expire"), "400  ");
  EXPECT_THAT(NewEvents(), Contains("checkout.session.expired"));
}

TEST_F(CheckoutTest, PricesMayBeMadeOnTheWay) {
  const Json session = Post("/v1/checkout/sessions",
                            "mode=subscription&success_url=https%3A%2F%2Fshop.example"
                            "&line_items[0][quantity]=2&line_items[0][price_data][currency]=eur"
                            "&line_items[0][price_data][unit_amount]=500"
                            "&line_items[0][price_data][recurring][interval]=year"
                            "&line_items[0][price_data][product_data][name]=Seats");
  EXPECT_EQ(Int(session, "amount_total"), 1'000);
  EXPECT_EQ(Text(session, "currency"), "eur");
  const Json items = Get("/v1/checkout/sessions/" + Text(session, "id") + "/line_items");
  EXPECT_EQ(Text(First(items), "description"), "Seats");
}

}  // namespace
}  // namespace pontage::sandbox
