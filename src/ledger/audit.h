#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "db/db.h"

// Who changed what, and why: rows that are only ever added, each bound to all before it by a hash,
// so that one that is changed or missing shows. Who can write the store can also write all of them
// anew: the last hash, kept elsewhere (it is in the log of each row), tells that too.
namespace pontage::ledger {

// One thing that somebody did. Texts of any length are kept as they are; keep them short.
struct AuditEntry {
  std::string actor;        // "operator", "key:bot", "cli:ann", "stripe"
  std::string verb;         // "license.revoke"
  std::string subject;      // the id of what it was done to
  std::string before = {};  // JSON; empty: nothing was there
  std::string after = {};
  std::string reason = {};
  std::string request_id = {};
};

struct AuditRow {
  int64_t seq = 0;  // from 1, without gaps
  UnixMs at;
  AuditEntry entry;
  std::string prev_hash;  // "" for the first
  std::string hash;
};

// SHA-256, in hex, over the row and the hash before it. Pure.
std::string AuditHash(const AuditRow& row);

// Adds a row inside the caller's transaction: it is there if and only if the change is. Safe with
// any number of writers; last in its transaction, since everybody meets there. kConflict when so
// many others came in between that it gave up: the transaction may be run again.
Result<AuditRow> AppendAudit(db::Tx& tx, AuditEntry entry, UnixMs now);

struct AuditFilter {
  std::string subject = {};  // empty: any
  int64_t before = 0;        // rows with a smaller seq; 0: from the newest
  size_t limit = 50;
};
// Newest first.
Result<std::vector<AuditRow>> ListAudit(db::Tx& tx, const AuditFilter& filter);

// How the chain stands.
struct AuditCheck {
  int64_t rows = 0;       // that were looked at
  int64_t seq = 0;        // the last good one
  std::string hash;       // its hash
  int64_t broken_at = 0;  // the first row that is not what it was, or is missing; 0: none
  bool holds() const { return broken_at == 0; }
};
// Looks at up to `limit` rows after those that `done` says are good already; the end is reached
// when `rows` is less than `limit`.
Result<AuditCheck> CheckAudit(db::Tx& tx, const AuditCheck& done, size_t limit);

}  // namespace pontage::ledger
