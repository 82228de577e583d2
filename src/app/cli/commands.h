#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/cli/terminal.h"

// One function for each subcommand: does it, prints, and gives the exit code. Each lies in a file
// of its name; cli.cc fills the options in.
namespace pontage::app {

int ConfigCheck(const CommonOptions& common);
int ConfigPrint(const CommonOptions& common);
// Hidden: prints docs/reference/config.md.
int ConfigReference();
// Hidden: prints docs/reference/errors.md.
int ErrorsReference();

struct InitOptions {
  std::string dir = ".";
};
int Init(const CommonOptions& common, const InitOptions& options);

struct PaymentsOptions {
  std::string since;  // RFC 3339, or a duration back from now
  std::string state;
  std::string payer;
  std::string route;
  std::string transaction;
  int64_t limit = 50;
};
int Payments(const CommonOptions& common, const PaymentsOptions& options);

struct ExplainOptions {
  std::string name;
};
int Explain(const CommonOptions& common, const ExplainOptions& options);
// Whether it is for this one: a license's id, or a text like a license.
bool NamesLicense(const std::string& name);
int ExplainLicense(const CommonOptions& common, const Config& config, const std::string& name);

struct LicenseOptions {
  std::string plan;
  std::string customer;
  std::string email;
  int64_t days = 0;  // 0: the plan's, else 30
};
int LicenseIssue(const CommonOptions& common, const LicenseOptions& options);
struct LicenseNameOptions {
  std::string name;  // its id, or the license itself
  std::string reason;
  std::string overlap;  // of a reissue: "24h" that the text before stays good for
};
int LicenseShow(const CommonOptions& common, const LicenseNameOptions& options);
int LicenseVerify(const CommonOptions& common, const LicenseNameOptions& options);
int LicenseRevoke(const CommonOptions& common, const LicenseNameOptions& options);
struct RotateOptions {
  std::string after;         // "10m"; empty: as long as every gateway needs
  bool compromised = false;  // the key became known to others
};
int LicenseRotate(const CommonOptions& common, const RotateOptions& options);
int LicenseReissue(const CommonOptions& common, const LicenseNameOptions& options);

struct StripeSetupOptions {
  bool dry_run = false;
  std::string secret_file;  // where the new endpoint's secret goes; empty: printed
};
int StripeSetup(const CommonOptions& common, const StripeSetupOptions& options);

int Reconcile(const CommonOptions& common);

struct MigrateOptions {
  std::string from;
  std::string to;
};
int MigrateStore(const CommonOptions& common, const MigrateOptions& options);

int Doctor(const CommonOptions& common);

struct SandboxOptions {
  int64_t port = 8545;
  int64_t stripe_port = 0;
  int64_t mail_port = 0;
  std::string block_time;  // a duration; empty: a block for each transaction
  int64_t chain_id = 84532;
};
int Sandbox(const CommonOptions& common, const SandboxOptions& options);

struct PayOptions {
  std::string url;
  std::string method;  // empty: GET, or POST with data
  std::string data;    // "@path" reads a file, "@-" standard input
  std::vector<std::string> headers;
  std::string max = "1";
  std::string key;
  std::vector<std::string> networks;
  std::vector<std::string> assets;
  std::vector<std::string> hosts;
  std::string rpc;   // looks for the payment on this chain
  std::string book;  // where signed payments are kept; "none": nowhere
  std::string timeout = "120s";
  std::string output;
  bool dry_run = false;
};
int Pay(const CommonOptions& common, const PayOptions& options);

struct ServeOptions {
  std::string roles;  // comma-separated; empty: all that the file has keys for
};
int ServeRoles(const CommonOptions& common, const ServeOptions& options);

struct DemoOptions {
  int64_t port = 8402;
  bool once = false;
};
int RunDemo(const CommonOptions& common, const DemoOptions& options);

}  // namespace pontage::app
