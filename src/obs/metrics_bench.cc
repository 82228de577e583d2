#include <string>

#include <benchmark/benchmark.h>

#include "obs/metrics.h"

namespace pontage::obs {
namespace {

// What a request pays that does not keep its reference: a lookup with three labels among 200
// series.
void BM_LookUpAndAdd(benchmark::State& state) {
  static Registry registry;
  for (int i = 0; i < 200; ++i) {
    const std::string route = "GET /v1/things/" + std::to_string(i);
    registry.CounterOf("pontage_bench_total", "B.",
                       {{"route", route}, {"network", "eip155:84532"}, {"asset", "USDC"}});
  }
  for (auto _ : state) {
    registry
        .CounterOf("pontage_bench_total", "B.",
                   {{"route", "GET /v1/things/77"}, {"network", "eip155:84532"}, {"asset", "USDC"}})
        .Add();
  }
}
BENCHMARK(BM_LookUpAndAdd)->Threads(1)->Threads(2);

void BM_Add(benchmark::State& state) {
  static Counter counter;
  for (auto _ : state) counter.Add();
}
BENCHMARK(BM_Add)->Threads(1)->Threads(2);

}  // namespace
}  // namespace pontage::obs
