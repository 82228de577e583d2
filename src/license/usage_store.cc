#include "license/usage_store.h"

#include <chrono>
#include <utility>

#include "base/try.h"
#include "license/period.h"

namespace pontage::license {
namespace {

using codec::Json;

constexpr int64_t kDays = 31;
constexpr int64_t kMostRoutes = 50;

constexpr db::Statement kByDay{
    "license_usage.by_day",
    "SELECT day, CAST(SUM(calls) AS BIGINT) FROM license_usage WHERE license = $1 AND day >= $2 "
    "GROUP BY day ORDER BY day DESC"};
constexpr db::Statement kByRoute{
    "license_usage.by_route",
    "SELECT route, CAST(SUM(calls) AS BIGINT) FROM license_usage WHERE license = $1 AND "
    "day >= $2 GROUP BY route ORDER BY 2 DESC, route LIMIT $3"};

std::vector<Usage::Count> CountsOf(const db::Rows& rows) {
  std::vector<Usage::Count> counts;
  for (const db::Row& row : rows) counts.push_back({.name = row.Text(0), .calls = row.Int(1)});
  return counts;
}

Json ToJson(const std::vector<Usage::Count>& counts, std::string name) {
  Json list = Json::Array();
  for (const Usage::Count& count : counts) {
    list.Push(Json::Object({{name, count.name}, {"calls", count.calls}}));
  }
  return list;
}

}  // namespace

Result<Usage> ReadUsage(db::Tx& tx, const std::string& license, UnixMs now) {
  const std::string today = DayOf(now);
  const std::string first = DayOf(now - std::chrono::days(kDays - 1));
  Usage usage;
  PTG_TRY(const db::Rows days, tx.Run(kByDay, license, first));
  usage.days = CountsOf(days);
  PTG_TRY(const db::Rows routes, tx.Run(kByRoute, license, first, kMostRoutes));
  usage.routes = CountsOf(routes);
  // A month is no longer than these days.
  const std::string month = today.substr(0, today.size() - 3);
  for (const Usage::Count& day : usage.days) {
    if (day.name == today) usage.today += day.calls;
    if (day.name.starts_with(month)) usage.month += day.calls;
  }
  return usage;
}

Json ToJson(const Usage& usage) {
  return Json::Object({{"today", usage.today},
                       {"month", usage.month},
                       {"days", ToJson(usage.days, "day")},
                       {"routes", ToJson(usage.routes, "route")}});
}

}  // namespace pontage::license
