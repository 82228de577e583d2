#include "settle/reorg_store.h"

#include <utility>

#include "base/try.h"
#include "codec/hex.h"

namespace pontage::settle {
namespace {

constexpr db::Statement kBlocks{
    "settle.watch_blocks",
    "SELECT t.block, t.block_hash, CAST(SUM(CASE WHEN t.purpose <> '' THEN 1 ELSE (SELECT COUNT(*)"
    " FROM outgoing_member m WHERE m.outgoing = t.id) END) AS BIGINT),"
    " CAST(SUM(CASE WHEN t.watch = 'moved' THEN 1 ELSE 0 END) AS BIGINT)"
    " FROM outgoing_transaction t WHERE t.chain = $1 AND t.signer = $2"
    " AND t.watch IN ('watched', 'moved') GROUP BY t.block, t.block_hash ORDER BY t.block"
    " LIMIT 5000"};
constexpr db::Statement kIn{
    "settle.watch_in",
    "SELECT id, nonce, hash, raw, purpose, created_ms, block, block_hash FROM outgoing_transaction"
    " WHERE chain = $1 AND signer = $2 AND block = $3 AND block_hash = $4"
    " AND watch IN ('watched', 'moved') ORDER BY nonce LIMIT $5"};
constexpr db::Statement kMovedOnes{
    "settle.watch_moved",
    "SELECT id, nonce, hash, raw, purpose, created_ms, block, block_hash FROM outgoing_transaction"
    " WHERE chain = $1 AND signer = $2 AND watch = 'moved' AND watch IN ('watched', 'moved')"
    " ORDER BY block LIMIT $3"};
constexpr db::Statement kFinal{
    "settle.watch_final",
    "UPDATE outgoing_transaction SET watch = 'final' WHERE chain = $1 AND signer = $2"
    " AND block = $3 AND block_hash = $4 AND watch = 'watched' AND watch IN ('watched', 'moved')"};
constexpr db::Statement kToBlock{
    "settle.watch_to_block",
    "UPDATE outgoing_transaction SET hash = $3, block = $4, block_hash = $5, receipt_status = $6,"
    " watch = 'moved', updated_ms = $7 WHERE id = $1 AND block_hash = $2"
    " AND watch IN ('watched', 'moved') RETURNING id"};
constexpr db::Statement kOutOfBlock{
    "settle.watch_gone",
    "UPDATE outgoing_transaction SET state = 'broadcast', block = NULL, block_hash = '',"
    " receipt_status = NULL, watch = 'gone', updated_ms = $3 WHERE id = $1 AND block_hash = $2"
    " AND watch IN ('watched', 'moved') RETURNING id"};
constexpr db::Statement kRead{
    "settle.watch_read",
    "UPDATE outgoing_transaction SET watch = 'watched' WHERE id = $1 AND block_hash = $2"
    " AND watch = 'moved' RETURNING id"};
// Of those that it was signed for, some may have failed in it and gone another way since.
constexpr db::Statement kPayments{
    "settle.watch_payments",
    "SELECT key FROM pending_settlement WHERE state <> 'failed' AND key IN"
    " (SELECT key FROM outgoing_member WHERE outgoing = $1 UNION"
    " SELECT purpose FROM outgoing_transaction WHERE id = $1) AND tx_hash IN"
    " (SELECT hash FROM outgoing_version WHERE outgoing = $1 UNION"
    " SELECT hash FROM outgoing_transaction WHERE id = $1) ORDER BY key"};

constexpr db::Statement kEvent{
    "settle.event",
    "INSERT INTO settlement_event (key, seq, at_ms, what, detail)"
    " SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3, $4 FROM settlement_event WHERE key = $1"};
constexpr db::Statement kEvents{
    "settle.events",
    "SELECT at_ms, what, detail FROM settlement_event WHERE key = $1 ORDER BY seq LIMIT 1000"};
constexpr db::Statement kCountLost{
    "settle.count_lost",
    "SELECT COUNT(*) FROM settlement_event WHERE what = 'lost' AND at_ms >= $1"};
constexpr db::Statement kCountGone{
    "settle.count_gone",
    "SELECT COUNT(*) FROM outgoing_transaction WHERE chain = $1 AND signer = $2 AND"
    " state IN ('signed', 'broadcast') AND watch = 'gone'"};

Result<InBlock> BlockAt(const db::Row& row, size_t block, size_t hash) {
  InBlock where;
  where.block = static_cast<uint64_t>(row.Int(block));
  PTG_TRY(where.hash, codec::FromHex0x<32>(row.Text(hash)));
  return where;
}

// The columns of kIn and kMovedOnes.
Result<std::vector<WatchedTransaction>> ReadWatched(db::Tx& tx, const db::Rows& rows) {
  std::vector<WatchedTransaction> found;
  for (const db::Row& row : rows) {
    WatchedTransaction& one = found.emplace_back();
    PTG_TRY(one.tx, ReadOutgoing(tx, row));
    PTG_TRY(one.hash, codec::FromHex0x<32>(row.Text(2)));
    PTG_TRY(one.where, BlockAt(row, 6, 7));
  }
  return found;
}

Result<> WriteEvent(db::Tx& tx, const std::string& key, const std::string& what,
                    const std::string& detail, UnixMs now) {
  PTG_RUN(tx.Run(kEvent, key, now.ms(), what, detail));
  return {};
}

// One line for each payment of it, and which they are.
Result<std::optional<Noted>> Note(db::Tx& tx, const std::string& outgoing, const std::string& what,
                                  const std::string& detail, UnixMs now) {
  Noted noted;
  PTG_TRY(noted.payments, PaymentsOf(tx, outgoing));
  for (const std::string& key : noted.payments) PTG_RUN(WriteEvent(tx, key, what, detail, now));
  return std::optional<Noted>(std::move(noted));
}

std::string Named(const InBlock& where) { return "block " + std::to_string(where.block); }

std::string_view WordOf(PaymentIs is) {
  switch (is) {
    case PaymentIs::kPaidElsewhere:
      return "paid_elsewhere";
    case PaymentIs::kLost:
      return "lost";
    case PaymentIs::kPaid:
    case PaymentIs::kUnknown:
      break;
  }
  return "paid";
}

}  // namespace

Result<std::vector<WatchedBlock>> WatchedBlocks(db::Tx& tx, const Signer& signer) {
  PTG_TRY(const db::Rows rows, tx.Run(kBlocks, signer.chain, signer.address));
  std::vector<WatchedBlock> blocks;
  for (const db::Row& row : rows) {
    WatchedBlock& one = blocks.emplace_back();
    PTG_TRY(one.where, BlockAt(row, 0, 1));
    one.payments = row.Int(2);
    one.moved = row.Int(3) > 0;
  }
  return blocks;
}

Result<std::vector<WatchedTransaction>> WatchedIn(db::Tx& tx, const Signer& signer,
                                                  const InBlock& where, int64_t limit) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kIn, signer.chain, signer.address, static_cast<int64_t>(where.block),
                 codec::Hex0x(where.hash), limit));
  return ReadWatched(tx, rows);
}

Result<std::vector<WatchedTransaction>> MovedTransactions(db::Tx& tx, const Signer& signer,
                                                          int64_t limit) {
  PTG_TRY(const db::Rows rows, tx.Run(kMovedOnes, signer.chain, signer.address, limit));
  return ReadWatched(tx, rows);
}

Result<> MarkFinal(db::Tx& tx, const Signer& signer, const InBlock& where) {
  PTG_RUN(tx.Run(kFinal, signer.chain, signer.address, static_cast<int64_t>(where.block),
                 codec::Hex0x(where.hash)));
  return {};
}

Result<std::optional<Noted>> MarkMoved(db::Tx& tx, const WatchedTransaction& was,
                                       const crypto::Hash32& hash, const InBlock& now_in, bool ok,
                                       UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kToBlock, was.tx.id, codec::Hex0x(was.where.hash),
                                      codec::Hex0x(hash), static_cast<int64_t>(now_in.block),
                                      codec::Hex0x(now_in.hash), int64_t{ok}, now.ms()));
  if (rows.empty()) return std::optional<Noted>();
  return Note(tx, was.tx.id, "moved",
              "from " + Named(was.where) + " to " + Named(now_in) + ", " + codec::Hex0x(hash), now);
}

Result<std::optional<Noted>> MarkGone(db::Tx& tx, const WatchedTransaction& was, UnixMs now) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kOutOfBlock, was.tx.id, codec::Hex0x(was.where.hash), now.ms()));
  if (rows.empty()) return std::optional<Noted>();
  return Note(tx, was.tx.id, "left", Named(was.where) + ", " + codec::Hex0x(was.hash), now);
}

Result<std::vector<std::string>> PaymentsOf(db::Tx& tx, const std::string& outgoing) {
  PTG_TRY(const db::Rows rows, tx.Run(kPayments, outgoing));
  std::vector<std::string> keys;
  for (const db::Row& row : rows) keys.push_back(row.Text(0));
  return keys;
}

Result<bool> MarkRead(db::Tx& tx, const WatchedTransaction& read,
                      const std::vector<Verdict>& verdicts, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kRead, read.tx.id, codec::Hex0x(read.where.hash)));
  if (rows.empty()) return false;
  for (const Verdict& one : verdicts) {
    PTG_RUN(WriteEvent(tx, one.key, std::string(WordOf(one.is)), one.detail, now));
  }
  return true;
}

Result<> WriteEvents(db::Tx& tx, const std::string& outgoing, const std::string& what,
                     const std::string& detail, UnixMs now) {
  PTG_RUN(Note(tx, outgoing, what, detail, now));
  return {};
}

Result<std::vector<ChainEvent>> ReadChainEvents(db::Tx& tx, const std::string& key) {
  PTG_TRY(const db::Rows rows, tx.Run(kEvents, key));
  std::vector<ChainEvent> events;
  for (const db::Row& row : rows) {
    events.push_back({UnixMs(row.Int(0)), row.Text(1), row.Text(2)});
  }
  return events;
}

Result<int64_t> CountLost(db::Tx& tx, UnixMs since) {
  PTG_TRY(const db::Rows rows, tx.Run(kCountLost, since.ms()));
  return rows.empty() ? 0 : rows[0].Int(0);
}

Result<int64_t> CountGone(db::Tx& tx, const Signer& signer) {
  PTG_TRY(const db::Rows rows, tx.Run(kCountGone, signer.chain, signer.address));
  return rows.empty() ? 0 : rows[0].Int(0);
}

}  // namespace pontage::settle
