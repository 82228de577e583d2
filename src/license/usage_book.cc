#include "license/usage_book.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <memory_resource>
#include <span>
#include <utility>

#include <boost/unordered/unordered_flat_set.hpp>

#include "base/try.h"
#include "license/period.h"

namespace pontage::license {
namespace {

constexpr int64_t kDayMs = 86'400'000;
// Rows that one statement writes: what a statement costs by itself is shared by so many.
constexpr size_t kAtOnce = 32;

std::string AddCalls(size_t rows) {
  std::string sql = "INSERT INTO license_usage (license, day, route, calls) VALUES ";
  for (size_t i = 0; i < rows; ++i) {
    sql.append(i == 0 ? "(" : ", (");
    for (size_t column = 1; column <= 4; ++column) {
      sql.append(column == 1 ? "$" : ", $").append(std::to_string(i * 4 + column));
    }
    sql.append(")");
  }
  return sql +
         " ON CONFLICT (license, day, route) DO UPDATE SET calls = license_usage.calls + "
         "excluded.calls";
}

}  // namespace

// Lines in the order of their coming, and what they say, in a few pieces of memory, so that they
// are taken over, and forgotten, as one thing: a loop that frees a hundred thousand pieces serves
// nobody meanwhile.
struct UsageBook::Lines {
  // With room for so many at once: a crowd is as large as the one before it.
  explicit Lines(std::shared_ptr<const Routes> routes, size_t expected = 0)
      : names(std::move(routes)) {
    found.reserve(expected);
    places.reserve(expected);
  }

  // Licenses differ soon after "lic_": what comes first is compared without going to the line.
  struct Place {
    uint64_t front;
    Line* line;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(const View& view) const {
      return std::hash<std::string_view>()(view.license) * 31 +
             std::hash<const void*>()(view.route) + static_cast<size_t>(view.day);
    }
    size_t operator()(const Line* line) const { return (*this)(ViewOf(*line)); }
  };
  struct Same {
    using is_transparent = void;
    bool operator()(const Line* a, const Line* b) const { return a == b; }
    bool operator()(const View& a, const Line* b) const { return a == ViewOf(*b); }
  };

  void Add(const View& view, int64_t n) {
    if (const auto known = found.find(view); known != found.end()) {
      (*known)->calls += n;
      return;
    }
    Line& line = lines.emplace_back(Kept(view.license), view.route, view.day, n);
    found.insert(&line);
    places.push_back({.front = FrontOf(line.license), .line = &line});
  }

  std::string_view Kept(std::string_view text) {
    char* const room = static_cast<char*>(memory.allocate(text.size(), 1));
    std::ranges::copy(text, room);
    return {room, text.size()};
  }

  static uint64_t FrontOf(std::string_view license) {
    uint64_t front = 0;
    for (size_t i = 4; i < 12; ++i) {
      front = front << 8 | (i < license.size() ? static_cast<uint8_t>(license[i]) : 0U);
    }
    return front;
  }

  // One order for all gateways: two that add to the same rows must not wait for each other.
  static bool Before(const Place& a, const Place& b) {
    if (a.front != b.front) return a.front < b.front;
    if (a.line->license != b.line->license) return a.line->license < b.line->license;
    if (*a.line->route != *b.line->route) return *a.line->route < *b.line->route;
    return a.line->day < b.line->day;
  }

  const std::shared_ptr<const Routes> names;   // of the routes in the lines
  std::pmr::monotonic_buffer_resource memory;  // of the lines, and of the names in them
  std::pmr::deque<Line> lines{&memory};        // stay where they are
  // Small, because of a crowd each finds its place in it cold.
  boost::unordered_flat_set<Line*, Hash, Same> found;
  std::vector<Place> places;
  size_t taken = 0;  // of the places
};

UsageBook::UsageBook(db::Database& database, const Clock& clock)
    : database_(database),
      clock_(clock),
      routes_(std::make_shared<Routes>()),
      calls_(std::make_unique<Lines>(routes_)),
      leaving_(std::make_shared<Lines>(routes_)) {}

UsageBook::~UsageBook() = default;

size_t UsageBook::waiting() const { return calls_->lines.size() + left_; }

void UsageBook::Note(std::string_view license, std::string_view route) {
  const int64_t day = clock_.Now().ms() / kDayMs;
  const std::lock_guard lock(mutex_);
  if (waiting() >= kMostLines) route = "";
  auto known = routes_->find(route);
  if (known == routes_->end()) known = routes_->emplace(route).first;
  calls_->Add({.license = license, .route = &*known, .day = day}, 1);
}

// The parts go through the licenses from the first to the last, and not through them all each time:
// rows that lie on one page of the store are written together.
UsageBook::Part UsageBook::TakePart() {
  if (leaving_->taken == leaving_->places.size()) {
    auto next = std::make_unique<Lines>(routes_, leaving_->places.size());
    const std::shared_ptr<const Lines> before = leaving_;  // freed without the lock
    const std::lock_guard lock(mutex_);
    next.swap(calls_);
    leaving_ = std::move(next);
    left_ = leaving_->places.size();
    part_ = std::max(kLeastPart, left_ / kParts + 1);
  }
  Lines& lines = *leaving_;
  const std::span<Lines::Place> rest = std::span(lines.places).subspan(lines.taken);
  const size_t count = std::min(part_, rest.size());
  const auto end = rest.begin() + static_cast<ptrdiff_t>(count);
  if (end != rest.end()) std::ranges::nth_element(rest, end, Lines::Before);
  std::sort(rest.begin(), end, Lines::Before);
  Part part{.of = leaving_, .rows = {}};
  part.rows.reserve(count);
  for (const Lines::Place& place : rest.first(count)) part.rows.push_back(place.line);
  lines.taken += count;
  const std::lock_guard lock(mutex_);
  left_ -= count;
  return part;
}

Result<> UsageBook::Write(db::Tx& tx, std::span<const Line* const> all) {
  static const std::string one = AddCalls(1);
  static const std::string many = AddCalls(kAtOnce);
  int64_t day = -1;
  std::string name;
  const auto values_of = [&](std::span<const Line* const> some) {
    std::vector<db::Value> values;
    values.reserve(some.size() * 4);
    for (const Line* line : some) {
      if (line->day != day) name = DayOf(UnixMs(line->day * kDayMs));
      day = line->day;
      values.emplace_back(std::string(line->license));
      values.emplace_back(name);
      values.emplace_back(*line->route);
      values.emplace_back(line->calls);
    }
    return values;
  };
  for (size_t at = 0; at < all.size();) {
    const bool full = all.size() - at >= kAtOnce;
    const std::span<const Line* const> some = all.subspan(at, full ? kAtOnce : 1);
    PTG_RUN(tx.Execute(full ? db::Statement{"license_usage.add_many", many}
                            : db::Statement{"license_usage.add", one},
                       values_of(some)));
    at += some.size();
  }
  return {};
}

Task<> UsageBook::Flush(bool all, Deadline by) {
  while (true) {
    const auto part = std::make_shared<const Part>(TakePart());
    if (part->rows.empty()) co_return {};
    const auto body = [part](db::Tx& tx) { return Write(tx, part->rows); };
    const Result<> written = co_await database_.Write(body, by);
    if (!written) {
      const std::lock_guard lock(mutex_);
      for (const Line* line : part->rows) calls_->Add(ViewOf(*line), line->calls);
      co_return written;
    }
    if (!all) co_return {};
  }
}

}  // namespace pontage::license
