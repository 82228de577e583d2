#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "codec/json.h"
#include "db/db.h"

// Money that goes back because somebody here ordered it, as functions inside a transaction.
namespace pontage::license {

//   requested ─> pending | failed
//   pending   ─> succeeded | failed
// Stripe's answer to our call is only `pending`; what it says when it is asked again, or by an
// event, ends it.
struct Refund {
  std::string id;  // "rfd_…"; its key at Stripe is "refund:" + id
  std::string command;
  std::string license;
  std::string purchase;
  std::string payment_intent = {};  // empty: not decided yet
  std::string currency = {};
  int64_t amount = 0;  // in the smallest unit; 0: not decided yet
  bool whole = false;  // all that is left of the payment
  std::string reason = {};
  std::string actor = {};
  std::string state = "requested";
  std::string stripe_refund = {};
  UnixMs created = {};
  UnixMs updated = {};
};

// As people and programs are shown it.
codec::Json ToJson(const Refund& refund);

// kConflict when the license has an open one.
Result<> RequestRefund(db::Tx& tx, const Refund& refund, UnixMs now);
Result<std::optional<Refund>> FindRefund(db::Tx& tx, const std::string& id);
Result<std::optional<Refund>> FindRefundByCommand(db::Tx& tx, const std::string& command);
// What it is taken from, once: false, with nothing changed, when that was decided before.
Result<bool> DecideRefund(db::Tx& tx, const Refund& refund, UnixMs now);
// Stripe has taken it. False when it was past that.
Result<bool> RefundPending(db::Tx& tx, const std::string& id, std::string_view stripe_refund,
                           UnixMs now);
// "succeeded" or "failed". False when it had ended already; but what had succeeded may still come
// back from the bank, and then has failed.
Result<bool> EndRefund(db::Tx& tx, const std::string& id, std::string_view state, UnixMs now);
// The one that Stripe calls so, if it has not failed.
Result<std::optional<Refund>> RefundOfStripe(db::Tx& tx, const std::string& stripe_refund);

// Newest first, of a license or of all (""), behind the row that was created then.
struct RefundFilter {
  std::string license = {};
  UnixMs before_created = {};
  std::string before_id = {};  // empty: from the newest
  size_t limit = 50;
};
Result<std::vector<Refund>> ListRefunds(db::Tx& tx, const RefundFilter& filter);

// How many were ordered since `since`, and how much that was in `currency`, as far as it is
// decided. Failed ones do not count. To be asked before one is written down: nobody else counts
// until the transaction is over.
struct RefundTotals {
  int64_t count = 0;
  int64_t amount = 0;
};
Result<RefundTotals> RefundsSince(db::Tx& tx, UnixMs since, const std::string& currency);

}  // namespace pontage::license
