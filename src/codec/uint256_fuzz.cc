#include "base/check.h"
#include "codec/uint256.h"
#include "testing/fuzz.h"

namespace pontage::codec {

// One spelling for each amount in each of its forms.
FUZZ_TARGET(uint256) {
  if (const auto n = Uint256::FromDecimal(input)) {
    PTG_CHECK(n->ToDecimal() == input);
    const auto fixed = Uint256::FromFixedDecimal(n->ToFixedDecimal());
    PTG_CHECK(fixed && *fixed == *n);
  }
  if (const auto n = Uint256::FromFixedDecimal(input)) PTG_CHECK(n->ToFixedDecimal() == input);
  if (const auto n = Uint256::FromHexQuantity(input)) {
    const auto again = Uint256::FromHexQuantity(n->ToHexQuantity());
    PTG_CHECK(again && *again == *n && n->ToHexQuantity().size() == input.size());
  }
}

}  // namespace pontage::codec
