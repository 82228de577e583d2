#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "io/timer.h"

namespace pontage::db {

// A named SQL text that runs on every engine. $1… are bound in order. The name stands in metrics
// and logs.
struct Statement {
  std::string_view name;
  std::string_view sql;
};

struct Blob {
  std::string bytes;
  friend bool operator==(const Blob&, const Blob&) = default;
};
// NULL, integer, boolean, text, bytes. Never a float.
using Value = std::variant<std::monostate, int64_t, bool, std::string, Blob>;

class Row {
 public:
  explicit Row(std::vector<Value> values) : values_(std::move(values)) {}
  size_t size() const { return values_.size(); }
  bool IsNull(size_t i) const { return values_.at(i).index() == 0; }
  const Value& Get(size_t i) const { return values_.at(i); }
  // Of the right type by construction of our own statements; engines disagree only about booleans
  // and give integers for them. A NULL reads as 0, false or "".
  int64_t Int(size_t i) const;
  bool Bool(size_t i) const;
  const std::string& Text(size_t i) const;
  const std::string& Bytes(size_t i) const;

 private:
  std::vector<Value> values_;
};
struct Rows : std::vector<Row> {
  using std::vector<Row>::vector;
  // How many rows the statement inserted, changed or deleted. For those who only need to know
  // whether it did, cheaper than RETURNING.
  int64_t changed = 0;
};

// A statement with its values.
struct Ask {
  Statement statement;
  std::vector<Value> values;
};

// One transaction on one connection, on a database thread. Errors: kStore, kConflict for a
// constraint.
class Tx {
 public:
  virtual ~Tx() = default;
  virtual Result<Rows> Execute(const Statement& statement, std::vector<Value> values) = 0;

  template <typename... Args>
  Result<Rows> Run(const Statement& statement, Args&&... args) {
    std::vector<Value> values;
    values.reserve(sizeof...(args));
    (values.push_back(Value(std::forward<Args>(args))), ...);
    return Execute(statement, std::move(values));
  }

  // The first statement of a body, which may have been asked ahead of it (Database::Write); where
  // it was not, `values()` gives what to ask it with.
  template <typename F>
  Result<Rows> First(const Statement& statement, F values) {
    if (std::optional<Rows> rows = TakeAhead(statement)) return *std::move(rows);
    return Execute(statement, values());
  }

 protected:
  virtual std::optional<Rows> TakeAhead(const Statement&) { return std::nullopt; }
};

// Where a database is, taken apart.
enum class Engine : uint8_t { kSqlite, kPostgres };
struct Url {
  Engine engine = Engine::kSqlite;
  std::string where;  // The file's path, or the whole URL as libpq takes it.
};
// "sqlite:path", "sqlite://path", "postgresql://…" or "postgres://…". kConfig on anything else.
Result<Url> ParseUrl(std::string_view url);

struct Options {
  // Entries that may wait for the writer; more are refused at once with kOverloaded.
  size_t queue = 10'000;
  size_t readers = 2;
};

// A database behind its threads: one writer that takes everything queued into one transaction with
// a savepoint each (group commit), several readers. Safe to use from every loop.
class Database {
 public:
  virtual ~Database() = default;

  // "sqlite:path", "sqlite::memory:" (tests), "postgresql://…" or "postgres://…". Connects; does
  // not migrate. kConfig for a bad URL, kStore when it cannot be opened.
  static Result<std::unique_ptr<Database>> Open(std::string_view url, Options options,
                                                const Clock& clock);

  // Runs `body(Tx&)` (on a database thread) and gives its result once the commit is durable. A body
  // that fails changes nothing and does not disturb the others of its group. It may run twice (a
  // serialization failure), so it has no effects outside the transaction. It may refer to what its
  // caller has: it does not begin once the caller was told that it is late, and one that runs then
  // is waited for.
  //
  // `ahead`, if there is one, gives what the body asks with Tx::First. Where each statement is a
  // journey, those of a group go together, before any of its bodies runs: so it must be right
  // whatever the others of the group do, as what decides by itself is (an insert that finds its key
  // taken, an update of a row that is in the right state). It owns all that it needs.
  template <typename F>
  auto Write(F body, Deadline by, std::move_only_function<Ask()> ahead = nullptr)
      -> Task<typename std::invoke_result_t<F&, Tx&>::value_type> {
    return Run(std::move(body), by, true, std::move(ahead));
  }
  // The same without changes, beside the writer; sees everything committed before it was called.
  template <typename F>
  auto Read(F body, Deadline by) -> Task<typename std::invoke_result_t<F&, Tx&>::value_type> {
    return Run(std::move(body), by, false);
  }
  // Blocking forms, for main() before there are loops, and for tools.
  template <typename F>
  auto WriteNow(F body) -> std::invoke_result_t<F&, Tx&> {
    return RunNow(std::move(body), true);
  }
  template <typename F>
  auto ReadNow(F body) -> std::invoke_result_t<F&, Tx&> {
    return RunNow(std::move(body), false);
  }

  virtual std::string_view engine() const = 0;  // "sqlite", "postgresql"

  // Since it was opened. Many jobs for one commit is the group commit at work.
  struct Stats {
    int64_t write_jobs = 0, commits = 0, retries = 0, reconnects = 0;
  };
  virtual Stats stats() const = 0;

 protected:
  // One unit of work. `run` is called inside the transaction (perhaps again after a retry); `done`
  // once, when its fate is durable, with the error of the commit if there was one.
  struct Job {
    std::move_only_function<Result<>(Tx&)> run;
    std::move_only_function<void(Result<>)> done;
    Deadline by = Deadline::Never();
    bool blocking = false;                   // its thread stands still until `done`
    std::move_only_function<Ask()> ahead{};  // of what `run` asks first; none: it says when it runs
  };
  virtual void Enqueue(Job job, bool write) = 0;

 private:
  template <typename F>
  auto Run(F body, Deadline by, bool write, std::move_only_function<Ask()> ahead = nullptr)
      -> Task<typename std::invoke_result_t<F&, Tx&>::value_type>;
  template <typename F>
  auto RunNow(F body, bool write) -> std::invoke_result_t<F&, Tx&>;
};

}  // namespace pontage::db

#include "db/db_inl.h"
