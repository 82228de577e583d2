// Comparisons with a Stripe that has, lacks, fails and mumbles.
#include "sales/reconcile.h"

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "sales/inbox.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stripe_peer.h"

namespace pontage::sales {
namespace {

using codec::Json;
using license::License;
using license::Status;
using pontage::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Json Parse(const std::string& text) { return codec::ParseJson(text).value(); }

class ReconcileTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  ReconcileTest()
      : engine_(GetParam()),
        database_(engine_.OpenMigrated()),
        fulfilment_(
            shop_, [](const license::Claims& c) { return "token." + c.id + ".x"; }, Clock::System(),
            rng_) {
    shop_.public_url = shop_.issuer = "https://api.example.com";
    shop_.seller = {.from = "Example <keys@example.com>",
                    .name = "Example",
                    .call_url = "https://api.example.com/v1/",
                    .mcp_url = "",
                    .manage_url = "https://api.example.com/billing"};
    SoldPlan pro;
    pro.name = "pro";
    pro.interval = "month";
    shop_.plans = {{"pro", pro}};
    client_ = *StripeClient::Make(pontage::testing::OptionsFor(peer_), Clock::System(), rng_);
    worker_ = std::make_unique<Worker>(Worker::Parts{.stripe = *client_,
                                                     .database = *database_,
                                                     .shop = shop_,
                                                     .fulfilment = fulfilment_,
                                                     .metrics = metrics_,
                                                     .clock = Clock::System(),
                                                     .rng = rng_});
    reconciler_ = std::make_unique<Reconciler>(Reconciler::Parts{.stripe = *client_,
                                                                 .worker = *worker_,
                                                                 .database = *database_,
                                                                 .shop = shop_,
                                                                 .fulfilment = fulfilment_,
                                                                 .metrics = metrics_,
                                                                 .clock = Clock::System(),
                                                                 .rng = rng_});
    for (const char* path :
         {"/v1/subscriptions", "/v1/invoices", "/v1/invoice_payments", "/v1/refunds",
          "/v1/disputes", "/v1/events", "/v1/prices", "/v1/products", "/v1/checkout/sessions"}) {
      peer_.lists[path];
    }
  }
  static std::string Seconds(int64_t from_now) {
    return std::to_string(Clock::System().Now().seconds() + from_now);
  }
  // A month that somebody has paid for. The peer gives every invoice to whoever asks.
  void Sell(const std::string& n) {
    const std::string end = Seconds(30 * 86'400);
    const Json subscription = Parse(
        R"({"id":"sub_)" + n + R"(","object":"subscription","customer":"cus_1","status":"active",
        "created":1,"items":{"data":[{"id":"si_)" +
        n + R"(","current_period_end":)" + end +
        R"(,"price":{"id":"price_1","object":"price","active":true,"currency":"usd",
        "unit_amount":2900,"lookup_key":"pro","product":"prod_1"}}]}})");
    peer_.lists["/v1/subscriptions"].push_back(subscription);
    peer_.objects["/v1/subscriptions/sub_" + n] = subscription;
    peer_.objects["/v1/customers/cus_1"] =
        Parse(R"({"id":"cus_1","object":"customer","email":"ann@example.com"})");
    peer_.lists["/v1/invoices"].push_back(
        Parse(R"({"id":"in_)" + n + R"(","object":"invoice","customer":"cus_1","status":"paid",
        "currency":"usd","amount_due":2900,"amount_paid":2900,"amount_remaining":0,"total":2900,
        "created":1,"parent":{"type":"subscription_details","subscription_details":
        {"subscription":"sub_)" +
              n + R"("}},"lines":{"object":"list","has_more":false,"data":[
        {"id":"il_1","object":"line_item","amount":2900,"currency":"usd","period":{"start":1,
        "end":)" +
              end + R"(},"parent":{"type":"subscription_item_details",
        "subscription_item_details":{"subscription":"sub_)" +
              n + R"(","subscription_item":"si_)" + n + R"(","proration":false}}}]}})"));
  }
  LoopReport Run(LoopKind loop) {
    Result<LoopReport> report = loop_.RunUntilDone(reconciler_->RunLoop(loop));
    EXPECT_THAT(report, IsOk());
    return report ? *std::move(report) : LoopReport();
  }
  static std::vector<std::string> Found(const LoopReport& report) {
    std::vector<std::string> out;
    for (const Drift& one : report.drift) {
      out.push_back(std::string(ToString(one.kind)) + ' ' + one.what + (one.healed ? "" : " open"));
    }
    return out;
  }
  std::vector<License> Licenses() {
    return database_->ReadNow([](db::Tx& tx) { return license::ListLicenses(tx, {}); })
        .value_or(std::vector<License>());
  }
  void AddEvent(int n, int64_t age_s, int64_t pending = 0) {
    auto& all = peer_.lists["/v1/events"];
    all.insert(all.begin(),
               Parse(R"({"id":"evt_)" + std::to_string(n) +
                     R"(","object":"event","type":"customer.subscription.updated","created":)" +
                     Seconds(-age_s) + R"(,"livemode":false,"pending_webhooks":)" +
                     std::to_string(pending) +
                     R"(,"data":{"object":{"id":"sub_1","object":"subscription"}}})"));
  }

  Loop loop_;
  SeededRng rng_{7};
  obs::Registry metrics_;
  Shop shop_;
  pontage::testing::StripePeer peer_{loop_};
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
  Fulfilment fulfilment_;
  std::unique_ptr<StripeClient> client_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<Reconciler> reconciler_;
};

INSTANTIATE_TEST_SUITE_P(Engines, ReconcileTest,
                         ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(ReconcileTest, AWalkTakesInWhatWeLackedAndThenFindsNothing) {
  Sell("1");
  const LoopReport first = Run(LoopKind::kWalk);
  EXPECT_FALSE(first.fault);
  EXPECT_THAT(Found(first), ElementsAre("purchase_unknown sub_1"));
  ASSERT_THAT(Licenses(), SizeIs(1));
  EXPECT_EQ(Licenses()[0].status, Status::kActive);
  const size_t calls = peer_.calls.size();
  const LoopReport second = Run(LoopKind::kWalk);
  EXPECT_THAT(Found(second), IsEmpty());
  // Prices, subscriptions, sales, refunds, disputes: what is as it was is not asked about.
  EXPECT_LE(peer_.calls.size() - calls, 5U);
}

TEST_P(ReconcileTest, WhatStripeLacksIsToldAndNothingIsTakenAway) {
  Sell("1");
  Run(LoopKind::kWalk);
  peer_.lists["/v1/subscriptions"].clear();
  peer_.objects.erase("/v1/subscriptions/sub_1");
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(Found(Run(LoopKind::kWalk)), ElementsAre("purchase_not_at_stripe sub_1 open"));
  }
  EXPECT_EQ(Licenses()[0].status, Status::kActive);
}

TEST_P(ReconcileTest, AStripeThatFailsChangesNothing) {
  Sell("1");
  Run(LoopKind::kWalk);
  const License before = Licenses()[0];
  peer_.objects["/v1/subscriptions/sub_1"].Set("status", "canceled");
  peer_.lists["/v1/subscriptions"][0].Set("status", "canceled");
  for (const int status : {500, 503, 429}) {
    for (const LoopKind loop : {LoopKind::kEvents, LoopKind::kWalk}) {
      peer_.faults.assign(40, {.status = status});
      const LoopReport report = Run(loop);
      ASSERT_TRUE(report.fault) << status;
      EXPECT_EQ(report.total(), 0);
    }
  }
  peer_.faults.assign(40, {.hang_up = true});
  EXPECT_TRUE(Run(LoopKind::kWalk).fault);
  peer_.faults.clear();
  EXPECT_EQ(Licenses()[0].status, before.status);
  EXPECT_EQ(Licenses()[0].expires, before.expires);
  // It is back, and what it says counts.
  EXPECT_THAT(Found(Run(LoopKind::kWalk)), ElementsAre("purchase_stale sub_1"));
  EXPECT_EQ(Licenses()[0].status, Status::kExpired);
}

TEST_P(ReconcileTest, OneThatCannotBeReadIsToldAndDoesNotHideTheOthers) {
  Sell("1");
  Sell("2");
  // A period that ends nowhere.
  peer_.objects["/v1/subscriptions/sub_1"] = Parse(
      R"({"id":"sub_1","object":"subscription","customer":"cus_1","status":"active","created":1,
      "items":{"data":[{"id":"si_1","price":{"id":"price_1"}}]}})");
  const LoopReport report = Run(LoopKind::kWalk);
  EXPECT_FALSE(report.fault);
  EXPECT_THAT(Found(report), ElementsAre("unreadable sub_1 open", "purchase_unknown sub_2"));
  ASSERT_THAT(Licenses(), SizeIs(1));
  EXPECT_EQ(Licenses()[0].subscription, "sub_2");
}

TEST_P(ReconcileTest, MissedEventsComeInByTimeAndOnce) {
  for (int n = 0; n < 250; ++n) AddEvent(n, 10'000 - n);
  const LoopReport first = Run(LoopKind::kEvents);
  EXPECT_FALSE(first.fault);
  EXPECT_EQ(first.counts[static_cast<size_t>(DriftClass::kEventMissed)], 250);
  EXPECT_EQ(first.drift.front().what, "evt_0");
  EXPECT_EQ(first.drift.back().what, "evt_249");
  const LoopReport second = Run(LoopKind::kEvents);
  EXPECT_EQ(second.looked_at, 250) << "an hour is looked at again";
  EXPECT_EQ(second.total(), 0);
  EXPECT_NE(peer_.calls.back().target.find("created[gte]="), std::string::npos);
  EXPECT_NE(peer_.calls.back().target.find("delivery_success=false"), std::string::npos);
  const auto taken = database_->WriteNow([](db::Tx& tx) {
    return TakeEvents(tx, Clock::System().Now() + Millis(1), Millis(1'000), 1'000);
  });
  ASSERT_THAT(taken, IsOk());
  EXPECT_EQ(taken->size(), 250U);
}

TEST_P(ReconcileTest, WhatStripeSaidIsForgottenAfterNinetyDays) {
  const UnixMs now = Clock::System().Now();
  constexpr Millis kDay{86'400'000};
  const auto store = [&](std::string_view id, UnixMs at) {
    stripe::Event event;
    event.id = stripe::EventId(std::string(id));
    event.type = "some.future.type";
    return database_
        ->WriteNow([&](db::Tx& tx) { return StoreEvent(tx, event, "{}", "webhook", at); })
        .value_or(false);
  };
  for (int i = 0; i < 1'100; ++i) {
    ASSERT_TRUE(store("evt_" + std::to_string(i), now - kDay * 91));
  }
  ASSERT_TRUE(store("evt_young", now - kDay * 89));
  Run(LoopKind::kRows);
  EXPECT_FALSE(store("evt_young", now));
  EXPECT_TRUE(store("evt_0", now));
  EXPECT_TRUE(store("evt_1099", now));
}

TEST_P(ReconcileTest, WhatIsOnItsWayIsLeftToItsDelivery) {
  AddEvent(1, 500);
  AddEvent(2, 20, 1);
  AddEvent(3, 10);
  EXPECT_THAT(Found(Run(LoopKind::kEvents)),
              ElementsAre("event_missed evt_1", "event_missed evt_3"));
  const auto watermark = database_->ReadNow([](db::Tx& tx) { return ReadWatermark(tx); });
  ASSERT_THAT(watermark, IsOk());
  EXPECT_LE(*watermark, Clock::System().Now() - Millis(400'000)) << "evt_2 is not passed over";
}

TEST_P(ReconcileTest, APriceThatDiffersIsNamedWithBothAmounts) {
  SoldPlan& pro = shop_.plans.at("pro");
  pro.shown = "$29/month";
  pro.price = *ParseMoney("$29");
  EXPECT_EQ(Run(LoopKind::kWalk).prices.at(0).stripes, "none");
  peer_.lists["/v1/prices"].push_back(
      Parse(R"({"id":"price_1","object":"price","active":true,"currency":"usd","unit_amount":1900,
      "lookup_key":"pro","product":"prod_1","recurring":{"interval":"month"}})"));
  const std::vector<PriceDifference> prices = Run(LoopKind::kWalk).prices;
  ASSERT_THAT(prices, SizeIs(1));
  EXPECT_EQ(prices[0].ours, "$29/month");
  EXPECT_EQ(prices[0].stripes, "$19/month");
}

TEST_P(ReconcileTest, TwoSubscriptionsOfOneBuyerAreAnAlarm) {
  Sell("1");
  Run(LoopKind::kWalk);
  const auto alarms = [&] {
    return metrics_.CounterOf("pontage_sales_alarms_total", "", {{"kind", "duplicate"}}).value();
  };
  EXPECT_EQ(alarms(), 0U);
  Sell("2");
  Run(LoopKind::kWalk);
  EXPECT_EQ(alarms(), 1U);
  EXPECT_THAT(Licenses(), SizeIs(2)) << "both were paid for";
}

// Asked for as fast as it may, it takes its time.
TEST_P(ReconcileTest, ASlowerClientKeepsItsPace) {
  const std::unique_ptr<StripeClient> slow = client_->Slower({.per_second = 20});
  const SteadyMs began = Clock::System().Steady();
  for (int i = 0; i < 5; ++i) {
    const Deadline by = Deadline::In(Clock::System(), Millis(5'000));
    ASSERT_THAT(loop_.RunUntilDone(slow->ListProducts(by)), IsOk());
  }
  EXPECT_GE(Clock::System().Steady() - began, Millis(190));
}

}  // namespace
}  // namespace pontage::sales
