#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "db/db.h"
#include "ledger/ledger.h"
#include "ledger/reservation.h"

// The SQL of the books, as functions over one transaction. Each function that changes something
// names the state it starts from in its WHERE clause and writes one line of history. Asked again
// with the same arguments after it has happened, it succeeds and changes nothing, because a caller
// whose commit got lost cannot know; in any other state it fails with kConflict.
namespace pontage::ledger {

// Who writes, and when.
struct Author {
  std::string node;
  UnixMs now;
};

// What begins as held, whatever else stood in it.
Reservation AsHeld(const Author& author, Reservation reservation);
Result<Ledger::Reserved> Reserve(db::Tx& tx, const Author& author, const Reservation& reservation);
// The same of one that AsHeld made.
Result<Ledger::Reserved> ReserveHeld(db::Tx& tx, const Author& author, const Reservation& held);
// What these ask first, to go ahead of them (db::Database::Write): each decides by itself.
db::Ask AskReserve(const Reservation& held);
db::Ask AskAnswered(const Author& author, const ReservationId& id, int upstream_status);
db::Ask AskCommit(const Author& author, const ReservationId& id,
                  const Ledger::Settlement& settlement);
db::Ask AskDelivered(const Author& author, const ReservationId& id);
Result<> Answered(db::Tx& tx, const Author& author, const ReservationId& id, int upstream_status);
// `outbox_id` names the outbox row if one is made.
Result<Delivery> Commit(db::Tx& tx, const Author& author, const ReservationId& id,
                        const Ledger::Settlement& settlement, const std::string& outbox_id);
Result<> Void(db::Tx& tx, const Author& author, const ReservationId& id, const std::string& why,
              int upstream_status);
// Also in_doubt again, when a newer hash is known.
Result<> Doubt(db::Tx& tx, const Author& author, const ReservationId& id,
               const std::string& transaction, const std::string& why);
Result<> Expire(db::Tx& tx, const Author& author, const ReservationId& id, const std::string& why,
                std::optional<UnixMs> look = std::nullopt);
Result<> EndLook(db::Tx& tx, const ReservationId& id);
Result<> GiveUp(db::Tx& tx, const Author& author, const ReservationId& id, const std::string& why);
Result<> Deliver(db::Tx& tx, const Author& author, const ReservationId& id, Ledger::Ending ending,
                 const std::string& attempt);
// Exactly one attempt wins; `attempt` is its name, unique in the world, by which it may ask again.
Result<Delivery> Redeem(db::Tx& tx, const Author& author, const ReservationId& id,
                        const Digest& request_digest, const std::string& attempt);
// What that attempt made redeeming is due again; nothing when it did not win.
Result<> GiveBack(db::Tx& tx, const Author& author, const ReservationId& id,
                  const std::string& attempt);

Result<> Heartbeat(db::Tx& tx, const Author& author);
// Forgets the heartbeats of all other nodes that are older than `before`.
Result<> ForgetOtherNodes(db::Tx& tx, const Author& author, UnixMs before);
// Everybody but the author who is not forgotten, with the last that was heard of him, by his own
// clock.
struct NodeBeat {
  std::string id;
  UnixMs at;
};
Result<std::vector<NodeBeat>> OtherNodes(db::Tx& tx, const Author& author);
// Forgets the nodes in `dead` that were not heard of since, then takes over what nobody alive owns.
Result<std::vector<Reservation>> TakeOrphans(db::Tx& tx, const Author& author,
                                             const std::vector<NodeBeat>& dead, size_t limit);

Result<std::optional<Ledger::StoredAnswer>> ReadAnswer(db::Tx& tx, const ReservationId& id);
Result<std::optional<Reservation>> ReadByKey(db::Tx& tx, const OnceKey& once_key);
Result<std::optional<Reservation>> ReadReservation(db::Tx& tx, const ReservationId& id);
Result<std::vector<Reservation>> FindReservations(db::Tx& tx, const std::string& name);
Result<std::vector<Reservation>> ListReservations(db::Tx& tx, const Ledger::Filter& filter);
Result<std::vector<Ledger::Event>> ReadHistory(db::Tx& tx, const ReservationId& id);
Result<Ledger::Totals> CountReservations(db::Tx& tx);

}  // namespace pontage::ledger
