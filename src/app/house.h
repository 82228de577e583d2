#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/chains.h"
#include "app/compose.h"
#include "app/gateway_wiring.h"
#include "app/license_feed.h"
#include "app/license_keys.h"
#include "app/open_store.h"
#include "app/role.h"
#include "base/id.h"
#include "facilitator/facilitator_api.h"
#include "gateway/gateway.h"
#include "io/runtime.h"
#include "ledger/ledger.h"
#include "net/server.h"
#include "obs/metrics.h"
#include "paywall/sweeper.h"

// The inside of a House, for the files that make it (compose.cc), let people in (house_listen.cc)
// and end it (house_stop.cc).
namespace pontage::app {

// Runs `fn` on `loop` and waits for it: loops own what they serve.
void OnLoop(Loop& loop, std::move_only_function<void()> fn);
// What a listener is called from this machine: "0.0.0.0:80" is no address to connect to.
std::string UrlOf(std::string_view address, bool tls = false);
// How many loops.
size_t ThreadsOf(const Config& config);

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
  std::vector<std::unique_ptr<Role>> others;  // sales and what else this binary has
  std::unique_ptr<GatewayShared> shared;
  std::shared_ptr<const gateway::Site> site;  // of the sweeper's loop
  std::unique_ptr<paywall::Sweeper> sweeper;
  std::unique_ptr<LicenseKeys> keys;      // of the first loop
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

  bool Has(std::string_view role) const { return std::ranges::find(roles, role) != roles.end(); }
  bool gateway_role() const { return Has("gateway"); }
  // Without the books nothing is sold or settled. The sweeper is there before `ready` is set.
  bool StoreAnswers() const { return sweeper ? sweeper->store_answers() : store_answers.load(); }
  bool facilitator_role() const { return Has("facilitator"); }
  std::vector<Door> Doors() const;
  // As far as it is known before there are ports.
  std::string PublicUrl() const {
    const std::string& said = config.server.public_url;
    return said.empty() ? UrlOf(config.server.listen.front(), tls != nullptr) : said;
  }

  Result<> Build(const RoleMakers& makers);
  Result<> BuildOthers(const RoleMakers& makers);
  Result<> BuildLicenses();
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

}  // namespace pontage::app
