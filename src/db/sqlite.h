#pragma once

#include <memory>
#include <string>

#include "db/pool.h"

namespace pontage::db {

// `path` is a file, made when it is not there, or ":memory:". WAL, every commit flushed to the
// disk.
Result<std::unique_ptr<Database>> OpenSqlite(const std::string& path, Options options,
                                             const Clock& clock);

// One session of it, without threads: for a simulation, in which nothing may run by itself.
Result<std::unique_ptr<Connection>> ConnectSqlite(const std::string& path);

}  // namespace pontage::db
