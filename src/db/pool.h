#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "db/db.h"

namespace pontage::db {

// One session with an engine. Used by one thread at a time. Execute (of Tx) and everything here may
// block.
class Connection : public Tx {
 public:
  // What the session is worth after a failure.
  enum class Health : uint8_t {
    kGood,   // The error concerns the statement alone.
    kRetry,  // The transaction is void through nobody's fault: run it again from the start.
    kLost,   // The session is gone, and with it the transaction.
  };

  virtual Result<> Begin(bool write) = 0;
  // Begin(true) and these statements after it in one go, where that is less work than one by one:
  // the rows of each. Nothing: it is not, and nothing was done. After a failure of any the
  // transaction is void, and health() says what the session is worth.
  virtual std::optional<Result<std::vector<Rows>>> BeginWith(const std::vector<Ask>&) {
    return std::nullopt;
  }
  // After a failure health() says what is known: kGood or kRetry, nothing was committed; kLost,
  // nobody knows.
  virtual Result<> Commit() = 0;
  // Leaves no transaction behind, whatever state it was in. A lost session stays lost.
  virtual void Rollback() = 0;
  // One level of savepoint inside a transaction.
  virtual Result<> Save() = 0;
  virtual Result<> Release() = 0;
  // Where the engine allows it, a kRetry of what is undone here is forgotten: the rest stands.
  virtual Result<> RollbackToSave() = 0;
  // A new session in the place of a lost one.
  virtual Result<> Reconnect() = 0;
  // Nothing has been asked for a while: time for housekeeping.
  virtual void Idle() {}

  // The worst since Begin.
  Health health() const { return health_; }

 protected:
  void Worsen(Health health) {
    if (health > health_) health_ = health;
  }
  Health health_ = Health::kGood;
};

// The threads in front of an engine. The writer takes everything that waits into one transaction.
class PooledDatabase final : public Database {
 public:
  using Connect = std::function<Result<std::unique_ptr<Connection>>()>;

  // What one transaction takes at most: the first of a group waits for the last, and 512 rows are
  // within 10 % of the best rate that was measured.
  static constexpr size_t kMaxGroup = 512;
  // The writer is woken when the loop that writes has done what it has to do in this turn, so that
  // all of it is one group; or by this many entries, to work beside a loop that has much to do.
  static constexpr size_t kWakeAt = 64;
  // Tries of one job whose transaction was void through nobody's fault.
  static constexpr int kMaxTries = 6;
  // Quiet time after which a connection does its housekeeping.
  static constexpr Millis kIdleAfter{500};

  // With no readers (`options.readers` is 0) reads go through the writer, as they must where every
  // connection is a database of its own. `connect` is called for every session that is needed.
  static Result<std::unique_ptr<Database>> Open(std::string_view engine, Connect connect,
                                                Options options, const Clock& clock);
  ~PooledDatabase() override;

  std::string_view engine() const override { return engine_; }
  Stats stats() const override;

 protected:
  void Enqueue(Job job, bool write) override;

 private:
  struct Queue {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<Job> jobs;
    bool stopping = false;
    Loop* calling = nullptr;  // whose Call is under way
  };
  // Wakes the queue's thread when it goes, however it goes.
  class Call;
  enum class Fate : uint8_t { kCommitted, kNeedsSaves, kRetry, kLost, kUnknown };

  PooledDatabase(std::string_view engine, Options options, const Clock& clock);
  void Work(Queue& queue, Connection& connection, bool write);
  void RunGroup(Connection& connection, std::vector<Job> jobs, bool write);
  void RunAlone(Connection& connection, Job job, bool write);
  // What has become of a job: its result, or nothing, when it has to run again on its own.
  using Outcome = std::optional<Result<>>;
  // One transaction over all of `jobs`; `outcomes` is to be believed when the fate is kCommitted or
  // kUnknown. Without savepoints a job that fails spoils the work of the others, and the fate is
  // kNeedsSaves.
  Fate Try(Connection& connection, std::vector<Job>& jobs, std::vector<Outcome>& outcomes,
           bool write, bool saves);
  using Begun = std::optional<Result<std::vector<Rows>>>;
  // Begins a group with what its jobs ask first.
  static Begun BeginAhead(Connection& connection, std::vector<Job>& jobs);
  void Answer(Job& job, Result<> result);

  std::string_view engine_;
  Options options_;
  const Clock& clock_;
  const std::shared_ptr<Queue> writes_ = std::make_shared<Queue>();
  const std::shared_ptr<Queue> reads_ = std::make_shared<Queue>();
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::thread> threads_;
  // The last group had a job that failed: the next one starts with savepoints. Two of three round
  // trips of a small job would be for them, and nearly all groups go through.
  bool careful_ = false;  // The writer's thread only.
  std::atomic<int64_t> write_jobs_{0};
  std::atomic<int64_t> commits_{0};
  std::atomic<int64_t> retries_{0};
  std::atomic<int64_t> reconnects_{0};
};

// Text that every engine can keep: valid UTF-8 without NUL. kBadRequest otherwise, so that what one
// engine refuses the other refuses too.
Result<> CheckValues(const std::vector<Value>& values);

}  // namespace pontage::db
