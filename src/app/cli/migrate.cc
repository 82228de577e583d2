#include "db/migrate.h"

#include "app/cli/commands.h"
#include "db/copy.h"
#include "db/db.h"

namespace pontage::app {
namespace {

using codec::Json;

int CopyStore(const CommonOptions& common, const MigrateOptions& options) {
  const auto report = db::CopyDatabase(options.from, options.to, Clock::System());
  if (!report) return FailWith(common, report.error());
  Json tables = Json::Array();
  std::vector<std::vector<std::string>> rows;
  for (const auto& table : report->tables) {
    tables.Push(Json::Object({{"name", table.name}, {"rows", table.rows}}));
    rows.push_back({table.name, std::to_string(table.rows)});
  }
  if (WantsJson(common)) {
    PrintJson(Json::Object({{"from", RedactUrl(options.from)},
                            {"to", RedactUrl(options.to)},
                            {"rows", report->rows},
                            {"tables", std::move(tables)}}));
    return kDone;
  }
  PrintLine(FormatTable({"TABLE", "ROWS"}, rows));
  PrintLine("Copied and compared. Put " + RedactUrl(options.to) +
            " into store.url (or DATABASE_URL) before the next start.");
  return kDone;
}

}  // namespace

int MigrateStore(const CommonOptions& common, const MigrateOptions& options) {
  if (options.from.empty() != options.to.empty()) {
    return FailWith(common,
                    Error(Code::kUsage, "a copy needs both ends").Want("--from URL --to URL"));
  }
  if (!options.from.empty()) return CopyStore(common, options);
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  auto database = db::Database::Open(config->store.url, {}, Clock::System());
  if (!database) return FailWith(common, database.error());
  const auto report = db::Migrate(**database, Clock::System());
  if (!report) return FailWith(common, report.error());
  if (WantsJson(common)) {
    PrintJson(Json::Object(
        {{"store", RedactUrl(config->store.url)}, {"from", report->from}, {"to", report->to}}));
  } else if (report->from == report->to) {
    PrintLine(RedactUrl(config->store.url) + " is up to date at version " +
              std::to_string(report->to));
  } else {
    PrintLine(RedactUrl(config->store.url) + ": version " + std::to_string(report->from) + " -> " +
              std::to_string(report->to));
  }
  return kDone;
}

}  // namespace pontage::app
