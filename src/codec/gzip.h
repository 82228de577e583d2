#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

// RFC 1952, of texts that are made and read whole.
namespace pontage::codec {

std::string Gzip(std::string_view text);
// kBadRequest for what is not one whole stream, and for more than `most` bytes of text: a small
// stream may say gigabytes.
Result<std::string> Gunzip(std::string_view bytes, size_t most);

}  // namespace pontage::codec
