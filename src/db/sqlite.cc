#include "db/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "db/checkpoints.h"

namespace pontage::db {
namespace {

// Statements kept prepared for each connection. All of ours together are fewer; the bound only
// guards against a caller that builds SQL.
constexpr size_t kMaxCached = 512;

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

// Payments and paid answers are nobody else's to read: a new file is its owner's alone, and SQLite
// gives its companions the same mode. Only for a file that is not there: closing a descriptor of
// one that is open elsewhere in this process would drop its locks. What fails here fails in the
// opening.
void MakePrivate(const std::string& path) {
  if (path == ":memory:") return;
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
}

class SqliteConnection final : public Connection {
 public:
  // `beside`: what it commits is moved into the file by a thread of its own (checkpoints.h).
  static Result<std::unique_ptr<Connection>> Open(const std::string& path, bool beside) {
    std::unique_ptr<SqliteConnection> connection(new SqliteConnection(path));
    PTG_RUN(connection->Reconnect());
    if (beside) {
      connection->checkpoints_ = std::make_unique<Checkpoints>(path);
      connection->checkpoints_->Follow(connection->database_.get());
    }
    return connection;
  }

  Result<> Reconnect() override {
    cache_.clear();
    database_.reset();
    // Before the first connection, or it changes nothing: SQLite would count every allocation under
    // one lock for all threads, nine hundred times for each paid call, for figures nobody reads.
    [[maybe_unused]] static const int uncounted = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    MakePrivate(path_);
    sqlite3* opened = nullptr;
    const int rc = sqlite3_open_v2(
        path_.c_str(), &opened,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
        nullptr);
    database_.reset(opened);
    if (rc != SQLITE_OK) {
      return Fail(Code::kStore, "cannot open " + path_ + ": " + sqlite3_errstr(rc));
    }
    sqlite3_busy_timeout(opened, kBusyTimeoutMs);
    // A commit is durable when it returns: one flush of the WAL for each. Where nobody else does it
    // (checkpoints.h), the checkpoint moves 64 MiB at a time, because small ones cost two thirds
    // more (reference: 42,500 against 70,800 rows/s). Up to 8 MiB of pages are kept for each
    // connection: SQLite's own two do not hold the upper levels of the indices beside what a group
    // writes; and each commit that splits a page walks the whole table of them, so that more costs
    // more. The CHECKs of our tables say which words a column may hold; SQLite would make a table
    // of the words for each statement that writes one, six times for each paid call (a tenth of its
    // instructions). The words are those of our enums, and PostgreSQL, where every test of the
    // stores runs too, holds us to them.
    for (const char* pragma :
         {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON",
          "PRAGMA wal_autocheckpoint=16000", "PRAGMA temp_store=MEMORY", "PRAGMA cache_size=-8192",
          "PRAGMA ignore_check_constraints=ON"}) {
      if (const int set = sqlite3_exec(opened, pragma, nullptr, nullptr, nullptr);
          set != SQLITE_OK) {
        return Fail(Code::kStore, "cannot open " + path_ + ": " + sqlite3_errmsg(opened));
      }
    }
    health_ = Health::kGood;
    return {};
  }

  Result<> Begin(bool write) override {
    health_ = Health::kGood;
    return Control(write ? "BEGIN IMMEDIATE" : "BEGIN");
  }
  Result<> Commit() override { return Control("COMMIT"); }
  void Rollback() override {
    if (sqlite3_get_autocommit(database_.get()) == 0) (void)Control("ROLLBACK");
  }
  Result<> Save() override { return Control("SAVEPOINT job"); }
  Result<> Release() override { return Control("RELEASE job"); }
  Result<> RollbackToSave() override {
    PTG_RUN(Control("ROLLBACK TO job"));
    return Control("RELEASE job");
  }

  void Idle() override {
    // Moves what readers allow and never waits for them.
    sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr,
                              nullptr);
  }

  Result<Rows> Execute(const Statement& statement, std::vector<Value> values) override {
    PTG_RUN(CheckValues(values));
    PTG_TRY(Prepared* const prepared, Prepare(statement.sql, statement.name));
    Result<Rows> rows = Run(*prepared, statement.name, values);
    sqlite3_reset(prepared->statement.get());
    sqlite3_clear_bindings(prepared->statement.get());
    return rows;
  }

 private:
  explicit SqliteConnection(std::string path) : path_(std::move(path)) {}

  struct Prepared {
    std::unique_ptr<sqlite3_stmt, Finalize> statement;
    // Where "$1", "$2", … stand: to SQLite they are names, which say nothing of the place and are
    // searched for one by one. 0: not used by this text.
    std::vector<int> places;
  };

  Result<Prepared*> Prepare(std::string_view sql, std::string_view name) {
    const auto found = cache_.find(sql);
    if (found != cache_.end()) return &found->second;
    if (cache_.size() >= kMaxCached) cache_.clear();
    sqlite3_stmt* made = nullptr;
    const int rc = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &made, nullptr);
    if (rc != SQLITE_OK) return Fail(Failure(rc, name));
    if (made == nullptr) return Fail(Code::kInternal, "an empty SQL statement");
    Prepared& prepared = cache_[std::string(sql)];
    prepared.statement.reset(made);
    return &prepared;
  }

  static int PlaceOf(Prepared& prepared, size_t i) {
    while (prepared.places.size() <= i) {
      const std::string parameter = "$" + std::to_string(prepared.places.size() + 1);
      prepared.places.push_back(
          sqlite3_bind_parameter_index(prepared.statement.get(), parameter.c_str()));
    }
    return prepared.places[i];
  }

  Result<Rows> Run(Prepared& of, std::string_view name, const std::vector<Value>& values) {
    sqlite3_stmt* const prepared = of.statement.get();
    for (size_t i = 0; i < values.size(); ++i) {
      const int at = PlaceOf(of, i);
      if (at == 0) continue;
      if (const int rc = Bind(prepared, at, values[i]); rc != SQLITE_OK) {
        return Fail(Failure(rc, name));
      }
    }
    Rows rows;
    for (;;) {
      const int rc = sqlite3_step(prepared);
      if (rc == SQLITE_DONE) {
        if (sqlite3_stmt_readonly(prepared) == 0) rows.changed = sqlite3_changes64(database_.get());
        return rows;
      }
      if (rc != SQLITE_ROW) return Fail(Failure(rc, name));
      PTG_TRY(Row row, ReadRow(prepared));
      rows.push_back(std::move(row));
    }
  }

  static int Bind(sqlite3_stmt* prepared, int at, const Value& value) {
    if (const auto* n = std::get_if<int64_t>(&value)) return sqlite3_bind_int64(prepared, at, *n);
    if (const auto* b = std::get_if<bool>(&value))
      return sqlite3_bind_int(prepared, at, *b ? 1 : 0);
    // The values outlive the step: nothing is copied.
    if (const auto* text = std::get_if<std::string>(&value)) {
      return sqlite3_bind_text64(prepared, at, text->data(), text->size(), SQLITE_STATIC,
                                 SQLITE_UTF8);
    }
    if (const auto* blob = std::get_if<Blob>(&value)) {
      // A null pointer would bind NULL.
      const char* const bytes = blob->bytes.empty() ? "" : blob->bytes.data();
      return sqlite3_bind_blob64(prepared, at, bytes, blob->bytes.size(), SQLITE_STATIC);
    }
    return sqlite3_bind_null(prepared, at);
  }

  static Result<Row> ReadRow(sqlite3_stmt* prepared) {
    const int columns = sqlite3_column_count(prepared);
    std::vector<Value> values;
    values.reserve(static_cast<size_t>(columns));
    for (int c = 0; c < columns; ++c) {
      const auto size = [&] { return static_cast<size_t>(sqlite3_column_bytes(prepared, c)); };
      switch (sqlite3_column_type(prepared, c)) {
        case SQLITE_NULL:
          values.emplace_back();
          break;
        case SQLITE_INTEGER:
          values.emplace_back(int64_t{sqlite3_column_int64(prepared, c)});
          break;
        case SQLITE_TEXT: {
          const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(prepared, c));
          values.emplace_back(std::string(text, size()));
          break;
        }
        case SQLITE_BLOB: {
          const auto* bytes = static_cast<const char*>(sqlite3_column_blob(prepared, c));
          const size_t n = size();
          values.emplace_back(Blob{n == 0 ? std::string() : std::string(bytes, n)});
          break;
        }
        default:
          return Fail(Code::kStore, "a column holds a float");
      }
    }
    return Row(std::move(values));
  }

  Result<> Control(std::string_view sql) {
    PTG_TRY(const Prepared* const prepared, Prepare(sql, sql));
    const int rc = sqlite3_step(prepared->statement.get());
    sqlite3_reset(prepared->statement.get());
    if (rc != SQLITE_DONE) return Fail(Failure(rc, sql));
    return {};
  }

  // What `rc` means to the caller, and to the health of the transaction.
  Error Failure(int rc, std::string_view name) {
    const int primary = rc & 0xFF;
    if (primary == SQLITE_CONSTRAINT) return {Code::kConflict, "a constraint of the database"};
    Log(LogLevel::kError, "store.failed",
        {{"engine", "sqlite"},
         {"statement", name},
         {"code", rc},
         {"detail", sqlite3_errmsg(database_.get())}});
    // Some faults end the whole transaction, and with it the work of others in the group.
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED ||
        sqlite3_get_autocommit(database_.get()) != 0) {
      Worsen(Health::kRetry);
    }
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) {
      return {Code::kStore, "the database is locked by another process"};
    }
    if (primary == SQLITE_FULL) return {Code::kStore, "the disk is full"};
    return {Code::kStore, std::string("the database failed: ") + sqlite3_errstr(rc)};
  }

  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  std::string path_;
  // Above the database, whose commits it is told of: that goes first.
  std::unique_ptr<Checkpoints> checkpoints_;
  std::unique_ptr<sqlite3, CloseDatabase> database_;
  // Below the database: statements go first.
  std::unordered_map<std::string, Prepared, TextHash, std::equal_to<>> cache_;
};

}  // namespace

Result<std::unique_ptr<Database>> OpenSqlite(const std::string& path, Options options,
                                             const Clock& clock) {
  // A database in memory belongs to one connection, which then does the reading too.
  const bool file = path != ":memory:";
  if (!file) options.readers = 0;
  // The first connection is the writer's.
  return PooledDatabase::Open(
      "sqlite",
      [path, beside = file]() mutable {
        return SqliteConnection::Open(path, std::exchange(beside, false));
      },
      options, clock);
}

Result<std::unique_ptr<Connection>> ConnectSqlite(const std::string& path) {
  return SqliteConnection::Open(path, false);
}

}  // namespace pontage::db
