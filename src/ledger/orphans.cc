// Which nodes are alive, and what those that are not have left behind.
#include <algorithm>
#include <iterator>

#include "base/try.h"
#include "ledger/history.h"
#include "ledger/ledger_store.h"
#include "ledger/reservation_row.h"

namespace pontage::ledger {
namespace {

constexpr db::Statement kHeartbeat{
    "ledger.heartbeat",
    "INSERT INTO node (id, heartbeat_ms) VALUES ($1, $2)"
    " ON CONFLICT (id) DO UPDATE SET heartbeat_ms = excluded.heartbeat_ms"};
constexpr db::Statement kForgetNodes{"ledger.forget_nodes",
                                     "DELETE FROM node WHERE id <> $1 AND heartbeat_ms < $2"};
constexpr db::Statement kNodes{"ledger.nodes", "SELECT id, heartbeat_ms FROM node WHERE id <> $1"};
constexpr db::Statement kForgetNode{"ledger.forget_node",
                                    "DELETE FROM node WHERE id = $1 AND heartbeat_ms = $2"};

// Whose node stands not in the table is dead. What dead nodes were delivering is owed from now on.
// $1 me, $2 now, $3 how many.
constexpr db::Statement kOweOrphans{
    "ledger.owe_orphans",
    "UPDATE reservation SET delivery = 'owed', node = $1, updated_ms = $2, failure = 'node_lost'"
    " WHERE delivery IN ('pending', 'redeeming') AND id IN"
    " (SELECT id FROM reservation WHERE delivery IN ('pending', 'redeeming') AND node <> $1"
    "  AND node NOT IN (SELECT id FROM node) LIMIT $3)"
    " AND node <> $1 AND node NOT IN (SELECT id FROM node)"
    " RETURNING id"};

// Open rows that nobody works on: of dead nodes; due for another look, or put off for so long that
// the clock it was done by was wrong; and those that this node lost sight of itself. The condition
// stands twice, in the choice and in the update, so that a row which another node takes at the same
// moment is left to it. $1 me, $2 now, $3 an answered row of ours that is older was forgotten, $4
// the same for one that was only reserved, $5 how many, $6 when to look at a held row again.
#define PTG_NEEDS_FINISHING                                                    \
  " state IN ('held', 'in_doubt')"                                             \
  " AND ((look_ms > 0 AND (look_ms <= $2 OR look_ms > $2 + 120000))"           \
  " OR (node <> $1 AND (look_ms = 0 OR state = 'held')"                        \
  "     AND node NOT IN (SELECT id FROM node))"                                \
  " OR (node = $1 AND look_ms = 0 AND stage = 'answered' AND updated_ms < $3)" \
  " OR (node = $1 AND look_ms = 0 AND updated_ms < $4 AND valid_before_ms < $4))"
constexpr db::Statement kTakeOrphans{
    "ledger.take_orphans",
    "UPDATE reservation SET node = $1, looks = looks + 1,"
    " look_ms = CASE WHEN state = 'held' THEN $6 ELSE $2 + CASE looks WHEN 0 THEN 2000 WHEN 1 THEN"
    " 4000 WHEN 2 THEN 8000 WHEN 3 THEN 16000 WHEN 4 THEN 32000 ELSE 60000 END END"
    " WHERE id IN (SELECT id FROM reservation WHERE" PTG_NEEDS_FINISHING
    "  ORDER BY look_ms, id LIMIT $5) AND" PTG_NEEDS_FINISHING " RETURNING " PTG_RESERVATION_COLUMNS
    ", looks"};

// Whoever takes one puts it off for the others. $1 now, $2 how many, $3 when it comes again.
#define PTG_LATE " state = 'expired' AND look_ms > 0 AND look_ms <= $1"
constexpr db::Statement kTakeLate{
    "ledger.take_late",
    "UPDATE reservation SET look_ms = $3 WHERE id IN (SELECT id FROM reservation WHERE" PTG_LATE
    "  ORDER BY look_ms LIMIT $2) AND" PTG_LATE " RETURNING " PTG_RESERVATION_COLUMNS};

// A settling that began this long ago has passed every closing deadline we allow.
constexpr Millis kAnsweredForgotten{120'000};
// An upstream may work for long, but its payment does not stay good that long.
constexpr Millis kReservedForgotten{3'600'000};
// How long whoever took over a held row has for finishing it.
constexpr Millis kFinishing{60'000};
// One dead node leaves at most its open connections behind; more than this comes with the next
// call.
constexpr int64_t kMostOwed = 1'000;

}  // namespace

Result<> Heartbeat(db::Tx& tx, const Author& author) {
  PTG_RUN(tx.Run(kHeartbeat, author.node, author.now.ms()));
  return {};
}

Result<> ForgetOtherNodes(db::Tx& tx, const Author& author, UnixMs before) {
  PTG_RUN(tx.Run(kForgetNodes, author.node, before.ms()));
  return {};
}

Result<std::vector<NodeBeat>> OtherNodes(db::Tx& tx, const Author& author) {
  PTG_TRY(const db::Rows rows, tx.Run(kNodes, author.node));
  std::vector<NodeBeat> nodes;
  for (const db::Row& row : rows) nodes.push_back({row.Text(0), UnixMs(row.Int(1))});
  return nodes;
}

Result<std::vector<Reservation>> TakeOrphans(db::Tx& tx, const Author& author,
                                             const std::vector<NodeBeat>& dead, size_t limit) {
  const int64_t now = author.now.ms();
  for (const NodeBeat& node : dead) PTG_RUN(tx.Run(kForgetNode, node.id, node.at.ms()));
  PTG_TRY(const db::Rows owed, tx.Run(kOweOrphans, author.node, now, int64_t{kMostOwed}));
  for (const db::Row& row : owed) {
    PTG_RUN(AddEvent(tx, author, row.Text(0), kAfterSettled, "owed", "node_lost"));
  }
  PTG_TRY(const db::Rows rows,
          tx.Run(kTakeOrphans, author.node, now, (author.now - kAnsweredForgotten).ms(),
                 (author.now - kReservedForgotten).ms(), static_cast<int64_t>(limit),
                 (author.now + kFinishing).ms()));
  for (const db::Row& row : rows) {
    // Only the first time: the looks that follow change nothing.
    if (row.Int(row.size() - 1) != 1) continue;
    PTG_RUN(AddEvent(tx, author, row.Text(0), kAfterAnswered, "taken_over", author.node));
  }
  PTG_TRY(std::vector<Reservation> taken, FromRows(rows));
  if (taken.size() >= limit) return taken;
  const auto room = static_cast<int64_t>(limit - taken.size());
  PTG_TRY(const db::Rows late, tx.Run(kTakeLate, now, room, (author.now + Ledger::kLateLook).ms()));
  PTG_TRY(std::vector<Reservation> given_up, FromRows(late));
  std::ranges::move(given_up, std::back_inserter(taken));
  return taken;
}

}  // namespace pontage::ledger
