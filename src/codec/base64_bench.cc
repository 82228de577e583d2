#include <benchmark/benchmark.h>

#include "codec/base64.h"

namespace pontage::codec {
namespace {

// A payment header is about 1 KiB and is decoded once for each paid request.
void BM_DecodeBase64(benchmark::State& state) {
  const std::string text = EncodeBase64(std::string(static_cast<size_t>(state.range(0)), 'x'));
  for (auto _ : state) benchmark::DoNotOptimize(DecodeBase64(text));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK(BM_DecodeBase64)->Arg(64)->Arg(850)->Arg(64 << 10);

// The offer of a 402 and the receipt of a 200.
void BM_EncodeBase64(benchmark::State& state) {
  const std::string bytes(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(EncodeBase64(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_EncodeBase64)->Arg(850);

}  // namespace
}  // namespace pontage::codec
