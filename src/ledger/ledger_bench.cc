#include <algorithm>

#include <benchmark/benchmark.h>

#include "io/runtime.h"
#include "ledger/ledger.h"
#include "testing/engines.h"

namespace pontage::ledger {
namespace {

// One paid call in the books: Reserve, Answered, Commit, Deliver, each durable before the next,
// with so many calls under way at once. The flush of the disk is shared by all that wait for it:
// the rate grows with the calls until the engine itself is the limit.
Task<> Pay(Ledger& ledger, uint64_t key) {
  const Deadline by = Deadline::Never();
  Reservation row;
  for (size_t i = 0; i < 8; ++i) row.once_key[i * 3] = static_cast<uint8_t>(key >> (8 * i));
  row.payload = std::string(900, 'x');  // As large as a v2 payment.
  row.requirement = std::string(500, 'y');
  Result<Ledger::Reserved> reserved = co_await ledger.Reserve(std::move(row), by);
  PTG_CHECK(reserved && reserved->held);
  const ReservationId id = reserved->row.id;
  Ledger::Settlement settlement{.transaction = "0x" + id.str(), .receipt = "{}"};
  PTG_CHECK((co_await ledger.Answered(id, 200, by)).has_value());
  PTG_CHECK((co_await ledger.Commit(id, std::move(settlement), by)).has_value());
  PTG_CHECK((co_await ledger.Deliver(id, Delivery::kDelivered, by)).has_value());
  co_return {};
}

void Calls(benchmark::State& state, testing::EngineKind kind) {
  const testing::Engine engine(kind);
  const auto database = engine.OpenMigrated();
  Ledger ledger(*database, "node_bench", Clock::System(), Rng::System());
  Loop loop;
  uint64_t key = 0;
  const auto batch = [&]() -> Task<> {
    Event done;
    int64_t left = state.range(0);
    const auto one = [&](uint64_t k) -> Task<> {
      const Result<> paid = co_await Pay(ledger, k);
      PTG_CHECK(paid.has_value());
      if (--left == 0) done.Set();
      co_return {};
    };
    for (int64_t i = 0; i < state.range(0); ++i) loop.Spawn(one(++key), "pay");
    co_return co_await done.Wait(Deadline::Never());
  };
  for (auto _ : state) PTG_CHECK(loop.RunUntilDone(batch()).has_value());
  state.SetItemsProcessed(state.iterations() * state.range(0));
  const auto stats = database->stats();
  state.counters["jobs/commit"] = static_cast<double>(stats.write_jobs) /
                                  static_cast<double>(std::max<int64_t>(stats.commits, 1));
}

void BM_PaidCallSqlite(benchmark::State& state) { Calls(state, testing::EngineKind::kSqlite); }
BENCHMARK(BM_PaidCallSqlite)->Arg(1)->Arg(64)->Arg(512)->UseRealTime();

// Needs PTG_TEST_POSTGRES.
void BM_PaidCallPostgres(benchmark::State& state) {
  if (testing::PostgresUrl().empty()) {
    state.SkipWithError("PTG_TEST_POSTGRES is not set");
    return;
  }
  Calls(state, testing::EngineKind::kPostgres);
}
BENCHMARK(BM_PaidCallPostgres)->Arg(1)->Arg(64)->Arg(512)->UseRealTime();

}  // namespace
}  // namespace pontage::ledger
