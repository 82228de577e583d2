#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "codec/json.h"
#include "db/db.h"
#include "io/task.h"
#include "io/timer.h"
#include "ledger/command_queue.h"
#include "license/license_store.h"
#include "license/refund_store.h"
#include "obs/metrics.h"
#include "sales/lease.h"
#include "sales/purchase.h"
#include "sales/stripe_client.h"
#include "sales/worker.h"

namespace pontage::sales {

// A payment for what was bought, and what of it was not given back yet, in the smallest unit.
struct PaidPart {
  std::string payment_intent;
  int64_t left = 0;
};
// From which one `asked` is taken (0: all that is left): an invoice may be paid in parts, and
// Stripe gives back from one payment at a time. kConflict when there is nothing to give back;
// kBadRequest at "/amount" when it is more than is left, or more than one payment has. Pure.
Result<PaidPart> ChoosePart(const std::vector<PaidPart>& parts, int64_t asked,
                            std::string_view currency);

// Whether an amount that was said in a currency ("usd"; empty: in whatever it was paid in) means
// the same of what was paid in `paid`; kBadRequest at "/amount". Pure.
Result<> SaidInItsCurrency(std::string_view said_in, std::string_view paid);

// Does what the operator ordered (ledger/command_queue.h; console/verbs.h writes the rows): what
// needs the key that signs, or Stripe's. Each effect is written in one transaction with the end of
// its command and the row of the audit, so that it happens once, whoever dies when.
//
// A refund is money: what it is taken from is decided and written down first, Stripe is asked under
// the refund's own key, and only what Stripe says when it is asked again, or by an event, ends it.
class CommandWorker {
 public:
  struct Parts {
    StripeClient* stripe = nullptr;  // null, as is `worker`: without a key of Stripe's
    Worker* worker = nullptr;
    db::Database& database;
    const Shop& shop;
    const Fulfilment& fulfilment;
    obs::Registry& metrics;
    const Clock& clock;
    Rng& rng;
    LeaseTerms lease = {};  // of commands, and of purchases that they change
  };
  explicit CommandWorker(Parts parts);

  // Takes commands until the loop ends, or GiveBack; never fails by itself. Ten are done beside
  // each other, so one that waits for Stripe holds up no other.
  Task<> Run();
  // Does what is due now; how many commands that were.
  Task<size_t> RunOnce();

  // For a stop: what is not done is due at once, for whoever comes next. What is under way may
  // still take effect, and then the next one finds it done.
  Task<> GiveBack();

 private:
  // What a command comes to.
  struct Effect {
    codec::Json outcome;
    std::string secret;
  };
  // The change of one license inside a transaction.
  using Change = std::function<Result<Effect>(db::Tx& tx, license::License& license, UnixMs now)>;

  // As many as are due and there is room for.
  Task<size_t> Begin();
  Task<> Do(ledger::Command command);
  Task<> Handle(const ledger::Command& command, Deadline by);
  Task<> Issue(const ledger::Command& command, Deadline by);
  Task<> ChangeLicense(const ledger::Command& command, Change change, Deadline by);
  Task<> Reissue(const ledger::Command& command, Deadline by);
  Task<> Extend(const ledger::Command& command, Deadline by);
  Task<> Refund(const ledger::Command& command, Deadline by);
  Task<> Rerun(const ledger::Command& command, Deadline by);
  Task<> Retry(const ledger::Command& command, Deadline by);
  Result<codec::Json> SendAgain(db::Tx& tx, const ledger::Command& command) const;

  // What a refund can be taken from.
  struct Paid {
    std::vector<PaidPart> parts;
    std::string currency;
  };
  Task<Paid> PaidOf(std::string purchase, Deadline by);
  Task<license::Refund> Decide(const ledger::Command& command, license::Refund refund, Deadline by);
  Task<stripe::Refund> MakeAtStripe(const ledger::Command& command, const license::Refund& refund,
                                    Deadline by);
  Task<> Settle(const ledger::Command& command, license::Refund refund, Deadline by);
  Task<> Failed(const ledger::Command& command, const Error& error);

  Parts parts_;
  std::set<std::string> under_way_;  // ids
  Event ended_;                      // one of them
  bool stopped_ = false;
  obs::Counter& done_;
  obs::Counter& failed_;
};

// Ends the refunds of ours among what Stripe lists, and with each its command: what was seen of
// them in whatever way. For those who write down what Stripe said, in their transaction.
Result<> NoteRefunds(db::Tx& tx, const std::vector<stripe::Refund>& refunds, UnixMs now);

// Whether a command that failed so is worth another try. Pure.
bool MayTryAgain(const Error& error);

}  // namespace pontage::sales
