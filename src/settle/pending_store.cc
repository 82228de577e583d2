#include "settle/pending_store.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/try.h"
#include "codec/hex.h"

namespace pontage::settle {
namespace {

constexpr db::Statement kFind{
    "settle.pending_find",
    "SELECT key, tx_hash, result, state FROM pending_settlement WHERE key = $1"};
// A payment that failed may be claimed again, any other only once.
constexpr db::Statement kClaim{
    "settle.pending_claim",
    "INSERT INTO pending_settlement (key, tx_hash, result, state, updated_ms)"
    " VALUES ($1, $2, '', 'sent', $3)"
    " ON CONFLICT (key) DO UPDATE SET tx_hash = excluded.tx_hash, result = '', state = 'sent',"
    " updated_ms = excluded.updated_ms WHERE pending_settlement.state = 'failed' RETURNING key"};
constexpr db::Statement kMove{"settle.pending_move",
                              "UPDATE pending_settlement SET tx_hash = $2, updated_ms = $3"
                              " WHERE key = $1 AND state = 'sent' RETURNING key"};
constexpr db::Statement kFinish{
    "settle.pending_finish",
    "UPDATE pending_settlement SET state = $2, result = $3, updated_ms = $4"
    " WHERE key = $1 AND state IN ('sent', 'failed') RETURNING key"};
constexpr db::Statement kTell{"settle.pending_tell",
                              "UPDATE pending_settlement SET state = 'told', updated_ms = $2"
                              " WHERE key = $1 AND state = 'settled' RETURNING key"};
constexpr db::Statement kUntell{"settle.pending_untell",
                                "UPDATE pending_settlement SET state = 'settled', updated_ms = $2"
                                " WHERE key = $1 AND state = 'told' RETURNING key"};
constexpr db::Statement kPrune{
    "settle.pending_prune",
    "DELETE FROM pending_settlement WHERE state IN ('settled', 'told', 'failed')"
    " AND updated_ms < $1"};

constexpr db::Statement kTakeNonce{
    "settle.nonce_take",
    "INSERT INTO signer_nonce (chain, signer, next_nonce) VALUES ($1, $2, $3 + 1)"
    " ON CONFLICT (chain, signer) DO UPDATE SET next_nonce = CASE WHEN signer_nonce.next_nonce < $3"
    " THEN $3 + 1 ELSE signer_nonce.next_nonce + 1 END RETURNING next_nonce"};
constexpr db::Statement kReadNonce{
    "settle.nonce_read", "SELECT next_nonce FROM signer_nonce WHERE chain = $1 AND signer = $2"};
constexpr db::Statement kSetNonce{
    "settle.nonce_set", "UPDATE signer_nonce SET next_nonce = $3 WHERE chain = $1 AND signer = $2"};

constexpr db::Statement kInsertOutgoing{
    "settle.outgoing_insert",
    "INSERT INTO outgoing_transaction (id, chain, signer, nonce, hash, raw, purpose, reservation,"
    " state, created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, '', 'signed', $8, $8)"};
constexpr db::Statement kOpen{
    "settle.outgoing_open",
    "SELECT id, nonce, hash, raw, purpose FROM outgoing_transaction WHERE chain = $1 AND signer ="
    " $2 AND state IN ('signed', 'broadcast') AND created_ms <= $3 ORDER BY nonce LIMIT 5000"};
constexpr db::Statement kBroadcast{
    "settle.outgoing_broadcast",
    "UPDATE outgoing_transaction SET state = 'broadcast', updated_ms = $2"
    " WHERE id = $1 AND state = 'signed'"};
constexpr db::Statement kMined{
    "settle.outgoing_mined",
    "UPDATE outgoing_transaction SET state = 'mined', block = $2, receipt_status = $3,"
    " updated_ms = $4 WHERE id = $1 AND state IN ('signed', 'broadcast')"};
constexpr db::Statement kReplaced{
    "settle.outgoing_replaced",
    "UPDATE outgoing_transaction SET state = 'replaced', updated_ms = $2"
    " WHERE id = $1 AND state IN ('signed', 'broadcast') RETURNING id"};
constexpr db::Statement kWindBack{
    "settle.outgoing_wind_back",
    "UPDATE outgoing_transaction SET state = 'replaced', updated_ms = $4 WHERE chain = $1 AND"
    " signer = $2 AND nonce >= $3 AND state IN ('mined', 'failed')"};

constexpr db::Statement kAttempts{
    "settle.outgoing_attempts",
    "SELECT hash, signer, nonce, state, block, receipt_status, created_ms FROM"
    " outgoing_transaction WHERE purpose = $1 ORDER BY created_ms, id LIMIT 100"};

constexpr std::array<std::string_view, 4> kStates{"sent", "settled", "told", "failed"};

Result<PendingState> ParseState(std::string_view text) {
  for (size_t i = 0; i < kStates.size(); ++i) {
    if (kStates[i] == text) return static_cast<PendingState>(i);
  }
  return Fail(Code::kStore, "a pending settlement in a state that does not exist");
}

std::string Text(PendingState state) { return std::string(kStates[static_cast<size_t>(state)]); }

// Takes a nonce, signs and writes the transaction down.
Result<chain::SignedEvmTransaction> SignAndStore(db::Tx& tx, const Signer& signer,
                                                 const crypto::PrivateKey& secret,
                                                 chain::EvmTransaction call, const std::string& id,
                                                 const std::string& key, uint64_t floor,
                                                 UnixMs now) {
  PTG_TRY(const db::Rows taken,
          tx.Run(kTakeNonce, signer.chain, signer.address, static_cast<int64_t>(floor)));
  if (taken.empty()) return Fail(Code::kStore, "no nonce was given");
  call.nonce = static_cast<uint64_t>(taken[0].Int(0) - 1);
  chain::SignedEvmTransaction made = chain::SignTransaction(call, secret);
  db::Blob raw{std::string(made.raw.begin(), made.raw.end())};
  PTG_RUN(tx.Run(kInsertOutgoing, id, signer.chain, signer.address,
                 static_cast<int64_t>(call.nonce), codec::Hex0x(made.hash), std::move(raw), key,
                 now.ms()));
  return made;
}

}  // namespace

Result<std::optional<Pending>> FindPending(db::Tx& tx, const std::string& key) {
  PTG_TRY(const db::Rows rows, tx.Run(kFind, key));
  if (rows.empty()) return std::optional<Pending>();
  Pending found;
  found.key = rows[0].Text(0);
  found.tx_hash = rows[0].Text(1);
  found.result = rows[0].Text(2);
  PTG_TRY(found.state, ParseState(rows[0].Text(3)));
  return std::optional<Pending>(std::move(found));
}

Result<bool> FinishPending(db::Tx& tx, const std::string& key, PendingState state,
                           const std::string& result, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kFinish, key, Text(state), result, now.ms()));
  return !rows.empty();
}

Result<bool> TellPending(db::Tx& tx, const std::string& key, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kTell, key, now.ms()));
  return !rows.empty();
}

Result<bool> UntellPending(db::Tx& tx, const std::string& key, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kUntell, key, now.ms()));
  return !rows.empty();
}

Result<> PrunePending(db::Tx& tx, UnixMs before) {
  PTG_RUN(tx.Run(kPrune, before.ms()));
  return {};
}

Result<chain::SignedEvmTransaction> StoreTransaction(db::Tx& tx, const Signer& signer,
                                                     const crypto::PrivateKey& secret,
                                                     chain::EvmTransaction call,
                                                     const std::string& id, const std::string& key,
                                                     uint64_t floor, UnixMs now) {
  PTG_TRY(chain::SignedEvmTransaction made,
          SignAndStore(tx, signer, secret, std::move(call), id, key, floor, now));
  PTG_TRY(const db::Rows claimed, tx.Run(kClaim, key, codec::Hex0x(made.hash), now.ms()));
  if (claimed.empty()) return Fail(Code::kConflict, "the payment is being settled already");
  return made;
}

Result<chain::SignedEvmTransaction> ReplaceTransaction(
    db::Tx& tx, const Signer& signer, const crypto::PrivateKey& secret, chain::EvmTransaction call,
    const std::string& old_id, const std::string& id, const std::string& key, uint64_t floor,
    UnixMs now) {
  PTG_TRY(const db::Rows replaced, tx.Run(kReplaced, old_id, now.ms()));
  if (replaced.empty()) return Fail(Code::kConflict, "the transaction is open no more");
  PTG_TRY(chain::SignedEvmTransaction made,
          SignAndStore(tx, signer, secret, std::move(call), id, key, floor, now));
  PTG_TRY(const db::Rows moved, tx.Run(kMove, key, codec::Hex0x(made.hash), now.ms()));
  if (moved.empty()) return Fail(Code::kConflict, "the payment is settled by another");
  return made;
}

Result<std::vector<Outgoing>> OpenTransactions(db::Tx& tx, const Signer& signer, UnixMs before) {
  PTG_TRY(const db::Rows rows, tx.Run(kOpen, signer.chain, signer.address, before.ms()));
  std::vector<Outgoing> open;
  for (const db::Row& row : rows) {
    Outgoing one;
    one.id = row.Text(0);
    one.nonce = static_cast<uint64_t>(row.Int(1));
    PTG_TRY(one.hash, codec::FromHex0x<32>(row.Text(2)));
    const std::string& raw = row.Bytes(3);
    one.raw.assign(raw.begin(), raw.end());
    one.key = row.Text(4);
    open.push_back(std::move(one));
  }
  return open;
}

Result<> MarkBroadcast(db::Tx& tx, const std::string& id, UnixMs now) {
  PTG_RUN(tx.Run(kBroadcast, id, now.ms()));
  return {};
}

Result<> MarkMined(db::Tx& tx, const std::string& id, uint64_t block, bool ok, UnixMs now) {
  PTG_RUN(tx.Run(kMined, id, static_cast<int64_t>(block), int64_t{ok}, now.ms()));
  return {};
}

Result<std::vector<Attempt>> ReadAttempts(db::Tx& tx, const std::string& key) {
  PTG_TRY(const db::Rows rows, tx.Run(kAttempts, key));
  std::vector<Attempt> attempts;
  for (const db::Row& row : rows) {
    Attempt& a = attempts.emplace_back();
    a.hash = row.Text(0);
    a.signer = row.Text(1);
    a.nonce = static_cast<uint64_t>(row.Int(2));
    a.state = row.Text(3);
    if (!row.IsNull(4)) a.block = row.Int(4);
    if (!row.IsNull(5)) a.ok = row.Int(5) == 1;
    a.created = UnixMs(row.Int(6));
  }
  return attempts;
}

Result<bool> MendNonce(db::Tx& tx, const Signer& signer, uint64_t count, UnixMs now) {
  PTG_TRY(const std::vector<Outgoing> open, OpenTransactions(tx, signer, UnixMs(INT64_MAX)));
  if (!open.empty()) return false;
  PTG_TRY(const db::Rows rows, tx.Run(kReadNonce, signer.chain, signer.address));
  if (rows.empty() || rows[0].Int(0) <= static_cast<int64_t>(count)) return false;
  PTG_RUN(tx.Run(kSetNonce, signer.chain, signer.address, static_cast<int64_t>(count)));
  PTG_RUN(tx.Run(kWindBack, signer.chain, signer.address, static_cast<int64_t>(count), now.ms()));
  return true;
}

}  // namespace pontage::settle
