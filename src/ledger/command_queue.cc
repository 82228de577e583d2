#include "ledger/command_queue.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/try.h"
#include "codec/hex.h"
#include "codec/json.h"
#include "crypto/hash.h"

namespace pontage::ledger {
namespace {

#define PTG_COMMAND_COLUMNS                                                                 \
  "id, verb, subject, payload, actor, request_id, idempotency_key, state, outcome, secret," \
  " attempts, last_error, created_ms, updated_ms"
#define PTG_COMMAND_OPEN "state IN ('requested', 'pending')"

constexpr db::Statement kOrder{
    "command.order",
    "INSERT INTO command (id, verb, subject, payload, actor, request_id, idempotency_key, digest,"
    " state, outcome, secret, attempts, next_ms, last_error, created_ms, updated_ms)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, '', $12, $12)"
    " ON CONFLICT (actor, idempotency_key) DO NOTHING"};
constexpr db::Statement kByKey{"command.by_key",
                               "SELECT " PTG_COMMAND_COLUMNS
                               ", digest FROM command WHERE actor = $1 AND idempotency_key = $2"};
constexpr db::Statement kFind{"command.find",
                              "SELECT " PTG_COMMAND_COLUMNS " FROM command WHERE id = $1"};
constexpr db::Statement kList{
    "command.list", "SELECT " PTG_COMMAND_COLUMNS
                    " FROM command WHERE ($1 = '' OR subject = $1) AND ($2 = '' OR state = $2)"
                    " AND ($4 = '' OR created_ms < $3 OR (created_ms = $3 AND id < $4))"
                    " ORDER BY created_ms DESC, id DESC LIMIT $5"};
// The condition stands twice: a row that another node took between the two is left to it.
constexpr db::Statement kTake{"command.take",
                              "UPDATE command SET next_ms = $2, attempts = attempts + 1"
                              " WHERE " PTG_COMMAND_OPEN
                              " AND next_ms <= $1 AND id IN (SELECT id FROM command"
                              " WHERE " PTG_COMMAND_OPEN
                              " AND next_ms <= $1 ORDER BY next_ms, id LIMIT $3)"
                              " RETURNING " PTG_COMMAND_COLUMNS};
constexpr db::Statement kKeep{
    "command.keep", "UPDATE command SET next_ms = $2 WHERE id = $1 AND " PTG_COMMAND_OPEN};
constexpr db::Statement kEnded{"command.ended",
                               "UPDATE command SET state = $2, outcome = $3, secret = $4,"
                               " last_error = '', updated_ms = $5"
                               " WHERE id = $1 AND " PTG_COMMAND_OPEN};
constexpr db::Statement kPending{"command.pending",
                                 "UPDATE command SET state = 'pending', outcome = $2, next_ms = $3,"
                                 " attempts = CASE WHEN state = 'requested' THEN 0 ELSE attempts"
                                 " END, last_error = '', updated_ms = $4"
                                 " WHERE id = $1 AND " PTG_COMMAND_OPEN};
constexpr db::Statement kLater{"command.later",
                               "UPDATE command SET last_error = $2, next_ms = $3, updated_ms = $4"
                               " WHERE id = $1 AND " PTG_COMMAND_OPEN};
constexpr db::Statement kForget{
    "command.forget",
    "UPDATE command SET secret = '' WHERE id IN (SELECT id FROM command WHERE secret <> ''"
    " AND updated_ms < $1 ORDER BY updated_ms LIMIT $2)"};
#undef PTG_COMMAND_COLUMNS
#undef PTG_COMMAND_OPEN

// What Stripe or a network says of a fault is not ours to bound elsewhere.
constexpr size_t kMaxError = 500;

constexpr std::array<std::string_view, 5> kStates = {"requested", "pending", "done", "failed",
                                                     "parked"};

std::string DigestOf(const Command& c) {
  const codec::Json all = codec::Json::Array({c.verb, c.asked});
  return codec::ToHex(crypto::Sha256(codec::AsBytes(codec::ToString(all))));
}

Command FromRow(const db::Row& row) {
  return {.id = row.Text(0),
          .verb = row.Text(1),
          .subject = row.Text(2),
          .payload = row.Text(3),
          .asked = {},
          .actor = row.Text(4),
          .request_id = row.Text(5),
          .idempotency_key = row.Text(6),
          // A word of a newer version: nobody here may touch it.
          .state = ParseCommandState(row.Text(7)).value_or(CommandState::kParked),
          .outcome = row.Text(8),
          .secret = row.Text(9),
          .attempts = row.Int(10),
          .last_error = row.Text(11),
          .created = UnixMs(row.Int(12)),
          .updated = UnixMs(row.Int(13))};
}

}  // namespace

std::string_view ToString(CommandState state) { return kStates[static_cast<size_t>(state)]; }

std::optional<CommandState> ParseCommandState(std::string_view text) {
  const auto found = std::ranges::find(kStates, text);
  if (found == kStates.end()) return std::nullopt;
  return static_cast<CommandState>(found - kStates.begin());
}

Result<std::optional<Command>> FindOrdered(db::Tx& tx, const Command& command) {
  PTG_TRY(const db::Rows rows, tx.Run(kByKey, command.actor, command.idempotency_key));
  if (rows.empty()) return std::optional<Command>();
  if (rows.front().Text(14) != DigestOf(command)) {
    return Fail(Error(Code::kConflict, "this Idempotency-Key was used for something else")
                    .At("/idempotency-key")
                    .Want("a key of its own for each thing that is to be done"));
  }
  return std::optional(FromRow(rows.front()));
}

Result<Ordered> OrderCommand(db::Tx& tx, const Command& command, UnixMs now) {
  const auto order = [&tx, &command, now] {
    return tx.Run(kOrder, command.id, command.verb, command.subject, command.payload, command.actor,
                  command.request_id, command.idempotency_key, DigestOf(command),
                  std::string(ToString(command.state)), command.outcome, command.secret, now.ms());
  };
  PTG_TRY(const db::Rows added, order());
  PTG_TRY(std::optional<Command> there, FindOrdered(tx, command));
  if (!there) return Fail(Code::kStore, "the command that was written is not there");
  return Ordered{.command = *std::move(there), .again = added.changed == 0};
}

Result<std::optional<Command>> FindCommand(db::Tx& tx, const std::string& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kFind, id));
  if (rows.empty()) return std::optional<Command>();
  return std::optional(FromRow(rows.front()));
}

Result<std::vector<Command>> ListCommands(db::Tx& tx, const CommandFilter& filter) {
  PTG_TRY(const db::Rows rows, tx.Run(kList, filter.subject, filter.state, filter.before_ms,
                                      filter.before_id, static_cast<int64_t>(filter.limit)));
  std::vector<Command> out;
  out.reserve(rows.size());
  for (const db::Row& row : rows) out.push_back(FromRow(row));
  return out;
}

Result<std::vector<Command>> TakeCommands(db::Tx& tx, UnixMs now, Millis lease, size_t limit) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kTake, now.ms(), (now + lease).ms(), static_cast<int64_t>(limit)));
  std::vector<Command> out;
  out.reserve(rows.size());
  for (const db::Row& row : rows) out.push_back(FromRow(row));
  // RETURNING has no order.
  std::ranges::sort(out, {}, [](const Command& c) { return std::pair(c.created, c.id); });
  return out;
}

Result<> KeepCommand(db::Tx& tx, const std::string& id, UnixMs until) {
  PTG_RUN(tx.Run(kKeep, id, until.ms()));
  return {};
}

Result<bool> CommandEnded(db::Tx& tx, const std::string& id, CommandState state,
                          std::string_view outcome, std::string_view secret, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kEnded, id, std::string(ToString(state)),
                                      std::string(outcome), std::string(secret), now.ms()));
  return rows.changed > 0;
}

Result<bool> CommandPending(db::Tx& tx, const std::string& id, std::string_view outcome,
                            UnixMs next, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kPending, id, std::string(outcome), next.ms(), now.ms()));
  return rows.changed > 0;
}

Result<> CommandLater(db::Tx& tx, const std::string& id, std::string_view error, UnixMs next,
                      UnixMs now) {
  PTG_RUN(tx.Run(kLater, id, std::string(error.substr(0, kMaxError)), next.ms(), now.ms()));
  return {};
}

Result<int64_t> ForgetSecrets(db::Tx& tx, UnixMs now, size_t limit) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kForget, (now - kSecretLife).ms(), static_cast<int64_t>(limit)));
  return rows.changed;
}

}  // namespace pontage::ledger
