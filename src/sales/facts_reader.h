#pragma once

#include <string>
#include <vector>

#include "db/db.h"
#include "io/task.h"
#include "sales/purchase.h"
#include "sales/stripe_client.h"

namespace pontage::sales {

// What Stripe says of one purchase now, whichever kind it is: asked in some five or six questions,
// of which each may wait for its place (StripeClient). Writes nothing.
class FactsReader {
 public:
  FactsReader(StripeClient& stripe, db::Database& database, const Shop& shop)
      : stripe_(stripe), database_(database), shop_(shop) {}

  // Of a "sub_…" or, where it was bought once, a "cs_…". What Stripe's client and the store say.
  Task<PurchaseFacts> Read(std::string id, Deadline by);

 private:
  struct MoneyBack {
    bool refunded = false;
    bool disputed = false;
    bool refunds_unread = false;   // Stripe does not let us ask
    bool disputes_unread = false;  // the same, of one that we were told of
    std::vector<stripe::Refund> refunds;
  };
  Task<PurchaseFacts> OfSubscription(const stripe::SubscriptionId& id, Deadline by);
  Task<> KeepPaid(stripe::PriceId paid, const PlanMap& prices, SoldItem& sold, Deadline by);
  Task<PurchaseFacts> OfTerm(stripe::CheckoutSession session, Deadline by);
  Task<std::vector<std::string>> PaymentsOf(const stripe::Invoice& invoice, Deadline by);
  Task<MoneyBack> AskMoneyBack(const std::string& purchase, std::vector<std::string> payments,
                               stripe::MinorUnits paid, Deadline by);

  StripeClient& stripe_;
  db::Database& database_;
  const Shop& shop_;
};

}  // namespace pontage::sales
