#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/bytes.h"

namespace pontage::codec {

// Both directions cost the square of the length: a transaction of Solana (1,232 bytes) is the
// longest thing that is ever written so.
inline constexpr size_t kMaxBase58Bytes = 1232;

// The Bitcoin alphabet, as Solana writes keys and signatures; a leading zero byte is a '1'.
// `bytes` is at most kMaxBase58Bytes long, which is the caller's to know.
std::string EncodeBase58(ByteView bytes);

// Fails with kBadRequest on a foreign character and on more than `max_bytes` bytes.
Result<Bytes> DecodeBase58(std::string_view text, size_t max_bytes);

}  // namespace pontage::codec
