#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/money.h"
#include "codec/uint256.h"

namespace pontage::catalog {

// A price in dollars as atomic units of a dollar token with that many decimals: exact. kConfig when
// it is zero (a free route says "free") or has more digits than the token.
Result<codec::Uint256> AtomicUnits(Money price, uint8_t decimals);

}  // namespace pontage::catalog
