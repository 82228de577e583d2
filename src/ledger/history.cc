#include "ledger/history.h"

#include <utility>

#include "base/try.h"

namespace pontage::ledger {
namespace {

// $5 what its seq is above.
constexpr db::Statement kEvent{
    "ledger.event",
    "INSERT INTO reservation_event (reservation, seq, at_ms, what, detail) VALUES ($1,"
    " (SELECT COALESCE(MAX(seq), $5) + 1 FROM reservation_event WHERE reservation = $1"
    "  AND seq > $5), $2, $3, $4)"};
constexpr db::Statement kHistory{
    "ledger.history",
    "SELECT at_ms, what, detail FROM (SELECT 0 AS seq, created_ms AS at_ms, 'reserved' AS what,"
    " '' AS detail FROM reservation WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM reservation_event"
    " WHERE reservation = $1 AND what = 'reserved')"
    " UNION ALL SELECT 1, answered_ms, 'answered', CAST(upstream_status AS TEXT)"
    " FROM reservation WHERE id = $1 AND answered_ms > 0"
    " UNION ALL SELECT 1000000, settled_ms, 'settled', tx_hash"
    " FROM reservation WHERE id = $1 AND settled_ms > 0"
    " UNION ALL SELECT 2000000, delivered_ms, 'delivered', ''"
    " FROM reservation WHERE id = $1 AND delivered_ms > 0"
    " UNION ALL SELECT seq, at_ms, what, detail"
    " FROM reservation_event WHERE reservation = $1) AS lines ORDER BY seq, at_ms"};

}  // namespace

Result<> AddEvent(db::Tx& tx, const Author& author, const std::string& id, int64_t after,
                  std::string_view what, std::string detail) {
  PTG_RUN(tx.Run(kEvent, id, author.now.ms(), std::string(what), std::move(detail), after));
  return {};
}

Result<std::vector<Ledger::Event>> ReadHistory(db::Tx& tx, const ReservationId& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kHistory, id.str()));
  std::vector<Ledger::Event> events;
  events.reserve(rows.size());
  for (const db::Row& row : rows) {
    events.push_back({.at = UnixMs(row.Int(0)), .what = row.Text(1), .detail = row.Text(2)});
  }
  return events;
}

}  // namespace pontage::ledger
