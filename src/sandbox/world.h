#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "codec/bytes.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"

namespace pontage::sandbox {

// What a number of the chain's state is.
enum class SlotKind : uint8_t {
  kWei,            // owner
  kNonce,          // owner
  kTokenBalance,   // owner
  kAllowance,      // owner, spender
  kAuthorization,  // authorizer, nonce: 1 when used or canceled
  kPermitNonce,    // owner
  kDenied,         // owner: 1 when on the deny list
  kPaused,         // 1 when the token stands still
  kTokenSupply,
};

struct Slot {
  SlotKind kind;
  crypto::EvmAddress owner;
  codec::Bytes32 key{};  // The spender as a word, or the nonce.
  friend auto operator<=>(const Slot&, const Slot&) = default;
};

// The whole state of the chain as numbers in slots; what was never written is zero. Every write
// goes into a journal, so that a call, a transaction or a block can be taken back. Not thread safe.
class World {
 public:
  struct Change {
    Slot slot;
    codec::Uint256 before;
  };
  using Mark = size_t;

  codec::Uint256 Get(const Slot& slot) const;
  void Set(const Slot& slot, const codec::Uint256& value);

  // Where the journal is now; RevertTo undoes whatever was written since.
  Mark mark() const { return journal_.size(); }
  void RevertTo(Mark mark);
  // The journal so far, oldest first; the writes stay and RevertTo can no longer undo them.
  std::vector<Change> TakeJournal();
  // Undoes what another journal did, as writes of this one.
  void Undo(const std::vector<Change>& changes);

 private:
  void Put(const Slot& slot, const codec::Uint256& value);

  // Ordered, because the keys are chosen by whoever sends transactions.
  std::map<Slot, codec::Uint256> slots_;
  std::vector<Change> journal_;
};

}  // namespace pontage::sandbox
