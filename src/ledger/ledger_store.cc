#include "ledger/ledger_store.h"

#include <algorithm>

#include "base/fault.h"
#include "base/try.h"
#include "codec/json.h"
#include "ledger/history.h"
#include "ledger/outbox.h"
#include "ledger/reservation_row.h"

namespace pontage::ledger {
namespace {

constexpr std::string_view kSettledKind = "payment.settled";

// The partial unique index reservation_once decides: of any number of callers one inserts. Without
// a conflict target, so that the same call asked again (same id, same key) is no error either.
constexpr db::Statement kReserve{
    "ledger.reserve",
    "INSERT INTO reservation (" PTG_RESERVATION_COLUMNS
    ", redeemed_from, redeemed_by, look_ms, looks)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,"
    " $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, '', '', 0, 0)"
    " ON CONFLICT DO NOTHING"};
constexpr db::Statement kByKey{"ledger.by_key",
                               "SELECT " PTG_RESERVATION_COLUMNS
                               " FROM reservation WHERE once_key = $1 AND state <> 'voided'"};
constexpr db::Statement kById{"ledger.by_id",
                              "SELECT " PTG_RESERVATION_COLUMNS " FROM reservation WHERE id = $1"};

constexpr db::Statement kAnswered{
    "ledger.answered",
    "UPDATE reservation SET stage = 'answered', upstream_status = $2, updated_ms = $3,"
    " answered_ms = $3 WHERE id = $1 AND state = 'held' AND stage = 'reserved' AND node = $4"};
// Also from 'expired': a node that was silent for too long is taken for dead and its open rows are
// expired, but it may only have slept, and settle when it wakes. Money that moved is written down.
// RETURNING, or a list of more than two behind IN, here and in all that every paid call does, would
// cost SQLite a table of its own each time (40,000 instructions): what is needed of the row is read
// beside it.
constexpr db::Statement kCommit{
    "ledger.commit",
    "UPDATE reservation SET state = 'settled', tx_hash = $2, receipt = $3, delivery = $4,"
    " node = $5, updated_ms = $6, settled_ms = $6, failure = '', look_ms = 0"
    " WHERE id = $1 AND (state IN ('held', 'in_doubt') OR state = 'expired')"};
// What the outbox tells of a sale, in the order of SettledPayload.
constexpr db::Statement kSale{
    "ledger.sale",
    "SELECT request_id, tenant, route, resource, rail, scheme, network, asset, amount,"
    " price_micros, payer, pay_to FROM reservation WHERE id = $1"};
// As kAnswered: whoever took the row over may be settling it, and nothing leads out of 'voided'.
constexpr db::Statement kVoid{
    "ledger.void",
    "UPDATE reservation SET state = 'voided', failure = $2, upstream_status = $3, updated_ms = $4"
    " WHERE id = $1 AND state = 'held' AND node = $5 RETURNING id"};
// Writes nothing when it would say what is known already: a payment in doubt for a week is looked
// at ten thousand times.
constexpr db::Statement kDoubt{
    "ledger.doubt",
    "UPDATE reservation SET state = 'in_doubt', failure = $3, updated_ms = $4,"
    " tx_hash = CASE WHEN $2 = '' THEN tx_hash ELSE $2 END,"
    " look_ms = CASE WHEN state = 'held' THEN $5 ELSE look_ms END"
    " WHERE id = $1 AND state IN ('held', 'in_doubt')"
    " AND (state = 'held' OR failure <> $3 OR ($2 <> '' AND tx_hash <> $2)) RETURNING id"};
constexpr db::Statement kExpire{
    "ledger.expire",
    "UPDATE reservation SET state = 'expired', failure = $2, updated_ms = $3, look_ms = $4"
    " WHERE id = $1 AND state IN ('held', 'in_doubt') RETURNING id"};
constexpr db::Statement kEndLook{
    "ledger.end_look", "UPDATE reservation SET look_ms = 0 WHERE id = $1 AND state = 'expired'"};
// As kAnswered: only while it is the caller's to give up, and nobody has asked to settle.
constexpr db::Statement kGiveUp{
    "ledger.give_up",
    "UPDATE reservation SET state = 'expired', failure = $2, updated_ms = $3, look_ms = 0"
    " WHERE id = $1 AND state = 'held' AND stage = 'reserved' AND node = $4"};
// The first delivery, the usual end: its line of history stands in the row.
constexpr db::Statement kDelivered{
    "ledger.delivered",
    "UPDATE reservation SET delivery = 'delivered', updated_ms = $2, delivered_ms = $2"
    " WHERE id = $1 AND state = 'settled' AND delivery = 'pending'"};
// What was delivered is not owed, though another node has taken the deliverer for dead. $4 is the
// attempt of a redemption, empty for the first delivery: a note that is repeated, because its
// commit's answer was lost, says nothing about an attempt that came later.
constexpr db::Statement kDeliver{
    "ledger.deliver",
    "UPDATE reservation SET delivery = $2, updated_ms = $3"
    " WHERE id = $1 AND state = 'settled' AND ((delivery = 'pending' AND $4 = '')"
    " OR (delivery = 'redeeming' AND redeemed_by = $4)"
    " OR (delivery = 'owed' AND $2 = 'delivered'))"};
// How often an answer broke off in its middle: the last lines of those deliveries.
constexpr std::string_view kCutDetail = "cut_off";
constexpr db::Statement kCuts{
    "ledger.cuts",
    "SELECT COUNT(*) FROM reservation_event WHERE reservation = $1 AND detail = 'cut_off'"};
// The old value is read by the SET of redeemed_from: both engines evaluate it before the change. $5
// names the attempt, so that the one who won may ask again.
constexpr db::Statement kRedeem{
    "ledger.redeem",
    "UPDATE reservation SET redeemed_from = CASE WHEN delivery = 'redeeming' THEN redeemed_from"
    " ELSE delivery END, redeemed_by = $5, delivery = 'redeeming', node = $3, updated_ms = $4"
    " WHERE id = $1 AND state = 'settled' AND request_digest = $2"
    " AND (delivery IN ('owed', 'broken') OR (delivery = 'redeeming' AND redeemed_by = $5))"
    " RETURNING redeemed_from"};
constexpr db::Statement kGiveBack{
    "ledger.give_back",
    "UPDATE reservation SET delivery = redeemed_from, updated_ms = $3"
    " WHERE id = $1 AND delivery = 'redeeming' AND redeemed_by = $2 RETURNING delivery"};
constexpr db::Statement kKeepAnswer{
    "ledger.keep_answer",
    "INSERT INTO stored_answer (reservation, status, head, body) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (reservation) DO NOTHING"};
constexpr db::Statement kReadAnswer{
    "ledger.read_answer", "SELECT status, head, body FROM stored_answer WHERE reservation = $1"};

constexpr db::Statement kFind{
    "ledger.find", "SELECT " PTG_RESERVATION_COLUMNS
                   " FROM reservation WHERE id = $1 OR request_id = $1"
                   " OR (tx_hash <> '' AND tx_hash = $1) OR (tx_hash <> '' AND tx_hash = $2)"
                   " ORDER BY created_ms, id LIMIT 100"};
constexpr db::Statement kList{
    "ledger.list", "SELECT " PTG_RESERVATION_COLUMNS
                   " FROM reservation WHERE created_ms >= $1 AND ($2 = '' OR state = $2)"
                   " AND ($3 = '' OR LOWER(payer) = LOWER($3)) AND ($4 = '' OR route = $4)"
                   " AND ($5 = '' OR LOWER(tx_hash) = LOWER($5))"
                   " AND ($8 = '' OR created_ms < $7 OR (created_ms = $7 AND id < $8))"
                   " ORDER BY created_ms DESC, id DESC LIMIT $6"};
// Along the partial indexes: the gauges ask every second.
constexpr db::Statement kCountOpen{
    "ledger.count_open",
    "SELECT state, COUNT(*) FROM reservation WHERE state IN ('held', 'in_doubt') GROUP BY state"};
constexpr db::Statement kCountDue{"ledger.count_due",
                                  "SELECT delivery, COUNT(*) FROM reservation"
                                  " WHERE delivery IN ('owed', 'broken') GROUP BY delivery"};

// The first look at a payment in doubt.
constexpr Millis kFirstLook{1'000};

Error WrongState(const Reservation& row) {
  std::string detail = "the payment is ";
  detail += ToString(row.state);
  if (row.state == State::kSettled)
    detail += ", its delivery " + std::string(ToString(row.delivery));
  return {Code::kConflict, std::move(detail)};
}

Result<Reservation> MustRead(db::Tx& tx, const ReservationId& id) {
  PTG_TRY(std::optional<Reservation> row, ReadReservation(tx, id));
  if (!row) return Fail(Code::kConflict, "no such payment in the books");
  return *std::move(row);
}

// After an update that found no row: it has happened before (`same`), or the row is elsewhere.
template <typename Same>
Result<> HappenedBefore(db::Tx& tx, const ReservationId& id, const Same& same) {
  PTG_TRY(const Reservation row, MustRead(tx, id));
  if (same(row)) return {};
  return Fail(WrongState(row));
}

// Of a row of kSale.
Result<std::string> SettledPayload(const db::Row& row, const ReservationId& id,
                                   const std::string& transaction, UnixMs settled) {
  PTG_TRY(const codec::Uint256 amount, codec::Uint256::FromFixedDecimal(row.Text(8)));
  codec::Json json;
  json.Set("id", id.str()).Set("request_id", row.Text(0)).Set("tenant", row.Text(1));
  json.Set("route", row.Text(2)).Set("resource", row.Text(3)).Set("rail", row.Text(4));
  json.Set("scheme", row.Text(5)).Set("network", row.Text(6)).Set("asset", row.Text(7));
  json.Set("amount", amount.ToDecimal()).Set("price_micros", row.Int(9));
  json.Set("payer", row.Text(10)).Set("pay_to", row.Text(11)).Set("transaction", transaction);
  json.Set("settled_at", settled.Rfc3339());
  return codec::ToString(json);
}

}  // namespace

Reservation AsHeld(const Author& author, Reservation row) {
  row.state = State::kHeld;
  row.stage = Stage::kReserved;
  row.delivery = Delivery::kNone;
  row.upstream_status = 0;
  row.transaction.clear();
  row.receipt.clear();
  row.failure.clear();
  row.node = author.node;
  row.created = row.updated = author.now;
  return row;
}

db::Ask AskReserve(const Reservation& held) { return {kReserve, ToValues(held)}; }

Result<Ledger::Reserved> Reserve(db::Tx& tx, const Author& author, const Reservation& reservation) {
  return ReserveHeld(tx, author, AsHeld(author, reservation));
}

Result<Ledger::Reserved> ReserveHeld(db::Tx& tx, const Author& author, const Reservation& row) {
  // Between our insert and our look the one who was in the way may have voided his: then once more.
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto values = [&row] { return ToValues(row); };
    PTG_TRY(const db::Rows inserted, tx.First(kReserve, values));
    if (inserted.changed > 0) return Ledger::Reserved{.held = true, .row = row};
    PTG_TRY(std::optional<Reservation> other, ReadByKey(tx, row.once_key));
    if (other) {
      // Our own, written by a call whose answer was lost.
      const bool ours = other->id == row.id && other->state == State::kHeld &&
                        other->stage == Stage::kReserved && other->node == author.node;
      return Ledger::Reserved{.held = ours, .row = *std::move(other)};
    }
    PTG_TRY(const db::Rows same_id, tx.Run(kById, row.id.str()));
    if (!same_id.empty()) return Fail(Code::kConflict, "the reservation's id was used before");
  }
  return Fail(Code::kConflict, "the payment is being reserved and voided by others");
}

db::Ask AskAnswered(const Author& author, const ReservationId& id, int upstream_status) {
  return {kAnswered, {id.str(), int64_t{upstream_status}, author.now.ms(), author.node}};
}

Result<> Answered(db::Tx& tx, const Author& author, const ReservationId& id, int upstream_status) {
  const auto values = [&] { return AskAnswered(author, id, upstream_status).values; };
  PTG_TRY(const db::Rows rows, tx.First(kAnswered, values));
  if (rows.changed > 0) return {};
  return HappenedBefore(tx, id, [&](const Reservation& r) {
    return r.state == State::kHeld && r.stage == Stage::kAnswered && r.node == author.node &&
           r.upstream_status == upstream_status;
  });
}

db::Ask AskCommit(const Author& author, const ReservationId& id,
                  const Ledger::Settlement& settlement) {
  return {kCommit,
          {id.str(), settlement.transaction, settlement.receipt,
           std::string(ToString(settlement.delivery)), author.node, author.now.ms()}};
}

Result<Delivery> Commit(db::Tx& tx, const Author& author, const ReservationId& id,
                        const Ledger::Settlement& settlement, const std::string& outbox_id) {
  if (settlement.delivery != Delivery::kPending && settlement.delivery != Delivery::kOwed) {
    return Fail(Code::kInternal, "a payment is settled with its delivery pending or owed");
  }
  const auto values = [&] { return AskCommit(author, id, settlement).values; };
  PTG_TRY(const db::Rows rows, tx.First(kCommit, values));
  if (rows.changed == 0) {
    PTG_TRY(const Reservation row, MustRead(tx, id));
    const bool same = row.state == State::kSettled && row.transaction == settlement.transaction;
    if (!same) return Fail(WrongState(row));
    return row.delivery;
  }
  if (settlement.delivery == Delivery::kOwed) {
    PTG_RUN(AddEvent(tx, author, id.str(), kAfterSettled, "owed", ""));
  }
  if (settlement.answer) {
    const Ledger::StoredAnswer& answer = *settlement.answer;
    PTG_RUN(
        tx.Run(kKeepAnswer, id.str(), int64_t{answer.status}, answer.head, db::Blob{answer.body}));
  }
  PTG_TRY(const db::Rows sale, tx.Run(kSale, id.str()));
  if (sale.empty()) return Fail(Code::kStore, "a payment is gone from the books");
  PTG_TRY(std::string payload,
          SettledPayload(sale.front(), id, settlement.transaction, author.now));
  const OutboxEntry entry{.id = outbox_id,
                          .kind = std::string(kSettledKind),
                          .key = std::string(kSettledKind) + ":" + id.str(),
                          .payload = std::move(payload),
                          .created = author.now};
  if (!PTG_PLANTED("forget_outbox")) PTG_RUN(AddToOutbox(tx, entry, author.now));
  return settlement.delivery;
}

Result<> Void(db::Tx& tx, const Author& author, const ReservationId& id, const std::string& why,
              int upstream_status) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kVoid, id.str(), why, int64_t{upstream_status}, author.now.ms(), author.node));
  if (!rows.empty()) return AddEvent(tx, author, id.str(), kAfterAnswered, "voided", why);
  return HappenedBefore(tx, id, [](const Reservation& r) { return r.state == State::kVoided; });
}

Result<> Doubt(db::Tx& tx, const Author& author, const ReservationId& id,
               const std::string& transaction, const std::string& why) {
  PTG_TRY(const db::Rows rows, tx.Run(kDoubt, id.str(), transaction, why, author.now.ms(),
                                      (author.now + kFirstLook).ms()));
  if (!rows.empty()) {
    const std::string detail = transaction.empty() ? why : why + " " + transaction;
    return AddEvent(tx, author, id.str(), kAfterAnswered, "in_doubt", detail);
  }
  return HappenedBefore(tx, id, [](const Reservation& r) { return r.state == State::kInDoubt; });
}

Result<> Expire(db::Tx& tx, const Author& author, const ReservationId& id, const std::string& why,
                std::optional<UnixMs> look) {
  const int64_t look_ms = look ? look->ms() : 0;
  PTG_TRY(const db::Rows rows, tx.Run(kExpire, id.str(), why, author.now.ms(), look_ms));
  if (!rows.empty()) return AddEvent(tx, author, id.str(), kAfterAnswered, "expired", why);
  return HappenedBefore(tx, id, [](const Reservation& r) { return r.state == State::kExpired; });
}

Result<> EndLook(db::Tx& tx, const ReservationId& id) {
  PTG_RUN(tx.Run(kEndLook, id.str()));
  return {};
}

Result<> GiveUp(db::Tx& tx, const Author& author, const ReservationId& id, const std::string& why) {
  PTG_TRY(const db::Rows rows, tx.Run(kGiveUp, id.str(), why, author.now.ms(), author.node));
  if (rows.changed > 0) return AddEvent(tx, author, id.str(), kAfterAnswered, "expired", why);
  return HappenedBefore(tx, id, [](const Reservation& r) { return r.state == State::kExpired; });
}

db::Ask AskDelivered(const Author& author, const ReservationId& id) {
  return {kDelivered, {id.str(), author.now.ms()}};
}

Result<> Deliver(db::Tx& tx, const Author& author, const ReservationId& id, Ledger::Ending ending,
                 const std::string& attempt) {
  Delivery outcome = ending.outcome;
  if (outcome != Delivery::kDelivered && outcome != Delivery::kBroken &&
      outcome != Delivery::kOwed && outcome != Delivery::kRedeemed) {
    return Fail(Code::kInternal, "a delivery ends delivered, broken, owed or redeemed");
  }
  if (outcome == Delivery::kDelivered && attempt.empty()) {
    const auto values = [&] { return AskDelivered(author, id).values; };
    PTG_TRY(const db::Rows first, tx.First(kDelivered, values));
    if (first.changed > 0) return {};
  }
  const bool cut = ending.cut && (outcome == Delivery::kOwed || outcome == Delivery::kBroken);
  if (cut) {
    PTG_TRY(const db::Rows before, tx.Run(kCuts, id.str()));
    if (before.front().Int(0) >= Ledger::kMostCuts) outcome = Delivery::kRedeemed;
  }
  const std::string text(ToString(outcome));
  PTG_TRY(const db::Rows rows, tx.Run(kDeliver, id.str(), text, author.now.ms(), attempt));
  if (rows.changed > 0) {
    return AddEvent(tx, author, id.str(), kAfterSettled, text,
                    cut ? std::string(kCutDetail) : std::string());
  }
  // Asked again, it may be the last of the cuts itself.
  return HappenedBefore(tx, id, [&](const Reservation& r) {
    return r.state == State::kSettled && (r.delivery == outcome || r.delivery == ending.outcome);
  });
}

Result<Delivery> Redeem(db::Tx& tx, const Author& author, const ReservationId& id,
                        const Digest& request_digest, const std::string& attempt) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kRedeem, id.str(), ToBlob(request_digest), author.node, author.now.ms(), attempt));
  if (rows.empty()) {
    PTG_TRY(const Reservation row, MustRead(tx, id));
    if (row.request_digest != request_digest) {
      return Fail(Code::kConflict, "the payment belongs to another request");
    }
    return Fail(WrongState(row));
  }
  PTG_TRY(const Delivery from, ParseDelivery(rows.front().Text(0)));
  PTG_RUN(AddEvent(tx, author, id.str(), kAfterSettled, "redeeming", rows.front().Text(0)));
  return from;
}

Result<> GiveBack(db::Tx& tx, const Author& author, const ReservationId& id,
                  const std::string& attempt) {
  PTG_TRY(const db::Rows rows, tx.Run(kGiveBack, id.str(), attempt, author.now.ms()));
  if (rows.empty()) return {};
  return AddEvent(tx, author, id.str(), kAfterSettled, rows.front().Text(0), "given_back");
}

Result<std::optional<Ledger::StoredAnswer>> ReadAnswer(db::Tx& tx, const ReservationId& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kReadAnswer, id.str()));
  if (rows.empty()) return std::nullopt;
  const db::Row& row = rows.front();
  return Ledger::StoredAnswer{
      .status = static_cast<int>(row.Int(0)), .head = row.Text(1), .body = row.Bytes(2)};
}

Result<std::optional<Reservation>> ReadByKey(db::Tx& tx, const OnceKey& once_key) {
  PTG_TRY(const db::Rows rows, tx.Run(kByKey, ToBlob(once_key)));
  if (rows.empty()) return std::nullopt;
  return FromRow(rows.front());
}

Result<std::optional<Reservation>> ReadReservation(db::Tx& tx, const ReservationId& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kById, id.str()));
  if (rows.empty()) return std::nullopt;
  return FromRow(rows.front());
}

Result<std::vector<Reservation>> FindReservations(db::Tx& tx, const std::string& name) {
  // Hashes of EVM transactions are kept in lower case and shown in either.
  std::string lower = name;
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  PTG_TRY(const db::Rows rows, tx.Run(kFind, name, lower));
  return FromRows(rows);
}

Result<std::vector<Reservation>> ListReservations(db::Tx& tx, const Ledger::Filter& filter) {
  const int64_t since = filter.since ? filter.since->ms() : 0;
  const std::string state = filter.state ? std::string(ToString(*filter.state)) : std::string();
  PTG_TRY(const db::Rows rows,
          tx.Run(kList, since, state, filter.payer, filter.route, filter.transaction,
                 static_cast<int64_t>(filter.limit), filter.before_created.ms(), filter.before_id));
  return FromRows(rows);
}

Result<Ledger::Totals> CountReservations(db::Tx& tx) {
  Ledger::Totals totals;
  PTG_TRY(const db::Rows open, tx.Run(kCountOpen));
  for (const db::Row& row : open) {
    (row.Text(0) == "held" ? totals.held : totals.in_doubt) = row.Int(1);
  }
  PTG_TRY(const db::Rows due, tx.Run(kCountDue));
  for (const db::Row& row : due) {
    (row.Text(0) == "owed" ? totals.owed : totals.broken) = row.Int(1);
  }
  return totals;
}

}  // namespace pontage::ledger
