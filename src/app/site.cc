#include "app/site.h"

#include <algorithm>

#include "app/licenses.h"
#include "app/tls_files.h"
#include "base/try.h"
#include "rail/x402_rail.h"

namespace pontage::app {
namespace {

bool Has(const std::vector<int>& versions, int version) {
  return std::ranges::find(versions, version) != versions.end();
}

catalog::Route ToRoute(const RouteConfig& from, const Config& config) {
  catalog::Route route;
  route.match = from.match;
  route.free = from.free;
  route.price = from.price;
  route.scheme = from.scheme;
  route.transfer = from.transfer;
  for (const chain::ChainId& network : from.networks) route.networks.push_back(network.Caip2());
  const std::vector<int>& versions = from.versions.empty() ? config.x402.versions : from.versions;
  route.v1 = Has(versions, 1);
  route.v2 = Has(versions, 2);
  route.settle_before = from.settle == SettleWhen::kBefore;
  route.replay_answer = from.replay == Replay::kAnswer;
  const auto allowance = [](const std::optional<Allowance>& a) {
    return a ? catalog::Allowance{a->count, a->window} : catalog::Allowance{};
  };
  route.rate = allowance(from.rate);
  route.free_quota = allowance(from.free_quota);
  route.hold_max = from.hold_max.value_or(config.x402.hold_max);
  route.product = from.product;
  route.plans = from.plans;
  route.description = from.description;
  route.mime_type = from.mime_type;
  return route;
}

}  // namespace

Result<std::shared_ptr<const gateway::Site>> BuildSite(const Config& config, const Config& running,
                                                       const std::string& public_url,
                                                       settle::Facilitator& facilitator,
                                                       gateway::Upstreams& upstreams,
                                                       std::shared_ptr<const license::KeyRing> keys,
                                                       const Clock& clock) {
  auto site = std::make_shared<gateway::Site>();
  for (const UpstreamConfig& from : config.upstreams) {
    gateway::Upstream upstream;
    upstream.name = from.name;
    upstream.connect_timeout = from.connect_timeout;
    upstream.limits = {.max_in_flight = from.max_in_flight,
                       .max_waiting = from.max_waiting,
                       .wait_timeout = from.wait_timeout,
                       .max_connect_failures = from.max_connect_failures,
                       .max_errors = from.max_errors,
                       .down_for = from.down_for};
    upstream.gate = upstreams.GateOf(from.name);
    for (const std::string& text : from.urls) {
      PTG_TRY(net::Url url, net::ParseUrl(text));
      const std::string address = url.Authority();
      upstream.addresses.push_back({std::move(url), upstreams.HealthOf(from.name, address)});
    }
    auto authorities = LoadAuthorities(config, from);
    if (!authorities) return Fail(Code::kConfig, authorities.error().Text());
    upstream.tls = *std::move(authorities);
    for (const auto& [name, value] : from.headers) {
      upstream.headers.emplace_back(name, value.Clone());
    }
    site->upstreams.push_back(std::move(upstream));
  }
  std::vector<std::string> matches;
  for (const RouteConfig& from : config.routes) {
    catalog::Route route = ToRoute(from, config);
    for (size_t i = 0; i < config.upstreams.size(); ++i) {
      if (config.upstreams[i].name != from.upstream) continue;
      route.upstream = i;
      route.answer_timeout = from.answer_timeout.value_or(config.upstreams[i].answer_timeout);
    }
    matches.push_back(route.match);
    site->routes.push_back(std::move(route));
  }
  PTG_TRY(site->table, catalog::RouteTable::Make(matches));
  PTG_TRY(site->trusted, gateway::TrustedProxies::Make(config.server.trusted_proxies));
  site->public_url = public_url;

  rail::X402Options options;
  options.settle_timeout = running.x402.settle_timeout;
  for (const PayTo& to : config.x402.pay_to) options.pay_to.push_back({to.network, to.address});
  PTG_TRY(
      std::unique_ptr<rail::X402Rail> x402,
      rail::X402Rail::Make(site->routes, running.Assets(), std::move(options), facilitator, clock));
  std::vector<std::unique_ptr<rail::Rail>> rails;
  rails.push_back(std::move(x402));
  PTG_TRY(std::shared_ptr<const license::Verifier> verifier, MakeVerifier(config, std::move(keys)));
  std::unique_ptr<const rail::LicenseRail> licenses;
  if (verifier) {
    licenses = std::make_unique<const rail::LicenseRail>(std::move(verifier), site->routes,
                                                         PlanOffers(config, running, public_url),
                                                         PlanTermsOf(config), StaleOf(config));
  }
  site->rails = std::make_shared<const rail::RailSet>(std::move(rails), std::move(licenses));
  return std::shared_ptr<const gateway::Site>(std::move(site));
}

}  // namespace pontage::app
