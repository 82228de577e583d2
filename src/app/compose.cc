#include "app/compose.h"

#include <algorithm>
#include <utility>

#include "app/card_rail_gaps.h"
#include "app/facilitator_wiring.h"
#include "app/house.h"
#include "app/licenses.h"
#include "app/reload.h"
#include "app/site.h"
#include "app/tls_files.h"
#include "base/log.h"
#include "base/try.h"
#include "db/db.h"
#include "io/timer.h"

namespace pontage::app {
namespace {

constexpr db::Statement kAskStore{"app.ask_store", "SELECT 1"};

// Of a process that may have the role that sells.
void WarnOfGaps(const Config& config) {
  for (const CardRailGap& gap : CardRailGaps(config)) {
    Log(LogLevel::kWarn, gap.event,
        {{"key", gap.key}, {"found", gap.found}, {"detail", gap.means}});
  }
}

// Says which keys of a new configuration wait for the next start.
void WarnOfKept(const Config& running, const Config& wanted, bool gateway) {
  std::string keys;
  for (const std::string& key : KeysForNextStart(running, wanted, gateway)) {
    keys += (keys.empty() ? "" : ", ") + key;
  }
  if (keys.empty()) return;
  Log(LogLevel::kWarn, "config.needs_restart",
      {{"detail", "these change at the next start: " + keys}, {"keys", keys}});
}

}  // namespace

Result<> House::Impl::ReadTlsFiles() {
  std::string text;
  for (const ConfigFault& fault : CheckTlsFiles(config)) {
    text += (text.empty() ? "" : "\n") + fault.Text();
  }
  if (!text.empty()) return Fail(Code::kConfig, text);
  auto loaded = LoadTls(config);
  if (!loaded) return Fail(Code::kConfig, loaded.error().Text());
  tls = *std::move(loaded);
  if (tls) WarnOfTls(*config.server.tls, *tls, clock.Now());
  return {};
}

std::vector<Door> House::Impl::Doors() const {
  std::vector<Door> doors;
  if (api) doors.push_back(DoorOf(*api));
  for (const auto& other : others) {
    for (Door& door : other->Doors()) doors.push_back(std::move(door));
  }
  return doors;
}

Result<> House::Impl::BuildOthers(const RoleMakers& makers) {
  for (const std::string& role : roles) {
    if (role == "gateway" || role == "facilitator") continue;
    const auto maker = makers.find(role);
    if (maker == makers.end()) {
      return Fail(Error(Code::kConfig, "this binary has no role " + role)
                      .Want("`pontage serve`, or another --role"));
    }
    PTG_TRY(std::unique_ptr<Role> made, maker->second({.config = config,
                                                       .public_url = PublicUrl(),
                                                       .database = *store.database,
                                                       .keys = *keys,
                                                       .metrics = metrics,
                                                       .clock = clock,
                                                       .rng = rng}));
    made->UseBooks(keys->books());
    others.push_back(std::move(made));
  }
  return {};
}

// Nobody passes with a license that was revoked before this process began, or is refused one that a
// new key has signed.
Result<> House::Impl::BuildLicenses() {
  PTG_RUN(MindSharedKeys(config, !gateway_role() || !Has("sales")));
  PTG_TRY(keys, LicenseKeys::Make(config, *store.database,
                                  std::make_unique<net::Client>(runtime.loop(0)), clock, metrics));
  PTG_RUN(runtime.loop(0).RunUntilDone(keys->Begin()));
  if (!gateway_role()) return {};
  PTG_TRY(licenses,
          MakeLicenseFeed(config, *store.database, *keys, runtime.loop(0), clock, metrics));
  return runtime.loop(0).RunUntilDone(licenses->Begin());
}

Result<> House::Impl::Build(const RoleMakers& makers) {
  PTG_RUN(ReadTlsFiles());
  PTG_TRY(store, OpenStore(config, clock));
  ledger =
      std::make_unique<ledger::Ledger>(*store.database, NewIdText("node", clock, rng), clock, rng);
  PTG_TRY(chains, Chains::Make(config, *store.database, runtime.loop(0), clock, rng, metrics));
  PTG_RUN(runtime.loop(0).RunUntilDone(chains->Check()));
  if (facilitator_role()) {
    // Where the gateway role is off the calls stand at the root too.
    PTG_TRY(api, MakeFacilitatorApi(config, *chains, !gateway_role(), clock, rng));
  }
  PTG_RUN(BuildLicenses());
  PTG_RUN(BuildOthers(makers));
  shared = std::make_unique<GatewayShared>(GatewayShared::Parts{
      .ledger = *ledger,
      .metrics = metrics,
      .clock = clock,
      .rng = rng,
      .doors = Doors(),
      .ready = [this] { return ready.load() && chains->ready() && StoreAnswers(); },
      .settle_timeout = config.x402.settle_timeout,
      .database = *store.database,
      .keys = *keys,
      .heard = licenses ? &licenses->heard() : nullptr});
  if (gateway_role()) {
    PTG_TRY(site, BuildSite(config, config, PublicUrl(), chains->facilitator(), shared->upstreams(),
                            keys->ring(), clock));
    WarnOfRoutes(*site);
  }
  // A fresh process says that it lives before it takes a row.
  const Deadline by = Deadline::In(clock, Millis(10'000));
  PTG_RUN(runtime.loop(0).RunUntilDone(ledger->Heartbeat(by)));
  // Who beat before we were alone is dead; who came since is not. A lock at PostgreSQL is lost with
  // its session, and clocks of other machines differ: there only silence tells.
  if (store.lock->alone() && store.database->engine() == "sqlite") {
    PTG_RUN(runtime.loop(0).RunUntilDone(ledger->ForgetOtherNodes(store.lock_asked, by)));
  }
  return {};
}

// Chains that did not answer at start are asked again until they do.
Task<> House::Impl::Watch() {
  while (!chains->ready()) {
    PTG_CO_RUN(co_await Sleep(Millis(5'000)));
    const Result<> checked = co_await chains->Check();
    if (!checked) {
      Log(LogLevel::kError, "chain.misconfigured", {{"detail", checked.error().detail()}});
    }
  }
  co_return {};
}

// For /readyz, where no sweeper's heartbeat tells.
Task<> House::Impl::WatchStore() {
  constexpr Millis kEvery{5'000};
  while (true) {
    const auto ask = [](db::Tx& tx) -> Result<> {
      PTG_RUN(tx.Run(kAskStore));
      return {};
    };
    const Result<> said = co_await store.database->Read(ask, Deadline::In(clock, kEvery));
    if (!said) Log(LogLevel::kWarn, "ledger.unreachable", {{"detail", said.error().detail()}});
    store_answers = said.has_value();
    PTG_CO_RUN(co_await Sleep(kEvery));
  }
}

// What the issuer says of licenses, for the gateways of all loops.
void House::Impl::TellGateways() {
  for (size_t i = 0; i < runtime.size(); ++i) {
    runtime.loop(i).Post([this, i, words = licenses->words()] { loops[i].gateway->Use(words); });
  }
}

House::House(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

House::~House() {
  if (impl_ != nullptr && impl_->started) Stop();
}

Result<std::unique_ptr<House>> House::Make(Config config, std::vector<std::string> roles,
                                           const RoleMakers& makers, const Clock& clock, Rng& rng) {
  const bool may_sell =
      roles.empty() ? makers.contains("sales") : std::ranges::find(roles, "sales") != roles.end();
  if (roles.empty()) roles = config.Roles();
  auto impl = std::make_unique<Impl>(std::move(config), std::move(roles), clock, rng);
  for (const std::string& warning : impl->config.warnings) {
    Log(LogLevel::kWarn, "config.warning", {{"detail", warning}});
  }
  if (may_sell) WarnOfGaps(impl->config);
  if (!impl->Has("sales") && !impl->config.license.signing_key.empty()) {
    Log(LogLevel::kWarn, "licenses.private_key",
        {{"key", "license.signing_key"},
         {"detail",
          "this process issues no license and has dropped the key that does, but for its public "
          "half: license.jwks is enough"}});
    PTG_RUN(KeepPublicHalf(impl->config.license));
  }
  PTG_RUN(impl->Build(makers));
  return std::unique_ptr<House>(new House(std::move(impl)));
}

Result<> House::Start() {
  Impl& h = *impl_;
  h.loops.resize(h.runtime.size());
  h.runtime.Start();
  h.started = true;
  for (size_t i = 0; i < h.runtime.size(); ++i) {
    if (!h.gateway_role()) break;
    OnLoop(h.runtime.loop(i), [&h, i] {
      h.loops[i].gateway =
          std::make_unique<gateway::Gateway>(h.runtime.loop(i), h.shared->deps(), h.site);
      h.loops[i].gateway->Use(h.licenses->words());
    });
  }
  PTG_RUN(h.ListenAll());
  if (h.gateway_role() && h.config.server.public_url.empty()) {
    // Only now is the port known that offers name.
    PTG_TRY(h.site, BuildSite(h.config, h.config, h.urls.front(), h.chains->facilitator(),
                              h.shared->upstreams(), h.keys->ring(), h.clock));
    for (size_t i = 0; i < h.runtime.size(); ++i) {
      OnLoop(h.runtime.loop(i), [&h, i] { h.loops[i].gateway->Replace(h.site); });
    }
  }
  OnLoop(h.runtime.loop(0), [&h] {
    Loop& loop = h.runtime.loop(0);
    h.chains->Start();
    loop.Spawn(h.Watch(), "chains.watch");
    for (const auto& other : h.others) other->Start(loop);
    const auto books = [&h](const std::vector<license::SigningKey>& said) {
      for (const auto& other : h.others) other->UseBooks(said);
    };
    loop.Spawn(h.keys->Follow(books), "licenses.keys");
    if (!h.gateway_role()) {
      loop.Spawn(h.WatchStore(), "store.watch");
      return;
    }
    h.sweeper = std::make_unique<paywall::Sweeper>(
        *h.ledger, [&h] { return h.site->rails; }, h.metrics, h.clock);
    loop.Spawn(h.sweeper->Run(), "sweeper");
    loop.Spawn(h.licenses->Follow([&h] { h.TellGateways(); }), "licenses");
    loop.Spawn(h.shared->CountLicenses(), "licenses.count");
  });
  h.ready = true;
  const auto say = [](std::string_view listener, const std::string& url) {
    Log(LogLevel::kInfo, "server.listening",
        {{"listener", listener},
         {"address", std::string_view(url).substr(url.find("://") + 3)},
         {"url", url}});
  };
  // The metrics listener first: who waits for the main one then knows both.
  if (!h.metrics_url.empty()) say("metrics", h.metrics_url);
  for (const std::string& url : h.urls) say("main", url);
  return {};
}

const std::vector<std::string>& House::urls() const { return impl_->urls; }
const std::string& House::metrics_url() const { return impl_->metrics_url; }

std::vector<std::string> House::tls_files() const {
  const auto& tls = impl_->config.server.tls;
  if (!impl_->tls || !tls) return {};
  return {tls->cert, tls->key};
}

void House::ReloadTls() {
  Impl& h = *impl_;
  if (!h.tls || !h.config.server.tls) return;
  auto loaded = LoadTls(h.config);
  if (!loaded) {
    const ConfigFault& fault = loaded.error();
    Log(LogLevel::kError, "tls.refused",
        {{"detail", fault.key + ": " + fault.found}, {"expected", fault.expected}});
    return;
  }
  h.tls = *std::move(loaded);
  for (size_t i = 0; i < h.runtime.size(); ++i) {
    OnLoop(h.runtime.loop(i), [&h, i] {
      for (const auto& server : h.loops[i].servers) server->UseTls(h.tls);
    });
  }
  Log(LogLevel::kInfo, "tls.reloaded", {{"not_after", h.tls->not_after().Rfc3339()}});
  WarnOfTls(*h.config.server.tls, *h.tls, h.clock.Now());
}

Result<> House::Reload(Config config) {
  Impl& h = *impl_;
  if (!h.gateway_role()) {
    WarnOfKept(h.config, config, false);
    if (h.tls && config.server.tls) h.config.server.tls = std::move(config.server.tls);
    return {};
  }
  const std::string url =
      config.server.public_url.empty() ? h.urls.front() : config.server.public_url;
  // A price on a network that this process cannot settle on would be an offer nobody can take.
  const bool needs_chain = h.config.x402.local_facilitator || h.config.x402.check_receipts;
  for (const ChainConfig& chain : config.chains) {
    if (!needs_chain) break;
    if (h.config.ChainOf(chain.network) != nullptr || config.PayToOf(chain.network) == nullptr) {
      continue;
    }
    return Fail(Error(Code::kConfig, "network " + chain.network.Caip2() + " is new")
                    .Want("a restart, which takes new [chain] sections"));
  }
  PTG_RUN(MindSharedKeys(config, !h.Has("sales")));
  PTG_TRY(std::shared_ptr<const gateway::Site> site,
          BuildSite(config, h.config, url, h.chains->facilitator(), h.shared->upstreams(),
                    h.keys->ring(), h.clock));
  PTG_RUN(h.keys->Reload(config));
  SetLogLevel(config.server.log_level);
  for (size_t i = 0; i < h.runtime.size(); ++i) {
    OnLoop(h.runtime.loop(i), [&h, i, &site] {
      h.loops[i].gateway->Replace(site);
      if (i == 0) h.site = site;
    });
  }
  WarnOfKept(h.config, config, true);
  h.config = Applied(std::move(h.config), std::move(config));
  Log(LogLevel::kInfo, "config.reloaded", {{"routes", h.site->routes.size()}});
  return {};
}

}  // namespace pontage::app
