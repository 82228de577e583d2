#pragma once

#include <string_view>

namespace pontage::app {
// Whether JSON can carry the text: UTF-8 without overlong forms, surrogates or what is beyond
// U+10FFFF (RFC 3629 §4).
bool IsUtf8(std::string_view text);
}  // namespace pontage::app
