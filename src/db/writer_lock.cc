#include "db/writer_lock.h"

#include <condition_variable>
#include <fcntl.h>
#include <mutex>
#include <thread>
#include <unistd.h>

#include <sys/file.h>

#include "base/thread_name.h"
#include "base/time.h"
#include "base/try.h"
#include "db/db.h"
#include "db/postgres.h"

namespace pontage::db {
namespace {

// Two that start at once: each is exclusive for a moment while it finds out whether it is alone.
constexpr int kTries = 20;
constexpr Millis kPause{25};
// How often a server looks whether its lock's session still lives.
constexpr Millis kKeep{2'000};

Error Busy(WriterLock::Mode mode) {
  return mode == WriterLock::Mode::kServe
             ? Error(Code::kConflict, "the database is being copied to another place")
             : Error(Code::kConflict, "a process is serving from the database")
                   .Want("stop every `pontage serve` that uses it");
}

class FileLock final : public WriterLock {
 public:
  explicit FileLock(int file) : file_(file) {}
  ~FileLock() override {
    if (file_ >= 0) close(file_);
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  Result<> Lock(Mode mode) {
    for (int i = 0; i < kTries; ++i) {
      if (flock(file_, LOCK_EX | LOCK_NB) == 0) {
        alone_ = true;
        if (mode == Mode::kServe) flock(file_, LOCK_SH);
        return {};
      }
      if (mode == Mode::kServe && flock(file_, LOCK_SH | LOCK_NB) == 0) return {};
      std::this_thread::sleep_for(kPause);
    }
    return Fail(Busy(mode));
  }
  // A database in memory: nobody else can have it.
  void LockNothing() { alone_ = true; }

 private:
  int file_;
};

constexpr Statement kSchema{"lock.schema", "SELECT current_schema()"};
constexpr Statement kTryAlone{"lock.try_alone", "SELECT pg_try_advisory_lock($1)"};
constexpr Statement kTryShared{"lock.try_shared", "SELECT pg_try_advisory_lock_shared($1)"};
constexpr Statement kUnlock{"lock.unlock", "SELECT pg_advisory_unlock($1)"};

class SessionLock final : public WriterLock {
 public:
  explicit SessionLock(std::unique_ptr<Connection> session) : session_(std::move(session)) {}
  ~SessionLock() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      wake_.notify_all();
    }
    if (keeper_.joinable()) keeper_.join();
  }
  SessionLock(const SessionLock&) = delete;
  SessionLock& operator=(const SessionLock&) = delete;

  Result<> Lock(Mode mode) {
    PTG_TRY(const Rows schema, session_->Run(kSchema));
    // One lock for each schema: it is one database of ours.
    uint32_t hash = 2166136261;
    for (const char c : schema.at(0).Text(0)) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619;
    key_ = int64_t{8402002} << 32 | hash;
    for (int i = 0; i < kTries; ++i) {
      PTG_TRY(const bool alone, Is(kTryAlone));
      if (alone) {
        alone_ = true;
        if (mode == Mode::kMigrate) return {};
        PTG_TRY(const bool shared, Is(kTryShared));
        PTG_RUN(session_->Run(kUnlock, key_));
        if (shared) return {};
      }
      if (mode == Mode::kServe) {
        PTG_TRY(const bool shared, Is(kTryShared));
        if (shared) return {};
      }
      std::this_thread::sleep_for(kPause);
    }
    return Fail(Busy(mode));
  }

  // A server that went away and came back has forgotten the lock, and whoever copies the database
  // must still find it. Called once, after Lock(kServe).
  void Keep() {
    keeper_ = std::thread([this] {
      NameThread("store lock");
      std::unique_lock lock(mutex_);
      while (!wake_.wait_for(lock, kKeep, [this] { return stopping_; })) {
        lock.unlock();
        if (!session_->Run(kSchema)) {
          held_ = false;
          (void)session_->Reconnect();
        }
        if (!held_) held_ = Is(kTryShared).value_or(false);
        lock.lock();
      }
    });
  }

 private:
  Result<bool> Is(const Statement& statement) {
    PTG_TRY(const Rows rows, session_->Run(statement, key_));
    return rows.at(0).Bool(0);
  }

  std::unique_ptr<Connection> session_;  // the keeper's, once there is one
  int64_t key_ = 0;
  bool held_ = true;  // the keeper's
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread keeper_;
};

}  // namespace

Result<std::unique_ptr<WriterLock>> AcquireWriterLock(std::string_view url, WriterLock::Mode mode) {
  PTG_TRY(const Url parsed, ParseUrl(url));
  if (parsed.engine == Engine::kPostgres) {
    PTG_TRY(auto session, ConnectPostgres(parsed.where));
    auto lock = std::make_unique<SessionLock>(std::move(session));
    PTG_RUN(lock->Lock(mode));
    if (mode == WriterLock::Mode::kServe) lock->Keep();
    return lock;
  }
  if (parsed.where == ":memory:") {
    auto lock = std::make_unique<FileLock>(-1);
    lock->LockNothing();
    return lock;
  }
  const std::string path = parsed.where + "-writer";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return Fail(Code::kStore, "cannot open " + path);
  auto lock = std::make_unique<FileLock>(file);
  PTG_RUN(lock->Lock(mode));
  return lock;
}

}  // namespace pontage::db
