#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "db/db.h"

namespace pontage::db {

// One file of migrations/: 0001_ledger.sql is version 1, name "ledger". Never edited once released.
struct Migration {
  int64_t version;
  std::string_view name;
  std::string_view sql;
};

// What this binary carries, in order.
std::span<const Migration> AllMigrations();

struct MigrateReport {
  int64_t from = 0;  // 0: an empty database
  int64_t to = 0;
};
// Brings the database up to what this binary knows, in one transaction under a lock, so that any
// number of nodes may start at once. kConfig when the database is newer than this binary, or when a
// migration that was applied reads otherwise now; nothing is changed then.
Result<MigrateReport> Migrate(Database& database, const Clock& clock);
// The same with a list of its own, for tests.
Result<MigrateReport> Migrate(Database& database, const Clock& clock,
                              std::span<const Migration> migrations);

// The version the database is at; 0 when it is empty. Changes nothing.
Result<int64_t> SchemaVersion(Database& database);

// The statements of a text, comments and white space around them taken off. Knows 'quoted' and
// "quoted" parts and -- comments, which is all that our migrations are written in.
std::vector<std::string> SplitSql(std::string_view text);

}  // namespace pontage::db
