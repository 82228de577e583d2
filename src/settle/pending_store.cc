#include "settle/pending_store.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/fault.h"
#include "base/try.h"

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
    " updated_ms = excluded.updated_ms WHERE pending_settlement.state = 'failed'"};
constexpr db::Statement kMove{"settle.pending_move",
                              "UPDATE pending_settlement SET tx_hash = $2, updated_ms = $3"
                              " WHERE key = $1 AND state = 'sent'"};
constexpr db::Statement kMoveSettled{
    "settle.pending_move_settled",
    "UPDATE pending_settlement SET tx_hash = $2, updated_ms = $3 WHERE key = $1"
    " AND state <> 'failed' AND tx_hash IN (SELECT hash FROM outgoing_version WHERE outgoing = $4"
    " UNION SELECT hash FROM outgoing_transaction WHERE id = $4) RETURNING key"};
constexpr db::Statement kFinish{
    "settle.pending_finish",
    "UPDATE pending_settlement SET state = $2, result = $3, updated_ms = $4"
    " WHERE key = $1 AND state IN ('sent', 'failed')"};
// `tx_hash` may be a later version of the transaction that was judged.
constexpr db::Statement kFail{
    "settle.pending_fail",
    "UPDATE pending_settlement SET state = 'failed', result = '', updated_ms = $3"
    " WHERE key = $1 AND state IN ('sent', 'failed') AND (tx_hash = $2 OR tx_hash IN"
    " (SELECT hash FROM outgoing_version WHERE outgoing IN"
    " (SELECT outgoing FROM outgoing_version WHERE hash = $2)))"};
constexpr db::Statement kTell{"settle.pending_tell",
                              "UPDATE pending_settlement SET state = 'told', result = $3,"
                              " updated_ms = $2"
                              " WHERE key = $1 AND state = 'settled'"};
constexpr db::Statement kUntell{"settle.pending_untell",
                                "UPDATE pending_settlement SET state = 'settled', updated_ms = $2"
                                " WHERE key = $1 AND state = 'told' RETURNING key"};
constexpr db::Statement kPrune{
    "settle.pending_prune",
    "DELETE FROM pending_settlement WHERE state <> 'sent' AND updated_ms < $1"};

constexpr std::array<std::string_view, 4> kStates{"sent", "settled", "told", "failed"};

Result<PendingState> ParseState(std::string_view text) {
  for (size_t i = 0; i < kStates.size(); ++i) {
    if (kStates[i] == text) return static_cast<PendingState>(i);
  }
  return Fail(Code::kStore, "a pending settlement in a state that does not exist");
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
  std::string text(kStates[static_cast<size_t>(state)]);
  PTG_TRY(const db::Rows rows, tx.Run(kFinish, key, std::move(text), result, now.ms()));
  return rows.changed > 0;
}

Result<bool> FailPending(db::Tx& tx, const std::string& key, const std::string& hash, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kFail, key, hash, now.ms()));
  return rows.changed > 0;
}

Result<bool> TellPending(db::Tx& tx, const std::string& key, const std::string& result,
                         UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kTell, key, now.ms(), result));
  return rows.changed > 0;
}

Result<bool> UntellPending(db::Tx& tx, const std::string& key, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kUntell, key, now.ms()));
  return !rows.empty();
}

Result<> PrunePending(db::Tx& tx, UnixMs before) {
  PTG_RUN(tx.Run(kPrune, before.ms()));
  return {};
}

Result<bool> ClaimPending(db::Tx& tx, const std::string& key, const std::string& hash, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kClaim, key, hash, now.ms()));
  if (PTG_PLANTED("settle_twice")) return true;
  return rows.changed > 0;
}

Result<bool> MovePending(db::Tx& tx, const std::string& key, const std::string& hash, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kMove, key, hash, now.ms()));
  return rows.changed > 0;
}

Result<bool> MoveSettled(db::Tx& tx, const std::string& key, const std::string& outgoing,
                         const std::string& hash, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kMoveSettled, key, hash, now.ms(), outgoing));
  return !rows.empty();
}

}  // namespace pontage::settle
