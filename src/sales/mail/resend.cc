#include "sales/mail/resend.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "base/try.h"
#include "codec/json.h"
#include "io/timer.h"

namespace pontage::mail {
namespace {

using codec::Json;

// The longest that an answer may make us wait without being asked again.
constexpr Millis kLongestAfter{600'000};
// A quota of a day may be given back any hour; that of a month is looked at four times a day.
constexpr Millis kDailyQuota{3'600'000};
constexpr Millis kMonthlyQuota{21'600'000};
// For a place in the pace: who would have to wait longer comes again later.
constexpr Millis kLongestPlace{5'000};

Json ToJson(const Mail& mail) {
  Json json = Json::Object({{"from", mail.from},
                            {"to", Json::Array({mail.to})},
                            {"subject", mail.subject},
                            {"text", mail.text}});
  if (!mail.html.empty()) json.Set("html", mail.html);
  return json;
}

// Ids go into the books and the log.
bool IsId(std::string_view id) {
  constexpr size_t kMaxId = 100;
  return !id.empty() && id.size() <= kMaxId && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
}

std::optional<int64_t> Whole(std::optional<std::string_view> text) {
  if (!text) return std::nullopt;
  int64_t n = 0;
  const auto [end, fault] = std::from_chars(text->data(), text->data() + text->size(), n);
  if (fault != std::errc() || end != text->data() + text->size() || n < 0) return std::nullopt;
  return n;
}

std::string TextOf(const Json& json, std::string_view key) {
  const Json* const member = json.Find(key);
  const std::string* const text = member == nullptr ? nullptr : member->AsString();
  return text == nullptr ? "" : *text;
}

// Every id of a success; empty when one is missing.
std::vector<std::string> IdsOf(const Json& json) {
  std::vector<std::string> ids;
  const Json* const data = json.Find("data");
  if (data == nullptr || data->AsArray() == nullptr) {
    ids.push_back(TextOf(json, "id"));
  } else {
    for (const Json& one : *data->AsArray()) ids.push_back(TextOf(one, "id"));
  }
  if (!std::ranges::all_of(ids, IsId)) ids.clear();
  return ids;
}

struct Meaning {
  Outcome outcome;
  bool untaken;
  Millis after{0};
};

// Resend's names for faults; where it has none for us, the status decides.
Meaning MeaningOf(int status, std::string_view name) {
  if (name == "daily_quota_exceeded") return {Outcome::kPark, true, kDailyQuota};
  if (name == "monthly_quota_exceeded") return {Outcome::kPark, true, kMonthlyQuota};
  if (status == 429) return {Outcome::kRetry, true, 1s};
  // The one before it is still at work, and may succeed.
  if (name == "concurrent_idempotent_requests") return {Outcome::kRetry, false, 1s};
  // The key was used for another text: a mail of this occasion has left, and a second must not.
  if (name == "invalid_idempotent_request") return {Outcome::kDead, false};
  if (status == 401 || status == 403) return {Outcome::kAlarm, true};
  // No such address of the API, or one that takes no POST: not the mail's fault.
  if (status == 404 || status == 405 || status == 451) return {Outcome::kAlarm, true};
  if (status == 408) return {Outcome::kRetry, false};
  if (status >= 400 && status < 500) return {Outcome::kDead, true};
  // A server that failed may have done it before; anything else is nobody's answer.
  return {Outcome::kRetry, false};
}

Attempt Unheard(const Error& error) {
  Attempt attempt;
  attempt.untaken = error.code() == Code::kUpstreamUnreachable;
  attempt.why = error.detail();
  return attempt;
}

}  // namespace

std::optional<Millis> SecondsOf(std::string_view text, Millis most) {
  const size_t point = std::min(text.find('.'), text.size());
  int64_t seconds = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + point, seconds);
  if (fault != std::errc() || end != text.data() + point || seconds < 0) return std::nullopt;
  const std::string_view rest = text.substr(point);
  if (rest.find_first_not_of(".0123456789") != std::string_view::npos) return std::nullopt;
  // A part of a second is waited for as a whole one.
  if (rest.find_first_of("123456789") != std::string_view::npos) ++seconds;
  return std::min(most, Millis(std::min<int64_t>(seconds, 1'000'000) * 1000));
}

Millis Pace::Take(SteadyMs now) {
  if (now >= window_end_) {
    window_end_ = now + kWindow;
    left_ = limit_;
  }
  if (left_ == 0) {
    window_end_ = window_end_ + kWindow;
    left_ = limit_;
  }
  --left_;
  const SteadyMs begin = std::max(window_end_ + -kWindow, closed_until_);
  return std::max(begin - now, Millis(0));
}

void Pace::Heard(int status, const net::Headers& headers, SteadyMs now) {
  constexpr int64_t kMostPerSecond = 50;
  const auto limit = Whole(headers.Get("ratelimit-limit"));
  const auto remaining = Whole(headers.Get("ratelimit-remaining"));
  const auto reset = SecondsOf(headers.Get("ratelimit-reset").value_or(""), kLongestAfter);
  // A limit for a longer window says nothing about a second.
  if (limit && reset && *reset <= kWindow) limit_ = std::clamp<int64_t>(*limit, 1, kMostPerSecond);
  if (remaining == 0 && reset) closed_until_ = std::max(closed_until_, now + *reset);
  if (status != 429) return;
  const auto after = SecondsOf(headers.Get("retry-after").value_or(""), kLongestAfter);
  closed_until_ = std::max(closed_until_, now + after.value_or(kWindow));
}

ResendAnswer ReadResendAnswer(int status, const net::Headers& headers, std::string_view body) {
  ResendAnswer answer;
  Attempt& attempt = answer.attempt;
  const Result<Json> json = codec::ParseJson(body);
  if (status >= 200 && status < 300) {
    if (json) answer.ids = IdsOf(*json);
    if (!answer.ids.empty()) {
      attempt.outcome = Outcome::kSent;
      attempt.provider_id = answer.ids.front();
      attempt.untaken = false;
      return answer;
    }
    // Taken, it seems; the same key will tell.
    attempt.untaken = false;
    attempt.why = std::to_string(status) + " without an id";
    return answer;
  }
  std::string name = json ? TextOf(*json, "name") : "";
  if (!IsId(name)) name.clear();
  const Meaning meaning = MeaningOf(status, name);
  attempt.outcome = meaning.outcome;
  attempt.untaken = meaning.untaken;
  attempt.after = meaning.after;
  attempt.why = std::to_string(status) + (name.empty() ? "" : " " + name);
  attempt.said = json ? Said(TextOf(*json, "message")) : Said(body);
  const auto after = SecondsOf(headers.Get("retry-after").value_or(""), kLongestAfter);
  if (after && attempt.outcome == Outcome::kRetry) attempt.after = *after;
  return answer;
}

Result<std::unique_ptr<Resend>> Resend::Make(ResendOptions options) {
  Result<net::Url> url = net::ParseUrl(options.api_base);
  if (!url) {
    return Fail(Error(Code::kConfig, "mail.api_base is no URL: " + url.error().detail())
                    .At("/mail/api_base")
                    .Want("https://api.resend.com"));
  }
  while (url->path.ends_with('/')) url->path.pop_back();
  return std::unique_ptr<Resend>(new Resend(*std::move(url), std::move(options)));
}

Task<ResendAnswer> Resend::Post(std::string_view path, std::string body, const std::string& key,
                                Deadline by) {
  const Clock& clock = Loop::Current()->clock();
  const Millis wait = pace_.Take(clock.Steady());
  if (wait > kLongestPlace || wait > by.Left(clock)) {
    ResendAnswer later;
    later.attempt.after = wait;
    later.attempt.why = "its rate limit is used up";
    co_return later;
  }
  if (wait > Millis(0)) PTG_CO_RUN(co_await Sleep(wait));
  net::RequestHead head;
  head.method = "POST";
  head.target = url_.path + std::string(path);
  head.headers.Add("Accept", "application/json");
  head.headers.Add("Content-Type", "application/json");
  head.headers.Add("User-Agent", "pontage/" + options_.version);
  head.headers.Add("Authorization", "Bearer " + std::string(options_.api_key.Reveal()));
  head.headers.Add("Idempotency-Key", key);
  // Of several, all or none: who is refused is found out one by one.
  if (path.ends_with("/batch")) head.headers.Add("x-batch-validation", "strict");
  const Result<net::Client::Whole> whole =
      co_await clients_.Here().Fetch(url_, std::move(head), std::move(body), kMaxAnswer, by);
  if (!whole) {
    ResendAnswer unheard;
    unheard.attempt = Unheard(whole.error());
    co_return unheard;
  }
  pace_.Heard(whole->head.status, whole->head.headers, clock.Steady());
  co_return ReadResendAnswer(whole->head.status, whole->head.headers, whole->body);
}

Task<Attempt> Resend::Send(const Mail& mail, Deadline by) {
  PTG_CO_TRY(ResendAnswer answer,
             co_await Post("/emails", codec::ToString(ToJson(mail)), mail.dedup_key, by));
  co_return std::move(answer.attempt);
}

Task<Provider::Together> Resend::SendTogether(const std::vector<Mail>& mails,
                                              const std::string& key, Deadline by) {
  Json list = Json::Array();
  for (const Mail& mail : mails) list.Push(ToJson(mail));
  PTG_CO_TRY(ResendAnswer answer, co_await Post("/emails/batch", codec::ToString(list), key, by));
  Together together;
  together.attempt = std::move(answer.attempt);
  together.ids = std::move(answer.ids);
  if (together.attempt.outcome == Outcome::kSent && together.ids.size() != mails.size()) {
    // Not what was agreed on; the same key will tell again.
    together.attempt.outcome = Outcome::kRetry;
    together.attempt.why = "the number of ids is not that of the mails";
    together.ids.clear();
  }
  co_return together;
}

}  // namespace pontage::mail
