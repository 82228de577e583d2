#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "codec/json.h"
#include "db/db.h"

namespace pontage::license {

// What one license has called of late, as far as it is written down: a few seconds behind, of a
// crowd up to two minutes.
struct Usage {
  struct Count {
    std::string name;  // a day, "2026-11-22", or a route
    int64_t calls = 0;
  };
  int64_t today = 0;            // UTC
  int64_t month = 0;            // of the calendar, UTC
  std::vector<Count> days{};    // the last 31 in which there were any, newest first
  std::vector<Count> routes{};  // within these days, the most called first; at most 50
};
Result<Usage> ReadUsage(db::Tx& tx, const std::string& license, UnixMs now);
// {"today": 12, "month": 340, "days": [{"day", "calls"}], "routes": [{"route", "calls"}]}
codec::Json ToJson(const Usage& usage);

}  // namespace pontage::license
