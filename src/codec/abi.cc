#include "codec/abi.h"

#include <algorithm>

#include "base/try.h"

namespace pontage::codec {
namespace {

constexpr size_t kWord = 32;

std::unexpected<Error> Fault(std::string why) {
  return Fail(Code::kBadRequest, "not the ABI we expect: " + std::move(why));
}

size_t Padded(size_t length) { return (length + kWord - 1) / kWord * kWord; }

void AppendWord(Bytes& out, size_t n) { Append(out, Uint256(n).ToBytesBE()); }

}  // namespace

AbiEncoder& AbiEncoder::Address(const AddressBytes& address) {
  Bytes32 word{};
  std::ranges::copy(address, word.begin() + 12);
  return Word(word);
}

AbiEncoder& AbiEncoder::Word(const Bytes32& word) {
  slots_.push_back({.word = word, .tail = {}, .dynamic = false});
  return *this;
}

AbiEncoder& AbiEncoder::Dynamic(ByteView bytes) {
  Slot slot{.word = {}, .tail = {}, .dynamic = true};
  slot.tail.reserve(kWord + Padded(bytes.size()));
  AppendWord(slot.tail, bytes.size());
  Append(slot.tail, bytes);
  slot.tail.resize(kWord + Padded(bytes.size()));
  slots_.push_back(std::move(slot));
  return *this;
}

AbiEncoder& AbiEncoder::DynamicArray(const std::vector<Bytes>& elements) {
  Slot slot{.word = {}, .tail = {}, .dynamic = true};
  AppendWord(slot.tail, elements.size());
  size_t offset = elements.size() * kWord;  // Counted from behind the length.
  for (const Bytes& element : elements) {
    AppendWord(slot.tail, offset);
    offset += element.size();
  }
  for (const Bytes& element : elements) Append(slot.tail, element);
  slots_.push_back(std::move(slot));
  return *this;
}

Bytes AbiEncoder::Finish() {
  Bytes out;
  size_t offset = slots_.size() * kWord;
  for (const Slot& slot : slots_) {
    if (slot.dynamic) {
      AppendWord(out, offset);
      offset += slot.tail.size();
    } else {
      Append(out, slot.word);
    }
  }
  for (const Slot& slot : slots_) Append(out, slot.tail);
  slots_.clear();
  return out;
}

Bytes AbiEncoder::Finish(uint32_t selector) {
  Bytes out = {static_cast<uint8_t>(selector >> 24), static_cast<uint8_t>(selector >> 16),
               static_cast<uint8_t>(selector >> 8), static_cast<uint8_t>(selector)};
  Append(out, Finish());
  return out;
}

Result<Bytes32> AbiDecoder::Word(size_t index) const {
  if (index >= bytes_.size() / kWord) return Fault("ends too soon");
  Bytes32 word;
  std::ranges::copy(bytes_.subspan(index * kWord, kWord), word.begin());
  return word;
}

Result<Uint256> AbiDecoder::Uint(size_t index) const {
  PTG_TRY(const Bytes32 word, Word(index));
  return Uint256::FromWord(word);
}

Result<uint64_t> AbiDecoder::U64(size_t index) const {
  PTG_TRY(const Uint256 n, Uint(index));
  const std::optional<uint64_t> small = n.ToU64();
  if (!small) return Fault("a number above 64 bits");
  return *small;
}

Result<AddressBytes> AbiDecoder::Address(size_t index) const {
  PTG_TRY(const Bytes32 word, Word(index));
  if (std::ranges::any_of(word.begin(), word.begin() + 12, [](uint8_t b) { return b != 0; })) {
    return Fault("an address of more than 20 bytes");
  }
  AddressBytes address;
  std::ranges::copy(word.begin() + 12, word.end(), address.begin());
  return address;
}

Result<bool> AbiDecoder::Bool(size_t index) const {
  PTG_TRY(const Uint256 n, Uint(index));
  if (n > Uint256(1)) return Fault("a boolean that is neither 0 nor 1");
  return !n.IsZero();
}

Result<size_t> AbiDecoder::OffsetAt(size_t index) const {
  PTG_TRY(const uint64_t offset, U64(index));
  if (offset > bytes_.size()) return Fault("an offset outside");
  return static_cast<size_t>(offset);
}

Result<ByteView> AbiDecoder::Dynamic(size_t index) const {
  PTG_TRY(const size_t offset, OffsetAt(index));
  const ByteView rest = bytes_.subspan(offset);
  PTG_TRY(const uint64_t length, AbiDecoder(rest).U64(0));
  if (length > rest.size() - kWord) return Fault("a length outside");
  const size_t size = static_cast<size_t>(length);
  if (Padded(size) > rest.size() - kWord) return Fault("the padding is missing");
  const ByteView padding = rest.subspan(kWord + size, Padded(size) - size);
  if (std::ranges::any_of(padding, [](uint8_t b) { return b != 0; })) {
    return Fault("the padding is not zero");
  }
  return rest.subspan(kWord, size);
}

Result<std::vector<AbiDecoder>> AbiDecoder::DynamicArray(size_t index, size_t max) const {
  PTG_TRY(const size_t offset, OffsetAt(index));
  const ByteView rest = bytes_.subspan(offset);
  PTG_TRY(const uint64_t count, AbiDecoder(rest).U64(0));
  if (count > max) return Fault("more than " + std::to_string(max) + " elements");
  const AbiDecoder base(rest.subspan(kWord));
  std::vector<AbiDecoder> elements;
  elements.reserve(static_cast<size_t>(count));
  for (size_t i = 0; i < count; ++i) {
    PTG_TRY(const AbiDecoder element, base.Tuple(i));
    elements.push_back(element);
  }
  return elements;
}

Result<AbiDecoder> AbiDecoder::Tuple(size_t index) const {
  PTG_TRY(const size_t offset, OffsetAt(index));
  return AbiDecoder(bytes_.subspan(offset));
}

}  // namespace pontage::codec
