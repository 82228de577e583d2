#include "sandbox/stripe/delivery.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "codec/hex.h"
#include "crypto/hmac.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/events.h"
#include "sandbox/stripe/fields.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr Millis kFirstRetry{1'000};
constexpr Millis kLongestRetry{60'000};

bool Listens(const Json& endpoint, const std::string& type) {
  if (TextOf(endpoint, "status") != "enabled") return false;
  const std::vector<Json>* types = Member(endpoint, "enabled_events").AsArray();
  return types != nullptr && std::ranges::any_of(*types, [&](const Json& wanted) {
           return wanted == Json("*") || wanted == Json(type);
         });
}

// The secrets of an endpoint that count now; those that are over are forgotten.
std::vector<std::string> SecretsOf(Account& account, const std::string& endpoint) {
  std::vector<std::string> texts;
  std::vector<SigningSecret>& secrets = account.secrets[endpoint];
  const UnixMs now = account.clock.Real();
  std::erase_if(secrets,
                [now](const SigningSecret& s) { return s.not_after && *s.not_after < now; });
  for (const SigningSecret& secret : secrets) texts.push_back(secret.text);
  return texts;
}

}  // namespace

std::string SignatureOf(std::string_view body, UnixMs at, const std::vector<std::string>& secrets) {
  const std::string time = std::to_string(at.seconds());
  const std::string message = time + '.' + std::string(body);
  std::string header = "t=" + time;
  for (const std::string& secret : secrets) {
    const crypto::Hash32 mac = crypto::HmacSha256(codec::AsBytes(secret), codec::AsBytes(message));
    header += ",v1=" + codec::ToHex(mac);
  }
  return header;
}

void DeliveryQueue::Add(Account& account, Event& event, const std::string& endpoint, bool thin,
                        bool counted) {
  if (counted && queue_.size() >= kMaxQueued) {
    ++event.failed;
    return;
  }
  if (queue_.size() >= kMaxQueued) return;
  if (counted) ++event.waiting;
  Delivery delivery;
  delivery.event = event.id;
  delivery.endpoint = endpoint;
  delivery.planned = account.clock.Now() + account.faults.delay;
  delivery.thin = thin;
  delivery.counted = counted;
  const UnixMs due = delivery.planned;
  queue_.emplace(due, std::move(delivery));
}

void DeliveryQueue::Queue(Account& account, Event& event) {
  bool drop = account.faults.drop > 0;
  if (drop) --account.faults.drop;
  for (const std::string& id : account.store.ids(Kind::kWebhookEndpoint)) {
    const Json* endpoint = account.store.Find(Kind::kWebhookEndpoint, id);
    if (!Listens(*endpoint, event.type)) continue;
    if (drop) {
      ++event.failed;
      continue;
    }
    using Thin = Faults::Thin;
    if (account.faults.thin != Thin::kInstead) Add(account, event, id, false, true);
    if (account.faults.thin != Thin::kOff) Add(account, event, id, true, true);
    for (int64_t i = 0; i < account.faults.duplicate; ++i) {
      Add(account, event, id, account.faults.thin == Thin::kInstead, false);
    }
  }
}

void DeliveryQueue::Redeliver(Account& account, Event& event) {
  event.failed = 0;
  for (const std::string& id : account.store.ids(Kind::kWebhookEndpoint)) {
    const Json* endpoint = account.store.Find(Kind::kWebhookEndpoint, id);
    if (Listens(*endpoint, event.type)) Add(account, event, id, false, true);
  }
}

std::multimap<UnixMs, Delivery>::iterator DeliveryQueue::Pick(Account& account, UnixMs now) {
  const auto end = queue_.upper_bound(now);
  const uint64_t seed = account.faults.shuffle;
  if (seed == 0 || end == queue_.begin()) return queue_.begin();
  if (!shuffle_ || shuffle_seed_ != seed) {
    shuffle_.emplace(seed);
    shuffle_seed_ = seed;
  }
  const auto due = static_cast<uint64_t>(std::distance(queue_.begin(), end));
  return std::next(queue_.begin(), static_cast<int64_t>(shuffle_->Next64() % due));
}

std::optional<Outgoing> DeliveryQueue::Take(Account& account) {
  const UnixMs now = account.clock.Now();
  while (due(now)) {
    const auto at = Pick(account, now);
    Outgoing out;
    out.delivery = std::move(at->second);
    queue_.erase(at);
    Event* event = account.events.Find(out.delivery.event);
    const Json* endpoint = account.store.Find(Kind::kWebhookEndpoint, out.delivery.endpoint);
    // The event may be forgotten and the endpoint deleted meanwhile.
    if (event == nullptr) continue;
    if (endpoint == nullptr) {
      if (out.delivery.counted) --event->waiting;
      continue;
    }
    out.url = TextOf(*endpoint, "url");
    std::string version = account.faults.api_version;
    if (version.empty()) version = TextOf(*endpoint, "api_version");
    if (version.empty()) version = event->api_version;
    out.body =
        ToString(out.delivery.thin ? ThinJson(*event) : SnapshotJson(account, *event, version));
    out.signature =
        SignatureOf(out.body, account.clock.Real(), SecretsOf(account, out.delivery.endpoint));
    return out;
  }
  return std::nullopt;
}

void DeliveryQueue::Done(Account& account, Delivery delivery, int status) {
  const bool taken = status >= 200 && status <= 299;
  ++(taken ? sent_ : refused_);
  if (!delivery.counted) return;
  Event* event = account.events.Find(delivery.event);
  if (event == nullptr) return;
  if (!taken && ++delivery.attempts < kMaxAttempts && queue_.size() < kMaxQueued) {
    const Millis wait =
        std::min(kFirstRetry * (int64_t{1} << std::min(delivery.attempts - 1, 6)), kLongestRetry);
    const UnixMs due = account.clock.Now() + wait;
    queue_.emplace(due, std::move(delivery));
    return;
  }
  --event->waiting;
  if (!taken) ++event->failed;
}

}  // namespace pontage::sandbox::stripe
