#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/money.h"
#include "base/time.h"
#include "catalog/allowance.h"

namespace pontage::catalog {

// One line of the price list that is an HTTP route, judged and ready for use.
struct Route {
  std::string match;               // as configured; its name in the ledger, logs and metrics
  std::optional<size_t> upstream;  // nothing: only /forward-auth answers for it
  bool free = false;
  Money price;
  std::string scheme = "exact";
  std::string transfer = "eip3009";
  std::vector<std::string> networks;  // CAIP-2; empty: every configured one
  bool v1 = true;
  bool v2 = true;
  bool settle_before = false;
  bool replay_answer = false;
  size_t hold_max = 1 << 20;       // bytes of the answer held until settlement
  Millis answer_timeout{30'000};   // from the request to the head of the answer
  Allowance rate;                  // of each client, before anything else
  Allowance free_quota;            // of each client: so many calls cost nothing
  std::string product;             // that it belongs to; empty: none
  std::vector<std::string> plans;  // whose licenses pass instead of a payment
  std::string description;
  std::string mime_type;
};

}  // namespace pontage::catalog
