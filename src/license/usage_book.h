#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
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
  UsageBook(db::Database& database, const Clock& clock);
  ~UsageBook();

  void Note(std::string_view license, std::string_view route);

  // Writes some of what was noted, for a task that runs every few seconds: all of it where few
  // licenses call, and of a crowd a part, so that those who pay do not wait behind it and a row is
  // written once for many calls. What is noted now is written within 24 steps. `all`: everything,
  // for the end. Always on the same loop. kStore and kTimeout; what cannot be written is kept for
  // the next time.
  Task<> Flush(bool all, Deadline by);

 private:
  struct Line {
    std::string_view license;
    const std::string* route;  // one of routes_
    int64_t day;               // since 1970
    int64_t calls;
  };
  // What a line is found by.
  struct View {
    std::string_view license;
    const std::string* route;
    int64_t day;
    friend bool operator==(const View&, const View&) = default;
  };
  struct Lines;

  static View ViewOf(const Line& line) { return {line.license, line.route, line.day}; }
  // Under the mutex.
  size_t waiting() const;
  // What the next transaction writes, in order. It keeps its lines itself: another flush may go on,
  // or the book may end, while the store still reads them.
  struct Part {
    std::shared_ptr<const Lines> of;
    std::vector<const Line*> rows;  // none: nothing is left
  };
  Part TakePart();
  static Result<> Write(db::Tx& tx, std::span<const Line* const> all);

  // Lines that wait while the store is away; of more only the sum of a license is kept.
  static constexpr size_t kMostLines = 100'000;
  // A crowd is written in so many parts, and no part is smaller than this.
  static constexpr size_t kParts = 12;
  static constexpr size_t kLeastPart = 1'000;

  db::Database& database_;
  const Clock& clock_;
  std::mutex mutex_;
  using Routes = std::set<std::string, std::less<>>;
  std::shared_ptr<Routes> routes_;  // as many as configurations have named
  std::unique_ptr<Lines> calls_;
  // What was noted before those, and is being written in parts of this size. Of Flush's loop, but
  // for how many are left.
  std::shared_ptr<Lines> leaving_;
  size_t left_ = 0;
  size_t part_ = kLeastPart;
};

}  // namespace pontage::license
