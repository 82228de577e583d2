#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "codec/hex.h"
#include "crypto/hash.h"
#include "license/gate.h"
#include "license/samples_test.h"

namespace pontage::license {
namespace {

// What a gateway asks of a license that it has verified before: of one who calls again and again,
// and of so many who call in turn.
void BM_JudgeSeen(benchmark::State& state) {
  const Keys keys;
  const auto verifier = keys.verifier();
  const std::vector<std::string> pro = {"pro"};
  const Demand demand{.product = "yield", .plans = pro};
  Gate gate;
  std::vector<std::string> tokens;
  for (int64_t i = 0; i < state.range(0); ++i) {
    Claims claims = Sample();
    claims.id =
        "lic_" + codec::ToHex(crypto::Sha256(codec::AsBytes(std::to_string(i)))).substr(0, 32);
    tokens.push_back(keys.issuer.Issue(claims));
    if (!gate.Judge(verifier, tokens.back(), demand, kNow)) state.SkipWithError("it is refused");
  }
  size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(gate.Judge(verifier, tokens[at++ % tokens.size()], demand, kNow));
  }
}
BENCHMARK(BM_JudgeSeen)->Arg(1)->Arg(50)->Arg(10'000);

}  // namespace
}  // namespace pontage::license
