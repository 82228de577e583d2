#include <algorithm>

#include "app/cli/commands.h"
#include "app/config_keys.h"
#include "app/tls_files.h"
#include "wire/problem/error_map.h"

namespace pontage::app {

using codec::Json;

namespace {

int Report(const CommonOptions& common, const std::vector<ConfigFault>& found) {
  Json faults = Json::Array();
  for (const ConfigFault& fault : found) {
    Complain(fault.Text());
    faults.Push(Json::Object({{"file", fault.file},
                              {"line", fault.line},
                              {"key", fault.key},
                              {"found", fault.found},
                              {"expected", fault.expected}}));
  }
  if (WantsJson(common)) PrintJson(Json::Object({{"ok", false}, {"faults", std::move(faults)}}));
  return kFailed;
}

}  // namespace

int ConfigCheck(const CommonOptions& common) {
  const auto config = LoadConfig(common.config);
  if (!config) return Report(common, config.error());
  if (const auto faults = CheckTlsFiles(*config); !faults.empty()) return Report(common, faults);
  Json warnings = Json::Array();
  for (const std::string& warning : config->warnings) {
    Complain("warning: " + warning);
    warnings.Push(warning);
  }
  Json roles = Json::Array();
  std::string names;
  for (const std::string& role : config->Roles()) {
    roles.Push(role);
    names += (names.empty() ? "" : ", ") + role;
  }
  if (WantsJson(common)) {
    PrintJson(Json::Object({{"ok", true},
                            {"file", config->file},
                            {"roles", std::move(roles)},
                            {"routes", config->routes.size()},
                            {"warnings", std::move(warnings)}}));
  } else {
    PrintLine(config->file + ": good; " + std::to_string(config->routes.size()) +
              (config->routes.size() == 1 ? " route" : " routes") +
              ", roles: " + (names.empty() ? "none" : names));
  }
  return kDone;
}

int ConfigPrint(const CommonOptions& common) {
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  std::string text = PrintConfig(*config);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (common.json) {
    PrintJson(Json::Object({{"file", config->file}, {"toml", text}}));
  } else {
    PrintLine(text);
  }
  return kDone;
}

int ConfigReference() {
  std::string page = ConfigReferencePage();
  page.pop_back();
  PrintLine(page);
  return kDone;
}

int ErrorsReference() {
  std::string page =
      "# Errors\n\n"
      "<!-- Printed by `pontage errors`; edit src/wire/problem/error_map.cc instead. -->\n\n"
      "Every error is problem+json (RFC 9457): `type`, `title`, `status`, `code`, `detail` and, "
      "where a field is at\nfault, `pointer` (RFC 6901) and `expected`. `code` is the first column "
      "and never changes its meaning. The\nx402 reasons are what `error`, `invalidReason` and "
      "`errorReason` say in that version of the protocol.\n\n"
      "| code | HTTP | JSON-RPC | x402 v1 | x402 v2 | title |\n|---|---|---|---|---|---|\n";
  const auto word = [](std::string_view text) {
    return text.empty() ? std::string() : '`' + std::string(text) + '`';
  };
  for (const problem::Row* row = problem::begin(); row != problem::end(); ++row) {
    page += "| `" + std::string(row->slug) + "` | " + std::to_string(row->http) + " | " +
            std::to_string(row->json_rpc) + " | " + word(row->reason_v1) + " | " +
            word(row->reason_v2) + " | " + std::string(row->title) + " |\n";
  }
  page.pop_back();
  PrintLine(page);
  return kDone;
}

}  // namespace pontage::app
