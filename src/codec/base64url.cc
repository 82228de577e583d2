#include "codec/base64url.h"

#include "codec/base64_tables.h"

namespace pontage::codec {
namespace {
constexpr internal::Base64Alphabet kUrl = internal::MakeAlphabet('-', '_');

std::unexpected<Error> Fault(internal::DigitsFault fault, size_t at) {
  std::string why = "a foreign character at " + std::to_string(at);
  if (fault == internal::DigitsFault::kLength) why = "cut off";
  if (fault == internal::DigitsFault::kTrailingBits) {
    why = "the bits behind the last byte are not zero";
  }
  return Fail(Error(Code::kBadRequest, "not base64url: " + why)
                  .Want("base64url without padding (RFC 4648 section 5)"));
}

}  // namespace

std::string EncodeBase64Url(ByteView bytes) { return internal::EncodeDigits(kUrl, bytes, false); }
std::string EncodeBase64Url(std::string_view bytes) { return EncodeBase64Url(AsBytes(bytes)); }

Result<std::string> DecodeBase64Url(std::string_view text) {
  internal::DecodedDigits d = internal::DecodeDigits(kUrl, text);
  if (d.fault != internal::DigitsFault::kNone) return Fault(d.fault, d.at);
  return std::move(d.bytes);
}

Result<> DecodeBase64UrlInto(std::string_view text, std::span<uint8_t> out) {
  if (text.size() % 4 == 1) return Fault(internal::DigitsFault::kLength, 0);
  if (internal::BytesOf(text.size()) != out.size()) {
    return Fail(Error(Code::kBadRequest, "not base64url of this length: " +
                                             std::to_string(text.size()) + " characters")
                    .Want(std::to_string(out.size()) + " bytes in base64url"));
  }
  const internal::DigitsRead d =
      internal::DecodeDigitsInto(kUrl, text, reinterpret_cast<char*>(out.data()));
  if (d.fault != internal::DigitsFault::kNone) return Fault(d.fault, d.at);
  return {};
}

}  // namespace pontage::codec
