// What the clock makes of subscriptions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/stripe_fixture.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

constexpr int64_t kHour = 3'600;
constexpr int64_t kDay = 86'400;

class CycleTest : public testing::StripeFixture {
 protected:
  int64_t EndOf(const std::string& id) {
    return Int(First(Member(Subscription(id), "items")), "current_period_end");
  }
  std::string StatusOf(const std::string& id) { return Text(Subscription(id), "status"); }
  Json LatestInvoice(const std::string& id) {
    return Member(Subscription(id, "latest_invoice"), "latest_invoice");
  }
  void AdvanceToEnd(const std::string& id) { Advance(EndOf(id) - Now()); }
};

// The trap: the period has moved and the subscription is active, but nothing was paid yet.
TEST_F(CycleTest, ThePeriodMovesFirstAndTheMoneyAnHourLater) {
  const std::string id = Subscribe();
  const int64_t first_end = EndOf(id);
  NewEvents();
  AdvanceToEnd(id);
  EXPECT_EQ(StatusOf(id), "active");
  EXPECT_GT(EndOf(id), first_end);
  Json invoice = LatestInvoice(id);
  EXPECT_EQ(Text(invoice, "status"), "draft");
  EXPECT_EQ(Text(invoice, "billing_reason"), "subscription_cycle");
  EXPECT_EQ(Int(Member(First(Member(invoice, "lines")), "period"), "end"), EndOf(id));
  EXPECT_EQ(Int(invoice, "period_end"), first_end);
  EXPECT_TRUE(Member(invoice, "hosted_invoice_url").IsNull());
  EXPECT_THAT(NewEvents(), ElementsAre("invoice.created", "customer.subscription.updated"));
  Advance(kHour);
  invoice = LatestInvoice(id);
  EXPECT_EQ(Text(invoice, "status"), "paid");
  EXPECT_EQ(Int(invoice, "amount_paid"), 2'900);
  EXPECT_THAT(NewEvents(),
              ElementsAre("invoice.finalized", "payment_intent.created", "payment_intent.succeeded",
                          "charge.succeeded", "invoice_payment.paid", "invoice.paid",
                          "invoice.payment_succeeded"));
}

TEST_F(CycleTest, AYearOfMonthsIsBilledAtItsOwnTimes) {
  const std::string id = Subscribe();
  const int64_t bought = Now();
  Advance(366 * kDay + kHour);
  const Json invoices = Get("/v1/invoices?limit=100&subscription=" + id);
  ASSERT_EQ(Items(invoices).size(), 13U);
  EXPECT_EQ(Int(Items(invoices).back(), "created"), bought);
  // Newest first, each a month after the one before, whenever they were looked at.
  for (size_t i = 0; i + 1 < Items(invoices).size(); ++i) {
    const int64_t apart =
        Int(Items(invoices)[i], "created") - Int(Items(invoices)[i + 1], "created");
    EXPECT_TRUE(apart >= 28 * kDay && apart <= 31 * kDay) << apart;
    EXPECT_EQ(Text(Items(invoices)[i], "status"), "paid");
  }
}

TEST_F(CycleTest, AFailedRenewalIsPastDueWithTheNewPeriodAndTriedAgain) {
  const std::string id = Subscribe("decline_renewal");
  const int64_t first_end = EndOf(id);
  NewEvents();
  AdvanceToEnd(id);
  Advance(kHour);
  EXPECT_EQ(StatusOf(id), "past_due");
  EXPECT_GT(EndOf(id), first_end);
  Json invoice = LatestInvoice(id);
  EXPECT_EQ(Text(invoice, "status"), "open");
  EXPECT_EQ(Int(invoice, "attempt_count"), 1);
  EXPECT_EQ(Int(invoice, "next_payment_attempt"), Now() + 3 * kDay);
  EXPECT_THAT(NewEvents(), ElementsAre("invoice.created", "customer.subscription.updated",
                                       "invoice.finalized", "payment_intent.created",
                                       "charge.failed", "payment_intent.payment_failed",
                                       "invoice.payment_failed", "customer.subscription.updated"));
  // A card that works again ends it at the next try.
  Post("/_test/card", "card=paid&subscription=" + id);
  Advance(3 * kDay);
  EXPECT_EQ(StatusOf(id), "active");
  EXPECT_EQ(Int(LatestInvoice(id), "attempt_count"), 2);
}

TEST_F(CycleTest, ACardIsNamedAsATokenToo) {
  const std::string id = Subscribe();
  EXPECT_EQ(Fault("POST", "/_test/card", "card=tok_none&subscription=" + id).substr(0, 3), "400");
  Post("/_test/card", "card=tok_decline_renewal&subscription=" + id);
  AdvanceToEnd(id);
  Advance(kHour);
  EXPECT_EQ(StatusOf(id), "past_due");
  Post("/_test/card", "card=tok_paid&subscription=" + id);
  Advance(3 * kDay);
  EXPECT_EQ(StatusOf(id), "active");
}

TEST_F(CycleTest, AfterTheLastRetryTheSubscriptionEnds) {
  const std::string id = Subscribe("decline_renewal");
  AdvanceToEnd(id);
  Advance(kHour + 15 * kDay);
  const Json subscription = Subscription(id);
  EXPECT_EQ(Text(subscription, "status"), "canceled");
  EXPECT_EQ(Text(Member(subscription, "cancellation_details"), "reason"), "payment_failed");
  EXPECT_EQ(Int(LatestInvoice(id), "attempt_count"), 4);
  EXPECT_THAT(NewEvents(), Contains("customer.subscription.deleted"));
  // It is not billed any more.
  Advance(90 * kDay);
  EXPECT_EQ(Items(Get("/v1/invoices?subscription=" + id)).size(), 2U);
}

TEST_F(CycleTest, OrIsUnpaidAndItsInvoicesStayDrafts) {
  Post("/_test/settings", "after_retries=unpaid");
  const std::string id = Subscribe("decline_renewal");
  AdvanceToEnd(id);
  Advance(kHour + 15 * kDay);
  EXPECT_EQ(StatusOf(id), "unpaid");
  Advance(31 * kDay);
  EXPECT_EQ(Text(LatestInvoice(id), "status"), "draft");
}

TEST_F(CycleTest, CancelingAtTheEndKeepsThePeriod) {
  const std::string id = Subscribe();
  const Json marked = Post("/v1/subscriptions/" + id, "cancel_at_period_end=true");
  EXPECT_EQ(Text(marked, "status"), "active");
  EXPECT_EQ(Int(marked, "cancel_at"), EndOf(id));
  EXPECT_EQ(Text(Member(marked, "cancellation_details"), "reason"), "cancellation_requested");
  const Json back = Post("/v1/subscriptions/" + id, "cancel_at_period_end=false");
  EXPECT_TRUE(Member(back, "cancel_at").IsNull());
  Post("/v1/subscriptions/" + id, "cancel_at_period_end=true");
  NewEvents();
  const int64_t end = EndOf(id);
  AdvanceToEnd(id);
  const Json over = Subscription(id);
  EXPECT_EQ(Text(over, "status"), "canceled");
  EXPECT_EQ(Int(over, "ended_at"), end);
  EXPECT_THAT(NewEvents(), ElementsAre("customer.subscription.deleted"));
}

TEST_F(CycleTest, CancelingNow) {
  const std::string id = Subscribe();
  NewEvents();
  const Json over = Must("DELETE", "/v1/subscriptions/" + id);
  EXPECT_EQ(Text(over, "status"), "canceled");
  EXPECT_EQ(Int(over, "ended_at"), Now());
  EXPECT_THAT(NewEvents(), ElementsAre("customer.subscription.deleted"));
  EXPECT_EQ(Fault("DELETE", "/v1/subscriptions/" + id), "404 resource_missing id");
  EXPECT_TRUE(Items(Get("/v1/subscriptions")).empty());
  EXPECT_EQ(Items(Get("/v1/subscriptions?status=all")).size(), 1U);
  EXPECT_EQ(Items(Get("/v1/subscriptions?status=ended")).size(), 1U);
}

TEST_F(CycleTest, ATrialIsAPeriodOfItsOwn) {
  const std::string id = Subscribe("paid", "subscription_data[trial_period_days]=7");
  const Json session = First(Get("/v1/checkout/sessions"));
  EXPECT_EQ(Text(session, "payment_status"), "no_payment_required");
  EXPECT_EQ(Int(session, "amount_total"), 0);
  EXPECT_EQ(StatusOf(id), "trialing");
  EXPECT_EQ(EndOf(id), Now() + 7 * kDay);
  EXPECT_EQ(Text(LatestInvoice(id), "status"), "paid");
  EXPECT_EQ(Int(LatestInvoice(id), "total"), 0);
  NewEvents();
  Advance(4 * kDay);
  EXPECT_THAT(NewEvents(), ElementsAre("customer.subscription.trial_will_end"));
  Advance(3 * kDay);
  EXPECT_EQ(StatusOf(id), "active");
  EXPECT_EQ(EndOf(id), Now() + 30 * kDay);
  Advance(kHour);
  EXPECT_EQ(Int(LatestInvoice(id), "amount_paid"), 2'900);
}

TEST_F(CycleTest, ATrialWithoutACardEndsAsItWasAsked) {
  const std::string trial =
      "subscription_data[trial_period_days]=7&payment_method_collection=if_required";
  const std::string end =
      "&subscription_data[trial_settings][end_behavior][missing_payment_method]=";
  const std::string paused = Subscribe("no_card", trial + end + "pause");
  const std::string ended = Subscribe("no_card", trial + end + "cancel");
  const std::string owing = Subscribe("no_card", trial);
  NewEvents();
  Advance(7 * kDay + kHour);
  EXPECT_EQ(StatusOf(paused), "paused");
  EXPECT_EQ(StatusOf(ended), "canceled");
  EXPECT_EQ(StatusOf(owing), "past_due");
  EXPECT_THAT(NewEvents(), Contains("customer.subscription.paused"));
  Advance(40 * kDay);
  EXPECT_EQ(Items(Get("/v1/invoices?subscription=" + paused)).size(), 1U);
  Post("/v1/subscriptions/" + paused + "/resume");
  EXPECT_THAT(NewEvents(), Contains("customer.subscription.resumed"));
  EXPECT_EQ(StatusOf(paused), "active");
  // What was paused is not billed for.
  Advance(1);
  EXPECT_EQ(Items(Get("/v1/invoices?subscription=" + paused)).size(), 2U);
}

TEST_F(CycleTest, ATestMayPauseAndMarkUnpaid) {
  const std::string id = Subscribe();
  NewEvents();
  Post("/_test/pause", "subscription=" + id);
  EXPECT_EQ(StatusOf(id), "paused");
  EXPECT_EQ(Ask("POST", "/_test/pause", "subscription=" + id).status, 400);
  Post("/_test/resume", "subscription=" + id);
  EXPECT_EQ(StatusOf(id), "active");
  Post("/_test/mark_unpaid", "subscription=" + id);
  EXPECT_EQ(StatusOf(id), "unpaid");
  EXPECT_THAT(NewEvents(),
              ElementsAre("customer.subscription.paused", "customer.subscription.resumed",
                          "customer.subscription.updated"));
}

TEST_F(CycleTest, AnotherPriceIsProratedAndInvoicedAtOnce) {
  const std::string id = Subscribe();
  const std::string item = Text(First(Member(Subscription(id), "items")), "id");
  const std::string dearer = Text(Post("/v1/prices",
                                       "currency=usd&unit_amount=5900"
                                       "&recurring[interval]=month"
                                       "&product_data[name]=Team"),
                                  "id");
  Advance(15 * kDay);
  NewEvents();
  const Json changed =
      Post("/v1/subscriptions/" + id, "items[0][id]=" + item + "&items[0][price]=" + dearer +
                                          "&proration_behavior=always_invoice");
  EXPECT_EQ(Text(First(Member(changed, "items")), "id"), item);
  EXPECT_EQ(Text(Member(First(Member(changed, "items")), "price"), "id"), dearer);
  const Json invoice = LatestInvoice(id);
  EXPECT_EQ(Text(invoice, "billing_reason"), "subscription_update");
  EXPECT_EQ(Text(invoice, "status"), "paid");
  // Half of the month is left: half of 59 less half of 29.
  EXPECT_EQ(Int(invoice, "total"), 1'500);
  EXPECT_EQ(Int(Items(Member(invoice, "lines"))[0], "amount"), -1'450);
  EXPECT_EQ(Int(Items(Member(invoice, "lines"))[1], "amount"), 2'950);
  EXPECT_THAT(NewEvents(), Contains("customer.subscription.updated"));
  AdvanceToEnd(id);
  Advance(kHour);
  EXPECT_EQ(Int(LatestInvoice(id), "amount_paid"), 5'900);
}

TEST_F(CycleTest, ProrationsWaitForTheNextInvoiceUnlessToldOtherwise) {
  const std::string id = Subscribe();
  const std::string item = Text(First(Member(Subscription(id), "items")), "id");
  Advance(15 * kDay);
  Post("/v1/subscriptions/" + id, "items[0][id]=" + item + "&items[0][quantity]=3");
  EXPECT_EQ(Items(Get("/v1/invoices?subscription=" + id)).size(), 1U);
  AdvanceToEnd(id);
  Advance(kHour);
  // Half a month of two more, and a month of three.
  EXPECT_EQ(Int(LatestInvoice(id), "amount_paid"), 2'900 + 8'700);
  Post("/v1/subscriptions/" + id,
       "items[0][id]=" + item + "&items[0][quantity]=1&proration_behavior=none");
  AdvanceToEnd(id);
  Advance(kHour);
  EXPECT_EQ(Int(LatestInvoice(id), "amount_paid"), 2'900);
}

TEST_F(CycleTest, APriceWithAnotherPeriodBeginsItNow) {
  const std::string id = Subscribe();
  const std::string item = Text(First(Member(Subscription(id), "items")), "id");
  const std::string yearly = Text(Post("/v1/prices",
                                       "currency=usd&unit_amount=29000"
                                       "&recurring[interval]=year"
                                       "&product_data[name]=Year"),
                                  "id");
  Advance(15 * kDay);
  const Json changed =
      Post("/v1/subscriptions/" + id, "items[0][id]=" + item + "&items[0][price]=" + yearly);
  EXPECT_EQ(Int(First(Member(changed, "items")), "current_period_start"), Now());
  EXPECT_EQ(Int(changed, "billing_cycle_anchor"), Now());
  EXPECT_EQ(Int(LatestInvoice(id), "amount_paid"), 29'000 - 1'450);
}

TEST_F(CycleTest, ADowngradeLeavesCreditThatTheNextInvoiceUses) {
  const std::string id = Subscribe();
  const std::string item = Text(First(Member(Subscription(id), "items")), "id");
  const std::string customer = Text(Subscription(id), "customer");
  const std::string cheaper = Text(Post("/v1/prices",
                                        "currency=usd&unit_amount=900"
                                        "&recurring[interval]=month"
                                        "&product_data[name]=Lite"),
                                   "id");
  Advance(15 * kDay);
  Post("/v1/subscriptions/" + id, "items[0][id]=" + item + "&items[0][price]=" + cheaper +
                                      "&proration_behavior=always_invoice");
  EXPECT_EQ(Int(Get("/v1/customers/" + customer), "balance"), -1'000);
  EXPECT_EQ(Int(LatestInvoice(id), "amount_due"), 0);
  AdvanceToEnd(id);
  Advance(kHour);
  // The credit is more than the whole price.
  EXPECT_EQ(Int(LatestInvoice(id), "amount_due"), 0);
  EXPECT_EQ(Int(Get("/v1/customers/" + customer), "balance"), -100);
}

TEST_F(CycleTest, ChangesThatCannotBeAreRefusedWhole) {
  const std::string id = Subscribe();
  const std::string item = Text(First(Member(Subscription(id), "items")), "id");
  const std::string at = "/v1/subscriptions/" + id;
  const Json before = Subscription(id);
  NewEvents();
  EXPECT_EQ(Fault("POST", at, "items[0][id]=si_none&items[0][quantity]=2"),
            "404 resource_missing items[0][id]");
  EXPECT_EQ(Fault("POST", at, "items[0][id]=" + item + "&items[0][price]=price_none"),
            "404 resource_missing items[0][price]");
  EXPECT_EQ(Fault("POST", at, "items[0][id]=" + item + "&items[0][deleted]=true&metadata[a]=b"),
            "400  items");
  EXPECT_EQ(Fault("POST", at, "cancel_at_period_end=true&cancel_at=" + std::to_string(Now() + 5)),
            "400  ");
  EXPECT_EQ(Subscription(id), before);
  EXPECT_THAT(NewEvents(), ::testing::IsEmpty());
}

// What payment_behavior asks for when the card is declined.
TEST_F(CycleTest, AChangeThatCannotBePaidIsAsItsCallerWants) {
  const std::string id = Subscribe();
  const std::string at = "/v1/subscriptions/" + id;
  const std::string item = Text(First(Member(Subscription(id), "items")), "id");
  const std::string dearer = MakePrice();
  const std::string yearly = MakePrice("recurring[interval]=year");
  const auto to = [&](const std::string& price, const std::string& behavior) {
    return "items[0][id]=" + item + "&items[0][price]=" + price + "&items[0][quantity]=3" +
           "&proration_behavior=always_invoice&payment_behavior=" + behavior;
  };
  Advance(10 * kDay);
  Post("/_test/card", "card=decline&subscription=" + id);
  // Lines that wait for the next invoice are kept too.
  Post(at, "items[0][id]=" + item + "&items[0][quantity]=2");
  const Json before = Subscription(id);
  NewEvents();
  EXPECT_EQ(Fault("POST", at, to(dearer, "error_if_incomplete")), "402 card_declined ");
  EXPECT_EQ(Fault("POST", at, to(yearly, "error_if_incomplete")), "402 card_declined ");
  EXPECT_EQ(Fault("POST", at, to(dearer, "pending_if_incomplete")), "400  payment_behavior");
  EXPECT_EQ(Fault("POST", at, to(dearer, "nonsense")), "400  payment_behavior");
  Post("/_test/card", "card=3ds_fail&subscription=" + id);
  EXPECT_EQ(Fault("POST", at, to(dearer, "error_if_incomplete")),
            "402 subscription_payment_intent_requires_action ");
  EXPECT_EQ(Subscription(id), before);
  EXPECT_THAT(NewEvents(), ::testing::IsEmpty());
  // A third of the month has gone: the waiting line comes along as soon as somebody pays.
  Post("/_test/card", "card=paid&subscription=" + id);
  Post(at, to(dearer, "error_if_incomplete"));
  EXPECT_EQ(Int(LatestInvoice(id), "amount_paid"), Int(LatestInvoice(id), "total"));
  EXPECT_EQ(Items(Member(LatestInvoice(id), "lines")).size(), 4U);
  Post("/_test/card", "card=decline&subscription=" + id);
  EXPECT_EQ(Text(Post(at, to(yearly, "allow_incomplete")), "status"), "past_due");
}

TEST_F(CycleTest, AChangeMayWaitForItsPayment) {
  const std::string id = Subscribe();
  const std::string item = Text(First(Member(Subscription(id), "items")), "id");
  Advance(10 * kDay);
  Post("/v1/subscriptions/" + id, "items[0][id]=" + item +
                                      "&items[0][quantity]=3&proration_behavior=always_invoice"
                                      "&payment_behavior=default_incomplete");
  EXPECT_EQ(StatusOf(id), "past_due");
  EXPECT_EQ(Text(LatestInvoice(id), "status"), "open");
  EXPECT_EQ(Int(LatestInvoice(id), "attempt_count"), 0);
  ASSERT_EQ(Ask("POST", "/invoices/" + Text(LatestInvoice(id), "id")).status, 303);
  EXPECT_EQ(StatusOf(id), "active");
}

TEST_F(CycleTest, WhatAnEndCannotDoIsRefused) {
  const std::string at = "/v1/subscriptions/" + Subscribe();
  EXPECT_EQ(Fault("DELETE", at, "prorate=true"), "400  prorate");
  EXPECT_EQ(Fault("DELETE", at, "invoice_now=true"), "400  invoice_now");
  EXPECT_EQ(Fault("DELETE", at, "prorate=perhaps"), "400  prorate");
  EXPECT_EQ(Text(Get(at), "status"), "active");
  EXPECT_EQ(Text(Must("DELETE", at, "prorate=false&invoice_now=false"), "status"), "canceled");
  EXPECT_EQ(Fault("POST", at + "/resume", "billing_cycle_anchor=unchanged"),
            "400  billing_cycle_anchor");
}

TEST_F(CycleTest, APauseOfTheCollectionEndsWhenItSays) {
  const std::string id = Subscribe();
  const std::string at = "/v1/subscriptions/" + id;
  const int64_t resumes = Now() + 5 * kDay;
  const std::string until = "pause_collection[resumes_at]=" + std::to_string(resumes);
  EXPECT_EQ(Fault("POST", at, until), "400 parameter_missing pause_collection[behavior]");
  EXPECT_EQ(Fault("POST", at,
                  "pause_collection[behavior]=void&pause_collection[resumes_at]=" +
                      std::to_string(Now())),
            "400 parameter_invalid_integer pause_collection[resumes_at]");
  Post(at, "pause_collection[behavior]=void&" + until);
  Advance(5 * kDay - 1);
  EXPECT_EQ(Int(Member(Subscription(id), "pause_collection"), "resumes_at"), resumes);
  NewEvents();
  Advance(1);
  EXPECT_TRUE(Member(Subscription(id), "pause_collection").IsNull());
  EXPECT_THAT(NewEvents(), ElementsAre("customer.subscription.updated"));
  AdvanceToEnd(id);
  Advance(kHour);
  EXPECT_EQ(Text(LatestInvoice(id), "status"), "paid");
  // A pause without an end, or one that was taken back, stays as it was left.
  Post(at, "pause_collection[behavior]=void&pause_collection[resumes_at]=" +
               std::to_string(Now() + kDay));
  Post(at, "pause_collection[behavior]=keep_as_draft");
  Advance(2 * kDay);
  EXPECT_EQ(Text(Member(Subscription(id), "pause_collection"), "behavior"), "keep_as_draft");
}

TEST_F(CycleTest, CollectionMayPauseWhileTheSubscriptionGoesOn) {
  const std::string id = Subscribe();
  Post("/v1/subscriptions/" + id, "pause_collection[behavior]=void");
  AdvanceToEnd(id);
  EXPECT_EQ(StatusOf(id), "active");
  EXPECT_EQ(Text(LatestInvoice(id), "status"), "void");
  Post("/v1/subscriptions/" + id, "pause_collection=");
  AdvanceToEnd(id);
  Advance(kHour);
  EXPECT_EQ(Text(LatestInvoice(id), "status"), "paid");
}

TEST_F(CycleTest, TheClockGoesBackOnlyBeforeAnythingBegan) {
  Advance(-40 * kDay);
  const std::string id = Subscribe();
  EXPECT_EQ(EndOf(id) < clock.Now().seconds(), true);
  EXPECT_EQ(Ask("POST", "/_test/advance?seconds=-1").status, 400);
  Advance(40 * kDay);
  EXPECT_EQ(Items(Get("/v1/invoices?subscription=" + id)).size(), 2U);
  EXPECT_EQ(Ask("POST", "/_test/advance?seconds=abc").status, 400);
}

// Time that passes by itself counts too.
TEST_F(CycleTest, TheRealClockRollsAsWell) {
  const std::string id = Subscribe();
  clock.Advance(Millis(31 * kDay * 1'000 + kHour * 1'000));
  EXPECT_EQ(Items(Get("/v1/invoices?subscription=" + id)).size(), 2U);
  stripe.Tick();
  EXPECT_THAT(NewEvents(), Not(Contains("invoice.payment_failed")));
}

}  // namespace
}  // namespace pontage::sandbox
