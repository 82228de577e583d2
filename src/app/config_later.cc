#include <algorithm>

#include "app/config_sections.h"
#include "license/fernet.h"
#include "web/key_rules.h"

// Sections that later versions act on. Their form is judged now, so that a file written for them
// keeps its meaning; a secret of theirs that is missing stops nothing.
namespace pontage::app {
namespace {

// A section of the document whose missing secrets are no faults. With a role: one whose secrets
// nobody else needs, and that are not read where it does not run.
Section Later(const Section& root, std::string_view key, std::string_view role = "") {
  const std::vector<std::string>& running = root.context().options.roles;
  const bool read =
      role.empty() || running.empty() || std::ranges::find(running, role) != running.end();
  const Secrecy secrecy = read ? Secrecy::kLenient : Secrecy::kUnread;
  for (const auto& [name, node] : root.Members()) {
    if (name == key && node->kind == TomlNode::Kind::kTable) {
      return {root.context(), node, std::string(key), secrecy};
    }
  }
  return {root.context(), nullptr, std::string(key), secrecy};
}

std::vector<std::pair<std::string, int64_t>> ReadLimits(const Section& s) {
  std::vector<std::pair<std::string, int64_t>> out;
  const Section limits = s.Child("limits");
  for (const auto& [name, node] : limits.Members()) {
    if (node->kind == TomlNode::Kind::kInt) out.emplace_back(name, node->number);
  }
  return out;
}

// Of licenses for a plan or a product.
std::string FormatOf(const Section& s) {
  return s.Has("format") ? s.OneOf("format", "", {"jwt", "fernet"}) : std::string();
}

// What a Fernet license of it says in the place of a product.
std::vector<std::string> NamedIn(const PlanConfig& plan) {
  return license::FernetPlan{.name = plan.name, .products = plan.products, .tier = "", .limits = {}}
      .named();
}

// A Fernet license names a product and a tier, and no plan: these two have to say which it is.
void CheckFernet(const Section& root, const Config& config) {
  std::vector<const PlanConfig*> seen;
  const auto fault = [&root](const PlanConfig& plan, std::string found, std::string expected) {
    root.context().Fault(plan.line, "plan.format", std::move(found), std::move(expected));
  };
  for (const PlanConfig& plan : config.plans) {
    if (!config.IsFernet(plan)) continue;
    if (config.license.fernet_keys.empty()) {
      fault(plan, "\"fernet\" for " + QuoteToml(plan.name) + " and no key of that format",
            "fernet_keys = [\"env:FERNET_KEY\"] under [license]");
    }
    for (const PlanConfig* other : seen) {
      if (NamedIn(*other) != NamedIn(plan) || other->tier != plan.tier) continue;
      fault(plan, QuoteToml(plan.name) + " with product and tier of " + QuoteToml(other->name),
            "another tier: a Fernet license says no more");
    }
    seen.push_back(&plan);
  }
}

// "$29/month", "$290/year", "$29".
void CheckPlanPrice(const Section& s) {
  const auto text = s.String("price");
  if (!text) return;
  const size_t slash = text->find('/');
  const std::string_view period =
      slash == std::string::npos ? "" : std::string_view(*text).substr(slash + 1);
  if (!ParseMoney(std::string_view(*text).substr(0, slash)) ||
      (slash != std::string::npos && period != "month" && period != "year")) {
    s.Fault("price", s.Found("price"), "\"$29/month\", \"$290/year\" or \"$29\"");
  }
}

// What others name has to be one thing.
template <typename T>
void CheckName(const Section& s, const std::vector<T>& before, const std::string& name) {
  // An empty name has been named already.
  if (name.empty() || std::ranges::find(before, name, &T::name) == before.end()) return;
  s.Fault("name", s.Found("name") + " a second time", "a name of its own");
}

void ReadMcp(const Section& root, std::vector<McpConfig>& to) {
  for (const Section& s : root.Children("mcp")) {
    McpConfig mcp{.path = s.RequiredString("path", "a path, \"/mcp\""),
                  .upstream = s.UrlOr("upstream", ""),
                  .builtin = s.Strings("builtin"),
                  .default_price = s.StringOr("default", "deny"),
                  .tools = {},
                  .line = s.line()};
    const auto price = [](std::string_view text) {
      return text == "free" || text == "deny" || ParseMoney(text).has_value();
    };
    if (!price(mcp.default_price)) {
      s.Fault("default", s.Found("default"), "\"deny\", \"free\" or a price");
    }
    const Section tools = s.Child("tools");
    for (const auto& [name, node] : tools.Members()) {
      if (node->kind != TomlNode::Kind::kString) continue;
      if (!price(node->text)) tools.Fault(name, tools.Found(name), "a price, \"$0.002\"");
      mcp.tools.emplace_back(name, node->text);
    }
    to.push_back(std::move(mcp));
  }
}

void ReadPlans(const Section& root, std::vector<PlanConfig>& to) {
  for (const Section& s : root.Children("plan")) {
    CheckPlanPrice(s);
    PlanConfig plan{.name = s.RequiredString("name", "the name routes use"),
                    .products = s.Strings("product"),
                    .tier = s.StringOr("tier", ""),
                    .price = s.StringOr("price", ""),
                    .stripe_price = s.StringOr("stripe_price", ""),
                    .format = FormatOf(s),
                    .days = s.Int("days", 0, 36'500).value_or(0),
                    .trial_days = s.Int("trial_days", 0, 730).value_or(0),
                    .limits = ReadLimits(s),
                    .line = s.line()};
    CheckName(s, to, plan.name);
    to.push_back(std::move(plan));
  }
}

void ReadTiers(const Section& root, std::vector<TierConfig>& to) {
  for (const Section& s : root.Children("tier")) {
    CheckPlanPrice(s);
    TierConfig tier{.name = s.RequiredString("name", "the name plans use"),
                    .price = s.StringOr("price", ""),
                    .limits = ReadLimits(s),
                    .chains = s.Strings("chains"),
                    .line = s.line()};
    CheckName(s, to, tier.name);
    to.push_back(std::move(tier));
  }
}

void ReadLicense(const Section& s, LicenseConfig& to) {
  to.present = s.present();
  to.issuer = s.StringOr("issuer", "");
  to.format = s.OneOf("format", "jwt", {"jwt", "fernet"});
  to.fernet_keys = s.Secrets("fernet_keys");
  to.allow_shared_key = s.BoolOr("allow_shared_key", false);
  to.signing_key = s.OneSecret("signing_key");
  constexpr std::string_view kFile = "file:";
  const std::string signing_key = s.StringOr("signing_key", "");
  if (signing_key.starts_with(kFile)) {
    to.signing_key_file = s.context().FromHere(signing_key.substr(kFile.size()));
  }
  to.jwks = s.StringOr("jwks", "");
  if (to.jwks.starts_with(kFile)) {
    to.jwks = std::string(kFile) + s.context().FromHere(to.jwks.substr(kFile.size()));
  } else if (!to.jwks.empty()) {
    to.jwks = s.UrlOr("jwks", "");
  }
  to.feed = s.UrlOr("feed", "");
  to.max_stale =
      s.Duration("max_stale", Millis(60'000), Millis(365 * 86'400'000LL)).value_or(to.max_stale);
  to.when_stale = s.OneOf("when_stale", to.when_stale, {"allow", "deny"});
  to.grace_days = s.Int("grace_days", 0, 365).value_or(to.grace_days);
  to.delivery = s.OneOf("delivery", "text", {"text", "claim"});
}

void ReadMail(const Section& s, MailConfig& to) {
  to.present = s.present();
  if (s.Has("provider")) to.provider = s.OneOf("provider", "resend", {"resend", "smtp"});
  to.api_key = s.OneSecret("api_key");
  to.api_base = s.UrlOr("api_base", to.api_base);
  to.webhook_secrets = s.Secrets("webhook_secret");
  to.from = s.StringOr("from", "");
  to.host = s.StringOr("host", "");
  to.port = static_cast<uint16_t>(s.Int("port", 1, 65'535).value_or(0));
  to.user = s.StringOr("user", "");
  to.password = s.OneSecret("password");
  to.receipts = s.BoolOr("receipts", true);
}

// Of a key that is there; that one is missing is for the start to say.
void CheckKey(const Section& s, std::string_view name, const Secret& key) {
  if (key.empty()) return;
  const auto weak = web::WeaknessOf(key.Reveal());
  if (weak) s.Fault(name, "a key that cannot be used: " + *weak, "32 random bytes in base64");
}

void ReadConsole(const Section& s, ConsoleConfig& to) {
  to.present = s.present();
  to.operator_key = s.OneSecret("operator_key");
  CheckKey(s, "operator_key", to.operator_key);
  to.session_key = s.OneSecret("session_key");
  CheckKey(s, "session_key", to.session_key);
  to.refunds_per_day = s.Int("refunds_per_day", 0, 1'000'000).value_or(to.refunds_per_day);
  to.refund_limit = s.Price("refund_limit").value_or(to.refund_limit);
  constexpr int64_t kCent = 10'000;
  if (to.refund_limit.micros() > 0 && to.refund_limit.micros() < kCent) {
    s.Fault("refund_limit", "less than a cent", "at least \"$0.01\", or \"$0\" for any amount");
  }
  to.sales_store = s.StringOr("sales_store", "");
  to.ledger_store = s.StringOr("ledger_store", "");
  for (const Section& one : s.Children("key")) {
    ConsoleKeyConfig key{.name = one.RequiredString("name", "what the audit calls it"),
                         .key = one.OneSecret("key"),
                         .scopes = one.Strings("scopes"),
                         .line = one.line()};
    CheckKey(one, "key", key.key);
    if (key.scopes.empty()) key.scopes.emplace_back("read");
    for (const std::string& scope : key.scopes) {
      if (web::ParseScope(scope)) continue;
      one.Fault("scopes", QuoteToml(scope), "read, support, refund or owner");
    }
    CheckName(one, to.keys, key.name);
    to.keys.push_back(std::move(key));
  }
}

}  // namespace

void ReadProducts(const Section& root, std::vector<ProductConfig>& to) {
  for (const Section& s : root.Children("product")) {
    ProductConfig product{.name = s.RequiredString("name", "the name routes use"),
                          .price = s.StringOr("price", ""),
                          .description = s.StringOr("description", ""),
                          .format = FormatOf(s),
                          .line = s.line()};
    const auto price = s.Price("price");
    if (s.String("price") ? price == Money::Zero() : !s.Has("price")) {
      s.Fault("price", s.Found("price"), "an amount of dollars above zero, \"$0.05\"");
    }
    CheckName(s, to, product.name);
    to.push_back(std::move(product));
  }
}

void ReadLaterSections(const Section& root, Config& config) {
  ReadMcp(root, config.mcps);
  ReadPlans(root, config.plans);
  ReadTiers(root, config.tiers);
  ReadLicense(Later(root, "license"), config.license);
  const Section stripe = Later(root, "stripe", "sales");
  config.stripe.present = stripe.present();
  config.stripe.api_key = stripe.OneSecret("api_key");
  config.stripe.webhook_secrets = stripe.Secrets("webhook_secret");
  config.stripe.api_base = stripe.UrlOr("api_base", config.stripe.api_base);
  ReadConsole(Later(root, "console", "console"), config.console);
  ReadMail(Later(root, "mail", "sales"), config.mail);

  CheckFernet(root, config);
  for (const RouteConfig& route : config.routes) {
    for (const std::string& plan : route.plans) {
      if (std::ranges::find(config.plans, plan, &PlanConfig::name) == config.plans.end()) {
        root.context().Fault(route.line, "route.plans", QuoteToml(plan), "the name of a [[plan]]");
      }
    }
  }
}

}  // namespace pontage::app
