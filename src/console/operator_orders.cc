// What the operator's API orders, and what it says of it.
#include <utility>

#include "base/money.h"
#include "base/try.h"
#include "console/operator_api.h"
#include "wire/stripe/values.h"

namespace pontage::console {
namespace {

using codec::Json;
using web::Answer;

// {"license": {…}} as the members themselves, "text" as "license", as `pontage license` prints it.
Json Flat(const Done& done) {
  Json out = Json::Object();
  if (const Json* text = done.result.Find("text")) out.Set("license", *text);
  for (const std::string_view whole : {"license", "refund"}) {
    const Json* object = done.result.Find(whole);
    if (object == nullptr || object->AsObject() == nullptr) continue;
    for (const codec::JsonMember& member : *object->AsObject()) out.Set(member.key, member.value);
  }
  for (const std::string_view one : {"id", "state", "allowed", "sent_again"}) {
    const Json* value = done.result.Find(one);
    if (value != nullptr) out.Set(std::string(one), *value);
  }
  out.Set("command", done.command.id);
  return out;
}

// What became of a verb that did not fail. 202 while nobody has begun with it.
Answer GoodAnswer(const Done& done) {
  const bool begun = done.command.over() || done.command.state == ledger::CommandState::kPending;
  Json json = Flat(done);
  if (!begun) json.Set("state", ledger::ToString(done.command.state));
  Answer answer = web::JsonAnswer(json);
  if (!begun) answer.status = 202;
  if (!done.command.over()) {
    answer.headers.emplace_back("Location",
                                std::string(OperatorApi::kRoot) + "/commands/" + done.command.id);
  }
  return answer;
}

Answer DoneAnswer(const Done& done) {
  Answer answer = done.failure ? web::ProblemAnswer(*done.failure) : GoodAnswer(done);
  if (done.again) answer.headers.emplace_back("Idempotent-Replayed", "true");
  return answer;
}

Task<Answer> AnswerOf(Task<Done> doing) {
  PTG_CO_TRY(const Done done, co_await std::move(doing));
  co_return DoneAnswer(done);
}

// An amount of a refund: in the currency's smallest unit as a number, as Stripe has it, or in
// dollars as text, "$5.00", which is then no amount of another currency.
Result<> ReadAmount(const Json& body, RefundAsk& ask) {
  const Json* value = body.Find("amount");
  if (value == nullptr || value->IsNull()) return {};
  ask.amount = value->AsInt64();
  if (ask.amount) return {};
  if (const std::string* text = value->AsString()) {
    const Result<Money> dollars = ParseMoney(*text);
    if (dollars) {
      const auto cents = stripe::CentsOf(*dollars);
      if (cents) {
        ask.amount = cents->count();
        ask.currency = "usd";
        return {};
      }
    }
  }
  return Fail(Error(Code::kBadRequest, "no amount")
                  .At("/amount")
                  .Want("500 (of the smallest unit), \"$5.00\", or nothing for all that is left"));
}

}  // namespace

Task<Answer> OperatorApi::Issue(Call call) {
  PTG_CO_RUN(call.Knows({"plan", "customer", "email", "days", "reason", "mail"}));
  IssueAsk ask;
  PTG_CO_TRY(ask.plan, call.Text("plan"));
  PTG_CO_TRY(ask.customer, call.Text("customer"));
  PTG_CO_TRY(ask.email, call.Text("email"));
  PTG_CO_TRY(ask.days, call.Int("days"));
  PTG_CO_TRY(ask.reason, call.Text("reason"));
  PTG_CO_TRY(ask.mail, call.Bool("mail", true));
  co_return co_await AnswerOf(parts_.verbs.Issue(call.who(), std::move(ask), call.by));
}

Task<Answer> OperatorApi::Revoke(Call call) {
  PTG_CO_RUN(call.Knows({"reason"}));
  PTG_CO_TRY(std::string reason, call.Text("reason"));
  co_return co_await AnswerOf(parts_.verbs.Revoke(call.who(), call.id, std::move(reason), call.by));
}

Task<Answer> OperatorApi::Reissue(Call call) {
  PTG_CO_RUN(call.Knows({"reason", "mail", "overlap"}));
  ReissueAsk ask;
  PTG_CO_TRY(ask.reason, call.Text("reason"));
  PTG_CO_TRY(ask.mail, call.Bool("mail", true));
  PTG_CO_TRY(ask.overlap, call.Text("overlap"));
  co_return co_await AnswerOf(parts_.verbs.Reissue(call.who(), call.id, std::move(ask), call.by));
}

Task<Answer> OperatorApi::Extend(Call call) {
  PTG_CO_RUN(call.Knows({"days", "reason"}));
  PTG_CO_TRY(const int64_t days, call.Int("days"));
  PTG_CO_TRY(std::string reason, call.Text("reason"));
  co_return co_await AnswerOf(
      parts_.verbs.Extend(call.who(), call.id, days, std::move(reason), call.by));
}

Task<Answer> OperatorApi::Refund(Call call) {
  PTG_CO_RUN(call.Knows({"amount", "reason", "cancel"}));
  RefundAsk ask;
  PTG_CO_RUN(ReadAmount(call.body, ask));
  PTG_CO_TRY(ask.cancel, call.Bool("cancel", false));
  PTG_CO_TRY(ask.reason, call.Text("reason"));
  co_return co_await AnswerOf(parts_.verbs.Refund(call.who(), call.id, std::move(ask), call.by));
}

Task<Answer> OperatorApi::Rerun(Call call) {
  PTG_CO_RUN(call.Knows({"reason"}));
  PTG_CO_TRY(std::string reason, call.Text("reason"));
  co_return co_await AnswerOf(
      parts_.verbs.RerunEvent(call.who(), call.id, std::move(reason), call.by));
}

Task<Answer> OperatorApi::Retry(Call call) {
  PTG_CO_RUN(call.Knows({"reason", "allow"}));
  RetryAsk ask;
  PTG_CO_TRY(ask.reason, call.Text("reason"));
  PTG_CO_TRY(ask.allow, call.Bool("allow", false));
  co_return co_await AnswerOf(parts_.verbs.RetryMail(call.who(), call.id, std::move(ask), call.by));
}

}  // namespace pontage::console
