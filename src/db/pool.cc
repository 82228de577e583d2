#include "db/pool.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/thread_name.h"
#include "base/try.h"

namespace pontage::db {
namespace {

Error Unknown() {
  return {Code::kStore,
          "the database was lost while it committed; the change may or may not have happened"};
}

// Why is in the log, with the name of the server, which is nobody else's business.
Error Gone() { return {Code::kStore, "the database does not answer"}; }

// A job's view of the connection: an error that the body ignored still fails the job, on engines
// that would go on after it as on those that would not.
class JobTx final : public Tx {
 public:
  // `ahead`: what its first statement gave, if that was asked ahead of it.
  explicit JobTx(Connection& connection, Rows* ahead = nullptr)
      : connection_(connection), ahead_(ahead) {}
  Result<Rows> Execute(const Statement& statement, std::vector<Value> values) override {
    if (failed_) return Fail(*failed_);
    Result<Rows> rows = connection_.Execute(statement, std::move(values));
    if (!rows) failed_ = rows.error();
    return rows;
  }
  const std::optional<Error>& failed() const { return failed_; }
  // What was asked ahead is what the body asked for.
  bool taken() const { return ahead_ == nullptr; }

 private:
  std::optional<Rows> TakeAhead(const Statement&) override {
    if (ahead_ == nullptr) return std::nullopt;
    return std::move(*std::exchange(ahead_, nullptr));
  }

  Connection& connection_;
  Rows* ahead_;
  std::optional<Error> failed_;
};

// Valid UTF-8 by RFC 3629 (no surrogates, no overlong forms) and no NUL.
bool Storable(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    // Nearly all is ASCII: eight at a time, as long as no byte has its high bit or is zero.
    for (uint64_t eight = 0; text.size() - i >= sizeof eight; i += sizeof eight) {
      std::memcpy(&eight, text.data() + i, sizeof eight);
      constexpr uint64_t kHigh = 0x8080808080808080;
      constexpr uint64_t kOnes = 0x0101010101010101;
      if (((eight | (eight - kOnes)) & kHigh) != 0) break;
    }
    if (i == text.size()) break;
    const auto c = static_cast<uint8_t>(text[i]);
    if (c == 0) return false;
    if (c < 0x80) {
      ++i;
      continue;
    }
    const size_t more = c >= 0xC2 && c <= 0xDF   ? 1
                        : c >= 0xE0 && c <= 0xEF ? 2
                        : c >= 0xF0 && c <= 0xF4 ? 3
                                                 : 0;
    if (more == 0 || text.size() - i <= more) return false;
    for (size_t k = 1; k <= more; ++k) {
      if ((static_cast<uint8_t>(text[i + k]) & 0xC0) != 0x80) return false;
    }
    const auto second = static_cast<uint8_t>(text[i + 1]);
    if ((c == 0xE0 && second < 0xA0) || (c == 0xED && second > 0x9F) ||
        (c == 0xF0 && second < 0x90) || (c == 0xF4 && second > 0x8F)) {
      return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace

Result<> CheckValues(const std::vector<Value>& values) {
  for (const Value& value : values) {
    const auto* text = std::get_if<std::string>(&value);
    if (text != nullptr && !Storable(*text)) {
      return Fail(Code::kBadRequest, "a text holds a NUL or is not UTF-8");
    }
  }
  return {};
}

PooledDatabase::PooledDatabase(std::string_view engine, Options options, const Clock& clock)
    : engine_(engine), options_(options), clock_(clock) {}

Result<std::unique_ptr<Database>> PooledDatabase::Open(std::string_view engine, Connect connect,
                                                       Options options, const Clock& clock) {
  std::unique_ptr<PooledDatabase> pool(new PooledDatabase(engine, options, clock));
  for (size_t i = 0; i < options.readers + 1; ++i) {
    PTG_TRY(auto connection, connect());
    pool->connections_.push_back(std::move(connection));
  }
  for (size_t i = 0; i < pool->connections_.size(); ++i) {
    PooledDatabase* const p = pool.get();
    Connection* const connection = pool->connections_[i].get();
    const bool write = i == 0;
    pool->threads_.emplace_back([p, connection, write] {
      NameThread(write ? "store writer" : "store reader");
      p->Work(write ? *p->writes_ : *p->reads_, *connection, write);
    });
  }
  return pool;
}

// What was accepted is finished and answered.
PooledDatabase::~PooledDatabase() {
  for (const auto& queue : {writes_, reads_}) {
    const std::lock_guard lock(queue->mutex);
    queue->stopping = true;
    queue->wake.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

Database::Stats PooledDatabase::stats() const {
  return {.write_jobs = write_jobs_.load(),
          .commits = commits_.load(),
          .retries = retries_.load(),
          .reconnects = reconnects_.load()};
}

// Held by a closure that was posted to a loop, which runs it or, when it ends before, drops it.
class PooledDatabase::Call {
 public:
  explicit Call(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {}
  Call(Call&&) = default;
  Call& operator=(Call&&) = delete;
  ~Call() {
    if (queue_ == nullptr) return;
    const std::lock_guard lock(queue_->mutex);
    queue_->calling = nullptr;
    queue_->wake.notify_one();
  }

 private:
  std::shared_ptr<Queue> queue_;
};

void PooledDatabase::Enqueue(Job job, bool write) {
  const std::shared_ptr<Queue>& of = write || options_.readers == 0 ? writes_ : reads_;
  Queue& queue = *of;
  Loop* const loop = write && !job.blocking ? Loop::Current() : nullptr;
  bool call = false;
  std::optional<Error> refused;
  {
    const std::lock_guard lock(queue.mutex);
    if (queue.stopping) {
      refused = Error(Code::kStore, "the database is being closed");
    } else if (queue.jobs.size() >= options_.queue) {
      refused = Error(Code::kOverloaded, "too much waits for the database");
    } else {
      queue.jobs.push_back(std::move(job));
      const bool now = loop == nullptr || queue.jobs.size() >= kWakeAt ||
                       (queue.calling != nullptr && queue.calling != loop);
      call = !now && queue.calling == nullptr;
      if (call) queue.calling = loop;
      if (now) queue.wake.notify_one();
    }
  }
  if (call) loop->Post([wake = Call(of)] {});
  // NOLINTNEXTLINE(bugprone-use-after-move): what was refused was not moved.
  if (refused) job.done(Fail(*std::move(refused)));
}

void PooledDatabase::Work(Queue& queue, Connection& connection, bool write) {
  bool clean = true;
  for (;;) {
    std::vector<Job> jobs;
    bool idle = false;
    {
      std::unique_lock lock(queue.mutex);
      const auto ready = [&] { return !queue.jobs.empty() || queue.stopping; };
      if (clean) {
        queue.wake.wait(lock, ready);
      } else {
        idle = !queue.wake.wait_for(lock, kIdleAfter, ready);
      }
      if (!idle && queue.jobs.empty()) return;  // Stopping, and nothing is left.
      const size_t most = write ? kMaxGroup : 1;
      while (!queue.jobs.empty() && jobs.size() < most) {
        jobs.push_back(std::move(queue.jobs.front()));
        queue.jobs.pop_front();
      }
    }
    if (idle) {
      connection.Idle();
      clean = true;
      continue;
    }
    clean = false;
    if (write) write_jobs_ += static_cast<int64_t>(jobs.size());
    RunGroup(connection, std::move(jobs), write);
  }
}

void PooledDatabase::Answer(Job& job, Result<> result) { job.done(std::move(result)); }

void PooledDatabase::RunGroup(Connection& connection, std::vector<Job> jobs, bool write) {
  std::erase_if(jobs, [this](Job& job) {
    if (!job.by.Passed(clock_)) return false;
    Answer(job, Fail(Code::kStore, "the database had no time for it"));
    return true;
  });
  if (jobs.empty()) return;
  if (jobs.size() == 1) return RunAlone(connection, std::move(jobs.front()), write);

  std::vector<Outcome> outcomes;
  Fate fate = Try(connection, jobs, outcomes, write, careful_);
  if (fate == Fate::kNeedsSaves) fate = Try(connection, jobs, outcomes, write, true);
  if (fate == Fate::kCommitted || fate == Fate::kUnknown) {
    careful_ = !std::ranges::all_of(outcomes, [](const Outcome& o) { return o && *o; });
    {
      const WakeTogether together;
      for (size_t i = 0; i < jobs.size(); ++i) {
        if (outcomes[i]) Answer(jobs[i], *std::move(outcomes[i]));
      }
    }
    // These met another node's transaction: alone each holds the fewest locks, and the others of
    // the group have let theirs go.
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (!outcomes[i]) RunAlone(connection, std::move(jobs[i]), write);
    }
    return;
  }
  // Nothing was committed: all may run again, on a new session if that one is lost.
  if (connection.health() == Connection::Health::kLost) {
    if (!connection.Reconnect()) {
      for (Job& job : jobs) Answer(job, Fail(Gone()));
      return;
    }
    ++reconnects_;
  }
  for (Job& job : jobs) RunAlone(connection, std::move(job), write);
}

void PooledDatabase::RunAlone(Connection& connection, Job job, bool write) {
  std::vector<Job> one;
  one.push_back(std::move(job));
  std::vector<Outcome> outcomes;
  Error last(Code::kStore, "the database keeps refusing the transaction");
  bool reconnected = false;
  for (int attempt = 0; attempt < kMaxTries; ++attempt) {
    if (one.front().by.Passed(clock_)) {
      last = Error(Code::kStore, "the database had no time for it");
      break;
    }
    const Fate fate = Try(connection, one, outcomes, write, false);
    if (fate == Fate::kCommitted || fate == Fate::kUnknown) {
      return Answer(one.front(), *std::move(outcomes.front()));
    }
    if (fate == Fate::kRetry) {
      ++retries_;
      std::this_thread::sleep_for(Millis(1 << attempt));
      continue;
    }
    if (reconnected || !connection.Reconnect()) {
      last = Gone();
      break;
    }
    reconnected = true;
    ++reconnects_;
  }
  Answer(one.front(), Fail(std::move(last)));
}

PooledDatabase::Begun PooledDatabase::BeginAhead(Connection& connection, std::vector<Job>& jobs) {
  std::vector<Ask> asks;
  for (Job& job : jobs) {
    if (job.ahead) asks.push_back(job.ahead());
  }
  if (asks.size() < 2) return std::nullopt;
  return connection.BeginWith(asks);
}

PooledDatabase::Fate PooledDatabase::Try(Connection& connection, std::vector<Job>& jobs,
                                         std::vector<Outcome>& outcomes, bool write, bool saves) {
  using Health = Connection::Health;
  outcomes.clear();
  const auto give_up = [&] {
    const bool lost = connection.health() == Health::kLost;
    if (!lost) connection.Rollback();
    return lost ? Fate::kLost : Fate::kRetry;
  };
  const bool may = write && !saves && jobs.size() > 1;
  Begun begun = may ? BeginAhead(connection, jobs) : std::nullopt;
  if (begun && !*begun) {
    // One of them failed, and with it all: each by itself is told apart.
    if (connection.health() == Health::kLost) return Fate::kLost;
    connection.Rollback();
    return Fate::kNeedsSaves;
  }
  if (!begun && !connection.Begin(write)) return give_up();

  bool any = false;
  size_t asked = 0;
  for (Job& job : jobs) {
    if (saves && !connection.Save()) return give_up();
    JobTx tx(connection, begun && job.ahead ? &(**begun)[asked++] : nullptr);
    Result<> result;
    try {
      result = job.run(tx);
    } catch (const std::exception& e) {
      Log(LogLevel::kError, "store.exception", {{"what", e.what()}});
      result = Fail(Code::kInternal, "unexpected exception in a database job");
    }
    if (result && !tx.taken()) result = Fail(Code::kInternal, "a job asks not what it said");
    if (connection.health() == Health::kLost) return give_up();
    const bool again = connection.health() == Health::kRetry;
    if (again && jobs.size() == 1) return give_up();
    if (result && tx.failed()) result = Fail(*tx.failed());
    if (!saves && !result && jobs.size() > 1) {
      connection.Rollback();
      return Fate::kNeedsSaves;
    }
    if (again) {
      if (!connection.RollbackToSave() || connection.health() != Health::kGood) return give_up();
      outcomes.emplace_back();
      continue;
    }
    if (saves && !(result ? connection.Release() : connection.RollbackToSave())) return give_up();
    any = any || result.has_value();
    outcomes.emplace_back(std::move(result));
  }
  if (!any) {
    connection.Rollback();
    return Fate::kCommitted;
  }
  if (const Result<> committed = connection.Commit(); !committed) {
    if (!write) return give_up();  // Reading again does no harm.
    if (connection.health() != Health::kLost) {
      const bool again = connection.health() == Health::kRetry;
      connection.Rollback();
      if (again) return Fate::kRetry;
    }
    for (Outcome& outcome : outcomes) {
      if (!outcome || !*outcome) continue;
      outcome = Fail(connection.health() == Health::kLost ? Unknown() : committed.error());
    }
    if (connection.health() == Health::kLost && connection.Reconnect()) ++reconnects_;
    return Fate::kUnknown;
  }
  if (write) ++commits_;
  return Fate::kCommitted;
}

}  // namespace pontage::db
