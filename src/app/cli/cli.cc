#include "app/cli/cli.h"

#include <memory>

#include <CLI/CLI.hpp>

#include "app/cli/commands.h"
#include "app/version.h"

// The only file that knows the argument parser. A command of a later version is not here at all: it
// is a usage error, not an apology.
namespace pontage::app {
namespace {

struct Program {
  CLI::App app{"Pontage: an x402 paywall gateway and facilitator"};
  CommonOptions common;
  std::function<int()> chosen;

  // A subcommand with what all of them take.
  CLI::App* Add(CLI::App& parent, const std::string& name, const std::string& what) {
    CLI::App* sub = parent.add_subcommand(name, what);
    sub->add_option("--config", common.config, "The configuration")->capture_default_str();
    sub->add_flag("--json", common.json, "JSON also on a terminal");
    return sub;
  }
  // `options` lives as long as the program.
  template <typename Options>
  void Runs(CLI::App* sub, Options& options, int (*run)(const CommonOptions&, const Options&)) {
    sub->callback(
        [this, &options, run] { chosen = [this, &options, run] { return run(common, options); }; });
  }
  void Runs(CLI::App* sub, int (*run)(const CommonOptions&)) {
    sub->callback([this, run] { chosen = [this, run] { return run(common); }; });
  }
  void Runs(CLI::App* sub, int (*run)()) {
    sub->callback([this, run] { chosen = run; });
  }

  InitOptions init;
  PaymentsOptions payments;
  ExplainOptions explain;
  MigrateOptions migrate;
  SandboxOptions sandbox;
  PayOptions pay;
  ServeOptions serve;
  DemoOptions demo;
};

void AddConfig(Program& p) {
  CLI::App* config = p.app.add_subcommand("config", "Judge or show the configuration");
  config->require_subcommand(1);
  p.Runs(p.Add(*config, "check", "Name every fault of the file; exit 1 if there is one"),
         &ConfigCheck);
  p.Runs(p.Add(*config, "print", "Show what takes effect, without secrets"), &ConfigPrint);
  CLI::App* reference = config->add_subcommand("reference", "docs/reference/config.md");
  reference->group("");
  p.Runs(reference, &ConfigReference);
  CLI::App* errors = p.app.add_subcommand("errors", "docs/reference/errors.md");
  errors->group("");
  p.Runs(errors, &ErrorsReference);
}

void AddStart(Program& p) {
  CLI::App* init = p.Add(p.app, "init", "Write a commented pontage.toml and fresh keys");
  init->add_option("--dir", p.init.dir, "Where to")->capture_default_str();
  p.Runs(init, p.init, &Init);
}

void AddCommands(Program& p) {
  AddStart(p);
  AddConfig(p);
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv) {
  const auto program = std::make_unique<Program>();
  CLI::App& app = program->app;
  app.name("pontage");
  app.set_version_flag("--version", "pontage " + std::string(kVersion));
  app.require_subcommand(1);
  AddCommands(*program);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are "errors" with code 0; everything else is the caller's slip.
    return app.exit(error) == 0 ? kDone : kUsageError;
  }
  return program->chosen ? program->chosen() : kUsageError;
}

}  // namespace pontage::app
