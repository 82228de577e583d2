#pragma once

#include "codec/bytes.h"
#include "crypto/hash.h"

namespace pontage::crypto {

// RFC 2104 over SHA-256. Compare tags with Secret::Matches or TagsEqual, never with ==.
Hash32 HmacSha256(codec::ByteView key, codec::ByteView message);

// Constant time.
bool TagsEqual(const Hash32& a, const Hash32& b);

}  // namespace pontage::crypto
