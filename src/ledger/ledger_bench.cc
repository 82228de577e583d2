#include <algorithm>

#include <benchmark/benchmark.h>

#include "io/runtime.h"
#include "ledger/ledger.h"
#include "testing/engines.h"

namespace pontage::ledger {
namespace {

Reservation RowOf(uint64_t key) {
  Reservation row;
  for (size_t i = 0; i < 8; ++i) row.once_key[i * 3] = static_cast<uint8_t>(key >> (8 * i));
  row.id = ReservationId(NewIdText("pay", Clock::System(), Rng::System()));
  row.request_id = RequestId(NewIdText("req", Clock::System(), Rng::System()));
  row.route = "GET /v1/quotes/*";
  row.method = "GET";
  row.resource = "https://api.example.com/v1/quotes/GOOG";
  row.rail = "x402";
  row.protocol = 2;
  row.scheme = "exact";
  row.network = "eip155:84532";
  row.asset = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
  row.payer = "0x54698062E9a1CAae86075D05d3ED8d4809bFdF" + std::to_string(10 + key % 64);
  row.pay_to = "0x8AD2A8149667651FDEA4ca78A5f2A08c60Aaae39";
  row.nonce = "0x" + std::string(64, '7');
  row.payload = std::string(900, 'x');  // As large as a v2 payment.
  row.requirement = std::string(300, 'y');
  return row;
}

// One paid call in the books: Reserve, Answered, Commit, Deliver, each durable before the next,
// with so many calls under way at once. The flush of the disk is shared by all that wait for it:
// the rate grows with the calls until the engine itself is the limit.
Task<> Pay(Ledger& ledger, uint64_t key) {
  const Deadline by = Deadline::Never();
  Result<Ledger::Reserved> reserved = co_await ledger.Reserve(RowOf(key), by);
  PTG_CHECK(reserved && reserved->held);
  const ReservationId id = reserved->row.id;
  Ledger::Settlement settlement{.transaction = "0x" + id.str(), .receipt = "{}"};
  PTG_CHECK((co_await ledger.Answered(id, 200, by)).has_value());
  PTG_CHECK((co_await ledger.Commit(id, std::move(settlement), by)).has_value());
  const Ledger::Ending ending;
  PTG_CHECK((co_await ledger.Deliver(id, ending, by)).has_value());
  co_return {};
}

// Only that no payment is taken twice: what a call waits for before its work begins.
Task<> Hold(Ledger& ledger, uint64_t key) {
  Result<Ledger::Reserved> reserved = co_await ledger.Reserve(RowOf(key), Deadline::Never());
  PTG_CHECK(reserved && reserved->held);
  co_return {};
}

using Work = Task<> (*)(Ledger&, uint64_t);

// `outstanding` at all times, each followed by the next.
void Calls(benchmark::State& state, testing::EngineKind kind, Work work) {
  if (kind == testing::EngineKind::kPostgres && testing::PostgresUrl().empty()) {
    state.SkipWithError("PTG_TEST_POSTGRES is not set");
    return;
  }
  const testing::Engine engine(kind);
  const auto database = engine.OpenMigrated();
  Ledger ledger(*database, "node_bench", Clock::System(), Rng::System());
  Loop loop;
  uint64_t key = 0;
  constexpr int64_t kEach = 16;
  const auto batch = [&]() -> Task<> {
    Event done;
    int64_t left = state.range(0);
    const auto one = [&]() -> Task<> {
      for (int64_t i = 0; i < kEach; ++i) {
        const Result<> paid = co_await work(ledger, ++key);
        PTG_CHECK(paid.has_value());
      }
      if (--left == 0) done.Set();
      co_return {};
    };
    for (int64_t i = 0; i < state.range(0); ++i) loop.Spawn(one(), "pay");
    co_return co_await done.Wait(Deadline::Never());
  };
  for (auto _ : state) PTG_CHECK(loop.RunUntilDone(batch()).has_value());
  state.SetItemsProcessed(state.iterations() * state.range(0) * kEach);
  const auto stats = database->stats();
  state.counters["jobs/commit"] = static_cast<double>(stats.write_jobs) /
                                  static_cast<double>(std::max<int64_t>(stats.commits, 1));
}

void BM_PaidCallSqlite(benchmark::State& state) {
  Calls(state, testing::EngineKind::kSqlite, &Pay);
}
BENCHMARK(BM_PaidCallSqlite)->Arg(1)->Arg(64)->Arg(512)->UseRealTime()->MeasureProcessCPUTime();

// Needs PTG_TEST_POSTGRES.
void BM_PaidCallPostgres(benchmark::State& state) {
  Calls(state, testing::EngineKind::kPostgres, &Pay);
}
BENCHMARK(BM_PaidCallPostgres)->Arg(1)->Arg(64)->Arg(512)->UseRealTime()->MeasureProcessCPUTime();

void BM_ReserveSqlite(benchmark::State& state) {
  Calls(state, testing::EngineKind::kSqlite, &Hold);
}
BENCHMARK(BM_ReserveSqlite)->Arg(64)->MeasureProcessCPUTime();

void BM_ReservePostgres(benchmark::State& state) {
  Calls(state, testing::EngineKind::kPostgres, &Hold);
}
BENCHMARK(BM_ReservePostgres)->Arg(64)->MeasureProcessCPUTime();

}  // namespace
}  // namespace pontage::ledger
