#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/bytes.h"

namespace pontage::codec {

// RFC 4648 §5 without padding, as JWTs and our own tokens have it.
std::string EncodeBase64Url(std::string_view bytes);
std::string EncodeBase64Url(ByteView bytes);

// Exactly what EncodeBase64Url writes and nothing else: no padding, no '+' or '/', no white space,
// zero bits at the end. Fails with kBadRequest.
Result<std::string> DecodeBase64Url(std::string_view text);
// The same where the number of bytes is known: kBadRequest, too, when they are more or fewer than
// `out` has. A fault may leave something in `out`.
Result<> DecodeBase64UrlInto(std::string_view text, std::span<uint8_t> out);

}  // namespace pontage::codec
