#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/time.h"
#include "codec/json.h"

namespace pontage::sandbox::stripe {

struct Account;

// One thing that happened, with the object as it was then.
struct Event {
  std::string id;
  std::string type;         // "invoice.paid"
  std::string api_version;  // the account's when it happened
  UnixMs created;
  // As text, which takes a third of what the document does.
  std::string object;
  std::string previous;  // previous_attributes; empty: none
  std::string object_id;
  std::string object_name;
  std::string request_id;  // empty: the clock did it
  std::string idempotency_key;
  int64_t waiting = 0;  // endpoints that have not taken it and will be asked (again)
  int64_t failed = 0;   // endpoints that never will be asked again
};

// What happened, oldest first. Forgets after thirty days, as Stripe does, but nothing that waits to
// be delivered; and whatever is beyond kMaxEvents.
class EventLog {
 public:
  // Each takes some 5 KiB.
  static constexpr size_t kMaxEvents = 30'000;

  Event& Add(Event event, UnixMs now);
  // nullptr when there is none, or no more.
  Event* Find(std::string_view id);
  const std::deque<Event>& all() const { return events_; }

 private:
  std::deque<Event> events_;
  size_t forgotten_ = 0;
  std::unordered_map<std::string, size_t> number_of_;  // counted from the first ever
};

// Records that `type` happened to `object` and queues it for every endpoint that listens for it.
// `previous` is what Changes gave; a null is left out.
void Emit(Account& account, std::string type, const codec::Json& object,
          const codec::Json& previous = {});
// The same for an update, with what differs from `before`; nothing when nothing does.
void EmitUpdate(Account& account, std::string type, const codec::Json& before,
                const codec::Json& after);

// The whole event, its object in the shapes of `version`.
codec::Json SnapshotJson(const Account& account, const Event& event, std::string_view version);
// Its twin of v2: only says what to fetch.
codec::Json ThinJson(const Event& event);
// "evt_thin…" of "evt_…" and back.
std::string ThinId(std::string_view id);
std::string SnapshotId(std::string_view thin_id);

}  // namespace pontage::sandbox::stripe
