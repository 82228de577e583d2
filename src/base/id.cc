#include "base/id.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/hex_digits.h"

namespace pontage {

std::string NewIdText(std::string_view prefix, const Clock& clock, Rng& rng) {
  std::array<uint8_t, 16> b{};
  rng.Fill(b);
  const auto ms = static_cast<uint64_t>(clock.Now().ms());
  for (size_t i = 0; i < 6; ++i) b[i] = static_cast<uint8_t>(ms >> (40 - 8 * i));
  b[6] = static_cast<uint8_t>((b[6] & 0x0f) | 0x70);
  b[8] = static_cast<uint8_t>((b[8] & 0x3f) | 0x80);
  std::string id(prefix.size() + 33, '_');
  WriteHexDigits(b, std::ranges::copy(prefix, id.data()).out + 1);
  return id;
}

}  // namespace pontage
