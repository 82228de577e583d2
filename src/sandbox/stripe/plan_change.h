#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codec/json.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/api_error.h"

namespace pontage::sandbox::stripe {

struct ItemChange {
  std::string id;     // of the item; empty: a new one
  std::string price;  // empty: as it was
  std::optional<int64_t> quantity;
  bool deleted = false;
  std::string name;  // as the form spells the item, for faults
};

// Other prices or quantities for a subscription, with credit for what was paid and not used:
// `proration` is none, create_prorations (on the next invoice) or always_invoice (collected now). A
// price with another period begins its first one now, and is invoiced now. Emits all that comes of
// it; `before` is the document as it was before the request, for what the update says. On a fault
// nothing is changed.
Answered<> ChangeItems(Account& account, codec::Json& subscription, const codec::Json& before,
                       const std::vector<ItemChange>& changes, const std::string& proration);

}  // namespace pontage::sandbox::stripe
