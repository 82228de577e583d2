#include "app/licenses.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "license/signing_keys.h"

namespace pontage::app {

namespace {

// What is sold in another format than Fernet's alone.
std::vector<std::string> SoldOtherwise(const Config& config,
                                       const std::vector<license::FernetPlan>& plans) {
  std::vector<std::string> out;
  for (const PlanConfig& plan : config.plans) {
    for (const std::string& product : plan.products) {
      const auto names = [&product](const license::FernetPlan& one) {
        return std::ranges::find(one.products, product) != one.products.end();
      };
      if (!config.IsFernet(plan) && std::ranges::none_of(plans, names)) out.push_back(product);
    }
  }
  return out;
}

}  // namespace

Result<std::shared_ptr<const license::FernetKeys>> LoadFernet(const Config& config) {
  if (config.license.fernet_keys.empty()) return nullptr;
  std::vector<license::FernetPlan> plans;
  const license::Plans terms = PlanTermsOf(config);
  for (const PlanConfig& plan : config.plans) {
    if (!config.IsFernet(plan)) continue;
    plans.push_back({.name = plan.name,
                     .products = plan.products,
                     .tier = plan.tier,
                     .limits = terms.find(plan.name)->second.limits});
  }
  std::vector<std::string> others = SoldOtherwise(config, plans);
  PTG_TRY(
      license::FernetKeys keys,
      license::FernetKeys::Parse(config.license.fernet_keys, std::move(plans), std::move(others)));
  return std::make_shared<const license::FernetKeys>(std::move(keys));
}

Result<> MindSharedKeys(const Config& config, bool apart) {
  if (config.license.fernet_keys.empty()) return {};
  if (apart && !config.license.allow_shared_key) {
    return Fail(Error(Code::kConfig,
                      "license.fernet_keys where gateway and sales live apart: whoever verifies "
                      "Fernet can forge")
                    .Want("format = \"jwt\" and no fernet_keys, both roles in one process, or "
                          "allow_shared_key = true"));
  }
  Log(LogLevel::kWarn, "licenses.shared_key",
      {{"detail",
        "licenses in Fernet's format are checked with the key that makes them: whoever "
        "verifies can forge"}});
  return {};
}

Result<std::shared_ptr<const license::Verifier>> MakeVerifier(
    const Config& config, std::shared_ptr<const license::KeyRing> ring) {
  PTG_TRY(std::shared_ptr<const license::FernetKeys> fernet, LoadFernet(config));
  const LicenseConfig& license = config.license;
  const bool own = !license.signing_key.empty() || !license.public_half.empty();
  if (license.jwks.empty() && !own && !fernet) return nullptr;
  return std::make_shared<const license::Verifier>(IssuerName(config), std::move(ring),
                                                   std::move(fernet));
}

Result<std::shared_ptr<const license::Verifier>> LoadVerifier(const Config& config,
                                                              db::Database& database) {
  PTG_TRY(std::vector<crypto::Jwk> files, ReadKeyFiles(config));
  const std::string issuer = IssuerName(config);
  const auto read = [&](db::Tx& tx) -> Result<std::vector<crypto::Jwk>> {
    PTG_TRY(const std::vector<license::SigningKey> books, license::ReadSigningKeys(tx));
    PTG_TRY(const std::vector<license::KnownKey> known, license::ReadKnownKeys(tx, issuer));
    std::vector<crypto::Jwk> keys = Merged(std::move(files), books, Clock::System().Now());
    for (const crypto::Jwk& jwk : license::Believed(known)) keys.push_back(jwk);
    return keys;
  };
  PTG_TRY(std::vector<crypto::Jwk> keys, database.ReadNow(read));
  return MakeVerifier(config, std::make_shared<const license::KeyRing>(std::move(keys)));
}

Result<std::unique_ptr<LicenseFeed>> MakeLicenseFeed(const Config& config, db::Database& database,
                                                     LicenseKeys& keys, Loop& loop,
                                                     const Clock& clock, obs::Registry& metrics) {
  std::unique_ptr<LicenseFeed::Remote> remote;
  if (!config.license.feed.empty()) {
    remote = std::make_unique<LicenseFeed::Remote>(keys);
    PTG_TRY(remote->url, net::ParseUrl(config.license.feed));
    PTG_TRY(remote->verifier, MakeVerifier(config, keys.ring()));
    if (!remote->verifier) {
      return Fail(Error(Code::kConfig, "license.feed without a key to check it with")
                      .Want("jwks = \"file:jwks.json\" under [license]"));
    }
    remote->client = std::make_unique<net::Client>(loop);
  }
  return std::make_unique<LicenseFeed>(database, clock, metrics, std::move(remote));
}

license::StalePolicy StaleOf(const Config& config) {
  return {.max = config.license.max_stale, .deny = config.license.when_stale == "deny"};
}

int64_t DaysOf(const PlanConfig& plan) {
  constexpr int64_t kDefaultDays = 30;
  return plan.days > 0 ? plan.days : kDefaultDays;
}

license::Plans PlanTermsOf(const Config& config) {
  license::Plans plans;
  for (const PlanConfig& plan : config.plans) {
    license::PlanTerms terms{.products = plan.products, .limits = {}};
    for (const auto& [name, value] : plan.limits) {
      if (name == "monthly") terms.limits.monthly = std::max<int64_t>(0, value);
      if (name == "rpm") terms.limits.rpm = std::max<int64_t>(0, value);
    }
    plans.emplace(plan.name, std::move(terms));
  }
  return plans;
}

std::vector<rail::PlanOffer> PlanOffers(const Config& config, const Config& running,
                                        const std::string& public_url) {
  // Of a gateway apart that was given the seller's configuration, too.
  const bool issues = !running.license.signing_key.empty() || !running.license.public_half.empty();
  const bool sold = !running.stripe.api_key.empty() && issues;
  const std::string checkout = sold ? public_url + "/billing/checkout" : "";
  std::vector<rail::PlanOffer> offers;
  for (const PlanConfig& plan : config.plans) {
    offers.push_back(
        {.name = plan.name, .products = plan.products, .price = plan.price, .checkout = checkout});
  }
  return offers;
}

}  // namespace pontage::app
