#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "codec/bytes.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"
#include "crypto/secp256k1.h"

namespace pontage::crypto {

// Recover, with a note of the last signatures. One payment is judged when it is verified, when its
// settlement begins and again after the chain has answered, and nine tenths of judging it is this.
// What it gives is what Recover gives, for the same bytes always the same. Safe to use from any
// thread.
class RecoveredKeys {
 public:
  // `entries` notes of 120 bytes; a new one takes the place of the one in its slot. The default
  // remembers a second of what one core can verify.
  static constexpr size_t kEntries = 8'192;
  explicit RecoveredKeys(size_t entries = kEntries);

  // As crypto::Recover; what fails is not noted.
  Result<EvmAddress> Recover(const Hash32& digest, codec::ByteView signature);

 private:
  struct Note {
    Hash32 digest{};
    Signature65 signature{};  // all zero: none, which no key makes
    EvmAddress signer;
  };
  std::mutex mutex_;
  std::vector<Note> notes_;
};

}  // namespace pontage::crypto
