#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/bytes.h"

namespace pontage::codec {

struct QuotientRemainder;

// An unsigned integer of 256 bits: an amount in atomic units of a token, or a word of the EVM.
// Arithmetic is checked: what does not fit is an error, never a wrap.
class Uint256 {
 public:
  // 2^256 - 1 in decimal; the width of ToFixedDecimal.
  static constexpr size_t kMaxDigits = 78;

  constexpr Uint256() = default;
  constexpr explicit Uint256(uint64_t n) : limbs_{n, 0, 0, 0} {}
  static constexpr Uint256 Max() {
    Uint256 n;
    n.limbs_ = {~0ULL, ~0ULL, ~0ULL, ~0ULL};
    return n;
  }

  // Digits only, no sign, no leading zero but "0" itself, at most 2^256 - 1: one spelling for each
  // value. Fails with kBadRequest, the right form in expected().
  static Result<Uint256> FromDecimal(std::string_view text);
  // What ToFixedDecimal wrote: exactly 78 digits.
  static Result<Uint256> FromFixedDecimal(std::string_view text);
  // A JSON-RPC quantity: "0x" and 1 to 64 hex digits, without leading zeros but "0x0".
  static Result<Uint256> FromHexQuantity(std::string_view text);
  // Big-endian, 0 to 32 bytes, leading zeros allowed. Fails with kBadRequest when longer.
  static Result<Uint256> FromBytesBE(ByteView bytes);
  static Uint256 FromWord(const Bytes32& word);

  std::string ToDecimal() const;
  // 78 digits with leading zeros, so that text order is the order of the numbers (the SQL form).
  std::string ToFixedDecimal() const;
  std::string ToHexQuantity() const;
  Bytes32 ToBytesBE() const;

  constexpr bool IsZero() const { return (limbs_[0] | limbs_[1] | limbs_[2] | limbs_[3]) == 0; }
  constexpr bool FitsU64() const { return (limbs_[1] | limbs_[2] | limbs_[3]) == 0; }
  // nullopt when it does not fit.
  constexpr std::optional<uint64_t> ToU64() const {
    if (!FitsU64()) return std::nullopt;
    return limbs_[0];
  }

  // kBadRequest when the answer is above 2^256 - 1 or below zero.
  friend Result<Uint256> Add(const Uint256& a, const Uint256& b);
  friend Result<Uint256> Sub(const Uint256& a, const Uint256& b);
  friend Result<Uint256> Mul(const Uint256& a, uint64_t b);
  friend QuotientRemainder DivMod(const Uint256& a, uint64_t by);

  friend constexpr bool operator==(const Uint256&, const Uint256&) = default;
  friend constexpr std::strong_ordering operator<=>(const Uint256& a, const Uint256& b) {
    for (size_t i = 4; i-- > 0;) {
      if (a.limbs_[i] != b.limbs_[i]) return a.limbs_[i] <=> b.limbs_[i];
    }
    return std::strong_ordering::equal;
  }

 private:
  // Divides in place and returns the remainder; `by` is not zero.
  uint64_t DivideBy(uint64_t by);
  // *this = *this * by + add; false, with the value unspecified, when it does not fit.
  bool MulAdd(uint64_t by, uint64_t add);

  std::array<uint64_t, 4> limbs_{};  // Least significant first.
};

// Declared here too, so that a qualified call finds them.
Result<Uint256> Add(const Uint256& a, const Uint256& b);
Result<Uint256> Sub(const Uint256& a, const Uint256& b);
Result<Uint256> Mul(const Uint256& a, uint64_t b);

struct QuotientRemainder {
  Uint256 quotient;
  uint64_t remainder = 0;
};
// Whole quotient and remainder. `by` must not be zero.
QuotientRemainder DivMod(const Uint256& a, uint64_t by);

}  // namespace pontage::codec
