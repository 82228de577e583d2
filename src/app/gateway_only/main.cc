// `pontage-gateway`: the roles gateway and facilitator alone, without anything that sells or signs.
#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "app/compose.h"
#include "app/version.h"

namespace pontage::app {
namespace {

constexpr std::string_view kUsage =
    "usage: pontage-gateway [serve] [--config FILE] [--role gateway,facilitator]\n"
    "       pontage-gateway --version\n"
    "Serves what `pontage serve` does in these roles, until SIGTERM; everything else is "
    "`pontage`.\n";

struct Arguments {
  std::string config = "pontage.toml";
  std::vector<std::string> roles;
  bool bad = false;
  bool help = false;
  bool version = false;
};

std::vector<std::string> Split(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    out.emplace_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return out;
}

Arguments Read(const std::vector<std::string_view>& words) {
  Arguments out;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    const bool more = i + 1 < words.size();
    if (word == "serve" && i == 0) continue;
    if (word == "--config" && more) {
      out.config = words[++i];
    } else if (word == "--role" && more) {
      for (std::string& role : Split(words[++i])) out.roles.push_back(std::move(role));
    } else {
      out.help = out.help || word == "--help" || word == "-h";
      out.version = out.version || word == "--version";
      out.bad = out.bad || !(out.help || out.version);
    }
  }
  return out;
}

int Complain(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  return 1;
}

// What the configuration has keys for, of what there is here.
Result<std::vector<std::string>> RolesOf(const Arguments& given) {
  if (!given.roles.empty()) return given.roles;
  const auto config = LoadConfig(given.config, ConfigSources::System(),
                                 {.secrets = true, .roles = {"gateway", "facilitator"}});
  // Serve says what is wrong with it.
  std::vector<std::string> roles = config ? config->Roles() : std::vector<std::string>{"gateway"};
  std::erase_if(roles,
                [](const std::string& role) { return role != "gateway" && role != "facilitator"; });
  if (roles.empty()) {
    return Fail(Error(Code::kConfig, given.config + " has neither routes nor a facilitator")
                    .Want("a [[route]], or `pontage serve`"));
  }
  return roles;
}

int Main(const Arguments& given) {
  if (given.bad) {
    Complain(kUsage);
    return 2;
  }
  if (given.help || given.version) {
    const std::string version = "pontage-gateway " + std::string(kVersion) + "\n";
    std::fputs((given.help ? std::string(kUsage) : version).c_str(), stdout);
    return 0;
  }
  const Result<std::vector<std::string>> roles = RolesOf(given);
  const Result<> served = roles ? Serve(given.config, *roles, {}) : std::unexpected(roles.error());
  if (served) return 0;
  const Error& why = served.error();
  const std::string wanted = why.expected().empty() ? "" : "\n  expected: " + why.expected();
  return Complain("pontage-gateway: " + why.detail() + wanted + "\n");
}

}  // namespace
}  // namespace pontage::app

int main(int argc, char** argv) {
  return pontage::app::Main(pontage::app::Read({argv + 1, argv + argc}));
}
