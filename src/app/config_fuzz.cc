#include <algorithm>
#include <map>
#include <string>

#include "app/config.h"
#include "base/check.h"
#include "testing/fuzz.h"

// A file is either taken, and what it amounts to reads as the same again, or it is refused with
// faults that each say in one line where, what was found and what was expected. Neither way does
// anything show a secret, and nothing is taken without a look: whoever pays gas or is paid is
// named.
namespace pontage::app {
namespace {

using Names = std::map<std::string, std::string>;

const char* const kKey = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const char* const kToken = "quite-a-secret-token-of-somebody";
const char* const kPath = "the-key-in-the-path";

ConfigSources Sources() {
  static const Names environment = {{"EVM_KEY", kKey},
                                    {"PAY_TO", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"},
                                    {"FACILITATOR_TOKEN", kToken},
                                    {"UPSTREAM_KEY", kToken},
                                    {"RPC_URL", std::string("https://rpc.example.org/") + kPath}};
  return {.environment = [](const std::string& name) -> std::optional<std::string> {
            const auto it = environment.find(name);
            return it == environment.end() ? std::nullopt : std::optional(it->second);
          },
          .read_file = [](const std::string& path) -> Result<std::string> {
            if (path == "evm.key") return std::string(kKey) + "\n";
            return Fail(Code::kNotFound, "cannot open " + path);
          }};
}

void CheckKeepsSecrets(std::string_view text) {
  for (const char* const secret : {kKey, kToken, kPath}) PTG_CHECK(!text.contains(secret));
}

void Replace(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// What is printed holds places for secrets; with something in them it is a file. Its comments are
// about the file that it came from.
std::string AsFile(std::string_view printed) {
  std::string text;
  while (!printed.empty()) {
    const std::string_view line = printed.substr(0, printed.find('\n'));
    printed.remove_prefix(std::min(printed.size(), line.size() + 1));
    if (!line.starts_with('#') && !line.empty()) text.append(line) += '\n';
  }
  Replace(text, "\"[set]\"", "\"env:EVM_KEY\"");
  Replace(text, "[set]", "set");
  return text;
}

void CheckFaults(std::string_view input, const std::vector<ConfigFault>& faults) {
  PTG_CHECK(!faults.empty());
  const int64_t lines = 1 + std::ranges::count(input, '\n');
  for (const ConfigFault& fault : faults) {
    PTG_CHECK(fault.line >= 0 && fault.line <= lines);
    PTG_CHECK(!fault.expected.empty());
    const std::string text = fault.Text();
    PTG_CHECK(text.starts_with("pontage.toml") && !text.contains('\n'));
    CheckKeepsSecrets(text);
  }
}

}  // namespace

FUZZ_TARGET(config) {
  for (const char* const secret : {kKey, kToken, kPath}) {
    if (input.contains(secret)) return;  // no secret of ours then
  }
  const ConfigSources sources = Sources();
  const auto config = ParseConfig(input, "pontage.toml", sources);
  if (!config) {
    CheckFaults(input, config.error());
    return;
  }
  const std::string printed = PrintConfig(*config);
  CheckKeepsSecrets(printed);
  for (const std::string& warning : config->warnings) {
    PTG_CHECK(!warning.contains('\n'));
    CheckKeepsSecrets(warning);
  }

  for (const RouteConfig& route : config->routes) {
    // What costs something has somebody to be paid; what has an upstream has one that is there.
    PTG_CHECK(route.free || route.price > Money::Zero());
    PTG_CHECK(route.upstream.empty() || config->UpstreamOf(route.upstream) != nullptr);
  }
  const auto again = ParseConfig(AsFile(printed), "pontage.toml", sources);
  PTG_CHECK(again.has_value());
  PTG_CHECK(AsFile(PrintConfig(*again)) == AsFile(printed));
}

}  // namespace pontage::app
