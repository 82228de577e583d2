#include "codec/uint256.h"

#include <algorithm>

#include "base/check.h"
#include "codec/hex.h"

namespace pontage::codec {
namespace {

using Wide = unsigned __int128;
constexpr uint64_t kTenTo19 = 10'000'000'000'000'000'000ULL;  // As many digits as 64 bits hold.

std::unexpected<Error> NotDecimal(std::string why) {
  return Fail(Error(Code::kBadRequest, std::move(why))
                  .Want("a whole number in decimal digits, 0 to 2^256 - 1, no leading zeros"));
}

bool AllDigits(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

uint64_t ParseChunk(std::string_view digits) {
  uint64_t n = 0;
  for (const char c : digits) n = n * 10 + static_cast<uint64_t>(c - '0');
  return n;
}

uint64_t TenTo(size_t n) {
  uint64_t p = 1;
  while (n-- > 0) p *= 10;
  return p;
}

}  // namespace

bool Uint256::MulAdd(uint64_t by, uint64_t add) {
  Wide carry = add;
  for (uint64_t& limb : limbs_) {
    carry += static_cast<Wide>(limb) * by;
    limb = static_cast<uint64_t>(carry);
    carry >>= 64;
  }
  return carry == 0;
}

uint64_t Uint256::DivideBy(uint64_t by) {
  Wide rest = 0;
  for (size_t i = limbs_.size(); i-- > 0;) {
    rest = rest << 64 | limbs_[i];
    limbs_[i] = static_cast<uint64_t>(rest / by);
    rest %= by;
  }
  return static_cast<uint64_t>(rest);
}

Result<Uint256> Uint256::FromDecimal(std::string_view text) {
  if (text.empty()) return NotDecimal("empty");
  if (!AllDigits(text)) return NotDecimal("a character that is no digit");
  if (text.size() > 1 && text[0] == '0') return NotDecimal("a leading zero");
  if (text.size() > kMaxDigits) return NotDecimal("above 2^256 - 1");
  Uint256 n;
  while (!text.empty()) {
    const std::string_view chunk = text.substr(0, 19);
    text.remove_prefix(chunk.size());
    if (!n.MulAdd(TenTo(chunk.size()), ParseChunk(chunk))) return NotDecimal("above 2^256 - 1");
  }
  return n;
}

Result<Uint256> Uint256::FromFixedDecimal(std::string_view text) {
  if (text.size() != kMaxDigits) return NotDecimal("not 78 digits");
  const size_t first = std::min(text.find_first_not_of('0'), kMaxDigits - 1);
  return FromDecimal(text.substr(first));
}

Result<Uint256> Uint256::FromHexQuantity(std::string_view text) {
  const auto fault = [] {
    return Fail(Error(Code::kBadRequest, "not a quantity")
                    .Want("0x and 1 to 64 hex digits without leading zeros"));
  };
  if (!text.starts_with("0x")) return fault();
  text.remove_prefix(2);
  if (text.empty() || text.size() > 64) return fault();
  if (text.size() > 1 && text[0] == '0') return fault();
  std::array<char, 64> padded;
  padded.fill('0');
  std::ranges::copy(text, padded.end() - static_cast<ptrdiff_t>(text.size()));
  Bytes32 word{};
  if (!HexInto({padded.data(), padded.size()}, word)) return fault();
  return FromWord(word);
}

Result<Uint256> Uint256::FromBytesBE(ByteView bytes) {
  if (bytes.size() > 32) return Fail(Code::kBadRequest, "more than 32 bytes for a number");
  Bytes32 word{};
  std::ranges::copy(bytes, word.end() - static_cast<ptrdiff_t>(bytes.size()));
  return FromWord(word);
}

Uint256 Uint256::FromWord(const Bytes32& word) {
  Uint256 n;
  for (size_t i = 0; i < 32; ++i) {
    uint64_t& limb = n.limbs_[3 - i / 8];
    limb = limb << 8 | word[i];
  }
  return n;
}

Bytes32 Uint256::ToBytesBE() const {
  Bytes32 word{};
  for (size_t i = 0; i < 32; ++i) {
    word[i] = static_cast<uint8_t>(limbs_[3 - i / 8] >> (8 * (7 - i % 8)));
  }
  return word;
}

std::string Uint256::ToFixedDecimal() const {
  std::string text(kMaxDigits, '0');
  Uint256 left = *this;
  size_t end = kMaxDigits;
  while (!left.IsZero()) {
    uint64_t chunk = left.DivideBy(kTenTo19);
    for (size_t i = end; chunk != 0; chunk /= 10) text[--i] = static_cast<char>('0' + chunk % 10);
    end -= std::min<size_t>(end, 19);
  }
  return text;
}

std::string Uint256::ToDecimal() const {
  if (FitsU64()) return std::to_string(limbs_[0]);
  const std::string text = ToFixedDecimal();
  return text.substr(std::min(text.find_first_not_of('0'), kMaxDigits - 1));
}

std::string Uint256::ToHexQuantity() const {
  const std::string digits = ToHex(ToBytesBE());
  return "0x" + digits.substr(std::min<size_t>(digits.find_first_not_of('0'), 63));
}

Result<Uint256> Add(const Uint256& a, const Uint256& b) {
  Uint256 sum;
  Wide carry = 0;
  for (size_t i = 0; i < 4; ++i) {
    carry += static_cast<Wide>(a.limbs_[i]) + b.limbs_[i];
    sum.limbs_[i] = static_cast<uint64_t>(carry);
    carry >>= 64;
  }
  if (carry != 0) return Fail(Code::kBadRequest, "a sum above 2^256 - 1");
  return sum;
}

Result<Uint256> Sub(const Uint256& a, const Uint256& b) {
  if (a < b) return Fail(Code::kBadRequest, "a difference below zero");
  Uint256 difference;
  uint64_t borrow = 0;
  for (size_t i = 0; i < 4; ++i) {
    const Wide d = static_cast<Wide>(a.limbs_[i]) - b.limbs_[i] - borrow;
    difference.limbs_[i] = static_cast<uint64_t>(d);
    borrow = static_cast<uint64_t>(d >> 64) & 1;
  }
  return difference;
}

Result<Uint256> Mul(const Uint256& a, uint64_t b) {
  Uint256 product = a;
  if (!product.MulAdd(b, 0)) return Fail(Code::kBadRequest, "a product above 2^256 - 1");
  return product;
}

QuotientRemainder DivMod(const Uint256& a, uint64_t by) {
  PTG_CHECK(by != 0);
  QuotientRemainder qr{.quotient = a, .remainder = 0};
  qr.remainder = qr.quotient.DivideBy(by);
  return qr;
}

}  // namespace pontage::codec
