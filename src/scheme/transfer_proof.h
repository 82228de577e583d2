#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "chain/evm_calls.h"
#include "codec/bytes.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"

namespace pontage::scheme {

// What a settlement must have done.
struct TransferClaim {
  crypto::EvmAddress asset;
  crypto::EvmAddress payer;
  codec::Bytes32 nonce{};
  crypto::EvmAddress to;
  codec::Uint256 value;
};

enum class Proof : uint8_t {
  kUnused,     // the authorization was not used in this transaction
  kElsewhere,  // it was used, but it did not pay `to` that much
  kPaid,
};

// Reads the logs of one transaction that was not reverted. Paid means: the asset wrote
// AuthorizationUsed(payer, nonce) and, for this authorization, Transfer(payer, to, value). A status
// alone proves nothing: there are tokens that do not revert on a used nonce, and an address without
// code never does. Each log counts once: of several authorizations in one transaction each has the
// transfers between it and the next one, or, for a token that writes its Transfer first, those
// between it and the one before; which of the two a token does is the same for all of them.
Proof ProveTransfer(std::span<const chain::EvmLog> logs, const TransferClaim& claim);

// The same for many claims on one transaction: what `asset` wrote in it is read once.
class TransferLogs {
 public:
  TransferLogs(std::span<const chain::EvmLog> logs, crypto::EvmAddress asset);

  const crypto::EvmAddress& asset() const { return asset_; }
  // A claim on another asset is not met.
  Proof Prove(const TransferClaim& claim) const;

 private:
  // One log: an authorization that was used, or a transfer.
  struct Step {
    std::optional<chain::AuthorizationUsedEvent> used;
    std::optional<chain::TransferEvent> moved;
  };
  struct Found {
    bool any = false;
    bool match = false;
  };
  Found Segment(size_t at, bool forward, const crypto::EvmAddress& payer,
                const TransferClaim* claim) const;
  bool TransferFirst() const;

  crypto::EvmAddress asset_;
  std::vector<Step> steps_;
  bool forward_ = true;
};

}  // namespace pontage::scheme
