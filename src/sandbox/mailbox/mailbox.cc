#include "sandbox/mailbox/mailbox.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/try.h"
#include "codec/base64.h"
#include "codec/hex.h"
#include "codec/text.h"
#include "crypto/hmac.h"
#include "net/client.h"
#include "sandbox/mailbox/mailbox_json.h"
#include "sandbox/mailbox/mime.h"

namespace pontage::sandbox {

using codec::Json;
using codec::JsonReader;

namespace {

// Orders of a test, not a workload.
constexpr size_t kMostFaults = 100;
constexpr size_t kMostBounces = 1'000;
constexpr size_t kMostNotices = 1'000;

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return lower;
}

// A whole number between two bounds, or `otherwise` when it is not there.
Result<int64_t> NumberOf(const JsonReader& r, std::string_view key, int64_t least, int64_t most,
                         int64_t otherwise) {
  PTG_TRY(const std::optional<int64_t> given, r.MaybeInt(key));
  const int64_t n = given.value_or(otherwise);
  if (n < least || n > most) {
    return Fail(r.Bad(key, "is out of bounds",
                      "a number from " + std::to_string(least) + " to " + std::to_string(most)));
  }
  return n;
}

size_t SizeOf(const MailboxMail& mail) {
  return mail.subject.size() + mail.text.size() + mail.html.size() + mail.raw.size() + 512;
}

}  // namespace

std::string MailboxOf(std::string_view address) {
  const size_t open = address.rfind('<');
  if (open == std::string_view::npos) return std::string(address);
  const std::string_view rest = address.substr(open + 1);
  return std::string(rest.substr(0, rest.find('>')));
}

Mailbox::Mailbox(const Clock& clock, Rng& rng) : clock_(clock), rng_(rng) {}

std::string Mailbox::NewUuid() {
  std::array<uint8_t, 16> bytes{};
  rng_.Fill(bytes);
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);  // RFC 9562 §5.4
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);
  std::string id = codec::ToHex(bytes);
  for (const size_t at : {size_t{20}, size_t{16}, size_t{12}, size_t{8}}) id.insert(at, 1, '-');
  return id;
}

std::vector<MailboxMail> Mailbox::Mails() const {
  const std::lock_guard lock(mutex_);
  return {mails_.begin(), mails_.end()};
}

std::vector<Mailbox::Notice> Mailbox::TakeNotices() {
  const std::lock_guard lock(mutex_);
  std::vector<Notice> taken(std::make_move_iterator(notices_.begin()),
                            std::make_move_iterator(notices_.end()));
  notices_.clear();
  return taken;
}

Mailbox::Answer Mailbox::Ask(const net::RequestHead& head, const std::string& body) {
  const std::lock_guard lock(mutex_);
  std::string_view path = head.target;
  std::string_view query;
  if (const size_t mark = path.find('?'); mark != std::string_view::npos) {
    query = path.substr(mark + 1);
    path = path.substr(0, mark);
  }
  constexpr std::string_view kControl = "/_test/";
  constexpr std::string_view kMail = "/mail/";
  if (path.starts_with(kControl)) return Control(head, path.substr(kControl.size()), body);
  if (path == "/emails" || path.starts_with("/emails/")) return AskApi(head, path, query, body);
  if (head.method == "GET" && path == "/") return Page();
  if (head.method == "GET" && path.starts_with(kMail)) return MailPage(path.substr(kMail.size()));
  return ResendError(404, "not_found", "The requested endpoint does not exist");
}

const MailboxMail* Mailbox::Find(std::string_view id) const {
  const auto at = std::ranges::find(mails_, id, &MailboxMail::id);
  return at == mails_.end() ? nullptr : &*at;
}

void Mailbox::Keep(MailboxMail mail) {
  for (const std::string& to : mail.to) {
    const std::string bounce = BounceOf(MailboxOf(to));
    if (!bounce.empty()) mail.last_event = bounce == "complaint" ? "complained" : "bounced";
  }
  Tell(mail);
  bytes_ += SizeOf(mail);
  mails_.push_back(std::move(mail));
  while (mails_.size() > kMostMails || bytes_ > kMostBytes) {
    bytes_ -= SizeOf(mails_.front());
    mails_.pop_front();
  }
}

void Mailbox::Remember(const std::string& key, Remembered entry) {
  if (keys_.insert_or_assign(key, std::move(entry)).second) key_order_.push_back(key);
  while (key_order_.size() > kMostKeys) {
    keys_.erase(key_order_.front());
    key_order_.pop_front();
  }
}

std::string Mailbox::BounceOf(std::string_view address) const {
  const auto at = bounces_.find(Lower(address));
  return at == bounces_.end() ? "" : at->second;
}

// As Resend's webhooks tell it, signed as Svix does.
void Mailbox::Tell(const MailboxMail& mail) {
  if (mail.last_event == "delivered" || webhook_url_.empty() || notices_.size() >= kMostNotices) {
    return;
  }
  Json to = Json::Array();
  std::string kind;
  for (const std::string& one : mail.to) {
    to.Push(MailboxOf(one));
    if (kind.empty()) kind = BounceOf(MailboxOf(one));
  }
  Json data = Json::Object({{"email_id", mail.id},
                            {"created_at", mail.at.Rfc3339()},
                            {"from", mail.from},
                            {"to", std::move(to)},
                            {"subject", mail.subject}});
  if (mail.last_event == "bounced") {
    data.Set("bounce", Json::Object({{"type", kind},
                                     {"subType", "General"},
                                     {"message", "Ordered by /_test/bounce"}}));
  }
  Notice notice;
  notice.url = webhook_url_;
  notice.body = codec::ToString(Json::Object({{"type", "email." + mail.last_event},
                                              {"created_at", mail.at.Rfc3339()},
                                              {"data", std::move(data)}}));
  const std::string id = "msg_" + NewUuid();
  const std::string at = std::to_string(clock_.Now().seconds());
  const std::string text = id + "." + at + "." + notice.body;
  const crypto::Hash32 tag = crypto::HmacSha256(codec::AsBytes(webhook_key_), codec::AsBytes(text));
  notice.headers.Add("svix-id", id);
  notice.headers.Add("svix-timestamp", at);
  notice.headers.Add("svix-signature", "v1," + codec::EncodeBase64(tag));
  notices_.push_back(std::move(notice));
}

Mailbox::Fault Mailbox::TakeFault(bool smtp) {
  const auto at = std::ranges::find(faults_, smtp, &Fault::smtp);
  if (at == faults_.end()) return {};
  Fault fault = *at;
  if (--at->count == 0) faults_.erase(at);
  return fault;
}

Result<> Mailbox::AddFault(const JsonReader& r, bool hang) {
  constexpr int64_t kMostCount = 1'000;
  constexpr int64_t kMostWaitMs = 600'000;
  if (faults_.size() == kMostFaults) return Fail(Code::kOverloaded, "too many faults are ordered");
  Fault fault;
  PTG_TRY(fault.count, NumberOf(r, "count", 1, kMostCount, 1));
  PTG_TRY(const std::optional<bool> smtp, r.MaybeBool("smtp"));
  PTG_TRY(const std::optional<bool> accept, r.MaybeBool("accept"));
  PTG_TRY(const int64_t ms, NumberOf(r, "ms", 0, kMostWaitMs, hang ? 30'000 : 0));
  fault.smtp = smtp.value_or(false);
  fault.accept = accept.value_or(hang);
  fault.wait = Millis(ms);
  if (!hang) {
    const int64_t usual = fault.smtp ? 451 : 500;
    PTG_TRY(fault.status, NumberOf(r, "status", 400, 599, usual));
    PTG_TRY(const std::optional<std::string_view> name, r.MaybeString("name"));
    fault.name = codec::AsUtf8(name.value_or("application_error"));
    PTG_TRY(fault.retry_after, NumberOf(r, "retry_after", 0, 86'400, 0));
  } else if (!fault.accept) {
    fault.status = 500;
    fault.name = "application_error";
  }
  faults_.push_back(std::move(fault));
  return {};
}

Result<> Mailbox::AddBounce(const JsonReader& r) {
  PTG_TRY(const std::string_view address, r.String("address"));
  PTG_TRY(const std::optional<std::string_view> kind, r.MaybeString("type"));
  const std::string_view type = kind.value_or("Permanent");
  if (type == "none") {
    bounces_.erase(Lower(address));
    return {};
  }
  if (type != "Permanent" && type != "Transient" && type != "complaint") {
    return Fail(r.Bad("type", "is no way to bounce", "Permanent, Transient, complaint or none"));
  }
  if (bounces_.size() == kMostBounces) return Fail(Code::kOverloaded, "too many addresses bounce");
  bounces_[Lower(address)] = type;
  return {};
}

Result<> Mailbox::SetWebhook(const JsonReader& r) {
  constexpr std::string_view kPrefix = "whsec_";
  PTG_TRY(const std::string_view url, r.String("url"));
  PTG_TRY(std::string_view secret, r.String("secret"));
  if (const auto parsed = net::ParseUrl(url); !parsed) return Fail(r.Place("url", parsed.error()));
  if (secret.starts_with(kPrefix)) secret.remove_prefix(kPrefix.size());
  const Result<std::string> key = codec::DecodeBase64(secret);
  if (!key || key->empty()) return Fail(r.Bad("secret", "is no secret", "whsec_ and base64"));
  webhook_url_ = url;
  webhook_key_ = *key;
  return {};
}

Result<> Mailbox::Configure(std::string_view what, const JsonReader& r) {
  if (what == "fail_next") return AddFault(r, false);
  if (what == "hang") return AddFault(r, true);
  if (what == "bounce") return AddBounce(r);
  if (what == "webhook") return SetWebhook(r);
  if (what == "rate_limit") {
    constexpr int64_t kMostPerSecond = 1'000;
    PTG_TRY(per_second_, NumberOf(r, "per_second", 0, kMostPerSecond, 2));
    return {};
  }
  return Fail(Code::kNotFound, "fail_next, hang, rate_limit, bounce, webhook, reset or state");
}

Mailbox::Answer Mailbox::State() const {
  Answer answer;
  answer.body = codec::ToString(
      Json::Object({{"requests", requests_}, {"mails", mails_.size()}, {"keys", keys_.size()}}));
  return answer;
}

Mailbox::Answer Mailbox::Control(const net::RequestHead& head, std::string_view what,
                                 const std::string& body) {
  if (what == "state") return State();
  if (head.method != "POST") return ResendError(405, "method_not_allowed", "POST to it");
  if (what == "reset") {
    mails_.clear();
    bytes_ = 0;
    keys_.clear();
    key_order_.clear();
    faults_.clear();
    bounces_.clear();
    notices_.clear();
    webhook_url_.clear();
    per_second_ = 0;
    requests_ = 0;
    return State();
  }
  const Result<Json> json = codec::ParseJson(body.empty() ? "{}" : body);
  if (!json) return ResendError(400, "validation_error", json.error().detail());
  const Result<JsonReader> r = JsonReader::Of(*json);
  if (!r) return ResendError(400, "validation_error", r.error().detail());
  const Result<> done = Configure(what, *r);
  if (!done) {
    const int status = done.error().code() == Code::kNotFound ? 404 : 400;
    return ResendError(status, "validation_error", done.error().detail());
  }
  return State();
}

SmtpReply Mailbox::TakeMessage(SmtpSession::Envelope envelope) {
  const std::lock_guard lock(mutex_);
  const Fault fault = TakeFault(true);
  const bool refused = fault.count > 0 && fault.status > 0;
  std::string id = NewUuid();
  if (!refused || fault.accept) {
    const ReadMime read = ParseMime(envelope.message);
    MailboxMail mail;
    mail.id = id;
    mail.via = "smtp";
    mail.at = clock_.Now();
    mail.from = read.from.empty() ? envelope.sender : read.from;
    mail.to = std::move(envelope.recipients);
    mail.subject = read.subject;
    mail.text = read.text;
    mail.html = read.html;
    mail.raw = codec::AsUtf8(envelope.message);
    Keep(std::move(mail));
  }
  SmtpReply reply;
  reply.wait = fault.wait;
  if (refused) {
    const std::string status = fault.status >= 500 ? " 5.3.0" : " 4.3.0";
    reply.line = std::to_string(fault.status) + status + " Ordered by /_test/fail_next";
  } else {
    reply.line = "250 2.0.0 Ok: queued as " + id;
  }
  return reply;
}

SmtpSession::Callbacks Mailbox::ForSmtp() {
  SmtpSession::Callbacks callbacks;
  callbacks.recipient = [this](const std::string& recipient) -> std::optional<SmtpReply> {
    const std::lock_guard lock(mutex_);
    const std::string bounce = BounceOf(recipient);
    if (bounce == "Permanent") return SmtpReply{.line = "550 5.1.1 There is no such mailbox"};
    if (bounce == "Transient") return SmtpReply{.line = "452 4.2.2 The mailbox is full"};
    return std::nullopt;
  };
  callbacks.message = [this](SmtpSession::Envelope envelope) {
    return TakeMessage(std::move(envelope));
  };
  return callbacks;
}

}  // namespace pontage::sandbox
