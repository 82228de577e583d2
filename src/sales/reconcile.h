#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "io/task.h"
#include "obs/metrics.h"
#include "sales/drift.h"
#include "sales/purchase.h"
#include "sales/stripe_client.h"
#include "sales/worker.h"

namespace pontage::sales {

// Compares our books with Stripe's, and mends ours, by looking at a purchase as an event would make
// us look. Nothing is deleted or revoked because Stripe did not answer, or says that it does not
// know something: that is told, and left to people.
class Reconciler {
 public:
  struct Parts {
    StripeClient& stripe;  // that is in no hurry (StripeClient::Slower)
    Worker& worker;        // on that client
    db::Database& database;
    const Shop& shop;
    const Fulfilment& fulfilment;
    obs::Registry& metrics;
    const Clock& clock;
    Rng& rng;
  };
  explicit Reconciler(Parts parts);

  // One run of a loop, written down; `fault` of the report says why it did not look at everything.
  // Fails, with nothing written down, only with the store.
  //   kEvents  takes into the inbox what no endpoint took, oldest first; dealing with it is the
  //            inbox's worker's affair
  //   kRows    looks again at purchases that are due
  //   kWalk    subscriptions of both sides, sales, refunds, disputes, mails, prices
  Task<LoopReport> RunLoop(LoopKind loop);

  // Runs a loop whenever it is due and no other process of the store is at it, until the event loop
  // ends.
  Task<> Follow(LoopKind loop);
  // Follow begins nothing any more, and what it is at may be begun anew at once, by whoever asks
  // next: a run that the end of the process breaks off is not waited for. On the loop of Follow.
  Task<> GiveBack();
  // Says which plans cost something else at Stripe, once Stripe answers.
  Task<> TellPrices();

  static constexpr int64_t kPerSecond = 10;

 private:
  // One run. Its functions fail with what ends it: Stripe's fault or the store's.
  struct Run {
    LoopReport report;
    int failures = 0;  // in a row
  };
  Task<> RunEvents(Run& run);
  Task<> TakeIn(Run& run, StripePage<ListedEvent> page, UnixMs& watermark, bool& held);
  Task<> RunRows(Run& run);
  Task<> RunWalk(Run& run);
  Task<> WalkSubscriptions(Run& run, std::set<std::string>& seen);
  Task<> WalkOurs(Run& run, const std::set<std::string>& seen);
  Task<> WalkSales(Run& run);
  Task<> WalkRefunds(Run& run);
  Task<> WalkDisputes(Run& run);
  Task<> WalkMails(Run& run);

  // Which of these differ from our books as far as a list tells.
  Task<std::vector<std::string>> Differing(const std::vector<stripe::Subscription>& page);
  // Asks Stripe about one purchase and tells what that has changed.
  Task<> LookAgain(Run& run, std::string purchase);
  Task<> CouldNotLook(Run& run, std::string purchase, Error why);
  Task<std::string> PurchaseOf(std::string payment);
  Task<Picture> PictureNow(std::string purchase);
  // Stripe's words that nobody needs any more.
  Task<> ForgetOldEvents();
  void Tell(const LoopReport& report, int64_t drifted);
  Deadline StoreBy() const;
  Deadline StripeBy() const;

  Parts parts_;
  obs::Gauge& mispriced_;
  std::map<LoopKind, std::string> held_;  // what Follow is at, and as whom
  bool stopped_ = false;
};

}  // namespace pontage::sales
