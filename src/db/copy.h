#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"

namespace pontage::db {

struct CopyReport {
  struct Table {
    std::string name;
    int64_t rows = 0;
  };
  std::vector<Table> tables;
  int64_t rows = 0;  // In all tables together.
};

// Copies everything from one database to another (`pontage migrate --from --to`), between engines
// or within one, in one transaction of the target: all of it or nothing. Afterwards, still inside
// that transaction, it reads the target again and compares for every table the number of rows, the
// sums of the integer columns and a checksum over all values. Heartbeats of nodes are not copied.
//
// kUsage when both are the same, kConflict while anything serves from either or when the target
// holds rows, kConfig when the source is not at this program's schema, kStore when what was read
// back differs. The source is not changed; the target may get its (empty) tables.
Result<CopyReport> CopyDatabase(std::string_view from_url, std::string_view to_url,
                                const Clock& clock);

// Whether the database at `url` holds anything of ours. A SQLite file that is not there holds
// nothing, and is not made. For `serve`: an empty PostgreSQL beside a SQLite file with rows is
// probably a forgotten migration.
Result<bool> HasRows(std::string_view url, const Clock& clock);

}  // namespace pontage::db
