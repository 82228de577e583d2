#include "catalog/price.h"

#include <string>

#include "base/try.h"

namespace pontage::catalog {

Result<codec::Uint256> AtomicUnits(Money price, uint8_t decimals) {
  constexpr uint8_t kMoneyDecimals = 6;
  if (price.micros() <= 0) {
    return Fail(Error(Code::kConfig, "the price " + price.ToString() + " is not above zero")
                    .Want("\"free\", or a price of at least one atomic unit"));
  }
  auto n = static_cast<uint64_t>(price.micros());
  for (uint8_t d = decimals; d < kMoneyDecimals; ++d) {
    if (n % 10 != 0) {
      return Fail(Error(Code::kConfig, "the price " + price.ToString() + " is not exact in " +
                                           std::to_string(decimals) + " decimals")
                      .Want("a price with at most " + std::to_string(decimals) + " decimals"));
    }
    n /= 10;
  }
  codec::Uint256 units(n);
  for (uint8_t d = kMoneyDecimals; d < decimals; ++d) {
    PTG_TRY(units, codec::Mul(units, 10));
  }
  return units;
}

}  // namespace pontage::catalog
