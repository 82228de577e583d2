#include "sandbox/stripe/ids.h"

#include <array>
#include <cstdint>

namespace pontage::sandbox::stripe {

std::string NewId(std::string_view prefix, size_t digits, Rng& rng) {
  constexpr std::string_view kDigits =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string id(prefix);
  id.reserve(prefix.size() + digits);
  while (id.size() < prefix.size() + digits) {
    std::array<uint8_t, 16> bytes{};
    rng.Fill(bytes);
    for (const uint8_t byte : bytes) {
      // The two values beyond the digits are passed over, so that all are equally likely.
      const size_t digit = byte & 63U;
      if (digit < kDigits.size() && id.size() < prefix.size() + digits) {
        id.push_back(kDigits[digit]);
      }
    }
  }
  return id;
}

}  // namespace pontage::sandbox::stripe
