#include "sales/inbox.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::sales {
namespace {

using pontage::testing::IsOk;

// Within 5 s, then at least every 30 s for the first ten minutes, then in longer steps.
TEST(PauseAfterTest, KeepsItsPromise) {
  EXPECT_LE(PauseAfter(1), Millis(5'000));
  Millis sum{0};
  for (int64_t n = 1; sum < Millis(600'000); ++n) {
    ASSERT_LE(PauseAfter(n), n == 1 ? Millis(5'000) : Millis(30'000)) << n << " at " << sum.count();
    sum += PauseAfter(n);
  }
  EXPECT_GT(PauseAfter(30), Millis(60'000));
  EXPECT_LE(PauseAfter(kMostAttempts), Millis(3'600'000));
  Millis all{0};
  for (int64_t n = 1; n < kMostAttempts; ++n) all += PauseAfter(n);
  EXPECT_GT(all, Millis(86'400'000)) << "a weekend of Stripe's is outlived";
}

class InboxTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  InboxTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  stripe::Event Event(const std::string& id, const std::string& type, int64_t created = 1) {
    stripe::Event event;
    event.id = stripe::EventId(id);
    event.type = type;
    event.created = UnixMs(created);
    event.object_kind = "subscription";
    event.object_id = "sub_1";
    return event;
  }
  bool Store(const stripe::Event& event, int64_t now = 10) {
    const auto done = database_->WriteNow(
        [&](db::Tx& tx) { return StoreEvent(tx, event, "{}", "webhook", UnixMs(now)); });
    EXPECT_THAT(done, IsOk());
    return done.value_or(false);
  }
  std::string Take(int64_t now, size_t limit = 10) {
    const auto taken = database_->WriteNow(
        [&](db::Tx& tx) { return TakeEvents(tx, UnixMs(now), Millis(1'000), limit); });
    EXPECT_THAT(taken, IsOk());
    std::string ids;
    for (const StoredEvent& event : taken.value_or(std::vector<StoredEvent>())) {
      ids += event.id + ":" + std::to_string(event.attempts) + " ";
    }
    return ids;
  }

  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Engines, InboxTest, ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(InboxTest, AnEventIsKeptOnceWhicheverTwinComesFirst) {
  EXPECT_TRUE(Store(Event("evt_1", "invoice.paid")));
  EXPECT_FALSE(Store(Event("evt_1", "invoice.paid")));
  stripe::Event thin = Event("evt_thin", "invoice.paid");
  thin.twin = stripe::EventId("evt_1");
  EXPECT_FALSE(Store(thin));
  EXPECT_EQ(Take(10), "evt_1:1 ");
}

TEST_P(InboxTest, WhatMeansNothingIsKeptAndNotWorkedOn) {
  EXPECT_TRUE(Store(Event("evt_1", "some.future.type")));
  EXPECT_EQ(Take(10), "");
  // Two of them we ask for all the same: the operator may read them.
  const std::vector<std::string> asked = WebhookEvents();
  for (const char* type : {"checkout.session.expired", "radar.early_fraud_warning.created"}) {
    EXPECT_EQ(std::ranges::count(asked, type), 1) << type;
    EXPECT_FALSE(IsOfUse(type));
    EXPECT_TRUE(Store(Event(std::string("evt_") + type, type)));
  }
  EXPECT_EQ(Take(10), "");
  EXPECT_EQ(std::ranges::count_if(asked, IsOfUse) + 2, std::ranges::ssize(asked));
}

TEST_P(InboxTest, OldestFirstAndOneWorkerEach) {
  ASSERT_TRUE(Store(Event("evt_b", "invoice.paid", 2)));
  ASSERT_TRUE(Store(Event("evt_a", "invoice.paid", 3)));
  ASSERT_TRUE(Store(Event("evt_c", "invoice.paid", 1)));
  EXPECT_EQ(Take(10, 2), "evt_c:1 evt_b:1 ");
  EXPECT_EQ(Take(10), "evt_a:1 ");
  EXPECT_EQ(Take(1'009), "") << "leased";
  EXPECT_EQ(Take(1'010), "evt_c:2 evt_b:2 evt_a:2 ") << "whose worker died";
}

// Raw payloads name people: they are not kept for longer than somebody may ask about them.
TEST_P(InboxTest, WhatWasDealtWithIsForgottenAndNothingElse) {
  for (const char* id : {"evt_1", "evt_2", "evt_3", "evt_new", "evt_parked", "evt_late"}) {
    ASSERT_TRUE(Store(Event(id, "invoice.paid"), std::string_view(id) == "evt_late" ? 100 : 10));
  }
  ASSERT_TRUE(Store(Event("evt_ignored", "some.future.type"), 5));
  const auto deal = [](db::Tx& tx) -> Result<> {
    for (const char* id : {"evt_1", "evt_2", "evt_3", "evt_late"}) {
      PTG_RUN(EventDone(tx, id, "done", UnixMs(20)));
    }
    return EventLater(tx, "evt_parked", "odd", UnixMs(20), true);
  };
  ASSERT_THAT(database_->WriteNow(deal), IsOk());
  const auto forget = [this](int64_t before) {
    return database_->WriteNow([&](db::Tx& tx) { return ForgetEvents(tx, UnixMs(before), 3); })
        .value_or(-1);
  };
  EXPECT_EQ(forget(5), 0);
  EXPECT_EQ(forget(100), 3);
  EXPECT_EQ(forget(100), 1);
  EXPECT_EQ(forget(100), 0);
  for (const char* id : {"evt_new", "evt_parked", "evt_late"}) {
    EXPECT_FALSE(Store(Event(id, "invoice.paid"))) << id;
  }
  EXPECT_TRUE(Store(Event("evt_1", "invoice.paid")));
}

TEST_P(InboxTest, WhatIsBeingDealtWithIsKept) {
  ASSERT_TRUE(Store(Event("evt_1", "invoice.paid")));
  ASSERT_TRUE(Store(Event("evt_2", "invoice.paid")));
  ASSERT_EQ(Take(10), "evt_1:1 evt_2:1 ");
  const auto keep = [](db::Tx& tx) -> Result<> {
    PTG_RUN(EventDone(tx, "evt_2", "done", UnixMs(20)));
    PTG_RUN(KeepEvent(tx, "evt_1", UnixMs(3'000)));
    return KeepEvent(tx, "evt_2", UnixMs(3'000));
  };
  ASSERT_THAT(database_->WriteNow(keep), IsOk());
  EXPECT_EQ(Take(2'999), "");
  EXPECT_EQ(Take(3'000), "evt_1:2 ");
}

TEST_P(InboxTest, DoneLaterAndParked) {
  for (const char* id : {"evt_1", "evt_2", "evt_3"}) {
    ASSERT_TRUE(Store(Event(id, "invoice.paid")));
  }
  ASSERT_EQ(Take(10), "evt_1:1 evt_2:1 evt_3:1 ");
  const auto mark = [](db::Tx& tx) -> Result<> {
    PTG_RUN(EventDone(tx, "evt_1", "done", UnixMs(20)));
    PTG_RUN(EventLater(tx, "evt_2", "Stripe did not answer", UnixMs(500), false));
    PTG_RUN(EventLater(tx, "evt_3", "poison", UnixMs(500), true));
    return {};
  };
  ASSERT_THAT(database_->WriteNow(mark), IsOk());
  EXPECT_EQ(Take(499), "");
  EXPECT_EQ(Take(5'000), "evt_2:2 ");
}

// billing 11: thin events have names that no snapshot has, and mean the same.
TEST_P(InboxTest, AThinEventMayHaveAFinerName) {
  stripe::Event thin = Event("evt_1", "customer.subscription.past_due");
  thin.thin = true;
  EXPECT_TRUE(Store(thin));
  EXPECT_TRUE(Store(Event("evt_2", "customer.subscription.past_due")));
  EXPECT_EQ(Take(20), "evt_1:1 ");
}

}  // namespace
}  // namespace pontage::sales
