#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>

#include "base/time.h"
#include "codec/json.h"
#include "sandbox/stripe/params.h"

namespace pontage::sandbox::stripe {

// What goes wrong on purpose: knobs of POST /_test/faults. Those of events first, then those of
// requests to the API; pages and /_test itself are never harmed.
struct Faults {
  enum class Thin : uint8_t { kOff, kInstead, kBoth };

  int64_t duplicate = 0;       // so many times more each event is delivered
  uint64_t shuffle = 0;        // a seed: what is due leaves in a random order; 0: in order
  Millis delay{0};             // each delivery leaves so much later
  int64_t drop = 0;            // so many of the next events are never sent
  Thin thin = Thin::kOff;      // thin events instead of snapshots, or beside them
  std::string api_version;     // of all that is delivered; empty: what each endpoint asks for
  int64_t rate_limit = 0;      // requests in one second, the others get 429; 0: no limit
  std::deque<int> fail_next;   // statuses of the next answers; nothing is done
  bool keep_failures = false;  // and a repeated Idempotency-Key gets that answer again
  int64_t hang = 0;            // so many of the next requests are worked on and never answered
  int64_t hang_up = 0;         // the same, but the connection breaks at once

  // Sets what `params` names and leaves the rest; `reset` puts all back first. On a fault nothing
  // is changed.
  Answered<> Set(const Params& params);
  codec::Json ToJson() const;
  static std::span<const std::string_view> ParamNames();
};

}  // namespace pontage::sandbox::stripe
