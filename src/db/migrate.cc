#include "db/migrate.h"

#include <algorithm>
#include <charconv>

#include "base/try.h"

namespace pontage::db {
namespace {

constexpr Statement kTableExists[] = {
    {"schema.exists.sqlite",
     "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migration'"},
    {"schema.exists.postgresql",
     "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE relname = 'schema_migration'"
     " AND pg_catalog.pg_table_is_visible(oid)"},
};
constexpr Statement kCreateTable{
    "schema.create",
    "CREATE TABLE IF NOT EXISTS schema_migration (version BIGINT NOT NULL PRIMARY KEY,"
    " name TEXT NOT NULL, applied_ms BIGINT NOT NULL, checksum TEXT NOT NULL)"};
constexpr Statement kApplied{
    "schema.applied", "SELECT version, name, checksum FROM schema_migration ORDER BY version"};
constexpr Statement kRecord{
    "schema.record",
    "INSERT INTO schema_migration (version, name, applied_ms, checksum) VALUES ($1, $2, $3, $4)"};
// PostgreSQL only: one migration at a time on a server, however long the other one takes.
constexpr Statement kPatience{"schema.patience", "SET LOCAL lock_timeout = '120s'"};
constexpr Statement kNoHurry{"schema.no_hurry", "SET LOCAL statement_timeout = 0"};
constexpr Statement kLock{"schema.lock", "SELECT 1 FROM pg_advisory_xact_lock(8402001)"};
constexpr Statement kBlobKnown{"schema.blob_known",
                               "SELECT COUNT(*) FROM pg_catalog.pg_type WHERE typname = 'blob'"
                               " AND pg_catalog.pg_type_is_visible(oid)"};
constexpr Statement kBlob{"schema.blob", "CREATE DOMAIN blob AS bytea"};

// FNV-1a, to notice an edited file; nobody attacks his own migrations.
std::string Checksum(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) {
    hash ^= static_cast<uint8_t>(c);
    hash *= 0x100000001b3;
  }
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, hash, 16).ptr;
  return std::string(digits, end);
}

bool IsPostgres(const Database& database) { return database.engine() == "postgresql"; }

Result<bool> HasTable(Tx& tx, bool postgres) {
  PTG_TRY(const Rows rows, tx.Run(kTableExists[postgres ? 1 : 0]));
  return rows.at(0).Int(0) > 0;
}

Result<> PreparePostgres(Tx& tx) {
  PTG_RUN(tx.Run(kPatience));
  PTG_RUN(tx.Run(kNoHurry));
  PTG_RUN(tx.Run(kLock));
  PTG_TRY(const Rows known, tx.Run(kBlobKnown));
  if (known.at(0).Int(0) == 0) PTG_RUN(tx.Run(kBlob));
  return {};
}

// What was applied must be the beginning of what we know.
Result<int64_t> CheckApplied(Tx& tx, std::span<const Migration> migrations) {
  PTG_TRY(const Rows applied, tx.Run(kApplied));
  int64_t at = 0;
  for (const Row& row : applied) {
    const auto known = std::ranges::find(migrations, row.Int(0), &Migration::version);
    if (known == migrations.end()) {
      return Fail(
          Error(Code::kConfig, "the database is newer than this program: it has migration " +
                                   std::to_string(row.Int(0)) + " (" + row.Text(1) + ")")
              .Want("a program that knows it, or another store.url"));
    }
    if (Checksum(known->sql) != row.Text(2)) {
      return Fail(Code::kConfig, "migration " + std::to_string(row.Int(0)) + " (" + row.Text(1) +
                                     ") was applied with another text than this program has");
    }
    at = row.Int(0);
  }
  return at;
}

Result<> Apply(Tx& tx, const Migration& migration, UnixMs now) {
  for (const std::string& sql : SplitSql(migration.sql)) {
    const Statement statement{"schema.migrate", sql};
    PTG_RUN(tx.Run(statement));
  }
  PTG_RUN(tx.Run(kRecord, migration.version, std::string(migration.name), now.ms(),
                 Checksum(migration.sql)));
  return {};
}

std::string_view Trim(std::string_view text) {
  const auto from = text.find_first_not_of(" \t\r\n");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r\n") - from + 1);
}

}  // namespace

std::vector<std::string> SplitSql(std::string_view text) {
  std::vector<std::string> statements;
  std::string current;
  const auto finish = [&] {
    if (const auto trimmed = Trim(current); !trimmed.empty()) statements.emplace_back(trimmed);
    current.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '-' && text.substr(i, 2) == "--") {
      i = std::min(text.find('\n', i), text.size() - 1);
      current += '\n';
    } else if (c == '\'' || c == '"') {
      // A doubled quote ends one part and begins the next, which comes to the same.
      const size_t end = std::min(text.find(c, i + 1), text.size() - 1);
      current += text.substr(i, end - i + 1);
      i = end;
    } else if (c == ';') {
      finish();
    } else {
      current += c;
    }
  }
  finish();
  return statements;
}

Result<MigrateReport> Migrate(Database& database, const Clock& clock,
                              std::span<const Migration> migrations) {
  const bool postgres = IsPostgres(database);
  const UnixMs now = clock.Now();
  const auto body = [postgres, now, migrations](Tx& tx) -> Result<MigrateReport> {
    // On SQLite the transaction itself is the lock.
    if (postgres) PTG_RUN(PreparePostgres(tx));
    PTG_RUN(tx.Run(kCreateTable));
    PTG_TRY(const int64_t from, CheckApplied(tx, migrations));
    MigrateReport report{.from = from, .to = from};
    for (const Migration& migration : migrations) {
      if (migration.version <= from) continue;
      PTG_RUN(Apply(tx, migration, now));
      report.to = migration.version;
    }
    return report;
  };
  return database.WriteNow(body);
}

Result<MigrateReport> Migrate(Database& database, const Clock& clock) {
  return Migrate(database, clock, AllMigrations());
}

Result<int64_t> SchemaVersion(Database& database) {
  const bool postgres = IsPostgres(database);
  const auto body = [postgres](Tx& tx) -> Result<int64_t> {
    PTG_TRY(const bool there, HasTable(tx, postgres));
    if (!there) return 0;
    PTG_TRY(const Rows rows, tx.Run(kApplied));
    return rows.empty() ? 0 : rows.back().Int(0);
  };
  return database.ReadNow(body);
}

}  // namespace pontage::db
