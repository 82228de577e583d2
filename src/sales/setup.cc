#include "sales/setup.h"

#include <algorithm>

#include "base/try.h"
#include "codec/hex.h"
#include "crypto/hash.h"
#include "sales/inbox.h"
#include "sales/portal.h"

namespace pontage::sales {
namespace {

std::string ShownPrice(const stripe::Price& price) {
  if (!price.unit_amount) return "a price without one amount";
  const std::optional<Money> dollars = stripe::DollarsOf(*price.unit_amount, price.currency);
  std::string text = dollars ? dollars->ToString()
                             : std::to_string(price.unit_amount->count()) + ' ' + price.currency;
  if (!price.interval.empty()) {
    const bool one = price.interval_count == 1;
    text += '/' + (one ? "" : std::to_string(price.interval_count) + ' ') + price.interval;
  }
  if (!price.active) text += ", inactive";
  return text;
}

bool IsPriceOf(const stripe::Price& price, const SoldPlan& plan) {
  const auto cents = stripe::CentsOf(plan.price);
  return cents && price.active && price.currency == "usd" && price.unit_amount == *cents &&
         price.interval == plan.interval && price.interval_count == 1;
}

std::string DigestOf(std::string_view of) {
  return codec::ToHex(crypto::Sha256(codec::AsBytes(of))).substr(0, 40);
}

// The same intent has the same key, so that one that was broken off makes nothing twice.
std::string KeyOf(std::string_view what, std::string_view of) {
  return "setup:" + std::string(what) + ':' + DigestOf(of);
}

// Stripe repeats for a day what it has once made under a key, also when that was deleted since:
// then the key's next one asks for another.
constexpr int kRepeats = 8;
// Of a portal's subscription_update.
constexpr size_t kMostProducts = 10;
Error Repeats(std::string_view what) {
  return Error(Code::kConflict, "Stripe repeats " + std::string(what) + " that is gone")
      .Want("another try tomorrow");
}

Task<std::optional<stripe::Price>> PriceAtStripe(StripeClient& stripe, const SoldPlan& plan,
                                                 Deadline by) {
  std::optional<stripe::Price> found;
  if (!plan.stripe_price.empty()) {
    Result<stripe::Price> price = co_await stripe.RetrievePrice(plan.stripe_price, by);
    if (!price && price.error().code() != Code::kNotFound) co_return Fail(price.error());
    if (price) found = *std::move(price);
    co_return found;
  }
  std::vector<std::string> keys{plan.name};
  PTG_CO_TRY(const std::vector<stripe::Price> prices,
             co_await stripe.FindPrices(std::move(keys), by));
  if (!prices.empty()) found = prices.front();
  co_return found;
}

// One run of SetUp.
struct Run {
  StripeClient& stripe;
  const Shop& shop;
  bool dry;
  Deadline by;
  SetupReport report;

  void Note(std::string what, std::string name, std::string id, std::string action,
            std::string detail = "") {
    report.steps.push_back(
        {std::move(what), std::move(name), std::move(id), std::move(action), std::move(detail)});
  }
  Task<stripe::ProductId> Product(const SoldPlan& plan,
                                  const std::vector<stripe::Product>& products);
  Task<> Price(const SoldPlan& plan, const std::vector<stripe::Product>& products);
  Task<> Endpoint();
  Task<> EndpointHears(const stripe::WebhookEndpoint& endpoint, std::string detail);
  Task<PortalSetup::Products> PortalProducts();
  Task<PortalSetup> WantedPortal(std::string& detail);
  Task<> Portal();
  Task<> MakePortal(PortalSetup wanted, std::string detail);
  Task<> All();
};

Task<stripe::ProductId> Run::Product(const SoldPlan& plan,
                                     const std::vector<stripe::Product>& products) {
  for (const stripe::Product& one : products) {
    if (!one.active || stripe::InMetadata(one.metadata, kPlanKey) != plan.name) continue;
    Note("product", plan.name, one.id.str(), "kept");
    co_return one.id;
  }
  if (dry) {
    Note("product", plan.name, "", "would make");
    co_return stripe::ProductId();
  }
  NewProduct wanted;
  wanted.name = plan.name;
  wanted.plan = plan.name;
  std::string of = plan.name;
  for (int i = 0; i < kRepeats; ++i) {
    const std::string key = KeyOf("product", of);
    NewProduct one = wanted;
    PTG_CO_TRY(const stripe::Product made, co_await stripe.CreateProduct(std::move(one), key, by));
    PTG_CO_TRY(const std::vector<stripe::Product> all, co_await stripe.ListProducts(by));
    const auto there = std::ranges::find(all, made.id, &stripe::Product::id);
    if (there != all.end() && there->active) {
      Note("product", plan.name, made.id.str(), "made");
      co_return made.id;
    }
    of += ' ' + made.id.str();
  }
  co_return Fail(Repeats("a product"));
}

Task<> Run::Price(const SoldPlan& plan, const std::vector<stripe::Product>& products) {
  PTG_CO_TRY(const std::optional<stripe::Price> there, co_await PriceAtStripe(stripe, plan, by));
  if (there && IsPriceOf(*there, plan)) {
    Note("price", plan.name, there->id.str(), "kept", plan.shown);
    co_return {};
  }
  const std::string differs = there ? plan.shown + ", at Stripe " + ShownPrice(*there) : plan.shown;
  if (!plan.stripe_price.empty()) {
    // Named by the configuration: what it is there is a person's decision.
    Note("price", plan.name, plan.stripe_price.str(), "kept",
         there ? differs : plan.shown + ", and Stripe does not know it");
    co_return {};
  }
  const auto cents = stripe::CentsOf(plan.price);
  if (!cents) co_return Fail(cents.error());
  PTG_CO_TRY(const stripe::ProductId product, co_await Product(plan, products));
  if (dry) {
    Note("price", plan.name, there ? there->id.str() : "", there ? "would replace" : "would make",
         differs);
    co_return {};
  }
  NewPrice wanted;
  wanted.product = product;
  wanted.plan = plan.name;
  wanted.cents = *cents;
  wanted.interval = plan.interval;
  const std::string after = there ? there->id.str() : "";
  const std::string key = KeyOf("price", plan.name + ' ' + plan.shown + ' ' + after);
  PTG_CO_TRY(const stripe::Price made, co_await stripe.CreatePrice(std::move(wanted), key, by));
  Note("price", plan.name, made.id.str(), there ? "replaced" : "made", differs);
  co_return {};
}

// An endpoint that was made by hand, or for an older version, may not be told all that we need.
Task<> Run::EndpointHears(const stripe::WebhookEndpoint& endpoint, std::string detail) {
  std::vector<std::string> events = endpoint.enabled_events;
  const auto has = [](const std::vector<std::string>& all, std::string_view event) {
    return std::ranges::find(all, event) != all.end();
  };
  for (std::string& event : WebhookEvents()) {
    if (!has(events, event)) events.push_back(std::move(event));
  }
  const bool same = has(endpoint.enabled_events, "*") || events == endpoint.enabled_events;
  std::string of = endpoint.id.str();
  for (const std::string& event : endpoint.enabled_events) of += ' ' + event;
  for (int i = 0; !same && !dry; ++i) {
    if (i == kRepeats) co_return Fail(Repeats("a change of the endpoint"));
    const std::string key = KeyOf("events", of);
    PTG_CO_RUN(co_await stripe.ChangeEndpointEvents(endpoint.id, events, key, by));
    PTG_CO_TRY(const std::vector<stripe::WebhookEndpoint> all,
               co_await stripe.ListWebhookEndpoints(by));
    const auto now = std::ranges::find(all, endpoint.id, &stripe::WebhookEndpoint::id);
    if (now == all.end() || now->enabled_events != endpoint.enabled_events) break;
    of += " again";
  }
  Note("webhook_endpoint", endpoint.url, endpoint.id.str(),
       same  ? "kept"
       : dry ? "would change"
             : "changed",
       std::move(detail));
  co_return {};
}

Task<> Run::Endpoint() {
  const std::string url = shop.public_url + "/webhooks/stripe";
  PTG_CO_TRY(const std::vector<stripe::WebhookEndpoint> all,
             co_await stripe.ListWebhookEndpoints(by));
  for (const stripe::WebhookEndpoint& one : all) {
    if (one.url != url) continue;
    std::string detail;
    if (!one.enabled) detail = "disabled at Stripe";
    if (one.api_version != kStripeVersion) {
      detail += (detail.empty() ? "" : ", ") + std::string("of version ") + one.api_version;
    }
    co_return co_await EndpointHears(one, std::move(detail));
  }
  if (dry) {
    Note("webhook_endpoint", url, "", "would make");
    co_return {};
  }
  NewWebhookEndpoint wanted;
  wanted.url = url;
  wanted.events = WebhookEvents();
  wanted.api_version = kStripeVersion;
  std::string of = url;
  for (int i = 0; i < kRepeats; ++i) {
    const std::string key = KeyOf("endpoint", of);
    NewWebhookEndpoint one = wanted;
    PTG_CO_TRY(stripe::WebhookEndpoint made,
               co_await stripe.CreateWebhookEndpoint(std::move(one), key, by));
    // At once: whatever happens next, nobody hears it again.
    report.endpoint_secret = std::move(made.secret);
    PTG_CO_TRY(const std::vector<stripe::WebhookEndpoint> now,
               co_await stripe.ListWebhookEndpoints(by));
    if (std::ranges::find(now, made.id, &stripe::WebhookEndpoint::id) != now.end()) {
      Note("webhook_endpoint", url, made.id.str(), "made");
      co_return {};
    }
    report.endpoint_secret = Secret();  // of one that is gone
    of += ' ' + made.id.str();
  }
  co_return Fail(Repeats("an endpoint"));
}

// What a subscriber may change to, at most as much as Stripe takes; `detail` says what was left
// out.
Task<PortalSetup> Run::WantedPortal(std::string& detail) {
  PortalSetup wanted;
  wanted.return_url = PortalReturnUrl(shop);
  PTG_CO_TRY(wanted.products, co_await PortalProducts());
  const size_t all = wanted.products.size();
  if (all > kMostProducts) {
    wanted.products.resize(kMostProducts);
    detail = "offers " + std::to_string(kMostProducts) + " products of " + std::to_string(all) +
             " to change to, which is all that Stripe allows";
  }
  std::string offers;
  for (const auto& [product, prices] : wanted.products) {
    offers += ' ' + product.str();
    for (const stripe::PriceId& price : prices) offers += ' ' + price.str();
  }
  wanted.offers = DigestOf(offers);
  co_return wanted;
}

Task<> Run::Portal() {
  std::string detail;
  PTG_CO_TRY(const PortalSetup wanted, co_await WantedPortal(detail));
  PTG_CO_TRY(const std::vector<stripe::PortalConfiguration> all,
             co_await stripe.ListPortalConfigurations(by));
  const stripe::PortalConfiguration* ours = FindOurPortal(all, shop);
  if (ours == nullptr) {
    if (!dry) co_return co_await MakePortal(wanted, std::move(detail));
    Note("portal_configuration", "portal", "", "would make", std::move(detail));
    co_return {};
  }
  const std::string id = ours->id.str();
  // Whether a person has changed it since is his affair: we look at what we wanted when.
  const bool same = stripe::InMetadata(ours->metadata, kOffersKey) == wanted.offers;
  // Its last change is part of the intent: what was wanted, changed and is wanted again is new.
  std::string of = id + ' ' + std::to_string(ours->updated.seconds()) + ' ' + wanted.offers;
  for (int i = 0; !same && !dry; ++i) {
    if (i == kRepeats) co_return Fail(Repeats("a change of the portal"));
    const std::string key = KeyOf("offers", of);
    PTG_CO_RUN(co_await stripe.ChangePortalOffers(ours->id, wanted, key, by));
    PTG_CO_TRY(const std::vector<stripe::PortalConfiguration> now,
               co_await stripe.ListPortalConfigurations(by));
    const stripe::PortalConfiguration* changed = FindOurPortal(now, shop);
    if (changed == nullptr || stripe::InMetadata(changed->metadata, kOffersKey) == wanted.offers) {
      break;
    }
    of += " again";
  }
  Note("portal_configuration", "portal", id,
       same  ? "kept"
       : dry ? "would change"
             : "changed",
       std::move(detail));
  co_return {};
}

Task<> Run::MakePortal(PortalSetup wanted, std::string detail) {
  // What it offers is part of the intent: under the key of another offer Stripe would refuse it.
  std::string of = wanted.return_url + ' ' + wanted.offers;
  for (int i = 0; i < kRepeats; ++i) {
    const std::string key = KeyOf("portal", of);
    PTG_CO_TRY(const stripe::PortalConfiguration made,
               co_await stripe.CreatePortalConfiguration(wanted, key, by));
    PTG_CO_TRY(const std::vector<stripe::PortalConfiguration> now,
               co_await stripe.ListPortalConfigurations(by));
    if (std::ranges::find(now, made.id, &stripe::PortalConfiguration::id) != now.end()) {
      Note("portal_configuration", "portal", made.id.str(), "made", std::move(detail));
      co_return {};
    }
    of += ' ' + made.id.str();
  }
  co_return Fail(Repeats("a portal configuration"));
}

Task<PortalSetup::Products> Run::PortalProducts() {
  PortalSetup::Products products;
  for (const auto& [name, plan] : shop.plans) {
    if (plan.interval.empty()) continue;
    PTG_CO_TRY(const std::optional<stripe::Price> price, co_await PriceAtStripe(stripe, plan, by));
    if (!price) continue;
    const auto of = std::ranges::find(products, price->product, &PortalSetup::Offer::first);
    if (of == products.end()) {
      products.emplace_back(price->product, std::vector<stripe::PriceId>{price->id});
    } else {
      of->second.push_back(price->id);
    }
  }
  co_return products;
}

// The endpoint last: from then on events come, and its secret is the one thing that is lost with
// what fails after it.
Task<> Run::All() {
  PTG_CO_TRY(const std::vector<stripe::Product> products, co_await stripe.ListProducts(by));
  for (const auto& [name, plan] : shop.plans) {
    if (plan.shown.empty()) continue;
    PTG_CO_RUN(co_await Price(plan, products));
  }
  PTG_CO_RUN(co_await Portal());
  co_return co_await Endpoint();
}

}  // namespace

Task<std::vector<PriceDifference>> ComparePrices(StripeClient& stripe, const Shop& shop,
                                                 Deadline by) {
  std::vector<PriceDifference> out;
  for (const auto& [name, plan] : shop.plans) {
    if (plan.shown.empty()) continue;
    PTG_CO_TRY(const std::optional<stripe::Price> there, co_await PriceAtStripe(stripe, plan, by));
    if (there && IsPriceOf(*there, plan)) continue;
    out.push_back(
        {.plan = name, .ours = plan.shown, .stripes = there ? ShownPrice(*there) : "none"});
  }
  co_return out;
}

Task<SetupReport> SetUp(StripeClient& stripe, const Shop& shop, bool dry, Deadline by) {
  Run run{stripe, shop, dry, by, {}};
  const Result<> done = co_await run.All();
  if (!done) run.report.failure = done.error();
  co_return std::move(run.report);
}

}  // namespace pontage::sales
