#include <string>

#include <benchmark/benchmark.h>

#include "net/http1.h"

namespace pontage::net::http1 {
namespace {

// A paid request as an agent sends it: ten fields, one of them a payment of `range` bytes.
std::string PaidRequest(int64_t payment) {
  return "POST /v1/search?q=pontage HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: agent/1.0\r\n"
         "Accept: application/json\r\nAccept-Encoding: gzip\r\nContent-Type: application/json\r\n"
         "Content-Length: 17\r\nX-Request-Id: 01890a5d-ac96-774b-bcce-b302099a8057\r\n"
         "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
         "PAYMENT-SIGNATURE: " +
         std::string(static_cast<size_t>(payment), 'x') + "\r\n\r\n";
}

void BM_ParseRequest(benchmark::State& state) {
  const std::string text = PaidRequest(state.range(0));
  for (auto _ : state) {
    HeadScanner scanner({});
    const auto size = scanner.Scan(text);
    benchmark::DoNotOptimize(ParseRequest(std::string_view(text).substr(0, *size), {}));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK(BM_ParseRequest)->Arg(0)->Arg(1 << 10)->Arg(16 << 10);

void BM_WriteResponse(benchmark::State& state) {
  ResponseHead head;
  head.status = 200;
  head.headers.Add("Content-Type", "application/json");
  head.headers.Add("PAYMENT-RESPONSE", std::string(static_cast<size_t>(state.range(0)), 'x'));
  WriteOptions options;
  options.length = 1024;
  std::string out;
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(WriteResponse(head, options, out));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(out.size()));
}
BENCHMARK(BM_WriteResponse)->Arg(512);

// A streamed megabyte in chunks of `range` bytes.
void BM_DecodeChunks(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  std::string text;
  for (size_t at = 0; at < (1 << 20); at += size) {
    WriteChunkSize(size, text);
    text.append(size, 'x').append("\r\n");
  }
  WriteLastChunk(nullptr, text);
  for (auto _ : state) {
    ChunkDecoder decoder(64, 8192);
    for (std::string_view rest = text; !decoder.done();) {
      rest.remove_prefix(decoder.Next(rest)->consumed);
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK(BM_DecodeChunks)->Arg(64)->Arg(4 << 10)->Arg(64 << 10);

}  // namespace
}  // namespace pontage::net::http1
