#include "app/config_keys.h"

#include <algorithm>
#include <array>

namespace pontage::app {
namespace {

constexpr std::string_view kLater = "later";
using enum KeyType;

// The one list of keys. Order is the order of the reference page.
constexpr std::array kRows = {
    KeyRow{"server", kTable, "", "Where Pontage listens."},
    KeyRow{"server.listen", kStringOrList, "\"127.0.0.1:8402\"",
           "Address and port, or a list of them; `[::1]:8402` and `:8402` work too. `PORT` in the "
           "environment means `0.0.0.0:$PORT` instead."},
    KeyRow{"server.public_url", kString, "",
           "What offers say the resource's origin is. Never taken from `Host` or `X-Forwarded-*`; "
           "without it, `http://` (with `tls`, `https://`) and the first listener."},
    KeyRow{"server.trusted_proxies", kStrings, "[]",
           "Networks (`10.0.0.0/8`) whose `Forwarded` and `X-Forwarded-*` are believed."},
    KeyRow{"server.metrics_listen", kString, "",
           "Address of `/metrics`, `/healthz` and `/readyz`; without it there is no `/metrics`."},
    KeyRow{"server.threads", kInt, "0", "Event loops; 0 means one for each core."},
    KeyRow{"server.log_level", kString, "\"info\"", "`debug`, `info`, `warn` or `error`."},
    KeyRow{"server.drain_timeout", kDuration, "\"30s\"",
           "How long running exchanges may take after SIGTERM."},
    KeyRow{"server.tls", kTable, "",
           "TLS on every address of `listen`, with HTTP/2 for clients that ask for it; "
           "`metrics_listen` stays plain."},
    KeyRow{
        "server.tls.cert", kString, "",
        "PEM file with the certificate and the chain above it; read again when it changes and on "
        "SIGHUP."},
    KeyRow{"server.tls.key", kString, "",
           "PEM file with its private key, without a passphrase; read again likewise."},

    KeyRow{"store", kTable, "", "Where the books are kept."},
    KeyRow{"store.url", kString, "\"sqlite:pontage.db\"",
           "`sqlite:` and a path (from the working directory), or `postgresql://…`. `DATABASE_URL` "
           "in the environment overrides it."},

    KeyRow{"x402", kTable, "", "Payments per call."},
    KeyRow{"x402.versions", kInts, "[2, 1]", "Protocol versions offered; a route may narrow it."},
    KeyRow{"x402.facilitator", kStringOrList, "\"local\"",
           "Who verifies and settles: `local`, the URL of somebody's facilitator, or several URLs "
           "that stand in for each other."},
    KeyRow{"x402.facilitator_token", kSecret, "", "Bearer token towards a remote facilitator."},
    KeyRow{"x402.check_receipts", kBool, "false",
           "With a remote facilitator: also look for the Transfer through our own `rpc`."},
    KeyRow{"x402.max_timeout", kDuration, "\"5m\"",
           "How long a payment may be used (`maxTimeoutSeconds` of offers)."},
    KeyRow{"x402.hold_max", kSize, "\"1MiB\"",
           "How much of an answer is held back until its payment has settled; a longer answer "
           "settles first and streams then."},
    KeyRow{"x402.settle_timeout", kDuration, "\"30s\"",
           "How long settling may take once the upstream has answered."},
    KeyRow{"x402.pay_to", kMap, "",
           "Who is paid, by network: the short name or the CAIP-2 id, and an address."},
    KeyRow{"x402.pay_to.*", kString, "", "The address on that network."},

    KeyRow{"facilitator", kTable, "", "Who may use our facilitator over HTTP."},
    KeyRow{"facilitator.tokens", kSecrets, "[]",
           "Bearer tokens. Without any it settles only listed assets paid to a configured "
           "`pay_to`."},

    KeyRow{"chain", kNamedTables, "",
           "How a network is reached. Known networks need only `rpc`; others also `chain_id` and "
           "`assets`."},
    KeyRow{"chain.*", kTable, "", "One network, by its short name or CAIP-2 id."},
    KeyRow{"chain.*.rpc", kStringOrList, "",
           "JSON-RPC URLs (`env:NAME` for one with a key in it). Several: the next stands in when "
           "one fails, answers only errors or stands still; transactions go to all."},
    KeyRow{"chain.*.confirmations", kInt, "1", "Blocks until a transaction counts; 1 to 1000."},
    KeyRow{"chain.*.quorum_above", kMoney, "",
           "From this price on, two of the `rpc` servers must say the same of a payment and its "
           "receipt."},
    KeyRow{"chain.*.signer", kSecrets, "",
           "The key that pays the gas of settlements, 32 bytes in hex; only for the facilitator. "
           "Several share the work, each with its own nonces."},
    KeyRow{"chain.*.batch", kInt, "50",
           "Payments that may share a transaction when they queue up, where Multicall3 is; 1: "
           "none do; at most 100."},
    KeyRow{"chain.*.gas_cap", kInt, "500000",
           "Gas that one payment may take; one that needs more is refused."},
    KeyRow{"chain.*.max_fee_per_gas", kString, "\"1000 gwei\"",
           "What a unit of gas may cost at most: `wei`, `gwei` or `ether`."},
    KeyRow{"chain.*.gas_per_hour", kString, "",
           "What each signer may spend on gas within an hour: `wei`, `gwei` or `ether`. Beyond it "
           "payments hear 503; without it nothing bounds it."},
    KeyRow{"chain.*.chain_id", kInt, "", "The number of an EVM network we do not know by name."},
    KeyRow{"chain.*.assets", kTables, "[]",
           "Tokens beside, or instead of, the known ones. The first is the network's default."},
    KeyRow{"chain.*.assets.address", kString, "", "The token's contract."},
    KeyRow{"chain.*.assets.decimals", kInt, "", "Atomic units per token, as a power of ten."},
    KeyRow{"chain.*.assets.name", kString, "", "`name` of the token's EIP-712 domain."},
    KeyRow{"chain.*.assets.version", kString, "", "`version` of the token's EIP-712 domain."},
    KeyRow{"chain.*.assets.symbol", kString, "", "For people."},

    KeyRow{"upstream", kTables, "", "What stands behind the gate."},
    KeyRow{"upstream.name", kString, "", "What routes call it."},
    KeyRow{"upstream.url", kStringOrList, "",
           "`http://` or `https://`; a path is put before the request's. Of several the first one "
           "that is up is asked."},
    KeyRow{"upstream.ca", kString, "",
           "PEM file with authorities to believe, beside the system's, for an `https://` url."},
    KeyRow{"upstream.headers", kMap, "",
           "Added to each request, the seller's own key for example; `env:NAME` and `file:path` "
           "inside a value are replaced. Never shown to a buyer."},
    KeyRow{"upstream.headers.*", kString, "", "The header's value."},
    KeyRow{"upstream.connect_timeout", kDuration, "\"5s\"", "How long connecting may take."},
    KeyRow{"upstream.answer_timeout", kDuration, "\"60s\"",
           "How long until the head of its answer, from the last bytes of an upload on; also the "
           "longest silence inside a body."},
    KeyRow{"upstream.max_in_flight", kInt, "0",
           "How many requests it works on at once, over all its URLs; 0: no limit."},
    KeyRow{"upstream.max_waiting", kInt, "100",
           "How many more may wait for their turn; the next one is 503, before any payment."},
    KeyRow{"upstream.wait_timeout", kDuration, "\"1s\"", "How long they wait; then 503."},
    KeyRow{
        "upstream.max_connect_failures", kInt, "5",
        "Connects in a row that fail until a URL counts as down; 0: never. With all of them down "
        "requests are 503, before any payment."},
    KeyRow{"upstream.max_errors", kInt, "0",
           "The same for answers of 500 and above, and for answers that never come; 0: never."},
    KeyRow{"upstream.down_for", kDuration, "\"500ms\"",
           "How long it counts as down until one request tries it again."},

    KeyRow{"route", kTables, "", "What is sold."},
    KeyRow{"route.match", kString, "",
           "`[METHOD ]/path`; `*` is one segment or, at the end, the rest. The most specific route "
           "wins."},
    KeyRow{"route.upstream", kString, "",
           "An `upstream.name`; may be left out when there is one. `none`, or left out when there "
           "is none: a route that other proxies ask about at `/forward-auth`."},
    KeyRow{"route.price", kMoney, "",
           "US dollars, exact, at most six decimals; `\"free\"` for free. The product's price when "
           "left out."},
    KeyRow{"route.product", kString, "", "The `product.name` this route belongs to."},
    KeyRow{"route.scheme", kString, "\"exact\"", "`exact`."},
    KeyRow{"route.networks", kStrings, "[]", "Narrows `x402.pay_to`."},
    KeyRow{"route.versions", kInts, "[]", "Narrows `x402.versions`."},
    KeyRow{"route.transfer", kString, "\"eip3009\"", "`eip3009`."},
    KeyRow{"route.gas_sponsoring", kBool, "false", "Only with Permit2, which comes later."},
    KeyRow{"route.settle", kString, "\"after\"",
           "`after` the upstream has answered, or `before` it is asked (streams, expensive work)."},
    KeyRow{"route.charge", kString, "", "Only with the scheme `upto`, which comes later."},
    KeyRow{"route.plans", kStrings, "[]", "Plans whose license passes instead of a payment."},
    KeyRow{
        "route.free", kString, "",
        "`100/day` for each client address cost nothing and are not asked for a payment; counted "
        "from a client's first request, by each process."},
    KeyRow{"route.rate", kString, "",
           "`20/s` for each client address, so many at once at most; no limit without it. Beyond "
           "it: 429, before any payment."},
    KeyRow{"route.replay", kString, "\"refuse\"",
           "A used payment shown again: `refuse`, or `answer` an equal request with the stored "
           "answer."},
    KeyRow{"route.description", kString, "", "What offers say this is; ASCII."},
    KeyRow{"route.mime_type", kString, "", "The type of the answer, for offers."},
    KeyRow{"route.hold_max", kSize, "", "Instead of `x402.hold_max`."},
    KeyRow{"route.answer_timeout", kDuration, "", "Instead of the upstream's."},

    KeyRow{"mcp", kTables, "", "MCP servers, priced by tool.", kLater},
    KeyRow{"mcp.path", kString, "", "Where it is served.", kLater},
    KeyRow{"mcp.upstream", kString, "", "URL of the server behind it.", kLater},
    KeyRow{"mcp.builtin", kStrings, "[]", "Tools of our own instead.", kLater},
    KeyRow{"mcp.default", kString, "\"deny\"", "What an unpriced tool is: `deny`, `free`, a price.",
           kLater},
    KeyRow{"mcp.tools", kMap, "", "Prices by tool.", kLater},
    KeyRow{"mcp.tools.*", kString, "", "The price of that tool.", kLater},

    KeyRow{"product", kTables, "", "One thing sold under one price. Routes take theirs from it."},
    KeyRow{"product.name", kString, "", "What routes and plans call it."},
    KeyRow{"product.price", kMoney, "", "Per call."},
    KeyRow{"product.description", kString, "",
           "For the price list and, without their own, routes."},
    KeyRow{"product.format", kString, "",
           "`jwt` or `fernet`, of licenses for it, instead of `license.format`."},

    KeyRow{"plan", kTables, "", "What a license is sold as."},
    KeyRow{"plan.name", kString, "", "What routes call it."},
    KeyRow{"plan.product", kStringOrList, "[]", "What its license opens."},
    KeyRow{"plan.tier", kString, "", "The tier of its limits."},
    KeyRow{"plan.price", kString, "", "`$29/month`, `$290/year`, or a price without a period."},
    KeyRow{"plan.stripe_price", kString, "",
           "The price's id at Stripe; without it the price with the plan's name as lookup key."},
    KeyRow{"plan.format", kString, "", "`jwt` or `fernet`, instead of the product's."},
    KeyRow{"plan.days", kInt, "0", "Term of a one-off purchase."},
    KeyRow{"plan.trial_days", kInt, "0",
           "Days before the first charge, for a buyer's first license of the plan."},
    KeyRow{"plan.limits", kMap, "",
           "What a license may do: `monthly` calls of a calendar month, `rpm` of a minute, UTC."},
    KeyRow{"plan.limits.*", kInt, "", "-1: unlimited."},

    KeyRow{
        "license", kTable, "",
        "Signed licenses: who has one for a plan of a route passes without paying for the call."},
    KeyRow{"license.issuer", kString, "", "Their `iss`."},
    KeyRow{"license.format", kString, "\"jwt\"", "`jwt` or `fernet`, for plans that do not say."},
    KeyRow{"license.fernet_keys", kSecrets, "[]",
           "Keys of the format `fernet`: the first makes licenses, all check them. Whoever has one "
           "can forge."},
    KeyRow{"license.allow_shared_key", kBool, "false", "Lets roles apart share a Fernet key."},
    KeyRow{"license.signing_key", kSecret, "", "Ed25519, PEM; only for sales."},
    KeyRow{"license.jwks", kString, "",
           "Public keys: `file:path`, or the URL of an issuer's `/.well-known/jwks.json`, of which "
           "a copy "
           "stays in the store."},
    KeyRow{
        "license.feed", kString, "",
        "URL of an issuer's `/v1/entitlements` who lives apart from this gateway; without it the "
        "issuer shares the store."},
    KeyRow{
        "license.max_stale", kDuration, "\"24h\"",
        "How long the issuer may not be heard before `when_stale` says what becomes of licenses."},
    KeyRow{
        "license.when_stale", kString, "\"allow\"",
        "`allow`: what is known of licenses stands; `deny`: they are 503 until he is heard again."},
    KeyRow{"license.grace_days", kInt, "3", "How long a license outlives what was paid for."},
    KeyRow{"license.delivery", kString, "\"text\"",
           "`text`: page and mail hold the license; `claim`: a link that shows it once."},

    KeyRow{
        "stripe", kTable, "",
        "The card rail: checkout, webhooks and what follows from them. Its secrets are read where "
        "the role `sales` runs."},
    KeyRow{"stripe.api_key", kSecret, "", "Secret key; without it nothing is sold by card."},
    KeyRow{"stripe.webhook_secret", kSecrets, "[]",
           "Signing secrets of the endpoint `/webhooks/stripe`; several while one is rolled."},
    KeyRow{"stripe.api_base", kString, "\"https://api.stripe.com\"", "Where Stripe is."},

    KeyRow{"console", kTable, "",
           "The operator's pages and API, `/admin`. Its secrets are read where the role `console` "
           "runs."},
    KeyRow{
        "console.operator_key", kSecret, "",
        "Login of `/admin`, and the `X-Admin-Key` of `/admin/v1`; it may do everything. At least "
        "16 characters, else nothing starts."},
    KeyRow{"console.session_key", kSecret, "",
           "What sessions of the pages are kept with; another one ends them. Without one a restart "
           "does."},
    KeyRow{"console.refunds_per_day", kInt, "20", "Refunds that may be ordered within 24 hours."},
    KeyRow{
        "console.refund_limit", kMoney, "\"$1000\"",
        "What may be given back within 24 hours, in dollars and as many of every other currency; "
        "`$0`: whatever."},
    KeyRow{"console.sales_store", kString, "",
           "The store of the role `sales`, where it is not `store.url`."},
    KeyRow{"console.ledger_store", kString, "",
           "The store of the gateways, where it is not `store.url`."},
    KeyRow{"console.key", kTables, "", "A key that may do less."},
    KeyRow{"console.key.name", kString, "", "What the audit calls it, as `key:NAME`."},
    KeyRow{"console.key.key", kSecret, "", "As `operator_key`."},
    KeyRow{"console.key.scopes", kStrings, "[\"read\"]",
           "`read`; `support`: reissue, extend, re-run an event, retry a mail; `refund`; `owner`: "
           "everything. Each but `read` reads, too."},

    KeyRow{"tier", kTables, "", "Tenants' limits.", kLater},
    KeyRow{"tier.name", kString, "", "What plans call it.", kLater},
    KeyRow{"tier.price", kString, "", "`$99/month`.", kLater},
    KeyRow{"tier.limits", kMap, "", "`verifications`, `rpm`, `rph`.", kLater},
    KeyRow{"tier.limits.*", kInt, "", "-1: unlimited.", kLater},
    KeyRow{"tier.chains", kStrings, "[]", "Networks it includes.", kLater},

    KeyRow{"mail", kTable, "",
           "How licenses are mailed. Its secrets are read where the role `sales` runs."},
    KeyRow{"mail.provider", kString, "",
           "`resend` or `smtp`: who is asked first, where both are configured."},
    KeyRow{"mail.api_key", kSecret, "", "Resend's key."},
    KeyRow{"mail.api_base", kString, "\"https://api.resend.com\"", "Where Resend is."},
    KeyRow{"mail.webhook_secret", kSecrets, "[]",
           "Signing secrets of Resend's webhook to `/webhooks/resend`, which tells of bounces; "
           "several while one is rolled."},
    KeyRow{"mail.from", kString, "", "Sender, `Example <keys@example.com>`."},
    KeyRow{"mail.host", kString, "", "SMTP server; TLS is required but on loopback."},
    KeyRow{"mail.port", kInt, "587", "Its port; 465 begins with TLS, others with STARTTLS."},
    KeyRow{"mail.user", kString, "", "SMTP login."},
    KeyRow{"mail.password", kSecret, "", "SMTP password."},
    KeyRow{"mail.receipts", kBool, "true",
           "A mail with the invoice of each renewal; false where Stripe's own mails are enough."},
};

// The last part of a path.
std::string_view LastOf(std::string_view path) { return path.substr(path.rfind('.') + 1); }

// "" for a top-level key.
std::string_view ParentOf(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

const KeyRow* RowAt(std::string_view parent, std::string_view key) {
  const KeyRow* star = nullptr;
  for (const KeyRow& row : kRows) {
    if (ParentOf(row.path) != parent) continue;
    if (LastOf(row.path) == key) return &row;
    if (LastOf(row.path) == "*") star = &row;
  }
  return star;
}

std::string KnownKeys(std::string_view parent) {
  std::string out;
  for (const KeyRow& row : kRows) {
    if (ParentOf(row.path) != parent) continue;
    out += out.empty() ? "one of " : ", ";
    out += LastOf(row.path);
  }
  return out;
}

bool AllOf(const TomlNode& list, TomlNode::Kind kind) {
  return list.kind == TomlNode::Kind::kArray &&
         std::ranges::all_of(list.items, [kind](const TomlNode& n) { return n.kind == kind; });
}

bool Fits(KeyType type, const TomlNode& node) {
  using Kind = TomlNode::Kind;
  switch (type) {
    case kTable:
    case kNamedTables:
    case kMap:
      return node.kind == Kind::kTable;
    case kTables:
      return AllOf(node, Kind::kTable);
    case kString:
    case kMoney:
    case kDuration:
    case kSecret:
      return node.kind == Kind::kString;
    case kStrings:
      return AllOf(node, Kind::kString);
    case kStringOrList:
    case kSecrets:
      return node.kind == Kind::kString || AllOf(node, Kind::kString);
    case kInt:
      return node.kind == Kind::kInt;
    case kInts:
      return AllOf(node, Kind::kInt);
    case kBool:
      return node.kind == Kind::kBool;
    case kSize:
      return node.kind == Kind::kString || node.kind == Kind::kInt;
  }
  return false;
}

// What is plain to see of a value that should have been of another kind. A secret is not shown.
std::string ShownFor(KeyType type, const TomlNode& node) {
  if ((type == kSecret || type == kSecrets) && node.kind != TomlNode::Kind::kTable) {
    return "another kind of value";
  }
  return node.Shown();
}

struct Walk {
  const std::string& file;
  std::vector<ConfigFault>& faults;
  std::vector<std::string>& warnings;

  // `shown` is the path as the writer wrote it, `path` as the rows have it.
  void Table(const TomlNode& table, std::string_view path, const std::string& shown, bool warned) {
    for (const auto& [key, value] : table.members) {
      const std::string name = ShownKey(key);
      const std::string here = shown.empty() ? name : shown + '.' + name;
      const KeyRow* row = RowAt(path, key);
      if (row == nullptr) {
        faults.push_back({file, value.line, here, "an unknown key", KnownKeys(path)});
        continue;
      }
      if (!Fits(row->type, value)) {
        faults.push_back(
            {file, value.line, here, ShownFor(row->type, value), std::string(Describe(row->type))});
        continue;
      }
      const bool later = !row->later.empty();
      if (later && !warned) {
        warnings.push_back(file + ':' + std::to_string(value.line) + ": " + here +
                           ": not in this version; read and left unused");
      }
      if (value.kind == TomlNode::Kind::kTable) Table(value, row->path, here, warned || later);
      if (row->type == kTables) {
        for (const TomlNode& item : value.items) Table(item, row->path, here, warned || later);
      }
    }
  }
};

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::span<const KeyRow> KeyRows() { return kRows; }

std::string_view Describe(KeyType type) {
  switch (type) {
    case kTable:
      return "a table";
    case kTables:
      return "a list of tables";
    case kNamedTables:
      return "tables by name";
    case kMap:
      return "a table of names and values";
    case kString:
      return "a string";
    case kStrings:
      return "a list of strings";
    case kStringOrList:
      return "a string or a list of strings";
    case kInt:
      return "a whole number";
    case kInts:
      return "a list of whole numbers";
    case kBool:
      return "true or false";
    case kMoney:
      return "an amount of dollars in quotes, \"$0.001\"";
    case kDuration:
      return "a duration in quotes, \"30s\"";
    case kSize:
      return "a size, \"1MiB\" or a number of bytes";
    case kSecret:
      return "\"env:NAME\" or \"file:path\"";
    case kSecrets:
      return "\"env:NAME\" or \"file:path\", or a list of them";
  }
  return {};
}

void CheckKeys(const TomlNode& root, const std::string& file, std::vector<ConfigFault>& faults,
               std::vector<std::string>& warnings) {
  Walk walk{file, faults, warnings};
  walk.Table(root, "", "", false);
}

std::string ConfigReferencePage() {
  std::string page =
      "# pontage.toml\n\n"
      "<!-- Printed by `pontage config reference`; edit src/app/config_keys.cc instead. -->\n\n"
      "Every key of the file. A key that is not here is an error, and a faulty file starts "
      "nothing: each fault is\nnamed with file, line, key, what was found and what was expected, "
      "all of them at once. `pontage config check`\njudges a file, `pontage config print` shows "
      "what it amounts to.\n\n"
      "Secrets are never written into the file: `env:NAME` takes them from the environment, "
      "`file:path` from a file.\nRelative paths there start from the directory of pontage.toml. "
      "Durations are `500ms`, `30s`, `5m`, `2h`, `1d`; sizes\n`64KiB`, `1MiB` or a number of "
      "bytes. Keys marked *later* are read and kept, and a warning says that this version\ndoes "
      "nothing with them.\n";
  std::string_view section;
  for (const KeyRow& row : kRows) {
    const std::string_view top = row.path.substr(0, row.path.find('.'));
    if (top != section) {
      section = top;
      page += "\n## `";
      page += row.type == kTables        ? "[[" + std::string(top) + "]]"
              : row.type == kNamedTables ? "[" + std::string(top) + ".\"name\"]"
                                         : "[" + std::string(top) + "]";
      page += "`\n\n" + std::string(row.meaning);
      if (!row.later.empty()) page += " *Later.*";
      page += "\n\n| key | value | default | meaning |\n|---|---|---|---|\n";
      continue;
    }
    if (LastOf(row.path) == "*") continue;
    std::string key(row.path.substr(top.size() + 1));
    if (key.starts_with("*.")) key.erase(0, 2);
    page += "| `" + key + "` | " + Escaped(Describe(row.type)) + " | ";
    page += row.fallback.empty() ? std::string() : "`" + Escaped(row.fallback) + "`";
    page += " | " + Escaped(row.meaning) + (row.later.empty() ? "" : " *Later.*") + " |\n";
  }
  return page;
}

}  // namespace pontage::app
