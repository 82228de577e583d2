#include "app/console_wiring.h"

#include <utility>

#include "app/licenses.h"
#include "base/try.h"
#include "console/keys.h"
#include "console/operator_api.h"
#include "console/operator_pages.h"
#include "console/queries.h"
#include "console/session.h"
#include "console/verbs.h"
#include "db/migrate.h"
#include "gateway/forwarding.h"
#include "sales/drift.h"

namespace pontage::app {
namespace {

// A store of another role: opened as it is, since whoever owns it migrates it.
Result<std::unique_ptr<db::Database>> OpenOther(const std::string& url, std::string_view key,
                                                const Clock& clock) {
  PTG_TRY(std::unique_ptr<db::Database> database, db::Database::Open(url, {}, clock));
  PTG_TRY(const int64_t version, db::SchemaVersion(*database));
  const int64_t known = db::AllMigrations().back().version;
  if (version != known) {
    return Fail(Error(Code::kConfig, std::string(key) + ": the store is at version " +
                                         std::to_string(version) + ", this program at " +
                                         std::to_string(known))
                    .Want("one release of all roles, the store's own started first"));
  }
  return database;
}

Result<std::vector<console::OperatorKey>> KeysOf(const ConsoleConfig& config) {
  if (config.operator_key.empty()) {
    return Fail(Error(Code::kConfig, "console.operator_key is empty: nobody could be let in")
                    .Want("operator_key = \"env:X402_ADMIN_KEY\" under [console] and the variable, "
                          "or \"file:operator.key\" of `pontage init`"));
  }
  std::vector<console::OperatorKey> keys;
  keys.push_back(
      {.name = "operator", .key = config.operator_key.Clone(), .scopes = console::Scopes::All()});
  for (const ConsoleKeyConfig& from : config.keys) {
    if (from.key.empty()) {
      return Fail(Error(Code::kConfig, "console.key " + from.name + " is empty")
                      .Want("its variable or file, or no entry"));
    }
    console::OperatorKey key{.name = "key:" + from.name, .key = from.key.Clone(), .scopes = {}};
    for (const std::string& scope : from.scopes) {
      if (const auto known = console::ParseScope(scope)) key.scopes.Add(*known);
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

// What the reconciler of `sales` has left in their store.
Result<std::optional<console::DriftReport>> LastDrift(db::Tx& tx) {
  PTG_TRY(std::optional<sales::LastReport> last, sales::ReadLastReport(tx));
  if (!last) return std::optional<console::DriftReport>();
  return std::optional(console::DriftReport{.at = last->at, .report = std::move(last->report)});
}

}  // namespace

struct ConsoleRole::Impl {
  std::unique_ptr<db::Database> sales_store;   // null: the process's own
  std::unique_ptr<db::Database> ledger_store;  // the same
  std::unique_ptr<console::OperatorKeys> keys;
  std::unique_ptr<console::Queries> queries;
  std::unique_ptr<console::Verbs> verbs;
  gateway::TrustedProxies trusted;
  std::unique_ptr<console::OperatorApi> api;
  std::unique_ptr<console::Sessions> sessions;
  std::unique_ptr<console::OperatorPages> pages;
};

ConsoleRole::ConsoleRole(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ConsoleRole::~ConsoleRole() = default;

Result<std::unique_ptr<ConsoleRole>> ConsoleRole::Make(const Config& config,
                                                       const std::string& public_url,
                                                       db::Database& store, const Clock& clock,
                                                       Rng& rng) {
  const ConsoleConfig& c = config.console;
  auto impl = std::make_unique<Impl>();
  Impl& h = *impl;
  PTG_TRY(std::vector<console::OperatorKey> keys, KeysOf(c));
  h.keys = std::make_unique<console::OperatorKeys>(std::move(keys));
  if (!c.sales_store.empty() && c.sales_store != config.store.url) {
    PTG_TRY(h.sales_store, OpenOther(c.sales_store, "console.sales_store", clock));
  }
  if (!c.ledger_store.empty() && c.ledger_store != config.store.url) {
    PTG_TRY(h.ledger_store, OpenOther(c.ledger_store, "console.ledger_store", clock));
  }
  db::Database& sales = h.sales_store ? *h.sales_store : store;
  db::Database& ledger = h.ledger_store ? *h.ledger_store : store;
  PTG_TRY(const std::shared_ptr<const license::FernetKeys> fernet, LoadFernet(config));
  const auto name_license = [fernet, &clock](std::string_view text) {
    if (!fernet || !license::FernetKeys::LooksLikeOne(text)) return license::IdNamedBy(text);
    const Result<license::Claims> claims = fernet->Read(text, "", clock.Now());
    return claims ? claims->id : std::string();
  };
  h.queries =
      std::make_unique<console::Queries>(console::Queries::Parts{.ledger = ledger,
                                                                 .sales = sales,
                                                                 .clock = clock,
                                                                 .read_drift = &LastDrift,
                                                                 .name_license = name_license});
  h.verbs = std::make_unique<console::Verbs>(
      console::Verbs::Parts{.sales = sales,
                            .clock = clock,
                            .rng = rng,
                            .limits = {.refunds_per_day = c.refunds_per_day,
                                       // Cents of dollars; what is less is rounded down.
                                       .refund_amount_per_day = c.refund_limit.micros() / 10'000}});
  PTG_TRY(h.trusted, gateway::TrustedProxies::Make(config.server.trusted_proxies));
  const auto client_of = [&h](const net::RequestHead& head) {
    return gateway::ClientAddress(head, h.trusted);
  };
  h.api =
      std::make_unique<console::OperatorApi>(console::OperatorApi::Parts{.keys = *h.keys,
                                                                         .queries = *h.queries,
                                                                         .verbs = *h.verbs,
                                                                         .clock = clock,
                                                                         .rng = rng,
                                                                         .client_of = client_of});
  console::SessionOptions options;
  options.secret = c.session_key.Clone();
  options.secure = public_url.starts_with("https://");
  h.sessions = std::make_unique<console::Sessions>(std::move(options), store, clock, rng);
  std::vector<std::string> plans;
  for (const PlanConfig& plan : config.plans) plans.push_back(plan.name);
  h.pages = std::make_unique<console::OperatorPages>(
      console::OperatorPages::Parts{.keys = *h.keys,
                                    .queries = *h.queries,
                                    .verbs = *h.verbs,
                                    .sessions = *h.sessions,
                                    .clock = clock,
                                    .rng = rng,
                                    .client_of = client_of,
                                    .plans = std::move(plans)});
  return std::unique_ptr<ConsoleRole>(new ConsoleRole(std::move(impl)));
}

std::vector<Door> ConsoleRole::Doors() {
  std::vector<Door> doors;
  doors.push_back(DoorOf(*impl_->api));
  doors.push_back(DoorOf(*impl_->pages));
  return doors;
}

}  // namespace pontage::app
