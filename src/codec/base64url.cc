#include "codec/base64url.h"

#include "codec/base64_tables.h"

namespace pontage::codec {
namespace {
constexpr internal::Base64Alphabet kUrl = internal::MakeAlphabet('-', '_');
}  // namespace

std::string EncodeBase64Url(ByteView bytes) { return internal::EncodeDigits(kUrl, bytes, false); }
std::string EncodeBase64Url(std::string_view bytes) { return EncodeBase64Url(AsBytes(bytes)); }

Result<std::string> DecodeBase64Url(std::string_view text) {
  internal::DecodedDigits d = internal::DecodeDigits(kUrl, text);
  if (d.fault == internal::DigitsFault::kNone) return std::move(d.bytes);
  std::string why = "a foreign character at " + std::to_string(d.at);
  if (d.fault == internal::DigitsFault::kLength) why = "cut off";
  if (d.fault == internal::DigitsFault::kTrailingBits) {
    why = "the bits behind the last byte are not zero";
  }
  return Fail(Error(Code::kBadRequest, "not base64url: " + why)
                  .Want("base64url without padding (RFC 4648 section 5)"));
}

}  // namespace pontage::codec
