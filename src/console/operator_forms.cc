// What the forms of the operator's pages order.
#include <algorithm>
#include <charconv>
#include <utility>

#include "base/try.h"
#include "codec/text.h"
#include "console/operator_pages.h"
#include "console/pages.h"
#include "wire/stripe/values.h"

namespace pontage::console {
namespace {

Result<int64_t> DaysOf(std::string_view text) {
  int64_t days = 0;
  const auto [at, fault] = std::from_chars(text.data(), text.data() + text.size(), days);
  if (fault == std::errc() && at == text.data() + text.size() && days > 0) return days;
  return Fail(Error(Code::kBadRequest, "this is no number of days")
                  .At("/days")
                  .Want("a whole number, 1 or above"));
}

// Every order leads to its own page.
Task<web::Answer> Ordered(Task<Done> order) {
  PTG_CO_TRY(const Done done, co_await std::move(order));
  if (done.failure) co_return Fail(*done.failure);
  co_return LeadTo(Url({"admin", "commands", done.command.id}));
}

}  // namespace

Result<int64_t> ParseAmount(std::string_view text, std::string_view currency) {
  std::string_view rest = codec::Trimmed(text);
  for (const std::string_view sign : {"$", "€", "£", "¥"}) {
    if (rest.starts_with(sign)) rest.remove_prefix(sign.size());
  }
  const auto decimals = static_cast<size_t>(stripe::DecimalsOf(currency));
  const size_t dot = rest.find('.');
  const std::string_view fraction = dot == rest.npos ? std::string_view() : rest.substr(dot + 1);
  std::string digits(rest.substr(0, dot));
  const bool whole =
      !digits.empty() && fraction.size() <= decimals && (dot == rest.npos || !fraction.empty());
  digits += fraction;
  digits.append(decimals - std::min(decimals, fraction.size()), '0');
  int64_t value = 0;
  const auto [at, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (whole && fault == std::errc() && at == digits.data() + digits.size() && value > 0 &&
      digits.front() != '-') {
    return value;
  }
  return Fail(Error(Code::kBadRequest, "this is no amount")
                  .At("/amount")
                  .Want(decimals == 0 ? "a whole number, like 2900" : "a number, like 29.00"));
}

Task<web::Answer> OperatorPages::Issue(Call call) {
  IssueAsk ask{.plan = std::string(call.query.Get("plan")),
               .customer = std::string(codec::Trimmed(call.query.Get("customer"))),
               .email = std::string(codec::Trimmed(call.query.Get("email"))),
               .reason = std::string(codec::Trimmed(call.query.Get("reason"))),
               .mail = call.query.Get("mail") == "yes"};
  if (const std::string_view days = call.query.Get("days"); !days.empty()) {
    PTG_CO_TRY(ask.days, DaysOf(days));
  }
  co_return co_await Ordered(parts_.verbs.Issue(std::move(call.who), std::move(ask), call.by));
}

Task<web::Answer> OperatorPages::Extend(Call call) {
  PTG_CO_TRY(const int64_t days, DaysOf(call.query.Get("days")));
  std::string reason(codec::Trimmed(call.query.Get("reason")));
  co_return co_await Ordered(parts_.verbs.Extend(std::move(call.who), std::move(call.id), days,
                                                 std::move(reason), call.by));
}

Task<web::Answer> OperatorPages::Reissue(Call call) {
  ReissueAsk ask{.reason = std::string(codec::Trimmed(call.query.Get("reason"))),
                 .mail = call.query.Get("mail") == "yes",
                 .overlap = std::string(call.query.Get("overlap"))};
  co_return co_await Ordered(
      parts_.verbs.Reissue(std::move(call.who), std::move(call.id), std::move(ask), call.by));
}

Task<web::Answer> OperatorPages::Revoke(Call call) {
  if (codec::AsciiLower(codec::Trimmed(call.query.Get("confirm"))) != "revoke") {
    co_return Fail(Error(Code::kBadRequest, "nothing was revoked: it was not confirmed")
                       .At("/confirm")
                       .Want("the word revoke"));
  }
  std::string reason(codec::Trimmed(call.query.Get("reason")));
  co_return co_await Ordered(
      parts_.verbs.Revoke(std::move(call.who), std::move(call.id), std::move(reason), call.by));
}

Task<web::Answer> OperatorPages::Refund(Call call) {
  const std::string currency(call.query.Get("currency"));
  const std::string amount(codec::Trimmed(call.query.Get("amount")));
  const std::string confirm = codec::AsciiLower(codec::Trimmed(call.query.Get("confirm")));
  RefundAsk ask{.amount = std::nullopt,
                .reason = std::string(codec::Trimmed(call.query.Get("reason"))),
                .cancel = call.query.Get("cancel") == "yes"};
  bool confirmed = confirm == "all";
  if (!amount.empty()) {
    PTG_CO_TRY(ask.amount, ParseAmount(amount, currency));
    const Result<int64_t> again = ParseAmount(confirm, currency);
    confirmed = again && *again == *ask.amount;
  }
  if (!confirmed) {
    co_return Fail(Error(Code::kBadRequest, "nothing was paid back: it was not confirmed")
                       .At("/confirm")
                       .Want(amount.empty()
                                 ? "the word all, since the amount was left empty"
                                 : "the same amount once more: " + Amount(*ask.amount, currency)));
  }
  co_return co_await Ordered(
      parts_.verbs.Refund(std::move(call.who), std::move(call.id), std::move(ask), call.by));
}

Task<web::Answer> OperatorPages::Rerun(Call call) {
  std::string reason(codec::Trimmed(call.query.Get("reason")));
  co_return co_await Ordered(
      parts_.verbs.RerunEvent(std::move(call.who), std::move(call.id), std::move(reason), call.by));
}

Task<web::Answer> OperatorPages::Retry(Call call) {
  RetryAsk ask{.reason = std::string(codec::Trimmed(call.query.Get("reason"))),
               .allow = call.query.Get("allow") == "yes"};
  co_return co_await Ordered(
      parts_.verbs.RetryMail(std::move(call.who), std::move(call.id), std::move(ask), call.by));
}

}  // namespace pontage::console
