#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace pontage::scheme {

// The payment schemes we speak. A new one is an id here, its pure check and its submit.
enum class SchemeId : uint8_t { kExact };

// "exact". Fails with kPaymentScheme.
Result<SchemeId> ParseScheme(std::string_view text);
std::string_view NameOf(SchemeId id);

}  // namespace pontage::scheme
