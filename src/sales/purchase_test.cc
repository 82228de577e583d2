// From facts to licenses: once for each origin, and as the facts say whenever they are told again.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "codec/base64url.h"
#include "license/issuer.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/purchases.h"
#include "testing/stepped_clock.h"

namespace pontage::sales {
namespace {

using license::License;
using license::Status;
using pontage::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_P(PurchaseTest, ATrialOfWhoHadThePlanBeforeIsTold) {
  const auto alarms = [](const Fulfilled& done) {
    std::vector<std::string> kinds;
    for (const Alarm& one : done.alarms) kinds.push_back(one.kind);
    return kinds;
  };
  PurchaseFacts first = Facts();
  first.status = "trialing";
  EXPECT_THAT(alarms(Apply(first)), IsEmpty());
  EXPECT_THAT(alarms(Apply(first)), IsEmpty()) << "its own license is none before it";
  first.status = "canceled";
  first.items.front().facts.status = stripe::SubscriptionStatus::kCanceled;
  first.items.front().facts.ended_at = clock_.Now();
  Apply(first);
  PurchaseFacts second = Facts();
  second.id = second.subscription = "sub_2";
  second.items.front().origin = "sub:sub_2:si_1";
  second.customer = "cus_2";
  second.status = "trialing";
  EXPECT_THAT(alarms(Apply(second)), ElementsAre("trial"));
  second.status = "active";
  EXPECT_THAT(alarms(Apply(second)), IsEmpty()) << "he pays";
}

TEST_P(PurchaseTest, WhatWasJustAskedIsReadFromTheBooks) {
  PurchaseFacts facts = Facts();
  SoldItem other = facts.items.front();
  other.origin = "sub:sub_1:si_2";
  facts.items.push_back(other);
  facts.invoice_url = "https://stripe.test/in_1";
  const auto since = [this](const std::string& id, Millis ago) {
    const auto found =
        database_->ReadNow([&](db::Tx& tx) { return FindFulfilled(tx, id, clock_.Now() - ago); });
    EXPECT_THAT(found, IsOk());
    return found.value_or(Fulfilled{});
  };
  EXPECT_THAT(since("sub_1", Millis(10'000)).licenses, IsEmpty());
  const Fulfilled made = Apply(facts);
  const Fulfilled found = since("sub_1", Millis(10'000));
  ASSERT_THAT(found.licenses, SizeIs(2));
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(found.licenses[i].id, made.licenses[i].id);
  EXPECT_EQ(found.invoice_url, facts.invoice_url);
  clock_.Advance(Millis(10'001));
  EXPECT_THAT(since("sub_1", Millis(10'000)).licenses, IsEmpty());

  PurchaseFacts once = Facts();
  once.id = "cs_1";
  once.subscription.clear();
  once.items.front().origin = "session:cs_1";
  const Fulfilled sold = Apply(once);
  ASSERT_THAT(since("cs_1", Millis(10'000)).licenses, SizeIs(1));
  EXPECT_EQ(since("cs_1", Millis(10'000)).licenses.front().id, sold.licenses.front().id);
}

INSTANTIATE_TEST_SUITE_P(Engines, PurchaseTest,
                         ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(PurchaseTest, TheSameFactsAreOneLicenseAndOneMail) {
  const Fulfilled first = Apply(Facts());
  ASSERT_THAT(first.licenses, SizeIs(1));
  const License& l = first.licenses.front();
  EXPECT_EQ(l.status, Status::kActive);
  EXPECT_EQ(l.email, "ann@example.com");
  EXPECT_EQ(l.products, std::vector<std::string>{"yield"});
  EXPECT_EQ(l.expires, l.paid_through + 3 * kDay);
  EXPECT_EQ(l.signed_until, l.expires);
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(Millis(1'000));
    const Fulfilled again = Apply(Facts());
    ASSERT_THAT(again.licenses, SizeIs(1));
    EXPECT_EQ(again.licenses.front().id, l.id);
    EXPECT_EQ(fulfilment_.TextOf(again.licenses.front()), fulfilment_.TextOf(l));
  }
  EXPECT_THAT(Licenses(), SizeIs(1));
  EXPECT_THAT(Mails(), ElementsAre("license"));
}

// "käthe@example.com" is a customer at Stripe, and no mailbox that every server takes.
TEST_P(PurchaseTest, AnAddressThatNobodyCanWriteToCostsNoLicense) {
  PurchaseFacts facts = Facts();
  facts.email = "k\xc3\xa4the@example.com";
  EXPECT_THAT(Apply(facts).licenses, SizeIs(1));
  EXPECT_THAT(Mails(), IsEmpty());
}

TEST_P(PurchaseTest, ARenewalExtendsTheSameLicense) {
  const License before = Apply(Facts()).licenses.front();
  PurchaseFacts renewed = Facts();
  renewed.items[0].facts.paid_through = before.paid_through + 30 * kDay;
  const License after = Apply(renewed).licenses.front();
  EXPECT_EQ(after.id, before.id);
  EXPECT_EQ(after.expires, before.expires + 30 * kDay);
  EXPECT_EQ(after.signed_until, before.signed_until) << "what the customer pasted stays";
  EXPECT_EQ(Lines(), 1u);
  EXPECT_THAT(Mails(), ElementsAre("license"));
}

TEST_P(PurchaseTest, EachPaidPeriodHasOneMailWithItsInvoice) {
  PurchaseFacts facts = Facts();
  facts.invoice_url = "https://invoice.stripe.com/i/1";
  const License first = Apply(facts).licenses.front();
  EXPECT_THAT(Mails(), ElementsAre("license"));
  facts.invoice_url = "https://invoice.stripe.com/i/2";
  facts.items[0].facts.paid_through = first.paid_through + 30 * kDay;
  for (int i = 0; i < 3; ++i) Apply(facts);
  EXPECT_THAT(Mails(), ElementsAre("license", "receipt"));
  const auto rows = database_->ReadNow([](db::Tx& tx) { return mail::ListMails(tx, {}); });
  ASSERT_THAT(rows, IsOk());
  EXPECT_THAT(rows->front().dedup_key, ::testing::StartsWith("receipt:sub_1:"));
  shop_.receipts = false;
  facts.items[0].facts.paid_through = first.paid_through + 60 * kDay;
  Apply(facts);
  EXPECT_THAT(Mails(), ElementsAre("license", "receipt"));
}

// The plan's days may be others by now.
TEST_P(PurchaseTest, WhatWasSoldOnceEndsWhenItWasSoldTo) {
  PurchaseFacts facts = Facts();
  facts.id = "cs_1";
  facts.subscription = "";
  facts.status = "paid";
  facts.items[0].origin = "session:cs_1";
  const License sold = Apply(facts).licenses.front();
  for (const Millis other : {kDay, 365 * kDay}) {
    facts.items[0].facts.paid_through = clock_.Now() + other;
    const License l = Apply(facts).licenses.front();
    EXPECT_EQ(l.paid_through, sold.paid_through);
    EXPECT_EQ(l.expires, sold.expires);
    EXPECT_EQ(l.status, Status::kActive);
    const auto kept = database_->ReadNow([](db::Tx& tx) { return FindPurchase(tx, "cs_1"); });
    ASSERT_THAT(kept, IsOk());
    EXPECT_EQ((*kept)->paid_through, sold.paid_through);
  }
}

TEST_P(PurchaseTest, NothingPaidIsNoLicense) {
  PurchaseFacts facts = Facts();
  facts.items[0].facts.paid_through = std::nullopt;
  facts.items[0].facts.status = stripe::SubscriptionStatus::kIncomplete;
  EXPECT_THAT(Apply(facts).licenses, IsEmpty());
  EXPECT_THAT(Licenses(), IsEmpty());
  EXPECT_THAT(Mails(), IsEmpty());
}

TEST_P(PurchaseTest, AFailedRenewalIsOneMailForItsInvoice) {
  Apply(Facts());
  PurchaseFacts failed = Facts();
  failed.status = "past_due";
  failed.items[0].facts.status = stripe::SubscriptionStatus::kPastDue;
  const FailedInvoice invoice{
      .id = "in_2", .amount = "$29.00", .pay_url = "https://invoice.stripe.com/i/x"};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Apply(failed, invoice).licenses.front().status, Status::kPastDue);
  }
  EXPECT_THAT(Mails(), ElementsAre("license", "payment_failed"));
}

// The event may be read long after the buyer's next card was taken.
TEST_P(PurchaseTest, WhoHasPaidMeanwhileIsNotAskedToPay) {
  for (const char* status : {"paid", "void", "open"}) {
    PurchaseFacts facts = Facts();
    license::InvoiceRow row;
    row.id = std::string("in_") + status;
    row.status = status;
    facts.invoices = {row};
    Apply(facts, FailedInvoice{.id = row.id, .amount = "$29.00", .pay_url = "https://x.example"});
  }
  EXPECT_THAT(Mails(), ElementsAre("license", "payment_failed")) << "of the open one";
}

// Stripe tries for weeks to be paid, longer than a license is good without: who may still be
// charged is not told that nothing more will be.
TEST_P(PurchaseTest, OnlyASubscriptionThatIsOverIsCancelled) {
  PurchaseFacts facts = Facts();
  Apply(facts);
  clock_.Advance(34 * kDay);
  facts.status = "past_due";
  facts.items[0].facts.status = stripe::SubscriptionStatus::kPastDue;
  facts.items[0].facts.paid_through = clock_.Now() - 4 * kDay;
  EXPECT_EQ(Apply(facts).licenses.front().status, Status::kExpired);
  EXPECT_THAT(Mails(), ElementsAre("license"));
  clock_.Advance(10 * kDay);
  facts.status = "canceled";
  facts.items[0].facts.status = stripe::SubscriptionStatus::kCanceled;
  facts.items[0].facts.ended_at = clock_.Now();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Apply(facts).licenses.front().status, Status::kExpired);
    clock_.Advance(Millis(1'000));
  }
  EXPECT_THAT(Mails(), ElementsAre("license", "cancelled"));
}

// Whatever its license is by then: cancelled is the subscription.
TEST_P(PurchaseTest, EachTimeASubscriptionIsToldToEndIsOneMail) {
  PurchaseFacts facts = Facts();
  facts.items[0].facts.grace = Millis(0);
  Apply(facts);
  const UnixMs none = facts.cancel_at;
  for (const bool cancelled : {true, true, false, true}) {
    clock_.Advance(Millis(1'000));
    facts.cancel_at = cancelled ? clock_.Now() + 30 * kDay : none;
    Apply(facts);
  }
  EXPECT_THAT(Mails(), ElementsAre("license", "cancelled", "cancelled"));
}

TEST_P(PurchaseTest, WhoseLicenseWasRevokedHearsOfTheEndAndOfNoFailedPayment) {
  for (const std::string by : {"payment", "operator"}) {
    PurchaseFacts facts = Facts();
    facts.id = facts.subscription = facts.customer = "sub_" + by;
    facts.email = by + "@example.com";
    facts.items[0].origin = "sub:" + by;
    License l = Apply(facts).licenses.front();
    l.status = Status::kRevoked;
    l.revoked_by = by;
    const auto revoke = [&](db::Tx& tx) { return license::UpdateLicense(tx, l, clock_.Now()); };
    ASSERT_THAT(database_->WriteNow(revoke), IsOk());
    facts.items[0].facts.refunded = true;
    Apply(facts,
          FailedInvoice{.id = "in_" + by, .amount = "$29.00", .pay_url = "https://x.example"});
    facts.status = "canceled";
    facts.items[0].facts.status = stripe::SubscriptionStatus::kCanceled;
    facts.items[0].facts.ended_at = clock_.Now();
    Apply(facts);
  }
  EXPECT_THAT(Mails(), ElementsAre("license", "cancelled", "license", "cancelled"));
}

// No payment brings it back, so each further one is money for nothing.
TEST_P(PurchaseTest, WhatIsChargedForARevokedLicenseIsTold) {
  License l = Apply(Facts()).licenses.front();
  l.status = Status::kRevoked;
  l.revoked_by = "operator";
  const auto revoke = [&](db::Tx& tx) { return license::UpdateLicense(tx, l, clock_.Now()); };
  ASSERT_THAT(database_->WriteNow(revoke), IsOk());
  const Fulfilled done = Apply(Facts());
  ASSERT_THAT(done.alarms, SizeIs(1));
  EXPECT_EQ(done.alarms[0].kind, "revoked");
  EXPECT_EQ(done.alarms[0].text, l.id + " was revoked, and sub_1 goes on being charged for");
  PurchaseFacts over = Facts();
  over.status = "canceled";
  over.items[0].facts.status = stripe::SubscriptionStatus::kCanceled;
  EXPECT_THAT(Apply(over).alarms, IsEmpty());
}

TEST_P(PurchaseTest, WhatIsChargedForWhileADisputeKeepsItShutIsTold) {
  PurchaseFacts facts = Facts();
  facts.items[0].facts.disputed = true;
  EXPECT_THAT(Apply(facts).alarms, IsEmpty()) << "no license, nothing that is shut";
  const License l = Apply(Facts()).licenses.front();
  const Fulfilled done = Apply(facts);
  ASSERT_THAT(done.alarms, SizeIs(1));
  EXPECT_EQ(done.alarms[0].kind, "disputed");
  EXPECT_EQ(done.alarms[0].text,
            l.id + " is shut by a dispute, and sub_1 goes on being charged for");
  facts.status = "canceled";
  facts.items[0].facts.status = stripe::SubscriptionStatus::kCanceled;
  EXPECT_THAT(Apply(facts).alarms, IsEmpty());
}

// Stripe takes addresses that we cannot write to.
TEST_P(PurchaseTest, ABuyerWhoCannotBeWrittenToIsTold) {
  PurchaseFacts facts = Facts();
  facts.email = "info@m\u00fcller.example";
  const Fulfilled done = Apply(facts);
  ASSERT_THAT(done.alarms, SizeIs(1));
  EXPECT_EQ(done.alarms[0].kind, "unmailable");
  EXPECT_EQ(done.licenses.front().status, Status::kActive);
  EXPECT_THAT(Mails(), IsEmpty());
}

TEST_P(PurchaseTest, AChangedPlanChangesWhatTheBooksAndTheFeedSay) {
  Apply(Facts());
  PurchaseFacts changed = Facts();
  changed.items[0].plan = "team";
  const License l = Apply(changed).licenses.front();
  EXPECT_EQ(l.plan, "team");
  EXPECT_THAT(l.products, ElementsAre("yield", "docs"));
  EXPECT_EQ(Lines(), 1u);
}

TEST_P(PurchaseTest, APriceOfNoPlanOpensNothingAndIsTold) {
  PurchaseFacts stranger = Facts();
  stranger.items[0].plan = "";
  const Fulfilled none = Apply(stranger);
  EXPECT_THAT(none.licenses, IsEmpty());
  EXPECT_THAT(none.alarms, SizeIs(1));
  // Also where it had one.
  Apply(Facts());
  const Fulfilled shut = Apply(stranger);
  ASSERT_THAT(shut.licenses, SizeIs(1));
  EXPECT_EQ(shut.licenses.front().status, Status::kSuspended);
}

// The seller asks for more now: whoever pays the price of before keeps what he bought.
TEST_P(PurchaseTest, AnotherPriceOfAPlanShutsOutNobodyWhoHasTheOneBefore) {
  PurchaseFacts facts = Facts();
  facts.items[0].price = "price_old";
  const License sold = Apply(facts).licenses.front();
  facts.items[0].plan = "";  // the configuration names price_new
  facts.items[0].facts.paid_through = sold.paid_through + 30 * kDay;
  const Fulfilled kept = Apply(facts);
  EXPECT_THAT(kept.alarms, SizeIs(1)) << "and is told";
  EXPECT_EQ(kept.licenses.front().status, Status::kActive);
  EXPECT_EQ(kept.licenses.front().plan, "pro");
  EXPECT_EQ(kept.licenses.front().paid_through, sold.paid_through + 30 * kDay);
  facts.items[0].price = "price_of_something_else";
  EXPECT_EQ(Apply(facts).licenses.front().status, Status::kSuspended);
  facts.items[0].price = "price_old";
  EXPECT_EQ(Apply(facts).licenses.front().status, Status::kActive);
}

// billing 16: two tabs, two subscriptions.
TEST_P(PurchaseTest, WhoPaysForTwoSubscriptionsIsTold) {
  EXPECT_THAT(Apply(Facts()).alarms, IsEmpty());
  PurchaseFacts second = Facts();
  second.id = "sub_2";
  second.subscription = "sub_2";
  second.items[0].origin = "sub:sub_2:si_2";
  const Fulfilled done = Apply(second);
  ASSERT_THAT(done.alarms, SizeIs(1));
  EXPECT_EQ(done.alarms[0].kind, "duplicate");
  EXPECT_EQ(done.alarms[0].text, "cus_1 pays for pro twice: by sub_2 and by sub_1");
  EXPECT_THAT(done.licenses, SizeIs(1)) << "he has paid for it";
  second.customer = "cus_2";
  EXPECT_THAT(Apply(second).alarms, SizeIs(1)) << "without an address each checkout is a customer";
  second.items[0].plan = "team";
  EXPECT_EQ(Apply(second).alarms.at(0).text,
            "cus_2 pays for team and for pro: by sub_2 and by sub_1");
  PurchaseFacts first = Facts();
  first.items[0].facts.refunded = true;
  Apply(first);
  EXPECT_THAT(Apply(second).alarms, IsEmpty());
}

TEST_P(PurchaseTest, RefundsRevokeAndTheOperatorsWordStands) {
  Apply(Facts());
  PurchaseFacts refunded = Facts();
  refunded.items[0].facts.refunded = true;
  License l = Apply(refunded).licenses.front();
  EXPECT_EQ(l.status, Status::kRevoked);
  EXPECT_EQ(l.revoked_by, "payment");
  l.revoked_by = "operator";
  const auto revoke = [&](db::Tx& tx) { return license::UpdateLicense(tx, l, clock_.Now()); };
  ASSERT_THAT(database_->WriteNow(revoke), IsOk());
  EXPECT_EQ(Apply(Facts()).licenses.front().status, Status::kRevoked);
}

TEST_P(PurchaseTest, ThePaymentsOfAPurchaseAreKnown) {
  PurchaseFacts facts = Facts();
  facts.payments = {"pi_1"};
  Apply(facts);
  const auto of = [&](const std::string& payment) {
    return database_->ReadNow([&](db::Tx& tx) { return PurchaseOfPayment(tx, payment); })
        .value_or("?");
  };
  EXPECT_EQ(of("pi_1"), "sub_1");
  EXPECT_EQ(of("pi_2"), "");
  const auto note = [](db::Tx& tx) { return NoteDispute(tx, "pi_0", "sub_1"); };
  ASSERT_THAT(database_->WriteNow(note), IsOk());
  Apply(facts);
  const auto disputed =
      database_->ReadNow([](db::Tx& tx) { return DisputedPayments(tx, "sub_1"); });
  ASSERT_THAT(disputed, IsOk());
  EXPECT_THAT(*disputed, ElementsAre("pi_0"));
}

TEST_P(PurchaseTest, OneWorksOnAPurchaseAtATime) {
  const auto lease = [&](const std::string& who, int64_t at) {
    return database_
        ->WriteNow(
            [&](db::Tx& tx) { return LeasePurchase(tx, "sub_9", who, UnixMs(at), Millis(100)); })
        .value_or(false);
  };
  EXPECT_TRUE(lease("a", 0));
  EXPECT_FALSE(lease("b", 99));
  EXPECT_TRUE(lease("b", 100)) << "whose worker died";
  EXPECT_FALSE(lease("a", 150));
  const auto release = [](db::Tx& tx) { return ReleasePurchase(tx, "sub_9", "b"); };
  ASSERT_THAT(database_->WriteNow(release), IsOk());
  EXPECT_TRUE(lease("a", 151));
}

}  // namespace
}  // namespace pontage::sales
