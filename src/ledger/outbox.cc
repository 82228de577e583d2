#include "ledger/outbox.h"

#include <algorithm>
#include <utility>

#include "base/try.h"

namespace pontage::ledger {
namespace {

constexpr db::Statement kAdd{
    "outbox.add",
    "INSERT INTO outbox (id, kind, key, payload, created_ms, next_ms, attempts)"
    " VALUES ($1, $2, $3, $4, $5, $5, 0) ON CONFLICT (key) DO NOTHING"};
// The condition stands twice: a row that another node took between the two is left to it.
constexpr db::Statement kTake{"outbox.take",
                              "UPDATE outbox SET next_ms = $2, attempts = attempts + 1"
                              " WHERE done_ms IS NULL AND next_ms <= $1 AND id IN"
                              " (SELECT id FROM outbox WHERE done_ms IS NULL AND next_ms <= $1"
                              "  ORDER BY next_ms, id LIMIT $3)"
                              " RETURNING id, kind, key, payload, created_ms, attempts"};
constexpr db::Statement kRead{
    "outbox.read",
    "SELECT id, kind, payload, created_ms, attempts, done_ms FROM outbox WHERE key = $1"};
constexpr db::Statement kDone{
    "outbox.done", "UPDATE outbox SET done_ms = COALESCE(done_ms, $2) WHERE id = $1 RETURNING id"};
constexpr db::Statement kLater{
    "outbox.later",
    "UPDATE outbox SET next_ms = $2 WHERE id = $1 AND done_ms IS NULL RETURNING id"};
constexpr db::Statement kPrune{
    "outbox.prune",
    "DELETE FROM outbox WHERE id IN"
    " (SELECT id FROM outbox WHERE done_ms < $1 ORDER BY id LIMIT $2) RETURNING id"};

}  // namespace

Result<bool> AddToOutbox(db::Tx& tx, const OutboxEntry& entry, UnixMs now) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kAdd, entry.id, entry.kind, entry.key, entry.payload, now.ms()));
  return rows.changed > 0;
}

Result<std::vector<OutboxEntry>> TakeFromOutbox(db::Tx& tx, UnixMs now, Millis lease,
                                                size_t limit) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kTake, now.ms(), (now + lease).ms(), static_cast<int64_t>(limit)));
  std::vector<OutboxEntry> entries;
  entries.reserve(rows.size());
  for (const db::Row& row : rows) {
    entries.push_back({.id = row.Text(0),
                       .kind = row.Text(1),
                       .key = row.Text(2),
                       .payload = row.Text(3),
                       .created = UnixMs(row.Int(4)),
                       .attempts = row.Int(5)});
  }
  // RETURNING has no order.
  std::ranges::sort(entries, {}, [](const OutboxEntry& e) { return std::pair(e.created, e.id); });
  return entries;
}

Result<std::optional<OutboxStatus>> ReadOutbox(db::Tx& tx, const std::string& key) {
  PTG_TRY(const db::Rows rows, tx.Run(kRead, key));
  if (rows.empty()) return std::optional<OutboxStatus>();
  const db::Row& row = rows.front();
  OutboxStatus status;
  status.entry = {.id = row.Text(0),
                  .kind = row.Text(1),
                  .key = key,
                  .payload = row.Text(2),
                  .created = UnixMs(row.Int(3)),
                  .attempts = row.Int(4)};
  if (!row.IsNull(5)) status.told = UnixMs(row.Int(5));
  return std::optional(std::move(status));
}

Result<> OutboxDone(db::Tx& tx, const std::string& id, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kDone, id, now.ms()));
  if (rows.empty()) return Fail(Code::kNotFound, "no such entry in the outbox");
  return {};
}

Result<> OutboxLater(db::Tx& tx, const std::string& id, UnixMs next) {
  PTG_TRY(const db::Rows rows, tx.Run(kLater, id, next.ms()));
  if (rows.empty()) return Fail(Code::kNotFound, "no such entry in the outbox waits");
  return {};
}

Result<int64_t> PruneOutbox(db::Tx& tx, UnixMs before, size_t limit) {
  PTG_TRY(const db::Rows rows, tx.Run(kPrune, before.ms(), static_cast<int64_t>(limit)));
  return static_cast<int64_t>(rows.size());
}

}  // namespace pontage::ledger
