#include "crypto/evm_address.h"

#include <algorithm>

#include "codec/hex.h"
#include "crypto/hash.h"

namespace pontage::crypto {
namespace {

std::unexpected<Error> Fault(std::string why) {
  return Fail(
      Error(Code::kBadRequest, std::move(why)).Want("an EVM address: 0x and 40 hex digits"));
}

bool IsMixedCase(std::string_view digits) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'f'; };
  const auto upper = [](char c) { return c >= 'A' && c <= 'F'; };
  return std::ranges::any_of(digits, lower) && std::ranges::any_of(digits, upper);
}

}  // namespace

Result<EvmAddress> EvmAddress::Parse(std::string_view text, Checksum checksum) {
  if (text.size() != 42)
    return Fault("an address of " + std::to_string(text.size()) + " characters");
  if (!text.starts_with("0x")) return Fault("an address that does not begin with 0x");
  EvmAddress address;
  if (!codec::HexInto(text.substr(2), address.bytes)) {
    return Fault("an address with a character that is no hex digit");
  }
  if (checksum == Checksum::kVerify && IsMixedCase(text.substr(2))) {
    const std::string right = address.ToChecksum();
    if (right != text) {
      return Fail(Error(Code::kBadRequest, "the address's checksum is wrong: a digit was mistyped")
                      .Want("the address as its owner's wallet shows it (EIP-55)"));
    }
  }
  return address;
}

Result<EvmAddress> EvmAddress::FromWord(const codec::Bytes32& word) {
  if (std::ranges::any_of(word.begin(), word.begin() + 12, [](uint8_t b) { return b != 0; })) {
    return Fault("a word that is no address");
  }
  EvmAddress address;
  std::ranges::copy(word.begin() + 12, word.end(), address.bytes.begin());
  return address;
}

codec::Bytes32 EvmAddress::ToWord() const {
  codec::Bytes32 word{};
  std::ranges::copy(bytes, word.begin() + 12);
  return word;
}

std::string EvmAddress::ToLower() const { return codec::Hex0x(bytes); }

std::string EvmAddress::ToChecksum() const {
  std::string text = ToLower();
  const Hash32 hash = Keccak256(codec::AsBytes(std::string_view(text).substr(2)));
  for (size_t i = 0; i < 40; ++i) {
    const int nibble = i % 2 == 0 ? hash[i / 2] >> 4 : hash[i / 2] & 15;
    char& c = text[2 + i];
    if (nibble >= 8 && c >= 'a') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

}  // namespace pontage::crypto
