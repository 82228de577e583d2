#pragma once

#include <cstddef>
#include <string_view>

namespace pontage {

// The length of the well-formed UTF-8 character (RFC 3629: no overlong forms, no surrogates) at the
// start of `text`; 0 when there is none.
size_t Utf8Length(std::string_view text);

}  // namespace pontage
