#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/runtime.h"
#include "ledger/ledger.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/ledger_fixture.h"
#include "testing/stepped_clock.h"

namespace pontage::ledger {
namespace {

using testing::FailsWith;
using testing::IsOk;

// Ours, and another one that lives until its clock stops.
class LedgerNodesTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  LedgerNodesTest() : engine_(GetParam()) {}

  Task<ReservationId> TheirSale() {
    PTG_CO_RUN(co_await theirs_.Heartbeat(never_));
    PTG_CO_TRY(const Ledger::Reserved reserved,
               co_await theirs_.Reserve(testing::Sample("theirs"), never_));
    co_return reserved.row.id;
  }

  testing::Engine engine_;
  testing::SteppedClock clock_;
  const Deadline never_ = Deadline::Never();
  const std::unique_ptr<db::Database> database_ = engine_.OpenMigrated();
  Ledger theirs_{*database_, "node_b", clock_, Rng::System()};
  Ledger ours_{*database_, "node_a", clock_, Rng::System()};
};

// Machines disagree about the time by more than a node may be silent; one that beats is alive.
TEST_P(LedgerNodesTest, AWrongClockKillsNobody) {
  testing::SteppedClock late;
  late.Advance(-600s);
  Ledger behind(*database_, "node_late", late, Rng::System());
  Loop loop;
  const auto live = [&]() -> Task<> {
    PTG_CO_RUN(co_await behind.Heartbeat(never_));
    PTG_CO_TRY(const Ledger::Reserved reserved,
               co_await behind.Reserve(testing::Sample("theirs"), never_));
    for (int i = 0; i < 60; ++i) {
      if (i % 5 == 0) PTG_CO_RUN(co_await behind.Heartbeat(never_));
      PTG_CO_TRY(const std::vector<Reservation> rows, co_await ours_.Orphans(10, never_));
      EXPECT_TRUE(rows.empty()) << i;
      clock_.Advance(1s);
      late.Advance(1s);
    }
    co_return co_await behind.Answered(reserved.row.id, 200, never_);
  };
  EXPECT_THAT(loop.RunUntilDone(live()), IsOk());
}

// The store was away for a minute, for everybody: who could not write his heartbeat is not dead.
TEST_P(LedgerNodesTest, NobodyIsSilentWhileNobodyCanListen) {
  const auto live = [&]() -> Task<> {
    PTG_CO_TRY(const ReservationId sale, co_await TheirSale());
    PTG_CO_TRY(std::vector<Reservation> rows, co_await ours_.Orphans(10, never_));
    clock_.Advance(60s);
    PTG_CO_TRY(rows, co_await ours_.Orphans(10, never_));
    EXPECT_TRUE(rows.empty());
    PTG_CO_RUN(co_await theirs_.Heartbeat(never_));
    co_return co_await theirs_.Answered(sale, 200, never_);
  };
  EXPECT_THAT(Loop().RunUntilDone(live()), IsOk());
}

// The store is read and takes no writes, for everybody: who cannot write his heartbeat is not dead.
TEST_P(LedgerNodesTest, NobodyIsSilentWhileNobodyCanWrite) {
  const auto live = [&]() -> Task<> {
    PTG_CO_TRY(const ReservationId sale, co_await TheirSale());
    PTG_CO_RUN(co_await ours_.Heartbeat(never_));
    for (int i = 0; i < 60; ++i) {
      PTG_CO_TRY(const std::vector<Reservation> rows, co_await ours_.Orphans(10, never_));
      EXPECT_TRUE(rows.empty()) << i;
      clock_.Advance(1s);
    }
    PTG_CO_RUN(co_await ours_.Heartbeat(never_));
    PTG_CO_TRY(const std::vector<Reservation> rows, co_await ours_.Orphans(10, never_));
    EXPECT_TRUE(rows.empty());
    co_return co_await theirs_.Answered(sale, 200, never_);
  };
  EXPECT_THAT(Loop().RunUntilDone(live()), IsOk());
}

// Who was taken for dead and wakes up must not move money: his row is another's.
TEST_P(LedgerNodesTest, ANodeThatWasTakenForDeadIsToldSo) {
  const auto live = [&]() -> Task<> {
    PTG_CO_TRY(const ReservationId sale, co_await TheirSale());
    std::vector<Reservation> rows;
    for (int i = 0; i < 30 && rows.empty(); ++i) {
      PTG_CO_TRY(rows, co_await ours_.Orphans(10, never_));
      clock_.Advance(1s);
    }
    EXPECT_EQ(rows.size(), 1U);
    const Result<> answered = co_await theirs_.Answered(sale, 200, never_);
    EXPECT_THAT(answered, FailsWith(Code::kConflict));
    co_return {};
  };
  EXPECT_THAT(Loop().RunUntilDone(live()), IsOk());
}

// A sweep that waits for a silent chain takes longer than a node may be silent.
TEST_P(LedgerNodesTest, WhoIsSilentIsHeardBetweenTheSweeps) {
  const auto live = [&]() -> Task<> {
    PTG_CO_TRY(const ReservationId sale, co_await TheirSale());
    for (Millis heard{0}; heard <= Ledger::kNodeSilence + Ledger::kHeartbeat;
         heard += Ledger::kHeartbeat) {
      PTG_CO_RUN(co_await ours_.Heartbeat(never_));
      clock_.Advance(Ledger::kHeartbeat + Millis(40));
    }
    PTG_CO_TRY(const std::vector<Reservation> rows, co_await ours_.Orphans(10, never_));
    EXPECT_EQ(rows.size(), 1U);
    if (!rows.empty()) EXPECT_EQ(rows.front().id, sale);
    co_return {};
  };
  EXPECT_THAT(Loop().RunUntilDone(live()), IsOk());
}

INSTANTIATE_TEST_SUITE_P(Engines, LedgerNodesTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

}  // namespace
}  // namespace pontage::ledger
