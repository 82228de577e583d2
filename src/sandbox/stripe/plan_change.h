#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "codec/json.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/api_error.h"

namespace pontage::sandbox::stripe {

// What happens when an invoice of a change is not paid at once, as payment_behavior says.
enum class Unpaid : uint8_t {
  kLeave,   // allow_incomplete: it stays open, and the subscription is past due
  kWait,    // default_incomplete: the same, and nobody tries
  kRefuse,  // error_if_incomplete: nothing is changed
};

struct ItemChange {
  std::string id;     // of the item; empty: a new one
  std::string price;  // empty: as it was
  std::optional<int64_t> quantity;
  bool deleted = false;
  std::string name;  // as the form spells the item, for faults
};

struct ChangeTerms {
  // none, create_prorations (on the next invoice) or always_invoice (collected now).
  std::string proration = "create_prorations";
  Unpaid unpaid = Unpaid::kLeave;
};

// Other prices or quantities for a subscription, with credit for what was paid and not used. A
// price with another period begins its first one now, and is invoiced now. Emits all that comes of
// it; `before` is the document as it was before the request, for what the update says. On a fault
// nothing is changed.
Answered<> ChangeItems(Account& account, codec::Json& subscription, const codec::Json& before,
                       const std::vector<ItemChange>& changes, const ChangeTerms& terms);

}  // namespace pontage::sandbox::stripe
