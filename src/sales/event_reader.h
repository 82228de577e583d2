#pragma once

#include <optional>
#include <string>
#include <vector>

#include "db/db.h"
#include "io/task.h"
#include "sales/inbox.h"
#include "sales/purchase.h"
#include "sales/stripe_client.h"

namespace pontage::sales {

// What an event is about; nothing else is believed of it.
struct EventNews {
  // Purchases to look at, "sub_…" or, of what was bought once, "cs_…"; none: none of ours.
  std::vector<std::string> purchases;
  // The renewal that it says has failed, for the mail.
  std::optional<FailedInvoice> failed;
};

// The subscription whose invoice a payment paid, as Stripe says; empty: of none.
Task<std::string> SubscriptionOfPayment(StripeClient& stripe, stripe::PaymentIntentId payment,
                                        Deadline by);

// Reads stored events. Most say in themselves what they are about; of others Stripe or the books
// are asked.
class EventReader {
 public:
  EventReader(StripeClient& stripe, db::Database& database)
      : stripe_(stripe), database_(database) {}

  // kBadRequest for what is no event; otherwise what Stripe's client and the store say. Notes a
  // dispute in the books, so that it is asked about from then on.
  Task<EventNews> Read(const StoredEvent& stored, Deadline by);
  // The purchase of a checkout session: itself, or the subscription that it sold; empty: nothing
  // yet.
  Task<std::string> PurchaseOf(stripe::SessionId session, Deadline by);

 private:
  Task<std::vector<std::string>> PurchasesOf(const stripe::Event& event, Deadline by);
  Task<std::string> OfCheckout(const stripe::Event& event, Deadline by);
  Task<std::vector<std::string>> OfInvoice(const stripe::Event& event, Deadline by);
  Task<std::vector<std::string>> OfPayment(std::string payment, bool disputed, Deadline by);
  Task<std::string> PaymentOf(const stripe::Event& event, Deadline by);
  Task<std::optional<FailedInvoice>> FailedBy(const stripe::Event& event, Deadline by);

  StripeClient& stripe_;
  db::Database& database_;
};

}  // namespace pontage::sales
