#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/money.h"
#include "base/time.h"

namespace pontage::catalog {

// One line of the price list that is an HTTP route, judged and ready for use.
struct Route {
  std::string match;  // as configured; its name in the ledger, logs and metrics
  size_t upstream = 0;
  bool free = false;
  Money price;
  std::string scheme = "exact";
  std::string transfer = "eip3009";
  std::vector<std::string> networks;  // CAIP-2; empty: every configured one
  bool v1 = true;
  bool v2 = true;
  bool settle_before = false;
  bool replay_answer = false;
  size_t hold_max = 1 << 20;      // bytes of the answer held until settlement
  Millis answer_timeout{30'000};  // from the request to the head of the answer
  std::string description;
  std::string mime_type;
};

}  // namespace pontage::catalog
