#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "db/db.h"
#include "io/task.h"

namespace pontage::license {

// Calls that licenses opened, counted here and written down in batches: a row for each license,
// route and day. Serves all loops.
class UsageBook {
 public:
  UsageBook(db::Database& database, const Clock& clock) : database_(database), clock_(clock) {}

  void Note(const std::string& license, const std::string& route);

  // Writes some of what was noted, for a task that runs every few seconds: all of it where few
  // licenses call, and of a crowd a part, so that those who pay do not wait behind it and a row is
  // written once for many calls. What is noted now is written within 24 steps. `all`: everything,
  // for the end. kStore and kTimeout; what cannot be written is kept for the next time.
  Task<> Flush(bool all, Deadline by);

 private:
  struct View {
    std::string_view license;
    std::string_view route;
    int64_t day = 0;  // since 1970
    auto operator<=>(const View&) const = default;
  };
  struct Line {
    std::string license;
    std::string route;
    int64_t day = 0;
    View view() const { return {.license = license, .route = route, .day = day}; }
  };
  // Lines are found by what a request has, without a copy of it.
  struct Hash {
    using is_transparent = void;
    size_t operator()(const View& view) const;
    size_t operator()(const Line& line) const { return (*this)(line.view()); }
  };
  struct Same {
    using is_transparent = void;
    bool operator()(const Line& a, const Line& b) const { return a.view() == b.view(); }
    bool operator()(const View& a, const Line& b) const { return a == b.view(); }
    bool operator()(const Line& a, const View& b) const { return a.view() == b; }
  };
  using Calls = std::unordered_map<Line, int64_t, Hash, Same>;
  using Row = std::pair<Line, int64_t>;

  // Under the mutex.
  void Add(const View& view, int64_t n);
  // What the next transaction writes, in the order of View; nothing is left when it is empty.
  std::vector<Row> TakePart();
  Result<> Write(db::Tx& tx, const std::vector<Row>& rows) const;

  // Lines that wait while the store is away; of more only the sum of a license is kept.
  static constexpr size_t kMostLines = 100'000;
  // A crowd is written in so many parts, and no part is smaller than this.
  static constexpr size_t kParts = 12;
  static constexpr size_t kLeastPart = 1'000;

  db::Database& database_;
  const Clock& clock_;
  std::mutex mutex_;
  Calls calls_;
  // What was noted before those, and is being written in parts of this size.
  Calls leaving_;
  size_t part_ = kLeastPart;
};

}  // namespace pontage::license
