#include "db/checkpoints.h"

#include <optional>
#include <sqlite3.h>
#include <utility>

#include "base/log.h"
#include "base/thread_name.h"

namespace pontage::db {
namespace {

struct Close {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};

// Pages that wait for the disk together; as many as there are once the log has twice the size at
// which it is moved, because then the disk does not keep up.
constexpr int kTogether = 16;
constexpr int kHurry = 2 * Checkpoints::kAt;

// The methods of a file of SQLite's, but that it is flushed every so many pages. A checkpoint
// writes them wherever they belong and flushes once at its end: thousands at once, and the writer's
// next commit, a page or two, would wait behind all of them.
class Paced {
 public:
  // Of `database`, for as long as that is open; `log` are the pages in its log now. Nobody else has
  // its file: each connection has its own.
  Paced(sqlite3* database, const std::atomic<int>& log) {
    sqlite3_file* file = nullptr;
    if (sqlite3_file_control(database, "main", SQLITE_FCNTL_FILE_POINTER,
                             static_cast<void*>(&file)) != SQLITE_OK ||
        file == nullptr || file->pMethods == nullptr) {
      return;
    }
    own_ = file->pMethods;
    methods_ = *own_;
    methods_.xWrite = Write;
    log_ = &log;
    file->pMethods = &methods_;
  }

 private:
  // One thread of the process moves pages of one store; the methods get no place for more.
  static thread_local int waiting_;
  static thread_local const sqlite3_io_methods* own_;
  static thread_local const std::atomic<int>* log_;
  static int Write(sqlite3_file* file, const void* bytes, int n, sqlite3_int64 at) {
    const int rc = own_->xWrite(file, bytes, n, at);
    if (rc != SQLITE_OK || ++waiting_ < kTogether || *log_ > kHurry) return rc;
    waiting_ = 0;
    return own_->xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
  }

  sqlite3_io_methods methods_{};
};
thread_local int Paced::waiting_ = 0;
thread_local const sqlite3_io_methods* Paced::own_ = nullptr;
thread_local const std::atomic<int>* Paced::log_ = nullptr;

// Moves what can be moved without waiting for anybody: how many pages of the log are moved now.
// Nothing: not all that were there when it began, because a reader still needs the file as it was.
std::optional<int> Move(sqlite3* database) {
  int pages = 0;
  int done = 0;
  const int rc =
      sqlite3_wal_checkpoint_v2(database, nullptr, SQLITE_CHECKPOINT_PASSIVE, &pages, &done);
  if (rc != SQLITE_OK || done < pages) return std::nullopt;
  return done;
}

}  // namespace

Checkpoints::Checkpoints(std::string path)
    : path_(std::move(path)), thread_([this] {
        NameThread("checkpoints");
        Work();
      }) {}

Checkpoints::~Checkpoints() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Checkpoints::Follow(sqlite3* writer) {
  sqlite3_wal_hook(
      writer,
      [](void* self, sqlite3* database, const char*, int pages) {
        static_cast<Checkpoints*>(self)->Committed(database, pages);
        return SQLITE_OK;
      },
      this);
}

void Checkpoints::Committed(sqlite3* writer, int pages) {
  log_.store(pages, std::memory_order_relaxed);
  if (pages < kAt) next_ = kAt;  // It began anew.
  const State state = state_.load(std::memory_order_acquire);
  const bool finish = state == State::kFinishing;
  if (finish || pages >= kMost + next_) {
    (void)Move(writer);
    // A reader that holds the log open is not asked about again before there is much more.
    next_ = pages + kAt;
    if (finish) state_.store(State::kResting, std::memory_order_release);
    return;
  }
  if (state == State::kMoving || pages < next_) return;
  state_.store(State::kMoving, std::memory_order_release);
  const std::lock_guard lock(mutex_);
  wake_.notify_one();
}

void Checkpoints::Work() {
  sqlite3* opened = nullptr;
  int rc =
      sqlite3_open_v2(path_.c_str(), &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  const std::unique_ptr<sqlite3, Close> database(opened);
  if (rc == SQLITE_OK) {
    // The writer may be at its first steps in the same file.
    sqlite3_busy_timeout(opened, kBusyTimeoutMs);
    rc = sqlite3_exec(opened, "PRAGMA synchronous=FULL", nullptr, nullptr, nullptr);
  }
  const bool open = rc == SQLITE_OK;
  if (!open) {
    // The writer does all of it then.
    Log(LogLevel::kError, "store.failed",
        {{"engine", "sqlite"}, {"statement", "checkpoint"}, {"code", rc}});
  }
  std::optional<Paced> paced;
  if (open) paced.emplace(opened, log_);
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || state_.load() == State::kMoving; });
      if (stopping_) return;
    }
    // While one goes on the writer adds to the log: each has less to do than the one before, until
    // there is little or it no longer gets less.
    int step = kMost;
    for (int moved = 0; open && step > kRest;) {
      const std::optional<int> now = Move(opened);
      if (!now || *now - moved > step / 2) break;
      step = *now - moved;
      moved = *now;
    }
    state_.store(State::kFinishing, std::memory_order_release);
  }
}

}  // namespace pontage::db
