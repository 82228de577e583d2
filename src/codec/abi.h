#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "codec/bytes.h"
#include "codec/uint256.h"

namespace pontage::codec {

using AddressBytes = std::array<uint8_t, 20>;

// The contract ABI (Solidity's specification, "Formal Specification of the Encoding"), as far as
// token calls and Multicall3 go. An encoder writes one tuple, member by member, in order: the
// arguments of a call, or a struct inside them.
class AbiEncoder {
 public:
  AbiEncoder& Uint(const Uint256& n) { return Word(n.ToBytesBE()); }
  AbiEncoder& Uint(uint64_t n) { return Uint(Uint256(n)); }
  AbiEncoder& Address(const AddressBytes& address);
  AbiEncoder& Bool(bool b) { return Uint(uint64_t{b}); }
  AbiEncoder& Word(const Bytes32& word);
  // `bytes` or `string`.
  AbiEncoder& Dynamic(ByteView bytes);
  // T[] of a dynamic tuple T: each element is what Finish() of its own encoder gave.
  AbiEncoder& DynamicArray(const std::vector<Bytes>& elements);

  // The tuple; the encoder is empty afterwards.
  Bytes Finish();
  // Behind a four-byte selector: the calldata of a call.
  Bytes Finish(uint32_t selector);

 private:
  struct Slot {
    Bytes32 word;
    Bytes tail;
    bool dynamic = false;
  };
  std::vector<Slot> slots_;
};

// Reads one tuple by the index of its member, counting words of the head from zero. Strict: unused
// bits must be zero (an address of 20 bytes, a bool of one bit), offsets and lengths must lie
// inside. Every failure is kBadRequest. Looks into `bytes`, which must outlive it.
class AbiDecoder {
 public:
  explicit AbiDecoder(ByteView bytes) : bytes_(bytes) {}

  Result<Bytes32> Word(size_t index) const;
  Result<Uint256> Uint(size_t index) const;
  // Fails when it does not fit 64 bits.
  Result<uint64_t> U64(size_t index) const;
  Result<AddressBytes> Address(size_t index) const;
  Result<bool> Bool(size_t index) const;
  // `bytes` or `string`; the bytes behind it up to the next word must be there and zero.
  Result<ByteView> Dynamic(size_t index) const;
  // T[] of a dynamic tuple T, at most `max` elements.
  Result<std::vector<AbiDecoder>> DynamicArray(size_t index, size_t max) const;
  // The tuple at the offset that member holds (a struct with dynamic members).
  Result<AbiDecoder> Tuple(size_t index) const;

 private:
  Result<size_t> OffsetAt(size_t index) const;
  ByteView bytes_;
};

}  // namespace pontage::codec
