#include "license/refund_store.h"

#include "base/try.h"

namespace pontage::license {
namespace {

#define PTG_REFUND_COLUMNS                                                                  \
  "id, command, license, purchase, payment_intent, currency, amount, whole, reason, actor," \
  " state, stripe_refund, created_ms, updated_ms"

constexpr db::Statement kRequest{
    "refund.request", "INSERT INTO refund (" PTG_REFUND_COLUMNS
                      ") VALUES ($1, $2, $3, $4, '', $5, $6, $7, $8, $9, 'requested', '', $10, $10)"
                      " ON CONFLICT (license) WHERE state IN ('requested', 'pending') DO NOTHING"};
constexpr db::Statement kFind{"refund.find",
                              "SELECT " PTG_REFUND_COLUMNS " FROM refund WHERE id = $1"};
constexpr db::Statement kByCommand{"refund.by_command",
                                   "SELECT " PTG_REFUND_COLUMNS
                                   " FROM refund WHERE command = $1 ORDER BY id LIMIT 1"};
constexpr db::Statement kDecide{
    "refund.decide",
    "UPDATE refund SET payment_intent = $2, currency = $3, amount = $4, whole = $5, updated_ms = $6"
    " WHERE id = $1 AND state = 'requested' AND payment_intent = ''"};
constexpr db::Statement kPending{"refund.pending",
                                 "UPDATE refund SET state = 'pending', stripe_refund = $2,"
                                 " updated_ms = $3 WHERE id = $1 AND state = 'requested'"};
constexpr db::Statement kEnd{"refund.end",
                             "UPDATE refund SET state = $2, updated_ms = $3"
                             " WHERE id = $1 AND (state IN ('requested', 'pending')"
                             " OR (state = 'succeeded' AND $2 = 'failed'))"};
constexpr db::Statement kOfStripe{"refund.of_stripe",
                                  "SELECT " PTG_REFUND_COLUMNS
                                  " FROM refund WHERE stripe_refund = $1 AND stripe_refund <> ''"
                                  " AND state <> 'failed'"};
constexpr db::Statement kList{"refund.list", "SELECT " PTG_REFUND_COLUMNS
                                             " FROM refund WHERE ($1 = '' OR license = $1) AND"
                                             " ($3 = '' OR created_ms < $2 OR (created_ms = $2"
                                             " AND id < $3))"
                                             " ORDER BY created_ms DESC, id DESC LIMIT $4"};
constexpr db::Statement kCount{
    "refund.count", "SELECT COUNT(*) FROM refund WHERE created_ms > $1 AND state <> 'failed'"};
constexpr db::Statement kSum{"refund.sum",
                             "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM refund"
                             " WHERE created_ms > $1 AND state <> 'failed' AND currency = $2"
                             " AND payment_intent <> ''"};
#undef PTG_REFUND_COLUMNS
constexpr db::Statement kTurn{"refund.turn",
                              "INSERT INTO refund_turn (id, turn) VALUES (1, 1)"
                              " ON CONFLICT (id) DO UPDATE SET turn = refund_turn.turn + 1"};

Refund FromRow(const db::Row& row) {
  return {.id = row.Text(0),
          .command = row.Text(1),
          .license = row.Text(2),
          .purchase = row.Text(3),
          .payment_intent = row.Text(4),
          .currency = row.Text(5),
          .amount = row.Int(6),
          .whole = row.Int(7) != 0,
          .reason = row.Text(8),
          .actor = row.Text(9),
          .state = row.Text(10),
          .stripe_refund = row.Text(11),
          .created = UnixMs(row.Int(12)),
          .updated = UnixMs(row.Int(13))};
}

std::optional<Refund> First(const db::Rows& rows) {
  if (rows.empty()) return std::nullopt;
  return FromRow(rows.front());
}

}  // namespace

codec::Json ToJson(const Refund& r) {
  codec::Json json = codec::Json::Object({{"id", r.id},
                                          {"state", r.state},
                                          {"license", r.license},
                                          {"purchase", r.purchase},
                                          {"whole", r.whole},
                                          {"reason", r.reason},
                                          {"actor", r.actor},
                                          {"created", r.created.Rfc3339()},
                                          {"updated", r.updated.Rfc3339()}});
  if (r.amount > 0) json.Set("amount", r.amount);
  if (!r.currency.empty()) json.Set("currency", r.currency);
  if (!r.payment_intent.empty()) json.Set("payment_intent", r.payment_intent);
  if (!r.stripe_refund.empty()) json.Set("stripe_refund", r.stripe_refund);
  return json;
}

Result<> RequestRefund(db::Tx& tx, const Refund& r, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kRequest, r.id, r.command, r.license, r.purchase, r.currency,
                                      r.amount, int64_t{r.whole}, r.reason, r.actor, now.ms()));
  if (rows.changed > 0) return {};
  return Fail(Code::kConflict, "a refund of this license is under way");
}

Result<std::optional<Refund>> FindRefund(db::Tx& tx, const std::string& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kFind, id));
  return First(rows);
}

Result<std::optional<Refund>> FindRefundByCommand(db::Tx& tx, const std::string& command) {
  PTG_TRY(const db::Rows rows, tx.Run(kByCommand, command));
  return First(rows);
}

Result<bool> DecideRefund(db::Tx& tx, const Refund& r, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kDecide, r.id, r.payment_intent, r.currency, r.amount,
                                      int64_t{r.whole}, now.ms()));
  return rows.changed > 0;
}

Result<bool> RefundPending(db::Tx& tx, const std::string& id, std::string_view stripe_refund,
                           UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kPending, id, std::string(stripe_refund), now.ms()));
  return rows.changed > 0;
}

Result<bool> EndRefund(db::Tx& tx, const std::string& id, std::string_view state, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kEnd, id, std::string(state), now.ms()));
  return rows.changed > 0;
}

Result<std::optional<Refund>> RefundOfStripe(db::Tx& tx, const std::string& stripe_refund) {
  PTG_TRY(const db::Rows rows, tx.Run(kOfStripe, stripe_refund));
  return First(rows);
}

Result<std::vector<Refund>> ListRefunds(db::Tx& tx, const RefundFilter& filter) {
  PTG_TRY(const db::Rows rows, tx.Run(kList, filter.license, filter.before_created.ms(),
                                      filter.before_id, static_cast<int64_t>(filter.limit)));
  std::vector<Refund> out;
  out.reserve(rows.size());
  for (const db::Row& row : rows) out.push_back(FromRow(row));
  return out;
}

Result<RefundTotals> RefundsSince(db::Tx& tx, UnixMs since, const std::string& currency) {
  PTG_RUN(tx.Run(kTurn));
  PTG_TRY(const db::Rows count, tx.Run(kCount, since.ms()));
  PTG_TRY(const db::Rows sum, tx.Run(kSum, since.ms(), currency));
  return RefundTotals{.count = count.at(0).Int(0), .amount = sum.at(0).Int(0)};
}

}  // namespace pontage::license
