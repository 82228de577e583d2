#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/rng.h"

namespace pontage::testing {

// Seeds for `count` rounds of a property: new ones on every run, or the one in PTG_SEED when a
// failure is to be seen again.
//
//   for (const uint64_t seed : Seeds(20)) {
//     SCOPED_TRACE(Rerun(seed));
//     SeededRng rng(seed);
inline std::vector<uint64_t> Seeds(int count) {
  if (const char* fixed = std::getenv("PTG_SEED")) return {std::strtoull(fixed, nullptr, 10)};
  std::vector<uint64_t> seeds;
  for (int i = 0; i < count; ++i) seeds.push_back(Rng::System().Next64());
  return seeds;
}

inline std::string Rerun(uint64_t seed) { return "rerun with PTG_SEED=" + std::to_string(seed); }

}  // namespace pontage::testing
