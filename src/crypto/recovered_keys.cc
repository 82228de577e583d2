#include "crypto/recovered_keys.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "base/try.h"

namespace pontage::crypto {

RecoveredKeys::RecoveredKeys(size_t entries) : notes_(entries) { PTG_CHECK(entries > 0); }

Result<EvmAddress> RecoveredKeys::Recover(const Hash32& digest, codec::ByteView signature) {
  // A digest is a hash already. Who looks for collisions puts out notes of others, no more.
  uint64_t slot = 0;
  std::memcpy(&slot, digest.data(), sizeof slot);
  Note& note = notes_[slot % notes_.size()];
  {
    const std::lock_guard lock(mutex_);
    if (note.digest == digest && std::ranges::equal(note.signature, signature)) return note.signer;
  }
  PTG_TRY(const EvmAddress signer, crypto::Recover(digest, signature));
  const std::lock_guard lock(mutex_);
  note.digest = digest;
  std::ranges::copy(signature, note.signature.begin());  // 65 bytes, or Recover had failed
  note.signer = signer;
  return signer;
}

}  // namespace pontage::crypto
