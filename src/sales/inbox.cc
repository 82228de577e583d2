#include "sales/inbox.h"

#include <algorithm>
#include <array>

#include "base/try.h"

namespace pontage::sales {
namespace {

constexpr db::Statement kStore{
    "stripe_event.store",
    "INSERT INTO stripe_event (id, type, object_kind, object_id, api_version, source, payload,"
    " state, attempts, next_ms, last_error, created_ms, received_ms)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, '', $10, $9) ON CONFLICT (id) DO NOTHING"};
// The condition stands twice: a row that another node took between the two is left to it.
constexpr db::Statement kTake{
    "stripe_event.take",
    "UPDATE stripe_event SET next_ms = $2, attempts = attempts + 1"
    " WHERE state = 'new' AND next_ms <= $1 AND id IN"
    " (SELECT id FROM stripe_event WHERE state = 'new' AND next_ms <= $1"
    "  ORDER BY next_ms, created_ms, id LIMIT $3)"
    " RETURNING id, type, object_kind, object_id, payload, attempts, created_ms"};
constexpr db::Statement kDone{
    "stripe_event.done",
    "UPDATE stripe_event SET state = $2, done_ms = $3, last_error = '' WHERE id = $1"};
constexpr db::Statement kLater{"stripe_event.later",
                               "UPDATE stripe_event SET state = $2, next_ms = $3, last_error = $4"
                               " WHERE id = $1 AND state = 'new'"};
constexpr db::Statement kPutOff{"stripe_event.put_off",
                                "UPDATE stripe_event SET next_ms = $2, attempts = attempts - 1"
                                " WHERE id = $1 AND state = 'new'"};
constexpr db::Statement kKeep{
    "stripe_event.keep", "UPDATE stripe_event SET next_ms = $2 WHERE id = $1 AND state = 'new'"};
constexpr db::Statement kAgain{"stripe_event.again",
                               "UPDATE stripe_event SET state = 'new', attempts = 0, next_ms = $2,"
                               " last_error = '', done_ms = NULL WHERE id = $1"};
constexpr db::Statement kForget{
    "stripe_event.forget",
    "DELETE FROM stripe_event WHERE id IN"
    " (SELECT id FROM stripe_event WHERE received_ms < $1 AND state IN ('done', 'ignored')"
    "  ORDER BY received_ms LIMIT $2)"};
constexpr db::Statement kWaits{"stripe_event.waits",
                               "SELECT id FROM stripe_event WHERE id = $1 AND state = 'new'"};

// What Stripe or a network says of a fault is not ours to bound elsewhere.
constexpr size_t kMaxError = 500;

constexpr std::array<std::string_view, 36> kUseful = {
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.trial_will_end",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.finalization_failed",
    "invoice.overdue",
    "invoice.marked_uncollectible",
    "invoice.voided",
    "invoice.updated",
    "invoice_payment.paid",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "customer.updated",
    "customer.deleted",
    "payment_intent.succeeded",
    "invoice.created",
    "invoice.finalized",
};

// Kept for the operator to read: no license depends on them.
constexpr std::array<std::string_view, 2> kNoted = {
    "checkout.session.expired",
    "radar.early_fraud_warning.created",
};

}  // namespace

bool IsOfUse(std::string_view type) { return std::ranges::find(kUseful, type) != kUseful.end(); }

std::vector<std::string> WebhookEvents() {
  std::vector<std::string> out(kUseful.begin(), kUseful.end());
  out.insert(out.end(), kNoted.begin(), kNoted.end());
  return out;
}

Result<bool> StoreEvent(db::Tx& tx, const stripe::Event& event, std::string_view payload,
                        std::string_view source, UnixMs now) {
  // Thin events have finer names beside those of snapshots: "customer.subscription.past_due".
  const bool finer = event.thin && event.type.starts_with("customer.subscription.");
  const std::string state = finer || IsOfUse(event.type) ? "new" : "ignored";
  const UnixMs created = event.created > UnixMs() ? event.created : now;  // where it does not say
  PTG_TRY(const db::Rows rows, tx.Run(kStore, event.once_key().str(), event.type, event.object_kind,
                                      event.object_id, event.api_version, std::string(source),
                                      std::string(payload), state, now.ms(), created.ms()));
  return rows.changed > 0;
}

Result<std::vector<StoredEvent>> TakeEvents(db::Tx& tx, UnixMs now, Millis lease, size_t limit) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kTake, now.ms(), (now + lease).ms(), static_cast<int64_t>(limit)));
  std::vector<std::pair<int64_t, StoredEvent>> taken;
  for (const db::Row& row : rows) {
    taken.emplace_back(row.Int(6), StoredEvent{.id = row.Text(0),
                                               .type = row.Text(1),
                                               .object_kind = row.Text(2),
                                               .object_id = row.Text(3),
                                               .payload = row.Text(4),
                                               .attempts = row.Int(5)});
  }
  // RETURNING has no order.
  std::ranges::sort(taken, {}, [](const auto& one) { return std::pair(one.first, one.second.id); });
  std::vector<StoredEvent> out;
  out.reserve(taken.size());
  for (auto& [created, event] : taken) out.push_back(std::move(event));
  return out;
}

Result<> EventDone(db::Tx& tx, const std::string& id, std::string_view state, UnixMs now) {
  PTG_RUN(tx.Run(kDone, id, std::string(state), now.ms()));
  return {};
}

Result<> EventLater(db::Tx& tx, const std::string& id, std::string_view error, UnixMs next,
                    bool parked) {
  PTG_RUN(tx.Run(kLater, id, std::string(parked ? "parked" : "new"), next.ms(),
                 std::string(error.substr(0, kMaxError))));
  return {};
}

Result<> EventPutOff(db::Tx& tx, const std::string& id, UnixMs next) {
  PTG_RUN(tx.Run(kPutOff, id, next.ms()));
  return {};
}

Result<> KeepEvent(db::Tx& tx, const std::string& id, UnixMs until) {
  PTG_RUN(tx.Run(kKeep, id, until.ms()));
  return {};
}

Result<bool> EventAgain(db::Tx& tx, const std::string& id, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kAgain, id, now.ms()));
  return rows.changed > 0;
}

Result<size_t> CountWaiting(db::Tx& tx, const std::vector<std::string>& ids) {
  size_t waiting = 0;
  for (const std::string& id : ids) {
    PTG_TRY(const db::Rows rows, tx.Run(kWaits, id));
    if (!rows.empty()) ++waiting;
  }
  return waiting;
}

Result<int64_t> ForgetEvents(db::Tx& tx, UnixMs before, int64_t most) {
  PTG_TRY(const db::Rows rows, tx.Run(kForget, before.ms(), most));
  return rows.changed;
}

Millis PauseAfter(int64_t attempts) {
  if (attempts <= 1) return Millis(2'000);
  // That is more than ten minutes of them.
  if (attempts <= 26) return Millis(25'000);
  return Millis(std::min<int64_t>((attempts - 25) * 120'000, 3'600'000));
}

}  // namespace pontage::sales
