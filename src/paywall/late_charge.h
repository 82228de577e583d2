#pragma once

#include "ledger/reservation.h"

namespace pontage::paywall {

// A payment that was given up after somebody was asked to settle it may be charged all the same:
// whoever has read it, in a transaction that was reverted, can send it again while it is good.

// An authorization that ran out may still be in a block that the node we ask has not seen.
inline constexpr Millis kAfterExpiry{60'000};

// When a look at the chain can tell for good what became of `row`.
inline UnixMs LastLook(const ledger::Reservation& row) {
  return row.valid_before + kAfterExpiry + Millis(1'000);
}

}  // namespace pontage::paywall
