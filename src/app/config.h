#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/money.h"
#include "base/secret.h"
#include "base/time.h"
#include "chain/chain_id.h"
#include "chain/registry.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "crypto/jwt.h"

// pontage.toml as values. Everything that can be judged without asking anybody is judged here:
// unknown keys, types, ranges, spellings, references from one part to another, secrets that are
// missing. What a route's `match` means is the catalog's; `line` says where to send the reader when
// it finds a fault. The keys, their defaults and meanings stand in one table (config_keys.h), which
// docs/reference/config.md is printed from.
namespace pontage::app {

// One thing wrong with the file. Text() is one line:
//   pontage.toml:12: route.price: found "$0.0000001", expected an exact amount of dollars, …
struct ConfigFault {
  std::string file;
  int line = 0;  // 0: not at one place of the file
  std::string key;
  std::string found;
  std::string expected;
  std::string Text() const;
};

struct TlsConfig {
  std::string cert;  // paths, relative ones made absolute against the file's directory
  std::string key;
  int cert_line = 0;
  int key_line = 0;
};

struct ServerConfig {
  std::vector<std::string> listen{"127.0.0.1:8402"};
  std::optional<TlsConfig> tls;
  std::string public_url;  // without a slash at the end; empty: http(s):// and the first listener
  std::vector<std::string> trusted_proxies;  // CIDR
  std::string metrics_listen;                // empty: none
  size_t threads = 0;                        // 0: one for each core
  LogLevel log_level = LogLevel::kInfo;
  Millis drain_timeout{30'000};  // how long running exchanges may take after SIGTERM
};

struct StoreConfig {
  std::string url = "sqlite:pontage.db";  // may hold a password: show it with RedactUrl
  // The SQLite file that `url` may have been before it named a server: the file's store.url when
  // DATABASE_URL overrides it, else the default one.
  std::string file_url = "sqlite:pontage.db";
};

struct PayTo {
  chain::ChainId network;
  std::string address;  // EVM: with checksum
  int line = 0;
};

struct X402Config {
  std::vector<int> versions{2, 1};
  bool local_facilitator = true;
  std::vector<std::string> facilitator_urls;  // when not local, in the order they are tried
  Secret facilitator_token;                   // Bearer towards them; empty: none
  bool check_receipts = false;
  std::vector<PayTo> pay_to;
  Millis max_timeout{300'000};  // how long a payment is good: maxTimeoutSeconds of offers
  size_t hold_max = 1u << 20;   // bytes of an answer held until settlement
  Millis settle_timeout{30'000};
};

struct FacilitatorConfig {
  bool present = false;  // the section is there
  std::vector<Secret> tokens;
};

struct ChainConfig {
  chain::ChainId network;
  std::vector<std::string> rpc;
  uint64_t confirmations = 1;
  // Answers about payments worth this or more are taken only when two of `rpc` agree.
  std::optional<Money> quorum_above;
  std::vector<Secret> signers;
  bool has_signer = false;
  size_t batch = 50;  // payments in one transaction; 1: no batches
  uint64_t gas_cap = 500'000;
  codec::Uint256 max_fee_per_gas{1'000'000'000'000};          // wei
  std::optional<codec::Uint256> gas_per_hour = std::nullopt;  // wei, of each signer
  std::vector<chain::EvmAsset> assets;  // added to, or replacing, the known ones
  int line = 0;
};

struct UpstreamConfig {
  std::string name;
  std::vector<std::string> urls;  // at least one; the first that is up is asked
  std::vector<std::pair<std::string, Secret>> headers;
  bool trusted_overrides = false;  // its Settlement-Overrides count
  std::string ca;                  // a path as in TlsConfig; empty: the system's authorities alone
  int ca_line = 0;
  Millis connect_timeout{5'000};
  Millis answer_timeout{60'000};  // from the request to the head of the answer
  size_t max_in_flight = 0;       // 0: no limit
  size_t max_waiting = 100;       // beyond max_in_flight
  Millis wait_timeout{1'000};
  size_t max_connect_failures = 5;  // in a row, until a URL counts as down; 0: never
  size_t max_errors = 0;            // the same, of answers of 500 and above, and of none
  Millis down_for{500};
  int line = 0;
};

// "100/day": `count` for each `window`.
struct Allowance {
  uint64_t count = 0;
  Millis window{0};
  std::string text;
};

enum class SettleWhen : uint8_t { kAfter, kBefore };
enum class Replay : uint8_t { kRefuse, kAnswer };

struct RouteConfig {
  std::string match;     // as written
  std::string upstream;  // empty: none, only /forward-auth answers for it
  bool free = false;
  Money price;  // zero when free
  std::string product;
  std::string scheme = "exact";
  std::vector<chain::ChainId> networks;  // empty: all of pay_to
  std::vector<int> versions;             // empty: those of [x402]
  std::string transfer = "eip3009";
  bool gas_sponsoring = false;
  SettleWhen settle = SettleWhen::kAfter;
  std::string charge;
  std::vector<std::string> plans;
  std::optional<Allowance> free_quota;
  std::optional<Allowance> rate;
  Replay replay = Replay::kRefuse;
  std::string description;  // what offers say this is
  std::string mime_type;
  std::optional<size_t> hold_max;
  std::optional<Millis> answer_timeout;
  int line = 0;
};

// ---- Parts of later versions: read, checked for their form and kept.

struct McpConfig {
  std::string path;
  std::string upstream;
  std::vector<std::string> builtin;
  std::string default_price = "deny";
  std::vector<std::pair<std::string, std::string>> tools;
  int line = 0;
};
struct ProductConfig {
  std::string name;
  std::string price;
  std::string description;
  std::string format;  // of licenses for it; empty: that of [license]
  int line = 0;
};
struct PlanConfig {
  std::string name;
  std::vector<std::string> products;
  std::string tier;
  std::string price;
  std::string stripe_price;
  std::string format;  // of its licenses; empty: its products', else that of [license]
  int64_t days = 0;
  int64_t trial_days = 0;
  std::vector<std::pair<std::string, int64_t>> limits;
  int line = 0;
};
struct LicenseConfig {
  bool present = false;
  std::string issuer;
  std::string format = "jwt";
  std::vector<Secret> fernet_keys;
  bool allow_shared_key = false;
  Secret signing_key;
  std::string signing_key_file;  // where it lies; empty: not in a file
  // What a process that issues nothing has kept of a signing key that it was given.
  std::vector<crypto::Jwk> public_half;
  std::string jwks;  // "file:…" or a URL
  std::string feed;
  Millis max_stale{86'400'000};  // how long an issuer may not be heard
  std::string when_stale = "allow";
  int64_t grace_days = 3;
  std::string delivery = "text";  // or "claim"
};
struct StripeConfig {
  bool present = false;
  Secret api_key;
  std::vector<Secret> webhook_secrets;
  std::string api_base = "https://api.stripe.com";
};
struct ConsoleKeyConfig {
  std::string name;
  Secret key;
  std::vector<std::string> scopes;
  int line = 0;
};
struct ConsoleConfig {
  bool present = false;
  Secret operator_key;
  Secret session_key;
  int64_t refunds_per_day = 20;
  Money refund_limit = Money::Micros(1'000'000'000);
  std::string sales_store;   // empty: store.url
  std::string ledger_store;  // the same
  std::vector<ConsoleKeyConfig> keys;
};
struct TierConfig {
  std::string name;
  std::string price;
  std::vector<std::pair<std::string, int64_t>> limits;
  std::vector<std::string> chains;
  int line = 0;
};
struct MailConfig {
  bool present = false;
  std::string provider;
  Secret api_key;
  std::string api_base = "https://api.resend.com";
  std::vector<Secret> webhook_secrets;
  std::string from;
  std::string host;
  uint16_t port = 0;
  std::string user;
  Secret password;
  bool receipts = true;
};

// A secret that the file names and that is not there, in a section that does without.
struct MissingSecret {
  std::string key;    // "mail.api_key"
  std::string found;  // "env:NAME, which is not set"
};

struct Config {
  std::string file;
  ServerConfig server;
  StoreConfig store;
  X402Config x402;
  FacilitatorConfig facilitator;
  std::vector<ChainConfig> chains;
  std::vector<UpstreamConfig> upstreams;
  std::vector<RouteConfig> routes;
  std::vector<McpConfig> mcps;
  std::vector<ProductConfig> products;
  std::vector<PlanConfig> plans;
  LicenseConfig license;
  StripeConfig stripe;
  ConsoleConfig console;
  std::vector<TierConfig> tiers;
  MailConfig mail;

  // What a reader should know though it stops nothing: parts this version does not act on.
  std::vector<std::string> warnings;
  std::vector<MissingSecret> missing;

  // What `missing` says of `key`, several with commas between; "" when it says nothing.
  std::string MissingAt(std::string_view key) const;
  // nullptr when there is none.
  const ChainConfig* ChainOf(const chain::ChainId& network) const;
  const UpstreamConfig* UpstreamOf(std::string_view name) const;
  const PayTo* PayToOf(const chain::ChainId& network) const;
  // Whether the plan's licenses are Fernet's: by its own word, else its products', else
  // [license]'s.
  bool IsFernet(const PlanConfig& plan) const;
  // The known assets and those of the [chain] tables, which come first on their chain.
  chain::AssetRegistry Assets() const;
  // Roles with keys in this file: "gateway" with routes, "facilitator" when one is local or
  // [facilitator] is there, "sales" with a key that makes licenses, "console" with [console].
  std::vector<std::string> Roles() const;
};

// Where the file's text, other files and the environment come from; tests give their own.
struct ConfigSources {
  std::function<std::optional<std::string>(const std::string& name)> environment;
  // The whole file, at most kMaxConfigBytes; kNotFound when there is none.
  std::function<Result<std::string>(const std::string& path)> read_file;
  static ConfigSources System();
};

// A config of ten thousand routes is about this long; more is not a config.
inline constexpr size_t kMaxConfigBytes = 4u << 20;

struct ConfigOptions {
  // False for commands that need no wallet (payments, explain, license): what env: and file: name
  // may then be missing, and the secrets stay empty. URLs named by env: are always looked up.
  bool secrets = true;
  // The roles that will run with it; none: all. A secret that none of them needs (of [stripe] and
  // [mail] without `sales`, of [console] without `console`) is not read, and stays empty.
  std::vector<std::string> roles = {};
};

// Reads and judges the file. All faults are found at once, in the order of the file.
std::expected<Config, std::vector<ConfigFault>> LoadConfig(
    const std::string& path, const ConfigSources& sources = ConfigSources::System(),
    const ConfigOptions& options = {});
// The same from a text; `path` is what faults name and relative paths start from.
std::expected<Config, std::vector<ConfigFault>> ParseConfig(
    std::string_view text, const std::string& path,
    const ConfigSources& sources = ConfigSources::System(), const ConfigOptions& options = {});

// The effective configuration as TOML, secrets as "[set]" or "[missing]", passwords in URLs hidden.
std::string PrintConfig(const Config& config);

// "0.05 ether", "20 gwei", "7 wei" or "7", exact. nullopt for anything else.
std::optional<codec::Uint256> ParseWei(std::string_view text);
// In the largest of these units that gives a whole number.
std::string WeiText(const codec::Uint256& wei);

// "postgresql://user:[set]@host/db": a URL fit to be shown.
std::string RedactUrl(std::string_view url);

}  // namespace pontage::app
