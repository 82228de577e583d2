#include "sandbox/stripe/events.h"

#include <utility>

#include "base/check.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/versions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr Millis kKept{int64_t{30} * 86'400'000};
constexpr std::string_view kPrefix = "evt_";
constexpr std::string_view kThinPrefix = "evt_thin";

// Of what we wrote ourselves.
Json Reread(const std::string& text) {
  codec::JsonLimits limits;
  limits.max_bytes = text.size();
  Result<Json> json = codec::ParseJson(text, limits);
  PTG_CHECK(json.has_value());
  return *std::move(json);
}

// Where an object of that name stands.
std::string UrlOf(const Event& event) {
  for (size_t i = 0; i < static_cast<size_t>(Kind::kCount); ++i) {
    const Kind kind = static_cast<Kind>(i);
    if (ObjectName(kind) == event.object_name) {
      return std::string(PathOf(kind)) + '/' + event.object_id;
    }
  }
  return {};
}

}  // namespace

Event& EventLog::Add(Event event, UnixMs now) {
  // A test clock may take months in one step, before the first delivery of them leaves: what still
  // waits for one is kept, whatever its age, and what came after it with it.
  const auto old = [now](const Event& first) {
    return first.waiting == 0 && first.created + kKept < now;
  };
  while (!events_.empty() && (events_.size() >= kMaxEvents || old(events_.front()))) {
    number_of_.erase(events_.front().id);
    events_.pop_front();
    ++forgotten_;
  }
  number_of_[event.id] = forgotten_ + events_.size();
  events_.push_back(std::move(event));
  return events_.back();
}

Event* EventLog::Find(std::string_view id) {
  const auto found = number_of_.find(std::string(id));
  return found == number_of_.end() ? nullptr : &events_[found->second - forgotten_];
}

void Emit(Account& account, std::string type, const Json& object, const Json& previous) {
  Event event;
  event.id = NewId("evt_1", kLongId - 1, account.rng);
  event.type = std::move(type);
  event.api_version =
      account.faults.api_version.empty() ? std::string(kApiVersion) : account.faults.api_version;
  event.created = account.clock.Now();
  event.object = ToString(object);
  if (!previous.IsNull()) event.previous = ToString(previous);
  event.object_id = TextOf(object, "id");
  event.object_name = TextOf(object, "object");
  event.request_id = account.request.id;
  event.idempotency_key = account.request.idempotency_key;
  account.deliveries.Queue(account, account.events.Add(std::move(event), account.clock.Now()));
}

void EmitUpdate(Account& account, std::string type, const Json& before, const Json& after) {
  const Json previous = Changes(before, after);
  if (!previous.IsNull()) Emit(account, std::move(type), after, previous);
}

Json SnapshotJson(const Account& account, const Event& event, std::string_view version) {
  Json data = Json::Object({{"object", InVersion(account, Reread(event.object), version)}});
  if (!event.previous.empty()) data.Set("previous_attributes", Reread(event.previous));
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  return Json::Object(
      {{"id", event.id},
       {"object", "event"},
       {"api_version", std::string(version)},
       {"created", event.created.seconds()},
       {"data", std::move(data)},
       {"livemode", false},
       {"pending_webhooks", event.waiting},
       {"request", Json::Object({{"id", or_null(event.request_id)},
                                 {"idempotency_key", or_null(event.idempotency_key)}})},
       {"type", event.type}});
}

Json ThinJson(const Event& event) {
  Json reason;
  if (!event.request_id.empty()) {
    const Json key = event.idempotency_key.empty() ? Json() : Json(event.idempotency_key);
    const Json request = Json::Object({{"id", event.request_id}, {"idempotency_key", key}});
    reason = Json::Object({{"type", "request"}, {"request", request}});
  }
  return Json::Object({{"id", ThinId(event.id)},
                       {"object", "v2.core.event"},
                       {"type", "v1." + event.type},
                       {"created", event.created.Rfc3339()},
                       {"livemode", false},
                       {"context", nullptr},
                       {"reason", std::move(reason)},
                       {"related_object", Json::Object({{"id", event.object_id},
                                                        {"type", event.object_name},
                                                        {"url", UrlOf(event)}})},
                       {"snapshot_event", event.id},
                       {"changes", nullptr}});
}

std::string ThinId(std::string_view id) {
  return std::string(kThinPrefix) + std::string(id.substr(kPrefix.size()));
}

std::string SnapshotId(std::string_view thin_id) {
  if (!thin_id.starts_with(kThinPrefix)) return {};
  return std::string(kPrefix) + std::string(thin_id.substr(kThinPrefix.size()));
}

}  // namespace pontage::sandbox::stripe
