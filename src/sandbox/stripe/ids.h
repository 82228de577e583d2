#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/rng.h"

namespace pontage::sandbox::stripe {

// `prefix` and `digits` random letters and digits: "cus_Nz9x0aVb3kQwTe".
std::string NewId(std::string_view prefix, size_t digits, Rng& rng);

// How many Stripe has: fourteen for the oldest kinds of objects, 24 for most, 58 for sessions.
inline constexpr size_t kShortId = 14;
inline constexpr size_t kLongId = 24;
inline constexpr size_t kSessionId = 58;

}  // namespace pontage::sandbox::stripe
