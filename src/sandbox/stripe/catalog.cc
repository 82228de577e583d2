#include "sandbox/stripe/catalog.h"

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/calendar.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/shapes.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr size_t kMaxLookups = 10;
constexpr size_t kMaxImages = 8;
constexpr size_t kMaxLookupKey = 200;

bool HasWord(const std::vector<std::string>& words, const std::string& word) {
  return std::ranges::find(words, word) != words.end();
}

// Sets on `product` what the request names.
Answered<> SetProductFields(const Params& params, Json& product) {
  for (const char* key : {"name", "description", "statement_descriptor", "tax_code", "unit_label",
                          "url", "default_price"}) {
    PTG_TRY(std::optional<std::string> text, params.MaybeText(key));
    if (text || params.Clears(key)) product.Set(key, OrNull(std::move(text)));
  }
  PTG_TRY(const std::optional<bool> active, params.MaybeBool("active"));
  if (active) product.Set("active", *active);
  if (params.Has("images")) {
    PTG_TRY(const std::vector<std::string> images, params.Texts("images", kMaxImages));
    Json list = Json::Array();
    for (const std::string& image : images) list.Push(image);
    product.Set("images", std::move(list));
  }
  PTG_TRY(Json metadata, params.Metadata(Member(product, "metadata")));
  product.Set("metadata", std::move(metadata));
  return {};
}

Answered<Json*> AddProduct(Account& account, const Params& params) {
  Json product = Shape(Kind::kProduct);
  PTG_RUN(params.Text("name"));
  PTG_RUN(SetProductFields(params, product));
  PTG_TRY(const std::optional<std::string> id, params.MaybeText("id"));
  if (id && account.store.FindAny(*id) != nullptr) {
    return Refuse("resource_already_exists", "Product already exists.", "id");
  }
  product.Set("id", id ? *id : NewId("prod_", kShortId, account.rng));
  product.Set("created", account.Now());
  product.Set("updated", account.Now());
  Json& added = account.store.Add(Kind::kProduct, std::move(product));
  Emit(account, "product.created", added);
  return &added;
}

Answered<Json> RecurringOf(const Params& params) {
  if (!params.Has("recurring")) return Json();
  PTG_TRY(const std::optional<std::string> interval,
          params.MaybeWord("recurring.interval", {"day", "week", "month", "year"}));
  if (!interval) {
    PTG_RUN(params.Text("recurring.interval"));
  }
  PTG_RUN(params.MaybeWord("recurring.usage_type", {"licensed"}));
  // Three years at most, as Stripe.
  const Interval::Unit unit = UnitOf(*interval).value_or(Interval::Unit::kMonth);
  const int64_t most[] = {1'095, 156, 36, 3};
  PTG_TRY(const std::optional<int64_t> count,
          params.MaybeInt("recurring.interval_count", 1, most[static_cast<size_t>(unit)]));
  return Json::Object({{"interval", *interval},
                       {"interval_count", count.value_or(1)},
                       {"meter", nullptr},
                       {"trial_period_days", nullptr},
                       {"usage_type", "licensed"}});
}

// Takes the key from the price that has it, or says that it is taken.
Answered<> FreeLookupKey(Account& account, const Params& params, const std::string& key) {
  PTG_TRY(const std::optional<bool> transfer, params.MaybeBool("transfer_lookup_key"));
  if (key.size() > kMaxLookupKey) {
    return Refuse("", "lookup_key can have up to 200 characters.", params.NameOf("lookup_key"));
  }
  for (const std::string& id : account.store.ids(Kind::kPrice)) {
    Json* other = account.store.Find(Kind::kPrice, id);
    if (TextOf(*other, "lookup_key") != key) continue;
    if (!transfer.value_or(false)) {
      return Refuse("", "A price (`" + id + "`) already uses that lookup key.",
                    params.NameOf("lookup_key"));
    }
    const Json before = *other;
    other->Set("lookup_key", nullptr);
    EmitUpdate(account, "price.updated", before, *other);
  }
  return {};
}

Answered<std::string> ProductFor(Account& account, const Params& params) {
  if (params.Has("product_data")) {
    PTG_TRY(const Json* product, AddProduct(account, params.At("product_data")));
    return TextOf(*product, "id");
  }
  PTG_TRY(std::string product, params.Text("product"));
  if (account.store.Find(Kind::kProduct, product) == nullptr) {
    return NoSuch("product", product, params.NameOf("product"));
  }
  return product;
}

Answered<Json> CreateProduct(Call& call) {
  PTG_TRY(const Json* product, AddProduct(call.account, call.params));
  return *product;
}

Answered<Json> UpdateProduct(Call& call) {
  PTG_TRY(Json * product, Named(call, Kind::kProduct));
  Json after = *product;
  PTG_RUN(SetProductFields(call.params, after));
  after.Set("updated", call.account.Now());
  const Json before = std::exchange(*product, std::move(after));
  EmitUpdate(call.account, "product.updated", before, *product);
  return *product;
}

Answered<Json> ListProducts(Call& call) {
  PTG_TRY(const std::optional<bool> active, call.params.MaybeBool("active"));
  PTG_TRY(const std::vector<std::string> ids, call.params.Texts("ids", 100));
  return ListPage(call, Kind::kProduct, [&](const Json& product) {
    return (!active || IsTrue(product, "active") == *active) &&
           (ids.empty() || HasWord(ids, TextOf(product, "id")));
  });
}

Answered<Json> CreatePrice(Call& call) {
  PTG_TRY(const Json* price, AddPrice(call.account, call.params, false));
  return *price;
}

// Items carry the whole price: those of running subscriptions are kept the same.
void RefreshItems(Account& account, const Json& price) {
  for (const std::string& id : account.store.ids(Kind::kSubscription)) {
    Json* subscription = account.store.Find(Kind::kSubscription, id);
    std::vector<Json> items = ItemsOf(Member(*subscription, "items"));
    for (Json& item : items) {
      if (TextOf(Member(item, "price"), "id") == TextOf(price, "id")) item.Set("price", price);
    }
    subscription->Find("items")->Set("data", Json::Array(std::move(items)));
  }
}

Answered<Json> UpdatePrice(Call& call) {
  PTG_TRY(Json * price, Named(call, Kind::kPrice));
  Json after = *price;
  PTG_TRY(const std::optional<bool> active, call.params.MaybeBool("active"));
  if (active) after.Set("active", *active);
  PTG_TRY(std::optional<std::string> nickname, call.params.MaybeText("nickname"));
  if (nickname || call.params.Clears("nickname")) after.Set("nickname", OrNull(nickname));
  PTG_TRY(Json metadata, call.params.Metadata(Member(after, "metadata")));
  after.Set("metadata", std::move(metadata));
  PTG_TRY(const std::optional<std::string> key, call.params.MaybeText("lookup_key"));
  if (key && *key != TextOf(after, "lookup_key")) {
    PTG_RUN(FreeLookupKey(call.account, call.params, *key));
    after.Set("lookup_key", *key);
  }
  if (call.params.Clears("lookup_key")) after.Set("lookup_key", nullptr);
  const Json before = std::exchange(*price, std::move(after));
  RefreshItems(call.account, *price);
  EmitUpdate(call.account, "price.updated", before, *price);
  return *price;
}

Answered<Json> ListPrices(Call& call) {
  PTG_TRY(const std::optional<bool> active, call.params.MaybeBool("active"));
  PTG_TRY(const std::optional<std::string> product, call.params.MaybeText("product"));
  PTG_TRY(const std::optional<std::string> currency, call.params.MaybeText("currency"));
  PTG_TRY(const std::optional<std::string> type,
          call.params.MaybeWord("type", {"one_time", "recurring"}));
  PTG_TRY(const std::vector<std::string> keys, call.params.Texts("lookup_keys", kMaxLookups));
  return ListPage(call, Kind::kPrice, [&](const Json& price) {
    return (!active || IsTrue(price, "active") == *active) &&
           (!product || TextOf(price, "product") == *product) &&
           (!currency || TextOf(price, "currency") == *currency) &&
           (!type || TextOf(price, "type") == *type) &&
           (keys.empty() || HasWord(keys, TextOf(price, "lookup_key")));
  });
}

std::vector<std::string_view> ProductParams() {
  return {"name", "description", "active",     "metadata.*", "images.*",     "statement_descriptor",
          "url",  "tax_code",    "unit_label", "expand.*",   "default_price"};
}

}  // namespace

Answered<Json*> AddPrice(Account& account, const Params& params, bool inlined) {
  PTG_TRY(std::string currency, params.Text("currency"));
  std::ranges::transform(currency, currency.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  const bool letters = std::ranges::all_of(currency, [](char c) { return c >= 'a' && c <= 'z'; });
  if (currency.size() != 3 || !letters) {
    return Refuse("", "Invalid currency: " + currency + ".", params.NameOf("currency"));
  }
  PTG_TRY(const int64_t amount, params.Int("unit_amount", 0, kMaxAmount));
  PTG_TRY(Json recurring, RecurringOf(params));
  PTG_TRY(const std::optional<std::string> behavior,
          params.MaybeWord("tax_behavior", {"inclusive", "exclusive", "unspecified"}));
  PTG_TRY(std::optional<std::string> nickname, params.MaybeText("nickname"));
  PTG_TRY(const std::optional<bool> active, params.MaybeBool("active"));
  PTG_TRY(std::optional<std::string> key, params.MaybeText("lookup_key"));
  PTG_TRY(Json metadata, params.Metadata(Json()));
  if (key) PTG_RUN(FreeLookupKey(account, params, *key));
  PTG_TRY(const std::string product, ProductFor(account, params));
  Json price = Shape(Kind::kPrice);
  price.Set("id", NewId("price_1", kLongId - 1, account.rng));
  price.Set("active", active.value_or(!inlined));
  price.Set("created", account.Now());
  price.Set("currency", currency);
  price.Set("lookup_key", OrNull(std::move(key)));
  price.Set("metadata", std::move(metadata));
  price.Set("nickname", OrNull(std::move(nickname)));
  price.Set("product", product);
  price.Set("tax_behavior", behavior.value_or("unspecified"));
  price.Set("type", recurring.IsNull() ? "one_time" : "recurring");
  price.Set("recurring", std::move(recurring));
  price.Set("unit_amount", amount);
  price.Set("unit_amount_decimal", std::to_string(amount));
  Json& added = account.store.Add(Kind::kPrice, std::move(price));
  Emit(account, "price.created", added);
  return &added;
}

void AddCatalogRoutes(Routes& routes) {
  std::vector<std::string_view> creation = ProductParams();
  creation.push_back("id");
  routes.push_back({"POST", "/v1/products", &CreateProduct, std::move(creation)});
  routes.push_back({"GET", "/v1/products", &ListProducts, ListParams({"active", "ids.*"})});
  routes.push_back({"GET", "/v1/products/:id", &Retrieve<Kind::kProduct>, {"expand.*"}});
  routes.push_back({"POST", "/v1/products/:id", &UpdateProduct, ProductParams()});
  routes.push_back({"POST",
                    "/v1/prices",
                    &CreatePrice,
                    {"currency",
                     "unit_amount",
                     "product",
                     "product_data.name",
                     "product_data.metadata.*",
                     "product_data.tax_code",
                     "product_data.active",
                     "product_data.statement_descriptor",
                     "product_data.unit_label",
                     "product_data.id",
                     "recurring.interval",
                     "recurring.interval_count",
                     "recurring.usage_type",
                     "tax_behavior",
                     "nickname",
                     "active",
                     "lookup_key",
                     "transfer_lookup_key",
                     "metadata.*",
                     "billing_scheme",
                     "expand.*"}});
  routes.push_back({"GET", "/v1/prices", &ListPrices,
                    ListParams({"active", "product", "currency", "type", "lookup_keys.*"})});
  routes.push_back({"GET", "/v1/prices/:id", &Retrieve<Kind::kPrice>, {"expand.*"}});
  routes.push_back({"POST",
                    "/v1/prices/:id",
                    &UpdatePrice,
                    {"active", "nickname", "lookup_key", "transfer_lookup_key", "tax_behavior",
                     "metadata.*", "expand.*"}});
}

}  // namespace pontage::sandbox::stripe
