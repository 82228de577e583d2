#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/secret.h"
#include "base/time.h"
#include "codec/json.h"
#include "net/loop_clients.h"
#include "sales/stripe_forms.h"
#include "sales/throttle.h"
#include "wire/stripe/event.h"
#include "wire/stripe/form.h"
#include "wire/stripe/objects.h"

namespace pontage::sales {

// The version whose shapes wire/stripe/ reads. Stripe keeps versions for years; what an account's
// default is plays no part.
inline constexpr std::string_view kStripeVersion = "2026-10-28.endive";

struct StripeOptions {
  std::string api_base = "https://api.stripe.com";
  Secret api_key;
  Millis attempt{20'000};  // one try may take so long; Stripe's own clients wait 80 s
  int tries = 3;           // as Stripe's own clients: one and two more
  Millis first_pause{500};
  Millis longest_pause{5'000};
  // A sandbox allows 25 calls a second, and so does each kind of call live; these two stay below it
  // together.
  int64_t per_second = 20;
  int64_t at_once = 5;
  Millis longest_wait{10'000};  // for a place among those; more is refused
  // A page of a hundred events with their objects is some megabyte.
  size_t max_answer = 8 << 20;
  const net::TlsClientContext* tls = nullptr;  // whom to believe; null: the system's authorities
};

// What a client may take of the places of another.
struct StripeShare {
  int64_t per_second;
  int64_t at_once = 1;
  Millis longest_wait{10'000};  // for a place among its own
  // Then for one among all. Who has less patience here than the other goes behind: he is refused
  // before the other waits longer than this for him.
  Millis in_line{10'000};
};

// One page of a list, newest first.
template <typename T>
struct StripePage {
  std::vector<T> items;
  size_t unreadable = 0;  // objects that could not be read; each is in the log
  bool has_more = false;  // in the direction of the cursor
  // Ids of the ends, readable or not, to go on with; empty: the page is.
  std::string newest;
  std::string oldest;
};
// An event of a list, with what came, as it came.
struct ListedEvent {
  stripe::Event event;
  std::string payload;
};
// Where a page begins; neither: with the newest object.
struct StripeCursor {
  std::string after;   // what is next older than this object
  std::string before;  // what came right after it
};

// A path and, in it, the id of an object. Ids come from outside, too (a buyer's browser brings the
// session's), and never end up as a path of somebody's own.
struct StripePath {
  std::string before;  // "/v1/checkout/sessions"
  std::string id;      // empty: none
  std::string after;   // "/expire"; empty: nothing
};

// Stripe's API. Every call is pinned to kStripeVersion and takes the deadline by which it answers,
// retries and waiting included. Safe to use from every loop. Calls that change something take an
// idempotency key from their caller, at most 255 printable ASCII characters (else kInternal), made
// from what the call is for: the same intent must have the same key after a crash. Each retry has
// it, too.
//
// Errors: those of ReadStripeError for what Stripe refused; kUpstreamTimeout when no answer came in
// time and kUpstreamUnreachable when the connection could not be made or broke: after both the call
// may have had its effect, and the same key finds out; kTimeout when nothing was sent because no
// time was left; kRateLimited also when too much is waiting here; kUpstreamProtocol for an answer
// that cannot be read. No text holds the key.
class StripeClient {
 public:
  // `clock` and `rng` outlive it. kConfig for an api_base that is no URL, or no key.
  static Result<std::unique_ptr<StripeClient>> Make(StripeOptions options, const Clock& clock,
                                                    Rng& rng);

  // A client of the same account with a share of its own, whose calls count among those of this
  // one, too: for work that nobody waits for, and for what strangers may ask. `this` may go before
  // it.
  std::unique_ptr<StripeClient> Slower(StripeShare share) const;

  Task<codec::Json> Get(StripePath path, stripe::Form query, Deadline by);
  Task<codec::Json> Post(StripePath path, stripe::Form body, std::string key, Deadline by);
  Task<codec::Json> Delete(StripePath path, Deadline by);

  // Customers. Stripe compares addresses letter by letter; several may have the same.
  Task<std::vector<stripe::Customer>> FindCustomers(std::string email, Deadline by);
  Task<stripe::Customer> CreateCustomer(NewCustomer customer, std::string key, Deadline by);
  Task<stripe::Customer> RetrieveCustomer(stripe::CustomerId id, Deadline by);

  // Checkout and portal. A session is retrieved with its subscription, prices and customer.
  Task<stripe::CheckoutSession> CreateCheckout(stripe::Form body, std::string key, Deadline by);
  Task<stripe::CheckoutSession> RetrieveCheckout(stripe::SessionId id, Deadline by);
  // Those that ended in a sale.
  Task<StripePage<stripe::CheckoutSession>> CheckoutsSince(UnixMs since, StripeCursor cursor,
                                                           Deadline by);
  Task<stripe::CheckoutSession> ExpireCheckout(stripe::SessionId id, std::string key, Deadline by);
  Task<stripe::PortalSession> CreatePortalSession(PortalRequest request, std::string key,
                                                  Deadline by);

  // Subscriptions, with all their items; retrieved with the latest invoice and its payments.
  Task<stripe::Subscription> RetrieveSubscription(stripe::SubscriptionId id, Deadline by);
  // All that there are or were, of one customer if `customer` is not empty.
  Task<StripePage<stripe::Subscription>> ListSubscriptions(stripe::CustomerId customer,
                                                           StripeCursor cursor, Deadline by);
  // `body`: CancelAtPeriodEndForm or ChangePriceForm.
  Task<stripe::Subscription> UpdateSubscription(stripe::SubscriptionId id, stripe::Form body,
                                                std::string key, Deadline by);
  // Now, and for good. One that is canceled already is answered as it is.
  Task<stripe::Subscription> CancelSubscription(stripe::SubscriptionId id, Deadline by);

  // Invoices, with all their lines. Those of a subscription: the newest hundred, only paid ones if
  // asked so; an invoice that cannot be read fails the call, since what it paid for would be lost.
  Task<stripe::Invoice> RetrieveInvoice(stripe::InvoiceId id, Deadline by);
  Task<std::vector<stripe::Invoice>> ListInvoices(stripe::SubscriptionId subscription,
                                                  bool only_paid, Deadline by);
  Task<std::vector<stripe::InvoicePayment>> PaymentsOfInvoice(stripe::InvoiceId invoice,
                                                              Deadline by);
  // The other way: which invoices a payment paid.
  Task<std::vector<stripe::InvoicePayment>> InvoicesOfPayment(stripe::PaymentIntentId payment,
                                                              Deadline by);

  // Money back.
  Task<stripe::Refund> CreateRefund(RefundRequest request, std::string key, Deadline by);
  Task<stripe::Refund> RetrieveRefund(stripe::RefundId id, Deadline by);
  Task<std::vector<stripe::Refund>> ListRefunds(stripe::PaymentIntentId payment, Deadline by);
  Task<stripe::Charge> RetrieveCharge(stripe::ChargeId id, Deadline by);
  Task<stripe::InvoicePayment> RetrieveInvoicePayment(std::string id, Deadline by);
  // All of the account's since then.
  Task<StripePage<stripe::Refund>> RefundsSince(UnixMs since, StripeCursor cursor, Deadline by);
  Task<StripePage<stripe::Dispute>> DisputesSince(UnixMs since, StripeCursor cursor, Deadline by);
  Task<stripe::Dispute> RetrieveDispute(stripe::DisputeId id, Deadline by);
  Task<std::vector<stripe::Dispute>> ListDisputes(stripe::PaymentIntentId payment, Deadline by);

  // Stripe keeps events for thirty days.
  Task<StripePage<ListedEvent>> ListEvents(EventQuery query, StripeCursor cursor, Deadline by);

  // What `pontage stripe setup` makes and finds again.
  Task<std::vector<stripe::Price>> FindPrices(std::vector<std::string> lookup_keys, Deadline by);
  Task<stripe::Price> RetrievePrice(stripe::PriceId id, Deadline by);
  Task<stripe::Price> CreatePrice(NewPrice price, std::string key, Deadline by);
  Task<std::vector<stripe::Product>> ListProducts(Deadline by);
  Task<stripe::Product> CreateProduct(NewProduct product, std::string key, Deadline by);
  Task<std::vector<stripe::WebhookEndpoint>> ListWebhookEndpoints(Deadline by);
  Task<stripe::WebhookEndpoint> CreateWebhookEndpoint(NewWebhookEndpoint endpoint, std::string key,
                                                      Deadline by);
  Task<stripe::WebhookEndpoint> ChangeEndpointEvents(stripe::WebhookEndpointId id,
                                                     std::vector<std::string> events,
                                                     std::string key, Deadline by);
  // Those in use.
  Task<std::vector<stripe::PortalConfiguration>> ListPortalConfigurations(Deadline by);
  Task<stripe::PortalConfiguration> CreatePortalConfiguration(PortalSetup setup, std::string key,
                                                              Deadline by);
  Task<stripe::PortalConfiguration> ChangePortalOffers(stripe::PortalConfigurationId id,
                                                       PortalSetup setup, std::string key,
                                                       Deadline by);

  // Objects of a list that is asked for whole; an account with more fails the call (kOverloaded),
  // since half a list looks like a whole one.
  static constexpr size_t kMostOfList = 1000;
  static constexpr size_t kMaxKey = 255;

 private:
  struct Request {
    std::string method;
    std::string target;
    std::string body;
    std::string key;
    std::string shown;  // the path as it may be logged: without ids
  };
  struct Heard {
    int status = 0;
    std::string body;
    std::optional<std::string> should_retry;
    std::optional<Millis> retry_after;
    std::string request_id;
  };

  StripeClient(StripeOptions options, net::Url base, const Clock& clock, Rng& rng)
      : options_(std::move(options)),
        base_(std::move(base)),
        clock_(clock),
        rng_(rng),
        throttle_(std::make_shared<Throttle>(options_.per_second, options_.at_once)) {}

  Result<Request> Prepare(std::string_view method, const StripePath& path,
                          const stripe::Form* query) const;
  Task<codec::Json> Call(Request request, Deadline by);
  // One try.
  Task<Heard> Once(const Request& request, Deadline by);
  Task<> WaitForPlace(Deadline by);
  Result<codec::Json> ReadAnswer(const Heard& heard) const;
  // The whole of a list, page by page.
  Task<std::vector<codec::Json>> All(StripePath path, stripe::Form query, Deadline by);
  Task<> CompleteLines(stripe::Invoice& invoice, Deadline by);
  Task<> CompleteItems(stripe::Subscription& subscription, Deadline by);

  StripeOptions options_;
  net::Url base_;
  const Clock& clock_;
  Rng& rng_;
  std::shared_ptr<Throttle> throttle_;
  std::unique_ptr<Throttle> slower_;  // its own, before the common one
  Millis own_wait_{0};                // for a place of slower_
  net::LoopClients clients_;
};

}  // namespace pontage::sales
