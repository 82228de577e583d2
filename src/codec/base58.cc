#include "codec/base58.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace pontage::codec {
namespace {

constexpr std::string_view kAlphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

constexpr std::array<int8_t, 256> MakeValues() {
  std::array<int8_t, 256> v{};
  v.fill(-1);
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    v[static_cast<uint8_t>(kAlphabet[i])] = static_cast<int8_t>(i);
  }
  return v;
}
constexpr std::array<int8_t, 256> kValue = MakeValues();

std::unexpected<Error> Fault(std::string why) {
  return Fail(
      Error(Code::kBadRequest, "not base58: " + std::move(why)).Want("base58 (no 0, O, I or l)"));
}

}  // namespace

std::string EncodeBase58(ByteView bytes) {
  PTG_CHECK(bytes.size() <= kMaxBase58Bytes);
  const auto first = std::ranges::find_if(bytes, [](uint8_t b) { return b != 0; });
  const size_t zeros = static_cast<size_t>(first - bytes.begin());
  std::string digits;  // Least significant first; values, then characters.
  for (const uint8_t b : bytes.subspan(zeros)) {
    uint32_t carry = b;
    for (char& d : digits) {
      carry += static_cast<uint32_t>(d) << 8;
      d = static_cast<char>(carry % 58);
      carry /= 58;
    }
    for (; carry != 0; carry /= 58) digits.push_back(static_cast<char>(carry % 58));
  }
  std::string out(zeros, '1');
  for (auto d = digits.rbegin(); d != digits.rend(); ++d) {
    out.push_back(kAlphabet[static_cast<size_t>(*d)]);
  }
  return out;
}

Result<Bytes> DecodeBase58(std::string_view text, size_t max_bytes) {
  max_bytes = std::min(max_bytes, kMaxBase58Bytes);
  // A byte is 1.366 digits, a leading zero one: longer texts cannot fit, and are not worked on.
  if (text.size() > max_bytes * 138 / 100 + 1) return Fault("too long");
  const size_t zeros = std::min(text.find_first_not_of('1'), text.size());
  Bytes out;  // Least significant first.
  for (const char c : text.substr(zeros)) {
    const int8_t value = kValue[static_cast<uint8_t>(c)];
    if (value < 0) return Fault("a foreign character");
    uint32_t carry = static_cast<uint8_t>(value);
    for (uint8_t& b : out) {
      carry += b * 58U;
      b = static_cast<uint8_t>(carry);
      carry >>= 8;
    }
    if (carry != 0) out.push_back(static_cast<uint8_t>(carry));
  }
  out.insert(out.end(), zeros, 0);
  if (out.size() > max_bytes) return Fault("too long");
  std::ranges::reverse(out);
  return out;
}

}  // namespace pontage::codec
