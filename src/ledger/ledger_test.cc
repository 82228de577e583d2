#include "ledger/ledger.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/runtime.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/seeds.h"
#include "testing/stepped_clock.h"

namespace pontage::ledger {
namespace {

using testing::FailsWith;
using testing::IsOk;

OnceKey KeyOf(uint64_t n) {
  OnceKey key{};
  for (size_t i = 0; i < 8; ++i) key[i] = static_cast<uint8_t>(n >> (8 * i));
  return key;
}

Reservation Sample(uint64_t key) {
  Reservation r;
  r.once_key = KeyOf(key);
  r.request_id = RequestId("req_" + std::to_string(key));
  r.route = "GET /a";
  r.network = "eip155:31337";
  r.payer = "0x01";
  r.amount = codec::Uint256(1000);
  r.price = Money::Micros(1000);
  return r;
}

class LedgerTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  LedgerTest() : engine_(GetParam()) {}

  testing::Engine engine_;
  testing::SteppedClock clock_;
  const Deadline never_ = Deadline::Never();
};

// The exit criterion of the whole product: the same payment fifty times at once, from several loops
// and two nodes.
TEST_P(LedgerTest, OfFiftyAtOnceExactlyOneHolds) {
  const auto database_a = engine_.OpenMigrated();
  const auto database_b = engine_.Open();
  Ledger a(*database_a, "node_a", Clock::System(), Rng::System());
  Ledger b(*database_b, "node_b", Clock::System(), Rng::System());
  std::atomic<int> held = 0;
  std::atomic<int> taken = 0;
  std::atomic<int> left = 50;
  Runtime runtime(4);
  const auto reserve = [&](Ledger& ledger) -> Task<> {
    const Result<Ledger::Reserved> reserved = co_await ledger.Reserve(Sample(7), Deadline::Never());
    EXPECT_THAT(reserved, IsOk());
    if (reserved) ++(reserved->held ? held : taken);
    if (--left == 0) runtime.Stop();
    co_return {};
  };
  for (size_t i = 0; i < 50; ++i) {
    Ledger& ledger = i % 3 == 0 ? b : a;
    Loop& loop = runtime.loop(i % runtime.size());
    loop.Post([&] { loop.Spawn(reserve(ledger), "reserve"); });
  }
  runtime.Start();
  runtime.Join();
  EXPECT_EQ(held, 1);
  EXPECT_EQ(taken, 49);
}

// In doubt is not closed by its age alone: it is shown.
TEST_P(LedgerTest, WhatRanOutInDoubtIsOverdue) {
  const auto database = engine_.OpenMigrated();
  Ledger ledger(*database, "node", clock_, Rng::System());
  Loop loop;
  const auto overdue = [&] { return loop.RunUntilDone(ledger.Overdue(never_))->size(); };
  Reservation sample = Sample(1);
  sample.valid_before = clock_.Now() + Millis(60'000);
  const auto reserved = loop.RunUntilDone(ledger.Reserve(sample, never_));
  ASSERT_THAT(reserved, IsOk());
  const ReservationId id = reserved->row.id;
  ASSERT_THAT(loop.RunUntilDone(ledger.Doubt(id, "", "settlement_pending", never_)), IsOk());
  EXPECT_EQ(overdue(), 0U);
  clock_.Advance(Millis(60'000) + Ledger::kOverdue);
  EXPECT_EQ(overdue(), 0U);
  clock_.Advance(Millis(1));
  EXPECT_EQ(overdue(), 1U);
  ASSERT_THAT(loop.RunUntilDone(ledger.Expire(id, "used_elsewhere", never_)), IsOk());
  EXPECT_EQ(overdue(), 0U);
}

// Two nodes meet the same payments in opposite order, each in one transaction: on PostgreSQL that
// is a deadlock, and nobody may notice.
TEST_P(LedgerTest, NodesThatMeetInOppositeOrderBothGetThrough) {
  const auto database_a = engine_.OpenMigrated();
  const auto database_b = engine_.Open();
  Ledger a(*database_a, "node_a", Clock::System(), Rng::System());
  Ledger b(*database_b, "node_b", Clock::System(), Rng::System());
  constexpr int kKeys = 40;
  std::atomic<int> held = 0;
  std::atomic<int> left = 2 * kKeys;
  Runtime runtime(2);
  const auto reserve = [&](Ledger& ledger, int key) -> Task<> {
    const Result<Ledger::Reserved> reserved =
        co_await ledger.Reserve(Sample(static_cast<uint64_t>(key)), Deadline::Never());
    EXPECT_THAT(reserved, IsOk());
    if (reserved && reserved->held) ++held;
    if (--left == 0) runtime.Stop();
    co_return {};
  };
  runtime.loop(0).Post([&] {
    for (int i = 0; i < kKeys; ++i) runtime.loop(0).Spawn(reserve(a, i), "reserve");
  });
  runtime.loop(1).Post([&] {
    for (int i = kKeys; i-- > 0;) runtime.loop(1).Spawn(reserve(b, i), "reserve");
  });
  runtime.Start();
  runtime.Join();
  EXPECT_EQ(held, kKeys);
}

TEST_P(LedgerTest, WhatWaitsTogetherIsCommittedTogether) {
  const auto database = engine_.OpenMigrated();
  Ledger ledger(*database, "node_a", Clock::System(), Rng::System());
  const int64_t commits_before = database->stats().commits;
  constexpr int kMany = 1'000;
  int left = kMany;
  Loop loop;
  const auto reserve = [&](int n) -> Task<> {
    const Result<Ledger::Reserved> reserved =
        co_await ledger.Reserve(Sample(static_cast<uint64_t>(n)), Deadline::Never());
    EXPECT_TRUE(reserved && reserved->held);
    if (--left == 0) loop.Stop();
    co_return {};
  };
  for (int i = 0; i < kMany; ++i) loop.Spawn(reserve(i), "reserve");
  loop.Run();
  EXPECT_EQ(left, 0);
  EXPECT_LE(database->stats().commits - commits_before, kMany / 20);
  const auto count = [](Ledger& l) -> Task<Ledger::Totals> { return l.Count(Deadline::Never()); };
  Loop second;
  EXPECT_EQ(second.RunUntilDone(count(ledger))->held, kMany);
}

// kill -9 between any two calls: what a call returned from is there afterwards.
TEST_P(LedgerTest, WhatWasAnsweredSurvivesTheProcess) {
  ReservationId id;
  {
    const auto database = engine_.OpenMigrated();
    Ledger ledger(*database, "node_a", clock_, Rng::System());
    Loop loop;
    const auto pay = [&]() -> Task<> {
      PTG_CO_TRY(const Ledger::Reserved reserved, co_await ledger.Reserve(Sample(1), never_));
      id = reserved.row.id;
      PTG_CO_RUN(co_await ledger.Answered(id, 200, never_));
      co_return {};
    };
    EXPECT_THAT(loop.RunUntilDone(pay()), IsOk());
  }
  const auto database = engine_.OpenMigrated();
  Ledger ledger(*database, "node_b", clock_, Rng::System());
  Loop loop;
  const auto finish = [&]() -> Task<> {
    PTG_CO_RUN(co_await ledger.Heartbeat(never_));
    std::vector<Reservation> rows;
    for (int i = 0; i < 30 && rows.empty(); ++i) {
      PTG_CO_TRY(rows, co_await ledger.Orphans(10, never_));
      clock_.Advance(1s);
    }
    EXPECT_EQ(rows.size(), 1U);
    if (rows.empty()) co_return {};
    EXPECT_EQ(rows.front().id, id);
    EXPECT_EQ(rows.front().stage, Stage::kAnswered);
    EXPECT_EQ(rows.front().node, "node_b");
    Ledger::Settlement settlement{.transaction = "0x1", .delivery = Delivery::kOwed};
    PTG_CO_RUN(co_await ledger.Commit(id, settlement, never_));
    PTG_CO_TRY(const Ledger::Totals totals, co_await ledger.Count(never_));
    EXPECT_EQ(totals.owed, 1);
    PTG_CO_TRY(const std::optional<Reservation> by_key,
               co_await ledger.FindByKey(KeyOf(1), never_));
    EXPECT_TRUE(by_key && by_key->state == State::kSettled);
    co_return {};
  };
  EXPECT_THAT(loop.RunUntilDone(finish()), IsOk());
}

TEST_P(LedgerTest, OfManyRedeemersExactlyOneGoesOn) {
  const auto database = engine_.OpenMigrated();
  Ledger ledger(*database, "node_a", clock_, Rng::System());
  Loop loop;
  const auto prepare = [&]() -> Task<ReservationId> {
    PTG_CO_TRY(const Ledger::Reserved reserved, co_await ledger.Reserve(Sample(1), never_));
    Ledger::Settlement settlement{.transaction = "0x1", .delivery = Delivery::kOwed};
    PTG_CO_RUN(co_await ledger.Commit(reserved.row.id, settlement, never_));
    co_return reserved.row.id;
  };
  const Result<ReservationId> id = loop.RunUntilDone(prepare());
  ASSERT_THAT(id, IsOk());
  int won = 0;
  int refused = 0;
  const auto redeem = [&]() -> Task<> {
    const Digest digest{};
    const Result<Delivery> from = co_await ledger.Redeem(*id, digest, never_);
    if (from) {
      EXPECT_EQ(*from, Delivery::kOwed);
      ++won;
    } else {
      EXPECT_EQ(from.error().code(), Code::kConflict);
      ++refused;
    }
    if (won + refused == 20) loop.Stop();
    co_return {};
  };
  for (int i = 0; i < 20; ++i) loop.Spawn(redeem(), "redeem");
  loop.Run();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(refused, 19);
}

TEST_P(LedgerTest, ADeadlineThatHasPassedIsATimeOutAndChangesNothing) {
  const auto database = engine_.OpenMigrated({}, clock_);
  Ledger ledger(*database, "node_a", clock_, Rng::System());
  Loop loop;
  const Deadline past = Deadline::In(clock_, 0ms);
  EXPECT_THAT(loop.RunUntilDone(ledger.Reserve(Sample(1), past)), FailsWith(Code::kStore));
  const auto reserved = loop.RunUntilDone(ledger.Reserve(Sample(1), never_));
  EXPECT_TRUE(reserved && reserved->held);
}

// The naive ledger: one record for each payment, changed by rules written down as plainly as
// possible.
struct Naive {
  struct Record {
    uint64_t key;
    State state = State::kHeld;
    Stage stage = Stage::kReserved;
    Delivery delivery = Delivery::kNone;
    std::string hash{};
    std::string attempt{};
  };
  std::map<std::string, Record> records;

  bool Reserve(const std::string& id, uint64_t key) {
    for (const auto& [_, r] : records) {
      if (r.key == key && r.state != State::kVoided) return false;
    }
    records[id] = {.key = key};
    return true;
  }
  bool Answered(const std::string& id) {
    Record& r = records[id];
    if (r.state != State::kHeld) return false;
    r.stage = Stage::kAnswered;
    return true;
  }
  bool Commit(const std::string& id, const std::string& hash, Delivery delivery) {
    Record& r = records[id];
    if (r.state == State::kSettled) return r.hash == hash;
    if (r.state == State::kVoided) return false;
    r.state = State::kSettled;
    r.hash = hash;
    r.delivery = delivery;
    return true;
  }
  // Before the Commit: what it will find.
  Delivery DeliveryAfter(const std::string& id, Delivery delivery) {
    const Record& r = records[id];
    return r.state == State::kSettled ? r.delivery : delivery;
  }
  bool End(const std::string& id, State to) {
    Record& r = records[id];
    const bool open =
        r.state == State::kHeld || (r.state == State::kInDoubt && to != State::kVoided);
    if (!open && r.state != to) return false;
    r.state = to;
    return true;
  }
  bool Deliver(const std::string& id, Delivery outcome, const std::string& attempt) {
    Record& r = records[id];
    if (r.state != State::kSettled) return false;
    const bool due = (r.delivery == Delivery::kPending && attempt.empty()) ||
                     (r.delivery == Delivery::kRedeeming && attempt == r.attempt);
    const bool all_the_same = r.delivery == Delivery::kOwed && outcome == Delivery::kDelivered;
    if (!due && !all_the_same) return r.delivery == outcome;
    r.delivery = outcome;
    return true;
  }
  bool Redeem(const std::string& id, const std::string& attempt) {
    Record& r = records[id];
    if (r.state != State::kSettled) return false;
    if (r.delivery != Delivery::kOwed && r.delivery != Delivery::kBroken) return false;
    r.delivery = Delivery::kRedeeming;
    r.attempt = attempt;
    return true;
  }
};

TEST_P(LedgerTest, AgreesWithANaiveLedger) {
  const auto database = engine_.OpenMigrated();
  for (const uint64_t seed : testing::Seeds(3)) {
    SCOPED_TRACE(testing::Rerun(seed));
    SeededRng rng(seed);
    const auto pick = [&rng](uint64_t n) { return rng.Next64() % n; };
    Ledger ledger(*database, "node_a", clock_, rng);
    Naive naive;
    std::vector<ReservationId> ids;
    const uint64_t first_key = seed % 1'000'000'000 * 100;
    const auto step = [&]() -> Task<> {
      if (ids.empty() || pick(4) == 0) {
        const uint64_t key = first_key + pick(8);
        const ReservationId id(NewIdText("pay", clock_, rng));
        Reservation row = Sample(key);
        row.id = id;
        PTG_CO_TRY(const Ledger::Reserved got, co_await ledger.Reserve(row, never_));
        EXPECT_EQ(got.held, naive.Reserve(id.str(), key));
        if (got.held) ids.push_back(id);
        co_return {};
      }
      const ReservationId id = ids[pick(ids.size())];
      const std::string hash = pick(4) == 0 ? "0xother" : "0x" + id.str();
      const Delivery delivery = pick(2) == 0 ? Delivery::kPending : Delivery::kOwed;
      static constexpr Delivery kOutcomes[] = {Delivery::kDelivered, Delivery::kBroken,
                                               Delivery::kOwed, Delivery::kRedeemed};
      const Delivery outcome = kOutcomes[pick(4)];
      const Ledger::Ending ending{outcome};
      const Digest digest{};
      const std::string attempt = pick(2) == 0 ? "" : naive.records[id.str()].attempt;
      Ledger::Settlement settlement{.transaction = hash, .delivery = delivery};
      Result<> got;
      Result<Delivery> stands = Delivery::kNone;
      bool want = false;
      switch (pick(7)) {
        case 0:
          got = co_await ledger.Answered(id, 200, never_);
          want = naive.Answered(id.str());
          break;
        case 1:
          stands = co_await ledger.Commit(id, settlement, never_);
          got = stands ? Result<>() : Fail(stands.error());
          EXPECT_TRUE(!stands || *stands == naive.DeliveryAfter(id.str(), delivery));
          want = naive.Commit(id.str(), hash, delivery);
          break;
        case 2:
          got = co_await ledger.Void(id, "why", 500, never_);
          want = naive.End(id.str(), State::kVoided);
          break;
        case 3:
          got = co_await ledger.Doubt(id, hash, "why", never_);
          want = naive.End(id.str(), State::kInDoubt);
          break;
        case 4:
          got = co_await ledger.Expire(id, "why", never_);
          want = naive.End(id.str(), State::kExpired);
          break;
        case 5:
          got = co_await ledger.Deliver(id, ending, never_, attempt);
          want = naive.Deliver(id.str(), outcome, attempt);
          break;
        default: {
          const std::string name = NewIdText("red", clock_, rng);
          const Result<Delivery> from = co_await ledger.Redeem(id, digest, never_, name);
          got = from ? Result<>() : Fail(from.error());
          want = naive.Redeem(id.str(), name);
        }
      }
      if (!got && got.error().code() != Code::kConflict) co_return Fail(got.error());
      EXPECT_EQ(got.has_value(), want);
      PTG_CO_TRY(const std::vector<Reservation> found, co_await ledger.Find(id.str(), never_));
      if (found.size() != 1) co_return Fail(Code::kInternal, "not found");
      const Naive::Record& record = naive.records[id.str()];
      EXPECT_EQ(found.front().state, record.state);
      EXPECT_EQ(found.front().stage, record.stage);
      EXPECT_EQ(found.front().delivery, record.delivery);
      co_return {};
    };
    Loop loop;
    for (int i = 0; i < 150 && !HasFailure(); ++i) {
      SCOPED_TRACE("step " + std::to_string(i));
      ASSERT_THAT(loop.RunUntilDone(step()), IsOk());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, LedgerTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);
}  // namespace
}  // namespace pontage::ledger
