#include <algorithm>

#include "app/config.h"
#include "app/config_tree.h"

// The effective configuration, for people: what came from the file, from the environment and from
// defaults, and nothing that is secret.
namespace pontage::app {
namespace {

std::string List(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) {
    if (out.size() > 1) out += ", ";
    out += QuoteToml(item);
  }
  return out + "]";
}

std::string List(const std::vector<int>& items) {
  std::string out = "[";
  for (const int item : items) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(item);
  }
  return out + "]";
}

std::string Quoted(Millis d) { return '"' + std::to_string(d.count()) + "ms\""; }
std::string Shown(const Secret& s) { return s.empty() ? "\"[missing]\"" : "\"[set]\""; }
std::string ShownList(const std::vector<Secret>& secrets) {
  std::string out;
  for (const Secret& one : secrets) {
    if (!one.empty()) out += (out.empty() ? "" : ", ") + Shown(one);
  }
  return out;
}

std::string Name(const chain::ChainId& network) {
  const auto name = network.V1Name();
  return name ? std::string(*name) : network.Caip2();
}

// Providers put their key into the path: the origin is enough to see who it is.
std::string Origin(const std::string& url) {
  const size_t path = url.find('/', url.find("://") + 3);
  if (path == std::string::npos || path + 1 == url.size()) return url;
  return url.substr(0, path) + "/[set]";
}

void PrintServer(const Config& c, std::string& out) {
  out += "[server]\nlisten = " + List(c.server.listen) + '\n';
  if (!c.server.public_url.empty()) out += "public_url = " + QuoteToml(c.server.public_url) + '\n';
  out += "trusted_proxies = " + List(c.server.trusted_proxies) + '\n';
  if (!c.server.metrics_listen.empty()) {
    out += "metrics_listen = " + QuoteToml(c.server.metrics_listen) + '\n';
  }
  out += "threads = " + std::to_string(c.server.threads) + '\n';
  constexpr const char* kLevels[] = {"debug", "info", "warn", "error"};
  out += "log_level = \"" + std::string(kLevels[static_cast<size_t>(c.server.log_level)]) + "\"\n";
  out += "drain_timeout = " + Quoted(c.server.drain_timeout) + '\n';
  if (c.server.tls) {
    out += "\n[server.tls]\ncert = " + QuoteToml(c.server.tls->cert);
    out += "\nkey = " + QuoteToml(c.server.tls->key) + '\n';
  }
  out += "\n[store]\nurl = ";
  out += QuoteToml(RedactUrl(c.store.url)) + '\n';
}

void PrintX402(const Config& c, std::string& out) {
  out += "\n[x402]\nversions = " + List(c.x402.versions) + "\nfacilitator = ";
  out += c.x402.local_facilitator ? "\"local\"" : List(c.x402.facilitator_urls);
  if (!c.x402.facilitator_token.empty()) out += "\nfacilitator_token = \"[set]\"";
  out += "\ncheck_receipts = " + std::string(c.x402.check_receipts ? "true" : "false");
  out += "\nmax_timeout = " + Quoted(c.x402.max_timeout);
  out += "\nhold_max = " + std::to_string(c.x402.hold_max);
  out += "\nsettle_timeout = " + Quoted(c.x402.settle_timeout) + '\n';
  if (!c.x402.pay_to.empty()) out += "\n[x402.pay_to]\n";
  for (const PayTo& to : c.x402.pay_to) {
    out += QuoteToml(Name(to.network)) + " = " + QuoteToml(to.address) + '\n';
  }
  if (c.facilitator.present) {
    out += "\n[facilitator]\ntokens = [";
    for (size_t i = 0; i < c.facilitator.tokens.size(); ++i) out += i ? ", \"[set]\"" : "\"[set]\"";
    out += "]\n";
  }
}

void PrintChains(const Config& c, std::string& out) {
  for (const ChainConfig& chain : c.chains) {
    out += "\n[chain." + QuoteToml(Name(chain.network)) + "]\nrpc = ";
    std::vector<std::string> urls;
    for (const std::string& url : chain.rpc) urls.push_back(Origin(url));
    out += List(urls) + "\nconfirmations = " + std::to_string(chain.confirmations) + '\n';
    if (chain.quorum_above) {
      out += "quorum_above = " + QuoteToml(chain.quorum_above->ToString()) + '\n';
    }
    if (chain.has_signer) {
      std::string shown = chain.signers.empty() ? "\"[missing]\"" : "";
      for (const Secret& one : chain.signers) {
        shown += (shown.empty() ? "" : ", ") + Shown(one);
      }
      out += "signer = " + (chain.signers.size() > 1 ? '[' + shown + ']' : shown) + '\n';
      out += "batch = " + std::to_string(chain.batch);
      out += "\ngas_cap = " + std::to_string(chain.gas_cap);
      out += "\nmax_fee_per_gas = " + QuoteToml(WeiText(chain.max_fee_per_gas)) + '\n';
      if (chain.gas_per_hour) {
        out += "gas_per_hour = " + QuoteToml(WeiText(*chain.gas_per_hour)) + '\n';
      }
    }
    if (chain.network.family() == chain::Family::kEvm && !chain.network.V1Name()) {
      out += "chain_id = " + std::to_string(chain.network.number()) + '\n';
    }
    for (const chain::EvmAsset& asset : chain.assets) {
      out += "[[chain." + QuoteToml(Name(chain.network)) + ".assets]]\naddress = ";
      out += QuoteToml(asset.address.ToChecksum()) + "\ndecimals = ";
      out += std::to_string(asset.decimals) + "\nname = " + QuoteToml(asset.eip712_name);
      out += "\nversion = " + QuoteToml(asset.eip712_version) + "\nsymbol = ";
      out += QuoteToml(asset.symbol) + '\n';
    }
  }
}

void PrintRoutes(const Config& c, std::string& out) {
  for (const UpstreamConfig& up : c.upstreams) {
    out += "\n[[upstream]]\nname = " + QuoteToml(up.name) + "\nurl = ";
    out += up.urls.size() == 1 ? QuoteToml(up.urls.front()) : List(up.urls);
    if (!up.ca.empty()) out += "\nca = " + QuoteToml(up.ca);
    out += "\nconnect_timeout = " + Quoted(up.connect_timeout);
    out += "\nanswer_timeout = " + Quoted(up.answer_timeout);
    out += "\nmax_in_flight = " + std::to_string(up.max_in_flight);
    out += "\nmax_waiting = " + std::to_string(up.max_waiting);
    out += "\nwait_timeout = " + Quoted(up.wait_timeout);
    out += "\nmax_connect_failures = " + std::to_string(up.max_connect_failures);
    out += "\nmax_errors = " + std::to_string(up.max_errors);
    out += "\ndown_for = " + Quoted(up.down_for) + '\n';
    if (up.headers.empty()) continue;
    out += "[upstream.headers]\n";
    for (const auto& [name, value] : up.headers)
      out += QuoteToml(name) + " = " + Shown(value) + '\n';
  }
  for (const RouteConfig& route : c.routes) {
    out += "\n[[route]]\nmatch = " + QuoteToml(route.match);
    out += "\nupstream = " + QuoteToml(route.upstream.empty() ? "none" : route.upstream);
    out += "\nprice = ";
    out += route.free ? "\"free\"" : QuoteToml(route.price.ToString());
    if (route.rate) out += "\nrate = " + QuoteToml(route.rate->text);
    if (route.free_quota) out += "\nfree = " + QuoteToml(route.free_quota->text);
    if (!route.product.empty()) out += "\nproduct = " + QuoteToml(route.product);
    if (!route.plans.empty()) out += "\nplans = " + List(route.plans);
    if (!route.networks.empty()) {
      std::vector<std::string> names;
      for (const auto& network : route.networks) names.push_back(Name(network));
      out += "\nnetworks = " + List(names);
    }
    if (!route.versions.empty()) out += "\nversions = " + List(route.versions);
    out += route.settle == SettleWhen::kBefore ? "\nsettle = \"before\"" : "\nsettle = \"after\"";
    out += route.replay == Replay::kAnswer ? "\nreplay = \"answer\"" : "\nreplay = \"refuse\"";
    if (!route.description.empty()) out += "\ndescription = " + QuoteToml(route.description);
    if (!route.mime_type.empty()) out += "\nmime_type = " + QuoteToml(route.mime_type);
    if (route.hold_max) out += "\nhold_max = " + std::to_string(*route.hold_max);
    if (route.answer_timeout) out += "\nanswer_timeout = " + Quoted(*route.answer_timeout);
    out += '\n';
  }
  for (const ProductConfig& product : c.products) {
    out += "\n[[product]]\nname = " + QuoteToml(product.name);
    out += "\nprice = " + QuoteToml(product.price) + '\n';
  }
}

void PrintLicenses(const Config& c, std::string& out) {
  for (const PlanConfig& plan : c.plans) {
    out += "\n[[plan]]\nname = " + QuoteToml(plan.name);
    if (!plan.products.empty()) out += "\nproduct = " + List(plan.products);
    if (!plan.tier.empty()) out += "\ntier = " + QuoteToml(plan.tier);
    if (!plan.price.empty()) out += "\nprice = " + QuoteToml(plan.price);
    if (!plan.stripe_price.empty()) out += "\nstripe_price = " + QuoteToml(plan.stripe_price);
    if (!plan.format.empty()) out += "\nformat = " + QuoteToml(plan.format);
    if (plan.days != 0) out += "\ndays = " + std::to_string(plan.days);
    if (plan.trial_days != 0) out += "\ntrial_days = " + std::to_string(plan.trial_days);
    std::string limits;
    for (const auto& [name, value] : plan.limits) {
      limits += (limits.empty() ? "" : ", ") + ShownKey(name) + " = " + std::to_string(value);
    }
    if (!limits.empty()) out += "\nlimits = { " + limits + " }";
    out += '\n';
  }
  if (c.console.present) {
    const ConsoleConfig& k = c.console;
    out += "\n[console]\n";
    if (!k.operator_key.empty()) out += "operator_key = " + Shown(k.operator_key) + '\n';
    if (!k.session_key.empty()) out += "session_key = " + Shown(k.session_key) + '\n';
    out += "refunds_per_day = " + std::to_string(k.refunds_per_day);
    out += "\nrefund_limit = " + QuoteToml(k.refund_limit.ToString()) + '\n';
    if (!k.sales_store.empty())
      out += "sales_store = " + QuoteToml(RedactUrl(k.sales_store)) + '\n';
    if (!k.ledger_store.empty()) {
      out += "ledger_store = " + QuoteToml(RedactUrl(k.ledger_store)) + '\n';
    }
    for (const ConsoleKeyConfig& key : k.keys) {
      out += "\n[[console.key]]\nname = " + QuoteToml(key.name);
      if (!key.key.empty()) out += "\nkey = " + Shown(key.key);
      out += "\nscopes = " + List(key.scopes) + '\n';
    }
  }
  if (c.stripe.present) {
    out += "\n[stripe]\n";
    if (!c.stripe.api_key.empty()) out += "api_key = " + Shown(c.stripe.api_key) + '\n';
    out += "webhook_secret = [" + ShownList(c.stripe.webhook_secrets);
    out += "]\napi_base = " + QuoteToml(c.stripe.api_base) + '\n';
  }
  if (c.mail.present) {
    out += "\n[mail]\n";
    if (!c.mail.provider.empty()) out += "provider = " + QuoteToml(c.mail.provider) + '\n';
    if (!c.mail.from.empty()) out += "from = " + QuoteToml(c.mail.from) + '\n';
    if (!c.mail.api_key.empty()) out += "api_key = " + Shown(c.mail.api_key) + '\n';
    out += "api_base = " + QuoteToml(c.mail.api_base) + '\n';
    if (!c.mail.webhook_secrets.empty()) {
      out += "webhook_secret = [" + ShownList(c.mail.webhook_secrets) + "]\n";
    }
    if (!c.mail.host.empty()) out += "host = " + QuoteToml(c.mail.host) + '\n';
    if (c.mail.port != 0) out += "port = " + std::to_string(c.mail.port) + '\n';
    if (!c.mail.user.empty()) out += "user = " + QuoteToml(c.mail.user) + '\n';
    if (!c.mail.password.empty()) out += "password = " + Shown(c.mail.password) + '\n';
    out += c.mail.receipts ? "receipts = true\n" : "receipts = false\n";
  }
  if (!c.license.present) return;
  out += "\n[license]\n";
  if (!c.license.issuer.empty()) out += "issuer = " + QuoteToml(c.license.issuer) + '\n';
  if (!c.license.signing_key.empty()) out += "signing_key = " + Shown(c.license.signing_key) + '\n';
  if (!c.license.jwks.empty()) out += "jwks = " + QuoteToml(c.license.jwks) + '\n';
  if (c.license.format != "jwt") out += "format = " + QuoteToml(c.license.format) + '\n';
  if (!c.license.fernet_keys.empty()) {
    std::string keys;
    for (const Secret& key : c.license.fernet_keys) {
      keys += (keys.empty() ? "" : ", ") + Shown(key);
    }
    out += "fernet_keys = [" + keys + "]\n";
  }
  if (c.license.allow_shared_key) out += "allow_shared_key = true\n";
  if (!c.license.feed.empty()) out += "feed = " + QuoteToml(c.license.feed) + '\n';
  if (!c.license.feed.empty() || c.license.when_stale != "allow") {
    out += "max_stale = " + Quoted(c.license.max_stale) + '\n';
    out += "when_stale = " + QuoteToml(c.license.when_stale) + '\n';
  }
  out += "grace_days = " + std::to_string(c.license.grace_days) + '\n';
  out += "delivery = " + QuoteToml(c.license.delivery) + '\n';
}

}  // namespace

std::string RedactUrl(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return std::string(url);
  const size_t authority = scheme + 3;
  const size_t end = std::min(url.find_first_of("/?#", authority), url.size());
  const size_t at = url.substr(0, end).rfind('@');
  std::string out(url);
  if (at != std::string_view::npos) {
    const size_t colon = url.find(':', authority);
    const size_t from = colon < at ? colon + 1 : authority;
    out = std::string(url.substr(0, from)) + "[set]" + std::string(url.substr(at));
  }
  // libpq takes a password among the parameters too.
  constexpr std::string_view kParameter = "password=";
  if (const size_t found = out.find(kParameter); found != std::string::npos) {
    const size_t begin = found + kParameter.size();
    const size_t stop = std::min(out.find('&', begin), out.size());
    out.replace(begin, stop - begin, "[set]");
  }
  return out;
}

std::string PrintConfig(const Config& config) {
  std::string out = "# " + config.file + " as it takes effect\n";
  PrintServer(config, out);
  PrintX402(config, out);
  PrintChains(config, out);
  PrintRoutes(config, out);
  PrintLicenses(config, out);
  for (const std::string& warning : config.warnings) out += "\n# " + warning;
  if (!config.warnings.empty()) out += '\n';
  return out;
}

}  // namespace pontage::app
