#include "sales/reconcile.h"

#include <algorithm>
#include <array>

#include "app/cli/commands.h"
#include "app/license_keys.h"
#include "app/sales_wiring.h"
#include "base/log.h"
#include "base/try.h"
#include "db/db.h"
#include "db/migrate.h"
#include "io/runtime.h"
#include "io/timer.h"
#include "obs/metrics.h"
#include "sales/inbox.h"

// `pontage reconcile`: what the role `sales` does by itself every five minutes, hour and night, now
// and all at once. Beside a running server, or alone.
namespace pontage::app {
namespace {

using codec::Json;
using sales::DriftClass;
using sales::LoopKind;
using sales::LoopReport;

struct Outcome {
  std::vector<LoopReport> loops;
  size_t waiting = 0;  // events that were taken in and not dealt with yet

  const std::optional<Error>& fault() const { return loops.back().fault; }
};

// Deals with what the inbox has, beside whoever else does.
Task<size_t> DealWith(sales::Worker& worker, db::Database& database, const LoopReport& events) {
  constexpr Millis kPatience{20'000};  // for what another process has in its hands
  constexpr Millis kPause{200};
  while (true) {
    PTG_CO_TRY(const size_t done, co_await worker.RunOnce());
    if (done == 0) break;
  }
  std::vector<std::string> ids;
  for (const sales::Drift& one : events.drift) ids.push_back(one.what);
  const auto read = [&ids](db::Tx& tx) { return sales::CountWaiting(tx, ids); };
  const Deadline end = Deadline::In(Clock::System(), kPatience);
  while (true) {
    const Deadline by = Deadline::In(Clock::System(), Millis(10'000));
    PTG_CO_TRY(const size_t waiting, co_await database.Read(read, by));
    if (waiting == 0 || end.Passed(Clock::System())) co_return waiting;
    PTG_CO_RUN(co_await Sleep(kPause));
  }
}

// One loop after the other, until Stripe does not answer any more.
Task<Outcome> RunAll(SalesRole& role, db::Database& database) {
  Outcome outcome;
  for (const LoopKind kind : sales::kLoops) {
    PTG_CO_TRY(LoopReport report, co_await role.reconciler()->RunLoop(kind));
    outcome.loops.push_back(std::move(report));
    if (outcome.fault()) break;
    if (kind != LoopKind::kEvents) continue;
    PTG_CO_TRY(outcome.waiting,
               co_await DealWith(*role.patient_worker(), database, outcome.loops.back()));
  }
  co_return outcome;
}

Json ToJson(const Outcome& outcome) {
  int64_t drift = 0;
  int64_t healed = 0;
  std::array<int64_t, static_cast<size_t>(DriftClass::kCount_)> counts{};
  Json prices = Json::Array();
  Json loops = Json::Array();
  for (const LoopReport& one : outcome.loops) {
    drift += one.total();
    healed += one.healed;
    for (size_t i = 0; i < counts.size(); ++i) counts.at(i) += one.counts.at(i);
    for (const sales::PriceDifference& price : one.prices) {
      prices.Push(
          Json::Object({{"plan", price.plan}, {"ours", price.ours}, {"stripe", price.stripes}}));
    }
    loops.Push(sales::ToJson(one));
  }
  Json classes = Json::Object();
  for (size_t i = 0; i < counts.size(); ++i) {
    classes.Set(std::string(sales::ToString(static_cast<DriftClass>(i))), counts.at(i));
  }
  Json json = Json::Object({{"complete", !outcome.fault().has_value()},
                            {"drift", drift},
                            {"healed", healed},
                            {"waiting", outcome.waiting},
                            {"classes", std::move(classes)},
                            {"prices", std::move(prices)},
                            {"loops", std::move(loops)}});
  if (outcome.fault()) json.Set("fault", outcome.fault()->detail());
  return json;
}

void PrintTables(const Outcome& outcome) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::vector<std::string>> found;
  std::vector<std::vector<std::string>> prices;
  for (const LoopReport& one : outcome.loops) {
    rows.push_back({std::string(sales::ToString(one.loop)), std::to_string(one.looked_at),
                    std::to_string(one.total()), std::to_string(one.healed),
                    one.fault ? one.fault->detail() : ""});
    for (const sales::Drift& drift : one.drift) {
      found.push_back({drift.healed ? "healed" : "open", std::string(sales::ToString(drift.kind)),
                       drift.what, drift.detail});
    }
    for (const sales::PriceDifference& price : one.prices) {
      prices.push_back({price.plan, price.ours, price.stripes});
    }
  }
  PrintLine(FormatTable({"LOOP", "LOOKED AT", "DRIFT", "HEALED", ""}, rows));
  if (!found.empty()) PrintLine("\n" + FormatTable({"", "CLASS", "WHAT", ""}, found));
  if (!prices.empty()) PrintLine("\n" + FormatTable({"PLAN", "OURS", "AT STRIPE"}, prices));
}

// Stripe did not answer, or not to us; or the fault is our own.
int ExitOfFault(const Error& fault) {
  return fault.code() == Code::kRateLimited ? static_cast<int>(kNoConnection) : ExitOf(fault);
}

// Where mails and the success page send their readers; a server without the key takes its address.
std::string PublicUrlOf(const Config& config) {
  if (!config.server.public_url.empty()) return config.server.public_url;
  return (config.server.tls ? "https://" : "http://") + config.server.listen.front();
}

}  // namespace

int Reconcile(const CommonOptions& common) {
  // The report says it all.
  SetLogLevel(LogLevel::kError);
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  if (config->stripe.api_key.empty()) {
    return FailWith(common, MakeStripe(*config, Clock::System(), Rng::System()).error());
  }
  const auto database = db::Database::Open(config->store.url, {}, Clock::System());
  if (!database) return FailWith(common, database.error());
  if (const auto ready = db::Migrate(**database, Clock::System()); !ready) {
    return FailWith(common, ready.error());
  }
  obs::Registry metrics;
  Loop loop;
  const auto keys = LicenseKeys::Make(*config, **database, std::make_unique<net::Client>(loop),
                                      Clock::System(), metrics);
  if (!keys) return FailWith(common, keys.error());
  if (const auto read = loop.RunUntilDone((*keys)->Read()); !read) {
    return FailWith(common, read.error());
  }
  const auto role = SalesRole::Make({.config = *config,
                                     .public_url = PublicUrlOf(*config),
                                     .database = **database,
                                     .keys = **keys,
                                     .metrics = metrics,
                                     .clock = Clock::System(),
                                     .rng = Rng::System()});
  if (!role) return FailWith(common, role.error());
  const auto outcome = loop.RunUntilDone(RunAll(**role, **database));
  if (!outcome) return FailWith(common, outcome.error());
  if (WantsJson(common)) {
    PrintJson(ToJson(*outcome));
  } else {
    PrintTables(*outcome);
  }
  if (!outcome->fault()) return kDone;
  Complain("pontage: not everything was looked at: " + outcome->fault()->detail());
  return ExitOfFault(*outcome->fault());
}

}  // namespace pontage::app
