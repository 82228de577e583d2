#include "app/gateway_wiring.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "gateway/forward_auth.h"
#include "io/timer.h"

namespace pontage::app {
namespace {

constexpr Millis kWriteTimeout{10'000};

Task<bool> BuiltIn(const std::vector<Door>& doors, net::RequestHead& head, net::BodySource& body,
                   paywall::Reply& reply) {
  for (const Door& door : doors) {
    if (!door.serves(head.target)) continue;
    PTG_CO_RUN(co_await door.handle(head, body, reply.out()));
    co_return true;
  }
  co_return false;
}

}  // namespace

GatewayShared::GatewayShared(Parts parts)
    : doors_(std::move(parts.doors)),
      clock_(parts.clock),
      limiter_(parts.rng),
      upstreams_(parts.metrics),
      quota_(parts.database, parts.clock),
      usage_(parts.database, parts.clock),
      deps_{
          .ledger = parts.ledger,
          .metrics = parts.metrics,
          .clock = parts.clock,
          .rng = parts.rng,
          .limiter = limiter_,
          .ready = std::move(parts.ready),
          .exchange = {.settle_timeout = parts.settle_timeout},
          .quota = &quota_,
          .usage = &usage_,
          .heard = parts.heard,
          .learn_keys = [&keys = parts.keys] { return keys.Learn(LicenseKeys::Asker::kStranger); },
          .built_in = [this](
                          const catalog::Target&, net::RequestHead& head, net::BodySource& body,
                          paywall::Reply& reply) { return BuiltIn(doors_, head, body, reply); }} {}

Task<> GatewayShared::WriteLicenses(bool all) {
  const Result<> calls = co_await usage_.Flush(all, Deadline::In(clock_, kWriteTimeout));
  const Result<> rest = co_await quota_.GiveBack(all, Deadline::In(clock_, kWriteTimeout));
  for (const Result<>* done : {&calls, &rest}) {
    if (!*done) Log(LogLevel::kWarn, "licenses.unwritten", {{"detail", done->error().detail()}});
  }
  co_return {};
}

Task<> GatewayShared::CountLicenses() {
  constexpr Millis kEvery{5'000};
  constexpr int kPruneEach = 12;  // a minute
  for (int n = 0;; ++n) {
    PTG_CO_RUN(co_await Sleep(kEvery));
    PTG_CO_RUN(co_await WriteLicenses(false));
    if (n % kPruneEach == 0) (void)co_await quota_.Prune(Deadline::In(clock_, kWriteTimeout));
  }
}

void WarnOfRoutes(const gateway::Site& site) {
  const auto warn = [](const std::string& detail) {
    Log(LogLevel::kWarn, "config.warning", {{"detail", detail}});
  };
  for (const std::string_view path :
       {"/healthz", "/readyz", "/health", "/facilitator/verify", "/facilitator/settle",
        "/facilitator/supported", "/v1/entitlements", "/.well-known/jwks.json", "/billing",
        "/billing/checkout", "/billing/success", "/billing/claim", "/billing/portal",
        "/billing/resend", "/webhooks/stripe", "/admin", "/admin/v1"}) {
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
