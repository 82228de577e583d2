#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"

namespace pontage::sandbox::stripe {

struct Account;
struct Event;

// What an endpoint's events are signed with: all at once while one is being rolled. No secret to be
// kept: it opens nothing but a sandbox, and tests have to read it.
struct SigningSecret {
  std::string text;  // "whsec_…", all of it is the key
  std::optional<UnixMs> not_after;
};

// One event on its way to one endpoint.
struct Delivery {
  std::string event;
  std::string endpoint;
  UnixMs planned;    // when it was queued first: a retry keeps it
  int attempts = 0;  // that have failed
  bool thin = false;
  bool counted = true;  // duplicates are neither counted nor tried again
};

// A request that is ready to leave.
struct Outgoing {
  Delivery delivery;
  std::string url;
  std::string body;
  std::string signature;  // the Stripe-Signature header
};

// Events that have not been delivered yet. A failed delivery is tried again after 1, 2, 4 … 60
// seconds of the account's time (Stripe: hours), kMaxAttempts times in all.
class DeliveryQueue {
 public:
  // Each is some 200 bytes. Beyond them the event counts as failed.
  static constexpr size_t kMaxQueued = 200'000;
  static constexpr int kMaxAttempts = 16;

  // For every enabled endpoint that listens for its type, as the faults say.
  void Queue(Account& account, Event& event);
  // Once more to every such endpoint.
  void Redeliver(Account& account, Event& event);
  // The next one that is due. Whoever takes it reports what came of it.
  std::optional<Outgoing> Take(Account& account);
  // `status` of the answer; 0: there was none. Only 2xx is a success.
  void Done(Account& account, Delivery delivery, int status);

  // Whether Take would give one.
  bool due(UnixMs now) const { return !queue_.empty() && queue_.begin()->first <= now; }
  size_t size() const { return queue_.size(); }
  uint64_t sent() const { return sent_; }
  uint64_t refused() const { return refused_; }

 private:
  void Add(Account& account, Event& event, const std::string& endpoint, bool thin, bool counted);
  std::multimap<UnixMs, Delivery>::iterator Pick(Account& account, UnixMs now);

  std::multimap<UnixMs, Delivery> queue_;
  std::optional<SeededRng> shuffle_;
  uint64_t shuffle_seed_ = 0;
  uint64_t sent_ = 0;
  uint64_t refused_ = 0;
};

// "t=1795000000,v1=…" with one v1 for each secret: HMAC-SHA256 of "<t>.<body>" under the whole text
// of the secret.
std::string SignatureOf(std::string_view body, UnixMs at, const std::vector<std::string>& secrets);

}  // namespace pontage::sandbox::stripe
