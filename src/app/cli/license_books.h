#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <type_traits>
#include <unistd.h>

#include "app/config.h"
#include "db/db.h"
#include "db/migrate.h"
#include "license/issuer.h"

// What the commands about licenses share.
namespace pontage::app {

inline Result<std::unique_ptr<db::Database>> OpenLicenses(const Config& config) {
  auto database = db::Database::Open(config.store.url, {}, Clock::System());
  if (!database) return database;
  if (const auto migrated = db::Migrate(**database, Clock::System()); !migrated) {
    return std::unexpected(migrated.error());
  }
  return database;
}

// Who sits at the machine, as far as it knows: the actor of the audit.
inline std::string Author() {
  for (const char* const name : {"SUDO_USER", "USER", "LOGNAME"}) {
    const char* const value = std::getenv(name);
    if (value != nullptr && *value != '\0') return "cli:" + std::string(value);
  }
  return "cli:uid-" + std::to_string(getuid());
}

// Two commands at once take the same number in the feed; one of them comes again.
template <typename F>
auto WriteAgain(db::Database& database, F body) -> std::invoke_result_t<F&, db::Tx&> {
  constexpr int kTries = 5;
  auto written = database.WriteNow(body);
  for (int i = 1; i < kTries && !written && written.error().code() == Code::kConflict; ++i) {
    written = database.WriteNow(body);
  }
  return written;
}

}  // namespace pontage::app
