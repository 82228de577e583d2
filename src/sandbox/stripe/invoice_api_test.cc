// What a client may do to invoices by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/stripe_fixture.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using ::testing::ElementsAre;

constexpr int64_t kHour = 3'600;
constexpr int64_t kDay = 86'400;

class InvoiceApiTest : public testing::StripeFixture {
 protected:
  std::string StatusOf(const std::string& id) { return Text(Subscription(id), "status"); }
  Json Latest(const std::string& id) {
    return Member(Subscription(id, "latest_invoice"), "latest_invoice");
  }
  std::string AtLatest(const std::string& id) { return "/v1/invoices/" + Text(Latest(id), "id"); }
  void AdvanceToEnd(const std::string& id) {
    Advance(Int(First(Member(Subscription(id), "items")), "current_period_end") - Now());
  }
  // A subscription whose renewal has failed once.
  std::string PastDue() {
    const std::string id = Subscribe("decline_renewal");
    AdvanceToEnd(id);
    Advance(kHour);
    EXPECT_EQ(StatusOf(id), "past_due");
    NewEvents();
    return id;
  }
};

TEST_F(InvoiceApiTest, PayingEndsTheDebt) {
  const std::string id = PastDue();
  Post("/_test/card", "card=paid&subscription=" + id);
  const std::string at = AtLatest(id);
  EXPECT_EQ(Fault("POST", at + "/pay", "payment_method=pm_none"),
            "404 resource_missing payment_method");
  EXPECT_EQ(Fault("POST", at + "/pay", "paid_out_of_band=true"), "400  paid_out_of_band");
  const Json paid = Post(at + "/pay", "expand[]=payments");
  EXPECT_EQ(Text(paid, "status"), "paid");
  EXPECT_EQ(Int(paid, "amount_paid"), 2'900);
  EXPECT_EQ(Text(First(Member(paid, "payments")), "status"), "paid");
  EXPECT_EQ(StatusOf(id), "active");
  EXPECT_THAT(
      NewEvents(),
      ElementsAre("payment_intent.succeeded", "charge.succeeded", "invoice_payment.paid",
                  "invoice.paid", "invoice.payment_succeeded", "customer.subscription.updated"));
  EXPECT_EQ(Fault("POST", at + "/pay"), "400  ");
  EXPECT_EQ(Fault("POST", "/v1/invoices/in_none/pay"), "404 resource_missing id");
}

TEST_F(InvoiceApiTest, AnAttemptByHandDoesNotMoveTheNextOne) {
  const std::string id = PastDue();
  const Json before = Latest(id);
  const Answer refused = Ask("POST", AtLatest(id) + "/pay");
  EXPECT_EQ(refused.status, 402);
  const Json error = Member(Parse(refused), "error");
  EXPECT_EQ(Text(error, "type"), "card_error");
  EXPECT_EQ(Text(error, "code"), "card_declined");
  EXPECT_EQ(Text(error, "decline_code"), "generic_decline");
  EXPECT_THAT(NewEvents(), ElementsAre("charge.failed", "payment_intent.payment_failed",
                                       "invoice.payment_failed"));
  EXPECT_EQ(Latest(id), before);
  Post("/_test/card", "card=3ds_fail&subscription=" + id);
  EXPECT_EQ(Fault("POST", AtLatest(id) + "/pay"), "402 invoice_payment_intent_requires_action ");
  EXPECT_THAT(NewEvents(),
              ElementsAre("payment_intent.requires_action", "payment_intent.payment_failed",
                          "invoice.payment_action_required", "invoice.payment_failed"));
  // Another card, only for this once.
  const Json other = Subscription(Subscribe());
  Post(AtLatest(id) + "/pay", "payment_method=" + Text(other, "default_payment_method"));
  EXPECT_EQ(StatusOf(id), "active");
  EXPECT_NE(Text(Subscription(id), "default_payment_method"),
            Text(other, "default_payment_method"));
}

TEST_F(InvoiceApiTest, ADebtThatIsWrittenOffIsNoneAnyMore) {
  const std::string voided = PastDue();
  EXPECT_EQ(Text(Post(AtLatest(voided) + "/void"), "status"), "void");
  EXPECT_EQ(StatusOf(voided), "active");
  EXPECT_THAT(NewEvents(), ElementsAre("payment_intent.canceled", "invoice.voided",
                                       "customer.subscription.updated"));
  EXPECT_EQ(Fault("POST", AtLatest(voided) + "/pay"), "400  ");
  EXPECT_EQ(Fault("POST", AtLatest(voided) + "/void"), "400  ");
  EXPECT_EQ(Fault("POST", AtLatest(voided) + "/mark_uncollectible"), "400  ");

  Must("DELETE", "/v1/subscriptions/" + voided);
  const std::string given_up = PastDue();
  EXPECT_EQ(Text(Post(AtLatest(given_up) + "/mark_uncollectible"), "status"), "uncollectible");
  EXPECT_EQ(StatusOf(given_up), "active");
  EXPECT_THAT(NewEvents(),
              ElementsAre("invoice.marked_uncollectible", "customer.subscription.updated"));
  EXPECT_EQ(Ask("POST", AtLatest(given_up) + "/pay").status, 402);
  EXPECT_EQ(Text(Latest(given_up), "status"), "uncollectible");
  EXPECT_EQ(StatusOf(given_up), "active");
  Post("/_test/card", "card=paid&subscription=" + given_up);
  EXPECT_EQ(Text(Post(AtLatest(given_up) + "/pay"), "status"), "paid");
  // No attempt comes by itself for either.
  NewEvents();
  Advance(10 * kDay);
  EXPECT_THAT(NewEvents(), ::testing::IsEmpty());
}

TEST_F(InvoiceApiTest, AFirstInvoiceThatIsVoidEndsWhatItBegan) {
  const Json session = OpenSession(MakePrice());
  EXPECT_EQ(PayAt(session, "decline").status, 402);
  const std::string id = Text(First(Get("/v1/subscriptions?status=incomplete")), "id");
  Post(AtLatest(id) + "/void");
  EXPECT_EQ(StatusOf(id), "incomplete_expired");
}

TEST_F(InvoiceApiTest, AVoidInvoiceGivesBackWhatItTookFromTheBalance) {
  const std::string id = Subscribe("decline_renewal");
  const std::string item = Text(First(Member(Subscription(id), "items")), "id");
  const std::string customer = "/v1/customers/" + Text(Subscription(id), "customer");
  // Half of two is given back as credit.
  Post("/_test/card", "card=paid&subscription=" + id);
  Post("/v1/subscriptions/" + id,
       "items[0][id]=" + item + "&items[0][quantity]=2&proration_behavior=none");
  Post("/v1/subscriptions/" + id,
       "items[0][id]=" + item + "&items[0][quantity]=1&proration_behavior=always_invoice");
  const int64_t credit = Int(Get(customer), "balance");
  EXPECT_EQ(credit, -2'900);
  Post("/v1/subscriptions/" + id,
       "items[0][id]=" + item + "&items[0][quantity]=3&proration_behavior=none");
  Post("/_test/card", "card=decline&subscription=" + id);
  AdvanceToEnd(id);
  Advance(kHour);
  EXPECT_EQ(Int(Get(customer), "balance"), 0);
  EXPECT_EQ(Int(Latest(id), "amount_due"), 5'800);
  Post(AtLatest(id) + "/void");
  EXPECT_EQ(Int(Get(customer), "balance"), credit);
}

TEST_F(InvoiceApiTest, ADraftIsFinalizedAndCollectedByHandOrAnHourLater) {
  const std::string id = Subscribe();
  Post("/v1/subscriptions/" + id, "pause_collection[behavior]=keep_as_draft");
  AdvanceToEnd(id);
  EXPECT_EQ(Fault("POST", AtLatest(id) + "/void"), "400  ");
  NewEvents();
  Json open = Post(AtLatest(id) + "/finalize");
  EXPECT_EQ(Text(open, "status"), "open");
  EXPECT_THAT(NewEvents(), ElementsAre("invoice.finalized", "payment_intent.created"));
  EXPECT_EQ(Fault("POST", AtLatest(id) + "/finalize"), "400 invoice_not_editable ");
  Advance(2 * kHour);
  EXPECT_EQ(Text(Latest(id), "status"), "open");
  EXPECT_EQ(Text(Post(AtLatest(id) + "/pay"), "status"), "paid");
  AdvanceToEnd(id);
  open = Post(AtLatest(id) + "/finalize", "auto_advance=true");
  EXPECT_EQ(Int(open, "next_payment_attempt"), Now() + kHour);
  Advance(kHour);
  EXPECT_EQ(Text(Latest(id), "status"), "paid");
  AdvanceToEnd(id);
  EXPECT_EQ(Text(Post(AtLatest(id) + "/pay"), "status"), "paid");
}

TEST_F(InvoiceApiTest, ASubscriptionIsMadeWithoutAPage) {
  const Json bought = Subscription(Subscribe());
  const std::string method = Text(bought, "default_payment_method");
  const std::string customer = Text(bought, "customer");
  const std::string at = "/v1/subscriptions";
  const std::string asked = "customer=" + customer + "&items[0][price]=" + MakePrice();
  EXPECT_EQ(Fault("POST", at, asked), "400 resource_missing ");
  EXPECT_EQ(Fault("POST", at, "customer=cus_none&items[0][price]=price_none"),
            "404 resource_missing customer");
  EXPECT_EQ(Fault("POST", at, asked + "&items[1][price]=" + MakePrice("lookup_key=once")),
            "400  items[1][price]");
  NewEvents();
  const Json waits =
      Post(at, asked + "&payment_behavior=default_incomplete&expand[]=latest_invoice");
  EXPECT_EQ(Text(waits, "status"), "incomplete");
  EXPECT_THAT(NewEvents(), ElementsAre("invoice.created", "customer.subscription.created",
                                       "invoice.finalized", "payment_intent.created"));
  Post(AtLatest(Text(waits, "id")) + "/pay", "payment_method=" + method);
  EXPECT_EQ(StatusOf(Text(waits, "id")), "active");
  const Json trial = Post(at, asked + "&trial_period_days=7&metadata[a]=b");
  EXPECT_EQ(Text(trial, "status"), "trialing");
  EXPECT_EQ(Int(trial, "trial_end"), Now() + 7 * kDay);
  EXPECT_EQ(Text(Member(trial, "metadata"), "a"), "b");

  Post("/v1/customers/" + customer, "invoice_settings[default_payment_method]=" + method);
  EXPECT_EQ(Text(Post(at, asked), "status"), "active");
  Post("/_test/card", "card=decline&subscription=" + Text(bought, "id"));
  NewEvents();
  EXPECT_EQ(Fault("POST", at, asked + "&payment_behavior=error_if_incomplete"),
            "402 card_declined ");
  EXPECT_THAT(NewEvents(), ::testing::IsEmpty());
  const Json failed = Post(at, asked + "&items[0][quantity]=2");
  EXPECT_EQ(Text(failed, "status"), "incomplete");
  EXPECT_EQ(Int(Latest(Text(failed, "id")), "amount_remaining"), 5'800);
}

TEST_F(InvoiceApiTest, WhoeverClosesADisputeHasLostIt) {
  const Json dispute = Post("/_test/dispute", "subscription=" + Subscribe());
  NewEvents();
  const std::string at = "/v1/disputes/" + Text(dispute, "id") + "/close";
  EXPECT_EQ(Text(Post(at), "status"), "lost");
  EXPECT_THAT(NewEvents(), ElementsAre("charge.dispute.closed"));
  EXPECT_EQ(Fault("POST", at), "400  ");
}

}  // namespace
}  // namespace pontage::sandbox
