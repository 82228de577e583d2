#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "codec/hex.h"
#include "crypto/hash.h"
#include "license/claims.h"

namespace pontage::license {
namespace {

// What a license says, read a thousand different ones after another: all that a first time costs
// beside its signature, its text and its place in memory.
void BM_ReadClaims(benchmark::State& state) {
  std::vector<std::string> payloads;
  for (int i = 0; i < 1'000; ++i) {
    Claims claims;
    claims.id =
        "lic_" + codec::ToHex(crypto::Sha256(codec::AsBytes(std::to_string(i)))).substr(0, 32);
    claims.issuer = "https://api.example.com";
    claims.customer = "cus_NffrFeUfNV2Hib";
    claims.plan = "pro";
    claims.subscription = "sub_1MowQVLkdIwHu7ixeRlqHVzs";
    claims.limits.monthly = 100'000;
    claims.issued = claims.not_before = UnixMs::FromSeconds(1'795'000'000);
    claims.expires = UnixMs::FromSeconds(1'797'600'000);
    payloads.push_back(codec::ToString(ToJson(claims)));
  }
  size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ReadClaims(payloads[at++ % payloads.size()]));
  }
}
BENCHMARK(BM_ReadClaims);

}  // namespace
}  // namespace pontage::license
