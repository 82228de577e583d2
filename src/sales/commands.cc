#include "sales/commands.h"

#include <algorithm>
#include <utility>

#include "base/fault.h"
#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "io/fork.h"
#include "io/timer.h"
#include "ledger/audit.h"
#include "license/sales_books.h"
#include "sales/claim.h"
#include "sales/command_parts.h"
#include "sales/inbox.h"
#include "sales/mail/mail_outbox.h"
#include "wire/problem/error_map.h"

namespace pontage::sales {
namespace {

using codec::Json;
using ledger::Command;
using ledger::CommandState;
using license::License;
using license::Status;

constexpr Millis kLook{200};  // somebody waits for the answer
constexpr Millis kStoreTimeout{10'000};
constexpr Millis kCommandTimeout{45'000};  // Stripe is asked some five times
constexpr size_t kAtOnce = 10;
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
Result<License> FindToWrite(db::Tx& tx, const std::string& id) {
  PTG_TRY(std::optional<License> found, license::FindLicenseToWrite(tx, id));
  if (!found) return Fail(Code::kNotFound, "there is no license " + id);
  return *std::move(found);
}

Error Busy() { return {Code::kOverloaded, "somebody looks at this purchase just now"}; }

Json LicenseOutcome(const License& l, UnixMs now) {
  return Json::Object({{"license", license::ToJson(l, now)}});
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

CommandWorker::CommandWorker(Parts parts)
    : parts_(parts),
      done_(parts.metrics.CounterOf("pontage_commands_done_total",
                                    "Commands of the operator that were done.")),
      failed_(parts.metrics.CounterOf("pontage_commands_failed_total",
                                      "Commands of the operator that could not be done.")) {}

Task<> CommandWorker::Run() {
  for (int n = 0; !stopped_; ++n) {
    const Result<size_t> begun = co_await Begin();
    if (!begun) Log(LogLevel::kWarn, "sales.commands_unread", {{"detail", begun.error().detail()}});
    if (n % kForgetEach == 0) {
      const UnixMs now = parts_.clock.Now();
      const auto forget = [now](db::Tx& tx) {
        return ledger::ForgetSecrets(tx, now, kForgetAtOnce);
      };
      const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
      (void)co_await parts_.database.Write(forget, by);
    }
    if (!begun || *begun == 0) PTG_CO_RUN(co_await Sleep(kLook));
  }
  co_return {};
}

Task<size_t> CommandWorker::RunOnce() {
  PTG_CO_TRY(const size_t begun, co_await Begin());
  while (!under_way_.empty()) {
    ended_.Clear();
    PTG_CO_RUN(co_await ended_.Wait(Deadline::Never()));
  }
  co_return begun;
}

Task<size_t> CommandWorker::Begin() {
  const size_t room = kAtOnce - under_way_.size();
  if (stopped_ || room == 0) co_return 0;
  const auto take = [this, room](db::Tx& tx) {
    return ledger::TakeCommands(tx, parts_.clock.Now(), parts_.lease.lease, room);
  };
  const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
  PTG_CO_TRY(std::vector<Command> commands, co_await parts_.database.Write(take, by));
  // What is under way here is kept, and not begun again: a store that hung may have let its lease
  // run out.
  std::erase_if(commands,
                [this](const Command& command) { return !under_way_.insert(command.id).second; });
  if (!stopped_) {
    for (Command& command : commands) {
      Loop::Current()->Spawn(Do(std::move(command)), "sales.command");
    }
    co_return commands.size();
  }
  // The stop came while they were being taken.
  const Result<> given = co_await GiveBack();
  for (const Command& command : commands) under_way_.erase(command.id);
  if (!given) co_return Fail(given.error());
  co_return 0;
}

Task<> CommandWorker::Do(Command command) {
  const Keep keep = [id = command.id](db::Tx& tx, UnixMs until) {
    return ledger::KeepCommand(tx, id, until);
  };
  Result<> done;
  {
    const Fork keeping(
        KeepLease(parts_.database, parts_.clock, parts_.lease, stopped_, [&keep] { return keep; }));
    PTG_KILL_POINT("command_taken");
    const Deadline by = Deadline::In(parts_.clock, kCommandTimeout);
    done = co_await Handle(command, by);
  }
  // What is given back is tried again by another one.
  if (!done && !stopped_) done = co_await Failed(command, done.error());
  // It is due again when its lease ends.
  if (!done && !stopped_) {
    Log(LogLevel::kWarn, "sales.commands_unread", {{"detail", done.error().detail()}});
  }
  under_way_.erase(command.id);
  ended_.Set();
  co_return {};
}

Task<> CommandWorker::GiveBack() {
  stopped_ = true;
  const std::set<std::string> ids = under_way_;
  if (ids.empty()) co_return {};
  const UnixMs now = parts_.clock.Now();
  const auto give = [&ids, now](db::Tx& tx) -> Result<> {
    for (const std::string& id : ids) PTG_RUN(ledger::KeepCommand(tx, id, now));
    return {};
  };
  co_return co_await parts_.database.Write(give, Deadline::In(parts_.clock, kStoreTimeout));
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
  const bool later = again && command.attempts < kMostTries;
  const std::string outcome = codec::ToString(problem::ToJson(error));
  const auto end = [&command, &error, &outcome, again, later, now](db::Tx& tx) -> Result<bool> {
    // Somebody else who has taken it meanwhile knows better what it comes to.
    PTG_TRY(const std::optional<Command> is, ledger::FindCommand(tx, command.id));
    if (!is || is->over() || is->attempts != command.attempts) return false;
    PTG_TRY(const auto refund, license::FindRefundByCommand(tx, command.id));
    // Stripe has told us by an event that it has it.
    const bool taken = refund && refund->state == "pending";
    if (later || taken) {
      const UnixMs next = now + PauseOf(command.attempts);
      PTG_RUN(ledger::CommandLater(tx, command.id, error.detail(), next, now));
      return false;
    }
    const CommandState state = again ? CommandState::kParked : CommandState::kFailed;
    PTG_RUN(ledger::CommandEnded(tx, command.id, state, outcome, "", now));
    // A refund whose end nobody knows stays open: a person looks, and no second one begins.
    if (!again && refund) PTG_RUN(license::EndRefund(tx, refund->id, "failed", now));
    PTG_RUN(ledger::AppendAudit(tx, AuditOf(command, ledger::ToString(state), "", outcome), now));
    return true;
  };
  PTG_CO_TRY(const bool ended, co_await parts_.database.Write(end, by));
  if (ended) failed_.Add();
  co_return {};
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
  if (const std::string email = license::NormalEmail(asked.Text("email")); !email.empty()) {
    if (const auto good = mail::CheckMailbox(email); !good) {
      co_return Fail(
          Error(Code::kBadRequest, good.error().detail()).At("/email").Want("name@example.com"));
    }
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
      const auto lease = [this, purchase, owner, now](db::Tx& tx) {
        return LeasePurchase(tx, purchase, owner, now, parts_.lease.lease);
      };
      PTG_CO_TRY(ours, co_await parts_.database.Write(lease, by));
    }
    if (!ours) co_return Fail(Busy());
  }
  const auto apply = [this, &command, &change, &purchase, &owner](db::Tx& tx) -> Result<> {
    const UnixMs now = parts_.clock.Now();
    if (!purchase.empty()) {
      // The store may have taken longer than the lease.
      PTG_TRY(const bool still, KeepPurchase(tx, purchase, owner, now + parts_.lease.lease));
      if (!still) return Fail(Busy());
    }
    PTG_TRY(License l, FindToWrite(tx, command.subject));
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
    if (license::StatusAt(l, now) == Status::kExpired) {
      return Fail(Error(Code::kConflict, "the license is over: another text would open nothing")
                      .Want("a license that is not over; extend it first"));
    }
    license::Replace(l, now, Millis(asked.Int("overlap_s") * 1'000));
    l.reason = asked.Text("reason");
    Effect effect{.outcome = LicenseOutcome(l, now), .secret = parts_.fulfilment.TextOf(l)};
    if (!l.email.empty() && asked.Is("mail")) {
      PTG_TRY(mail::LicenseGiven given,
              GiveByMail(tx, parts_.shop, l, effect.secret, now, parts_.rng));
      const mail::Mail letter = mail::WriteReissue(
          parts_.shop.seller, {.given = std::move(given), .old_until = std::max(now, l.old_until)});
      const Result<bool> enqueued =
          mail::Enqueue(tx, NewIdText("mail", parts_.clock, parts_.rng), letter, l.id, now);
      if (!enqueued && enqueued.error().code() == Code::kBadRequest) {
        return Fail(Error(Code::kBadRequest, "no mail can be sent to the buyer's address")
                        .At("/mail")
                        .Want("false"));
      }
      PTG_RUN(enqueued);
    }
    return effect;
  };
  co_return co_await ChangeLicense(command, change, by);
}

Task<> CommandWorker::Extend(const Command& command, Deadline by) {
  const Payload asked = PayloadOf(command);
  const Change change = [&asked](db::Tx&, License& l, UnixMs now) -> Result<Effect> {
    if (l.status == Status::kRevoked) return Fail(Code::kConflict, "the license is revoked");
    // Days on days are counted from the same end.
    const bool again = l.extended == l.expires && l.extended > now;
    if (!again) l.extended_end = l.expires;
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
    PTG_TRY(const bool ended,
            ledger::CommandEnded(tx, command.id, CommandState::kDone, outcome, "", now));
    if (!ended) return Fail(Code::kConflict, "the command was done before");
    PTG_RUN(ledger::AppendAudit(tx, AuditOf(command, "done", "", outcome), now));
    return {};
  };
  if (parts_.worker == nullptr) co_return Fail(NoStripe());
  PTG_CO_RUN(co_await parts_.database.Write(again, by));
  done_.Add();
  co_return {};
}

// What became of a mail that was to be tried again.
Result<Json> CommandWorker::SendAgain(db::Tx& tx, const Command& command) const {
  const UnixMs now = parts_.clock.Now();
  PTG_TRY(const auto mail, license::ReadMailRow(tx, command.subject));
  if (!mail) return Fail(Code::kNotFound, "there is no mail " + command.subject);
  const bool allow = PayloadOf(command).Is("allow") && !mail->suppressed.empty();
  if (allow) PTG_RUN(mail::Unsuppress(tx, mail->recipient));
  Json outcome = Json::Object({{"id", mail->id}, {"state", mail->state}});
  if (allow) outcome.Set("allowed", mail->recipient);
  if (!mail->suppressed.empty() && !allow) {
    return Fail(Code::kConflict, "nobody writes to this address any more");
  }
  const bool brings = license::BringsLicense(mail->kind);
  std::optional<License> of;
  if (brings) {
    PTG_TRY(of, license::FindLicense(tx, mail->license));
  }
  // Its text may have been replaced since it was written.
  const bool replaced =
      of && (mail->generation > 0 ? mail->generation < of->generation : mail->created < of->issued);
  if (mail->state == "dead" && brings && (!of || !license::Opens(license::StatusAt(*of, now)))) {
    return Fail(Code::kConflict, "the license in it opens nothing any more");
  }
  if (mail->state == "dead" && !replaced) {
    PTG_TRY(const bool found, mail::SendAgain(tx, mail->id, now));
    if (found) outcome.Set("state", "queued");
    return outcome;
  }
  // What was in it is forgotten: its license is written to him once more, if it opens anything.
  const bool anew =
      mail->state == "suppressed" || mail->state == "bounced" || mail->state == "dead";
  if (!anew || !brings) return outcome;
  if (!of || !license::Opens(license::StatusAt(*of, now)) || of->email.empty()) return outcome;
  PTG_TRY(const std::optional<Purchase> bought, FindPurchase(tx, PurchaseOf(*of)));
  PTG_RUN(parts_.fulfilment.EnqueueLicense(tx, *of, bought ? bought->invoice_url : "",
                                           bought ? bought->invoice_pdf : "",
                                           "again:" + command.id));
  outcome.Set("sent_again", of->id);
  return outcome;
}

Task<> CommandWorker::Retry(const Command& command, Deadline by) {
  const auto again = [this, &command](db::Tx& tx) -> Result<> {
    PTG_TRY(const Json done, SendAgain(tx, command));
    const UnixMs now = parts_.clock.Now();
    const std::string outcome = codec::ToString(done);
    PTG_TRY(const bool ended,
            ledger::CommandEnded(tx, command.id, CommandState::kDone, outcome, "", now));
    if (!ended) return Fail(Code::kConflict, "the command was done before");
    PTG_RUN(ledger::AppendAudit(tx, AuditOf(command, "done", "", outcome), now));
    return {};
  };
  PTG_CO_RUN(co_await parts_.database.Write(again, by));
  done_.Add();
  co_return {};
}

}  // namespace pontage::sales
