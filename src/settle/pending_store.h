#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "db/db.h"

// The settlements the facilitator has begun, one for each payment (table pending_settlement): what
// it remembers of them across calls, crashes and nodes. A payment is claimed by the transaction
// that is signed for it (outgoing_store.h). Every function runs inside the caller's transaction;
// errors are kStore.
namespace pontage::settle {

// kSent -> kSettled -> kTold, or kSent -> kFailed -> kSent.
enum class PendingState : uint8_t {
  kSent,     // a transaction for it is signed; what became of it is not written down yet
  kSettled,  // the money moved; `result` is the answer
  kTold,     // likewise, and somebody serves on it: its owner, or one who may only once
  kFailed,   // the transaction did not move it and the authorization was unused: may be tried again
};

struct Pending {
  std::string key;      // the once-key in hex
  std::string tx_hash;  // "0x…" of the transaction that carries it
  std::string result;   // JSON of the settle answer, once there is one, and of what it paid
  PendingState state = PendingState::kSent;
};

Result<std::optional<Pending>> FindPending(db::Tx& tx, const std::string& key);
// kSettled or kTold: the result of a settlement that was begun. False when the row has gone on
// already.
Result<bool> FinishPending(db::Tx& tx, const std::string& key, PendingState state,
                           const std::string& result, UnixMs now);
// kFailed: the transaction of that hash did not move it. False when the payment belongs to another
// transaction by now, or has gone on.
Result<bool> FailPending(db::Tx& tx, const std::string& key, const std::string& hash, UnixMs now);
// kSettled -> kTold and back. Of any number of callers exactly one gets true. `result`: the answer
// and, beside it, whom it was told.
Result<bool> TellPending(db::Tx& tx, const std::string& key, const std::string& result, UnixMs now);
Result<bool> UntellPending(db::Tx& tx, const std::string& key, UnixMs now);
// Forgets what was finished before `before`: the chain itself guards those authorizations.
Result<> PrunePending(db::Tx& tx, UnixMs before);

// For StoreTransaction: the payment belongs to the transaction of that hash from now on. False when
// it belongs to another one that has not failed.
Result<bool> ClaimPending(db::Tx& tx, const std::string& key, const std::string& hash, UnixMs now);
// The claimed payment's transaction has another hash.
Result<bool> MovePending(db::Tx& tx, const std::string& key, const std::string& hash, UnixMs now);
// The same for one that may be settled already by a version of the transaction `outgoing`. False
// when it is another one's, or failed.
Result<bool> MoveSettled(db::Tx& tx, const std::string& key, const std::string& outgoing,
                         const std::string& hash, UnixMs now);

}  // namespace pontage::settle
