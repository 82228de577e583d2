#include "app/sales_wiring.h"

#include <utility>

#include "app/licenses.h"
#include "app/signing.h"
#include "app/version.h"
#include "base/log.h"
#include "base/try.h"
#include "io/timer.h"
#include "sales/billing_api.h"
#include "sales/commands.h"
#include "sales/key_rotation.h"
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

std::string NameOf(const std::string& public_url) {
  const size_t scheme = public_url.find("://");
  return scheme == public_url.npos ? public_url : public_url.substr(scheme + 3);
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
                 .name = NameOf(public_url),
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

namespace {

// How often somebody looks after the signing keys.
constexpr Millis kTendEvery{60'000};
constexpr Millis kStoreTimeout{10'000};
constexpr size_t kBatch = 200;
// At a stop; a provider that is there answers sooner.
constexpr Millis kMailTimeout{5'000};

class Sales : public SalesRole {
 public:
  explicit Sales(const RoleParts& parts)
      : database_(parts.database), clock_(parts.clock), rng_(parts.rng), ring_(parts.keys.ring()) {}

  Result<> Build(const RoleParts& parts);
  std::vector<Door> Doors() override;
  void Start(Loop& loop) override;
  void Stop() override {
    if (licenses_) licenses_->Stop();
  }
  Task<> End() override {
    // What cannot be given back runs out by itself.
    if (commands_) (void)co_await commands_->GiveBack();
    if (worker_) (void)co_await worker_->GiveBack();
    if (looking_worker_) (void)co_await looking_worker_->GiveBack();
    if (patient_worker_) (void)co_await patient_worker_->GiveBack();
    if (reconciler_) (void)co_await reconciler_->GiveBack();
    const Deadline by = Deadline::In(Loop::Current()->clock(), kMailTimeout);
    if (outbox_) (void)co_await outbox_->Finish(by);
    co_return {};
  }
  void UseBooks(const std::vector<license::SigningKey>& books) override;
  sales::Reconciler* reconciler() override { return reconciler_.get(); }
  sales::Worker* patient_worker() override { return patient_worker_.get(); }

 private:
  void UseSecrets(const Config& config);
  Result<> UseStripe(const RoleParts& parts);
  std::unique_ptr<sales::Worker> WorkerWith(const RoleParts& parts,
                                            sales::StripeClient& stripe) const;
  Result<> UseMail(const RoleParts& parts);
  // Announces the ends of keys that sign no more, and gives everybody a new license whose key
  // became known to others, where the command that should have was broken off.
  Task<> TendKeys();
  Task<> TendOnce();

  db::Database& database_;
  const Clock& clock_;
  Rng& rng_;
  std::shared_ptr<const license::KeyRing> ring_;
  std::unique_ptr<Signing> signing_;
  bool signs_ = true;  // with a key that is believed
  UnixMs last_revoked_;
  std::optional<UnixMs> reissue_before_;
  sales::Shop shop_;
  std::vector<stripe::SigningSecret> secrets_;
  std::unique_ptr<sales::LicenseApi> licenses_;
  std::unique_ptr<sales::Fulfilment> fulfilment_;
  std::unique_ptr<sales::StripeClient> stripe_;
  std::unique_ptr<sales::Worker> worker_;
  // What strangers may ask has shares of its own.
  std::unique_ptr<sales::StripeClient> buying_;
  std::unique_ptr<sales::StripeClient> looking_;
  std::unique_ptr<sales::Worker> looking_worker_;
  std::unique_ptr<sales::BillingApi> billing_;
  std::vector<std::unique_ptr<mail::Provider>> providers_;
  std::unique_ptr<mail::OutboxWorker> outbox_;
  std::unique_ptr<mail::ResendDoor> bounces_;
  std::unique_ptr<sales::CommandWorker> commands_;
  // What nobody waits for asks Stripe by itself, and slower.
  std::unique_ptr<sales::StripeClient> patient_;
  std::unique_ptr<sales::Worker> patient_worker_;
  std::unique_ptr<sales::Reconciler> reconciler_;
};

std::unique_ptr<sales::Worker> Sales::WorkerWith(const RoleParts& parts,
                                                 sales::StripeClient& stripe) const {
  return std::make_unique<sales::Worker>(sales::Worker::Parts{.stripe = stripe,
                                                              .database = parts.database,
                                                              .shop = shop_,
                                                              .fulfilment = *fulfilment_,
                                                              .metrics = parts.metrics,
                                                              .clock = parts.clock,
                                                              .rng = parts.rng});
}

void Sales::UseSecrets(const Config& config) {
  for (const Secret& secret : config.stripe.webhook_secrets) {
    if (!secret.empty()) secrets_.push_back({.value = secret.Clone(), .not_after = std::nullopt});
  }
}

Result<> Sales::UseStripe(const RoleParts& parts) {
  UseSecrets(parts.config);
  if (parts.config.stripe.api_key.empty()) return {};
  PTG_TRY(stripe_, MakeStripe(parts.config, parts.clock, parts.rng));
  buying_ = stripe_->Slower(sales::BillingApi::kBuying);
  looking_ = stripe_->Slower(sales::BillingApi::kLooking);
  patient_ = stripe_->Slower({.per_second = sales::Reconciler::kPerSecond});
  worker_ = WorkerWith(parts, *stripe_);
  looking_worker_ = WorkerWith(parts, *looking_);
  patient_worker_ = WorkerWith(parts, *patient_);
  PTG_TRY(std::shared_ptr<const license::Verifier> verifier, MakeVerifier(parts.config, ring_));
  billing_ =
      std::make_unique<sales::BillingApi>(sales::BillingApi::Parts{.stripe = *buying_,
                                                                   .worker = *looking_worker_,
                                                                   .fulfilment = *fulfilment_,
                                                                   .shop = shop_,
                                                                   .verifier = std::move(verifier),
                                                                   .secrets = secrets_,
                                                                   .database = parts.database,
                                                                   .metrics = parts.metrics,
                                                                   .clock = parts.clock,
                                                                   .rng = parts.rng});
  reconciler_ =
      std::make_unique<sales::Reconciler>(sales::Reconciler::Parts{.stripe = *patient_,
                                                                   .worker = *patient_worker_,
                                                                   .database = parts.database,
                                                                   .shop = shop_,
                                                                   .fulfilment = *fulfilment_,
                                                                   .metrics = parts.metrics,
                                                                   .clock = parts.clock,
                                                                   .rng = parts.rng});
  return {};
}

Result<> Sales::UseMail(const RoleParts& parts) {
  const MailConfig& mail = parts.config.mail;
  if (!mail.present) return {};
  std::vector<Secret> secrets;
  for (const Secret& secret : mail.webhook_secrets) {
    if (!secret.empty()) secrets.push_back(secret.Clone());
  }
  if (!secrets.empty()) {
    PTG_TRY(mail::ResendWebhook webhook, mail::ResendWebhook::Make(secrets));
    bounces_ = std::make_unique<mail::ResendDoor>(std::move(webhook), parts.database, parts.clock,
                                                  parts.rng);
  }
  if (!mail.api_key.empty()) {
    mail::ResendOptions options;
    options.api_base = mail.api_base;
    options.api_key = mail.api_key.Clone();
    options.version = kVersion;
    PTG_TRY(std::unique_ptr<mail::Resend> resend, mail::Resend::Make(std::move(options)));
    providers_.push_back(std::move(resend));
  }
  if (!mail.host.empty()) {
    mail::SmtpOptions options;
    options.host = mail.host;
    if (mail.port != 0) options.port = mail.port;
    options.tls_first = options.port == 465;
    options.user = mail.user;
    options.password = mail.password.Clone();
    PTG_TRY(std::unique_ptr<mail::Smtp> smtp, mail::Smtp::Make(std::move(options), parts.clock));
    const bool first = mail.provider == "smtp";
    providers_.insert(first ? providers_.begin() : providers_.end(), std::move(smtp));
  }
  if (providers_.empty()) return {};
  std::vector<mail::Provider*> all;
  for (const auto& one : providers_) all.push_back(one.get());
  outbox_ = std::make_unique<mail::OutboxWorker>(parts.database, std::move(all), parts.metrics,
                                                 parts.clock);
  return {};
}

Result<> Sales::Build(const RoleParts& parts) {
  PTG_TRY(signing_, Signing::Make(parts.config, parts.clock));
  PTG_RUN(signing_->Use(parts.keys.books()));
  shop_ = ShopOf(parts.config, parts.public_url);
  if (signing_->signs()) {
    licenses_ = std::make_unique<sales::LicenseApi>(sales::LicenseApi::Parts{
        .issuer = IssuerName(parts.config),
        .keys = [this] { return signing_->document(); },
        .sign = [this](std::string_view typ,
                       std::string_view payload) { return signing_->Sign(typ, payload); },
        .database = parts.database,
        .clock = parts.clock,
        .rng = parts.rng});
  }
  fulfilment_ = std::make_unique<sales::Fulfilment>(
      shop_, [this](const license::Claims& claims) { return signing_->Issue(claims); }, parts.clock,
      parts.rng);
  PTG_RUN(UseStripe(parts));
  PTG_RUN(UseMail(parts));
  commands_ =
      std::make_unique<sales::CommandWorker>(sales::CommandWorker::Parts{.stripe = stripe_.get(),
                                                                         .worker = worker_.get(),
                                                                         .database = parts.database,
                                                                         .shop = shop_,
                                                                         .fulfilment = *fulfilment_,
                                                                         .metrics = parts.metrics,
                                                                         .clock = parts.clock,
                                                                         .rng = parts.rng});
  return {};
}

std::vector<Door> Sales::Doors() {
  std::vector<Door> doors;
  if (licenses_) doors.push_back(DoorOf(*licenses_));
  if (billing_) doors.push_back(DoorOf(*billing_));
  if (bounces_) doors.push_back(DoorOf(*bounces_));
  return doors;
}

void Sales::UseBooks(const std::vector<license::SigningKey>& books) {
  for (const license::SigningKey& key : books) {
    if (!key.revoked_at || *key.revoked_at <= last_revoked_) continue;
    last_revoked_ = *key.revoked_at;
    reissue_before_ = sales::ReissueTime(last_revoked_);
  }
  const Result<> used = signing_->Use(books);
  signs_ = used.has_value();
  if (!used) {
    Log(LogLevel::kError, "licenses.signing_key_retired",
        {{"kid", signing_->kid()}, {"detail", used.error().detail()}});
  }
}

Task<> Sales::TendOnce() {
  const auto announce = [now = clock_.Now()](db::Tx& tx) { return license::AnnounceEnds(tx, now); };
  const Deadline by = Deadline::In(clock_, kStoreTimeout);
  PTG_CO_RUN(co_await database_.Write(announce, by));
  if (!reissue_before_ || !signs_) co_return {};
  const sales::Reissuing with{
      .shop = shop_,
      .text = [this](const license::License& l) { return fulfilment_->TextOf(l); },
      .kid = signing_->kid()};
  while (true) {
    const auto batch = [&](db::Tx& tx) {
      return sales::ReissueBefore(tx, *reissue_before_, with, kBatch, clock_.Now(), clock_, rng_);
    };
    const Deadline batch_by = Deadline::In(clock_, kStoreTimeout);
    PTG_CO_TRY(const size_t done, co_await database_.Write(batch, batch_by));
    if (done == 0) break;
  }
  reissue_before_.reset();
  co_return {};
}

Task<> Sales::TendKeys() {
  while (true) {
    const Result<> tended = co_await TendOnce();
    if (!tended) {
      Log(LogLevel::kWarn, "licenses.keys_untended", {{"detail", tended.error().detail()}});
    }
    PTG_CO_RUN(co_await Sleep(kTendEvery));
  }
}

void Sales::Start(Loop& loop) {
  loop.Spawn(TendKeys(), "sales.keys");
  if (worker_) loop.Spawn(worker_->Run(), "sales.inbox");
  loop.Spawn(commands_->Run(), "sales.commands");
  if (outbox_) loop.Spawn(outbox_->Run(), "sales.outbox");
  if (!reconciler_) return;
  loop.Spawn(reconciler_->TellPrices(), "sales.prices");
  for (const sales::LoopKind kind : sales::kLoops) {
    loop.Spawn(reconciler_->Follow(kind), "sales.reconcile");
  }
}

}  // namespace

Result<std::unique_ptr<SalesRole>> SalesRole::Make(const RoleParts& parts) {
  auto role = std::make_unique<Sales>(parts);
  PTG_RUN(role->Build(parts));
  return std::unique_ptr<SalesRole>(std::move(role));
}

}  // namespace pontage::app
