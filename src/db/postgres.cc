#include "db/postgres.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>
#include <unordered_map>

#include "base/log.h"
#include "base/try.h"
#include "db/libpq.h"

namespace pontage::db {
namespace {

// Type numbers of pg_type.dat that we send or receive; they never change.
enum : Oid {
  kBool = 16,
  kBytea = 17,
  kName = 19,
  kInt8 = 20,
  kInt2 = 21,
  kInt4 = 23,
  kText = 25,
  kVarchar = 1043,
  kNumeric = 1700,
};

// Statements kept prepared for each session; see the cache.
constexpr size_t kMaxPrepared = 512;

// One parameter list in libpq's shape. Looks into `values`.
class Parameters {
 public:
  explicit Parameters(const std::vector<Value>& values) {
    texts_.reserve(values.size());
    for (const Value& value : values) Add(value);
  }
  int size() const { return static_cast<int>(types.size()); }

  std::vector<Oid> types;
  std::vector<const char*> bytes;
  std::vector<int> lengths;
  std::vector<int> formats;
  std::string signature;  // One letter for each type: a prepared statement is bound to them.

 private:
  void Add(const Value& value) {
    if (const auto* n = std::get_if<int64_t>(&value)) {
      texts_.push_back(std::to_string(*n));
      Push('i', kInt8, texts_.back().c_str(), 0, 0);
    } else if (const auto* b = std::get_if<bool>(&value)) {
      Push('b', kBool, *b ? "t" : "f", 0, 0);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      Push('t', kText, text->c_str(), 0, 0);
    } else if (const auto* blob = std::get_if<Blob>(&value)) {
      Push('x', kBytea, blob->bytes.data(), static_cast<int>(blob->bytes.size()), 1);
    } else {
      Push('n', 0, nullptr, 0, 0);
    }
  }
  void Push(char letter, Oid type, const char* data, int length, int format) {
    signature += letter;
    types.push_back(type);
    bytes.push_back(data);
    lengths.push_back(length);
    formats.push_back(format);
  }
  std::vector<std::string> texts_;  // Reserved at once: c_str() of short strings must not move.
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// "\x00ff", the server's output form of bytea.
Result<Blob> ParseBytea(std::string_view text) {
  if (!text.starts_with("\\x") || text.size() % 2 != 0) {
    return Fail(Code::kStore, "the database sent bytes in an unknown form");
  }
  Blob blob;
  blob.bytes.reserve(text.size() / 2 - 1);
  for (size_t i = 2; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]);
    const int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) {
      return Fail(Code::kStore, "the database sent bytes in an unknown form");
    }
    blob.bytes += static_cast<char>(high << 4 | low);
  }
  return blob;
}

Result<Value> ParseValue(Oid type, std::string_view text) {
  switch (type) {
    case kBool:
      return Value(text == "t");
    case kInt2:
    case kInt4:
    case kInt8:
    case kNumeric: {  // What sum() of bigint gives.
      int64_t n = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
      if (error != std::errc() || end != text.data() + text.size()) {
        return Fail(Code::kStore, "the database sent a number that is not 64 bits wide");
      }
      return Value(n);
    }
    case kBytea: {
      PTG_TRY(Blob blob, ParseBytea(text));
      return Value(std::move(blob));
    }
    case kText:
    case kVarchar:
    case kName:
      return Value(std::string(text));
    default:
      if (text.empty()) return Value(std::monostate{});  // void, of a function called for effect
      return Fail(Code::kStore,
                  "the database sent a type that is not ours: " + std::to_string(type));
  }
}

class PostgresConnection final : public Connection {
 public:
  static Result<std::unique_ptr<Connection>> Open(const std::string& url) {
    PTG_TRY(const Libpq* const pq, LoadLibpq());
    PTG_RUN(CheckUrl(*pq, url));
    std::unique_ptr<PostgresConnection> connection(new PostgresConnection(*pq, url));
    PTG_RUN(connection->Reconnect());
    return connection;
  }
  ~PostgresConnection() override { pq_.finish(session_); }

  Result<> Reconnect() override {
    prepared_.clear();
    pq_.finish(session_);
    // What stands before dbname is a default that the URL may override. A server that is gone is
    // noticed within seconds, and no statement of ours runs long.
    static constexpr std::array<const char*, 11> kKeys = {
        "connect_timeout",  "keepalives_idle",  "keepalives_interval",
        "keepalives_count", "tcp_user_timeout", "application_name",
        "client_encoding",  "dbname",           nullptr};
    const std::array<const char*, 11> values = {"5",       "10",   "3",          "3",    "15000",
                                                "pontage", "UTF8", url_.c_str(), nullptr};
    session_ = pq_.connect(kKeys.data(), values.data(), 1);
    if (pq_.status(session_) != CONNECTION_OK) {
      const std::string why = LastError();
      Log(LogLevel::kError, "store.connect_failed", {{"engine", "postgresql"}, {"detail", why}});
      health_ = Health::kLost;
      return Fail(Code::kStore, "cannot connect to PostgreSQL: " + why);
    }
    health_ = Health::kGood;
    pq_.set_notice_processor(session_, [](void*, const char*) {}, nullptr);
    // A group that waits for another node's row gives way after a quarter second and runs its jobs
    // one by one, before the server would notice a deadlock.
    return Simple(
        "SET SESSION lock_timeout = '250ms'; SET SESSION statement_timeout = '15s';"
        "SET SESSION idle_in_transaction_session_timeout = '60s';"
        "SET SESSION synchronous_commit = on; SET SESSION bytea_output = 'hex'");
  }

  Result<> Begin(bool write) override {
    Start(write);
    return Simple(write ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  }

  // The statements leave one behind the other, and the server answers them in their order: one
  // journey for all, and the thread sleeps once. libpq reads while it writes, so that neither side
  // waits for the other with full buffers.
  std::optional<Result<std::vector<Rows>>> BeginWith(const std::vector<Ask>& asks) override {
    if (!pq_.pipelines()) return std::nullopt;
    Start(true);
    std::vector<std::string> names;
    for (const Ask& ask : asks) {
      if (!CheckValues(ask.values)) return std::nullopt;
      Result<std::string> name = Prepare(ask.statement, Parameters(ask.values));
      if (!name) return Fail(std::move(name).error());
      names.push_back(*std::move(name));
    }
    if (pq_.enter_pipeline(session_) != 1) return std::nullopt;
    Result<std::vector<Rows>> all = Pipelined(asks, names);
    if (pq_.exit_pipeline(session_) != 1) {
      Worsen(Health::kLost);
      return Fail(Code::kStore, "the database does not answer");
    }
    return all;
  }

  Result<> Commit() override {
    Answer answer(pq_, pq_.exec(session_, "COMMIT"));
    PTG_RUN(Check(answer, "COMMIT"));
    // A transaction in which something failed ends with ROLLBACK and no error.
    if (std::string_view(pq_.command_status(answer.result)) != "COMMIT") {
      return Fail(Code::kStore, "the database rolled the transaction back");
    }
    return {};
  }

  void Rollback() override {
    if (pq_.transaction_status(session_) != PQTRANS_IDLE) (void)Simple("ROLLBACK");
  }
  Result<> Save() override { return Simple("SAVEPOINT job"); }
  Result<> Release() override { return Simple("RELEASE job"); }
  Result<> RollbackToSave() override {
    if (must_restart_) return Fail(Code::kStore, "the transaction must start again");
    PTG_RUN(Simple("ROLLBACK TO job; RELEASE job"));
    // The locks that were in the way are let go with the savepoint.
    if (health_ == Health::kRetry) health_ = Health::kGood;
    return {};
  }

  Result<Rows> Execute(const Statement& statement, std::vector<Value> values) override {
    PTG_RUN(CheckValues(values));
    const Parameters parameters(values);
    PTG_TRY(const std::string name, Prepare(statement, parameters));
    Answer answer(
        pq_, pq_.exec_prepared(session_, name.c_str(), parameters.size(), parameters.bytes.data(),
                               parameters.lengths.data(), parameters.formats.data(), 0));
    return TakeRows(answer, statement);
  }

 private:
  struct Answer {
    Answer(const Libpq& p, PGresult* r) : pq(p), result(r) {}
    Answer(const Answer&) = delete;
    Answer& operator=(const Answer&) = delete;
    ~Answer() { pq.clear(result); }
    const Libpq& pq;
    PGresult* result;
  };

  PostgresConnection(const Libpq& pq, std::string url) : pq_(pq), url_(std::move(url)) {}

  static Result<> CheckUrl(const Libpq& pq, const std::string& url) {
    char* why = nullptr;
    PQconninfoOption* const options = pq.parse(url.c_str(), &why);
    if (options != nullptr) {
      pq.parse_free(options);
      return {};
    }
    // libpq's text quotes the URL, and the URL holds a password.
    if (why != nullptr) pq.free_memory(why);
    return Fail(Error(Code::kConfig, "the store's URL is not one that libpq understands")
                    .Want("postgresql://USER:PASSWORD@HOST:PORT/DATABASE"));
  }

  void Start(bool write) {
    if (health_ != Health::kLost) health_ = Health::kGood;
    writing_ = write;
    must_restart_ = false;
  }

  Result<Rows> TakeRows(const Answer& answer, const Statement& statement) {
    PTG_RUN(Check(answer, statement.name));
    PTG_TRY(Rows rows, ReadRows(answer.result));
    // Empty for what counts no rows; of a SELECT the rows it gives, which nobody asks for.
    const std::string_view count = pq_.command_tuples(answer.result);
    std::from_chars(count.data(), count.data() + count.size(), rows.changed);
    return rows;
  }

  bool SendAll(const std::vector<Ask>& asks, const std::vector<std::string>& names) {
    if (pq_.send_params(session_, "BEGIN", 0, nullptr, nullptr, nullptr, nullptr, 0) != 1) {
      return false;
    }
    for (size_t i = 0; i < asks.size(); ++i) {
      const Parameters p(asks[i].values);
      if (pq_.send_prepared(session_, names[i].c_str(), p.size(), p.bytes.data(), p.lengths.data(),
                            p.formats.data(), 0) != 1) {
        return false;
      }
    }
    return pq_.sync_pipeline(session_) == 1;
  }

  // Sends BEGIN and `asks` and reads every answer, so that the session can leave the mode.
  Result<std::vector<Rows>> Pipelined(const std::vector<Ask>& asks,
                                      const std::vector<std::string>& names) {
    if (!SendAll(asks, names)) {
      Worsen(Health::kLost);
      return Fail(Code::kStore, "the database does not answer");
    }
    static constexpr Statement kBegin{"begin", "BEGIN"};
    std::vector<Rows> all;
    std::optional<Error> failed;
    for (size_t i = 0; i <= asks.size() + 1; ++i) {
      Answer answer(pq_, pq_.next_result(session_));
      if (i == asks.size() + 1) {
        const bool synced = pq_.result_status(answer.result) == PGRES_PIPELINE_SYNC;
        if (!synced && !failed) failed = Error(Code::kStore, "the database does not answer");
        if (!synced) Worsen(Health::kLost);
        break;
      }
      // What stands behind the one that failed was not run.
      if (!failed) {
        Result<Rows> rows = TakeRows(answer, i == 0 ? kBegin : asks[i - 1].statement);
        if (!rows) {
          failed = std::move(rows).error();
        } else if (i > 0) {
          all.push_back(*std::move(rows));
        }
      }
      Answer end(pq_, pq_.next_result(session_));
      if (end.result != nullptr) {
        Worsen(Health::kLost);
        return Fail(Code::kStore, "the database answers what was not asked");
      }
    }
    if (failed) return Fail(*std::move(failed));
    return all;
  }

  // What libpq has to say, on one line.
  std::string LastError() const {
    std::string text = session_ == nullptr ? "out of memory" : pq_.error_message(session_);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\t'; }, ' ');
    return text;
  }

  Result<> Simple(const char* sql) {
    Answer answer(pq_, pq_.exec(session_, sql));
    return Check(answer, sql);
  }

  // By text and types: the server fixes the parameter types when it prepares.
  Result<std::string> Prepare(const Statement& statement, const Parameters& parameters) {
    std::string key = parameters.signature + ':';
    key += statement.sql;
    if (const auto found = prepared_.find(key); found != prepared_.end()) return found->second;
    if (prepared_.size() >= kMaxPrepared) {
      PTG_RUN(Simple("DEALLOCATE ALL"));
      prepared_.clear();
    }
    const std::string name = "p" + std::to_string(next_name_++);
    const std::string sql(statement.sql);
    Answer answer(pq_, pq_.prepare(session_, name.c_str(), sql.c_str(), parameters.size(),
                                   parameters.types.data()));
    PTG_RUN(Check(answer, statement.name));
    prepared_.emplace(std::move(key), name);
    return name;
  }

  Result<Rows> ReadRows(const PGresult* result) const {
    Rows rows;
    const int count = pq_.rows(result);
    const int columns = pq_.columns(result);
    rows.reserve(static_cast<size_t>(count));
    for (int r = 0; r < count; ++r) {
      std::vector<Value> values;
      values.reserve(static_cast<size_t>(columns));
      for (int c = 0; c < columns; ++c) {
        if (pq_.is_null(result, r, c) != 0) {
          values.emplace_back();
          continue;
        }
        const std::string_view text(pq_.value(result, r, c),
                                    static_cast<size_t>(pq_.length(result, r, c)));
        PTG_TRY(Value value, ParseValue(pq_.column_type(result, c), text));
        values.push_back(std::move(value));
      }
      rows.emplace_back(std::move(values));
    }
    return rows;
  }

  // What the answer means to the caller, and to the health of the session.
  Result<> Check(const Answer& answer, std::string_view statement) {
    const ExecStatusType status = pq_.result_status(answer.result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return {};
    const char* const field =
        answer.result == nullptr ? nullptr : pq_.error_field(answer.result, PG_DIAG_SQLSTATE);
    const std::string_view state = field == nullptr ? std::string_view() : field;
    if (state.starts_with("23")) return Fail(Code::kConflict, "a constraint of the database");

    const char* const message = answer.result == nullptr
                                    ? nullptr
                                    : pq_.error_field(answer.result, PG_DIAG_MESSAGE_PRIMARY);
    const std::string detail = message == nullptr ? LastError() : message;
    // serialization_failure, deadlock_detected, lock_not_available: another node was in the way.
    const bool retry = state == "40001" || state == "40P01" || state == "55P03";
    // The server is going down, was failed over to a standby, or does not answer any more.
    const bool lost = pq_.status(session_) != CONNECTION_OK || state.starts_with("08") ||
                      state.starts_with("57P") || (state == "25006" && writing_);
    Log(retry ? LogLevel::kInfo : LogLevel::kError, "store.failed",
        {{"engine", "postgresql"}, {"statement", statement}, {"code", state}, {"detail", detail}});
    if (lost) {
      Worsen(Health::kLost);
      return Fail(Code::kStore, "the database does not answer");
    }
    if (retry) Worsen(Health::kRetry);
    if (state == "40001") must_restart_ = true;
    if (state.starts_with("22")) return Fail(Code::kBadRequest, "the database refuses a value");
    return Fail(Code::kStore, "the database failed");
  }

  const Libpq& pq_;
  const std::string url_;
  PGconn* session_ = nullptr;
  std::unordered_map<std::string, std::string> prepared_;
  uint64_t next_name_ = 0;
  bool writing_ = false;
  bool must_restart_ = false;  // A serialization failure: no savepoint helps.
};

}  // namespace

Result<std::unique_ptr<Connection>> ConnectPostgres(const std::string& url) {
  return PostgresConnection::Open(url);
}

Result<std::unique_ptr<Database>> OpenPostgres(const std::string& url, Options options,
                                               const Clock& clock) {
  return PooledDatabase::Open("postgresql", [url] { return ConnectPostgres(url); }, options, clock);
}

}  // namespace pontage::db
