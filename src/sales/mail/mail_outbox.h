#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "db/db.h"
#include "sales/mail/message.h"

// The books of mails, as functions inside a transaction: what is to be sent, what became of it, and
// to whom nobody writes again. Sending is OutboxWorker's.
namespace pontage::mail {

// Adds `mail` inside the caller's transaction: it leaves if and only if that commits. `id` names
// the row (NewIdText("mail", …)), `license` the license that it is about, for people. False when
// its dedup_key is there already, and then nothing is changed. kBadRequest, with nothing changed
// and the transaction as good as before, when Check does not let it through.
Result<bool> Enqueue(db::Tx& tx, const std::string& id, const Mail& mail, std::string_view license,
                     UnixMs now);

// A mail that is the worker's until its lease ends.
struct HeldMail {
  std::string id;
  std::string license;
  Mail mail;
  int64_t attempts = 0;  // with the one that begins
  int64_t doubts = 0;    // of those before it
  std::string batch;     // see Claim
};
struct Claim {
  std::vector<HeldMail> singles;
  // Leave in one call under the key `batch`, in this order. Under a key it is always the same ones.
  std::vector<HeldMail> together;
  std::string batch;
  // Went to nobody, because their address is suppressed, or the license in them opens nothing any
  // more (these are dead); and what cannot be read.
  size_t suppressed = 0;
  size_t replaced = 0;
  size_t unreadable = 0;

  bool empty() const { return singles.empty() && together.empty(); }
};
struct ClaimLimits {
  size_t singles = 8;
  size_t together = 1;  // more: mails that go to everybody may share a call
  bool bulk = true;     // false: mails that go to everybody stay
};
// Whether anything is due.
Result<bool> HasDue(db::Tx& tx, UnixMs now);
// Takes what is due, oldest first, and closes what is due to suppressed addresses. Each is the
// caller's until `now` + `lease`; then it is due again, unless it was marked, and counts as one
// whose end nobody knows.
Result<Claim> TakeDue(db::Tx& tx, UnixMs now, Millis lease, const ClaimLimits& limits);

// Who began this attempt is still at it: it is his until then. Nothing changes when he has it no
// more.
Result<> KeepMail(db::Tx& tx, const std::string& id, int64_t attempts, UnixMs until);

// It has left; what was in it is forgotten. Holds whoever says it. False when that was known.
Result<bool> MarkSent(db::Tx& tx, const std::string& id, std::string_view provider,
                      std::string_view provider_id, UnixMs now);
struct Later {
  UnixMs next;
  bool parked = false;
  int64_t doubts = 0;
  std::string batch;  // kAlone, "" or the key it keeps
  std::string provider;
  std::string error;
};
inline constexpr std::string_view kAlone = "-";
// It has not left. False, with nothing changed, when the caller does not hold it any more.
Result<bool> MarkLater(db::Tx& tx, const HeldMail& held, const Later& later, UnixMs now);
// It will never leave by itself. False as above.
Result<bool> MarkDead(db::Tx& tx, const HeldMail& held, std::string_view provider,
                      std::string_view error, UnixMs now);
// A mail that had left came back. False when no mail that was sent has this id.
Result<bool> MarkBounced(db::Tx& tx, std::string_view provider_id, std::string_view why,
                         UnixMs now);

// Nobody writes to `address` again. False when that was known, and then the first reason stays.
Result<bool> Suppress(db::Tx& tx, std::string_view address, std::string_view reason, UnixMs now);
// Why; nothing when one may write.
Result<std::optional<std::string>> SuppressedFor(db::Tx& tx, std::string_view address);
// The operator knows better. False when it was not suppressed.
Result<bool> Unsuppress(db::Tx& tx, std::string_view address);

// For people.
struct OutboxRow {
  std::string id;
  std::string kind;
  std::string dedup_key;
  std::string license;
  std::string recipient;
  std::string state;
  int64_t attempts = 0;
  UnixMs next;
  std::string provider;
  std::string provider_id;
  std::string last_error;
  UnixMs created;
  UnixMs updated;
};
struct OutboxFilter {
  std::string state = {};  // empty: any
  std::string license = {};
  size_t limit = 100;
};
// Newest first.
Result<std::vector<OutboxRow>> ListMails(db::Tx& tx, const OutboxFilter& filter);
// A dead mail is due again, as if it were new. False when there is no dead mail of that id.
Result<bool> SendAgain(db::Tx& tx, const std::string& id, UnixMs now);

struct OutboxTotals {
  int64_t open = 0;  // due, waiting or being sent
  int64_t parked = 0;
  int64_t dead = 0;
  std::optional<UnixMs> oldest;  // of the open ones
};
Result<OutboxTotals> CountMails(db::Tx& tx);

}  // namespace pontage::mail
