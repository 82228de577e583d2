#pragma once

#include <memory>
#include <type_traits>

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
