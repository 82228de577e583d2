#pragma once

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "base/check.h"
#include "codec/json.h"

namespace pontage::testing {

// The text of test/golden/<name>. A missing file ends the test: nothing is skipped in silence.
inline std::string ReadGolden(std::string_view name) {
  std::ifstream in(std::string(PTG_SOURCE_DIR "/test/golden/") + std::string(name),
                   std::ios::binary);
  PTG_CHECK(in.good());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline codec::Json GoldenJson(std::string_view name) {
  Result<codec::Json> json = codec::ParseJson(ReadGolden(name), {.max_bytes = 4 << 20});
  PTG_CHECK(json.has_value());
  return *std::move(json);
}

}  // namespace pontage::testing
