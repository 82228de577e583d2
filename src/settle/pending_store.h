#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "chain/evm_transaction.h"
#include "codec/bytes.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"
#include "crypto/secp256k1.h"
#include "db/db.h"

// What the facilitator remembers across calls, crashes and nodes: the settlements it has begun (one
// for each payment, table pending_settlement), the transactions it signed for them (stored before
// they are broadcast, outgoing_transaction) and the next nonce of each signer (signer_nonce). Every
// function runs inside the caller's transaction; errors are kStore, and kConflict where it is said.
namespace pontage::settle {

// kSent -> kSettled -> kTold, or kSent -> kFailed -> kSent.
enum class PendingState : uint8_t {
  kSent,     // a transaction for it is signed; what became of it is not written down yet
  kSettled,  // the money moved; `result` is the answer
  kTold,     // likewise, and a caller who may serve only once has been told so
  kFailed,   // the transaction did not move it and the authorization was unused: may be tried again
};

struct Pending {
  std::string key;      // the once-key in hex
  std::string tx_hash;  // "0x…" of the transaction that carries it
  std::string result;   // JSON of the settle answer, once there is one
  PendingState state = PendingState::kSent;
};

// A transaction of ours that may not be mined yet.
struct Outgoing {
  std::string id;
  uint64_t nonce = 0;
  crypto::Hash32 hash{};
  codec::Bytes raw;
  std::string key;  // the payment it settles
};

// Whose nonces: the chain in CAIP-2, the address in lower case.
struct Signer {
  std::string chain;
  std::string address;
};

Result<std::optional<Pending>> FindPending(db::Tx& tx, const std::string& key);
// The result of a settlement that was begun. False when the row has gone on already.
Result<bool> FinishPending(db::Tx& tx, const std::string& key, PendingState state,
                           const std::string& result, UnixMs now);
// kSettled -> kTold and back. Of any number of callers exactly one gets true.
Result<bool> TellPending(db::Tx& tx, const std::string& key, UnixMs now);
Result<bool> UntellPending(db::Tx& tx, const std::string& key, UnixMs now);
// Forgets what was finished before `before`: the chain itself guards those authorizations.
Result<> PrunePending(db::Tx& tx, UnixMs before);

// One step, whole or not at all: takes the signer's next nonce (at least `floor`), signs `call`
// with it, writes the transaction down and claims the payment `key` for it. kConflict when the
// payment is claimed already: then nothing has changed. `call.nonce` is ignored.
Result<chain::SignedEvmTransaction> StoreTransaction(db::Tx& tx, const Signer& signer,
                                                     const crypto::PrivateKey& secret,
                                                     chain::EvmTransaction call,
                                                     const std::string& id, const std::string& key,
                                                     uint64_t floor, UnixMs now);
// The same for a transaction whose nonce somebody else has used: `old_id` is replaced by a new one
// with another nonce, and the payment follows it. kConflict when `old_id` is open no more.
Result<chain::SignedEvmTransaction> ReplaceTransaction(
    db::Tx& tx, const Signer& signer, const crypto::PrivateKey& secret, chain::EvmTransaction call,
    const std::string& old_id, const std::string& id, const std::string& key, uint64_t floor,
    UnixMs now);
// Signed or broadcast and not known to be mined, by nonce; written before `before`.
Result<std::vector<Outgoing>> OpenTransactions(db::Tx& tx, const Signer& signer, UnixMs before);
Result<> MarkBroadcast(db::Tx& tx, const std::string& id, UnixMs now);
Result<> MarkMined(db::Tx& tx, const std::string& id, uint64_t block, bool ok, UnixMs now);
// For people: every transaction that was signed for the payment `key`, oldest first; at most 100.
struct Attempt {
  std::string hash;
  std::string signer;
  uint64_t nonce = 0;
  std::string state;  // signed, broadcast, mined, replaced, failed
  std::optional<int64_t> block;
  std::optional<bool> ok;  // what the receipt said
  UnixMs created;
};
Result<std::vector<Attempt>> ReadAttempts(db::Tx& tx, const std::string& key);
// Makes the chain's count the next nonce when nothing of the signer is open and our own count is
// ahead of it: the chain was wound back, or a nonce was lost. False when there was nothing to mend.
Result<bool> MendNonce(db::Tx& tx, const Signer& signer, uint64_t count, UnixMs now);

}  // namespace pontage::settle
