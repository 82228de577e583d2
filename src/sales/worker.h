#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "io/task.h"
#include "io/timer.h"
#include "obs/metrics.h"
#include "sales/event_reader.h"
#include "sales/facts_reader.h"
#include "sales/inbox.h"
#include "sales/lease.h"
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
    LeaseTerms lease = {};  // of events and purchases
    // So long what comes meanwhile waits for a round: mostly it is about the same purchases. A look
    // that takes longer holds up nobody else.
    Millis patience{3'000};
  };
  explicit Worker(Parts parts);

  // Takes events until the loop ends, or GiveBack; never fails by itself.
  Task<> Run();
  // Deals with what is due now, each purchase once for all that its events say; how many events
  // that were, none also when too many rounds are open.
  Task<size_t> RunOnce();

  // For a stop: what is leased here and not done is due at once, for whoever comes next. What those
  // at it still hear from Stripe is not written any more.
  Task<> GiveBack();

  // Looks at one purchase now ("sub_…", or "cs_…" of either mode): also what the success page does
  // when the event is late. kConflict when somebody else is at it; otherwise what Stripe's client
  // and the store say, and nothing is changed then.
  Task<Fulfilled> Look(std::string id, std::optional<FailedInvoice> failed, Deadline by);
  // The same in two steps: what a session bought, empty while that is nothing; and a look at it.
  Task<std::string> PurchaseOf(const std::string& session, Deadline by);
  Task<Fulfilled> LookAt(std::string id, std::optional<FailedInvoice> failed, Deadline by);

 private:
  // An event of a round, and what has become of it so far.
  struct Told {
    StoredEvent stored;
    size_t open = 0;  // purchases of it that have still to be looked at
    Result<> done;
    bool closed = false;
  };
  struct Visit {
    std::string purchase;
    std::vector<FailedInvoice> failed;
    std::vector<Told*> told;
    bool begun = false;
    std::optional<Result<>> done;
  };
  // Both grow at their ends only, and nothing in them moves.
  struct Round {
    std::deque<Told> told;
    std::deque<Visit> visits;
    size_t unread = 0;  // the next of them
    size_t unvisited = 0;
    size_t lanes = 0;
    Event worked_off;
    Event done;
  };
  // Nothing: no event is due, or enough is begun.
  Task<std::shared_ptr<Round>> Begin();
  Task<> Deal(std::shared_ptr<Round> round);
  Task<> Take(Round& round);
  bool IsUnderWay(const std::string& event) const;
  Task<> WorkOff(std::shared_ptr<Round> round);
  Task<> ReadOne(Round& round, Told& told);
  static Visit& VisitFor(Round& round, const std::string& purchase, bool anew);
  Task<> Go(Visit& visit);
  Task<> LookFor(const Visit& visit);
  Task<> Close(Told& told);
  static std::vector<std::string> OpenIn(const Round& round);
  Task<> KeepRound(const Round& round);
  void Raise(const std::string& purchase, const Fulfilled& done);

  Parts parts_;
  EventReader events_;
  FactsReader facts_;
  std::string name_;                                // of leases
  std::vector<std::weak_ptr<const Round>> rounds_;  // that are under way
  size_t lanes_ = 0;                                // of all of them
  // Purchases by who has the lease.
  std::shared_ptr<std::map<std::string, std::string>> looked_at_ =
      std::make_shared<std::map<std::string, std::string>>();
  bool stopped_ = false;
  obs::Counter& done_;
  obs::Counter& failed_;
  obs::Gauge& parked_;
};

}  // namespace pontage::sales
