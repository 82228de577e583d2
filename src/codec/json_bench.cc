#include <benchmark/benchmark.h>

#include "base/check.h"
#include "codec/json.h"

namespace pontage::codec {
namespace {

// An x402 v2 payment as the official client writes it.
constexpr std::string_view kPayment =
    R"({"x402Version":2,)"
    R"("payload":{"authorization":{"from":"0x54698062E9a1CAae86075D05d3ED8d4809bFdF03",)"
    R"("to":"0x8AD2A8149667651FDEA4ca78A5f2A08c60Aaae39","value":"1000","validAfter":"0",)"
    R"("validBefore":"1795239650",)"
    R"("nonce":"0xf0ed7f5dc81c9e65119e0559b6d2704e205b4a3646e994e52598e93bbde239f9"},)"
    R"("signature":"0x1cc06d62a930672330179fe530732b6210ceda3aa6cb0bc4118b928e2831428b07e5d)"
    R"(6a64fb56dd6b3128d4dd0382513a3302b85010ee4cb4371c9e6dcc2cf191b"},)"
    R"("resource":{"url":"https://api.example.com/v1/weather","description":"The weather",)"
    R"("mimeType":"application/json"},"accepted":{"scheme":"exact",)"
    R"("network":"eip155:84532","amount":"1000",)"
    R"("asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e",)"
    R"("payTo":"0x8AD2A8149667651FDEA4ca78A5f2A08c60Aaae39","maxTimeoutSeconds":300,)"
    R"("extra":{"name":"USDC","version":"2"}}})";

void BM_ParsePayment(benchmark::State& state) {
  PTG_CHECK(ParseJson(kPayment).has_value());
  for (auto _ : state) benchmark::DoNotOptimize(ParseJson(kPayment));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kPayment.size()));
}
BENCHMARK(BM_ParsePayment);

void BM_WritePayment(benchmark::State& state) {
  const Json json = ParseJson(kPayment).value();
  for (auto _ : state) benchmark::DoNotOptimize(ToString(json));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kPayment.size()));
}
BENCHMARK(BM_WritePayment);

// The members a verification looks at.
void BM_ReadPayment(benchmark::State& state) {
  const Json json = ParseJson(kPayment).value();
  for (auto _ : state) {
    const JsonReader root = JsonReader::Of(json).value();
    const JsonReader auth = root.Object("payload").value().Object("authorization").value();
    for (const char* key : {"from", "to", "value", "validAfter", "validBefore", "nonce"}) {
      benchmark::DoNotOptimize(auth.String(key));
    }
  }
}
BENCHMARK(BM_ReadPayment);

}  // namespace
}  // namespace pontage::codec
