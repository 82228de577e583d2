#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/rng.h"
#include "base/time.h"
#include "codec/json.h"
#include "db/db.h"
#include "io/task.h"
#include "ledger/command_queue.h"

// What an operator does. Each verb is a command row in the store of `sales`, written in one
// transaction with its row of the audit; revoking is done in that transaction, everything else by
// the worker of `sales`, which has the keys, and then waited for a bounded time.
namespace pontage::console {

// Who asks, and the key that makes it one thing however often it is asked.
struct Who {
  std::string actor;            // "operator", "key:bot"; of a page "operator" or its key's name
  std::string request_id;       // of the HTTP exchange
  std::string idempotency_key;  // 1 to 255 printable ASCII characters
};

// What became of it.
struct Done {
  ledger::Command command;  // done, or requested or pending when the time was up
  // Of a command that is done, and of a refund that is pending: what came of it, as the API gives
  // it. {"license": {…}, "text": "…"} of a license (`text` is the license itself, only where one
  // was written), {"refund": {…}} of a refund, {"id", "state"} of events and mails; of a
  // mail that came back with {"allowed"}, the address, and {"sent_again"}, the license.
  codec::Json result;
  // Of a command that failed or was parked: of what.
  std::optional<Error> failure = {};
  bool again = false;  // it was asked for before, and nothing happened now
};

struct IssueAsk {
  std::string plan;
  std::string customer;
  std::string email = {};  // empty: nobody is written to
  int64_t days = 0;        // 0: as the plan says
  std::string reason = {};
  bool mail = true;  // the license to `email`, if there is one
};
struct ReissueAsk {
  std::string reason = {};
  bool mail = true;          // to its customer, if there is an address
  std::string overlap = {};  // that the text before stays good for, "24h"; empty: it ends at once
};
struct RefundAsk {
  std::optional<int64_t> amount;  // in the smallest unit of its currency; none: all that is left
  std::string currency{};         // that the amount was said in; empty: whatever it was paid in
  std::string reason;
  bool cancel = false;  // its subscription ends now, too, and nothing is charged again
};

struct RetryAsk {
  std::string reason = {};
  bool allow = false;  // its recipient is written to again, whatever was said against it
};

// Errors, of all: kBadRequest with the pointer of the field at fault ("/idempotency-key",
// "/reason", "/days", …); kConflict (pointer "/idempotency-key") when the key was used for
// something else; kNotFound for what there is not; kConflict when it cannot be done as things stand
// (revoked, nothing was paid, another refund is open); kRateLimited beyond the refunds of a day;
// and the store's. A failure leaves nothing behind. What the worker failed of is in Done. Whatever
// time is left of `by` and kWait, the shorter, is waited for the worker. Safe to use from every
// loop.
class Verbs {
 public:
  static constexpr Millis kWait{8'000};

  struct Limits {
    int64_t refunds_per_day = 20;
    // In the smallest unit of each currency; 0: no bound.
    int64_t refund_amount_per_day = 100'000;
  };
  struct Parts {
    db::Database& sales;
    const Clock& clock;
    Rng& rng;
    Limits limits;
    Millis wait = kWait;  // at most, for the worker
  };
  explicit Verbs(Parts parts) : parts_(parts) {}

  Task<Done> Issue(Who who, IssueAsk ask, Deadline by);
  // That somebody has logged in with the key `actor`, for the audit.
  Task<> TellLogin(std::string actor, std::string client, Deadline by);
  // A new text for the license; the one before stops, at once or some time later.
  Task<Done> Reissue(Who who, std::string license, ReissueAsk ask, Deadline by);
  Task<Done> Revoke(Who who, std::string license, std::string reason, Deadline by);
  // Stands `days` longer than it does now (or, if it is over, from now on), whatever is paid. Does
  // not open what is revoked or suspended.
  Task<Done> Extend(Who who, std::string license, int64_t days, std::string reason, Deadline by);
  // Of the latest paid invoice, or of what was bought once.
  Task<Done> Refund(Who who, std::string license, RefundAsk ask, Deadline by);
  // The event is dealt with again, from the beginning.
  Task<Done> RerunEvent(Who who, std::string event, std::string reason, Deadline by);
  // What a mail was for reaches its recipient after all: a dead one is sent again; of one that came
  // back, or was not sent to an address that is suppressed, the license that it was to bring. Where
  // nobody writes to the address any more only with `allow`.
  Task<Done> RetryMail(Who who, std::string mail, RetryAsk ask, Deadline by);
  // What became of a command; waits as the others do.
  Task<Done> Wait(std::string command, Deadline by);

  static constexpr size_t kMostReason = 500;
  static constexpr int64_t kMostDays = 3'650;

 private:
  // What one verb is made of.
  struct Plan {
    std::string verb;
    std::string subject;
    codec::Json asked;    // what makes it the same thing
    codec::Json payload;  // what the worker needs
    std::string reason;
    // Inside the transaction, before anything is written: whether it can be. What it does itself it
    // does here, says in `command` that it is done and in `before` how it was. May be empty.
    std::function<Result<>(db::Tx& tx, ledger::Command& command, std::string& before, UnixMs now)>
        check = {};
    // Behind the command's row.
    std::function<Result<>(db::Tx& tx, const ledger::Command& command, UnixMs now)> more = {};
  };
  Task<Done> Order(Who who, Plan plan, Deadline by);
  Task<Done> Finish(ledger::Command command, bool again, Deadline by);

  Parts parts_;
};

}  // namespace pontage::console
