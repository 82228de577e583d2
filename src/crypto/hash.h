#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "codec/bytes.h"

namespace pontage::crypto {

using Hash32 = codec::Bytes32;

// Ethereum's Keccak-256: the original padding, not SHA3-256's. Ours, because OpenSSL 3.0 has only
// the latter.
class Keccak {
 public:
  Keccak& Update(codec::ByteView bytes);
  // Ends the message; the object starts anew afterwards.
  Hash32 Finish();

 private:
  static constexpr size_t kRate = 136;
  std::array<uint64_t, 25> state_{};
  size_t filled_ = 0;  // Bytes absorbed into the current block.
};

Hash32 Keccak256(codec::ByteView bytes);
// Of the parts one behind the other.
Hash32 Keccak256(std::initializer_list<codec::ByteView> parts);

// FIPS 180-4, by OpenSSL with the digest fetched once and a context for each thread.
Hash32 Sha256(codec::ByteView bytes);
Hash32 Sha256(std::initializer_list<codec::ByteView> parts);

}  // namespace pontage::crypto
