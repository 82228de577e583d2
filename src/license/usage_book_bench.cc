#include <algorithm>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "codec/hex.h"
#include "crypto/hash.h"
#include "io/runtime.h"
#include "license/usage_book.h"
#include "testing/engines.h"

namespace pontage::license {
namespace {

// A crowd of strangers: so many licenses, each of which calls once before the first comes again.
constexpr size_t kStrangers = 160'000;
// What comes between two times that it is written.
constexpr size_t kEach = 16'000;

std::vector<std::string> Strangers() {
  std::vector<std::string> ids(kStrangers);
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto digest = crypto::Sha256(codec::AsBytes(std::to_string(i)));
    ids[i] = "lic_" + codec::ToHex(digest).substr(0, 32);
  }
  return ids;
}

// CPU of a call that is noted, and of its row, by all threads: where nothing is in the books yet
// (`fill` 0), and where all of them have a row.
void Crowd(benchmark::State& state, testing::EngineKind kind) {
  if (kind == testing::EngineKind::kPostgres && testing::PostgresUrl().empty()) {
    state.SkipWithError("PTG_TEST_POSTGRES is not set");
    return;
  }
  static const std::vector<std::string> ids = Strangers();
  const testing::Engine engine(kind);
  const auto database = engine.OpenMigrated();
  UsageBook book(*database, Clock::System());
  Loop loop;
  size_t at = 0;
  const auto note = [&](size_t count) {
    for (size_t i = 0; i < count; ++i) book.Note(ids[at++ % ids.size()], "GET /paid/*");
  };
  const auto flush = [&](bool all) {
    PTG_CHECK(loop.RunUntilDone(book.Flush(all, Deadline::Never())).has_value());
  };
  for (int64_t i = 0; i < state.range(0); i += kStrangers / 4) {
    note(kStrangers / 4);
    flush(true);
  }
  for (auto _ : state) {
    note(kEach);
    flush(false);
    flush(false);
    flush(false);
  }
  flush(true);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kEach));
}

void BM_CallsOfACrowdSqlite(benchmark::State& state) { Crowd(state, testing::EngineKind::kSqlite); }
void BM_CallsOfACrowdPostgres(benchmark::State& state) {
  Crowd(state, testing::EngineKind::kPostgres);
}
BENCHMARK(BM_CallsOfACrowdSqlite)->Arg(0)->Arg(kStrangers)->Iterations(40)->MeasureProcessCPUTime();
BENCHMARK(BM_CallsOfACrowdPostgres)->Arg(kStrangers)->Iterations(10)->MeasureProcessCPUTime();

}  // namespace
}  // namespace pontage::license
