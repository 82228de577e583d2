#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

struct sqlite3;

namespace pontage::db {

// How long a connection to SQLite's file waits for another's: a commit for that of another process
// (a command beside the running server), say.
inline constexpr int kBusyTimeoutMs = 2'000;

// Moves what the writer has committed from SQLite's log into the file, beside the writer: on a
// thread and a connection of its own. A writer that does it by itself stops for as long as it takes
// to write that many pages wherever they belong, a tenth of a second and more in a large file, and
// everybody who waits for a commit stops with it. The log can only begin anew when all of it has
// been moved, so the last few pages, which come while the thread works, are the writer's.
class Checkpoints {
 public:
  // Pages in the log at which it begins: 64 MiB. Small ones cost two thirds more.
  static constexpr int kAt = 16'000;
  // What the writer moves by itself.
  static constexpr int kRest = 200;
  // A log of so many pages stops the writer after all: a disk that does not keep up, or a reader
  // that does not end.
  static constexpr int kMost = 4 * kAt;

  // Of the file at `path`, which is open already.
  explicit Checkpoints(std::string path);
  Checkpoints(const Checkpoints&) = delete;
  Checkpoints& operator=(const Checkpoints&) = delete;
  ~Checkpoints();

  // From now on after each commit of `writer`, which outlives this or is closed before.
  void Follow(sqlite3* writer);

 private:
  // After a commit, on the writer's thread; `pages` are in the log.
  void Committed(sqlite3* writer, int pages);
  void Work();

  // kResting: the writer says when. kMoving: the thread is at it. kFinishing: the rest is the
  // writer's.
  enum class State : int { kResting, kMoving, kFinishing };
  std::string path_;
  std::atomic<State> state_{State::kResting};
  std::atomic<int> log_{0};  // pages in it
  int next_ = kAt;           // the writer's thread alone
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace pontage::db
