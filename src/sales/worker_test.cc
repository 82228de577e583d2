// billing 5: the events of one purchase in every order, each delivered twice, come to one state.
#include "sales/worker.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "base/try.h"
#include "codec/json.h"
#include "db/migrate.h"
#include "license/license_store.h"
#include "sales/mail/mail_outbox.h"
#include "testing/expect.h"
#include "testing/seeds.h"
#include "testing/stripe_peer.h"
#include "testing/stripe_sale.h"

namespace pontage::sales {
namespace {

using pontage::testing::IsOk;
using pontage::testing::kPurchaseEvents;
using Sale = pontage::testing::StripeSale;

size_t Below(SeededRng& rng, size_t bound) { return rng.Next64() % bound; }

// The machine's clock, some time on.
class ShiftedClock final : public Clock {
 public:
  UnixMs Now() const override { return System().Now() + shift; }
  SteadyMs Steady() const override { return System().Steady(); }
  Millis shift{0};
};

Shop TheShop() {
  Shop shop;
  shop.issuer = "https://api.example.com";
  shop.public_url = "https://api.example.com";
  shop.seller.from = "Example <keys@example.com>";
  shop.seller.name = "Example";
  SoldPlan pro;
  pro.name = "pro";
  pro.products = {"yield"};
  pro.interval = "month";
  shop.plans = {{"pro", pro}};
  return shop;
}

constexpr size_t kOrders = 5'040;

class WorkerTest : public ::testing::Test {
 protected:
  WorkerTest()
      : database_(*db::Database::Open("sqlite::memory:", {}, Clock::System())),
        fulfilment_(
            shop_, [](const license::Claims& c) { return "token." + c.id + ".x"; }, clock_, rng_) {
    EXPECT_THAT(db::Migrate(*database_, Clock::System()), IsOk());
    SetLogLevel(LogLevel::kError);  // questions that fail are many here
    stripe_ = *StripeClient::Make(pontage::testing::OptionsFor(peer_), Clock::System(), rng_);
    worker_ = std::make_unique<Worker>(PartsOf());
  }
  Worker::Parts PartsOf() {
    return {.stripe = *stripe_,
            .database = *database_,
            .shop = shop_,
            .fulfilment = fulfilment_,
            .metrics = metrics_,
            .clock = clock_,
            .rng = rng_};
  }

  ~WorkerTest() override { SetLogLevel(LogLevel::kInfo); }

  // Whether it was new.
  bool Deliver(const Sale& sale, size_t i) {
    const std::string payload = sale.Event(i);
    const auto json = codec::ParseJson(payload);
    const auto event = stripe::ReadEvent(*codec::JsonReader::Of(*json));
    EXPECT_THAT(event, IsOk());
    const auto stored = database_->WriteNow(
        [&](db::Tx& tx) { return StoreEvent(tx, *event, payload, "webhook", clock_.Now()); });
    EXPECT_THAT(stored, IsOk());
    return stored.value_or(false);
  }
  size_t Work() {
    const auto done = loop_.RunUntilDone(worker_->RunOnce());
    EXPECT_THAT(done, IsOk());
    return done.value_or(0);
  }
  // Until nothing is due, however long it takes.
  void WorkOff() {
    for (int i = 0; i < 5; ++i) {
      while (Work() > 0) {
      }
      clock_.shift += Millis(60'000);
    }
  }

  // What the books say of a sale, but for names and times of day.
  std::string BooksOf(const Sale& sale) {
    const auto read = [&](db::Tx& tx) -> Result<std::string> {
      constexpr db::Statement kLicenses{
          "test.licenses",
          "SELECT origin, customer, email, plan, subscription, generation, status, paid_through_ms,"
          " expires_ms, revoked_by FROM license WHERE subscription = $1 ORDER BY id"};
      constexpr db::Statement kMails{
          "test.mails",
          "SELECT m.kind, m.recipient FROM mail_outbox m JOIN license l ON l.id = m.license"
          " WHERE l.subscription = $1 ORDER BY m.id"};
      constexpr db::Statement kPurchases{
          "test.purchases",
          "SELECT customer, email, status, plan, paid_through_ms, period_end_ms, alarm, lease"
          " FROM purchase WHERE id = $1"};
      constexpr db::Statement kEvents{
          "test.events", "SELECT type, state FROM stripe_event WHERE id LIKE $1 ORDER BY type"};
      std::string out;
      PTG_TRY(const db::Rows licenses, tx.Run(kLicenses, sale.Id("sub")));
      for (const db::Row& row : licenses) {
        out += "license " + row.Text(0) + " " + row.Text(1) + " " + row.Text(2) + " " +
               row.Text(3) + " " + row.Text(4) + " " + std::to_string(row.Int(5)) + " " +
               row.Text(6) + " " + std::to_string(row.Int(7)) + " " + std::to_string(row.Int(8)) +
               " " + row.Text(9) + "\n";
      }
      PTG_TRY(const db::Rows mails, tx.Run(kMails, sale.Id("sub")));
      for (const db::Row& row : mails) out += "mail " + row.Text(0) + " " + row.Text(1) + "\n";
      PTG_TRY(const db::Rows purchases, tx.Run(kPurchases, sale.Id("sub")));
      for (const db::Row& row : purchases) {
        out += "purchase " + row.Text(0) + " " + row.Text(1) + " " + row.Text(2) + " " +
               row.Text(3) + " " + std::to_string(row.Int(4)) + " " + std::to_string(row.Int(5)) +
               " " + row.Text(6) + row.Text(7) + "\n";
      }
      PTG_TRY(const db::Rows events, tx.Run(kEvents, "evt_" + sale.n + "x%"));
      for (const db::Row& row : events) out += row.Text(0) + " " + row.Text(1) + "\n";
      return out;
    };
    const auto text = database_->ReadNow(read);
    EXPECT_THAT(text, IsOk());
    return text.value_or("");
  }
  // What they must say.
  static std::string WantOf(const Sale& sale) {
    const std::string paid = std::to_string(sale.end * 1'000);
    const std::string expires = std::to_string((sale.end + 3 * 86'400) * 1'000);
    std::string out = "license sub:" + sale.Id("sub") + ":" + sale.Id("si") + " " + sale.Id("cus") +
                      " " + sale.Email("ann") + " pro " + sale.Id("sub") + " 1 active " + paid +
                      " " + expires + " \n";
    out += "mail license " + sale.Email("ann") + "\n";
    out += "purchase " + sale.Id("cus") + " " + sale.Email("Ann") + " active pro " + paid + " " +
           paid + " \n";
    std::vector<std::string> types(kPurchaseEvents.begin(), kPurchaseEvents.end());
    std::ranges::sort(types);
    for (const std::string& type : types) out += type + " done\n";
    return out;
  }

  // Delivers everything twice, the first time in that order, with Stripe never behind what was
  // delivered; the worker comes by whenever it likes, and some of its questions fail.
  void Play(const Sale& sale, const std::vector<size_t>& order, SeededRng& rng) {
    std::vector<size_t> deliveries = order;
    for (const size_t again : order) {
      const auto first = std::ranges::find(deliveries, again) - deliveries.begin();
      const size_t behind = deliveries.size() - static_cast<size_t>(first);
      const size_t at = static_cast<size_t>(first) + 1 + Below(rng, behind);
      deliveries.insert(deliveries.begin() + static_cast<std::ptrdiff_t>(at), again);
    }
    size_t stage = 0;
    std::vector<bool> seen(kPurchaseEvents.size());
    for (const size_t i : deliveries) {
      stage = std::max(stage, i);
      if (Below(rng, 4) == 0) stage = std::min(stage + Below(rng, 3), kPurchaseEvents.size() - 1);
      sale.Show(peer_, stage);
      EXPECT_EQ(Deliver(sale, i), !seen[i]);
      seen[i] = true;
      if (Below(rng, 8) == 0) peer_.faults.push_back({.status = 404});
      if (Below(rng, 2) == 0) Work();
      peer_.faults.clear();
    }
    WorkOff();
  }

  Loop loop_;
  pontage::testing::StripePeer peer_{loop_};
  SeededRng rng_{7};
  ShiftedClock clock_;
  Shop shop_ = TheShop();
  obs::Registry metrics_;
  std::unique_ptr<db::Database> database_;
  Fulfilment fulfilment_;
  std::unique_ptr<StripeClient> stripe_;
  std::unique_ptr<Worker> worker_;
};

// What was asked of `path`, how often.
size_t Asked(const pontage::testing::StripePeer& peer, std::string_view path) {
  return static_cast<size_t>(
      std::ranges::count_if(peer.calls, [path](const pontage::testing::StripePeer::Call& call) {
        return std::string_view(call.target).starts_with(path);
      }));
}

Sale SaleOf(std::string n) {
  const int64_t start = Clock::System().Now().seconds() - 60;
  return {.n = std::move(n), .start = start, .end = start + 30 * 86'400};
}

TEST_F(WorkerTest, AllThatIsToldOfAPurchaseIsOneLook) {
  const Sale sale = SaleOf("1");
  sale.Show(peer_, kPurchaseEvents.size() - 1);
  for (size_t i = 0; i < kPurchaseEvents.size(); ++i) ASSERT_TRUE(Deliver(sale, i));
  EXPECT_EQ(Work(), kPurchaseEvents.size());
  EXPECT_EQ(Asked(peer_, "/v1/subscriptions/"), 1U);
  EXPECT_EQ(Asked(peer_, "/v1/invoices?"), 1U);
  EXPECT_EQ(Asked(peer_, "/v1/customers/"), 1U);
  // The payment is of no purchase that is known by then: one question more.
  EXPECT_LE(peer_.calls.size(), 8U);
  EXPECT_EQ(BooksOf(sale), WantOf(sale));
}

TEST_F(WorkerTest, WhatALookFailedForIsTriedAgainForAllOfThem) {
  const Sale sale = SaleOf("1");
  sale.Show(peer_, kPurchaseEvents.size() - 1);
  for (const size_t i : {0U, 4U, 5U}) ASSERT_TRUE(Deliver(sale, i));
  peer_.faults.push_back({.status = 404});
  EXPECT_EQ(Work(), 3U);
  EXPECT_EQ(Asked(peer_, "/v1/subscriptions/"), 1U);
  EXPECT_EQ(Work(), 0U) << "not at once";
  clock_.shift += PauseAfter(1);
  EXPECT_EQ(Work(), 3U);
  EXPECT_EQ(Work(), 0U);
  EXPECT_EQ(Asked(peer_, "/v1/subscriptions/"), 2U);
}

// A key of Stripe's may be restricted: what has been paid is sold all the same.
TEST_F(WorkerTest, WhatTheKeyMayNotAskHoldsUpNoSale) {
  const Sale sale = SaleOf("1");
  sale.Show(peer_, kPurchaseEvents.size() - 1);
  peer_.lists.erase("/v1/refunds");
  peer_.lists.erase("/v1/disputes");
  peer_.objects.erase("/v1/customers/" + sale.Id("cus"));
  ASSERT_TRUE(Deliver(sale, 4));
  EXPECT_EQ(Work(), 1U);
  EXPECT_THAT(BooksOf(sale), ::testing::HasSubstr("license sub:"));
  EXPECT_THAT(BooksOf(sale), ::testing::HasSubstr(" active "));
  EXPECT_THAT(BooksOf(sale), ::testing::HasSubstr(sale.Email("ann"))) << "from the invoice";
}

TEST_F(WorkerTest, TheRoundsOthersAreKeptWhileStripeIsSlow) {
  const Sale sale = SaleOf("1");
  sale.Show(peer_, kPurchaseEvents.size() - 1);
  ASSERT_TRUE(Deliver(sale, 4));
  Worker::Parts parts = PartsOf();
  parts.lease = {.lease = Millis(60), .every = Millis(15)};
  Worker slow(parts);
  Worker other(parts);
  peer_.faults.push_back({.late = Millis(400)});
  std::optional<Result<size_t>> done;
  const auto work = [&]() -> Task<> {
    done.emplace(co_await slow.RunOnce());
    co_return {};
  };
  loop_.Spawn(work(), "test.slow");
  const auto look = [&]() -> Task<size_t> {
    size_t taken = 0;
    while (!done) {
      PTG_CO_RUN(co_await Sleep(Millis(10)));
      if (done) break;
      PTG_CO_TRY(const size_t more, co_await other.RunOnce());
      taken += more;
    }
    co_return taken;
  };
  EXPECT_EQ(loop_.RunUntilDone(look()).value_or(99), 0U);
  EXPECT_EQ(done->value_or(0), 1U);
  EXPECT_EQ(Asked(peer_, "/v1/subscriptions/"), 1U);
}

// Whoever comes next need not wait until the leases run out, and what comes back from Stripe after
// that is not written.
TEST_F(WorkerTest, AStopGivesBackWhatIsNotDone) {
  const Sale sale = SaleOf("1");
  sale.Show(peer_, kPurchaseEvents.size() - 1);
  ASSERT_TRUE(Deliver(sale, 4));
  peer_.faults.push_back({.late = Millis(300)});
  Worker stopping(PartsOf());
  std::optional<Result<size_t>> done;
  const auto work = [&]() -> Task<> {
    done.emplace(co_await stopping.RunOnce());
    co_return {};
  };
  loop_.Spawn(work(), "test.stopping");
  const auto next = [&]() -> Task<size_t> {
    while (peer_.calls.empty()) PTG_CO_RUN(co_await Sleep(Millis(1)));
    PTG_CO_TRY(const size_t before, co_await worker_->RunOnce());
    EXPECT_EQ(before, 0U) << "it is the other's";
    PTG_CO_RUN(co_await stopping.GiveBack());
    EXPECT_FALSE(done.has_value());
    PTG_CO_TRY(const size_t again, co_await stopping.RunOnce());
    EXPECT_EQ(again, 0U) << "who stops takes nothing any more";
    PTG_CO_TRY(const size_t taken, co_await worker_->RunOnce());
    EXPECT_FALSE(done.has_value()) << "the next one did not wait";
    while (!done) PTG_CO_RUN(co_await Sleep(Millis(5)));
    co_return taken;
  };
  EXPECT_EQ(loop_.RunUntilDone(next()).value_or(99), 1U);
  EXPECT_THAT(BooksOf(sale), ::testing::HasSubstr("license"));
  const auto waiting = database_->ReadNow([](db::Tx& tx) { return CountWaiting(tx, {"evt_1x4"}); });
  EXPECT_EQ(waiting.value_or(99), 0U) << "and is not opened again by the one that stopped";
}

// Stripe is slow about one purchase; the buyer of another does not wait for that, whether he comes
// in the same round or in a later one.
TEST_F(WorkerTest, ASlowLookHoldsUpNobodyElse) {
  const Sale slow = SaleOf("1");
  const Sale quick = SaleOf("2");
  const Sale later = SaleOf("3");
  slow.Show(peer_, kPurchaseEvents.size() - 1);
  const auto objects = peer_.objects;
  quick.Show(peer_, kPurchaseEvents.size() - 1);
  peer_.objects.insert(objects.begin(), objects.end());
  ASSERT_TRUE(Deliver(slow, 4));
  ASSERT_TRUE(Deliver(quick, 4));
  Worker::Parts parts = PartsOf();
  parts.patience = Millis(20);
  Worker worker(parts);
  peer_.faults.push_back({.late = Millis(18'000)});
  loop_.Spawn(worker.Run(), "test.worker");
  const Deadline soon = Deadline::In(Clock::System(), Millis(15'000));
  const auto is_done = [&](std::string event) -> Task<> {
    const auto wait = [event](db::Tx& tx) { return CountWaiting(tx, {event}); };
    size_t waiting = 1;
    while (waiting > 0 && !soon.Passed(Clock::System())) {
      PTG_CO_RUN(co_await Sleep(Millis(10)));
      PTG_CO_TRY(waiting, co_await database_->Read(wait, soon));
    }
    EXPECT_EQ(waiting, 0U) << event;
    co_return {};
  };
  const auto watch = [&]() -> Task<> {
    PTG_CO_RUN(co_await is_done("evt_2x4"));
    later.Show(peer_, kPurchaseEvents.size() - 1);
    EXPECT_TRUE(Deliver(later, 4));
    co_return co_await is_done("evt_3x4");
  };
  EXPECT_THAT(loop_.RunUntilDone(watch()), IsOk());
  for (const Sale& sale : {quick, later}) {
    EXPECT_THAT(BooksOf(sale), ::testing::HasSubstr("license"));
  }
  EXPECT_THAT(BooksOf(slow), ::testing::Not(::testing::HasSubstr("license")));
  EXPECT_THAT(loop_.RunUntilDone(worker.GiveBack()), IsOk());
}

// A buyer has ten seconds, whatever becomes of the process that has his event.
TEST_F(WorkerTest, WhatADeadProcessHadIsSoonAnothers) {
  const Sale sale = SaleOf("1");
  sale.Show(peer_, kPurchaseEvents.size() - 1);
  ASSERT_TRUE(Deliver(sale, 4));
  const UnixMs began = clock_.Now();
  const Millis lease = LeaseTerms().lease;
  const auto take = [&](db::Tx& tx) -> Result<> {
    PTG_TRY(const auto taken, TakeEvents(tx, began, lease, 100));
    EXPECT_EQ(taken.size(), 1U);
    // It lived to be at the purchase a little later.
    PTG_TRY(const bool ours, LeasePurchase(tx, sale.Id("sub"), "dead", began + Millis(700), lease));
    EXPECT_TRUE(ours);
    return {};
  };
  ASSERT_THAT(database_->WriteNow(take), IsOk());
  while (BooksOf(sale).find(" done") == std::string::npos) {
    Work();
    clock_.shift += Millis(500);
    ASSERT_LT(clock_.Now() - began, Millis(9'000));
  }
  EXPECT_THAT(BooksOf(sale), ::testing::HasSubstr("license"));
}

// Somebody else may look at a purchase for long; that is no fault of its events.
TEST_F(WorkerTest, WaitingForSomebodyElseIsNoTry) {
  const Sale sale = SaleOf("1");
  sale.Show(peer_, kPurchaseEvents.size() - 1);
  ASSERT_TRUE(Deliver(sale, 4));
  const auto lease = [&](db::Tx& tx) {
    return LeasePurchase(tx, sale.Id("sub"), "other", clock_.Now(), Millis(3'600'000));
  };
  ASSERT_THAT(database_->WriteNow(lease), IsOk());
  for (int64_t i = 0; i < kMostAttempts + 5; ++i) {
    ASSERT_EQ(Work(), 1U) << i;
    clock_.shift += Millis(1'000);
  }
  const auto release = [&](db::Tx& tx) { return ReleasePurchase(tx, sale.Id("sub"), "other"); };
  ASSERT_THAT(database_->WriteNow(release), IsOk());
  EXPECT_EQ(Work(), 1U);
  EXPECT_THAT(BooksOf(sale), ::testing::HasSubstr("license"));
}

TEST_F(WorkerTest, WhatWasAskedBeforeSomebodyElseWroteIsNotWritten) {
  const Sale sale = SaleOf("1");
  sale.Show(peer_, kPurchaseEvents.size() - 1);
  peer_.faults.push_back({.late = Millis(100)});
  const auto steal = [&]() -> Task<> {
    while (peer_.calls.empty()) PTG_CO_RUN(co_await Sleep(Millis(1)));
    const UnixMs later = clock_.Now() + Millis(60'000);
    const std::string id = sale.Id("sub");
    const auto take = [id, later](db::Tx& tx) -> Result<> {
      PTG_TRY(const bool ours, LeasePurchase(tx, id, "other", later, Millis(1)));
      EXPECT_TRUE(ours);
      return ReleasePurchase(tx, id, "other");
    };
    const Deadline by = Deadline::In(clock_, Millis(5'000));
    co_return co_await database_->Write(take, by);
  };
  loop_.Spawn(steal(), "test.steal");
  const Deadline by = Deadline::In(clock_, Millis(5'000));
  const auto done = loop_.RunUntilDone(worker_->Look(sale.Id("sub"), std::nullopt, by));
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Code::kConflict);
  EXPECT_THAT(BooksOf(sale), ::testing::Not(::testing::HasSubstr("license")));
}

// 500 of the 5,040 orders, or all of them with PTG_BURST=all.
TEST_F(WorkerTest, EveryOrderOfThePurchasesEventsEndsInOneLicenseAndOneMail) {
  const char* const all = std::getenv("PTG_BURST");
  const size_t count = all != nullptr && std::string_view(all) == "all" ? kOrders : 500;
  const uint64_t seed = pontage::testing::Seeds(1).front();
  std::cout << count << " of " << kOrders << " orders, PTG_SEED=" << seed << "\n";
  SCOPED_TRACE(pontage::testing::Rerun(seed));
  SeededRng rng(seed);
  std::vector<std::vector<size_t>> orders;
  std::vector<size_t> order(kPurchaseEvents.size());
  std::iota(order.begin(), order.end(), 0);
  do orders.push_back(order);
  while (std::ranges::next_permutation(order).found);
  ASSERT_EQ(orders.size(), kOrders);
  for (size_t i = orders.size() - 1; i > 0; --i) std::swap(orders[i], orders[Below(rng, i + 1)]);
  const int64_t start = Clock::System().Now().seconds() - 60;
  for (size_t n = 0; n < count && !HasFailure(); ++n) {
    const Sale sale{.n = std::to_string(n), .start = start, .end = start + 30 * 86'400};
    Play(sale, orders[n], rng);
    std::string shown;
    for (const size_t i : orders[n]) shown += std::to_string(i);
    EXPECT_EQ(BooksOf(sale), WantOf(sale)) << "order " << shown;
  }
}

}  // namespace
}  // namespace pontage::sales
