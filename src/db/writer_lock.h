#pragma once

#include <memory>
#include <string_view>

#include "base/error.h"

namespace pontage::db {

// Says to other processes that this one writes to a database, for as long as the object lives. Any
// number may serve at once (one process for SQLite as a rule, many nodes for PostgreSQL); who
// copies the database to another place must be alone. Reading and small commands beside a running
// server need no lock. It goes with the process, however that ends: an flock on `<file>-writer`, or
// an advisory lock of a session of its own, which is made and locked again within seconds when the
// server comes back from an outage.
class WriterLock {
 public:
  enum class Mode { kServe, kMigrate };

  virtual ~WriterLock() = default;
  // Nobody else held it when it was acquired.
  bool alone() const { return alone_; }

 protected:
  bool alone_ = false;
};

// Does not wait. kConflict when the database is being migrated (kServe) or somebody serves from it
// (kMigrate); kConfig and kStore as Database::Open.
Result<std::unique_ptr<WriterLock>> AcquireWriterLock(std::string_view url, WriterLock::Mode mode);

}  // namespace pontage::db
