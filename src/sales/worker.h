#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "io/task.h"
#include "obs/metrics.h"
#include "sales/inbox.h"
#include "sales/purchase.h"
#include "sales/stripe_client.h"

namespace pontage::sales {

// Makes licenses of what Stripe says. An event only says which purchase to look at: Stripe is asked
// what it is now, under the purchase's lease, and the answer is written with all that follows from
// it in one transaction. So order, repetition and kind of the events do not matter, and what was
// interrupted is done again.
class Worker {
 public:
  struct Parts {
    StripeClient& stripe;
    db::Database& database;
    const Shop& shop;
    const Fulfilment& fulfilment;
    obs::Registry& metrics;
    const Clock& clock;
    Rng& rng;
  };
  explicit Worker(Parts parts);

  // Takes events until the loop ends; never fails by itself.
  Task<> Run();
  // Deals with what is due now; how many events that were.
  Task<size_t> RunOnce();

  // Looks at one purchase now ("sub_…", or "cs_…" of either mode): also what the success page does
  // when the event is late. kConflict when somebody else is at it; otherwise what Stripe's client
  // and the store say, and nothing is changed then.
  Task<Fulfilled> Look(std::string id, std::optional<FailedInvoice> failed, Deadline by);

 private:
  Task<> Handle(const StoredEvent& stored, Deadline by);
  void Raise(const std::string& purchase, const Fulfilled& done);
  // The renewal that the event says has failed, for the mail.
  Task<std::optional<FailedInvoice>> FailedBy(const stripe::Event& event, Deadline by);
  // The purchases that an event is about; none: none of ours.
  Task<std::vector<std::string>> SubjectsOf(const stripe::Event& event, Deadline by);
  Task<std::vector<std::string>> OfInvoice(const stripe::Event& event, Deadline by);
  Task<std::vector<std::string>> OfPayment(std::string payment, bool disputed, Deadline by);
  Task<std::string> PaymentOf(const stripe::Event& event, Deadline by);
  Task<PurchaseFacts> Ask(const std::string& id, Deadline by);
  Task<PurchaseFacts> AskSubscription(const stripe::SubscriptionId& id, Deadline by);
  Task<PurchaseFacts> AskTerm(stripe::CheckoutSession session, Deadline by);
  struct MoneyBack {
    bool refunded = false;
    bool disputed = false;
    std::vector<stripe::Refund> refunds;
  };
  Task<MoneyBack> AskMoneyBack(const std::string& purchase, std::vector<std::string> payments,
                               stripe::MinorUnits paid, Deadline by);
  Task<> Close(const StoredEvent& stored, const Result<>& done);

  Parts parts_;
  std::string name_;  // of leases
  obs::Counter& done_;
  obs::Counter& failed_;
  obs::Gauge& parked_;
};

}  // namespace pontage::sales
