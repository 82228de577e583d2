#include "app/compose.h"

#include <algorithm>
#include <atomic>
#include <list>
#include <map>
#include <optional>
#include <sched.h>

#include "app/chains.h"
#include "app/close_watch.h"
#include "app/console_wiring.h"
#include "app/facilitator_wiring.h"
#include "app/gateway_wiring.h"
#include "app/license_feed.h"
#include "app/licenses.h"
#include "app/open_store.h"
#include "app/reload.h"
#include "app/sales_wiring.h"
#include "app/site.h"
#include "app/tls_files.h"
#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "db/db.h"
#include "facilitator/facilitator_api.h"
#include "gateway/gateway.h"
#include "gateway/status.h"
#include "io/fork.h"
#include "io/runtime.h"
#include "io/timer.h"
#include "ledger/ledger.h"
#include "net/server.h"
#include "obs/metrics.h"
#include "paywall/sweeper.h"

namespace pontage::app {
namespace {

// How often a loop that stops looks whether it may.
constexpr Millis kStopPoll{10};
// Longer than a store that lives takes for all that it has accepted.
constexpr Millis kCloseTimeout{10'000};

constexpr db::Statement kAskStore{"app.ask_store", "SELECT 1"};

size_t ThreadsOf(const Config& config) {
  if (config.server.threads > 0) return config.server.threads;
  // What this process may really use: a container's limit, not the machine's size.
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool known = sched_getaffinity(0, sizeof set, &set) == 0;
  return known ? static_cast<size_t>(std::max(1, CPU_COUNT(&set))) : 1;
}

bool Has(const std::vector<std::string>& roles, std::string_view role) {
  return std::ranges::find(roles, role) != roles.end();
}

// Runs `fn` on `loop` and waits for it: loops own what they serve.
void OnLoop(Loop& loop, std::move_only_function<void()> fn) {
  std::atomic<bool> done{false};
  loop.Post([&] {
    fn();
    done = true;
    done.notify_one();
  });
  done.wait(false);
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

std::string WithPort(std::string_view address, uint16_t port) {
  return std::string(address.substr(0, address.rfind(':') + 1)) + std::to_string(port);
}

// What a listener is called from this machine: "0.0.0.0:80" is no address to connect to.
std::string UrlOf(std::string_view address, bool tls = false) {
  std::string host(address);
  if (host.starts_with(':')) host = "127.0.0.1" + host;
  if (host.starts_with("0.0.0.0:")) host = "127.0.0.1" + host.substr(7);
  return (tls ? "https://" : "http://") + host;
}

}  // namespace

struct House::Impl {
  // What one loop serves; made and destroyed on it.
  struct PerLoop {
    std::unique_ptr<gateway::Gateway> gateway;
    std::vector<std::unique_ptr<net::Server>> servers;
  };

  Impl(Config c, std::vector<std::string> r, const Clock& k, Rng& g)
      : config(std::move(c)),
        roles(std::move(r)),
        clock(k),
        rng(g),
        runtime(ThreadsOf(config), k) {}

  Config config;
  std::vector<std::string> roles;
  const Clock& clock;
  Rng& rng;
  // What a request that was broken off still counts goes when its frame does, with the loop.
  obs::Registry metrics;
  // Loops outlive what runs on them and the clients that hang on them, so they come first.
  Runtime runtime;
  Store store;
  std::unique_ptr<ledger::Ledger> ledger;
  std::unique_ptr<Chains> chains;
  std::unique_ptr<facilitator::FacilitatorApi> api;
  std::unique_ptr<SalesRole> sales;
  std::unique_ptr<ConsoleRole> console;
  std::unique_ptr<GatewayShared> shared;
  std::shared_ptr<const gateway::Site> site;  // of the sweeper's loop
  std::unique_ptr<paywall::Sweeper> sweeper;
  std::unique_ptr<LicenseFeed> licenses;  // of the first loop
  std::vector<PerLoop> loops;
  std::shared_ptr<const net::TlsServerContext> tls;  // null: plain listeners
  std::unique_ptr<net::Server> metrics_server;
  std::vector<std::string> addresses;  // with real ports
  std::vector<std::string> urls;
  std::string metrics_url;
  std::atomic<bool> ready{false};
  std::atomic<bool> store_answers{true};  // where no sweeper asks it
  std::atomic<size_t> serving{0};         // loops that have not drained yet
  bool started = false;

  bool gateway_role() const { return Has(roles, "gateway"); }
  // Without the books nothing is sold or settled. The sweeper is there before `ready` is set.
  bool StoreAnswers() const { return sweeper ? sweeper->store_answers() : store_answers.load(); }
  bool facilitator_role() const { return Has(roles, "facilitator"); }
  bool sales_role() const { return Has(roles, "sales"); }
  std::vector<Door> Doors() const;
  // As far as it is known before there are ports.
  std::string PublicUrl() const {
    const std::string& said = config.server.public_url;
    return said.empty() ? UrlOf(config.server.listen.front(), tls != nullptr) : said;
  }

  Result<> Build();
  Result<> ReadTlsFiles();
  Result<> ListenAll();
  Result<> ListenOn(size_t loop, const std::string& address, uint16_t& port);
  net::Handler HandlerOf(size_t loop);
  std::function<std::string()> NewRequestIds() {
    return [this] { return std::string(NewIdText("req", clock, rng)); };
  }
  Task<> Watch();
  Task<> WatchStore();
  void TellGateways();
  Task<> DrainLoop(size_t loop, Deadline by);
  void BreakOff();
};

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
  if (sales) {
    for (Door& door : sales->Doors()) doors.push_back(std::move(door));
  }
  if (console) {
    for (Door& door : console->Doors()) doors.push_back(std::move(door));
  }
  return doors;
}

Result<> House::Impl::Build() {
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
  if (sales_role()) {
    PTG_TRY(sales, SalesRole::Make(config, PublicUrl(), *store.database, metrics, clock, rng));
  }
  if (Has(roles, "console")) {
    PTG_TRY(console, ConsoleRole::Make(config, PublicUrl(), *store.database, clock, rng));
  }
  shared = std::make_unique<GatewayShared>(GatewayShared::Parts{
      .ledger = *ledger,
      .metrics = metrics,
      .clock = clock,
      .rng = rng,
      .doors = Doors(),
      .ready = [this] { return ready.load() && chains->ready() && StoreAnswers(); },
      .settle_timeout = config.x402.settle_timeout,
      .database = *store.database});
  if (gateway_role()) {
    PTG_TRY(site, BuildSite(config, config, PublicUrl(), chains->facilitator(), shared->upstreams(),
                            clock));
    WarnOfRoutes(*site);
    // Nobody passes with a license that was revoked before this process began.
    PTG_TRY(licenses, MakeLicenseFeed(config, *store.database, runtime.loop(0), clock, metrics));
    PTG_RUN(runtime.loop(0).RunUntilDone(licenses->Read()));
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

net::Handler House::Impl::HandlerOf(size_t loop) {
  if (gateway_role()) {
    gateway::Gateway* gateway = loops[loop].gateway.get();
    return [gateway](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
      return gateway->Handle(head, body, out);
    };
  }
  const auto serve = [this](net::RequestHead& head, net::BodySource& body,
                            net::ResponseWriter& out) -> Task<> {
    const RequestId id(NewIdText("req", clock, rng));
    paywall::Reply reply(out, id, head);
    PTG_CO_TRY(const bool status,
               co_await gateway::AnswerIfStatus(head, reply, shared->deps().ready));
    if (status) co_return {};
    const catalog::Target unread;  // doors look at the request's own
    PTG_CO_TRY(const bool done, co_await shared->deps().built_in(unread, head, body, reply));
    if (done) co_return {};
    const Error unknown(Code::kNotFound, "there is nothing at this path");
    co_return co_await reply.Problem(unknown);
  };
  return serve;
}

Result<> House::Impl::ListenOn(size_t loop, const std::string& address, uint16_t& port) {
  Result<> listening;
  OnLoop(runtime.loop(loop), [&] {
    auto server =
        std::make_unique<net::Server>(runtime.loop(loop), net::ServerLimits{}, HandlerOf(loop));
    server->NameRefusals(NewRequestIds());
    if (tls) server->UseTls(tls);
    listening = server->Listen(address);
    if (listening) port = server->port();
    loops[loop].servers.push_back(std::move(server));
  });
  return listening;
}

Result<> House::Impl::ListenAll() {
  for (const std::string& address : config.server.listen) {
    // The loops share the port, and so would a second process by mistake: it is asked for alone
    // first.
    PTG_RUN(net::CheckAddressFree(address));
    // The first loop takes the port (perhaps port zero), the others share it.
    uint16_t port = 0;
    std::string real = address;
    for (size_t i = 0; i < runtime.size(); ++i) {
      PTG_RUN(ListenOn(i, real, port));
      real = WithPort(address, port);
    }
    addresses.push_back(real);
    urls.push_back(UrlOf(real, tls != nullptr));
  }
  if (config.server.metrics_listen.empty()) return {};
  Result<> listening;
  OnLoop(runtime.loop(0), [&] {
    metrics_server = std::make_unique<net::Server>(runtime.loop(0), net::ServerLimits{},
                                                   gateway::MetricsHandler(shared->deps()));
    metrics_server->NameRefusals(NewRequestIds());
    listening = metrics_server->Listen(config.server.metrics_listen);
    if (listening) {
      metrics_url = UrlOf(WithPort(config.server.metrics_listen, metrics_server->port()));
    }
  });
  return listening;
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
                                           const Clock& clock, Rng& rng) {
  if (roles.empty()) roles = config.Roles();
  auto impl = std::make_unique<Impl>(std::move(config), std::move(roles), clock, rng);
  for (const std::string& warning : impl->config.warnings) {
    Log(LogLevel::kWarn, "config.warning", {{"detail", warning}});
  }
  PTG_RUN(impl->Build());
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
                              h.shared->upstreams(), h.clock));
    for (size_t i = 0; i < h.runtime.size(); ++i) {
      OnLoop(h.runtime.loop(i), [&h, i] { h.loops[i].gateway->Replace(h.site); });
    }
  }
  OnLoop(h.runtime.loop(0), [&h] {
    Loop& loop = h.runtime.loop(0);
    h.chains->Start();
    loop.Spawn(h.Watch(), "chains.watch");
    if (h.sales) h.sales->Start(loop);
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
  PTG_TRY(
      std::shared_ptr<const gateway::Site> site,
      BuildSite(config, h.config, url, h.chains->facilitator(), h.shared->upstreams(), h.clock));
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

// One loop's part of stopping. All its listeners close at once, whatever the first of them still
// has to finish.
Task<> House::Impl::DrainLoop(size_t loop, Deadline by) {
  std::list<Fork> drains;
  for (const auto& server : loops[loop].servers) drains.emplace_back(server->Drain(by));
  const auto running = [](const Fork& drain) { return !drain.result(); };
  while (std::ranges::any_of(drains, running)) PTG_CO_RUN(co_await Sleep(kStopPoll));
  // Notes to the ledger that nobody waits for are written before the loop ends.
  for (int tries = 0; tries < 50 && Loop::Current()->spawned() > 4; ++tries) {
    PTG_CO_RUN(co_await Sleep(kStopPoll));
  }
  --serving;
  if (loop != 0) co_return {};
  // What all loops share ends when the last of them has served: a payment may still be settling.
  while (serving > 0) PTG_CO_RUN(co_await Sleep(kStopPoll));
  if (gateway_role()) PTG_CO_RUN(co_await shared->WriteLicenses(true));
  if (sweeper) sweeper->Stop();
  co_return co_await chains->Stop();
}

// Whoever is still being answered is broken off: a second drain that waits for nobody.
void House::Impl::BreakOff() {
  for (size_t i = 0; i < runtime.size(); ++i) {
    runtime.loop(i).Post([this, i] {
      for (const auto& server : loops[i].servers) {
        runtime.loop(i).Spawn(server->Drain(Deadline::In(clock, Millis(0))), "drain.now");
      }
    });
  }
}

void House::Stop(const std::function<bool()>& hurry) {
  Impl& h = *impl_;
  if (!h.started) return;
  h.started = false;
  h.ready = false;
  if (h.sales) h.sales->Stop();
  const Deadline by = Deadline::In(h.clock, h.config.server.drain_timeout);
  h.serving = h.runtime.size();
  // Every loop drains at once; each says when it is done.
  std::atomic<size_t> open{h.runtime.size()};
  for (size_t i = 0; i < h.runtime.size(); ++i) {
    h.runtime.loop(i).Post([&h, i, by, &open] {
      const auto drain = [](Impl& house, size_t n, Deadline until,
                            std::atomic<size_t>& left) -> Task<> {
        const Result<> drained = co_await house.DrainLoop(n, until);
        if (!drained) {
          Log(LogLevel::kWarn, "server.drain", {{"detail", drained.error().detail()}});
        }
        --left;
        left.notify_one();
        co_return {};
      };
      h.runtime.loop(i).Spawn(drain(h, i, by, open), "drain");
    });
  }
  for (size_t n = open; n > 0; n = open) {
    if (!hurry) {
      open.wait(n);
    } else if (hurry()) {
      Log(LogLevel::kWarn, "server.drain", {{"detail", "told again to stop: not waiting"}});
      h.BreakOff();
    }
  }
  for (size_t i = 0; i < h.runtime.size(); ++i) {
    OnLoop(h.runtime.loop(i), [&h, i] {
      if (i == 0) h.metrics_server.reset();
      h.loops[i].servers.clear();
    });
  }
  h.runtime.Stop();
  h.runtime.Join();
  {
    const CloseWatch watch(kCloseTimeout);
    h.store.database.reset();  // once it has written what it has accepted
  }
  // What still waits for something is dropped while all that it refers to is there.
  for (size_t i = 0; i < h.runtime.size(); ++i) h.runtime.loop(i).DropSpawned();
  h.sweeper.reset();
  h.loops.clear();
  Log(LogLevel::kInfo, "server.stopped");
}

}  // namespace pontage::app
