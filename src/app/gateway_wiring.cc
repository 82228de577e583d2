#include "app/gateway_wiring.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "gateway/forward_auth.h"

namespace pontage::app {
namespace {

Task<bool> BuiltIn(facilitator::FacilitatorApi* api, net::RequestHead& head, net::BodySource& body,
                   paywall::Reply& reply) {
  if (api == nullptr || !api->Serves(head.target)) co_return false;
  PTG_CO_RUN(co_await api->Handle(head, body, reply.out()));
  co_return true;
}

}  // namespace

GatewayShared::GatewayShared(Parts parts)
    : api_(parts.api),
      limiter_(parts.rng),
      upstreams_(parts.metrics),
      deps_{
          .ledger = parts.ledger,
          .metrics = parts.metrics,
          .clock = parts.clock,
          .rng = parts.rng,
          .limiter = limiter_,
          .ready = std::move(parts.ready),
          .exchange = {.settle_timeout = parts.settle_timeout},
          .built_in = [this](const catalog::Target&, net::RequestHead& head, net::BodySource& body,
                             paywall::Reply& reply) { return BuiltIn(api_, head, body, reply); }} {}

void WarnOfRoutes(const gateway::Site& site) {
  const auto warn = [](const std::string& detail) {
    Log(LogLevel::kWarn, "config.warning", {{"detail", detail}});
  };
  for (const std::string_view path : {"/healthz", "/readyz", "/health", "/facilitator/verify",
                                      "/facilitator/settle", "/facilitator/supported"}) {
    const std::optional<size_t> index = site.table.Match("GET", path);
    if (!index || !site.table.NamesOnePath(*index)) continue;
    warn("route \"" + site.routes[*index].match + "\" hides the built-in path");
  }
  for (size_t i = 0; i < site.routes.size(); ++i) {
    const catalog::Route& route = site.routes[i];
    if (site.table.BeginsWith(i, gateway::kForwardAuthPath.substr(1))) {
      warn("route \"" + route.match + "\" hides the built-in path");
    }
    if (!route.upstream) {
      warn("route \"" + route.match + "\" has no upstream: only /forward-auth answers for it");
    }
  }
}

}  // namespace pontage::app
