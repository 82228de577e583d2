#include "app/licenses.h"

#include <algorithm>

#include "base/try.h"
#include "crypto/jwt.h"

namespace pontage::app {
namespace {

constexpr std::string_view kFile = "file:";

Result<std::vector<crypto::Jwk>> ReadJwks(const Config& config) {
  const std::string& from = config.license.jwks;
  if (from.empty()) return std::vector<crypto::Jwk>();
  if (!from.starts_with(kFile)) {
    return Fail(Error(Code::kConfig, "license.jwks: " + from).Want("\"file:jwks.json\""));
  }
  const std::string path = from.substr(kFile.size());
  const ConfigSources sources = ConfigSources::System();
  const Result<std::string> text = sources.read_file(path);
  if (!text) return Fail(Code::kConfig, "license.jwks: " + text.error().detail());
  Result<std::vector<crypto::Jwk>> keys = crypto::ParseJwks(*text);
  if (!keys) {
    return Fail(Code::kConfig,
                "license.jwks: " + path + keys.error().pointer() + ": " + keys.error().detail());
  }
  return keys;
}

}  // namespace

std::string IssuerName(const Config& config) {
  if (!config.license.issuer.empty()) return config.license.issuer;
  return config.server.public_url.empty() ? "pontage" : config.server.public_url;
}

Result<license::Issuer> LoadIssuer(const Config& config) {
  if (config.license.signing_key.empty()) {
    return Fail(Error(Code::kConfig, "there is no license.signing_key here")
                    .Want("signing_key = \"file:license.pem\" under [license]"));
  }
  Result<license::Issuer> issuer = license::Issuer::FromPem(config.license.signing_key);
  if (issuer) return issuer;
  return Fail(Error(Code::kConfig, "license.signing_key: " + issuer.error().detail())
                  .Want(issuer.error().expected()));
}

namespace {

// Those of `license.jwks` and that of `license.signing_key`.
Result<std::vector<crypto::Jwk>> AllKeys(const Config& config) {
  PTG_TRY(std::vector<crypto::Jwk> keys, ReadJwks(config));
  if (!config.license.signing_key.empty()) {
    PTG_TRY(const license::Issuer issuer, LoadIssuer(config));
    const std::string kid = crypto::Thumbprint(issuer.public_key());
    if (std::ranges::find(keys, kid, &crypto::Jwk::kid) == keys.end()) {
      keys.push_back({.kid = kid, .key = issuer.public_key(), .not_after = std::nullopt});
    }
  }
  return keys;
}

}  // namespace

Result<std::shared_ptr<const license::Verifier>> LoadVerifier(const Config& config) {
  PTG_TRY(std::vector<crypto::Jwk> keys, AllKeys(config));
  if (keys.empty()) return nullptr;
  return std::make_shared<const license::Verifier>(IssuerName(config), std::move(keys));
}

Result<std::unique_ptr<LicenseFeed>> MakeLicenseFeed(const Config& config, db::Database& database,
                                                     Loop& loop, const Clock& clock,
                                                     obs::Registry& metrics) {
  std::unique_ptr<LicenseFeed::Remote> remote;
  if (!config.license.feed.empty()) {
    remote = std::make_unique<LicenseFeed::Remote>();
    PTG_TRY(remote->url, net::ParseUrl(config.license.feed));
    PTG_TRY(remote->verifier, LoadVerifier(config));
    if (!remote->verifier) {
      return Fail(Error(Code::kConfig, "license.feed without a key to check it with")
                      .Want("jwks = \"file:jwks.json\" under [license]"));
    }
    remote->client = std::make_unique<net::Client>(loop);
  }
  return std::make_unique<LicenseFeed>(database, clock, metrics, std::move(remote));
}

Result<std::unique_ptr<sales::LicenseApi>> MakeLicenseApi(const Config& config,
                                                          db::Database& database,
                                                          const Clock& clock, Rng& rng) {
  PTG_TRY(license::Issuer issuer, LoadIssuer(config));
  PTG_TRY(std::vector<crypto::Jwk> keys, AllKeys(config));
  const auto shared = std::make_shared<const license::Issuer>(std::move(issuer));
  return std::make_unique<sales::LicenseApi>(sales::LicenseApi::Parts{
      .issuer = IssuerName(config),
      .keys = std::move(keys),
      .sign = [shared](std::string_view typ,
                       std::string_view payload) { return shared->Sign(typ, payload); },
      .database = database,
      .clock = clock,
      .rng = rng});
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
  const bool sold = !running.stripe.api_key.empty() && !running.license.signing_key.empty();
  const std::string checkout = sold ? public_url + "/billing/checkout" : "";
  std::vector<rail::PlanOffer> offers;
  for (const PlanConfig& plan : config.plans) {
    offers.push_back(
        {.name = plan.name, .products = plan.products, .price = plan.price, .checkout = checkout});
  }
  return offers;
}

}  // namespace pontage::app
