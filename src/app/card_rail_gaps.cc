#include "app/card_rail_gaps.h"

#include <algorithm>
#include <utility>

namespace pontage::app {
namespace {

std::string FoundAt(const Config& config, std::string_view key) {
  std::string missing = config.MissingAt(key);
  return missing.empty() ? "nothing" : missing;
}

bool HasAll(const std::vector<Secret>& secrets) {
  return !secrets.empty() && std::ranges::none_of(secrets, &Secret::empty);
}

// Whoever sells needs one; so does whoever has named one.
bool LacksSigningKey(const Config& config) {
  if (!config.license.signing_key.empty()) return false;
  if (!config.MissingAt("license.signing_key").empty()) return true;
  return config.stripe.present && config.license.fernet_keys.empty();
}

bool LacksMailKey(const Config& config) {
  if (!config.mail.present || !config.mail.api_key.empty()) return false;
  return config.mail.host.empty() || !config.MissingAt("mail.api_key").empty();
}

}  // namespace

std::string CardRailGap::Text() const {
  return std::string(key) + ": " + found + "; " + std::string(means);
}

std::vector<CardRailGap> CardRailGaps(const Config& config) {
  std::vector<CardRailGap> gaps;
  const auto lacks = [&](CardRailGap gap) {
    gap.found = FoundAt(config, gap.key);
    gaps.push_back(std::move(gap));
  };
  if (LacksSigningKey(config)) {
    lacks(
        {.event = "sales.no_signing_key",
         .check = "signing key",
         .key = "license.signing_key",
         .found = {},
         .means = "no license is issued, and nothing is sold by card",
         .remedy = "signing_key = \"file:license.pem\" under [license]; `pontage init` makes one"});
  }
  if (config.stripe.present && config.stripe.api_key.empty()) {
    lacks({.event = "sales.no_api_key",
           .check = "stripe key",
           .key = "stripe.api_key",
           .found = {},
           .means = "nothing is sold by card: there is no /billing and no /webhooks/stripe",
           .remedy = "api_key = \"env:STRIPE_SECRET_KEY\" under [stripe], and the variable"});
  }
  const std::vector<Secret>& secrets = config.stripe.webhook_secrets;
  if (config.stripe.present && !HasAll(secrets)) {
    const bool none = std::ranges::all_of(secrets, &Secret::empty);
    lacks({.event = "sales.no_webhook_secret",
           .check = "webhook secret",
           .key = "stripe.webhook_secret",
           .found = {},
           .means = none ? "no delivery of Stripe's is believed"
                         : "deliveries signed with it are not believed",
           .remedy = "webhook_secret = [\"env:STRIPE_WEBHOOK_SECRET\"] under [stripe], and the "
                     "variable; `pontage stripe setup` shows it when it makes the endpoint"});
  }
  if (LacksMailKey(config)) {
    lacks({.event = "mail.no_key",
           .check = "mail key",
           .key = "mail.api_key",
           .found = {},
           .means = config.mail.host.empty() ? "no mail leaves; they wait in the outbox"
                                             : "all mail goes through mail.host",
           .remedy = "api_key = \"env:RESEND_API_KEY\" under [mail], and the variable"});
  }
  if (config.mail.present && !config.mail.webhook_secrets.empty() &&
      !HasAll(config.mail.webhook_secrets)) {
    lacks({.event = "mail.no_webhook_secret",
           .check = "mail webhook secret",
           .key = "mail.webhook_secret",
           .found = {},
           .means = "bounces and complaints signed with it are not heard of",
           .remedy =
               "webhook_secret = \"env:RESEND_WEBHOOK_SECRET\" under [mail], and the variable"});
  }
  return gaps;
}

}  // namespace pontage::app
