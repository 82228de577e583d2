#pragma once

#include <string_view>

namespace pontage::sandbox::stripe {

// Whether Stripe has events of that type, be it that nothing here makes them: "invoice.paid".
bool IsEventType(std::string_view type);

}  // namespace pontage::sandbox::stripe
