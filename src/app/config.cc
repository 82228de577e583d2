#include "app/config.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <tuple>

#include "app/config_keys.h"
#include "app/config_read.h"
#include "app/config_sections.h"
#include "net/client.h"

namespace pontage::app {
namespace {

void ReadServer(const Section& s, ServerConfig& to) {
  if (s.Has("listen")) to.listen = s.Strings("listen");
  if (const auto port = s.context().sources.environment("PORT"); port && !port->empty()) {
    to.listen = {"0.0.0.0:" + *port};
    if (!IsListenAddress(to.listen.front())) {
      s.context().Fault(0, "server.listen", "PORT=" + *port + " in the environment",
                        "a port number from 0 to 65535");
    }
  } else {
    if (to.listen.empty() && s.Found("listen") == "an empty list") {
      s.Fault("listen", "an empty list", "at least one address:port");
    }
    for (const std::string& address : to.listen) {
      if (!IsListenAddress(address)) {
        s.Fault("listen", QuoteToml(address), "address:port, like \"127.0.0.1:8402\"");
      }
    }
  }
  to.public_url = s.UrlOr("public_url", "");
  to.trusted_proxies = s.Strings("trusted_proxies");
  for (const std::string& network : to.trusted_proxies) {
    if (!IsCidr(network)) {
      s.Fault("trusted_proxies", QuoteToml(network), "a network like \"10.0.0.0/8\"");
    }
  }
  to.metrics_listen = s.StringOr("metrics_listen", "");
  if (!to.metrics_listen.empty() && !IsListenAddress(to.metrics_listen)) {
    s.Fault("metrics_listen", s.Found("metrics_listen"), "address:port, like \"127.0.0.1:9402\"");
  }
  // More loops than this only cost memory on any machine there is.
  constexpr int64_t kMaxThreads = 256;
  to.threads = static_cast<size_t>(s.Int("threads", 0, kMaxThreads).value_or(0));
  const std::string level = s.OneOf("log_level", "info", {"debug", "info", "warn", "error"});
  ParseLogLevel(level, to.log_level);
  to.drain_timeout =
      s.Duration("drain_timeout", Millis(0), Millis(3'600'000)).value_or(to.drain_timeout);
  if (const Section tls = s.Child("tls"); tls.present()) {
    to.tls = TlsConfig{.cert = s.context().FromHere(tls.RequiredString("cert", "a PEM file")),
                       .key = s.context().FromHere(tls.RequiredString("key", "a PEM file")),
                       .cert_line = tls.LineOf("cert"),
                       .key_line = tls.LineOf("key")};
  }
}

void ReadStore(const Section& s, StoreConfig& to) {
  std::string url = s.StringOr("url", to.url);
  constexpr std::string_view kSqlite = "sqlite:";
  const auto known = [](std::string_view u) {
    return u.starts_with("sqlite:") || u.starts_with("postgresql://") ||
           u.starts_with("postgres://");
  };
  if (const auto over = s.context().sources.environment("DATABASE_URL"); over && !over->empty()) {
    if (url.starts_with(kSqlite)) to.file_url = url;
    to.url = *over;
    if (!known(to.url)) {
      s.context().Fault(0, "store.url", "DATABASE_URL in the environment with another scheme",
                        "\"sqlite:path\" or \"postgresql://…\"");
    }
    return;
  }
  if (url.starts_with("env:")) {
    url = s.context().sources.environment(url.substr(4)).value_or("");
  }
  if (!known(url) || url == kSqlite) {
    s.Fault("url", s.Has("url") ? QuoteToml(RedactUrl(url)) : "nothing",
            "\"sqlite:path\" or \"postgresql://…\"");
    return;
  }
  to.url = std::move(url);
}

// A list of versions; `fallback` when absent.
std::vector<int> ReadVersions(const Section& s, std::vector<int> fallback) {
  if (!s.Has("versions")) return fallback;
  std::vector<int> out;
  for (const int64_t version : s.Ints("versions")) {
    if ((version != 1 && version != 2) || std::ranges::find(out, version) != out.end()) {
      s.Fault("versions", std::to_string(version), "1 and 2, each at most once");
      return fallback;
    }
    out.push_back(static_cast<int>(version));
  }
  if (s.Found("versions") == "an empty list") {
    s.Fault("versions", "an empty list", "[2, 1], [2] or [1]");
  }
  return out;
}

void ReadX402(const Section& s, const NetworkNames& names, X402Config& to) {
  to.versions = ReadVersions(s, to.versions);
  const std::vector<std::string> who = s.Strings("facilitator");
  if (!who.empty() && !(who.size() == 1 && who[0] == "local")) {
    to.local_facilitator = false;
    for (const std::string& url : who) {
      if (url == "local") {
        s.Fault("facilitator", "\"local\" among URLs", "\"local\" alone, or URLs");
        continue;
      }
      if (url.find("://") == std::string::npos && !url.starts_with("env:")) {
        s.Fault("facilitator", QuoteToml(url), "\"local\", a URL or a list of URLs");
        continue;
      }
      if (auto good = s.Url("facilitator", url)) {
        while (good->ends_with('/')) good->pop_back();
        to.facilitator_urls.push_back(*std::move(good));
      }
    }
  } else if (s.Found("facilitator") == "an empty list") {
    s.Fault("facilitator", s.Found("facilitator"), "\"local\", a URL or a list of URLs");
  }
  to.facilitator_token = s.OneSecret("facilitator_token");
  to.check_receipts = s.BoolOr("check_receipts", false);
  // Clients refuse to sign for less time than a call takes; a day is longer than any.
  to.max_timeout =
      s.Duration("max_timeout", Millis(10'000), Millis(86'400'000)).value_or(to.max_timeout);
  to.hold_max = s.Size("hold_max", 0, kMostHold).value_or(to.hold_max);
  to.settle_timeout =
      s.Duration("settle_timeout", Millis(1'000), Millis(600'000)).value_or(to.settle_timeout);
  ReadPayTo(s.Child("pay_to"), names, to);
}

constexpr std::string_view kNoUpstream = "none";

void ReadUpstreamUrls(const Section& s, UpstreamConfig& up) {
  const std::vector<std::string> urls = s.Strings("url");
  const bool absent = !s.Has("url") || s.Found("url") == "an empty list";
  if (absent) s.Fault("url", s.Found("url"), "an http:// or https:// URL");
  for (const std::string& text : urls) {
    if (text.empty()) {
      s.Fault("url", "an empty string", "an http:// or https:// URL");
      continue;
    }
    auto url = s.Url("url", text);
    if (!url) continue;
    while (url->ends_with('/')) url->pop_back();
    if (std::ranges::find(up.urls, *url) != up.urls.end()) {
      s.Fault("url", QuoteToml(RedactUrl(*url)) + " a second time", "each URL once");
    }
    up.urls.push_back(*std::move(url));
  }
}

void ReadUpstreamLimits(const Section& s, UpstreamConfig& up) {
  // As many as a process has descriptors for, and as many as it could keep waiting for an answer.
  constexpr int64_t kMost = 1'000'000;
  const auto count = [&s](std::string_view key, size_t& to) {
    if (const auto n = s.Int(key, 0, kMost)) to = static_cast<size_t>(*n);
  };
  count("max_in_flight", up.max_in_flight);
  count("max_waiting", up.max_waiting);
  count("max_connect_failures", up.max_connect_failures);
  count("max_errors", up.max_errors);
  up.wait_timeout =
      s.Duration("wait_timeout", Millis(0), Millis(600'000)).value_or(up.wait_timeout);
  up.down_for = s.Duration("down_for", Millis(10), Millis(600'000)).value_or(up.down_for);
}

void ReadUpstreams(const Section& root, std::vector<UpstreamConfig>& to) {
  for (const Section& s : root.Children("upstream")) {
    UpstreamConfig up;
    up.line = s.line();
    up.name = s.RequiredString("name", "the name routes use");
    if (up.name == kNoUpstream) {
      s.Fault("name", s.Found("name"), "another name: this one means that a route has none");
    }
    ReadUpstreamUrls(s, up);
    for (const auto& known : to) {
      if (known.name == up.name && !up.name.empty()) {
        s.Fault("name", s.Found("name") + " a second time", "a name of its own");
      }
    }
    if (s.Has("ca")) {
      up.ca = s.context().FromHere(s.RequiredString("ca", "a PEM file"));
      up.ca_line = s.LineOf("ca");
      const auto plain = [](const std::string& url) { return !net::ParseUrl(url)->tls; };
      if (!up.urls.empty() && std::ranges::all_of(up.urls, plain)) {
        s.Fault("ca", s.Found("ca") + " and a url that is not https", "an https:// url, or no ca");
      }
    }
    const Section headers = s.Child("headers");
    for (const auto& [name, value] : headers.Members()) {
      if (value->kind != TomlNode::Kind::kString) continue;
      if (!IsHeaderName(name)) {
        headers.Fault(name, QuoteToml(name), "the name of a header");
        continue;
      }
      Secret text = headers.Expand(name, *value);
      if (text.Reveal().find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
        headers.Fault(name, "a value with a line break", "a header value of one line");
        continue;
      }
      up.headers.emplace_back(name, std::move(text));
    }
    up.connect_timeout =
        s.Duration("connect_timeout", Millis(10), Millis(600'000)).value_or(up.connect_timeout);
    up.answer_timeout =
        s.Duration("answer_timeout", Millis(10), Millis(86'400'000)).value_or(up.answer_timeout);
    ReadUpstreamLimits(s, up);
    to.push_back(std::move(up));
  }
}

// Only what one version of the scheme can mean is let through: a route that asks for more would
// otherwise be served on other terms than it states.
void ReadScheme(const Section& s, RouteConfig& to) {
  constexpr std::string_view kNotYet = ", which is not in this version";
  to.scheme = s.StringOr("scheme", to.scheme);
  if (to.scheme != "exact") {
    s.Fault("scheme", s.Found("scheme") + std::string(to.scheme == "upto" ? kNotYet : ""),
            "\"exact\"");
  }
  to.transfer = s.StringOr("transfer", to.transfer);
  if (to.transfer != "eip3009") {
    s.Fault("transfer", s.Found("transfer") + std::string(to.transfer == "permit2" ? kNotYet : ""),
            "\"eip3009\"");
  }
  to.gas_sponsoring = s.BoolOr("gas_sponsoring", false);
  if (to.gas_sponsoring) {
    s.Fault("gas_sponsoring", "true" + std::string(kNotYet), "false");
  }
  to.charge = s.StringOr("charge", "");
  if (!to.charge.empty()) {
    s.Fault("charge", s.Found("charge") + std::string(kNotYet), "nothing");
  }
}

void ReadPrice(const Section& s, const std::vector<ProductConfig>& products, RouteConfig& to) {
  to.product = s.StringOr("product", "");
  const ProductConfig* product = nullptr;
  for (const ProductConfig& p : products) {
    if (p.name == to.product) product = &p;
  }
  if (!to.product.empty() && product == nullptr) {
    s.Fault("product", s.Found("product"), "the name of a [[product]]");
    return;
  }
  if (product != nullptr && to.description.empty()) to.description = product->description;
  if (s.Has("price")) {
    if (s.String("price") == "free") {
      to.free = true;
      return;
    }
    const auto price = s.Price("price");
    if (price && *price == Money::Zero()) {
      s.Fault("price", s.Found("price"), "an amount above zero, or \"free\"");
    }
    to.price = price.value_or(Money::Zero());
    return;
  }
  if (product == nullptr) {
    s.Fault("price", "nothing", "\"free\" or an amount of dollars, \"$0.001\"");
  } else if (const auto price = ParseMoney(product->price)) {
    to.price = *price;
  }
}

// Left out it is the only one there is; without any, and by "none", a route is one that other
// proxies ask about.
void ReadUpstreamOf(const Section& s, const Config& config, RouteConfig& route) {
  if (s.Has("upstream")) {
    route.upstream = s.StringOr("upstream", "");
    if (s.String("upstream") == kNoUpstream) {
      route.upstream.clear();
      return;
    }
  } else if (config.upstreams.size() == 1) {
    route.upstream = config.upstreams.front().name;
  } else if (config.upstreams.empty()) {
    return;
  }
  if (config.UpstreamOf(route.upstream) == nullptr) {
    s.Fault("upstream", s.Found("upstream"),
            "the name of an [[upstream]], or \"none\" for a route of /forward-auth");
  }
}

void ReadRoutes(const Section& root, const NetworkNames& names, Config& config) {
  for (const Section& s : root.Children("route")) {
    RouteConfig route;
    route.line = s.line();
    route.match = s.RequiredString("match", "\"[METHOD ]/path\"");
    route.description = s.StringOr("description", "");
    route.mime_type = s.StringOr("mime_type", "");
    ReadPrice(s, config.products, route);
    ReadScheme(s, route);
    ReadUpstreamOf(s, config, route);
    for (const std::string& name : s.Strings("networks")) {
      const auto network = names.Find(name);
      if (!network) {
        s.Fault("networks", QuoteToml(name), std::string(kNetworkForm));
      } else {
        route.networks.push_back(*network);
      }
    }
    if (s.Has("networks") && s.Strings("networks").empty()) {
      s.Fault("networks", s.Found("networks"), "at least one network of [x402.pay_to]");
    }
    if (s.Has("versions")) route.versions = ReadVersions(s, {});
    route.settle = s.OneOf("settle", "after", {"after", "before"}) == "before" ? SettleWhen::kBefore
                                                                               : SettleWhen::kAfter;
    route.plans = s.Strings("plans");
    route.free_quota = s.Rate("free");
    if (route.free && route.free_quota) {
      s.Fault("free", s.Found("free") + " of a route that is free", "a price, or no free calls");
    }
    route.rate = s.Rate("rate");
    route.replay = s.OneOf("replay", "refuse", {"refuse", "answer"}) == "answer" ? Replay::kAnswer
                                                                                 : Replay::kRefuse;
    route.hold_max = s.Size("hold_max", 0, kMostHold);
    route.answer_timeout = s.Duration("answer_timeout", Millis(10), Millis(86'400'000));
    config.routes.push_back(std::move(route));
  }
}

Result<std::string> ReadWholeFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Fail(Code::kNotFound, "cannot open " + path);
  // Right into the text, whole: a file may be a key, and what lay beside it would stay behind.
  constexpr size_t kAtOnce = 16 * 1024;
  std::string text;
  for (size_t size = 0, some = kAtOnce; some == kAtOnce; size += some) {
    text.resize(size + kAtOnce);
    in.read(text.data() + size, kAtOnce);
    some = static_cast<size_t>(in.gcount());
    text.resize(size + some);
    if (text.size() > kMaxConfigBytes) return Fail(Code::kConfig, path + " is larger than 4 MiB");
  }
  // Opening a directory works, reading it does not.
  if (in.bad()) return Fail(Code::kNotFound, "cannot read " + path);
  return text;
}

}  // namespace

std::string ConfigFault::Text() const {
  std::string text = file;
  if (line > 0) text += ':' + std::to_string(line);
  text += ": ";
  if (!key.empty()) text += key + ": ";
  text += "found " + found;
  if (!expected.empty()) text += ", expected " + expected;
  // Reasons of others may repeat what they met.
  return OnOneLine(text);
}

ConfigSources ConfigSources::System() {
  return {.environment = [](const std::string& name) -> std::optional<std::string> {
            const char* value = std::getenv(name.c_str());
            if (value == nullptr) return std::nullopt;
            return std::string(value);
          },
          .read_file = ReadWholeFile};
}

std::expected<Config, std::vector<ConfigFault>> ParseConfig(std::string_view text,
                                                            const std::string& path,
                                                            const ConfigSources& sources,
                                                            const ConfigOptions& options) {
  std::vector<ConfigFault> faults;
  const auto tree = ParseToml(text);
  if (!tree) {
    faults.push_back(
        {path, tree.error().line, "", "a fault of syntax: " + tree.error().what, "TOML"});
    return std::unexpected(std::move(faults));
  }
  Config config;
  config.file = path;
  CheckKeys(*tree, path, faults, config.warnings);
  ConfigContext context{path, sources, options, faults, config.warnings, config.missing};
  const Section root(context, &*tree, "");

  const NetworkNames names(root.Child("chain"));
  ReadServer(root.Child("server"), config.server);
  ReadStore(root.Child("store"), config.store);
  ReadX402(root.Child("x402"), names, config.x402);
  config.facilitator.present = root.Has("facilitator");
  config.facilitator.tokens = root.Child("facilitator").Secrets("tokens");
  ReadChains(root.Child("chain"), names, config.chains);
  ReadUpstreams(root, config.upstreams);
  ReadProducts(root, config.products);
  ReadRoutes(root, names, config);
  ReadLaterSections(root, config);
  CheckWhole(root, config);

  if (!faults.empty()) {
    std::ranges::sort(faults, [](const ConfigFault& a, const ConfigFault& b) {
      return std::tie(a.line, a.key, a.found) < std::tie(b.line, b.key, b.found);
    });
    return std::unexpected(std::move(faults));
  }
  return config;
}

std::expected<Config, std::vector<ConfigFault>> LoadConfig(const std::string& path,
                                                           const ConfigSources& sources,
                                                           const ConfigOptions& options) {
  const auto text = sources.read_file(path);
  if (!text) {
    return std::unexpected(std::vector<ConfigFault>{
        {path, 0, "", text.error().code() == Code::kConfig ? text.error().detail() : "no such file",
         "a configuration; `pontage init` writes one"}});
  }
  return ParseConfig(*text, path, sources, options);
}

const ChainConfig* Config::ChainOf(const chain::ChainId& network) const {
  const auto it = std::ranges::find(chains, network, &ChainConfig::network);
  return it == chains.end() ? nullptr : &*it;
}

const UpstreamConfig* Config::UpstreamOf(std::string_view name) const {
  const auto it = std::ranges::find(upstreams, name, &UpstreamConfig::name);
  return it == upstreams.end() ? nullptr : &*it;
}

const PayTo* Config::PayToOf(const chain::ChainId& network) const {
  const auto it = std::ranges::find(x402.pay_to, network, &PayTo::network);
  return it == x402.pay_to.end() ? nullptr : &*it;
}

bool Config::IsFernet(const PlanConfig& plan) const {
  if (!plan.format.empty()) return plan.format == "fernet";
  for (const std::string& name : plan.products) {
    const auto product = std::ranges::find(products, name, &ProductConfig::name);
    if (product != products.end() && !product->format.empty()) return product->format == "fernet";
  }
  return license.format == "fernet";
}

std::string Config::MissingAt(std::string_view key) const {
  std::string why;
  for (const MissingSecret& one : missing) {
    if (one.key == key) why += (why.empty() ? "" : ", ") + one.found;
  }
  return why;
}

std::vector<std::string> Config::Roles() const {
  std::vector<std::string> out;
  if (!routes.empty()) out.emplace_back("gateway");
  const bool signs =
      std::ranges::any_of(chains, [](const ChainConfig& chain) { return chain.has_signer; });
  if (signs && (x402.local_facilitator || facilitator.present)) out.emplace_back("facilitator");
  const bool shares = !license.fernet_keys.empty() && !license.allow_shared_key;
  if (!license.signing_key.empty() || shares) out.emplace_back("sales");
  if (console.present) out.emplace_back("console");
  return out;
}

}  // namespace pontage::app
