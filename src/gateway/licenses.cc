// What a license in a request is worth: judged offline, counted where its plan has limits.
#include <utility>

#include "base/try.h"
#include "gateway/gateway.h"
#include "wire/problem/error_map.h"

namespace pontage::gateway {

using paywall::Reply;

obs::Counter& Gateway::LicensedCalls(const catalog::Route& route, std::string_view code) {
  obs::Counter*& kept = licensed_calls_[route.match][code];
  if (kept == nullptr) {
    kept = &deps_.metrics.CounterOf("pontage_licensed_calls_total",
                                    "Requests that came with a license, by its worth.",
                                    {{"route", route.match}, {"code", code}});
  }
  return *kept;
}

Gateway::Licensed Gateway::JudgeLicense(const Site& site, const catalog::Route& route,
                                        const net::RequestHead& head) {
  const rail::LicenseRail* rail = site.rails->license();
  if (rail == nullptr || route.free) return {};
  const Result<std::optional<std::string_view>> token = rail::LicenseRail::Find(head.headers);
  if (token && !*token) return {};
  // Where no license opens anything, a credential may be meant for somebody else.
  if (!rail::LicenseRail::Opens(route) && (!token || !license::Verifier::LooksLikeOne(**token))) {
    return {};
  }
  Licensed licensed;
  // One that cannot be read is the exchange's to refuse.
  const Result<std::optional<rail::RailSet::Found>> payment = site.rails->Find(head.headers);
  licensed.paid = !payment || payment->has_value();
  if (!token) {
    Settle(licensed, *rail, route, Fail(token.error()));
    return licensed;
  }
  license::Gate::Digest digest;
  std::optional<Result<license::Gate::Passed>> passed = licenses_.TryJudge(
      rail->verifier(), **token, rail->DemandOf(route), deps_.clock.Now(), digest);
  if (passed) {
    Settle(licensed, *rail, route, *std::move(passed));
  } else {
    licensed.unseen = digest;
  }
  return licensed;
}

Task<Gateway::Licensed> Gateway::VerifyLicense(const Site& site, const catalog::Route& route,
                                               const net::RequestHead& head, Licensed licensed) {
  const rail::LicenseRail& rail = *site.rails->license();
  const std::string_view token = **rail::LicenseRail::Find(head.headers);
  const license::Demand demand = rail.DemandOf(route);
  bool may_ask = deps_.learn_keys != nullptr;
  while (true) {
    const uint64_t keys = rail.verifier()->version();
    license::Gate::Verification verification(licenses_, rail.verifier(), token, *licensed.unseen,
                                             demand, deps_.clock.Now());
    Result<license::Gate::Passed> passed = co_await verification;
    // Somebody else has learned new ones meanwhile.
    if (!passed && rail.verifier()->version() != keys) continue;
    const bool strange = !passed && passed.error().code() == Code::kLicenseInvalid &&
                         rail.verifier()->LacksKeyOf(token);
    if (strange && std::exchange(may_ask, false)) {
      PTG_CO_TRY(const bool others, co_await deps_.learn_keys());
      if (others) continue;
    }
    Settle(licensed, rail, route, std::move(passed));
    co_return licensed;
  }
}

void Gateway::Settle(Licensed& licensed, const rail::LicenseRail& rail, const catalog::Route& route,
                     Result<license::Gate::Passed> passed) {
  if (passed) {
    licensed.claims = std::move(passed->claims);
    licensed.limits = passed->limits;
    return MindAge(licensed, rail.stale());
  }
  LicensedCalls(route, problem::RowOf(passed.error().code()).slug).Add();
  if (!licensed.paid) licensed.fault = std::move(passed).error();
}

void Gateway::MindAge(Licensed& licensed, const license::StalePolicy& policy) {
  if (deps_.heard == nullptr) return;
  const std::optional<Millis> age = deps_.heard->Age(deps_.clock.Now());
  if (age && *age <= license::kFreshFor) return;
  licensed.stale = age.value_or(Millis::max());
  if (!policy.deny || *licensed.stale <= policy.max) return;
  licensed.claims = nullptr;
  if (!licensed.paid) {
    licensed.fault = Error(Code::kLicenseStale,
                           "the issuer of licenses was not heard for too long to believe them")
                         .Want("the same license later, or a payment");
  }
}

Task<bool> Gateway::TakeOne(Licensed& licensed, license::PeriodKind kind, std::string_view name,
                            int64_t most, Counted& counted) {
  const std::string& id = licensed.claims->id;
  const UnixMs now = deps_.clock.Now();
  std::optional<license::Allowed> allowed = deps_.quota->TryTake(id, kind, most, now);
  if (!allowed) {
    const Deadline by = Deadline::In(deps_.clock, deps_.exchange.store_timeout);
    PTG_CO_TRY(allowed, co_await deps_.quota->Take(id, kind, most, by));
  }
  const Millis window = allowed->period.ends - allowed->period.begins;
  const Millis reset = allowed->period.ends - now;
  const catalog::Allowance allowance{static_cast<uint64_t>(most), window};
  const catalog::Verdict verdict{.pass = allowed->pass,
                                 .left = static_cast<uint64_t>(allowed->left),
                                 .reset = reset,
                                 .retry = reset};
  counted.Add(name, allowance, verdict);
  if (!allowed->pass) licensed.retry = reset;
  co_return allowed->pass;
}

Task<> Gateway::CountLicense(Licensed& licensed, const catalog::Route& route, Counted& counted) {
  if (deps_.quota == nullptr) co_return {};
  const license::Limits limits = licensed.limits;
  bool pass = true;
  std::string_view which = "minute";
  if (limits.rpm > 0) {
    PTG_CO_TRY(
        pass, co_await TakeOne(licensed, license::PeriodKind::kMinute, "rpm", limits.rpm, counted));
  }
  if (pass && limits.monthly > 0) {
    which = "month";
    PTG_CO_TRY(pass, co_await TakeOne(licensed, license::PeriodKind::kMonth, "monthly",
                                      limits.monthly, counted));
  }
  if (pass) co_return {};
  LicensedCalls(route, problem::RowOf(Code::kQuotaExceeded).slug).Add();
  if (!licensed.paid) {
    const int64_t most = which == "minute" ? limits.rpm : limits.monthly;
    licensed.fault = Error(Code::kQuotaExceeded,
                           "the license's calls of this " + std::string(which) + " are used up")
                         .Want("at most " + std::to_string(most) + " in a " + std::string(which));
  }
  licensed.claims = nullptr;
  co_return {};
}

void Gateway::NoteLicensed(const Licensed& licensed, const catalog::Route& route, Reply& reply) {
  LicensedCalls(route, "ok").Add();
  reply.Add("X-Pontage-License", licensed.claims->id);
  if (licensed.stale) {
    const bool never = *licensed.stale == Millis::max();
    reply.Add("X-Pontage-License-Feed",
              never ? "stale" : "stale; age=" + std::to_string(licensed.stale->count() / 1'000));
    LicensedCalls(route, "stale").Add();
  }
  // Its nonce is as good as it was: nobody looked at it.
  if (licensed.paid) reply.Add("X-Pontage-Payment", "unused");
  if (deps_.usage != nullptr) deps_.usage->Note(licensed.claims->id, route.match);
}

}  // namespace pontage::gateway
