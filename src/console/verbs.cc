#include "console/verbs.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "codec/text.h"
#include "io/timer.h"
#include "ledger/audit.h"
#include "license/license_store.h"
#include "license/refund_store.h"
#include "license/sales_books.h"
#include "wire/problem/error_map.h"

namespace pontage::console {
namespace {

using codec::Json;
using ledger::Command;
using ledger::CommandState;
using license::License;

constexpr Millis kPoll{60};
constexpr size_t kMostName = license::kMostCustomer;  // of a plan, an address
constexpr Millis kDay{86'400'000};

Result<> CheckWho(const Who& who) {
  const std::string& key = who.idempotency_key;
  const bool printable = std::ranges::all_of(key, [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!key.empty() && key.size() <= ledger::kMaxIdempotencyKey && printable) return {};
  return Fail(Error(Code::kBadRequest,
                    key.empty() ? "there is no Idempotency-Key" : "no key that can be kept")
                  .At("/idempotency-key")
                  .Want("Idempotency-Key: 1 to 255 printable ASCII characters, new for each thing "
                        "that is to be done"));
}

Result<> CheckReason(const std::string& reason, bool wanted) {
  if ((!reason.empty() || !wanted) && reason.size() <= Verbs::kMostReason &&
      codec::IsLine(reason)) {
    return {};
  }
  return Fail(Error(Code::kBadRequest, reason.empty() ? "a reason is missing" : "no such reason")
                  .At("/reason")
                  .Want("a line of at most " + std::to_string(Verbs::kMostReason) + " characters"));
}

Result<> CheckName(const std::string& text, std::string_view pointer, bool wanted) {
  if ((!text.empty() || !wanted) && text.size() <= kMostName && codec::IsLine(text)) return {};
  return Fail(Error(Code::kBadRequest, text.empty() ? "this is missing" : "no such text")
                  .At(std::string(pointer))
                  .Want("a line of at most " + std::to_string(kMostName) + " characters"));
}

Result<> CheckDays(int64_t days, int64_t least) {
  if (days >= least && days <= Verbs::kMostDays) return {};
  return Fail(Error(Code::kBadRequest, "no such number of days")
                  .At("/days")
                  .Want(std::to_string(least) + " to " + std::to_string(Verbs::kMostDays)));
}

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

Result<> MustNotBeRevoked(db::Tx& tx, const std::string& id) {
  PTG_TRY(const License l, FindIt(tx, id));
  if (l.status != license::Status::kRevoked) return {};
  return Fail(Code::kConflict, "the license is revoked");
}

// Whether a mail can be tried again.
Result<> CheckRetry(const license::MailRow& mail, bool allow) {
  const bool came_back = mail.state == "suppressed" || mail.state == "bounced";
  if (mail.state != "dead" && !came_back) {
    return Fail(Code::kConflict,
                "only what did not reach its reader can be sent again; this mail is " + mail.state);
  }
  if (!mail.suppressed.empty() && !allow) {
    return Fail(Error(Code::kConflict, "nobody writes to this address any more: " + mail.suppressed)
                    .At("/allow")
                    .Want("true, if it is to be written to again"));
  }
  if (mail.suppressed.empty() && came_back && !license::BringsLicense(mail.kind)) {
    return Fail(Code::kConflict, "what it said is gone: only a license is mailed again");
  }
  return {};
}

std::string MailText(const license::MailRow& mail) {
  return codec::ToString(Json::Object({{"state", mail.state}, {"suppressed", mail.suppressed}}));
}

// The purchase that it was paid with; empty: the operator gave it.
std::string PurchaseOf(const License& l) {
  constexpr std::string_view kSession = "session:";
  if (!l.subscription.empty()) return l.subscription;
  return l.origin.starts_with(kSession) ? l.origin.substr(kSession.size()) : std::string();
}

// What the worker found, as it said it.
Error ErrorOf(const Command& command) {
  const Result<Json> json = codec::ParseJson(command.outcome);
  const auto text = [&json](std::string_view key) -> std::string {
    const Json* value = json ? json->Find(key) : nullptr;
    const std::string* found = value == nullptr ? nullptr : value->AsString();
    return found == nullptr ? std::string() : *found;
  };
  const auto* const row =
      std::ranges::find(problem::begin(), problem::end(), text("code"), &problem::Row::slug);
  const Code code = row == problem::end() ? Code::kInternal : row->code;
  std::string detail = text("detail");
  if (command.state == CommandState::kParked) detail = "tried too often: " + detail;
  return Error(code, std::move(detail)).At(text("pointer")).Want(text("expected"));
}

}  // namespace

Task<Done> Verbs::Order(Who who, Plan plan, Deadline by) {
  PTG_CO_RUN(CheckWho(who));
  Command wanted;
  wanted.id = NewIdText("cmd", parts_.clock, parts_.rng);
  wanted.verb = plan.verb;
  wanted.subject = plan.subject;
  if (!plan.reason.empty()) plan.payload.Set("reason", plan.reason);
  wanted.payload = codec::ToString(plan.payload);
  plan.asked.Set("reason", plan.reason);
  wanted.asked = codec::ToString(plan.asked);
  wanted.actor = who.actor;
  wanted.request_id = who.request_id;
  wanted.idempotency_key = who.idempotency_key;
  struct Written {
    ledger::Ordered ordered;
    std::optional<ledger::AuditRow> audit;
  };
  const auto order = [this, &wanted, &plan](db::Tx& tx) -> Result<Written> {
    const UnixMs now = parts_.clock.Now();
    // What was asked before is answered as it was, whatever has become of its subject since.
    PTG_TRY(std::optional<Command> there, ledger::FindOrdered(tx, wanted));
    if (there) return Written{{*std::move(there), true}, std::nullopt};
    Command command = wanted;
    std::string before;
    if (plan.check) PTG_RUN(plan.check(tx, command, before, now));
    PTG_TRY(ledger::Ordered ordered, ledger::OrderCommand(tx, command, now));
    // Somebody asked the same in this very moment: his is the one, and what `check` did goes with
    // this transaction.
    if (ordered.again) return Fail(Code::kOverloaded, "the same is being asked just now");
    if (plan.more) PTG_RUN(plan.more(tx, command, now));
    ledger::AuditEntry entry;
    entry.actor = command.actor;
    entry.verb = command.verb;
    entry.subject = command.subject;
    entry.before = std::move(before);
    entry.after = command.over() ? command.outcome : command.payload;
    entry.reason = plan.reason;
    entry.request_id = command.request_id;
    PTG_TRY(ledger::AuditRow row, ledger::AppendAudit(tx, std::move(entry), now));
    return Written{std::move(ordered), std::move(row)};
  };
  Result<Written> written = co_await parts_.sales.Write(order, by);
  for (int i = 0; i < 3 && !written && written.error().code() == Code::kOverloaded; ++i) {
    PTG_CO_RUN(co_await Sleep(kPoll));
    written = co_await parts_.sales.Write(order, by);
  }
  if (!written) co_return Fail(written.error());
  if (written->audit) {
    const ledger::AuditRow& row = *written->audit;
    Log(LogLevel::kInfo, "console.audit",
        {{"seq", row.seq},
         {"actor", row.entry.actor},
         {"verb", row.entry.verb},
         {"subject", row.entry.subject},
         {"hash", row.hash}});
  }
  ledger::Ordered ordered = std::move(written->ordered);
  co_return co_await Finish(std::move(ordered.command), ordered.again, by);
}

Task<> Verbs::TellLogin(std::string actor, std::string client, Deadline by) {
  ledger::AuditEntry entry;
  entry.actor = actor;
  entry.verb = "console.login";
  entry.subject = actor;
  entry.after = codec::ToString(Json::Object({{"client", client}}));
  const UnixMs now = parts_.clock.Now();
  const auto write = [&](db::Tx& tx) -> Result<> {
    PTG_RUN(ledger::AppendAudit(tx, entry, now));
    return {};
  };
  co_return co_await parts_.sales.Write(write, by);
}

Task<Done> Verbs::Finish(Command command, bool again, Deadline by) {
  const Deadline until = std::min(Deadline::In(parts_.clock, parts_.wait), by,
                                  [](auto a, auto b) { return a.at() < b.at(); });
  // Of money at Stripe the end may take days; that it is on its way is the answer.
  const auto answers = [](const Command& c) {
    return c.over() || c.state == CommandState::kPending;
  };
  while (!answers(command) && !until.Passed(parts_.clock)) {
    PTG_CO_RUN(co_await Sleep(kPoll));
    const std::string id = command.id;
    const auto read = [&id](db::Tx& tx) { return ledger::FindCommand(tx, id); };
    const Result<std::optional<Command>> found = co_await parts_.sales.Read(read, by);
    // It is written down: who asks again hears what became of it.
    if (found && *found) command = **found;
  }
  const bool failed =
      command.state == CommandState::kFailed || command.state == CommandState::kParked;
  Done done{.command = std::move(command), .result = Json::Object(), .again = again};
  if (failed) {
    done.failure = ErrorOf(done.command);
    co_return done;
  }
  if (!done.command.outcome.empty()) {
    if (Result<Json> json = codec::ParseJson(done.command.outcome)) done.result = *std::move(json);
  }
  if (!done.command.secret.empty()) done.result.Set("text", done.command.secret);
  co_return done;
}

Task<Done> Verbs::Issue(Who who, IssueAsk ask, Deadline by) {
  PTG_CO_RUN(CheckName(ask.plan, "/plan", true));
  if (!license::IsCustomer(ask.customer)) {
    co_return Fail(
        Error(Code::kBadRequest, ask.customer.empty() ? "this is missing" : "no such name")
            .At("/customer")
            .Want("a line of at most " + std::to_string(license::kMostCustomer) + " characters"));
  }
  PTG_CO_RUN(CheckName(ask.email, "/email", false));
  if (!ask.email.empty() && ask.email.find('@') == std::string::npos) {
    co_return Fail(Error(Code::kBadRequest, "no address").At("/email").Want("name@example.com"));
  }
  PTG_CO_RUN(CheckDays(ask.days, 0));
  PTG_CO_RUN(CheckReason(ask.reason, false));
  Plan plan;
  plan.verb = "license.issue";
  plan.subject = NewIdText("lic", parts_.clock, parts_.rng);
  plan.asked = Json::Object({{"plan", ask.plan},
                             {"customer", ask.customer},
                             {"email", license::NormalEmail(ask.email)},
                             {"days", ask.days},
                             {"mail", ask.mail}});
  plan.payload = plan.asked;
  plan.reason = ask.reason;
  co_return co_await Order(std::move(who), std::move(plan), by);
}

Task<Done> Verbs::Reissue(Who who, std::string license, ReissueAsk ask, Deadline by) {
  PTG_CO_RUN(CheckReason(ask.reason, false));
  PTG_CO_TRY(const Millis overlap, license::ParseOverlap(ask.overlap));
  Plan plan;
  plan.verb = "license.reissue";
  plan.subject = license;
  plan.asked = Json::Object(
      {{"license", license}, {"mail", ask.mail}, {"overlap_s", overlap.count() / 1'000}});
  plan.payload = plan.asked;
  plan.reason = std::move(ask.reason);
  plan.check = [license](db::Tx& tx, Command&, std::string&, UnixMs) {
    return MustNotBeRevoked(tx, license);
  };
  co_return co_await Order(std::move(who), std::move(plan), by);
}

Task<Done> Verbs::Revoke(Who who, std::string license, std::string reason, Deadline by) {
  PTG_CO_RUN(CheckReason(reason, false));
  Plan plan;
  plan.verb = "license.revoke";
  plan.subject = license;
  plan.asked = Json::Object({{"license", license}});
  plan.payload = plan.asked;
  plan.reason = reason;
  plan.check = [license, reason](db::Tx& tx, Command& command, std::string& before,
                                 UnixMs now) -> Result<> {
    PTG_TRY(License l, FindToWrite(tx, license));
    before = license::AuditText(l);
    l.status = license::Status::kRevoked;
    l.revoked_by = "operator";
    l.reason = reason;
    PTG_RUN(license::UpdateLicense(tx, l, now));
    command.state = CommandState::kDone;
    command.outcome = codec::ToString(Json::Object({{"license", license::ToJson(l, now)}}));
    return {};
  };
  co_return co_await Order(std::move(who), std::move(plan), by);
}

Task<Done> Verbs::Extend(Who who, std::string license, int64_t days, std::string reason,
                         Deadline by) {
  PTG_CO_RUN(CheckDays(days, 1));
  PTG_CO_RUN(CheckReason(reason, true));
  Plan plan;
  plan.verb = "license.extend";
  plan.subject = license;
  plan.asked = Json::Object({{"license", license}, {"days", days}});
  plan.payload = plan.asked;
  plan.reason = std::move(reason);
  plan.check = [license](db::Tx& tx, Command&, std::string&, UnixMs) {
    return MustNotBeRevoked(tx, license);
  };
  co_return co_await Order(std::move(who), std::move(plan), by);
}

Task<Done> Verbs::Refund(Who who, std::string license, RefundAsk ask, Deadline by) {
  if (ask.amount && *ask.amount <= 0) {
    co_return Fail(Error(Code::kBadRequest, "no amount that can be given back")
                       .At("/amount")
                       .Want("more than 0, or no amount for all that is left"));
  }
  PTG_CO_RUN(CheckReason(ask.reason, true));
  Plan plan;
  plan.verb = "license.refund";
  plan.subject = license;
  plan.asked = Json::Object({{"license", license}});
  if (ask.amount) plan.asked.Set("amount", *ask.amount);
  if (!ask.currency.empty()) plan.asked.Set("currency", ask.currency);
  if (ask.cancel) plan.asked.Set("cancel", true);
  plan.payload = plan.asked;
  plan.payload.Set("most_a_day", parts_.limits.refund_amount_per_day);
  plan.reason = ask.reason;
  auto refund = std::make_shared<license::Refund>();
  refund->id = NewIdText("rfd", parts_.clock, parts_.rng);
  refund->license = license;
  refund->amount = ask.amount.value_or(0);
  refund->reason = ask.reason;
  refund->actor = who.actor;
  const int64_t most = parts_.limits.refunds_per_day;
  const bool cancel = ask.cancel;
  plan.check = [license, refund, most, cancel](db::Tx& tx, Command& command, std::string&,
                                               UnixMs now) -> Result<> {
    PTG_TRY(const License l, FindIt(tx, license));
    if (cancel && l.subscription.empty()) {
      return Fail(Error(Code::kBadRequest, "this license has no subscription that could end")
                      .At("/cancel")
                      .Want("false, or nothing"));
    }
    refund->purchase = PurchaseOf(l);
    refund->command = command.id;
    if (refund->purchase.empty()) {
      return Fail(Code::kConflict, "nothing was paid for this license: the operator gave it");
    }
    PTG_TRY(const license::RefundTotals day, license::RefundsSince(tx, now - kDay, ""));
    if (day.count < most) return {};
    return Fail(Error(Code::kForbidden, "no more refunds today")
                    .Want("tomorrow, or a greater console.refunds_per_day"));
  };
  plan.more = [refund](db::Tx& tx, const Command&, UnixMs now) {
    return license::RequestRefund(tx, *refund, now);
  };
  co_return co_await Order(std::move(who), std::move(plan), by);
}

Task<Done> Verbs::RerunEvent(Who who, std::string event, std::string reason, Deadline by) {
  PTG_CO_RUN(CheckReason(reason, false));
  Plan plan;
  plan.verb = "event.rerun";
  plan.subject = event;
  plan.asked = Json::Object({{"event", event}});
  plan.payload = plan.asked;
  plan.reason = std::move(reason);
  plan.check = [event](db::Tx& tx, Command&, std::string&, UnixMs) -> Result<> {
    PTG_TRY(const auto found, license::ReadEvent(tx, event));
    if (!found) return Fail(Code::kNotFound, "there is no event " + event);
    return {};
  };
  co_return co_await Order(std::move(who), std::move(plan), by);
}

Task<Done> Verbs::RetryMail(Who who, std::string mail, RetryAsk ask, Deadline by) {
  PTG_CO_RUN(CheckReason(ask.reason, false));
  Plan plan;
  plan.verb = "mail.retry";
  plan.subject = mail;
  plan.asked = Json::Object({{"mail", mail}});
  if (ask.allow) plan.asked.Set("allow", true);
  plan.payload = plan.asked;
  plan.reason = std::move(ask.reason);
  plan.check = [mail, allow = ask.allow](db::Tx& tx, Command&, std::string& before,
                                         UnixMs) -> Result<> {
    PTG_TRY(const auto found, license::ReadMailRow(tx, mail));
    if (!found) return Fail(Code::kNotFound, "there is no mail " + mail);
    before = MailText(*found);
    return CheckRetry(*found, allow);
  };
  co_return co_await Order(std::move(who), std::move(plan), by);
}

Task<Done> Verbs::Wait(std::string command, Deadline by) {
  const auto read = [&command](db::Tx& tx) { return ledger::FindCommand(tx, command); };
  PTG_CO_TRY(std::optional<Command> found, co_await parts_.sales.Read(read, by));
  if (!found) co_return Fail(Code::kNotFound, "there is no command " + command);
  co_return co_await Finish(*std::move(found), true, by);
}

}  // namespace pontage::console
