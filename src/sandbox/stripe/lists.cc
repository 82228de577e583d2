#include <algorithm>
#include <array>
#include <utility>

#include "base/try.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/invoices.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr int64_t kDefaultPage = 10;
constexpr int64_t kLargestPage = 100;
constexpr size_t kMaxExpands = 20;
constexpr size_t kMaxExpandDepth = 4;  // as Stripe's

// What a page needs to know of each object, without copying it.
struct Entry {
  std::string id;
  const Json* object;
};

struct Window {
  size_t begin = 0;
  size_t end = 0;
  bool more = false;
};

Answered<size_t> PlaceOf(const std::vector<Entry>& all, const std::string& id,
                         std::string_view param, std::string_view no_such) {
  const auto found = std::ranges::find(all, id, &Entry::id);
  if (found == all.end()) return NoSuch(no_such, id, std::string(param));
  return static_cast<size_t>(found - all.begin());
}

Answered<Window> WindowOf(const Params& params, const std::vector<Entry>& all,
                          std::string_view no_such) {
  PTG_TRY(const std::optional<int64_t> limit, params.MaybeInt("limit", 1, kLargestPage));
  PTG_TRY(const std::optional<std::string> after, params.MaybeText("starting_after"));
  PTG_TRY(const std::optional<std::string> before, params.MaybeText("ending_before"));
  const auto size = static_cast<size_t>(limit.value_or(kDefaultPage));
  if (after && before) {
    return Refuse("",
                  "You may only specify one of these parameters: starting_after, ending_before.");
  }
  Window window;
  if (before) {
    PTG_TRY(window.end, PlaceOf(all, *before, "ending_before", no_such));
    window.begin = window.end - std::min(size, window.end);
    window.more = window.begin > 0;
    return window;
  }
  if (after) {
    PTG_TRY(const size_t place, PlaceOf(all, *after, "starting_after", no_such));
    window.begin = place + 1;
  }
  window.end = std::min(window.begin + size, all.size());
  window.more = window.end < all.size();
  return window;
}

Answered<Json> PageOfEntries(const Params& params, const std::vector<Entry>& all, std::string url,
                             std::string_view no_such) {
  PTG_TRY(const Window window, WindowOf(params, all, no_such));
  std::vector<Json> items;
  for (size_t i = window.begin; i < window.end; ++i) items.push_back(*all[i].object);
  Json page = WholeList(std::move(items), std::move(url));
  page.Set("has_more", window.more);
  return page;
}

// What is in no object until somebody asks for it.
std::optional<Json> Included(const Account& account, const Json& object, std::string_view key) {
  const std::string name = TextOf(object, "object");
  const std::string id = TextOf(object, "id");
  if (name == "invoice" && key == "payments") return PaymentsOf(account, id);
  if (name == "checkout.session" && key == "line_items") {
    const auto book = account.sessions.find(id);
    if (book == account.sessions.end()) return std::nullopt;
    return WholeList(book->second.line_items, "/v1/checkout/sessions/" + id + "/line_items");
  }
  const auto all = [&](Kind kind, const char* member, std::string url) {
    std::vector<Json> items;
    for (const std::string& other : account.store.ids(kind)) {
      const Json* found = account.store.Find(kind, other);
      if (TextOf(*found, member) == id && TextOf(*found, "status") != "canceled") {
        items.insert(items.begin(), *found);
      }
    }
    return WholeList(std::move(items), std::move(url));
  };
  if (name == "charge" && key == "refunds") {
    return all(Kind::kRefund, "charge", "/v1/charges/" + id + "/refunds");
  }
  if (name == "customer" && key == "subscriptions") {
    return all(Kind::kSubscription, "customer", "/v1/customers/" + id + "/subscriptions");
  }
  return std::nullopt;
}

std::unexpected<ApiError> CannotExpand(std::string_view path) {
  return Refuse("", "This property cannot be expanded (" + std::string(path) + ").", "expand");
}

Answered<> ExpandAt(const Account& account, Json& at, std::string_view rest,
                    std::string_view path) {
  if (rest.empty() || at.IsNull()) return {};
  if (const std::vector<Json>* items = at.AsArray()) {
    std::vector<Json> expanded = *items;
    for (Json& item : expanded) PTG_RUN(ExpandAt(account, item, rest, path));
    at = Json::Array(std::move(expanded));
    return {};
  }
  if (!at.IsObject()) return CannotExpand(path);
  const size_t dot = std::min(rest.find('.'), rest.size());
  const std::string key(rest.substr(0, dot));
  rest.remove_prefix(std::min(dot + 1, rest.size()));
  Json* member = at.Find(key);
  if (member == nullptr) {
    std::optional<Json> included = Included(account, at, key);
    if (!included) return CannotExpand(path);
    member = at.Set(key, *std::move(included)).Find(key);
  } else if (const std::string* id = member->AsString()) {
    const Json* whole = account.store.FindAny(*id);
    if (whole == nullptr) return CannotExpand(path);
    *member = Json(*whole);
  }
  return ExpandAt(account, *member, rest, path);
}

}  // namespace

std::vector<std::string_view> ListParams(std::initializer_list<std::string_view> own) {
  std::vector<std::string_view> names(own);
  const std::array<std::string_view, 6> paging = {"limit",   "starting_after", "ending_before",
                                                  "created", "created.*",      "expand.*"};
  names.insert(names.end(), paging.begin(), paging.end());
  return names;
}

Answered<Json*> Named(Call& call, Kind kind) {
  Json* found = call.account.store.Find(kind, call.id);
  if (found == nullptr) return NoSuch(ObjectName(kind), call.id);
  return found;
}

Answered<Filter> CreatedFilter(const Params& params) {
  constexpr int64_t kFar = INT64_MAX / 4;
  int64_t least = -kFar;
  int64_t most = kFar;
  if (params.Has("created") && params.At("created").node().text) {
    PTG_TRY(least, params.Int("created", 0, kFar));
    most = least;
  } else {
    PTG_TRY(const std::optional<int64_t> gte, params.MaybeInt("created.gte", 0, kFar));
    PTG_TRY(const std::optional<int64_t> gt, params.MaybeInt("created.gt", 0, kFar));
    PTG_TRY(const std::optional<int64_t> lte, params.MaybeInt("created.lte", 0, kFar));
    PTG_TRY(const std::optional<int64_t> lt, params.MaybeInt("created.lt", 0, kFar));
    if (gte) least = *gte;
    if (gt) least = std::max(least, *gt + 1);
    if (lte) most = *lte;
    if (lt) most = std::min(most, *lt - 1);
  }
  return [least, most](const Json& object) {
    const int64_t created = IntOf(object, "created");
    return created >= least && created <= most;
  };
}

Answered<Json> ListPage(Call& call, Kind kind, const Filter& fits) {
  PTG_TRY(const Filter created, CreatedFilter(call.params));
  const std::vector<std::string>& ids = call.account.store.ids(kind);
  std::vector<Entry> all;
  for (size_t i = ids.size(); i-- > 0;) {
    const Json* object = call.account.store.Find(kind, ids[i]);
    if (created(*object) && (!fits || fits(*object))) all.push_back({ids[i], object});
  }
  return PageOfEntries(call.params, all, std::string(PathOf(kind)), ObjectName(kind));
}

Answered<Json> PageOf(Call& call, const std::vector<Json>& all, std::string url,
                      std::string_view no_such) {
  std::vector<Entry> entries;
  for (const Json& object : all) entries.push_back({TextOf(object, "id"), &object});
  return PageOfEntries(call.params, entries, std::move(url), no_such);
}

Answered<> Expand(const Account& account, Json& json, const Params& params) {
  PTG_TRY(const std::vector<std::string> paths, params.Texts("expand", kMaxExpands));
  for (const std::string& path : paths) {
    const auto depth = static_cast<size_t>(std::ranges::count(path, '.')) + 1;
    if (depth > kMaxExpandDepth) {
      return Refuse("", "You cannot expand more than 4 levels of a property. Property: " + path,
                    "expand");
    }
    PTG_RUN(ExpandAt(account, json, path, path));
  }
  return {};
}

}  // namespace pontage::sandbox::stripe
