#pragma once

#include <memory>

#include "app/config.h"
#include "base/time.h"
#include "db/db.h"
#include "db/writer_lock.h"

namespace pontage::app {

// The books of a process that serves: nobody migrates them away while it lives.
struct Store {
  UnixMs lock_asked;  // who beat before this was alone before us
  std::unique_ptr<db::WriterLock> lock;
  std::unique_ptr<db::Database> database;
};

// Takes the writer's lock, opens store.url and brings its schema up to date. kConfig when it is an
// empty PostgreSQL beside a SQLite file with rows: a forgotten migration, and payments that were
// taken would be forgotten with it. kStore otherwise.
Result<Store> OpenStore(const Config& config, const Clock& clock);

}  // namespace pontage::app
