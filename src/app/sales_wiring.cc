#include "app/sales_wiring.h"

#include <utility>

#include "app/licenses.h"
#include "app/version.h"
#include "base/log.h"
#include "base/try.h"
#include "sales/billing_api.h"
#include "sales/commands.h"
#include "sales/license_api.h"
#include "sales/mail/bounces.h"
#include "sales/mail/outbox_worker.h"
#include "sales/mail/resend.h"
#include "sales/mail/smtp.h"
#include "sales/purchase.h"
#include "sales/shop.h"
#include "sales/stripe_client.h"
#include "sales/worker.h"

namespace pontage::app {
namespace {

constexpr Millis kDay{86'400'000};

// "$29/month" in its parts; the reader has judged its form.
void ReadPrice(const PlanConfig& from, sales::SoldPlan& to) {
  const size_t slash = from.price.find('/');
  if (const auto price = ParseMoney(std::string_view(from.price).substr(0, slash))) {
    to.price = *price;
  }
  if (slash != from.price.npos) to.interval = from.price.substr(slash + 1);
}

// Something that a plan of ours opens, for the line that a buyer pastes.
std::string ExampleUrl(const Config& config, const std::string& public_url) {
  for (const RouteConfig& route : config.routes) {
    if (route.plans.empty() && route.product.empty()) continue;
    std::string_view match = route.match;
    if (const size_t space = match.find(' '); space != match.npos) match.remove_prefix(space + 1);
    return public_url + std::string(match.substr(0, match.find('*')));
  }
  return public_url + "/";
}

}  // namespace

sales::Shop ShopOf(const Config& config, const std::string& public_url) {
  sales::Shop shop;
  shop.issuer = IssuerName(config);
  shop.public_url = public_url;
  shop.grace = config.license.grace_days * kDay;
  shop.seller = {.from = config.mail.from,
                 .name = public_url.substr(public_url.find("://") + 3),
                 .call_url = ExampleUrl(config, public_url),
                 .mcp_url = config.mcps.empty() ? "" : public_url + config.mcps.front().path,
                 .manage_url = public_url + "/billing"};
  shop.receipts = config.mail.receipts;
  shop.claim_links = config.license.delivery == "claim";
  const license::Plans terms = PlanTermsOf(config);
  for (const PlanConfig& from : config.plans) {
    sales::SoldPlan plan;
    plan.name = from.name;
    plan.products = from.products;
    plan.tier = from.tier;
    plan.limits = terms.find(from.name)->second.limits;
    plan.shown = from.price;
    plan.days = DaysOf(from);
    plan.trial_days = from.trial_days;
    plan.stripe_price = stripe::PriceId(from.stripe_price);
    ReadPrice(from, plan);
    shop.plans.emplace(from.name, std::move(plan));
  }
  return shop;
}

Result<std::unique_ptr<sales::StripeClient>> MakeStripe(const Config& config, const Clock& clock,
                                                        Rng& rng) {
  if (config.stripe.api_key.empty()) {
    return Fail(Error(Code::kConfig, "there is no stripe.api_key here")
                    .Want("api_key = \"env:STRIPE_SECRET_KEY\" under [stripe], and the variable"));
  }
  sales::StripeOptions options;
  options.api_base = config.stripe.api_base;
  options.api_key = config.stripe.api_key.Clone();
  return sales::StripeClient::Make(std::move(options), clock, rng);
}

struct SalesRole::Impl {
  explicit Impl(license::Issuer key) : issuer(std::move(key)) {}

  license::Issuer issuer;
  sales::Shop shop;
  std::vector<stripe::SigningSecret> secrets;
  std::unique_ptr<sales::LicenseApi> licenses;
  std::unique_ptr<sales::Fulfilment> fulfilment;
  std::unique_ptr<sales::StripeClient> stripe;
  std::unique_ptr<sales::Worker> worker;
  std::unique_ptr<sales::CommandWorker> commands;
  std::unique_ptr<sales::BillingApi> billing;
  // What nobody waits for asks Stripe by itself, and slower.
  std::unique_ptr<sales::StripeClient> patient;
  std::unique_ptr<sales::Worker> patient_worker;
  std::unique_ptr<sales::Reconciler> reconciler;
  std::vector<std::unique_ptr<mail::Provider>> providers;
  std::unique_ptr<mail::OutboxWorker> outbox;
  std::unique_ptr<mail::ResendDoor> bounces;

  Result<> UseStripe(const Config& config, db::Database& database, obs::Registry& metrics,
                     const Clock& clock, Rng& rng);
  Result<> UseMail(const Config& config, db::Database& database, obs::Registry& metrics,
                   const Clock& clock, Rng& rng);
};

SalesRole::SalesRole(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SalesRole::~SalesRole() = default;

Result<> SalesRole::Impl::UseStripe(const Config& config, db::Database& database,
                                    obs::Registry& metrics, const Clock& clock, Rng& rng) {
  if (config.stripe.api_key.empty()) return {};
  PTG_TRY(stripe, MakeStripe(config, clock, rng));
  for (const Secret& secret : config.stripe.webhook_secrets) {
    secrets.push_back({.value = secret.Clone(), .not_after = std::nullopt});
  }
  if (secrets.empty()) {
    Log(LogLevel::kWarn, "config.warning",
        {{"detail", "stripe.webhook_secret is empty: no delivery of Stripe's will be believed"}});
  }
  worker = std::make_unique<sales::Worker>(sales::Worker::Parts{.stripe = *stripe,
                                                                .database = database,
                                                                .shop = shop,
                                                                .fulfilment = *fulfilment,
                                                                .metrics = metrics,
                                                                .clock = clock,
                                                                .rng = rng});
  PTG_TRY(std::shared_ptr<const license::Verifier> verifier, LoadVerifier(config));
  billing =
      std::make_unique<sales::BillingApi>(sales::BillingApi::Parts{.stripe = *stripe,
                                                                   .worker = *worker,
                                                                   .fulfilment = *fulfilment,
                                                                   .shop = shop,
                                                                   .verifier = std::move(verifier),
                                                                   .secrets = secrets,
                                                                   .database = database,
                                                                   .metrics = metrics,
                                                                   .clock = clock,
                                                                   .rng = rng});
  patient = stripe->Slower(sales::Reconciler::kPerSecond);
  patient_worker = std::make_unique<sales::Worker>(sales::Worker::Parts{.stripe = *patient,
                                                                        .database = database,
                                                                        .shop = shop,
                                                                        .fulfilment = *fulfilment,
                                                                        .metrics = metrics,
                                                                        .clock = clock,
                                                                        .rng = rng});
  reconciler =
      std::make_unique<sales::Reconciler>(sales::Reconciler::Parts{.stripe = *patient,
                                                                   .worker = *patient_worker,
                                                                   .database = database,
                                                                   .shop = shop,
                                                                   .fulfilment = *fulfilment,
                                                                   .metrics = metrics,
                                                                   .clock = clock,
                                                                   .rng = rng});
  return {};
}

Result<> SalesRole::Impl::UseMail(const Config& config, db::Database& database,
                                  obs::Registry& metrics, const Clock& clock, Rng& rng) {
  const MailConfig& mail = config.mail;
  if (!mail.present) return {};
  if (!mail.webhook_secrets.empty()) {
    PTG_TRY(mail::ResendWebhook webhook, mail::ResendWebhook::Make(mail.webhook_secrets));
    bounces = std::make_unique<mail::ResendDoor>(std::move(webhook), database, clock, rng);
  }
  if (!mail.api_key.empty()) {
    mail::ResendOptions options;
    options.api_base = mail.api_base;
    options.api_key = mail.api_key.Clone();
    options.version = kVersion;
    PTG_TRY(std::unique_ptr<mail::Resend> resend, mail::Resend::Make(std::move(options)));
    providers.push_back(std::move(resend));
  }
  if (!mail.host.empty()) {
    mail::SmtpOptions options;
    options.host = mail.host;
    if (mail.port != 0) options.port = mail.port;
    options.tls_first = options.port == 465;
    options.user = mail.user;
    options.password = mail.password.Clone();
    PTG_TRY(std::unique_ptr<mail::Smtp> smtp, mail::Smtp::Make(std::move(options), clock));
    const bool first = mail.provider == "smtp";
    providers.insert(first ? providers.begin() : providers.end(), std::move(smtp));
  }
  if (providers.empty()) return {};
  std::vector<mail::Provider*> all;
  for (const auto& one : providers) all.push_back(one.get());
  outbox = std::make_unique<mail::OutboxWorker>(database, std::move(all), metrics, clock);
  return {};
}

Result<std::unique_ptr<SalesRole>> SalesRole::Make(const Config& config,
                                                   const std::string& public_url,
                                                   db::Database& database, obs::Registry& metrics,
                                                   const Clock& clock, Rng& rng) {
  PTG_TRY(license::Issuer issuer, LoadIssuer(config));
  auto impl = std::make_unique<Impl>(std::move(issuer));
  Impl& h = *impl;
  h.shop = ShopOf(config, public_url);
  PTG_TRY(h.licenses, MakeLicenseApi(config, database, clock, rng));
  h.fulfilment = std::make_unique<sales::Fulfilment>(
      h.shop, [&h](const license::Claims& claims) { return h.issuer.Issue(claims); }, clock, rng);
  PTG_RUN(h.UseStripe(config, database, metrics, clock, rng));
  PTG_RUN(h.UseMail(config, database, metrics, clock, rng));
  h.commands = std::make_unique<sales::CommandWorker>(
      sales::CommandWorker::Parts{.stripe = h.stripe.get(),
                                  .worker = h.worker.get(),
                                  .database = database,
                                  .shop = h.shop,
                                  .fulfilment = *h.fulfilment,
                                  .metrics = metrics,
                                  .clock = clock,
                                  .rng = rng});
  return std::unique_ptr<SalesRole>(new SalesRole(std::move(impl)));
}

std::vector<Door> SalesRole::Doors() {
  std::vector<Door> doors;
  doors.push_back(DoorOf(*impl_->licenses));
  if (impl_->billing) doors.push_back(DoorOf(*impl_->billing));
  if (impl_->bounces) doors.push_back(DoorOf(*impl_->bounces));
  return doors;
}

sales::Reconciler* SalesRole::reconciler() { return impl_->reconciler.get(); }
sales::Worker* SalesRole::patient_worker() { return impl_->patient_worker.get(); }

void SalesRole::Stop() { impl_->licenses->Stop(); }

void SalesRole::Start(Loop& loop) {
  if (impl_->worker) loop.Spawn(impl_->worker->Run(), "sales.inbox");
  loop.Spawn(impl_->commands->Run(), "sales.commands");
  if (impl_->outbox) loop.Spawn(impl_->outbox->Run(), "sales.outbox");
  if (!impl_->reconciler) return;
  loop.Spawn(impl_->reconciler->TellPrices(), "sales.prices");
  for (const sales::LoopKind kind : sales::kLoops) {
    loop.Spawn(impl_->reconciler->Follow(kind), "sales.reconcile");
  }
}

}  // namespace pontage::app
