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
    sub->add_option_function<std::string>(
           "--config",
           [this](const std::string& path) {
             common.config = path;
             common.config_given = true;
           },
           "The configuration")
        ->default_str(common.config)
        ->type_name("PATH");
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
  LicenseOptions license;
  LicenseNameOptions license_name;
  RotateOptions rotate;
  StripeSetupOptions stripe_setup;
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
  CLI::App* serve =
      p.Add(p.app, "serve", "Serve until SIGTERM; SIGHUP reads the configuration again");
  serve->add_option("--role", p.serve.roles,
                    "gateway, facilitator, sales, console, by commas; all the file has keys for");
  p.Runs(serve, p.serve, &ServeRoles);
  CLI::App* demo =
      p.Add(p.app, "demo", "Gateway, facilitator, chain and a sample upstream, offline");
  demo->add_option("--port", p.demo.port, "Of the gateway; 0 picks one")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  demo->add_flag("--once", p.demo.once, "End after one paid call");
  p.Runs(demo, p.demo, &RunDemo);
  CLI::App* sandbox =
      p.Add(p.app, "sandbox", "An EVM chain, Stripe's double and a mailbox, offline");
  sandbox->add_option("--port", p.sandbox.port, "Of its JSON-RPC; 0 picks one")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  sandbox->add_option("--mail-port", p.sandbox.mail_port, "Of the mailbox; 0 picks one")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  sandbox->add_option("--stripe-port", p.sandbox.stripe_port, "Of Stripe's double; 0 picks one")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  sandbox->add_option("--block-time", p.sandbox.block_time,
                      "How often there is a block, \"1s\"; else one for each transaction");
  sandbox->add_option("--chain-id", p.sandbox.chain_id, "Its number")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  p.Runs(sandbox, p.sandbox, &Sandbox);
}

void AddRotate(Program& p, CLI::App& license) {
  CLI::App* rotate =
      p.Add(license, "rotate", "Another key signs; licenses of the one before stay good");
  rotate->add_option("--after", p.rotate.after,
                     "When it begins to sign: once every gateway has heard of it, \"10m\"");
  rotate->add_flag("--compromised", p.rotate.compromised,
                   "Somebody has the key: it counts no more, everybody gets a new license by mail");
  p.Runs(rotate, p.rotate, &LicenseRotate);
}

void AddLicense(Program& p) {
  CLI::App* license = p.app.add_subcommand("license", "Issue, look at and end licenses");
  license->require_subcommand(1);
  CLI::App* issue = p.Add(*license, "issue", "A license for a plan, as if it had been bought");
  issue->add_option("--plan", p.license.plan, "A [[plan]] of the configuration")->required();
  issue->add_option("--customer", p.license.customer, "Whose it is, \"cus_…\" or your own name")
      ->required();
  issue->add_option("--email", p.license.email, "Where its customer is found by");
  issue->add_option("--days", p.license.days, "Its term; else the plan's, else 30")
      ->check(CLI::Range(1, 36'500));
  p.Runs(issue, p.license, &LicenseIssue);
  const auto named = [&p, license](const char* name, const char* what,
                                   int (*run)(const CommonOptions&, const LicenseNameOptions&)) {
    CLI::App* sub = p.Add(*license, name, what);
    sub->add_option("license", p.license_name.name, "The license, or its id")->required();
    p.Runs(sub, p.license_name, run);
    return sub;
  };
  named("show", "What the books say of one", &LicenseShow);
  named("verify", "What a license says by itself, offline", &LicenseVerify);
  CLI::App* revoke = named("revoke", "End one; gateways hear of it", &LicenseRevoke);
  CLI::App* reissue = named("reissue", "A new text for one; the old text ends", &LicenseReissue);
  for (CLI::App* sub : {revoke, reissue}) {
    sub->add_option("--reason", p.license_name.reason, "For the books");
  }
  reissue->add_option("--overlap", p.license_name.overlap,
                      "How long the old text stays good beside it, \"24h\"; else it ends at once");
  AddRotate(p, *license);
}

void AddStripe(Program& p) {
  CLI::App* stripe = p.app.add_subcommand("stripe", "What the card rail needs at Stripe");
  stripe->require_subcommand(1);
  CLI::App* setup = p.Add(*stripe, "setup",
                          "Products, prices, portal and webhook endpoint, where they are missing");
  setup->add_flag("--dry-run", p.stripe_setup.dry_run, "Show what would be made, exit 10");
  setup->add_option("--secret-file", p.stripe_setup.secret_file,
                    "Write a new endpoint's signing secret there (0600) instead of printing it");
  p.Runs(setup, p.stripe_setup, &StripeSetup);
}

void AddPay(Program& p) {
  CLI::App* pay = p.Add(p.app, "pay", "Buy a resource like an agent does");
  PayOptions& o = p.pay;
  pay->add_option("url", o.url, "What to buy")->required();
  pay->add_option("-X,--method", o.method, "GET, or POST with --data");
  pay->add_option("-d,--data", o.data, "Body; @FILE reads one, @- standard input");
  pay->add_option("-H,--header", o.headers, "\"Name: value\"; may be repeated")->expected(1);
  pay->add_option("--max", o.max, "Most dollars for this call")->capture_default_str();
  pay->add_option("--key", o.key, "env:NAME or file:PATH; else PONTAGE_BUYER_KEY");
  pay->add_option("--network", o.networks, "Pay only on this network; may be repeated")
      ->expected(1);
  pay->add_option("--asset", o.assets, "Pay only with this token; may be repeated")->expected(1);
  pay->add_option("--host", o.hosts, "Pay only this host; may be repeated")->expected(1);
  pay->add_option("--verify-receipt", o.rpc, "JSON-RPC URL: look for the payment on the chain");
  pay->add_option("--book", o.book, "Where signed payments are kept, or \"none\"");
  pay->add_option("--timeout", o.timeout, "How long it may take in all")->capture_default_str();
  pay->add_option("-o,--output", o.output, "Write the body to this file");
  pay->add_flag("--dry-run", o.dry_run, "Show the price, sign nothing, exit 10");
  p.Runs(pay, o, &Pay);
}

void AddBooks(Program& p) {
  CLI::App* payments = p.Add(p.app, "payments", "List payments, the newest first");
  PaymentsOptions& o = p.payments;
  payments->add_option("--since", o.since, "\"24h\" or \"2026-11-21T10:00:00Z\"");
  payments->add_option("--state", o.state, "held, settled, voided, expired or in_doubt");
  payments->add_option("--payer", o.payer, "Address");
  payments->add_option("--route", o.route, "As the configuration has it");
  payments->add_option("--tx", o.transaction, "Transaction hash");
  payments->add_option("--limit", o.limit, "At most so many")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  p.Runs(payments, o, &Payments);
  CLI::App* explain = p.Add(p.app, "explain", "The whole history of one payment or license");
  explain
      ->add_option("name", p.explain.name,
                   "Payment id, request id, transaction hash, or a license or its id")
      ->required();
  p.Runs(explain, p.explain, &Explain);
  CLI::App* migrate = p.Add(p.app, "migrate", "Bring the store up to date, or copy it to another");
  migrate->add_option("--from", p.migrate.from, "Store to copy, sqlite:… or postgresql://…");
  migrate->add_option("--to", p.migrate.to, "Where to");
  p.Runs(migrate, p.migrate, &MigrateStore);
  p.Runs(p.Add(p.app, "doctor", "Check the world around the configuration"), &Doctor);
  p.Runs(p.Add(p.app, "reconcile", "Compare the books with Stripe's, and mend ours"), &Reconcile);
}

void AddCommands(Program& p) {
  AddStart(p);
  AddPay(p);
  AddLicense(p);
  AddStripe(p);
  AddBooks(p);
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
  const auto named = [&](const CLI::App* sub) { return sub->get_name() == argv[1]; };
  if (argc >= 2 && argv[1][0] != '-' && app.get_subcommands(named).empty()) {
    Complain("pontage: no command \"" + std::string(argv[1]) + "\"; `pontage --help` lists them");
    return kUsageError;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are "errors" with code 0; everything else is the caller's slip.
    return app.exit(error) == 0 ? kDone : kUsageError;
  }
  return program->chosen ? program->chosen() : kUsageError;
}

}  // namespace pontage::app
