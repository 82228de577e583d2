#pragma once

#include <cstddef>

#include "sandbox/stripe/account.h"

namespace pontage::sandbox::stripe {

// Does what has become due by the account's clock, each thing at its own time: trials, periods,
// attempts to collect, ends of sessions. How many there were. At most kMaxTurns: the rest is done
// at the next call.
inline constexpr size_t kMaxTurns = 100'000;
size_t Roll(Account& account);

}  // namespace pontage::sandbox::stripe
