// Checkout sessions as the API makes, shows and ends them.
#include <algorithm>
#include <utility>

#include "base/try.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/catalog.h"
#include "sandbox/stripe/checkout.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/shapes.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr int64_t kHour = 3'600;
constexpr int64_t kDay = 86'400;
constexpr size_t kMaxItems = 100;
constexpr int64_t kMaxTrialDays = 730;
constexpr size_t kMaxReference = 200;

// Faults that come of two parameters together.
Answered<> CheckTogether(const Params& params, const Json& session, const Json* customer) {
  const std::string mode = TextOf(session, "mode");
  const auto only_in = [&](const char* param, const char* wanted) -> Answered<> {
    if (!params.Has(param) || mode == wanted) return {};
    return Refuse("", "You can not pass `" + std::string(param) + "` in `" + mode + "` mode.",
                  param);
  };
  PTG_RUN(only_in("subscription_data", "subscription"));
  PTG_RUN(only_in("payment_intent_data", "payment"));
  PTG_RUN(only_in("invoice_creation", "payment"));
  PTG_RUN(only_in("customer_creation", "payment"));
  PTG_RUN(only_in("submit_type", "payment"));
  if (customer != nullptr && params.Has("customer_email")) {
    return Refuse("", "You may only specify one of these parameters: customer, customer_email.",
                  "customer_email");
  }
  if (customer == nullptr && params.Has("customer_update")) {
    return Refuse("", "`customer_update` can only be used with `customer`.", "customer_update");
  }
  PTG_TRY(const std::optional<std::string> address,
          params.MaybeWord("customer_update.address", {"auto", "never"}));
  PTG_TRY(const std::optional<std::string> name,
          params.MaybeWord("customer_update.name", {"auto", "never"}));
  const bool taxed = IsTrue(Member(session, "automatic_tax"), "enabled");
  if (customer != nullptr && taxed && address != "auto" && Member(*customer, "address").IsNull()) {
    return Refuse("customer_tax_location_invalid",
                  "Automatic tax calculation in Checkout requires a valid address on the "
                  "Customer. Add a valid address to the Customer or set either "
                  "`customer_update[address]` to 'auto' or `customer_update[shipping]` to 'auto' "
                  "to save the address entered in Checkout to the Customer.");
  }
  const bool tax_ids = IsTrue(Member(session, "tax_id_collection"), "enabled");
  if (customer != nullptr && tax_ids && name != "auto") {
    return Refuse("",
                  "Tax ID collection requires updating business name on the customer. To "
                  "enable tax ID collection for an existing customer, please set "
                  "`customer_update[name]` to `auto`.");
  }
  return {};
}

Answered<> SetUrls(const Params& params, Json& session) {
  for (const char* key : {"success_url", "cancel_url"}) {
    PTG_TRY(const std::optional<std::string> url, params.MaybeText(key));
    if (!url) continue;
    if (!IsWebUrl(*url)) return Refuse("url_invalid", "Not a valid URL", key);
    session.Set(key, *url);
  }
  if (TextOf(session, "success_url").empty()) {
    PTG_RUN(params.Text("success_url"));
  }
  return {};
}

Answered<> SetExpiry(const Account& account, const Params& params, Json& session) {
  const int64_t now = account.Now();
  PTG_TRY(const std::optional<int64_t> expires, params.MaybeInt("expires_at", 0, INT64_MAX / 4));
  const int64_t at = expires.value_or(now + kDay);
  if (at < now + kHour / 2 || at > now + kDay) {
    return Refuse("",
                  "The `expires_at` timestamp must be at least 30 minutes and at most 24 hours "
                  "after Checkout Session creation.",
                  "expires_at");
  }
  session.Set("expires_at", at);
  return {};
}

Answered<> SetSwitch(const Params& params, const char* param, Json& session) {
  PTG_TRY(const std::optional<bool> on, params.MaybeBool(std::string(param) + ".enabled"));
  if (!on) return {};
  if (session.Find(param) == nullptr || Member(session, param).IsNull()) {
    session.Set(param, Json::Object());
  }
  session.Find(param)->Set("enabled", *on);
  return {};
}

// What is only shown again.
Answered<> SetPlain(const Params& params, Json& session) {
  for (const char* key : {"client_reference_id", "customer_email", "locale", "submit_type"}) {
    PTG_TRY(std::optional<std::string> text, params.MaybeText(key));
    if (text) session.Set(key, *std::move(text));
  }
  if (TextOf(session, "client_reference_id").size() > kMaxReference) {
    return Refuse("", "client_reference_id can have up to 200 characters.", "client_reference_id");
  }
  PTG_TRY(const std::optional<std::string> billing,
          params.MaybeWord("billing_address_collection", {"auto", "required"}));
  if (billing) session.Set("billing_address_collection", *billing);
  PTG_TRY(const std::optional<bool> codes, params.MaybeBool("allow_promotion_codes"));
  if (codes) session.Set("allow_promotion_codes", *codes);
  for (const char* param : {"automatic_tax", "phone_number_collection", "adaptive_pricing"}) {
    PTG_RUN(SetSwitch(params, param, session));
  }
  PTG_TRY(const std::optional<bool> tax_ids, params.MaybeBool("tax_id_collection.enabled"));
  if (tax_ids) {
    session.Set("tax_id_collection", Json::Object({{"enabled", *tax_ids}, {"required", "never"}}));
  }
  if (IsTrue(Member(session, "automatic_tax"), "enabled")) {
    Json& tax = *session.Find("automatic_tax");
    tax.Set("liability", Json::Object({{"type", "self"}}));
    tax.Set("provider", "stripe");
    tax.Set("status", "requires_location_inputs");
  }
  for (const char* key : {"allowed_payment_method_types", "excluded_payment_method_types"}) {
    PTG_TRY(const std::vector<std::string> types, params.Texts(key, kMaxItems));
    if (types.empty()) continue;
    Json list = Json::Array();
    for (const std::string& type : types) list.Push(type);
    session.Set(key, std::move(list));
  }
  PTG_TRY(Json metadata, params.Metadata(Json()));
  session.Set("metadata", std::move(metadata));
  return {};
}

Answered<const Json*> PriceOf(Account& account, const Params& item, const std::string& mode) {
  if (item.Has("price_data")) {
    PTG_TRY(const Json* made, AddPrice(account, item.At("price_data"), true));
    return made;
  }
  PTG_TRY(const std::string id, item.Text("price"));
  const Json* price = account.store.Find(Kind::kPrice, id);
  if (price == nullptr) return NoSuch("price", id, item.NameOf("price"));
  if (!IsTrue(*price, "active")) {
    return Refuse("", "The price specified is inactive. This field only accepts active prices.",
                  item.NameOf("price"));
  }
  if (mode == "payment" && !Member(*price, "recurring").IsNull()) {
    return Refuse("",
                  "You specified `payment` mode but passed a recurring price. Either switch to "
                  "`subscription` mode or use only one-time prices.",
                  item.NameOf("price"));
  }
  if (mode == "subscription" && Member(*price, "recurring").IsNull()) {
    return Refuse("",
                  "You must provide at least one recurring price in `subscription` mode when "
                  "using prices.",
                  item.NameOf("price"));
  }
  return price;
}

Answered<> AddItems(Account& account, const Params& params, Json& session, SessionBook& book) {
  const std::vector<Params> items = params.List("line_items");
  const std::string mode = TextOf(session, "mode");
  if (items.empty()) {
    return Refuse("parameter_missing", "Missing required param: line_items.", "line_items");
  }
  if (items.size() > kMaxItems) return Refuse("", "Too many line items.", "line_items");
  const bool trial = book.trial_days > 0 || book.trial_end;
  int64_t total = 0;
  for (const Params& item : items) {
    PTG_TRY(const Json* price, PriceOf(account, item, mode));
    PTG_TRY(const int64_t quantity, item.Int("quantity", 1, kMaxQuantity));
    if (!book.line_items.empty() && TextOf(session, "currency") != TextOf(*price, "currency")) {
      return Refuse("", "All prices of a session must have the same currency.",
                    item.NameOf("price"));
    }
    session.Set("currency", Member(*price, "currency"));
    const Json* product = account.store.Find(Kind::kProduct, TextOf(*price, "product"));
    const int64_t amount = trial ? 0 : quantity * IntOf(*price, "unit_amount");
    Json line = SessionItemShape();
    line.Set("id", NewId("li_1", kLongId - 1, account.rng));
    line.Set("amount_subtotal", amount);
    line.Set("amount_total", amount);
    line.Set("currency", Member(*price, "currency"));
    line.Set("description", product != nullptr ? Member(*product, "name") : Json());
    line.Set("price", *price);
    line.Set("quantity", quantity);
    book.line_items.push_back(std::move(line));
    total += amount;
  }
  session.Set("amount_subtotal", total);
  session.Set("amount_total", total);
  return {};
}

Answered<> ReadSubscriptionData(const Account& account, const Params& params, Json& session,
                                SessionBook& book) {
  const Params data = params.At("subscription_data");
  PTG_TRY(book.metadata, data.Metadata(Json()));
  PTG_TRY(const std::optional<std::string> description, data.MaybeText("description"));
  book.description = description.value_or("");
  PTG_TRY(const std::optional<int64_t> days, data.MaybeInt("trial_period_days", 1, kMaxTrialDays));
  book.trial_days = days.value_or(0);
  PTG_TRY(const std::optional<int64_t> end, data.MaybeInt("trial_end", account.Now() + 2 * kDay,
                                                          account.Now() + kMaxTrialDays * kDay));
  if (end) book.trial_end = UnixMs::FromSeconds(*end);
  PTG_TRY(const std::optional<std::string> without,
          data.MaybeWord("trial_settings.end_behavior.missing_payment_method",
                         {"create_invoice", "cancel", "pause"}));
  if (without) book.when_trial_ends_without_card = *without;
  PTG_TRY(const std::optional<std::string> collection,
          params.MaybeWord("payment_method_collection", {"always", "if_required"}));
  session.Set("payment_method_collection", collection.value_or("always"));
  return {};
}

Answered<> ReadPaymentData(const Params& params, Json& session, SessionBook& book) {
  const Params data = params.At("payment_intent_data");
  PTG_TRY(book.metadata, data.Metadata(Json()));
  PTG_TRY(const std::optional<std::string> description, data.MaybeText("description"));
  book.description = description.value_or("");
  PTG_TRY(const std::optional<bool> invoiced, params.MaybeBool("invoice_creation.enabled"));
  book.invoiced = invoiced.value_or(false);
  PTG_TRY(book.invoice_metadata, params.At("invoice_creation.invoice_data").Metadata(Json()));
  PTG_TRY(const std::optional<std::string> creation,
          params.MaybeWord("customer_creation", {"always", "if_required"}));
  session.Set("customer_creation", creation.value_or("if_required"));
  const Json invoice_data = Json::Object({{"account_tax_ids", nullptr},
                                          {"custom_fields", nullptr},
                                          {"description", nullptr},
                                          {"footer", nullptr},
                                          {"issuer", nullptr},
                                          {"metadata", book.invoice_metadata},
                                          {"rendering_options", nullptr}});
  session.Set("invoice_creation",
              Json::Object({{"enabled", book.invoiced}, {"invoice_data", invoice_data}}));
  session.Set("payment_method_collection", "if_required");
  return {};
}

Answered<Json> Create(Call& call) {
  Account& account = call.account;
  const Params& params = call.params;
  Json session = Shape(Kind::kSession);
  SessionBook book;
  PTG_TRY(const std::optional<std::string> mode,
          params.MaybeWord("mode", {"payment", "subscription"}));
  if (!mode) {
    return Refuse("parameter_missing", "You must provide `mode`.", "mode");
  }
  session.Set("mode", *mode);
  PTG_RUN(params.MaybeWord("ui_mode", {"hosted_page"}));
  PTG_TRY(const std::optional<std::string> customer_id, params.MaybeText("customer"));
  const Json* customer = account.store.Find(Kind::kCustomer, customer_id.value_or(""));
  if (customer_id && (customer == nullptr || IsTrue(*customer, "deleted"))) {
    return NoSuch("customer", *customer_id, "customer");
  }
  if (customer != nullptr) session.Set("customer", *customer_id);
  PTG_RUN(SetPlain(params, session));
  PTG_RUN(SetUrls(params, session));
  PTG_RUN(SetExpiry(account, params, session));
  PTG_RUN(CheckTogether(params, session, customer));
  PTG_TRY(const std::optional<std::string> update, params.MaybeText("customer_update.name"));
  book.update_customer = update == "auto";
  if (*mode == "subscription") {
    PTG_RUN(ReadSubscriptionData(account, params, session, book));
  } else {
    PTG_RUN(ReadPaymentData(params, session, book));
  }
  PTG_RUN(AddItems(account, params, session, book));
  const std::string id = NewId("cs_test_a1", kSessionId, account.rng);
  session.Set("id", id);
  session.Set("created", account.Now());
  session.Set("url", account.url + "/checkout/pay/" + id);
  account.sessions[id] = std::move(book);
  Json& added = account.store.Add(Kind::kSession, std::move(session));
  PlanSession(account, added);
  return added;
}

Answered<Json> List(Call& call) {
  struct Wanted {
    const char* param;
    std::optional<std::string> value;
  };
  Wanted wanted[] = {
      {"customer", {}}, {"subscription", {}}, {"payment_intent", {}}, {"status", {}}};
  for (Wanted& one : wanted) {
    PTG_TRY(one.value, call.params.MaybeText(one.param));
  }
  return ListPage(call, Kind::kSession, [&](const Json& session) {
    return std::ranges::all_of(wanted, [&](const Wanted& one) {
      return !one.value || TextOf(session, one.param) == *one.value;
    });
  });
}

Answered<Json> Expire(Call& call) {
  PTG_TRY(Json * session, Named(call, Kind::kSession));
  const std::string status = TextOf(*session, "status");
  if (status != "open") {
    return Refuse("",
                  "Only Checkout Sessions with a status in [\"open\"] can be expired. This "
                  "Checkout Session has a status of " +
                      status + ".");
  }
  ExpireSession(call.account, *session);
  return *session;
}

Answered<Json> LineItems(Call& call) {
  PTG_RUN(Named(call, Kind::kSession));
  return PageOf(call, call.account.sessions[call.id].line_items,
                "/v1/checkout/sessions/" + call.id + "/line_items", "line item");
}

// payment_method_types is not among them: endive has taken it away.
std::vector<std::string_view> CreateParams() {
  return {"mode",
          "customer",
          "customer_email",
          "client_reference_id",
          "line_items.*.price",
          "line_items.*.quantity",
          "line_items.*.adjustable_quantity.**",
          "line_items.*.price_data.currency",
          "line_items.*.price_data.unit_amount",
          "line_items.*.price_data.product",
          "line_items.*.price_data.tax_behavior",
          "line_items.*.price_data.recurring.interval",
          "line_items.*.price_data.recurring.interval_count",
          "line_items.*.price_data.product_data.name",
          "line_items.*.price_data.product_data.description",
          "line_items.*.price_data.product_data.images.*",
          "line_items.*.price_data.product_data.metadata.*",
          "line_items.*.price_data.product_data.tax_code",
          "success_url",
          "cancel_url",
          "metadata.*",
          "subscription_data.metadata.*",
          "subscription_data.description",
          "subscription_data.trial_period_days",
          "subscription_data.trial_end",
          "subscription_data.trial_settings.end_behavior.missing_payment_method",
          "payment_intent_data.metadata.*",
          "payment_intent_data.description",
          "invoice_creation.enabled",
          "invoice_creation.invoice_data.metadata.*",
          "invoice_creation.invoice_data.description",
          "invoice_creation.invoice_data.footer",
          "allow_promotion_codes",
          "automatic_tax.enabled",
          "tax_id_collection.enabled",
          "tax_id_collection.required",
          "customer_update.address",
          "customer_update.name",
          "customer_update.shipping",
          "customer_creation",
          "expires_at",
          "locale",
          "billing_address_collection",
          "payment_method_collection",
          "phone_number_collection.enabled",
          "adaptive_pricing.enabled",
          "allowed_payment_method_types.*",
          "excluded_payment_method_types.*",
          "payment_method_options.**",
          "saved_payment_method_options.**",
          "consent_collection.**",
          "custom_text.**",
          "name_collection.**",
          "branding_settings.**",
          "submit_type",
          "ui_mode",
          "currency",
          "expand.*"};
}

}  // namespace

void AddSessionRoutes(Routes& routes) {
  routes.push_back({"POST", "/v1/checkout/sessions", &Create, CreateParams()});
  routes.push_back({"GET", "/v1/checkout/sessions", &List,
                    ListParams({"customer", "subscription", "payment_intent", "status"})});
  routes.push_back({"GET", "/v1/checkout/sessions/:id", &Retrieve<Kind::kSession>, {"expand.*"}});
  routes.push_back({"POST", "/v1/checkout/sessions/:id/expire", &Expire, {"expand.*"}});
  routes.push_back({"GET", "/v1/checkout/sessions/:id/line_items", &LineItems, ListParams({})});
}

}  // namespace pontage::sandbox::stripe
