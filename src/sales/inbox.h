#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "db/db.h"
#include "wire/stripe/event.h"

// The books of events, as functions inside a transaction. An event is written down before it is
// acknowledged, once, whichever way and however often it comes; from then on trying again is our
// affair and not Stripe's.
namespace pontage::sales {

struct StoredEvent {
  std::string id;  // the event's once_key
  std::string type;
  std::string object_kind;
  std::string object_id;
  std::string payload;
  int64_t attempts = 0;
};

// False when it was there already. `payload` is what came, as it came; `source` is "webhook" or
// "list".
Result<bool> StoreEvent(db::Tx& tx, const stripe::Event& event, std::string_view payload,
                        std::string_view source, UnixMs now);

// Events that are due, oldest first, at most `limit`. Each is the caller's until `now` + `lease`;
// then it is due again.
Result<std::vector<StoredEvent>> TakeEvents(db::Tx& tx, UnixMs now, Millis lease, size_t limit);

// It has had its effect, or will never have one.
Result<> EventDone(db::Tx& tx, const std::string& id, std::string_view state, UnixMs now);
// It could not be dealt with: due again at `next`, or (`parked`) only when a person says so.
Result<> EventLater(db::Tx& tx, const std::string& id, std::string_view error, UnixMs next,
                    bool parked);
// Not its turn yet, and no fault of its own: due at `next`, and this try does not count.
Result<> EventPutOff(db::Tx& tx, const std::string& id, UnixMs next);
// Who took it is still at it: it is his until then.
Result<> KeepEvent(db::Tx& tx, const std::string& id, UnixMs until);

// A person wants it dealt with again, from the beginning. False when there is no such event.
Result<bool> EventAgain(db::Tx& tx, const std::string& id, UnixMs now);

// When an event that failed for the n-th time (from 1) is tried again: within 5 s, then every 30 s
// for ten minutes, then in longer steps; kMostAttempts are parked. Pure.
Millis PauseAfter(int64_t attempts);
// Some two days.
inline constexpr int64_t kMostAttempts = 80;

// What was dealt with and came before `before` is deleted, oldest first, at most `most`; how many.
// What waits, or is parked for a person, stays. Who asks Stripe to send such an event once more has
// it looked at once more, which changes nothing.
Result<int64_t> ForgetEvents(db::Tx& tx, UnixMs before, int64_t most);

// Of these ids, how many still wait to be dealt with.
Result<size_t> CountWaiting(db::Tx& tx, const std::vector<std::string>& ids);

// Which events mean anything here; all others are acknowledged and ignored.
bool IsOfUse(std::string_view type);
// All of them, and those that are only kept: what our endpoint at Stripe listens to.
std::vector<std::string> WebhookEvents();

}  // namespace pontage::sales
