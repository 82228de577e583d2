#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "db/db.h"
#include "io/timer.h"
#include "obs/metrics.h"
#include "sales/lease.h"
#include "sales/mail/mail_outbox.h"
#include "sales/mail/provider.h"

namespace pontage::mail {

// How long after the beginning of the n-th attempt (from 1) the next one begins: 5 s, 10 s, then
// every 20 s until ten minutes are over, then in steps from a minute to six hours.
Millis RetryStep(int64_t attempts);
// Tries until a mail is dead: some three days.
inline constexpr int64_t kMaxAttempts = 52;
// Attempts in a row whose end nobody knows before another provider is asked. Until then only the
// first one is asked, who knows the key; from then on a mail twice is better than none.
inline constexpr int64_t kMaxDoubts = 3;

struct WorkerOptions {
  // How often it looks whether anything is due.
  Millis every{1'000};
  // What one provider may take for one call. Two of them and the next attempt fit into 30 s.
  Millis provider_timeout{10'000};
  // A mail is the sender's so long, and he says so while he is at it. Longer than for what can be
  // done twice: not every provider knows keys.
  sales::LeaseTerms lease{.lease = Millis(10'000), .every = Millis(2'500)};
  // Mails under way at once: Resend takes a few a second.
  size_t at_once = 8;
  // Mails to everybody that share one call, where the provider does that. Some 10 KB each.
  size_t together = 50;
};

// Sends what stands in the outbox. Each mail goes to the first provider; to the next one when it is
// certain that the first does not have it, or when that has been unknown for kMaxDoubts attempts.
//
//   sent      marked, its content forgotten
//   not now   again by RetryStep, later if the provider says so (at most 30 s in the first ten
//             minutes); parked for hours when a quota is used up everywhere
//   refused   dead at once; a mailbox that is not there is suppressed
//   our fault (key, account, sender) logged as an error each time, and tried on: people mend it
//   too often dead, with an error in the log and a count
//
// A crash between sending and marking leaves the mail to the next one who looks after the lease;
// the provider knows it by its key. Any number of nodes may run one. Runs on one loop, and so do
// the providers.
class OutboxWorker {
 public:
  // All of them outlive it. `clock` says what is due; waiting goes by the loop's.
  OutboxWorker(db::Database& database, std::vector<Provider*> providers, obs::Registry& metrics,
               const Clock& clock, WorkerOptions options = {});

  // Sends until Stop, which is called on the loop's thread; what is under way then is finished. A
  // provider that is slow about one mail holds up no other.
  Task<> Run();
  void Stop();
  // Stops, and waits for what is under way: a mail that was cut off may be sent twice. kTimeout
  // when `by` passes first.
  Task<> Finish(Deadline by);
  // One look: how many mails were tried. For tests and tools.
  Task<size_t> Pass();

 private:
  // How an attempt over all providers went.
  struct Sum {
    int64_t doubts = 0;
    bool parked = true;  // by all that were asked
    std::optional<Millis> after;
    std::string provider;
    std::string error;
    void Add(const Provider& provider, const Attempt& attempt);
  };

  // As many as are due and there is room for.
  Task<size_t> Begin();
  Task<Claim> Take(ClaimLimits limits);
  size_t Spread(Claim claim);
  Task<> Go(Claim of);
  Task<> SendAll(const Claim& claim);
  Task<> SendOne(const HeldMail& held);
  Task<> SendTogether(const Claim& claim);
  Task<Attempt> Ask(Provider& provider, const Mail& mail);
  void Note(const Provider& provider, const HeldMail& held, const Attempt& attempt);
  Task<> Sent(const HeldMail& held, const Provider& provider, std::string provider_id);
  // By its schedule, or dead when that is over.
  Task<> Postpone(const HeldMail& held, UnixMs started, Sum sum, std::string batch);
  Task<> Die(const HeldMail& held, std::string_view provider, std::string error, bool bounced);
  Task<> Measure();
  bool busy() const { return taking_ || !singles_.empty() || together_; }
  static Deadline Soon(Millis time);

  db::Database& database_;
  std::vector<Provider*> providers_;
  obs::Registry& metrics_;
  const Clock& clock_;
  WorkerOptions options_;
  bool taking_ = false;
  std::set<std::string> singles_;  // under way, by their ids
  bool together_ = false;          // some are
  bool stopped_ = false;
  Event wake_;  // a stop, or something has ended
  std::optional<SteadyMs> measured_;
};

// When the next attempt begins after the n-th began at `started` and ended at `now`, and the
// provider wants to be left alone for `after`.
UnixMs NextAttempt(UnixMs started, UnixMs now, int64_t attempts, Millis after);

}  // namespace pontage::mail
