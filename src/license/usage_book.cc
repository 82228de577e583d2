#include "license/usage_book.h"

#include <algorithm>
#include <functional>

#include "base/try.h"
#include "license/period.h"

namespace pontage::license {
namespace {

constexpr db::Statement kAddCalls{
    "license_usage.add",
    "INSERT INTO license_usage (license, day, route, calls) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (license, day, route) DO UPDATE SET calls = license_usage.calls + "
    "excluded.calls"};

constexpr int64_t kDayMs = 86'400'000;

}  // namespace

void UsageBook::Note(const std::string& license, const std::string& route) {
  const int64_t day = clock_.Now().ms() / kDayMs;
  const std::lock_guard lock(mutex_);
  const bool full = calls_.size() + leaving_.size() >= kMostLines;
  Add({.license = license, .route = full ? std::string_view() : route, .day = day}, 1);
}

size_t UsageBook::Hash::operator()(const View& view) const {
  constexpr std::hash<std::string_view> kText;
  return kText(view.license) * 31 + kText(view.route) + static_cast<size_t>(view.day);
}

void UsageBook::Add(const View& view, int64_t n) {
  auto found = calls_.find(view);
  if (found == calls_.end()) {
    Line line{std::string(view.license), std::string(view.route), view.day};
    found = calls_.emplace(std::move(line), 0).first;
  }
  found->second += n;
}

std::vector<UsageBook::Row> UsageBook::TakePart() {
  std::vector<Row> rows;
  {
    const std::lock_guard lock(mutex_);
    if (leaving_.empty()) {
      leaving_.swap(calls_);
      part_ = std::max(kLeastPart, leaving_.size() / kParts + 1);
    }
    rows.reserve(std::min(part_, leaving_.size()));
    while (rows.size() < part_ && !leaving_.empty()) {
      auto node = leaving_.extract(leaving_.begin());
      rows.emplace_back(std::move(node.key()), node.mapped());
    }
  }
  // In one order everywhere: two gateways that add to the same rows must not wait for each other.
  std::ranges::sort(rows, {}, [](const Row& row) { return row.first.view(); });
  return rows;
}

Result<> UsageBook::Write(db::Tx& tx, const std::vector<Row>& rows) const {
  int64_t day = -1;
  std::string name;
  for (const auto& [line, calls] : rows) {
    if (line.day != day) name = DayOf(UnixMs(line.day * kDayMs));
    day = line.day;
    PTG_RUN(tx.Run(kAddCalls, line.license, name, line.route, calls));
  }
  return {};
}

Task<> UsageBook::Flush(bool all, Deadline by) {
  while (true) {
    const std::vector<Row> rows = TakePart();
    if (rows.empty()) co_return {};
    const auto body = [this, &rows](db::Tx& tx) { return Write(tx, rows); };
    const Result<> written = co_await database_.Write(body, by);
    if (!written) {
      const std::lock_guard lock(mutex_);
      for (const auto& [line, calls] : rows) Add(line.view(), calls);
      co_return written;
    }
    if (!all) co_return {};
  }
}

}  // namespace pontage::license
