#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/secret.h"
#include "catalog/path.h"
#include "catalog/route.h"
#include "catalog/route_table.h"
#include "gateway/forwarding.h"
#include "gateway/limiter.h"
#include "gateway/upstreams.h"
#include "ledger/ledger.h"
#include "license/freshness.h"
#include "license/gate.h"
#include "license/quota.h"
#include "license/usage_book.h"
#include "net/client.h"
#include "net/server.h"
#include "obs/metrics.h"
#include "obs/trace.h"
#include "paywall/exchange.h"
#include "rail/rail_set.h"

namespace pontage::gateway {

// A seller's server.
struct Upstream {
  // One of its addresses; the path is a prefix of what is forwarded.
  struct Address {
    net::Url url;
    std::shared_ptr<SharedHealth> health;
  };
  std::string name;
  std::vector<Address> addresses;                       // in the order they are asked
  std::vector<std::pair<std::string, Secret>> headers;  // the seller's own, put on every request
  bool pass_authorization = false;
  Millis connect_timeout{5'000};
  // With authorities of its own for an https url; null: those of the system.
  std::shared_ptr<const net::TlsClientContext> tls;
  UpstreamLimits limits;
  std::shared_ptr<Gate> gate;
};

// One configuration, judged and ready: immutable, shared by the loops, replaced whole on reload.
// Requests that began under an older one end under it.
struct Site {
  catalog::RouteTable table;
  std::vector<catalog::Route> routes;
  std::vector<Upstream> upstreams;
  std::shared_ptr<const rail::RailSet> rails;
  TrustedProxies trusted;
  std::string public_url;  // "https://api.example.com", no slash at the end
};

// What all loops of a process share; outlives them.
struct GatewayDeps {
  ledger::Ledger& ledger;
  obs::Registry& metrics;
  const Clock& clock;
  Rng& rng;
  Limiter& limiter;
  std::function<bool()> ready;  // may traffic come? (/readyz)
  paywall::ExchangeOptions exchange;
  // Where licenses are counted; null: nowhere, and their limits are not looked at.
  license::Quota* quota = nullptr;
  license::UsageBook* usage = nullptr;
  // When their issuer was heard last; null: nobody follows that.
  const license::Freshness* heard = nullptr;
  // Asks for keys that came up since, now and then at most; true when there are others. Not set:
  // there is nobody to ask.
  std::function<Task<bool>()> learn_keys{};
  // Built-in paths beside the routes (the facilitator's, in one process). Gives false when the path
  // is none of its own; a configured route wins over it.
  std::function<Task<bool>(const catalog::Target& target, net::RequestHead& head,
                           net::BodySource& body, paywall::Reply& reply)>
      built_in;
};

// The gateway role on one loop: every request of its listeners. Made, used and destroyed on the
// loop.
class Gateway {
 public:
  Gateway(Loop& loop, const GatewayDeps& deps, std::shared_ptr<const Site> site);

  // For net::Server.
  Task<> Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out);
  // From the next request on.
  void Replace(std::shared_ptr<const Site> site) {
    site_ = std::move(site);
    request_times_.clear();
    licensed_calls_.clear();
  }
  // The issuer's words on licenses, from the next request on.
  void Use(std::shared_ptr<const license::Entitlements> words) { licenses_.Use(std::move(words)); }

 private:
  // What the log says of a request: of one that a proxy asked about, the one asked about.
  struct Noted {
    std::string route;
    std::string method;
    std::string path;
  };
  Task<> Answer(net::RequestHead& head, net::BodySource& body, paywall::Reply& reply, Noted& noted);
  // May `question` pass? 200 with the receipt, or the refusal that its client should see.
  Task<> AnswerForwardAuth(const Site& site, net::RequestHead& head, paywall::Reply& reply,
                           Noted& noted);
  // What a license in the request is worth on a priced route: it opens it, or has a fault that is
  // to be told; neither where there is none, or a payment beside it counts.
  struct Licensed {
    std::shared_ptr<const license::Claims> claims = nullptr;
    license::Limits limits{};
    std::optional<Error> fault = std::nullopt;
    bool paid = false;  // there is a payment beside it
    Millis retry{0};    // of a limit that is used up
    // It was not seen before, and nothing else is known yet: VerifyLicense finds out.
    std::optional<license::Gate::Digest> unseen = std::nullopt;
    std::optional<Millis> stale = std::nullopt;  // so long the issuer was not heard; none: lately
  };
  // Members of RateLimit-Policy and RateLimit: each limit that this request was counted at.
  struct Counted {
    std::string policy;
    std::string left;
    void Add(std::string_view name, const catalog::Allowance& allowance,
             const catalog::Verdict& verdict);
    void Say(paywall::Reply& reply) const;
  };
  // One call of the route's rate for this client. Comes before all else, so that what it refuses
  // uses up nothing.
  catalog::Verdict TakeRate(const Site& site, const catalog::Route& route,
                            const net::RequestHead& head, Counted& counted);
  // The answer to what was too fast.
  Task<> TooFast(const catalog::Route& route, Millis retry, const Counted& counted,
                 paywall::Reply& reply);
  Licensed JudgeLicense(const Site& site, const catalog::Route& route,
                        const net::RequestHead& head);
  // Of one that was not seen before: its signature, and whether its issuer has a new key.
  Task<Licensed> VerifyLicense(const Site& site, const catalog::Route& route,
                               const net::RequestHead& head, Licensed licensed);
  // What was found out of it, for the answer and in the counters.
  void Settle(Licensed& licensed, const rail::LicenseRail& rail, const catalog::Route& route,
              Result<license::Gate::Passed> passed);
  // What becomes of a good license while its issuer is not heard.
  void MindAge(Licensed& licensed, const license::StalePolicy& policy);
  // One call of each limit of its plan, or the fault that one is used up.
  Task<> CountLicense(Licensed& licensed, const catalog::Route& route, Counted& counted);
  Task<bool> TakeOne(Licensed& licensed, license::PeriodKind kind, std::string_view name,
                     int64_t most, Counted& counted);
  // Says what it opened, and that a payment was not needed.
  void NoteLicensed(const Licensed& licensed, const catalog::Route& route, paywall::Reply& reply);
  // Whether the route gives this call of a client away.
  bool TakeFree(const Site& site, const catalog::Route& route, const net::RequestHead& head,
                Counted& counted);
  obs::Counter& LicensedCalls(const catalog::Route& route, std::string_view code);
  Task<> Forward(const Site& site, const catalog::Route& route, const catalog::Target& target,
                 net::RequestHead& head, net::BodySource& body, paywall::Reply& reply);
  Task<> Preflight(const net::RequestHead& head, paywall::Reply& reply);
  void Note(const net::RequestHead& head, const paywall::Reply& reply, const Noted& noted,
            SteadyMs start);

  const GatewayDeps& deps_;
  std::shared_ptr<const Site> site_;
  net::Client client_;
  paywall::Exchange exchange_;
  license::Gate licenses_;
  // By route, then by word, which is one of the error map's.
  std::unordered_map<std::string, std::map<std::string_view, obs::Counter*>> licensed_calls_;
  // By route, then by class of status.
  std::unordered_map<std::string, std::array<obs::Histogram*, 7>> request_times_;
};

}  // namespace pontage::gateway
