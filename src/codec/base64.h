#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/bytes.h"

namespace pontage::codec {

// RFC 4648 §4, the standard alphabet, padded: what every x402 header is written in.
std::string EncodeBase64(std::string_view bytes);
std::string EncodeBase64(ByteView bytes);

// Accepts the standard alphabet only. Padding may be missing altogether (some clients drop it), but
// what is there must be whole and right. The bits behind the last byte must be zero, and '-', '_',
// white space and line ends are refused, so that apart from the padding a value has one spelling.
// Fails with kBadRequest; the text says what was met and where. Takes any length: the caller bounds
// the header; the answer is at most three quarters as long.
Result<std::string> DecodeBase64(std::string_view text);

}  // namespace pontage::codec
