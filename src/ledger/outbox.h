#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "db/db.h"

namespace pontage::ledger {

// What others must be told (a webhook, a mail), written in the transaction in which it became true
// and sent later, at least once.
struct OutboxEntry {
  std::string id;
  std::string kind;     // "payment.settled"
  std::string key;      // one fact, one key: writing it again changes nothing
  std::string payload;  // JSON
  UnixMs created;
  int64_t attempts = 0;
};

// Adds `entry` inside `tx`. False when its key is there already, and then nothing is changed.
Result<bool> AddToOutbox(db::Tx& tx, const OutboxEntry& entry, UnixMs now);

// Up to `limit` entries that are due, oldest first. Each is the caller's until `now` + `lease`;
// then it is due again, unless OutboxDone or OutboxLater was called.
Result<std::vector<OutboxEntry>> TakeFromOutbox(db::Tx& tx, UnixMs now, Millis lease, size_t limit);

// For people: the entry of that key with how often it was tried and when it was told.
struct OutboxStatus {
  OutboxEntry entry;
  std::optional<UnixMs> told;
};
Result<std::optional<OutboxStatus>> ReadOutbox(db::Tx& tx, const std::string& key);
// It has been told. kNotFound when there is no such entry.
Result<> OutboxDone(db::Tx& tx, const std::string& id, UnixMs now);
// It could not be told: due again at `next`.
Result<> OutboxLater(db::Tx& tx, const std::string& id, UnixMs next);
// Forgets up to `limit` entries told before `before`; how many.
Result<int64_t> PruneOutbox(db::Tx& tx, UnixMs before, size_t limit);

}  // namespace pontage::ledger
