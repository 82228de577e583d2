#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/time.h"
#include "codec/json.h"
#include "wire/stripe/values.h"

namespace pontage::stripe {

// One thing that happened, of either kind. A snapshot event carries the object as it was, in the
// shape of its own API version; a thin one (v2) only says which object it was. Both come to the
// same route and mean the same: look at the object again.
struct Event {
  EventId id;
  // Without the "v1." of a thin one: "customer.subscription.updated".
  std::string type;
  UnixMs created;
  std::string api_version;  // of the object; empty: thin
  bool livemode = false;
  bool thin = false;
  // What it is about, as a kind ("subscription") and an id; empty where the event does not say.
  std::string object_kind;
  std::string object_id;
  // How many endpoints have not taken it yet, when Stripe wrote this; 0: thin, or nobody waits.
  int64_t pending = 0;
  // Its snapshot twin, when both kinds are sent of one change.
  EventId twin;
  // Snapshots only: the object, and what of it was different before (or null).
  codec::Json object;
  codec::Json previous;

  // By which an event is taken once, whichever of two twins comes first.
  const EventId& once_key() const { return twin.empty() ? id : twin; }
};

// Fails with the reader's code for JSON that is no event.
Result<Event> ReadEvent(const codec::JsonReader& r);

// "2026-11-21T10:58:00.123Z", or with an offset instead of Z (RFC 3339 §5.6), to milliseconds.
// None for anything else, and for a day that no calendar has.
std::optional<UnixMs> ParseRfc3339(std::string_view text);

}  // namespace pontage::stripe
