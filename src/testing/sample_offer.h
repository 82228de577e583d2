#pragma once

#include "codec/json.h"

// What a seller asks for in tests: a cent of Base Sepolia's USDC.
namespace pontage::testing {

inline constexpr const char* kUsdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
inline constexpr const char* kPayee = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
// The second account of every local test chain.
inline constexpr const char* kKey =
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

// One member of `accepts`, version 2.
inline codec::Json SampleOffer() {
  using codec::Json;
  return Json::Object({{"scheme", "exact"},
                       {"network", "eip155:84532"},
                       {"amount", "10000"},
                       {"asset", kUsdc},
                       {"payTo", kPayee},
                       {"maxTimeoutSeconds", 300},
                       {"extra", Json::Object({{"name", "USDC"}, {"version", "2"}})}});
}

}  // namespace pontage::testing
