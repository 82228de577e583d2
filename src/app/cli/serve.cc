#include "app/cli/commands.h"
#include "app/compose.h"

namespace pontage::app {
namespace {

Result<std::vector<std::string>> RolesOf(std::string_view text) {
  std::vector<std::string> roles;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string role(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (role != "gateway" && role != "facilitator" && role != "sales" && role != "console") {
      return Fail(Error(Code::kUsage, "no role \"" + role + '"')
                      .Want("gateway, facilitator, sales and console, by commas"));
    }
    roles.push_back(role);
  }
  return roles;
}

}  // namespace

int ServeRoles(const CommonOptions& common, const ServeOptions& options) {
  const auto roles = RolesOf(options.roles);
  if (!roles) return FailWith(common, roles.error());
  // Faults one a line, as `config check` prints them, and nothing has been started. What it read
  // goes at once: it has the secrets, and the server reads its own.
  if (!LoadConfigOrComplain(common, {.secrets = true, .roles = *roles})) return kFailed;
  if (const auto served = Serve(common.config, *roles, AllRoles()); !served) {
    // Standard output carries nothing of a server's: its words are on standard error.
    return FailWith(served.error());
  }
  return kDone;
}

}  // namespace pontage::app
