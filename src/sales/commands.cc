#include "sales/commands.h"

#include <algorithm>
#include <utility>

#include "base/fault.h"
#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "io/timer.h"
#include "ledger/audit.h"
#include "sales/inbox.h"
#include "sales/mail/mail_outbox.h"
#include "wire/problem/error_map.h"

namespace pontage::sales {
namespace {

using codec::Json;
using codec::JsonReader;
using ledger::Command;
using ledger::CommandState;
using license::License;
using license::Status;

constexpr Millis kLook{200};  // somebody waits for the answer
constexpr Millis kStoreTimeout{10'000};
constexpr Millis kCommandTimeout{45'000};  // Stripe is asked some five times
constexpr Millis kLease{60'000};           // longer than that
constexpr size_t kAtOnce = 10;
// The event about a refund usually comes before we ask for it.
constexpr Millis kFirstLook{3'000};
constexpr int64_t kMostTries = 60;  // a day and a half of them
constexpr int kLeaseTries = 10;     // looks at a purchase are short
constexpr Millis kDay{86'400'000};
constexpr size_t kForgetAtOnce = 100;
constexpr int kForgetEach = 600;  // looks

// Somebody waits: the first tries come soon one after the other.
Millis PauseOf(int64_t attempts) {
  constexpr int64_t kSoon = 5;
  return attempts <= kSoon ? Millis(1'000) : PauseAfter(attempts - kSoon + 1);
}

UnixMs WholeSeconds(UnixMs at) { return UnixMs::FromSeconds(at.seconds()); }

// What the console wrote; another writer's mistake is no reason to stop.
struct Payload {
  Json json;
  std::string Text(std::string_view key) const {
    const Json* value = json.Find(key);
    const std::string* text = value == nullptr ? nullptr : value->AsString();
    return text == nullptr ? std::string() : *text;
  }
  int64_t Int(std::string_view key) const {
    const Json* value = json.Find(key);
    return value == nullptr ? 0 : value->AsInt64().value_or(0);
  }
  bool Is(std::string_view key) const {
    const Json* value = json.Find(key);
    const bool* set = value == nullptr ? nullptr : value->AsBool();
    return set != nullptr && *set;
  }
};
Payload PayloadOf(const Command& command) {
  Result<Json> json = codec::ParseJson(command.payload);
  return {json ? *std::move(json) : Json::Object()};
}

ledger::AuditEntry AuditOf(const Command& command, std::string_view end, std::string before,
                           std::string after) {
  return {.actor = command.actor,
          .verb = command.verb + "." + std::string(end),
          .subject = command.subject,
          .before = std::move(before),
          .after = std::move(after),
          .reason = PayloadOf(command).Text("reason"),
          .request_id = command.request_id};
}

// The purchase that a license belongs to; empty: the operator gave it.
std::string PurchaseOf(const License& l) {
  constexpr std::string_view kSession = "session:";
  if (!l.subscription.empty()) return l.subscription;
  return l.origin.starts_with(kSession) ? l.origin.substr(kSession.size()) : std::string();
}

// The license of the command; a fault that stays.
Result<License> FindIt(db::Tx& tx, const std::string& id) {
  PTG_TRY(std::optional<License> found, license::FindLicense(tx, id));
  if (!found) return Fail(Code::kNotFound, "there is no license " + id);
  return *std::move(found);
}

Json LicenseOutcome(const License& l, UnixMs now) {
  return Json::Object({{"license", license::ToJson(l, now)}});
}

Error NoStripe() {
  return Error(Code::kConflict, "there is no key of Stripe's here").Want("[stripe] api_key");
}

}  // namespace

bool MayTryAgain(const Error& error) {
  switch (error.code()) {
    case Code::kStore:
    case Code::kTimeout:
    case Code::kOverloaded:
    case Code::kRateLimited:
    case Code::kConnection:
    case Code::kUpstreamUnreachable:
    case Code::kUpstreamTimeout:
    case Code::kUpstreamProtocol:
    case Code::kUnauthorized:  // a key that is being changed
      return true;
    default:
      // Another try of ours is still under way at Stripe.
      return error.code() == Code::kConflict && error.reason() == "idempotency_key_in_use";
  }
}

Result<> NoteRefunds(db::Tx& tx, const std::vector<stripe::Refund>& refunds, UnixMs now) {
  for (const stripe::Refund& said : refunds) {
    PTG_TRY(std::optional<license::Refund> ours, license::OpenRefundOf(tx, said.id.str()));
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
    PTG_TRY(const bool ended,
            license::EndRefund(tx, ours->id, succeeded ? "succeeded" : "failed", now));
    if (!ended) continue;
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

CommandWorker::CommandWorker(Parts parts)
    : parts_(parts),
      done_(parts.metrics.CounterOf("pontage_commands_done_total",
                                    "Commands of the operator that were done.")),
      failed_(parts.metrics.CounterOf("pontage_commands_failed_total",
                                      "Commands of the operator that could not be done.")) {}

Task<> CommandWorker::Run() {
  for (int n = 0;; ++n) {
    const Result<size_t> done = co_await RunOnce();
    if (!done) Log(LogLevel::kWarn, "sales.commands_unread", {{"detail", done.error().detail()}});
    if (n % kForgetEach == 0) {
      const UnixMs now = parts_.clock.Now();
      const auto forget = [now](db::Tx& tx) {
        return ledger::ForgetSecrets(tx, now, kForgetAtOnce);
      };
      const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
      (void)co_await parts_.database.Write(forget, by);
    }
    if (!done || *done == 0) PTG_CO_RUN(co_await Sleep(kLook));
  }
}

Task<size_t> CommandWorker::RunOnce() {
  const UnixMs now = parts_.clock.Now();
  const auto take = [now](db::Tx& tx) { return ledger::TakeCommands(tx, now, kLease, kAtOnce); };
  const Deadline take_by = Deadline::In(parts_.clock, kStoreTimeout);
  PTG_CO_TRY(const std::vector<Command> commands, co_await parts_.database.Write(take, take_by));
  for (const Command& command : commands) {
    PTG_KILL_POINT("command_taken");
    const Deadline by = Deadline::In(parts_.clock, kCommandTimeout);
    const Result<> done = co_await Handle(command, by);
    if (!done) PTG_CO_RUN(co_await Failed(command, done.error()));
  }
  co_return commands.size();
}

Task<> CommandWorker::Handle(const Command& command, Deadline by) {
  if (command.verb == "license.issue") co_return co_await Issue(command, by);
  if (command.verb == "license.reissue") co_return co_await Reissue(command, by);
  if (command.verb == "license.extend") co_return co_await Extend(command, by);
  if (command.verb == "license.refund") co_return co_await Refund(command, by);
  if (command.verb == "event.rerun") co_return co_await Rerun(command, by);
  if (command.verb == "mail.retry") co_return co_await Retry(command, by);
  // A newer console's; a newer one of us does it.
  co_return Fail(Code::kOverloaded, "a verb that this version does not know");
}

Task<> CommandWorker::Failed(const Command& command, const Error& error) {
  const UnixMs now = parts_.clock.Now();
  const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
  const bool again = MayTryAgain(error);
  Log(LogLevel::kWarn, "sales.command_failed",
      {{"command", command.id},
       {"verb", command.verb},
       {"attempts", command.attempts},
       {"detail", error.detail()}});
  if (again && command.attempts < kMostTries) {
    const UnixMs next = now + PauseOf(command.attempts);
    const auto later = [&command, &error, next, now](db::Tx& tx) {
      return ledger::CommandLater(tx, command.id, error.detail(), next, now);
    };
    co_return co_await parts_.database.Write(later, by);
  }
  failed_.Add();
  const std::string outcome = codec::ToString(problem::ToJson(error));
  const auto end = [&command, &outcome, again, now](db::Tx& tx) -> Result<> {
    const CommandState state = again ? CommandState::kParked : CommandState::kFailed;
    PTG_TRY(const bool ended, ledger::CommandEnded(tx, command.id, state, outcome, "", now));
    if (!ended) return {};
    // A refund whose end nobody knows stays open: a person looks, and no second one begins.
    if (!again) {
      PTG_TRY(const auto refund, license::FindRefundByCommand(tx, command.id));
      if (refund) PTG_RUN(license::EndRefund(tx, refund->id, "failed", now));
    }
    PTG_RUN(ledger::AppendAudit(tx, AuditOf(command, ledger::ToString(state), "", outcome), now));
    return {};
  };
  co_return co_await parts_.database.Write(end, by);
}

Task<> CommandWorker::Issue(const Command& command, Deadline by) {
  const Payload asked = PayloadOf(command);
  const SoldPlan* plan = parts_.shop.Find(asked.Text("plan"));
  if (plan == nullptr) {
    std::string names;
    for (const auto& [name, one] : parts_.shop.plans) names += (names.empty() ? "" : ", ") + name;
    co_return Fail(Error(Code::kBadRequest, "there is no such plan")
                       .At("/plan")
                       .Want(names.empty() ? "a [[plan]] in the configuration" : names));
  }
  const auto issue = [this, &command, &asked, plan](db::Tx& tx) -> Result<> {
    const UnixMs now = parts_.clock.Now();
    License l;
    l.id = command.subject;
    l.origin = "operator:" + l.id;
    l.customer = asked.Text("customer");
    l.email = license::NormalEmail(asked.Text("email"));
    l.plan = plan->name;
    l.products = plan->products;
    l.tier = plan->tier;
    l.limits = plan->limits;
    l.reason = asked.Text("reason");
    const int64_t days = asked.Int("days");
    l.issued = WholeSeconds(now);
    l.paid_through = l.issued + (days > 0 ? days : plan->days) * kDay;
    l.expires = l.paid_through + parts_.shop.grace;
    l.signed_until = l.expires;
    PTG_RUN(license::InsertLicense(tx, l, now));
    if (!l.email.empty() && asked.Is("mail")) {
      PTG_RUN(parts_.fulfilment.EnqueueLicense(tx, l, "", "", ""));
    }
    const std::string text = parts_.fulfilment.TextOf(l);
    const std::string outcome = codec::ToString(LicenseOutcome(l, now));
    PTG_TRY(const bool ended,
            ledger::CommandEnded(tx, command.id, CommandState::kDone, outcome, text, now));
    if (!ended) return Fail(Code::kConflict, "the command was done before");
    PTG_RUN(ledger::AppendAudit(tx, AuditOf(command, "done", "", license::AuditText(l)), now));
    return {};
  };
  PTG_CO_RUN(co_await parts_.database.Write(issue, by));
  done_.Add();
  co_return {};
}

// Nobody writes to a license whose purchase is being looked at: what Stripe said would overwrite
// it.
Task<> CommandWorker::ChangeLicense(const Command& command, Change change, Deadline by) {
  const auto find = [&command](db::Tx& tx) { return FindIt(tx, command.subject); };
  PTG_CO_TRY(const License before, co_await parts_.database.Read(find, by));
  const std::string purchase = PurchaseOf(before);
  const std::string owner = "command:" + command.id;
  if (!purchase.empty()) {
    bool ours = false;
    for (int i = 0; i < kLeaseTries && !ours; ++i) {
      if (i > 0) PTG_CO_RUN(co_await Sleep(kLook));
      const UnixMs now = parts_.clock.Now();
      const auto lease = [purchase, owner, now](db::Tx& tx) {
        return LeasePurchase(tx, purchase, owner, now, kLease);
      };
      PTG_CO_TRY(ours, co_await parts_.database.Write(lease, by));
    }
    if (!ours) co_return Fail(Code::kOverloaded, "somebody looks at this purchase just now");
  }
  const auto apply = [this, &command, &change](db::Tx& tx) -> Result<> {
    const UnixMs now = parts_.clock.Now();
    PTG_TRY(License l, FindIt(tx, command.subject));
    const std::string was = license::AuditText(l);
    PTG_TRY(const Effect effect, change(tx, l, now));
    PTG_TRY(const bool changed, license::UpdateLicense(tx, l, now));
    if (!changed) return Fail(Code::kConflict, "the license is revoked");
    PTG_TRY(const bool ended,
            ledger::CommandEnded(tx, command.id, CommandState::kDone,
                                 codec::ToString(effect.outcome), effect.secret, now));
    if (!ended) return Fail(Code::kConflict, "the command was done before");
    PTG_RUN(ledger::AppendAudit(tx, AuditOf(command, "done", was, license::AuditText(l)), now));
    return {};
  };
  const Result<> done = co_await parts_.database.Write(apply, by);
  if (!purchase.empty()) {
    const auto release = [purchase, owner](db::Tx& tx) {
      return ReleasePurchase(tx, purchase, owner);
    };
    const Deadline release_by = Deadline::In(parts_.clock, kStoreTimeout);
    // It runs out by itself where this fails.
    (void)co_await parts_.database.Write(release, release_by);
  }
  if (done) done_.Add();
  co_return done;
}

Task<> CommandWorker::Reissue(const Command& command, Deadline by) {
  const Payload asked = PayloadOf(command);
  const Change change = [this, &asked](db::Tx& tx, License& l, UnixMs now) -> Result<Effect> {
    if (l.status == Status::kRevoked) return Fail(Code::kConflict, "the license is revoked");
    ++l.generation;
    l.reason = asked.Text("reason");
    l.issued = WholeSeconds(now);
    l.signed_until = WholeSeconds(l.expires);
    Effect effect{.outcome = LicenseOutcome(l, now), .secret = parts_.fulfilment.TextOf(l)};
    if (!l.email.empty() && asked.Is("mail")) {
      const mail::LicenseGiven given{.to = l.email,
                                     .license = effect.secret,
                                     .license_id = l.id,
                                     .generation = l.generation,
                                     .plan = l.plan,
                                     .expires_at = l.expires,
                                     .renews = !l.subscription.empty()};
      const mail::Mail letter =
          mail::WriteReissue(parts_.shop.seller, {.given = given, .old_until = now});
      PTG_RUN(mail::Enqueue(tx, NewIdText("mail", parts_.clock, parts_.rng), letter, l.id, now));
    }
    return effect;
  };
  co_return co_await ChangeLicense(command, change, by);
}

Task<> CommandWorker::Extend(const Command& command, Deadline by) {
  const Payload asked = PayloadOf(command);
  const Change change = [&asked](db::Tx&, License& l, UnixMs now) -> Result<Effect> {
    if (l.status == Status::kRevoked) return Fail(Code::kConflict, "the license is revoked");
    l.extended = WholeSeconds(std::max(now, l.expires)) + asked.Int("days") * kDay;
    l.expires = l.extended;
    if (l.status == Status::kExpired) l.status = Status::kActive;
    l.reason = asked.Text("reason");
    return Effect{.outcome = LicenseOutcome(l, now), .secret = {}};
  };
  co_return co_await ChangeLicense(command, change, by);
}

Task<> CommandWorker::Rerun(const Command& command, Deadline by) {
  const auto again = [this, &command](db::Tx& tx) -> Result<> {
    const UnixMs now = parts_.clock.Now();
    PTG_TRY(const bool found, EventAgain(tx, command.subject, now));
    if (!found) return Fail(Code::kNotFound, "there is no event " + command.subject);
    const std::string outcome =
        codec::ToString(Json::Object({{"id", command.subject}, {"state", "new"}}));
    PTG_RUN(ledger::CommandEnded(tx, command.id, CommandState::kDone, outcome, "", now));
    return {};
  };
  if (parts_.worker == nullptr) co_return Fail(NoStripe());
  PTG_CO_RUN(co_await parts_.database.Write(again, by));
  done_.Add();
  co_return {};
}

Task<> CommandWorker::Retry(const Command& command, Deadline by) {
  const auto again = [this, &command](db::Tx& tx) -> Result<> {
    const UnixMs now = parts_.clock.Now();
    PTG_TRY(const bool found, mail::SendAgain(tx, command.subject, now));
    if (!found) return Fail(Code::kConflict, "only a dead mail can be sent again");
    const std::string outcome =
        codec::ToString(Json::Object({{"id", command.subject}, {"state", "queued"}}));
    PTG_RUN(ledger::CommandEnded(tx, command.id, CommandState::kDone, outcome, "", now));
    return {};
  };
  PTG_CO_RUN(co_await parts_.database.Write(again, by));
  done_.Add();
  co_return {};
}

// The payment of the latest invoice that was paid, or of the one-off.
Task<CommandWorker::Paid> CommandWorker::PaidOf(std::string purchase, Deadline by) {
  Paid out;
  int64_t paid = 0;
  StripeClient& stripe = *parts_.stripe;
  if (purchase.starts_with("cs_")) {
    const stripe::SessionId id(purchase);
    PTG_CO_TRY(const stripe::CheckoutSession session, co_await stripe.RetrieveCheckout(id, by));
    out.payment_intent = session.payment_intent.str();
    out.currency = session.currency;
    paid = session.amount_total.value_or(stripe::MinorUnits()).count();
  } else {
    const stripe::SubscriptionId id(purchase);
    PTG_CO_TRY(const std::vector<stripe::Invoice> invoices,
               co_await stripe.ListInvoices(id, false, by));
    const stripe::Invoice* latest = LatestPaid(invoices);
    if (latest != nullptr) {
      PTG_CO_TRY(const std::vector<stripe::InvoicePayment> payments,
                 co_await stripe.PaymentsOfInvoice(latest->id, by));
      size_t parts = 0;
      for (const stripe::InvoicePayment& one : payments) {
        if (one.payment_intent.empty() || one.amount_paid.count() <= 0) continue;
        ++parts;
        out.payment_intent = one.payment_intent.str();
        paid = one.amount_paid.count();
      }
      if (parts > 1) {
        co_return Fail(Code::kConflict, "the invoice " + latest->id.str() +
                                            " was paid in parts: give them back at Stripe");
      }
      out.currency = latest->currency;
    }
  }
  if (out.payment_intent.empty() || paid <= 0) {
    co_return Fail(Code::kConflict, "nothing was paid for this license");
  }
  const stripe::PaymentIntentId payment(out.payment_intent);
  PTG_CO_TRY(const std::vector<stripe::Refund> refunds, co_await stripe.ListRefunds(payment, by));
  out.left = paid;
  for (const stripe::Refund& one : refunds) {
    const bool gone = one.status.value == stripe::RefundStatus::kFailed ||
                      one.status.value == stripe::RefundStatus::kCanceled;
    if (!gone) out.left -= one.amount.count();
  }
  co_return out;
}

// What it is taken from and how much: written down before Stripe hears of it, so that every try
// says the same.
Task<license::Refund> CommandWorker::Decide(const Command& command, license::Refund refund,
                                            Deadline by) {
  PTG_CO_TRY(const Paid paid, co_await PaidOf(refund.purchase, by));
  const int64_t asked = refund.amount;
  if (paid.left <= 0) co_return Fail(Code::kConflict, "all of it was given back already");
  if (asked > paid.left) {
    co_return Fail(Error(Code::kBadRequest, "more than is left of the payment")
                       .At("/amount")
                       .Want("at most " + std::to_string(paid.left) + " " + paid.currency));
  }
  refund.payment_intent = paid.payment_intent;
  refund.currency = paid.currency;
  refund.amount = asked > 0 ? asked : paid.left;
  refund.whole = refund.amount == paid.left;
  const int64_t most = PayloadOf(command).Int("most_a_day");
  const auto decide = [this, &refund, most](db::Tx& tx) -> Result<license::Refund> {
    const UnixMs now = parts_.clock.Now();
    PTG_TRY(const license::RefundTotals day,
            license::RefundsSince(tx, now - kDay, refund.currency));
    if (most > 0 && refund.amount > most - day.amount) {
      return Fail(Error(Code::kForbidden, "more than may be given back in a day")
                      .At("/amount")
                      .Want("at most " + std::to_string(std::max<int64_t>(0, most - day.amount)) +
                            " " + refund.currency + " now, or a greater console.refund_limit"));
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
    PTG_CO_TRY(const stripe::Refund made, co_await MakeAtStripe(command, refund, by));
    PTG_KILL_POINT("refund_made");
    const auto pending = [this, &command, &refund, &made](db::Tx& tx) -> Result<> {
      const UnixMs now = parts_.clock.Now();
      PTG_RUN(license::RefundPending(tx, refund.id, made.id.str(), now));
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
