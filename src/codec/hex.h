#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/try.h"
#include "codec/bytes.h"

namespace pontage::codec {

// Lower case, two digits for each byte, no prefix.
std::string ToHex(ByteView bytes);
// The same behind "0x"; "0x" for nothing.
std::string Hex0x(ByteView bytes);

// Writes the bytes of bare hex digits (either case) to `out`. False, with `out` unspecified, when
// `digits` is not exactly two hex digits for each byte of `out`.
bool HexInto(std::string_view digits, std::span<uint8_t> out);

// "0x" and an even number of hex digits in either case, at most `max_bytes` bytes of them. Fails
// with kBadRequest, the right form in expected().
Result<Bytes> FromHex0x(std::string_view text, size_t max_bytes);

// "0x" and exactly 2·N hex digits.
Result<> FromHex0xInto(std::string_view text, std::span<uint8_t> out);
template <size_t N>
Result<std::array<uint8_t, N>> FromHex0x(std::string_view text) {
  std::array<uint8_t, N> out{};
  PTG_RUN(FromHex0xInto(text, out));
  return out;
}

}  // namespace pontage::codec
