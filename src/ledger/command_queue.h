#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "db/db.h"

// Verbs that somebody ordered and that somebody else does: who has the order has not the keys. The
// row is written in the transaction of its audit row and done at least once; whoever does it makes
// that once. As functions inside a transaction.
namespace pontage::ledger {

//   requested ─> pending | done | failed | parked
//   pending   ─> done | failed | parked
//
//   requested  nobody has begun, or nobody lived to say so
//   pending    begun; somebody outside (Stripe) has the last word
//   done       with what came of it
//   failed     with the error
//   parked     tried too often; for people
enum class CommandState : uint8_t { kRequested, kPending, kDone, kFailed, kParked };
std::string_view ToString(CommandState state);
std::optional<CommandState> ParseCommandState(std::string_view text);

struct Command {
  std::string id;  // "cmd_…"
  std::string verb;
  std::string subject;
  std::string payload;  // JSON
  // What was asked, in whatever spelling its writer keeps to: of it only a digest is kept, and
  // another one under the same key is another thing.
  std::string asked = {};
  std::string actor;
  std::string request_id;
  std::string idempotency_key;
  CommandState state = CommandState::kRequested;
  std::string outcome = {};  // JSON: what came of it; of a failed one the problem
  std::string secret = {};   // a license as text; forgotten after kSecretLife
  int64_t attempts = 0;
  std::string last_error = {};
  UnixMs created = {};
  UnixMs updated = {};
  // Nobody works on it any more.
  bool over() const { return state != CommandState::kRequested && state != CommandState::kPending; }
};

// How long the one who asked may ask again and get the license as text.
inline constexpr Millis kSecretLife{86'400'000};
// How long somebody else's key is: what the column and the log bear.
inline constexpr size_t kMaxIdempotencyKey = 255;

// Writes the command down, in its state. With the same key of the same actor it is the one that is
// there already (`again`), provided that verb and `asked` are the same; kConflict, with pointer
// "/idempotency-key", when they are not, and nothing is changed.
struct Ordered {
  Command command;
  bool again = false;
};
Result<Ordered> OrderCommand(db::Tx& tx, const Command& command, UnixMs now);

// What OrderCommand would find; nothing: the key is free.
Result<std::optional<Command>> FindOrdered(db::Tx& tx, const Command& command);

Result<std::optional<Command>> FindCommand(db::Tx& tx, const std::string& id);

struct CommandFilter {
  std::string subject = {};
  std::string state = {};
  // Older than this one of a page before; both or none.
  int64_t before_ms = 0;
  std::string before_id = {};
  size_t limit = 50;
};
// Newest first.
Result<std::vector<Command>> ListCommands(db::Tx& tx, const CommandFilter& filter);

// For whoever does them. Those that are due, oldest first, at most `limit`. Each is the caller's
// until `now` + `lease`; then it is due again.
Result<std::vector<Command>> TakeCommands(db::Tx& tx, UnixMs now, Millis lease, size_t limit);
// Who took it is still at it: it is his until then. Nothing changes when it has ended.
Result<> KeepCommand(db::Tx& tx, const std::string& id, UnixMs until);
// An end, or that it is pending and due again at `next`. False, with nothing changed, when it had
// ended already.
Result<bool> CommandEnded(db::Tx& tx, const std::string& id, CommandState state,
                          std::string_view outcome, std::string_view secret, UnixMs now);
Result<bool> CommandPending(db::Tx& tx, const std::string& id, std::string_view outcome,
                            UnixMs next, UnixMs now);
// It could not be done: due again at `next` in the state that it has.
Result<> CommandLater(db::Tx& tx, const std::string& id, std::string_view error, UnixMs next,
                      UnixMs now);
// Forgets secrets older than kSecretLife; of how many.
Result<int64_t> ForgetSecrets(db::Tx& tx, UnixMs now, size_t limit);

}  // namespace pontage::ledger
