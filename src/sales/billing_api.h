#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "license/verifier.h"
#include "net/message.h"
#include "net/server.h"
#include "obs/metrics.h"
#include "sales/answer.h"
#include "sales/billing_pages.h"
#include "sales/buyers.h"
#include "sales/portal.h"
#include "sales/purchase.h"
#include "sales/session_memory.h"
#include "sales/shop.h"
#include "sales/sold_prices.h"
#include "sales/stripe_client.h"
#include "sales/worker.h"
#include "wire/stripe/signature.h"

namespace pontage::sales {

// What buyers and Stripe ask of the role `sales`:
//   GET  /billing            the price list, as a page or (Accept: application/json) as JSON
//   POST /billing/checkout   plan, perhaps email: where to pay; JSON gives {"url"}, a form 303
//   GET  /billing/success    session_id: the license, or that it is on its way
//   GET  /billing/claim      token or session_id: a button
//   POST /billing/claim      the same: the license, once
//   POST /billing/portal     license: where to see and change what was bought
//   POST /billing/resend     email: 200, whoever that is
//   POST /webhooks/stripe    events
// Safe to use from every loop.
class BillingApi {
 public:
  // Two shares of the calls to Stripe, since strangers ask for these pages: whatever they do, most
  // of the calls stay for the licenses of who has paid.
  static constexpr StripeShare kBuying{
      .per_second = 6, .at_once = 20, .longest_wait = Millis(20'000), .in_line = Millis(2'000)};
  static constexpr StripeShare kLooking{
      .per_second = 4, .at_once = 8, .longest_wait = Millis(2'000), .in_line = Millis(1'000)};

  struct Parts {
    StripeClient& stripe;  // with the share kBuying
    Worker& worker;        // with a client that has the share kLooking
    const Fulfilment& fulfilment;
    const Shop& shop;
    std::shared_ptr<const license::Verifier> verifier;
    std::span<const stripe::SigningSecret> secrets;
    db::Database& database;
    obs::Registry& metrics;
    const Clock& clock;
    Rng& rng;
  };
  explicit BillingApi(Parts parts);

  bool Serves(std::string_view target) const;
  // A net::Handler for what it serves.
  Task<> Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out);

  // Of an event; Stripe's own are below 256 KiB.
  static constexpr size_t kMaxEvent = 1 << 20;

 private:
  using Decide = Task<Answer> (BillingApi::*)(const net::RequestHead& head, std::string_view body);
  struct Route {
    std::string_view path;
    std::string_view method;
    Decide decide;
    size_t max_body;
  };
  static std::span<const Route> Routes();

  Task<Answer> PriceList(const net::RequestHead& head, std::string_view body);
  Task<Answer> Checkout(const net::RequestHead& head, std::string_view body);
  Task<Answer> Success(const net::RequestHead& head, std::string_view body);
  Task<Answer> ClaimButton(const net::RequestHead& head, std::string_view body);
  Task<Answer> Claim(const net::RequestHead& head, std::string_view body);
  Task<Answer> Portal(const net::RequestHead& head, std::string_view body);
  Task<Answer> Resend(const net::RequestHead& head, std::string_view body);
  Task<Answer> Webhook(const net::RequestHead& head, std::string_view body);

  // What a checkout session bought, as Stripe has it now, or had it some seconds ago; not ready: it
  // is on its way.
  Task<Bought> LookAtSession(const std::string& session);
  Task<Fulfilled> Look(const std::string& session, Deadline by);
  Task<std::string> PurchaseOfSession(const std::string& session, Deadline by);
  // A license of ours, for its page. kNotFound.
  Task<Bought> Show(const std::string& license, Deadline by);

  // One for each buyer and plan: 0 for who ever had a license of it.
  Task<int64_t> TrialDays(const SoldPlan& plan, std::string customer, std::string email,
                          Deadline by);
  Task<std::string> OpenCheckout(const SoldPlan& plan, std::string email, Deadline by);
  Task<std::string> OpenPortal(std::string license, Deadline by);
  Task<> Remind(std::string email, Deadline by);

  Parts parts_;
  Buyers buyers_;
  SoldPrices prices_;
  sales::Portal portal_;
  SessionMemory sessions_;
  obs::Counter& events_;
  obs::Counter& refused_;
};

}  // namespace pontage::sales
