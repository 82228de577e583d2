#pragma once

#include <string_view>

#include "codec/json.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/api_error.h"
#include "sandbox/stripe/params.h"

namespace pontage::sandbox::stripe {

// What a test may do that Stripe's API cannot. No key is asked for; parameters come in the query,
// as a form or as one JSON object. `path` without its query.
//
//   POST /_test/advance  seconds          the clock goes on, and all that becomes due happens on
//                                         the way: trials, renewals, retries, ends of sessions.
//                                         Before the first session it may go back, so that a
//                                         period ends when the test wants it to.
//   POST /_test/faults   as Faults        what goes wrong from now on; rotate_secret=SECONDS gives
//                                         every endpoint a new secret, which the old one signs
//                                         along with for so long. GET shows the knobs.
//   POST /_test/dispute  charge | payment_intent | invoice | subscription, reason
//                        dispute, close=won|lost
//   POST /_test/async    session, outcome=succeeded|failed      a delayed payment is decided
//   POST /_test/card     subscription, card=paid|decline|decline_renewal|3ds_fail, or tok_paid, …
//   POST /_test/pause, resume, mark_unpaid   subscription
//   POST /_test/settings after_retries=cancel|unpaid|past_due   what the last failed retry does
//   POST /_test/events/ID/redeliver
//   GET  /_test/state    counts of what there is
Answered<codec::Json> TestAction(Account& account, std::string_view method, std::string_view path,
                                 const Params& params);

}  // namespace pontage::sandbox::stripe
