// Webhook endpoints, and what happened.
#include <algorithm>
#include <utility>

#include "base/try.h"
#include "net/client.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/event_types.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/shapes.h"
#include "sandbox/stripe/versions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr size_t kMaxEndpoints = 16;  // as Stripe's
constexpr size_t kMaxTypes = 20;      // of one listing, as Stripe's
constexpr size_t kMaxEnabled = 300;   // there are 275 types

// A name that is spelled wrong would wait for ever for what never comes.
Answered<> CheckTypes(const Params& params) {
  for (const Params& item : params.List("enabled_events")) {
    PTG_TRY(const std::string type, item.Text(""));
    if (type == "*" || IsEventType(type)) continue;
    const std::string name = item.NameOf("");
    return Refuse("",
                  "Invalid " + name + ": '" + type +
                      "' is no type of event. They are listed at "
                      "https://docs.stripe.com/api/events/types.",
                  name);
  }
  return {};
}

Answered<> SetEndpointFields(Call& call, Json& endpoint) {
  PTG_TRY(const std::optional<std::string> url, call.params.MaybeText("url"));
  if (url) {
    if (!net::ParseUrl(*url)) return Refuse("url_invalid", "Invalid URL: " + *url, "url");
    endpoint.Set("url", *url);
  }
  PTG_TRY(const std::vector<std::string> types, call.params.Texts("enabled_events", kMaxEnabled));
  if (!types.empty()) {
    PTG_RUN(CheckTypes(call.params));
    Json list = Json::Array();
    for (const std::string& type : types) list.Push(type);
    endpoint.Set("enabled_events", std::move(list));
  }
  PTG_TRY(std::optional<std::string> description, call.params.MaybeText("description"));
  if (description || call.params.Clears("description")) {
    endpoint.Set("description", OrNull(std::move(description)));
  }
  PTG_TRY(const std::optional<bool> disabled, call.params.MaybeBool("disabled"));
  if (disabled) endpoint.Set("status", *disabled ? "disabled" : "enabled");
  PTG_TRY(Json metadata, call.params.Metadata(Member(endpoint, "metadata")));
  endpoint.Set("metadata", std::move(metadata));
  return {};
}

Answered<Json> CreateEndpoint(Call& call) {
  Account& account = call.account;
  Json endpoint = Shape(Kind::kWebhookEndpoint);
  PTG_RUN(call.params.Text("url"));
  if (!call.params.Has("enabled_events")) {
    return Refuse("parameter_missing", "Missing required param: enabled_events.", "enabled_events");
  }
  PTG_RUN(SetEndpointFields(call, endpoint));
  PTG_TRY(const std::optional<std::string> version, call.params.MaybeText("api_version"));
  if (version) {
    const std::optional<std::string> known = VersionOf(*version);
    if (!known) return Refuse("", "Invalid Stripe API version: " + *version, "api_version");
    endpoint.Set("api_version", *known);
  }
  if (account.store.ids(Kind::kWebhookEndpoint).size() >= kMaxEndpoints) {
    return Refuse("", "You have reached the maximum of 16 test webhook endpoints.");
  }
  const std::string id = NewId("we_1", kLongId - 1, account.rng);
  endpoint.Set("id", id);
  endpoint.Set("created", account.Now());
  Json answer = account.store.Add(Kind::kWebhookEndpoint, std::move(endpoint));
  const std::string secret = NewId("whsec_", 32, account.rng);
  account.secrets[id] = {{secret, std::nullopt}};
  // Only here: nobody is told again.
  answer.Set("secret", secret);
  return answer;
}

Answered<Json> UpdateEndpoint(Call& call) {
  PTG_TRY(Json * endpoint, Named(call, Kind::kWebhookEndpoint));
  Json after = *endpoint;
  PTG_RUN(SetEndpointFields(call, after));
  *endpoint = std::move(after);
  return *endpoint;
}

Answered<Json> DeleteEndpoint(Call& call) {
  PTG_RUN(Named(call, Kind::kWebhookEndpoint));
  call.account.store.Remove(Kind::kWebhookEndpoint, call.id);
  call.account.secrets.erase(call.id);
  return Json::Object({{"id", call.id}, {"object", "webhook_endpoint"}, {"deleted", true}});
}

Answered<Json> ListEndpoints(Call& call) { return ListPage(call, Kind::kWebhookEndpoint); }

Answered<Json> RetrieveEvent(Call& call) {
  const Event* event = call.account.events.Find(call.id);
  if (event == nullptr) return NoSuch("event", call.id);
  return SnapshotJson(call.account, *event, event->api_version);
}

Answered<Json> RetrieveThinEvent(Call& call) {
  const Event* event = call.account.events.Find(SnapshotId(call.id));
  if (event == nullptr) return NoSuch("event", call.id);
  return ThinJson(*event);
}

bool FitsType(const std::vector<std::string>& types, const std::string& type) {
  return std::ranges::any_of(types, [&](const std::string& wanted) {
    if (wanted == type) return true;
    return wanted.ends_with(".*") && type.starts_with(wanted.substr(0, wanted.size() - 1));
  });
}

// Only the page that is asked for becomes whole events: each has a document to be read again.
Answered<Json> ListEvents(Call& call) {
  PTG_TRY(const Filter created, CreatedFilter(call.params));
  PTG_TRY(std::vector<std::string> types, call.params.Texts("types", kMaxTypes));
  PTG_TRY(const std::optional<std::string> type, call.params.MaybeText("type"));
  PTG_TRY(const std::optional<bool> delivered, call.params.MaybeBool("delivery_success"));
  if (type && !types.empty()) {
    return Refuse("", "You may only specify one of these parameters: type, types.");
  }
  if (type) types.push_back(*type);
  PTG_TRY(const std::optional<std::string> after, call.params.MaybeText("starting_after"));
  PTG_TRY(const std::optional<std::string> before, call.params.MaybeText("ending_before"));
  std::vector<Json> stubs;
  const std::deque<Event>& all = call.account.events.all();
  for (auto event = all.rbegin(); event != all.rend(); ++event) {
    const bool success = event->waiting == 0 && event->failed == 0;
    Json stub = Json::Object({{"id", event->id}, {"created", event->created.seconds()}});
    const bool fits = (types.empty() || FitsType(types, event->type)) &&
                      (!delivered || *delivered == success) && created(stub);
    // A cursor names a place, also when what it names has been delivered since.
    if (fits || event->id == after || event->id == before) stubs.push_back(std::move(stub));
  }
  PTG_TRY(Json page, PageOf(call, stubs, "/v1/events", "event"));
  std::vector<Json> events;
  for (const Json& stub : ItemsOf(page)) {
    const Event* event = call.account.events.Find(TextOf(stub, "id"));
    events.push_back(SnapshotJson(call.account, *event, event->api_version));
  }
  page.Set("data", Json::Array(std::move(events)));
  return page;
}

}  // namespace

void AddEventRoutes(Routes& routes) {
  routes.push_back(
      {"POST",
       "/v1/webhook_endpoints",
       &CreateEndpoint,
       {"url", "enabled_events.*", "api_version", "description", "metadata.*", "expand.*"}});
  routes.push_back({"GET", "/v1/webhook_endpoints", &ListEndpoints, ListParams({})});
  routes.push_back(
      {"GET", "/v1/webhook_endpoints/:id", &Retrieve<Kind::kWebhookEndpoint>, {"expand.*"}});
  routes.push_back(
      {"POST",
       "/v1/webhook_endpoints/:id",
       &UpdateEndpoint,
       {"url", "enabled_events.*", "disabled", "description", "metadata.*", "expand.*"}});
  routes.push_back({"DELETE", "/v1/webhook_endpoints/:id", &DeleteEndpoint, {}});
  routes.push_back(
      {"GET", "/v1/events", &ListEvents, ListParams({"types.*", "type", "delivery_success"})});
  routes.push_back({"GET", "/v1/events/:id", &RetrieveEvent, {"expand.*"}});
  routes.push_back({"GET", "/v2/core/events/:id", &RetrieveThinEvent, {}});
}

}  // namespace pontage::sandbox::stripe
