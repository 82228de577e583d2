#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "db/db.h"
#include "io/task.h"
#include "ledger/reservation.h"

namespace pontage::ledger {

struct NodeBeat;

// The books. Safe to use from every loop. Each write is one entry of the writer's group commit and
// has returned only when it is durable. Every state change checks the state it starts from in the
// same statement, writes a line of history in the same transaction (the row itself is the line of
// Reserve) and changes nothing when it fails: kConflict when the row was in another state, kStore
// when the database did not answer (the change may or may not have happened; all of them may be
// asked again).
class Ledger {
 public:
  // `node` names this process; see Heartbeat.
  Ledger(db::Database& database, std::string node, const Clock& clock, Rng& rng);

  // The replay guard: of any number of concurrent callers, on any number of nodes, exactly one gets
  // kHeld. The others get kTaken with the row that has the key.
  struct Reserved {
    bool held = false;
    Reservation row;
  };
  Task<Reserved> Reserve(Reservation reservation, Deadline by);

  // held/reserved -> held/answered: the upstream's billable answer is here and settling begins.
  // kConflict also when another node has taken this one for dead and the row over: then the money
  // is not this node's to move any more.
  Task<> Answered(ReservationId id, int upstream_status, Deadline by);
  // held | in_doubt (| expired, by a node that was taken for dead and lives) -> settled, with
  // delivery pending (or owed, when `delivery` says so), the outbox row "payment.settled" in the
  // same transaction. `answer` (replay = "answer") is kept beside it.
  struct StoredAnswer {
    int status = 0;
    std::string head{};  // JSON array of [name, value]
    std::string body;
  };
  struct Settlement {
    std::string transaction{};
    std::string receipt{};
    Delivery delivery = Delivery::kPending;
    std::optional<StoredAnswer> answer{};
  };
  // Gives the delivery that stands in the books afterwards. It is `settlement.delivery` for whoever
  // settled; when it was settled before (by this caller, whose answer was lost, or by a node that
  // took the row over) it is what has become of the goods since.
  Task<Delivery> Commit(ReservationId id, Settlement settlement, Deadline by);
  // held -> voided. `why` is a slug.
  Task<> Void(ReservationId id, std::string why, int upstream_status, Deadline by);
  // held -> in_doubt with the hash, if one is known.
  Task<> Doubt(ReservationId id, std::string transaction, std::string why, Deadline by);
  // held | in_doubt -> expired. `look`: by then it can no longer be charged, and Orphans gives it
  // once more. For what somebody was asked to settle: whoever has seen it may send it again while
  // it is good.
  Task<> Expire(ReservationId id, std::string why, Deadline by,
                std::optional<UnixMs> look = std::nullopt);
  // An expired row that was looked at once more: nothing is to come of it.
  Task<> EndLook(ReservationId id, Deadline by);
  // The same for a row of this node that is held and not answered, so that nobody has been asked to
  // settle it. kConflict when it is not so any more: its own node lived after all, and went on.
  Task<> GiveUp(ReservationId id, std::string why, Deadline by);

  // settled: pending | redeeming -> delivered | broken | owed | redeemed; owed -> delivered.
  // `attempt` names the redemption that it is about; empty: the first delivery. `cut`: with owed or
  // broken, that a part of the answer had left before it broke off; of one payment kMostCuts may
  // end so, after the next one it is redeemed. kConflict when another redemption has begun since.
  struct Ending {
    Delivery outcome = Delivery::kDelivered;
    bool cut = false;
  };
  // Parts of answers add up to whole ones: a buyer who knows how to make the upstream break off
  // must not live on them. Three, because an upstream that breaks off a fourth time has no whole
  // answer to give.
  static constexpr int kMostCuts = 3;
  Task<> Deliver(ReservationId id, Ending ending, Deadline by, std::string attempt = {});
  // settled and owed or broken, equal digest -> redeeming, by exactly one caller; gives what it was
  // before. kConflict when another has it or nothing is due. `attempt`: its name, unique in the
  // world; one is made when it is empty.
  Task<Delivery> Redeem(ReservationId id, Digest request_digest, Deadline by,
                        std::string attempt = {});
  // After a Redeem of that name whose end was not seen (kStore): if it won, the sale is due again.
  Task<> GiveBack(ReservationId id, std::string attempt, Deadline by);

  Task<std::optional<StoredAnswer>> Answer(ReservationId id, Deadline by);

  // Says that this node lives. Rows of nodes that this one has not heard of for kNodeSilence, by
  // its own steady clock, are orphans. Called every kHeartbeat by whoever owns the ledger; a fresh
  // process calls it once before it serves.
  static constexpr Millis kHeartbeat{5'000};
  static constexpr Millis kNodeSilence{20'000};
  Task<> Heartbeat(Deadline by);
  // For a process that knows itself to be the only one (db::WriterLock::alone), once after its
  // first Heartbeat: whoever was heard before `before` is dead, so that a restart need not wait out
  // kNodeSilence to finish what the last run left open.
  Task<> ForgetOtherNodes(UnixMs before, Deadline by);
  // Takes over up to `limit` rows that need finishing and belong to nobody alive, or are in doubt
  // and due for another look; they are this node's from then on. Settled rows of dead nodes whose
  // delivery was pending or redeeming become owed in the same step. Behind them, expired rows whose
  // last look is due; they come again after kLateLook, until EndLook or Commit.
  static constexpr Millis kLateLook{600'000};
  Task<std::vector<Reservation>> Orphans(size_t limit, Deadline by);

  // Reading, for explain and payments. `name` is a reservation id, a request id or a transaction
  // hash.
  Task<std::vector<Reservation>> Find(std::string name, Deadline by);
  // The row that is not voided and has this key, if there is one.
  Task<std::optional<Reservation>> FindByKey(OnceKey once_key, Deadline by);
  struct Filter {
    std::optional<UnixMs> since{};
    std::optional<State> state{};
    std::string payer{};
    std::string route{};
    std::string transaction{};
    size_t limit = 50;
    // Only what is behind this row of a list before; empty: from the newest.
    UnixMs before_created{};
    std::string before_id{};
  };
  Task<std::vector<Reservation>> List(Filter filter, Deadline by);
  // In doubt, though the authorization ran out more than kOverdue ago: neither a chain nor the
  // facilitator says what became of them. The newest kMostOverdue of what is in doubt are looked
  // at.
  static constexpr Millis kOverdue{600'000};
  static constexpr size_t kMostOverdue = 1'000;
  static bool IsOverdue(const Reservation& row, UnixMs now);
  Task<std::vector<Reservation>> Overdue(Deadline by);
  struct Event {
    UnixMs at;
    std::string what;
    std::string detail;
  };
  Task<std::vector<Event>> History(ReservationId id, Deadline by);
  // Counts of what is open or due, for the gauges. What is settled and delivered is not counted
  // here: that would read the whole table.
  struct Totals {
    int64_t held = 0, in_doubt = 0, owed = 0, broken = 0;
  };
  Task<Totals> Count(Deadline by);

  const std::string& node() const { return node_; }

 private:
  struct Heard {
    UnixMs beat;     // by the other's clock
    SteadyMs since;  // by ours
  };
  std::vector<NodeBeat> Listen(const std::vector<NodeBeat>& others);

  db::Database& database_;
  std::string node_;
  const Clock& clock_;
  Rng& rng_;
  std::mutex mutex_;
  std::map<std::string, Heard> heard_;
  SteadyMs listened_;
  std::optional<SteadyMs> beat_;  // when our own heartbeat was last written
};

}  // namespace pontage::ledger
