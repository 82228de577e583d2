// Money that goes back: what it is taken from, what Stripe makes of it, and its end.
#include <algorithm>
#include <utility>

#include "base/fault.h"
#include "base/log.h"
#include "base/try.h"
#include "sales/command_parts.h"
#include "sales/commands.h"
#include "sales/inbox.h"
#include "wire/problem/error_map.h"
#include "wire/stripe/values.h"

namespace pontage::sales {
namespace {

using codec::Json;
using ledger::Command;
using ledger::CommandState;

// The event about a refund usually comes before we ask for it.
constexpr Millis kFirstLook{3'000};
constexpr Millis kDay{86'400'000};

// Of an order that was to end a subscription, too.
Error OnlyEnded(const Error& error) {
  return Error(error.code(),
               "the subscription has ended, the money was not given back: " + error.detail())
      .At(error.pointer())
      .Want(error.expected())
      .Because(error.reason());
}

}  // namespace

Result<> NoteRefunds(db::Tx& tx, const std::vector<stripe::Refund>& refunds, UnixMs now) {
  for (const stripe::Refund& said : refunds) {
    PTG_TRY(std::optional<license::Refund> ours, license::RefundOfStripe(tx, said.id.str()));
    const std::string id(stripe::InMetadata(said.metadata, kRefundKey));
    // Our own try may have had no answer.
    if (!ours && !id.empty()) {
      PTG_TRY(ours, license::FindRefund(tx, id));
    }
    if (!ours) continue;
    if (ours->state == "requested") {
      PTG_RUN(license::RefundPending(tx, ours->id, said.id.str(), now));
    }
    const bool succeeded = said.status.value == stripe::RefundStatus::kSucceeded;
    const bool failed = said.status.value == stripe::RefundStatus::kFailed ||
                        said.status.value == stripe::RefundStatus::kCanceled;
    if (!succeeded && !failed) continue;
    const bool came_back = failed && ours->state == "succeeded";
    PTG_TRY(const bool ended,
            license::EndRefund(tx, ours->id, succeeded ? "succeeded" : "failed", now));
    if (!ended) continue;
    if (came_back) {
      // A bank may return it weeks later: its order has ended, and somebody must hear of it.
      Log(LogLevel::kWarn, "sales.refund_returned",
          {{"refund", ours->id}, {"license_id", ours->license}});
    }
    PTG_TRY(const std::optional<license::Refund> now_is, license::FindRefund(tx, ours->id));
    if (!now_is) continue;
    const Json shown = license::ToJson(*now_is);
    const std::string outcome =
        succeeded ? codec::ToString(Json::Object({{"refund", shown}}))
                  : codec::ToString(problem::ToJson(
                        Error(Code::kConflict, "Stripe could not give the money back: refund " +
                                                   said.id.str() + " " + said.status.text)));
    PTG_RUN(ledger::CommandEnded(tx, ours->command,
                                 succeeded ? CommandState::kDone : CommandState::kFailed, outcome,
                                 "", now));
    PTG_TRY(const std::optional<Command> command, ledger::FindCommand(tx, ours->command));
    if (!command) continue;
    PTG_RUN(ledger::AppendAudit(
        tx, AuditOf(*command, succeeded ? "done" : "failed", "", codec::ToString(shown)), now));
  }
  return {};
}

Result<PaidPart> ChoosePart(const std::vector<PaidPart>& parts, int64_t asked,
                            std::string_view currency) {
  if (parts.empty()) return Fail(Code::kConflict, "nothing was paid for this license");
  int64_t left = 0;
  int64_t most = 0;
  for (const PaidPart& one : parts) {
    left += std::max<int64_t>(0, one.left);
    most = std::max(most, one.left);
  }
  const auto fault = [currency](std::string detail, int64_t at_most, std::string_view then) {
    return Fail(Error(Code::kBadRequest, std::move(detail))
                    .At("/amount")
                    .Want("at most " + stripe::AmountText(stripe::MinorUnits(at_most), currency) +
                          std::string(then)));
  };
  if (left == 0) return Fail(Code::kConflict, "all of it was given back already");
  if (asked > left) return fault("more than is left of the payment", left, "");
  const int64_t wanted = asked > 0 ? asked : left;
  // Of those that have enough the least, so that the most can still be given back at once.
  const PaidPart* chosen = nullptr;
  for (const PaidPart& one : parts) {
    if (one.left >= wanted && (chosen == nullptr || one.left < chosen->left)) chosen = &one;
  }
  if (chosen != nullptr) return *chosen;
  return fault("it was paid in parts, and none of them is that much", most, ", then the rest");
}

Result<> SaidInItsCurrency(std::string_view said_in, std::string_view paid) {
  if (said_in.empty() || paid.empty() || said_in == paid) return {};
  const std::string currency(paid);
  return Fail(Error(Code::kBadRequest, "it was paid in " + currency)
                  .At("/amount")
                  .Want("a whole number of the smallest unit of " + currency));
}

// The payments of the latest invoice that was paid, or of the one-off.
Task<CommandWorker::Paid> CommandWorker::PaidOf(std::string purchase, Deadline by) {
  Paid out;
  StripeClient& stripe = *parts_.stripe;
  if (purchase.starts_with("cs_")) {
    const stripe::SessionId id(purchase);
    PTG_CO_TRY(const stripe::CheckoutSession session, co_await stripe.RetrieveCheckout(id, by));
    out.currency = session.currency;
    out.parts.push_back({.payment_intent = session.payment_intent.str(),
                         .left = session.amount_total.value_or(stripe::MinorUnits()).count()});
  } else {
    const stripe::SubscriptionId id(purchase);
    PTG_CO_TRY(const std::vector<stripe::Invoice> invoices,
               co_await stripe.ListInvoices(id, false, by));
    const stripe::Invoice* latest = LatestPaid(invoices);
    if (latest == nullptr) co_return out;
    PTG_CO_TRY(const std::vector<stripe::InvoicePayment> payments,
               co_await stripe.PaymentsOfInvoice(latest->id, by));
    out.currency = latest->currency;
    for (const stripe::InvoicePayment& one : payments) {
      out.parts.push_back(
          {.payment_intent = one.payment_intent.str(), .left = one.amount_paid.count()});
    }
  }
  std::erase_if(out.parts,
                [](const PaidPart& one) { return one.payment_intent.empty() || one.left <= 0; });
  for (PaidPart& part : out.parts) {
    const stripe::PaymentIntentId payment(part.payment_intent);
    PTG_CO_TRY(const std::vector<stripe::Refund> refunds, co_await stripe.ListRefunds(payment, by));
    for (const stripe::Refund& one : refunds) {
      const bool gone = one.status.value == stripe::RefundStatus::kFailed ||
                        one.status.value == stripe::RefundStatus::kCanceled;
      if (!gone) part.left -= one.amount.count();
    }
  }
  co_return out;
}

// What it is taken from and how much: written down before Stripe hears of it, so that every try
// says the same.
Task<license::Refund> CommandWorker::Decide(const Command& command, license::Refund refund,
                                            Deadline by) {
  PTG_CO_TRY(const Paid paid, co_await PaidOf(refund.purchase, by));
  const std::string said_in = PayloadOf(command).Text("currency");
  PTG_CO_RUN(SaidInItsCurrency(said_in, paid.currency));
  PTG_CO_TRY(const PaidPart from, ChoosePart(paid.parts, refund.amount, paid.currency));
  refund.payment_intent = from.payment_intent;
  refund.currency = paid.currency;
  if (refund.amount == 0) refund.amount = from.left;
  int64_t left = 0;
  for (const PaidPart& part : paid.parts) left += part.left;
  refund.whole = refund.amount == left;
  const int64_t most = PayloadOf(command).Int("most_a_day");
  const auto decide = [this, &refund, most](db::Tx& tx) -> Result<license::Refund> {
    const UnixMs now = parts_.clock.Now();
    PTG_TRY(const license::RefundTotals day,
            license::RefundsSince(tx, now - kDay, refund.currency));
    const stripe::MinorUnits left_today(std::max<int64_t>(0, most - day.amount));
    if (most > 0 && refund.amount > most - day.amount) {
      return Fail(Error(Code::kForbidden, "more than may be given back in a day")
                      .At("/amount")
                      .Want("at most " + stripe::AmountText(left_today, refund.currency) +
                            " now, or a greater console.refund_limit"));
    }
    // Somebody else may have decided before; then that counts.
    PTG_RUN(license::DecideRefund(tx, refund, now));
    PTG_TRY(std::optional<license::Refund> is, license::FindRefund(tx, refund.id));
    if (!is) return Fail(Code::kNotFound, "there is no refund " + refund.id);
    return *std::move(is);
  };
  co_return co_await parts_.database.Write(decide, by);
}

Task<stripe::Refund> CommandWorker::MakeAtStripe(const Command& command,
                                                 const license::Refund& refund, Deadline by) {
  StripeClient& stripe = *parts_.stripe;
  const stripe::PaymentIntentId payment(refund.payment_intent);
  // Stripe forgets keys after a day; what has our id does not come twice.
  if (command.attempts > 1) {
    PTG_CO_TRY(const std::vector<stripe::Refund> there, co_await stripe.ListRefunds(payment, by));
    for (const stripe::Refund& one : there) {
      if (stripe::InMetadata(one.metadata, kRefundKey) == refund.id) co_return one;
    }
  }
  RefundRequest request;
  request.payment_intent = payment;
  request.amount = stripe::MinorUnits(refund.amount);
  request.actor = refund.actor;
  request.id = refund.id;
  co_return co_await stripe.CreateRefund(request, "refund:" + refund.id, by);
}

Task<> CommandWorker::Refund(const Command& command, Deadline by) {
  if (parts_.stripe == nullptr) co_return Fail(NoStripe());
  const auto find = [&command](db::Tx& tx) { return license::FindRefundByCommand(tx, command.id); };
  PTG_CO_TRY(const std::optional<license::Refund> found, co_await parts_.database.Read(find, by));
  if (!found) co_return Fail(Code::kNotFound, "the refund of this command is not there");
  license::Refund refund = *found;
  if (refund.state == "requested") {
    if (refund.payment_intent.empty()) {
      PTG_CO_TRY(refund, co_await Decide(command, refund, by));
    }
    PTG_KILL_POINT("refund_decided");
    // Before the money, because the end of a refund is the end of its order.
    const bool cancel = PayloadOf(command).Is("cancel");
    if (cancel) {
      const stripe::SubscriptionId subscription(refund.purchase);
      PTG_CO_RUN(co_await parts_.stripe->CancelSubscription(subscription, by));
    }
    const Result<stripe::Refund> made = co_await MakeAtStripe(command, refund, by);
    if (!made && cancel) co_return Fail(OnlyEnded(made.error()));
    if (!made) co_return Fail(made.error());
    PTG_KILL_POINT("refund_made");
    const auto pending = [this, &command, &refund, &made](db::Tx& tx) -> Result<> {
      const UnixMs now = parts_.clock.Now();
      PTG_RUN(license::RefundPending(tx, refund.id, made->id.str(), now));
      PTG_TRY(const std::optional<license::Refund> is, license::FindRefund(tx, refund.id));
      if (!is) return Fail(Code::kNotFound, "there is no refund " + refund.id);
      const std::string outcome = codec::ToString(Json::Object({{"refund", license::ToJson(*is)}}));
      PTG_RUN(ledger::CommandPending(tx, command.id, outcome, now + kFirstLook, now));
      return {};
    };
    co_return co_await parts_.database.Write(pending, by);
  }
  const Result<> settled = co_await Settle(command, std::move(refund), by);
  if (settled) co_return {};
  // Stripe has taken it: that we cannot see its end is never one.
  co_return Fail(Code::kUpstreamUnreachable, settled.error().detail());
}

// What Stripe says of it now.
Task<> CommandWorker::Settle(const Command& command, license::Refund refund, Deadline by) {
  const stripe::RefundId id(refund.stripe_refund);
  PTG_CO_TRY(const stripe::Refund said, co_await parts_.stripe->RetrieveRefund(id, by));
  // The license first: once the command has ended nobody looks again.
  if (parts_.worker != nullptr) {
    PTG_CO_RUN(co_await parts_.worker->Look(refund.purchase, std::nullopt, by));
  }
  const auto note = [this, &command, &refund, &said](db::Tx& tx) -> Result<> {
    const UnixMs now = parts_.clock.Now();
    PTG_RUN(NoteRefunds(tx, {said}, now));
    PTG_TRY(const std::optional<license::Refund> is, license::FindRefund(tx, refund.id));
    if (!is) return Fail(Code::kNotFound, "there is no refund " + refund.id);
    const std::string outcome = codec::ToString(Json::Object({{"refund", license::ToJson(*is)}}));
    if (is->state == "pending") {
      const UnixMs next = now + PauseAfter(std::max<int64_t>(2, command.attempts));
      PTG_RUN(ledger::CommandPending(tx, command.id, outcome, next, now));
    } else if (is->state == "succeeded") {
      PTG_RUN(ledger::CommandEnded(tx, command.id, CommandState::kDone, outcome, "", now));
    }
    return {};
  };
  PTG_CO_RUN(co_await parts_.database.Write(note, by));
  co_return {};
}

}  // namespace pontage::sales
