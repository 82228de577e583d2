// Resend's API, as far as a sender of mails sees it: POST /emails and /emails/batch, GET /emails
// and /emails/:id. Names and words of errors are Resend's.
#include <algorithm>
#include <charconv>
#include <utility>

#include "base/try.h"
#include "codec/text.h"
#include "crypto/hash.h"
#include "sandbox/mailbox/mailbox.h"
#include "sandbox/mailbox/mailbox_json.h"

namespace pontage::sandbox {

using codec::Json;

Mailbox::Answer ResendError(int status, std::string_view name, std::string_view message) {
  Mailbox::Answer answer;
  answer.status = status;
  answer.body = codec::ToString(Json::Object({{"statusCode", status},
                                              {"name", codec::AsUtf8(name)},
                                              {"message", codec::AsUtf8(message)}}));
  return answer;
}

namespace {

using Answer = Mailbox::Answer;

constexpr size_t kMostRecipients = 50;
constexpr size_t kMostBatch = 100;
constexpr size_t kMaxKey = 256;

Answer Missing(std::string_view field) {
  return ResendError(422, "missing_required_field", "Missing `" + std::string(field) + "` field.");
}
Answer Invalid(std::string_view field) {
  return ResendError(422, "validation_error", "Invalid `" + std::string(field) + "` field.");
}

bool IsAddress(std::string_view text) {
  const std::string mailbox = MailboxOf(text);
  const size_t at = mailbox.find('@');
  return codec::IsLine(text) && at != std::string::npos && at > 0 && at + 1 < mailbox.size() &&
         mailbox.find_first_of(" <>,;", 0) == std::string::npos;
}

const std::string* TextOf(const Json& json, std::string_view key) {
  const Json* const member = json.Find(key);
  return member == nullptr ? nullptr : member->AsString();
}

// The one or many addresses of `to`.
std::vector<std::string> RecipientsOf(const Json& to) {
  if (const std::string* const one = to.AsString()) return {*one};
  std::vector<std::string> all;
  if (to.AsArray() == nullptr) return all;
  for (const Json& one : *to.AsArray()) {
    all.push_back(one.AsString() == nullptr ? "" : *one.AsString());
  }
  return all;
}

// A mail out of the JSON of a request; what is wrong with it otherwise.
std::expected<MailboxMail, Answer> ReadMail(const Json& json) {
  if (!json.IsObject()) {
    return std::unexpected(ResendError(422, "validation_error", "A mail is a JSON object."));
  }
  MailboxMail mail;
  for (const std::string_view field : {"from", "to", "subject"}) {
    const Json* const value = json.Find(field);
    if (value == nullptr || value->IsNull()) return std::unexpected(Missing(field));
  }
  const std::string* const from = TextOf(json, "from");
  if (from == nullptr || !IsAddress(*from)) return std::unexpected(Invalid("from"));
  mail.from = *from;
  mail.to = RecipientsOf(*json.Find("to"));
  if (mail.to.empty() || mail.to.size() > kMostRecipients ||
      !std::ranges::all_of(mail.to, IsAddress)) {
    return std::unexpected(Invalid("to"));
  }
  const std::string* const subject = TextOf(json, "subject");
  if (subject == nullptr || !codec::IsLine(*subject)) return std::unexpected(Invalid("subject"));
  mail.subject = *subject;
  const std::string* const text = TextOf(json, "text");
  const std::string* const html = TextOf(json, "html");
  if (text == nullptr && html == nullptr) {
    return std::unexpected(
        ResendError(422, "missing_required_field", "Missing `html` or `text` field."));
  }
  if (text != nullptr) mail.text = *text;
  if (html != nullptr) mail.html = *html;
  return mail;
}

Json AddressesOf(const MailboxMail& mail) {
  Json to = Json::Array();
  for (const std::string& one : mail.to) to.Push(codec::AsUtf8(one));
  return to;
}

Json Summary(const MailboxMail& mail) {
  return Json::Object({{"object", "email"},
                       {"id", mail.id},
                       {"to", AddressesOf(mail)},
                       {"from", codec::AsUtf8(mail.from)},
                       {"created_at", mail.at.Rfc3339()},
                       {"subject", codec::AsUtf8(mail.subject)},
                       {"bcc", nullptr},
                       {"cc", nullptr},
                       {"reply_to", nullptr},
                       {"last_event", mail.last_event},
                       {"scheduled_at", nullptr}});
}

Json WithBodies(Json summary, const MailboxMail& mail) {
  summary.Set("html", mail.html.empty() ? Json() : Json(codec::AsUtf8(mail.html)));
  summary.Set("text", mail.text.empty() ? Json() : Json(codec::AsUtf8(mail.text)));
  return summary;
}

// What stands behind `name`= in a query; empty without it.
std::string_view ParameterOf(std::string_view query, std::string_view name) {
  for (size_t at = 0; at < query.size(); ++at) {
    std::string_view one = query.substr(at, query.find('&', at) - at);
    at += one.size();
    if (!one.starts_with(name) || !one.substr(name.size()).starts_with('=')) continue;
    return one.substr(name.size() + 1);
  }
  return {};
}

size_t LimitOf(std::string_view query) {
  constexpr size_t kUsual = 20;
  constexpr size_t kMost = 100;
  size_t limit = kUsual;
  const std::string_view digits = ParameterOf(query, "limit");
  std::from_chars(digits.data(), digits.data() + digits.size(), limit);
  return std::clamp<size_t>(limit, 1, kMost);
}

}  // namespace

bool Mailbox::WithinRate(net::Headers& headers) {
  if (per_second_ == 0) return true;
  const int64_t second = clock_.Now().seconds();
  if (second != window_s_) {
    window_s_ = second;
    in_window_ = 0;
  }
  const bool within = in_window_ < per_second_;
  if (within) ++in_window_;
  headers.Add("ratelimit-limit", std::to_string(per_second_));
  headers.Add("ratelimit-remaining", std::to_string(per_second_ - in_window_));
  headers.Add("ratelimit-reset", "1");
  if (!within) headers.Add("retry-after", "1");
  return within;
}

Answer Mailbox::AskApi(const net::RequestHead& head, std::string_view path, std::string_view query,
                       const std::string& body) {
  ++requests_;
  if (head.headers.Get("user-agent").value_or("").empty()) {
    // What stands before Resend's API says so, and it speaks no JSON.
    Answer answer;
    answer.status = 403;
    answer.type = "text/plain; charset=utf-8";
    answer.body = "error code: 1010";
    return answer;
  }
  constexpr std::string_view kBearer = "Bearer ";
  const std::string_view key = head.headers.Get("authorization").value_or("");
  if (!key.starts_with(kBearer) || key.size() == kBearer.size()) {
    return ResendError(401, "missing_api_key", "Missing API Key");
  }
  net::Headers rate;
  if (!WithinRate(rate)) {
    Answer answer = ResendError(429, "rate_limit_exceeded",
                                "Too many requests. You can only make " +
                                    std::to_string(per_second_) + " requests per second.");
    answer.headers = std::move(rate);
    return answer;
  }
  Answer answer;
  if (head.method == "POST" && (path == "/emails" || path == "/emails/batch")) {
    const Fault fault = TakeFault(false);
    const bool refused = fault.count > 0 && fault.status > 0;
    if (!refused || fault.accept) answer = Post(head, path, body, fault.wait);
    if (refused) {
      answer = ResendError(static_cast<int>(fault.status), fault.name, "Ordered by /_test");
      if (fault.retry_after > 0) {
        answer.headers.Add("retry-after", std::to_string(fault.retry_after));
      }
    }
    answer.wait = fault.wait;
  } else if (head.method != "GET") {
    answer = ResendError(405, "method_not_allowed", "Method is not allowed");
  } else if (path == "/emails") {
    answer = List(query);
  } else {
    answer = One(path.substr(std::string_view("/emails/").size()));
  }
  for (size_t i = 0; i < rate.size(); ++i) answer.headers.AddFrom(rate, i);
  return answer;
}

Answer Mailbox::Post(const net::RequestHead& head, std::string_view path, const std::string& body,
                     Millis wait) {
  const UnixMs now = clock_.Now();
  const std::string given(head.headers.Get("idempotency-key").value_or(""));
  if (given.size() > kMaxKey) {
    return ResendError(400, "invalid_idempotency_key",
                       "The idempotency key must be between 1-256 characters.");
  }
  const std::string key = std::string(path) + " " + given;
  const crypto::Hash32 digest = crypto::Sha256(codec::AsBytes(body));
  const auto known = given.empty() ? keys_.end() : keys_.find(key);
  if (known != keys_.end() && now < known->second.at + kKeyAge) {
    if (known->second.body != digest) {
      return ResendError(
          409, "invalid_idempotent_request",
          "This idempotency key has been used on a request with a different payload.");
    }
    if (now < known->second.ready) {
      return ResendError(409, "concurrent_idempotent_requests",
                         "Same idempotency key used while original request is still in progress.");
    }
    Answer again;
    again.body = known->second.answer;
    return again;
  }
  const Result<Json> json = codec::ParseJson(body, {.max_bytes = kMaxMailboxBody});
  if (!json) return ResendError(422, "validation_error", json.error().detail());
  const bool batch = path == "/emails/batch";
  const size_t count = json->AsArray() == nullptr ? 0 : json->AsArray()->size();
  if (batch && (count == 0 || count > kMostBatch)) {
    return ResendError(422, "validation_error", "A batch is an array of 1 to 100 mails.");
  }
  std::vector<MailboxMail> mails;
  for (size_t i = 0; i < (batch ? count : 1); ++i) {
    std::expected<MailboxMail, Answer> mail = ReadMail(batch ? (*json->AsArray())[i] : *json);
    if (!mail) return mail.error();
    mail->id = NewUuid();
    mail->via = "api";
    mail->at = now;
    mail->idempotency_key = codec::AsUtf8(given);
    mails.push_back(*std::move(mail));
  }
  Json ids = Json::Array();
  for (const MailboxMail& mail : mails) ids.Push(Json::Object({{"id", mail.id}}));
  Answer answer;
  answer.body = codec::ToString(batch ? Json::Object({{"data", ids}})
                                      : Json::Object({{"id", mails.front().id}}));
  for (MailboxMail& mail : mails) Keep(std::move(mail));
  if (!given.empty()) {
    Remember(key, {.body = digest, .answer = answer.body, .at = now, .ready = now + wait});
  }
  return answer;
}

// With the bodies, which Resend's own list leaves out: one call is all that a script needs. `after`
// is the last mail of the page before.
Answer Mailbox::List(std::string_view query) const {
  const size_t limit = LimitOf(query);
  auto mail = mails_.rbegin();
  if (const std::string_view after = ParameterOf(query, "after"); !after.empty()) {
    mail = std::find_if(mail, mails_.rend(), [&](const auto& one) { return one.id == after; });
    if (mail == mails_.rend()) {
      return ResendError(422, "validation_error", "The `after` email was not found");
    }
    ++mail;
  }
  Json data = Json::Array();
  size_t shown = 0;
  size_t bytes = 0;
  for (; mail != mails_.rend() && shown < limit; ++mail, ++shown) {
    bytes += mail->text.size() + mail->html.size();
    if (bytes > kMaxMailboxBody && shown > 0) break;
    data.Push(WithBodies(Summary(*mail), *mail));
  }
  Answer answer;
  answer.body = codec::ToString(Json::Object(
      {{"object", "list"}, {"has_more", mail != mails_.rend()}, {"data", std::move(data)}}));
  return answer;
}

Answer Mailbox::One(std::string_view id) const {
  const MailboxMail* const mail = Find(id);
  if (mail == nullptr) return ResendError(404, "not_found", "Email not found");
  Answer answer;
  answer.body = codec::ToString(WithBodies(Summary(*mail), *mail));
  return answer;
}

}  // namespace pontage::sandbox
