#pragma once

#include <string_view>

namespace pontage::app {
// As CMakeLists.txt has it; a test compares the two.
inline constexpr std::string_view kVersion = "0.1.0";
}  // namespace pontage::app
