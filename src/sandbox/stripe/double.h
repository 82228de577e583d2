#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "io/task.h"
#include "net/server.h"

namespace pontage::sandbox {

// One request, as far as Stripe looks at it.
struct StripeRequest {
  std::string method;
  std::string target;  // with its query
  std::string body;
  std::string content_type;
  std::string authorization;
  std::string version;          // Stripe-Version
  std::string idempotency_key;  // Idempotency-Key
};

struct StripeAnswer {
  enum class Delivery : uint8_t {
    kWhole,
    kHang,    // nothing leaves for longer than anybody waits, then the connection breaks
    kHangUp,  // the connection breaks at once
  };
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  Delivery delivery = Delivery::kWhole;
};

// Nothing that a client sends is larger (sandbox/stripe/form.h has the bound of a form).
inline constexpr size_t kMaxStripeBody = 512 << 10;

// A Stripe account without Stripe: customers, products, prices, checkout with a hosted page,
// subscriptions that renew, invoices, refunds, disputes, the portal, events with signed webhooks,
// idempotency keys. The shapes are those of API version 2026-10-28.endive, and the official client
// is at home here. One clock that tests may move on, and faults on purpose, stand under /_test
// (docs/reference/sandbox.md). Everything is kept in memory, within bounds, and is worth nothing:
// any sk_test_… is a key. Safe to use from any thread.
class StripeDouble {
 public:
  // `clock` and `rng` outlive it.
  StripeDouble(const Clock& clock, Rng& rng);
  ~StripeDouble();

  // Where browsers find it, "http://127.0.0.1:4242": goes into the links of objects made from now
  // on.
  void ServeAt(std::string url);

  StripeAnswer Handle(const StripeRequest& request);

  // Does what has become due by the clock.
  void Tick();
  // Sends events to the webhook endpoints, and calls Tick, for ever, on the current loop; for
  // Loop::Spawn. The double must outlive it.
  Task<> RunDeliveries();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Serves it over HTTP. The double must outlive the handler.
net::Handler StripeHandler(StripeDouble& stripe);

}  // namespace pontage::sandbox
