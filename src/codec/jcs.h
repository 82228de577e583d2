#pragma once

#include <string>

#include "base/error.h"
#include "codec/json.h"

namespace pontage::codec {

// The canonical form of RFC 8785: members sorted by UTF-16 code units, no white space. Numbers must
// be whole and within ±(2^53 - 1), where every reader agrees on the digits; any other number fails
// with kBadRequest, its pointer in the error.
Result<std::string> Canonicalize(const Json& json);

}  // namespace pontage::codec
