#pragma once

#include <memory>
#include <string>

#include "db/pool.h"

namespace pontage::db {

// `url` as libpq takes it. kStore when the server does not answer, or when libpq is not installed.
Result<std::unique_ptr<Database>> OpenPostgres(const std::string& url, Options options,
                                               const Clock& clock);
// A session of its own, outside any pool.
Result<std::unique_ptr<Connection>> ConnectPostgres(const std::string& url);

}  // namespace pontage::db
