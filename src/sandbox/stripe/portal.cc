#include "sandbox/stripe/portal.h"

#include <utility>

#include "base/try.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/shapes.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr size_t kMaxProducts = 10;  // as Stripe's
constexpr size_t kMaxWords = 20;

Answered<> SetText(const Params& params, std::string_view path, Json& at, const char* key) {
  PTG_TRY(std::optional<std::string> text, params.MaybeText(path));
  if (text || params.Clears(path)) at.Set(key, OrNull(std::move(text)));
  return {};
}

Answered<> SetFlag(const Params& params, std::string_view path, Json& at, const char* key) {
  PTG_TRY(const std::optional<bool> flag, params.MaybeBool(path));
  if (flag) at.Set(key, *flag);
  return {};
}

Answered<> SetWords(const Params& params, std::string_view path, Json& at, const char* key) {
  if (!params.Has(path)) return {};
  PTG_TRY(const std::vector<std::string> words, params.Texts(path, kMaxWords));
  Json list = Json::Array();
  for (const std::string& word : words) list.Push(word);
  at.Set(key, std::move(list));
  return {};
}

Answered<> SetCancel(const Params& params, Json& cancel) {
  PTG_RUN(SetFlag(params, "enabled", cancel, "enabled"));
  PTG_TRY(const std::optional<std::string> mode,
          params.MaybeWord("mode", {"at_period_end", "immediately"}));
  if (mode) cancel.Set("mode", *mode);
  PTG_RUN(SetText(params, "proration_behavior", cancel, "proration_behavior"));
  Json& reason = *cancel.Find("cancellation_reason");
  PTG_RUN(SetFlag(params, "cancellation_reason.enabled", reason, "enabled"));
  return SetWords(params, "cancellation_reason.options", reason, "options");
}

Answered<> SetUpdate(const Account& account, const Params& params, Json& update) {
  PTG_RUN(SetFlag(params, "enabled", update, "enabled"));
  PTG_RUN(SetWords(params, "default_allowed_updates", update, "default_allowed_updates"));
  PTG_RUN(SetText(params, "proration_behavior", update, "proration_behavior"));
  const std::vector<Params> products = params.List("products");
  if (products.empty()) return {};
  if (products.size() > kMaxProducts)
    return Refuse("", "Too many products.", params.NameOf("products"));
  Json list = Json::Array();
  for (const Params& one : products) {
    PTG_TRY(const std::string product, one.Text("product"));
    if (account.store.Find(Kind::kProduct, product) == nullptr) {
      return NoSuch("product", product, one.NameOf("product"));
    }
    PTG_TRY(const std::vector<std::string> ids, one.Texts("prices", kMaxWords));
    Json prices = Json::Array();
    for (const std::string& id : ids) {
      if (account.store.Find(Kind::kPrice, id) == nullptr) {
        return NoSuch("price", id, one.NameOf("prices"));
      }
      prices.Push(id);
    }
    const Json adjustable =
        Json::Object({{"enabled", false}, {"maximum", nullptr}, {"minimum", 1}});
    list.Push(Json::Object({{"adjustable_quantity", adjustable},
                            {"prices", std::move(prices)},
                            {"product", product}}));
  }
  update.Set("products", std::move(list));
  return {};
}

Answered<> SetFields(Call& call, Json& configuration) {
  const Params& params = call.params;
  Json& profile = *configuration.Find("business_profile");
  for (const char* key : {"headline", "privacy_policy_url", "terms_of_service_url"}) {
    PTG_RUN(SetText(params, "business_profile." + std::string(key), profile, key));
  }
  for (const char* key : {"default_return_url", "name"}) {
    PTG_RUN(SetText(params, key, configuration, key));
  }
  const std::string back = TextOf(configuration, "default_return_url");
  if (!back.empty() && !IsWebUrl(back)) {
    return Refuse("url_invalid", "Not a valid URL", "default_return_url");
  }
  PTG_RUN(SetFlag(params, "active", configuration, "active"));
  PTG_TRY(Json metadata, params.Metadata(Member(configuration, "metadata")));
  configuration.Set("metadata", std::move(metadata));
  PTG_RUN(SetFlag(params, "login_page.enabled", *configuration.Find("login_page"), "enabled"));
  Json& features = *configuration.Find("features");
  const Params asked = params.At("features");
  Json& customer = *features.Find("customer_update");
  PTG_RUN(SetFlag(asked, "customer_update.enabled", customer, "enabled"));
  PTG_RUN(SetWords(asked, "customer_update.allowed_updates", customer, "allowed_updates"));
  for (const char* key : {"invoice_history", "payment_method_update", "subscription_pause"}) {
    PTG_RUN(SetFlag(asked, std::string(key) + ".enabled", *features.Find(key), "enabled"));
  }
  PTG_RUN(SetCancel(asked.At("subscription_cancel"), *features.Find("subscription_cancel")));
  return SetUpdate(call.account, asked.At("subscription_update"),
                   *features.Find("subscription_update"));
}

Answered<Json> CreateConfiguration(Call& call) {
  Json configuration = Shape(Kind::kPortalConfiguration);
  if (!call.params.Has("features")) {
    return Refuse("parameter_missing", "Missing required param: features.", "features");
  }
  PTG_RUN(SetFields(call, configuration));
  configuration.Set("id", NewId("bpc_1", kLongId - 1, call.account.rng));
  configuration.Set("created", call.account.Now());
  configuration.Set("updated", call.account.Now());
  Json& added = call.account.store.Add(Kind::kPortalConfiguration, std::move(configuration));
  Emit(call.account, "billing_portal.configuration.created", added);
  return added;
}

Answered<Json> UpdateConfiguration(Call& call) {
  PTG_TRY(Json * configuration, Named(call, Kind::kPortalConfiguration));
  Json after = *configuration;
  PTG_RUN(SetFields(call, after));
  after.Set("updated", call.account.Now());
  const Json before = std::exchange(*configuration, std::move(after));
  EmitUpdate(call.account, "billing_portal.configuration.updated", before, *configuration);
  return *configuration;
}

Answered<Json> ListConfigurations(Call& call) {
  PTG_TRY(const std::optional<bool> active, call.params.MaybeBool("active"));
  PTG_TRY(const std::optional<bool> is_default, call.params.MaybeBool("is_default"));
  return ListPage(call, Kind::kPortalConfiguration, [&](const Json& configuration) {
    return (!active || IsTrue(configuration, "active") == *active) &&
           (!is_default || IsTrue(configuration, "is_default") == *is_default);
  });
}

// flow_data, with what Stripe adds to it.
Answered<Json> FlowOf(const Account& account, const Params& params) {
  if (!params.Has("flow_data")) return Json();
  const Params data = params.At("flow_data");
  PTG_TRY(const std::string type, data.Text("type"));
  PTG_RUN(data.MaybeWord("type",
                         {"payment_method_update", "subscription_cancel", "subscription_update",
                          "subscription_update_confirm", "subscription_pause", "customer_update"}));
  Json flow = Json::Object({{"after_completion", Json::Object({{"hosted_confirmation", nullptr},
                                                               {"redirect", nullptr},
                                                               {"type", "portal_homepage"}})},
                            {"customer_update", nullptr},
                            {"subscription_cancel", nullptr},
                            {"subscription_pause", nullptr},
                            {"subscription_update", nullptr},
                            {"subscription_update_confirm", nullptr},
                            {"type", type}});
  PTG_TRY(const std::optional<std::string> back,
          data.MaybeText("after_completion.redirect.return_url"));
  if (back && !IsWebUrl(*back)) {
    return Refuse("url_invalid", "Not a valid URL",
                  data.NameOf("after_completion.redirect.return_url"));
  }
  if (back) {
    Json& after = *flow.Find("after_completion");
    after.Set("redirect", Json::Object({{"return_url", *back}}));
    after.Set("type", "redirect");
  }
  if (type != "subscription_cancel" && type != "subscription_update") return flow;
  PTG_TRY(const std::string id, data.Text(type + ".subscription"));
  if (account.store.Find(Kind::kSubscription, id) == nullptr) {
    return NoSuch("subscription", id, data.NameOf(type + ".subscription"));
  }
  Json named = Json::Object({{"subscription", id}});
  if (type == "subscription_cancel") named.Set("retention", nullptr);
  flow.Set(type, std::move(named));
  return flow;
}

Answered<Json> CreateSession(Call& call) {
  Account& account = call.account;
  PTG_TRY(const std::string customer_id, call.params.Text("customer"));
  const Json* customer = account.store.Find(Kind::kCustomer, customer_id);
  if (customer == nullptr || IsTrue(*customer, "deleted")) {
    return NoSuch("customer", customer_id, "customer");
  }
  const std::string first = account.store.ids(Kind::kPortalConfiguration).front();
  PTG_TRY(const std::optional<std::string> asked, call.params.MaybeText("configuration"));
  const std::string configuration_id = asked.value_or(first);
  const Json* configuration = account.store.Find(Kind::kPortalConfiguration, configuration_id);
  if (configuration == nullptr) {
    return NoSuch("configuration", configuration_id, "configuration");
  }
  if (!IsTrue(*configuration, "active")) {
    return Refuse("", "The configuration is inactive.", "configuration");
  }
  PTG_TRY(const std::optional<std::string> back, call.params.MaybeText("return_url"));
  if (back && !IsWebUrl(*back)) return Refuse("url_invalid", "Not a valid URL", "return_url");
  PTG_TRY(std::optional<std::string> locale, call.params.MaybeText("locale"));
  PTG_TRY(Json flow, FlowOf(account, call.params));
  Json session = Shape(Kind::kPortalSession);
  const std::string id = NewId("bps_1", kLongId - 1, account.rng);
  session.Set("id", id);
  session.Set("configuration", configuration_id);
  session.Set("created", account.Now());
  session.Set("customer", customer_id);
  session.Set("flow", std::move(flow));
  session.Set("locale", OrNull(std::move(locale)));
  session.Set("return_url", back ? Json(*back) : Member(*configuration, "default_return_url"));
  session.Set("url", account.url + "/portal/" + id);
  Json& added = account.store.Add(Kind::kPortalSession, std::move(session));
  Emit(account, "billing_portal.session.created", added);
  return added;
}

std::vector<std::string_view> ConfigurationParams() {
  return {"active",
          "business_profile.headline",
          "business_profile.privacy_policy_url",
          "business_profile.terms_of_service_url",
          "default_return_url",
          "name",
          "login_page.enabled",
          "metadata.*",
          "features.customer_update.enabled",
          "features.customer_update.allowed_updates.*",
          "features.invoice_history.enabled",
          "features.payment_method_update.enabled",
          "features.subscription_pause.enabled",
          "features.subscription_cancel.enabled",
          "features.subscription_cancel.mode",
          "features.subscription_cancel.proration_behavior",
          "features.subscription_cancel.cancellation_reason.enabled",
          "features.subscription_cancel.cancellation_reason.options.*",
          "features.subscription_update.enabled",
          "features.subscription_update.default_allowed_updates.*",
          "features.subscription_update.proration_behavior",
          "features.subscription_update.products.*.product",
          "features.subscription_update.products.*.prices.*",
          "expand.*"};
}

}  // namespace

void AddDefaultPortal(Account& account) {
  Json configuration = Shape(Kind::kPortalConfiguration);
  configuration.Set("id", NewId("bpc_1", kLongId - 1, account.rng));
  configuration.Set("created", account.Now());
  configuration.Set("is_default", true);
  configuration.Set("updated", account.Now());
  account.store.Add(Kind::kPortalConfiguration, std::move(configuration));
}

void AddPortalRoutes(Routes& routes) {
  constexpr std::string_view kConfigurations = "/v1/billing_portal/configurations";
  constexpr std::string_view kConfiguration = "/v1/billing_portal/configurations/:id";
  routes.push_back({"POST", kConfigurations, &CreateConfiguration, ConfigurationParams()});
  routes.push_back(
      {"GET", kConfigurations, &ListConfigurations, ListParams({"active", "is_default"})});
  routes.push_back({"GET", kConfiguration, &Retrieve<Kind::kPortalConfiguration>, {"expand.*"}});
  routes.push_back({"POST", kConfiguration, &UpdateConfiguration, ConfigurationParams()});
  routes.push_back(
      {"POST",
       "/v1/billing_portal/sessions",
       &CreateSession,
       {"customer", "configuration", "return_url", "locale", "flow_data.type",
        "flow_data.subscription_cancel.subscription", "flow_data.subscription_update.subscription",
        "flow_data.after_completion.type", "flow_data.after_completion.redirect.return_url",
        "expand.*"}});
}

}  // namespace pontage::sandbox::stripe
