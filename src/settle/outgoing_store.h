#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "chain/evm_transaction.h"
#include "codec/bytes.h"
#include "crypto/hash.h"
#include "crypto/secp256k1.h"
#include "db/db.h"
#include "settle/settlement_queue.h"

// The transactions of our signers, stored before they are broadcast (outgoing_transaction), with
// their members (outgoing_member) and versions (outgoing_version), the next nonce of each signer
// (signer_nonce) and what it spends (gas_spent). Every function runs inside the caller's
// transaction; errors are kStore, and those that are said.
namespace pontage::settle {

// One signed form of a transaction; those of one transaction differ in their fees alone.
struct Version {
  crypto::Hash32 hash{};
  codec::Bytes raw;
};

// A transaction of ours that may not be mined yet.
struct Outgoing {
  std::string id;
  uint64_t nonce = 0;
  bool batch = false;             // it settles several payments
  UnixMs signed_at;               // its last version
  std::vector<Version> versions;  // oldest first; any of them may be mined, the last is sent
};

// Whose nonces: the chain in CAIP-2, the address in lower case.
struct Signer {
  std::string chain;
  std::string address;
};

// What is to be signed: fees and chain for all, and the jobs of one transaction.
struct Unsigned {
  std::string id;
  std::vector<const SettleJob*> jobs;  // of different keys
  chain::EvmTransaction fees;          // chain_id, max_fee_per_gas and max_priority_fee_per_gas
};
struct Stored {
  // Absent: none of the payments was free, and nothing was written.
  std::optional<Outgoing> made;
  std::vector<size_t> claimed;  // the jobs that are in it
  std::vector<size_t> refused;  // those that have a transaction already, here or on another node
};
// What a signer may spend, and how its transactions are made.
struct SigningRules {
  uint64_t gas_cap = 0;
  uint64_t floor = 0;                    // no nonce below it is taken
  std::optional<int64_t> gwei_per_hour;  // absent: no bound
};
// One step, whole or not at all: claims the payments that are free, takes the signer's next nonce,
// signs one transaction for them and writes it down with its members and its gas. kOverloaded when
// the hour's gas does not cover it: nothing has changed.
Result<Stored> StoreTransaction(db::Tx& tx, const Signer& signer, const crypto::PrivateKey& secret,
                                const Unsigned& wanted, const SigningRules& rules, UnixMs now);
// The same call with the same nonce and other fees (`call` is whole), beside the earlier versions.
// kConflict when `old` is not open, or its last version is another one.
Result<Outgoing> AddVersion(db::Tx& tx, const Signer& signer, const crypto::PrivateKey& secret,
                            const chain::EvmTransaction& call, const Outgoing& old,
                            const SigningRules& rules, UnixMs now);
// For a transaction whose nonce somebody else has used: it is replaced by a new one with another
// nonce, and its payments follow it. Nothing when none of its payments waits for it any more; it is
// closed all the same. What `old` may cost counts as spent: that it never will be mined is the word
// of nodes. kConflict when `old` is open no more, kOverloaded when the hour's gas does not cover
// it: nothing has changed.
Result<std::optional<Outgoing>> ReplaceTransaction(db::Tx& tx, const Signer& signer,
                                                   const crypto::PrivateKey& secret,
                                                   chain::EvmTransaction call, const Outgoing& old,
                                                   const std::string& id, const SigningRules& rules,
                                                   UnixMs now);
// A transaction for a nonce that no stored one has: a transfer of nothing to the signer itself
// (`call` is whole). kConflict when there is one, kOverloaded when the hour's gas does not cover
// it.
Result<Outgoing> StoreFiller(db::Tx& tx, const Signer& signer, const crypto::PrivateKey& secret,
                             const chain::EvmTransaction& call, const std::string& id,
                             const SigningRules& rules, UnixMs now);
// A transaction that counts as mined, in the block of that hash ("" when the node did not name it).
struct CountedMined {
  Outgoing tx;
  std::string block_hash;
};
// Those of the nonces from `from` up to and without `to`.
Result<std::vector<CountedMined>> MinedBetween(db::Tx& tx, const Signer& signer, uint64_t from,
                                               uint64_t to);
// One that is not on the chain any more: open again, to be sent again. False, and nothing done,
// when it does not count as mined in that block any more.
Result<bool> Reopen(db::Tx& tx, const CountedMined& gone, UnixMs now);
// A row of id, nonce, hash, raw, purpose, created_ms, and its versions from the database.
Result<Outgoing> ReadOutgoing(db::Tx& tx, const db::Row& row);
// Signed or broadcast and not known to be mined, by nonce; written before `before`, or after
// `after` by a clock that is ahead of ours.
Result<std::vector<Outgoing>> OpenTransactions(db::Tx& tx, const Signer& signer, UnixMs before,
                                               UnixMs after = UnixMs(INT64_MAX));
// The transaction that has a version of that hash, and whose it is; open or not.
struct FoundOutgoing {
  Outgoing tx;
  std::string signer;
};
Result<std::optional<FoundOutgoing>> FindOutgoing(db::Tx& tx, const crypto::Hash32& hash);
Result<> MarkBroadcast(db::Tx& tx, const std::string& id, UnixMs now);
// `hash` is of the version that was mined; `gwei` is what it cost, rounded up.
struct Mined {
  std::string id;
  crypto::Hash32 hash{};
  uint64_t block = 0;
  crypto::Hash32 block_hash{};
  bool ok = false;
  std::optional<int64_t> gwei;
};
// From here on a transaction that did what it should is watched (reorg_store.h). True when it was
// mined before and the chain had thrown it out.
Result<bool> MarkMined(db::Tx& tx, const Signer& signer, const Mined& mined, UnixMs now);
// What the signer's transactions of the last hour cost, or may still cost, in gwei.
Result<int64_t> GasOfLastHour(db::Tx& tx, const Signer& signer, UnixMs now);
// For people: every transaction that was signed for the payment `key`, oldest first; at most 100.
struct Attempt {
  std::string hash;
  std::string signer;
  uint64_t nonce = 0;
  std::string state;  // signed, broadcast, mined, replaced, failed
  std::string watch;  // how it stands in its block: watched, moved, gone, final; "": nobody looks
  std::optional<int64_t> block;
  std::optional<bool> ok;  // what the receipt said
  size_t payments = 1;     // that it settles together
  UnixMs created;
};
Result<std::vector<Attempt>> ReadAttempts(db::Tx& tx, const std::string& key);
// What a chain says of the signer when a node starts.
struct ChainStart {
  uint64_t count = 0;                         // the signer's transactions, those that wait too
  std::optional<crypto::Hash32> first_block;  // absent: the node does not have it
};
// Makes the chain's count the next nonce when nothing of the signer is open and our own count is
// ahead of it: the chain is another one than before, or a nonce was lost. What a chain that is
// still the same has thrown out is left to whoever watches it. False when there was nothing to
// mend.
Result<bool> MendNonce(db::Tx& tx, const Signer& signer, const ChainStart& start, UnixMs now);

}  // namespace pontage::settle
