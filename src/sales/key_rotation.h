#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "license/license_store.h"
#include "sales/shop.h"

// What becomes of customers when a key that signs licenses became known to others: each gets a new
// text, by mail. A planned rotation needs none of it: what the old key signed stays good.
namespace pontage::sales {

struct Reissuing {
  const Shop& shop;
  std::function<std::string(const license::License&)> text;  // signed with the new key
  std::string kid;                                           // of the new key
};
// Before which everything was issued that a key signed which was revoked at `at`.
inline UnixMs ReissueTime(UnixMs at) { return UnixMs::FromSeconds(at.seconds() + 1); }

// Licenses that still open something and were issued before `before` (a whole second), at most
// `limit` of them: each of a higher generation from now on, its mail enqueued in the same
// transaction. How many that were; 0: all are done. May be run again at any time.
Result<size_t> ReissueBefore(db::Tx& tx, UnixMs before, const Reissuing& with, size_t limit,
                             UnixMs now, const Clock& clock, Rng& rng);

}  // namespace pontage::sales
