#include "codec/base64.h"

#include "codec/base64_tables.h"

namespace pontage::codec {
namespace {

constexpr internal::Base64Alphabet kStandard = internal::MakeAlphabet('+', '/');
constexpr char kForm[] = "standard base64 (RFC 4648 section 4: A-Z a-z 0-9 + /)";

std::unexpected<Error> Fault(std::string why) {
  return Fail(Error(Code::kBadRequest, "not base64: " + std::move(why)).Want(kForm));
}

}  // namespace

std::string EncodeBase64(ByteView bytes) { return internal::EncodeDigits(kStandard, bytes, true); }
std::string EncodeBase64(std::string_view bytes) { return EncodeBase64(AsBytes(bytes)); }

Result<std::string> DecodeBase64(std::string_view text) {
  std::string_view digits = text;
  while (digits.ends_with('=') && text.size() - digits.size() < 3) digits.remove_suffix(1);
  const size_t padding = text.size() - digits.size();
  if (padding != 0 && (padding > 2 || text.size() % 4 != 0)) return Fault("the padding is wrong");

  internal::DecodedDigits d = internal::DecodeDigits(kStandard, digits);
  switch (d.fault) {
    case internal::DigitsFault::kNone:
      return std::move(d.bytes);
    case internal::DigitsFault::kLength:
      return Fault("cut off (" + std::to_string(digits.size()) + " characters)");
    case internal::DigitsFault::kTrailingBits:
      return Fault("the bits behind the last byte are not zero");
    case internal::DigitsFault::kForeign:
      break;
  }
  const char c = digits[d.at];
  if (c == '-' || c == '_') {
    return Fault("the url alphabet is not accepted (character " + std::to_string(d.at) + ")");
  }
  return Fault("a foreign character at " + std::to_string(d.at));
}

}  // namespace pontage::codec
