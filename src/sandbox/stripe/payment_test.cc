// Refunds and disputes, and the pages of invoices and of the portal.
#include <charconv>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox/stripe/pages.h"
#include "sandbox/stripe/pdf.h"
#include "testing/stripe_fixture.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int64_t kHour = 3'600;
constexpr int64_t kDay = 86'400;

class PaymentTest : public testing::StripeFixture {
 protected:
  // The payment intent of a subscription's latest invoice.
  std::string IntentOf(const std::string& subscription) {
    const Json invoice =
        Member(Subscription(subscription, "latest_invoice.payments"), "latest_invoice");
    return Text(Member(First(Member(invoice, "payments")), "payment"), "payment_intent");
  }
  Json ChargeOf(const std::string& intent) {
    return First(Get("/v1/charges?payment_intent=" + intent));
  }
};

TEST_F(PaymentTest, IsRefundedInPartsAndNotMore) {
  const std::string intent = IntentOf(Subscribe());
  NewEvents();
  const Json part = Post("/v1/refunds", "payment_intent=" + intent +
                                            "&amount=900&reason=requested_by_customer"
                                            "&metadata[actor]=ann");
  EXPECT_EQ(Text(part, "status"), "succeeded");
  EXPECT_EQ(Int(part, "amount"), 900);
  EXPECT_EQ(Text(part, "payment_intent"), intent);
  EXPECT_EQ(Text(Member(part, "metadata"), "actor"), "ann");
  EXPECT_THAT(NewEvents(), ElementsAre("refund.created", "charge.refunded", "refund.updated"));
  Json charge = ChargeOf(intent);
  EXPECT_EQ(Int(charge, "amount_refunded"), 900);
  EXPECT_EQ(Member(charge, "refunded"), Json(false));
  EXPECT_EQ(Fault("POST", "/v1/refunds", "payment_intent=" + intent + "&amount=2001"),
            "400  amount");
  const Json rest = Post("/v1/refunds", "charge=" + Text(charge, "id"));
  EXPECT_EQ(Int(rest, "amount"), 2'000);
  charge = Get("/v1/charges/" + Text(charge, "id") + "?expand[]=refunds");
  EXPECT_EQ(Member(charge, "refunded"), Json(true));
  EXPECT_EQ(Items(Member(charge, "refunds")).size(), 2U);
  EXPECT_EQ(Fault("POST", "/v1/refunds", "payment_intent=" + intent),
            "400 charge_already_refunded ");
  EXPECT_EQ(Items(Get("/v1/refunds?payment_intent=" + intent)).size(), 2U);
  EXPECT_EQ(Text(Post("/v1/refunds/" + Text(rest, "id"), "metadata[a]=b"), "id"), Text(rest, "id"));
}

TEST_F(PaymentTest, OnlyWhatWasPaidIsRefunded) {
  EXPECT_EQ(Fault("POST", "/v1/refunds"), "400 parameter_missing payment_intent");
  EXPECT_EQ(Fault("POST", "/v1/refunds", "payment_intent=pi_none"),
            "404 resource_missing payment_intent");
  EXPECT_EQ(Fault("POST", "/v1/refunds", "charge=ch_none"), "404 resource_missing charge");
  PayAt(OpenSession(MakePrice()), "decline");
  const Json failed = First(Get("/v1/charges"));
  EXPECT_EQ(Text(failed, "status"), "failed");
  EXPECT_EQ(Text(failed, "failure_code"), "card_declined");
  EXPECT_EQ(Fault("POST", "/v1/refunds", "charge=" + Text(failed, "id")), "400  charge");
  EXPECT_EQ(Fault("POST", "/v1/refunds", "payment_intent=" + Text(failed, "payment_intent")),
            "400  payment_intent");
  const Json intent = Get("/v1/payment_intents/" + Text(failed, "payment_intent"));
  EXPECT_EQ(Text(Member(intent, "last_payment_error"), "decline_code"), "generic_decline");
}

TEST_F(PaymentTest, IsDisputedAndWonOrLost) {
  const std::string id = Subscribe();
  const std::string intent = IntentOf(id);
  NewEvents();
  const Json dispute = Post("/_test/dispute", "subscription=" + id);
  EXPECT_EQ(Text(dispute, "status"), "needs_response");
  EXPECT_EQ(Text(dispute, "payment_intent"), intent);
  EXPECT_EQ(Member(ChargeOf(intent), "disputed"), Json(true));
  EXPECT_THAT(NewEvents(), ElementsAre("charge.dispute.created", "charge.dispute.funds_withdrawn"));
  EXPECT_EQ(Fault("POST", "/v1/refunds", "payment_intent=" + intent), "400 charge_disputed ");
  EXPECT_EQ(Ask("POST", "/_test/dispute", "payment_intent=" + intent).status, 400);
  const Json won = Post("/_test/dispute", "close=won&dispute=" + Text(dispute, "id"));
  EXPECT_EQ(Text(won, "status"), "won");
  EXPECT_EQ(Member(won, "balance_transactions").AsArray()->size(), 2U);
  EXPECT_THAT(NewEvents(), ElementsAre("charge.dispute.closed", "charge.dispute.funds_reinstated"));
  EXPECT_EQ(Ask("POST", "/_test/dispute", "close=lost&dispute=" + Text(dispute, "id")).status, 400);
  EXPECT_EQ(Text(First(Get("/v1/disputes?payment_intent=" + intent)), "id"), Text(dispute, "id"));

  const std::string other = IntentOf(Subscribe());
  const Json second = Post("/_test/dispute", "reason=product_not_received&payment_intent=" + other);
  EXPECT_EQ(Text(second, "reason"), "product_not_received");
  NewEvents();
  EXPECT_EQ(Text(Post("/_test/dispute", "close=lost&dispute=" + Text(second, "id")), "status"),
            "lost");
  EXPECT_THAT(NewEvents(), ElementsAre("charge.dispute.closed"));
}

// A PDF whose cross-reference table points at its objects.
TEST(PdfTest, PointsAtItsObjects) {
  const std::string pdf = stripe::TextPdf({"Invoice (1)", "back\\slash", "é"});
  EXPECT_THAT(pdf, StartsWith("%PDF-1.4\n"));
  EXPECT_THAT(pdf, ::testing::EndsWith("%%EOF\n"));
  EXPECT_THAT(pdf, HasSubstr("(Invoice \\(1\\)) Tj"));
  EXPECT_THAT(pdf, HasSubstr("(back\\\\slash) Tj"));
  EXPECT_THAT(pdf, HasSubstr("() Tj"));
  const auto number_at = [&](size_t at) {
    size_t value = 0;
    const char* from = pdf.data() + at;
    std::from_chars(from, pdf.data() + pdf.size(), value);
    return value;
  };
  const size_t table = number_at(pdf.find("startxref\n") + 10);
  ASSERT_EQ(pdf.substr(table, 9), "xref\n0 6\n");
  for (size_t object = 1; object <= 5; ++object) {
    const size_t at = number_at(table + 9 + 20 * object);
    EXPECT_EQ(pdf.substr(at, 7), std::to_string(object) + " 0 obj");
  }
  const size_t stream = pdf.find("stream\n") + 7;
  EXPECT_EQ(number_at(pdf.find("/Length ") + 8), pdf.find("\nendstream") - stream);
}

TEST(PagesTest, AmountsForPeople) {
  EXPECT_EQ(stripe::AmountText(2'900, "usd"), "$29.00");
  EXPECT_EQ(stripe::AmountText(-5, "usd"), "-$0.05");
  EXPECT_EQ(stripe::AmountText(1'234'56, "eur"), "1234.56 EUR");
  EXPECT_EQ(stripe::DateText(1'769'817'600), "2026-01-31");
}

class PortalTest : public PaymentTest {
 protected:
  std::string PathOf(const Json& portal) {
    const std::string url = Text(portal, "url");
    return url.substr(url.find("/portal/"));
  }
  Json OpenPortal(const std::string& subscription, const std::string& rest = "") {
    return Post("/v1/billing_portal/sessions",
                "customer=" + Text(Subscription(subscription), "customer") +
                    "&return_url=https%3A%2F%2Fshop.example%2Fme" + rest);
  }
};

TEST_F(PortalTest, CancelsAndTakesItBack) {
  const std::string id = Subscribe();
  const Json portal = OpenPortal(id);
  EXPECT_THAT(Text(portal, "url"), HasSubstr("/portal/bps_1"));
  const Answer page = Ask("GET", PathOf(portal));
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, HasSubstr("cancel_at_period_end"));
  EXPECT_THAT(page.body, HasSubstr("href=\"https://shop.example/me\""));
  NewEvents();
  const std::string of = "&subscription=" + id;
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=cancel_at_period_end" + of).status, 303);
  EXPECT_EQ(Member(Subscription(id), "cancel_at_period_end"), Json(true));
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=resume" + of).status, 303);
  EXPECT_EQ(Member(Subscription(id), "cancel_at_period_end"), Json(false));
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=cancel_now" + of).status, 303);
  EXPECT_EQ(Text(Subscription(id), "status"), "canceled");
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=resume" + of).status, 400);
  EXPECT_THAT(NewEvents(),
              ElementsAre("customer.subscription.updated", "customer.subscription.updated",
                          "customer.subscription.deleted"));
}

TEST_F(PortalTest, ChangesThePlan) {
  const std::string id = Subscribe();
  const std::string dearer = Text(Post("/v1/prices",
                                       "currency=usd&unit_amount=5900"
                                       "&recurring[interval]=month"
                                       "&product_data[name]=Team"),
                                  "id");
  const Json portal = OpenPortal(id);
  EXPECT_THAT(Ask("GET", PathOf(portal)).body, HasSubstr("Team, $59.00 a month"));
  EXPECT_EQ(
      Ask("POST", PathOf(portal), "action=change_plan&subscription=" + id + "&price=" + dearer)
          .status,
      303);
  EXPECT_EQ(Text(Member(First(Member(Subscription(id), "items")), "price"), "id"), dearer);
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=change_plan&subscription=" + id).status, 400);
}

TEST_F(PortalTest, OffersThePricesOfItsConfiguration) {
  const std::string id = Subscribe();
  std::vector<std::string> prices;
  for (const char* name : {"Team", "Large"}) {
    prices.push_back(Text(Post("/v1/prices",
                               "currency=usd&unit_amount=5900&recurring[interval]=month"
                               "&product_data[name]=" +
                                   std::string(name)),
                          "id"));
  }
  const std::string product = Text(Get("/v1/prices/" + prices[0]), "product");
  const std::string update = "features[subscription_update]";
  const std::string configuration =
      Text(Post("/v1/billing_portal/configurations",
                update + "[enabled]=true&" + update + "[default_allowed_updates][]=price&" +
                    update + "[products][0][product]=" + product + "&" + update +
                    "[products][0][prices][]=" + prices[0]),
           "id");
  const Json portal = OpenPortal(id, "&configuration=" + configuration);
  const std::string page = Ask("GET", PathOf(portal)).body;
  EXPECT_THAT(page, HasSubstr("Team, $59.00 a month"));
  EXPECT_THAT(page, Not(HasSubstr("Large")));
  const std::string change = "action=change_plan&subscription=" + id + "&price=";
  EXPECT_EQ(Ask("POST", PathOf(portal), change + prices[1]).status, 400);
  EXPECT_EQ(Ask("POST", PathOf(portal), change + prices[0]).status, 303);
  Post("/v1/billing_portal/configurations/" + configuration, "active=false");
  EXPECT_EQ(
      Fault("POST", "/v1/billing_portal/sessions",
            "customer=" + Text(Subscription(id), "customer") + "&configuration=" + configuration),
      "400  configuration");
}

TEST_F(PortalTest, PausesWhereThatIsOffered) {
  const std::string id = Subscribe();
  EXPECT_THAT(Ask("GET", PathOf(OpenPortal(id))).body, Not(HasSubstr("\"pause\"")));
  const std::string configuration =
      Text(Post("/v1/billing_portal/configurations", "features[subscription_pause][enabled]=true"),
           "id");
  const Json portal = OpenPortal(id, "&configuration=" + configuration);
  EXPECT_THAT(Ask("GET", PathOf(portal)).body, HasSubstr("\"pause\""));
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=pause&subscription=" + id).status, 303);
  const Json paused = Subscription(id);
  EXPECT_EQ(Text(paused, "status"), "paused");
  const Json& details = Member(Member(paused, "status_details"), "paused");
  EXPECT_EQ(Text(Member(details, "subscription"), "type"), "pause_requested");
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=pause&subscription=" + id).status, 400);
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=unpause&subscription=" + id).status, 303);
  EXPECT_EQ(Subscription(id).Find("status_details"), nullptr);
}

TEST_F(PortalTest, PaysWhatFailed) {
  const std::string id = Subscribe("decline_renewal");
  Advance(31 * kDay + kHour);
  EXPECT_EQ(Text(Subscription(id), "status"), "past_due");
  const std::string invoice = Text(Subscription(id), "latest_invoice");
  const Json portal = OpenPortal(id);
  NewEvents();
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=pay_invoice&invoice=" + invoice).status, 303);
  EXPECT_EQ(Text(Subscription(id), "status"), "active");
  EXPECT_THAT(NewEvents(), Contains("invoice.paid"));
  // The card stays for the next renewal.
  Advance(32 * kDay);
  EXPECT_EQ(Text(Subscription(id), "status"), "active");
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=pay_invoice&invoice=" + invoice).status, 400);
}

// Somebody else's subscription is none of this session's business.
TEST_F(PortalTest, ReachesOnlyItsOwnCustomer) {
  const std::string mine = Subscribe();
  const std::string other = Subscribe();
  const Json portal = OpenPortal(mine);
  EXPECT_EQ(Ask("POST", PathOf(portal), "action=cancel_now&subscription=" + other).status, 400);
  EXPECT_EQ(Text(Subscription(other), "status"), "active");
  EXPECT_THAT(Ask("GET", PathOf(portal)).body, Not(HasSubstr(other)));
}

TEST_F(PortalTest, AFlowEndsWhereItWasAskedTo) {
  const std::string id = Subscribe();
  const Json portal = OpenPortal(
      id,
      "&flow_data[type]=subscription_cancel&flow_data[subscription_cancel][subscription]=" + id +
          "&flow_data[after_completion][type]=redirect"
          "&flow_data[after_completion][redirect][return_url]=https%3A%2F%2Fshop.example%2Fbye");
  EXPECT_EQ(Text(Member(portal, "flow"), "type"), "subscription_cancel");
  const Answer done = Ask("POST", PathOf(portal), "action=cancel_at_period_end&subscription=" + id);
  EXPECT_EQ(HeaderOf(done, "Location"), "https://shop.example/bye");
  EXPECT_EQ(Fault("POST", "/v1/billing_portal/sessions", "customer=cus_none"),
            "404 resource_missing customer");
  EXPECT_EQ(Fault("POST", "/v1/billing_portal/sessions",
                  "customer=" + Text(Subscription(id), "customer") + "&return_url=javascript:1"),
            "400 url_invalid return_url");
}

TEST_F(PortalTest, ConfigurationsAreKept) {
  EXPECT_EQ(Member(First(Get("/v1/billing_portal/configurations?is_default=true")), "active"),
            Json(true));
  const std::string price = MakePrice();
  const std::string product = Text(Get("/v1/prices/" + price), "product");
  const std::string products =
      "features[subscription_update][enabled]=true"
      "&features[subscription_update][default_allowed_updates][]=price"
      "&features[subscription_update][products][0][product]=" +
      product + "&features[subscription_update][products][0][prices][]=" + price;
  const Json made = Post("/v1/billing_portal/configurations",
                         products +
                             "&business_profile[headline]=Hello"
                             "&features[subscription_cancel][enabled]=true"
                             "&features[subscription_cancel][mode]=immediately"
                             "&metadata[made_by]=pontage");
  const Json& update = Member(Member(made, "features"), "subscription_update");
  EXPECT_EQ(Text(Member(update, "products").AsArray()->front(), "product"), product);
  EXPECT_EQ(Text(Member(Member(made, "features"), "subscription_cancel"), "mode"), "immediately");
  const std::string at = "/v1/billing_portal/configurations/" + Text(made, "id");
  EXPECT_EQ(Member(Post(at, "active=false"), "active"), Json(false));
  EXPECT_EQ(Items(Get("/v1/billing_portal/configurations?active=true")).size(), 1U);
  EXPECT_EQ(Fault("POST", "/v1/billing_portal/configurations", "name=x"),
            "400 parameter_missing features");
  EXPECT_EQ(Fault("POST", at, "features[subscription_update][products][0][product]=prod_none"),
            "404 resource_missing features[subscription_update][products][0][product]");
}

TEST_F(PortalTest, AnInvoiceHasAPageAndAPdf) {
  const std::string id = Subscribe("decline_renewal");
  const Json paid = Member(Subscription(id, "latest_invoice"), "latest_invoice");
  const std::string at = "/invoices/" + Text(paid, "id");
  EXPECT_THAT(Text(paid, "hosted_invoice_url"), ::testing::EndsWith(at));
  EXPECT_THAT(Ask("GET", at).body, HasSubstr("$29.00"));
  const Answer pdf = Ask("GET", at + "/pdf");
  EXPECT_EQ(pdf.content_type, "application/pdf");
  EXPECT_THAT(pdf.body, HasSubstr("$29.00"));
  Advance(31 * kDay + kHour);
  const std::string open = Text(Subscription(id), "latest_invoice");
  EXPECT_THAT(Ask("GET", "/invoices/" + open).body, HasSubstr("Pay $29.00"));
  EXPECT_EQ(Ask("POST", "/invoices/" + open).status, 303);
  EXPECT_EQ(Text(Get("/v1/invoices/" + open), "status"), "paid");
  EXPECT_EQ(Ask("GET", "/invoices/in_none").status, 404);
  EXPECT_EQ(Ask("GET", "/nothing").status, 404);
  EXPECT_EQ(Ask("DELETE", at).status, 405);
  const std::string charge = Text(First(Get("/v1/charges")), "id");
  EXPECT_EQ(Ask("GET", "/receipts/" + charge).status, 200);
}

}  // namespace
}  // namespace pontage::sandbox
