#include <benchmark/benchmark.h>

#include "crypto/ed25519.h"
#include "crypto/hash.h"
#include "crypto/hmac.h"
#include "crypto/secp256k1.h"

namespace pontage::crypto {
namespace {

// An EIP-712 digest is two hashes, of 224 and 66 bytes.
void BM_Keccak256(benchmark::State& state) {
  const codec::Bytes bytes(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) benchmark::DoNotOptimize(Keccak256(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Keccak256)->Arg(66)->Arg(224)->Arg(1 << 10);

// A request digest, and the lookup key of an API key.
void BM_Sha256(benchmark::State& state) {
  const codec::Bytes bytes(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) benchmark::DoNotOptimize(Sha256(bytes));
}
BENCHMARK(BM_Sha256)->Arg(40)->Arg(1 << 10);

void BM_HmacSha256(benchmark::State& state) {
  const codec::Bytes bytes(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) benchmark::DoNotOptimize(HmacSha256(bytes, bytes));
}
BENCHMARK(BM_HmacSha256)->Arg(64);

// Once for each paid call: nine tenths of what verifying one costs.
void BM_Recover(benchmark::State& state) {
  SeededRng rng(1);
  const Hash32 digest = Keccak256(codec::Bytes(32, 1));
  const Signature65 signature = PrivateKey::Generate(rng).SignRecoverable(digest);
  for (auto _ : state) benchmark::DoNotOptimize(Recover(digest, signature));
}
BENCHMARK(BM_Recover);

void BM_SignRecoverable(benchmark::State& state) {
  SeededRng rng(1);
  const PrivateKey key = PrivateKey::Generate(rng);
  const Hash32 digest = Keccak256(codec::Bytes(32, 1));
  for (auto _ : state) benchmark::DoNotOptimize(key.SignRecoverable(digest));
}
BENCHMARK(BM_SignRecoverable);

// Once for each license that is shown for the first time; its text is some 400 bytes.
void BM_VerifyEd25519(benchmark::State& state) {
  const Secret seed(std::string(32, 's'));
  const Ed25519Key key = *Ed25519Key::FromSeed(seed);
  const codec::Bytes text(400, 't');
  const auto signature = key.Sign(text);
  for (auto _ : state) {
    benchmark::DoNotOptimize(VerifyEd25519(key.public_key(), text, signature));
  }
}
BENCHMARK(BM_VerifyEd25519);

}  // namespace
}  // namespace pontage::crypto
