#include "ledger/audit.h"

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "codec/hex.h"
#include "codec/json.h"
#include "crypto/hash.h"

namespace pontage::ledger {
namespace {

using codec::Json;

#define PTG_AUDIT_COLUMNS \
  "seq, at_ms, actor, verb, subject, before, after, reason, request_id, prev_hash, hash"

constexpr db::Statement kLast{"audit.last",
                              "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"};
// Of two that append at once the second waits for the first, and finds the number taken.
constexpr db::Statement kAppend{"audit.append",
                                "INSERT INTO audit (" PTG_AUDIT_COLUMNS
                                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
                                " ON CONFLICT (seq) DO NOTHING"};
// It stays where it is when its row is not what it was: what was taken away shows for good.
constexpr db::Statement kMoveHead{
    "audit.move_head",
    "INSERT INTO audit_head (id, seq, hash) VALUES (1, $1, $2) ON CONFLICT (id) DO UPDATE"
    " SET seq = $1, hash = $2 WHERE audit_head.seq < $1 AND audit_head.hash ="
    " (SELECT a.hash FROM audit AS a WHERE a.seq = audit_head.seq)"};
constexpr db::Statement kHead{"audit.head", "SELECT seq, hash FROM audit_head"};
constexpr db::Statement kList{"audit.list",
                              "SELECT " PTG_AUDIT_COLUMNS
                              " FROM audit WHERE ($1 = '' OR subject = $1) AND (seq < $2 OR $2 = 0)"
                              " ORDER BY seq DESC LIMIT $3"};
constexpr db::Statement kOn{
    "audit.on", "SELECT " PTG_AUDIT_COLUMNS " FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2"};

// So often somebody else may come in between; each time he is one further.
constexpr int kTries = 16;

AuditRow FromRow(const db::Row& row) {
  return {.seq = row.Int(0),
          .at = UnixMs(row.Int(1)),
          .entry = {.actor = row.Text(2),
                    .verb = row.Text(3),
                    .subject = row.Text(4),
                    .before = row.Text(5),
                    .after = row.Text(6),
                    .reason = row.Text(7),
                    .request_id = row.Text(8)},
          .prev_hash = row.Text(9),
          .hash = row.Text(10)};
}

}  // namespace

std::string AuditHash(const AuditRow& row) {
  const AuditEntry& e = row.entry;
  // A list of texts has one spelling: no member can pass for the end of another.
  const Json all = Json::Array({row.prev_hash, row.seq, row.at.ms(), e.actor, e.verb, e.subject,
                                e.before, e.after, e.reason, e.request_id});
  const crypto::Hash32 digest = crypto::Sha256(codec::AsBytes(codec::ToString(all)));
  return codec::ToHex(digest);
}

Result<AuditRow> AppendAudit(db::Tx& tx, AuditEntry entry, UnixMs now) {
  AuditRow row{.seq = 0, .at = now, .entry = std::move(entry), .prev_hash = {}, .hash = {}};
  for (int i = 0; i < kTries; ++i) {
    PTG_TRY(const db::Rows last, tx.Run(kLast));
    row.seq = last.empty() ? 1 : last.front().Int(0) + 1;
    row.prev_hash = last.empty() ? std::string() : last.front().Text(1);
    row.hash = AuditHash(row);
    const AuditEntry& e = row.entry;
    PTG_TRY(const db::Rows added,
            tx.Run(kAppend, row.seq, row.at.ms(), e.actor, e.verb, e.subject, e.before, e.after,
                   e.reason, e.request_id, row.prev_hash, row.hash));
    if (added.changed == 0) continue;
    PTG_RUN(tx.Run(kMoveHead, row.seq, row.hash));
    return row;
  }
  return Fail(Code::kConflict, "too many write to the audit at once");
}

Result<std::vector<AuditRow>> ListAudit(db::Tx& tx, const AuditFilter& filter) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kList, filter.subject, filter.before, static_cast<int64_t>(filter.limit)));
  std::vector<AuditRow> out;
  out.reserve(rows.size());
  for (const db::Row& row : rows) out.push_back(FromRow(row));
  return out;
}

Result<AuditCheck> CheckAudit(db::Tx& tx, const AuditCheck& done, size_t limit) {
  AuditCheck check{.rows = 0, .seq = done.seq, .hash = done.hash, .broken_at = done.broken_at};
  if (!check.holds()) return check;
  // The head before the rows: what is appended meanwhile is no row that is missing.
  PTG_TRY(const db::Rows head, tx.Run(kHead));
  PTG_TRY(const db::Rows last, tx.Run(kLast));
  const int64_t ends_at = head.empty() ? 0 : head.front().Int(0);
  const int64_t there = last.empty() ? 0 : last.front().Int(0);
  if (there < std::max(ends_at, done.seq)) {
    check.broken_at = there + 1;
    return check;
  }
  if (there > 0 && there == done.seq && last.front().Text(1) != done.hash) {
    check.broken_at = there;
    return check;
  }
  PTG_TRY(const db::Rows rows, tx.Run(kOn, done.seq, static_cast<int64_t>(limit)));
  for (const db::Row& one : rows) {
    const AuditRow row = FromRow(one);
    ++check.rows;
    const bool another = row.seq == ends_at && row.hash != head.front().Text(1);
    if (another || row.seq != check.seq + 1 || row.prev_hash != check.hash ||
        row.hash != AuditHash(row)) {
      check.broken_at = check.seq + 1;
      return check;
    }
    check.seq = row.seq;
    check.hash = row.hash;
  }
  return check;
}

}  // namespace pontage::ledger
