#include "app/open_store.h"

#include "base/log.h"
#include "base/try.h"
#include "db/copy.h"
#include "db/migrate.h"

namespace pontage::app {
namespace {

Result<> RefuseForgottenMigration(const Config& config, const Clock& clock) {
  const std::string& file = config.store.file_url;
  if (config.store.url.starts_with("sqlite:")) return {};
  PTG_TRY(const bool old_rows, db::HasRows(file, clock));
  if (!old_rows) return {};
  PTG_TRY(const bool new_rows, db::HasRows(config.store.url, clock));
  if (new_rows) return {};
  return Fail(Error(Code::kConfig, "the PostgreSQL database is empty and " + file + " is not")
                  .Want("pontage migrate --from " + file + " --to \"$DATABASE_URL\", or move " +
                        "the file away"));
}

}  // namespace

Result<Store> OpenStore(const Config& config, const Clock& clock) {
  PTG_RUN(RefuseForgottenMigration(config, clock));
  Store store;
  store.lock_asked = clock.Now();
  PTG_TRY(store.lock, db::AcquireWriterLock(config.store.url, db::WriterLock::Mode::kServe));
  PTG_TRY(store.database, db::Database::Open(config.store.url, db::Options{}, clock));
  PTG_TRY(const db::MigrateReport report, db::Migrate(*store.database, clock));
  if (report.from != report.to) {
    Log(LogLevel::kInfo, "store.migrated",
        {{"engine", store.database->engine()}, {"from", report.from}, {"to", report.to}});
  }
  return store;
}

}  // namespace pontage::app
