#include "db/copy.h"

#include <algorithm>
#include <filesystem>

#include "base/try.h"
#include "db/db.h"
#include "db/migrate.h"
#include "db/writer_lock.h"

namespace pontage::db {
namespace {

// Rows that are in memory at once: an answer kept for replay may be a MiB.
constexpr int64_t kPage = 64;
// Parameters of one INSERT; SQLite's own bound is 32,766.
constexpr size_t kMostParameters = 480;

// Table, column, and whether PostgreSQL calls it a boolean (SQLite gives integers for them). What
// every process writes anew is left out.
constexpr Statement kColumnsSqlite{
    "copy.columns_sqlite",
    "SELECT m.name, p.name, p.type = 'BOOLEAN' FROM sqlite_master m"
    " JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"
    " AND m.name NOT IN ('schema_migration', 'node') ORDER BY m.name, p.cid"};
constexpr Statement kColumnsPostgres{
    "copy.columns_postgres",
    "SELECT c.relname::text, a.attname::text, a.atttypid = 16 FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid WHERE c.relkind = 'r'"
    " AND n.nspname = current_schema() AND a.attnum > 0 AND NOT a.attisdropped"
    " AND c.relname NOT IN ('schema_migration', 'node')"
    " ORDER BY c.relname COLLATE \"C\", a.attnum"};
constexpr Statement kNoHurry{"copy.no_hurry", "SET LOCAL statement_timeout = 0"};
// While the other side is written or read back.
constexpr Statement kMayRest{"copy.may_rest", "SET LOCAL idle_in_transaction_session_timeout = 0"};

struct Column {
  std::string name;
  bool boolean = false;
  friend bool operator==(const Column&, const Column&) = default;
};
struct Table {
  std::string name;
  std::vector<Column> columns;
  friend bool operator==(const Table&, const Table&) = default;
  std::string List() const {
    std::string list;
    for (const Column& c : columns) list += (list.empty() ? "\"" : ", \"") + c.name + "\"";
    return list;
  }
};

struct Side {
  Tx& tx;
  bool postgres;
};

Result<std::vector<Table>> ReadTables(const Side& side) {
  PTG_TRY(const Rows rows, side.tx.Run(side.postgres ? kColumnsPostgres : kColumnsSqlite));
  std::vector<Table> tables;
  for (const Row& row : rows) {
    if (tables.empty() || tables.back().name != row.Text(0)) {
      tables.push_back({.name = row.Text(0), .columns = {}});
    }
    tables.back().columns.push_back({.name = row.Text(1), .boolean = row.Bool(2)});
  }
  return tables;
}

Result<bool> Empty(const Side& side, const Table& table) {
  const std::string sql = "SELECT 1 FROM \"" + table.name + "\" LIMIT 1";
  const Statement statement{"copy.empty", sql};
  PTG_TRY(const Rows rows, side.tx.Run(statement));
  return rows.empty();
}

using Values = std::vector<Value>;

// Every row of `table` in pages, in no particular order. SQLite walks along its rowid, PostgreSQL
// along a cursor: neither needs the table to have a key of one form.
template <typename F>
Result<> ForEachPage(const Side& side, const Table& table, const F& use) {
  const size_t columns = table.columns.size();
  const std::string page = std::to_string(kPage);
  const std::string cursor = "copy_" + table.name;
  const std::string close = "CLOSE " + cursor;
  const std::string declare = "DECLARE " + cursor + " NO SCROLL CURSOR FOR SELECT " + table.List() +
                              " FROM \"" + table.name + "\"";
  const std::string fetch = side.postgres
                                ? "FETCH " + page + " FROM " + cursor
                                : "SELECT " + table.List() + ", rowid FROM \"" + table.name +
                                      "\" WHERE rowid > $1 ORDER BY rowid LIMIT " + page;
  const Statement declare_statement{"copy.declare", declare};
  const Statement fetch_statement{"copy.fetch", fetch};
  const Statement close_statement{"copy.close", close};
  if (side.postgres) PTG_RUN(side.tx.Run(declare_statement));
  int64_t after = INT64_MIN;
  for (;;) {
    Values parameters;
    if (!side.postgres) parameters.emplace_back(after);
    PTG_TRY(const Rows rows, side.tx.Execute(fetch_statement, std::move(parameters)));
    if (rows.empty()) break;
    std::vector<Values> values;
    values.reserve(rows.size());
    for (const Row& row : rows) {
      Values& out = values.emplace_back();
      out.reserve(columns);
      for (size_t c = 0; c < columns; ++c) out.push_back(row.Get(c));
    }
    if (!side.postgres) after = rows.back().Int(columns);
    PTG_RUN(use(std::move(values)));
  }
  if (side.postgres) PTG_RUN(side.tx.Run(close_statement));
  return {};
}

// What both sides must agree on. Independent of the order of the rows.
struct Digest {
  int64_t rows = 0;
  uint64_t sum = 0;       // Of all integers, modulo 2^64.
  uint64_t checksum = 0;  // Sum of a hash of each row.
  friend bool operator==(const Digest&, const Digest&) = default;

  void Add(const Values& values) {
    uint64_t hash = 0xcbf29ce484222325;
    const auto mix = [&hash](std::string_view bytes) {
      for (const char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    };
    for (const Value& value : values) {
      if (const auto* text = std::get_if<std::string>(&value)) {
        mix("t" + std::to_string(text->size()) + ":");
        mix(*text);
      } else if (const auto* blob = std::get_if<Blob>(&value)) {
        mix("x" + std::to_string(blob->bytes.size()) + ":");
        mix(blob->bytes);
      } else if (std::holds_alternative<std::monostate>(value)) {
        mix("n;");
      } else {
        // Booleans are integers on one engine and booleans on the other.
        const auto* flag = std::get_if<bool>(&value);
        const int64_t n = flag != nullptr ? int64_t{*flag} : std::get<int64_t>(value);
        mix("i" + std::to_string(n) + ";");
        sum += static_cast<uint64_t>(n);
      }
    }
    checksum += hash;
    ++rows;
  }
};

Result<> Insert(const Side& side, const Table& table, std::vector<Values> rows) {
  const size_t columns = table.columns.size();
  const size_t chunk = std::max<size_t>(1, kMostParameters / columns);
  for (size_t from = 0; from < rows.size(); from += chunk) {
    const size_t count = std::min(chunk, rows.size() - from);
    std::string sql = "INSERT INTO \"" + table.name + "\" (" + table.List() + ") VALUES ";
    Values parameters;
    parameters.reserve(count * columns);
    for (size_t r = 0; r < count; ++r) {
      sql += r == 0 ? "(" : ", (";
      for (size_t c = 0; c < columns; ++c) {
        sql += (c == 0 ? "$" : ", $") + std::to_string(r * columns + c + 1);
        Value& value = rows[from + r][c];
        const auto* n = std::get_if<int64_t>(&value);
        if (table.columns[c].boolean && n != nullptr) value = *n != 0;
        parameters.push_back(std::move(value));
      }
      sql += ")";
    }
    const Statement statement{"copy.insert", sql};
    PTG_RUN(side.tx.Execute(statement, std::move(parameters)));
  }
  return {};
}

Result<int64_t> CopyTable(const Side& from, const Side& to, const Table& table) {
  PTG_TRY(const bool empty, Empty(to, table));
  if (!empty) return Fail(Code::kConflict, "the target holds rows already, in " + table.name);
  Digest sent;
  PTG_RUN(ForEachPage(from, table, [&](std::vector<Values> rows) -> Result<> {
    for (const Values& row : rows) sent.Add(row);
    return Insert(to, table, std::move(rows));
  }));
  Digest arrived;
  PTG_RUN(ForEachPage(to, table, [&](const std::vector<Values>& rows) -> Result<> {
    for (const Values& row : rows) arrived.Add(row);
    return {};
  }));
  if (arrived != sent) {
    return Fail(Code::kStore, "table " + table.name + " did not arrive as it was sent: " +
                                  std::to_string(arrived.rows) + " of " +
                                  std::to_string(sent.rows) + " rows");
  }
  return sent.rows;
}

Result<CopyReport> CopyAll(const Side& from, const Side& to) {
  for (const Side* side : {&from, &to}) {
    if (!side->postgres) continue;
    PTG_RUN(side->tx.Run(kNoHurry));
    PTG_RUN(side->tx.Run(kMayRest));
  }
  PTG_TRY(const std::vector<Table> tables, ReadTables(from));
  PTG_TRY(const std::vector<Table> there, ReadTables(to));
  if (tables != there) {
    return Fail(Code::kConfig, "source and target do not have the same tables");
  }
  CopyReport report;
  for (const Table& table : tables) {
    PTG_TRY(const int64_t rows, CopyTable(from, to, table));
    report.tables.push_back({.name = table.name, .rows = rows});
    report.rows += rows;
  }
  return report;
}

bool IsPostgres(const Database& database) { return database.engine() == "postgresql"; }

Result<std::unique_ptr<Database>> OpenBare(std::string_view url, const Clock& clock) {
  Options options;
  options.readers = 1;
  return Database::Open(url, options, clock);
}

// A SQLite file that is not there yet; opening it would make it.
Result<bool> Missing(std::string_view url) {
  PTG_TRY(const Url parsed, ParseUrl(url));
  std::error_code ignored;
  return parsed.engine == Engine::kSqlite &&
         (parsed.where == ":memory:" || !std::filesystem::exists(parsed.where, ignored));
}

}  // namespace

Result<CopyReport> CopyDatabase(std::string_view from_url, std::string_view to_url,
                                const Clock& clock) {
  if (from_url == to_url) return Fail(Code::kUsage, "source and target are the same database");
  PTG_TRY(const bool missing, Missing(from_url));
  if (missing) return Fail(Code::kStore, "there is no database at the source");
  PTG_TRY(const auto from_lock, AcquireWriterLock(from_url, WriterLock::Mode::kMigrate));
  PTG_TRY(const auto to_lock, AcquireWriterLock(to_url, WriterLock::Mode::kMigrate));
  PTG_TRY(const auto from, OpenBare(from_url, clock));
  PTG_TRY(const auto to, OpenBare(to_url, clock));

  PTG_TRY(const int64_t version, SchemaVersion(*from));
  if (const int64_t ours = AllMigrations().back().version; version != ours) {
    return Fail(Error(Code::kConfig, "the source is at schema version " + std::to_string(version) +
                                         ", this program at " + std::to_string(ours))
                    .Want("run `pontage migrate` on the source first"));
  }
  PTG_RUN(Migrate(*to, clock));
  const bool from_postgres = IsPostgres(*from);
  const bool to_postgres = IsPostgres(*to);
  // The target's transaction inside the source's: one snapshot is read, one commit writes it.
  return from->ReadNow([&](Tx& source) -> Result<CopyReport> {
    return to->WriteNow([&](Tx& target) {
      const Side read{.tx = source, .postgres = from_postgres};
      const Side write{.tx = target, .postgres = to_postgres};
      return CopyAll(read, write);
    });
  });
}

Result<bool> HasRows(std::string_view url, const Clock& clock) {
  PTG_TRY(const bool missing, Missing(url));
  if (missing) return false;
  PTG_TRY(const auto database, OpenBare(url, clock));
  const bool postgres = IsPostgres(*database);
  return database->ReadNow([&](Tx& tx) -> Result<bool> {
    const Side side{.tx = tx, .postgres = postgres};
    PTG_TRY(const std::vector<Table> tables, ReadTables(side));
    for (const Table& table : tables) {
      PTG_TRY(const bool empty, Empty(side, table));
      if (!empty) return true;
    }
    return false;
  });
}

}  // namespace pontage::db
