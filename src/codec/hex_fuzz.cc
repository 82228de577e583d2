#include <algorithm>
#include <string>

#include "base/check.h"
#include "codec/hex.h"
#include "testing/fuzz.h"

namespace pontage::codec {

// What is read is what would be written, but for the case of the digits; nothing else is read.
FUZZ_TARGET(hex) {
  if (const auto bytes = FromHex0x(input, 1 << 16)) {
    std::string lower(input);
    std::ranges::transform(lower, lower.begin(), [](char c) {
      return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    PTG_CHECK(Hex0x(*bytes) == lower);
  }
  const auto back = FromHex0x(Hex0x(AsBytes(input)), 1 << 20);
  PTG_CHECK(back && AsText(*back) == input);
}

}  // namespace pontage::codec
