#include "sales/mail/bounces.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "crypto/hmac.h"
#include "sales/mail/mail_outbox.h"
#include "sales/mail/message.h"
#include "sales/mail/provider.h"
#include "wire/problem/error_map.h"

namespace pontage::mail {
namespace {

using codec::Json;
using codec::JsonReader;
using What = MailEvent::What;

constexpr std::string_view kPrefix = "whsec_";
constexpr Millis kTolerance{300'000};
constexpr Millis kPatience{10'000};

Error BadSignature() { return {Code::kUnauthorized, "the webhook is not signed as it must be"}; }

// Under either of its two names; both at once could be read in two ways.
std::optional<std::string_view> Field(const net::Headers& headers, std::string_view name) {
  std::optional<std::string_view> found;
  for (const std::string_view prefix : {"svix-", "webhook-"}) {
    const std::string full = std::string(prefix) + std::string(name);
    const size_t count = headers.Count(full);
    if (count > 1 || (count == 1 && found)) return std::nullopt;
    if (count == 1) found = headers.Get(full);
  }
  return found;
}

bool IsNear(std::string_view timestamp, UnixMs now) {
  int64_t seconds = 0;
  const auto [end, fault] =
      std::from_chars(timestamp.data(), timestamp.data() + timestamp.size(), seconds);
  if (fault != std::errc() || end != timestamp.data() + timestamp.size()) return false;
  const UnixMs at = UnixMs::FromSeconds(seconds);
  return at >= now - kTolerance && at <= now + kTolerance;
}

// Whether one of the space-separated signatures is that of `key`.
bool IsSigned(std::string_view signatures, const Secret& key, std::string_view text) {
  constexpr std::string_view kVersion = "v1,";
  constexpr int kMostSignatures = 16;
  const crypto::Hash32 want =
      crypto::HmacSha256(codec::AsBytes(key.Reveal()), codec::AsBytes(text));
  bool match = false;
  for (int i = 0; i < kMostSignatures && !signatures.empty(); ++i) {
    const size_t end = std::min(signatures.find(' '), signatures.size());
    const std::string_view one = signatures.substr(0, end);
    signatures.remove_prefix(std::min(end + 1, signatures.size()));
    if (!one.starts_with(kVersion)) continue;
    const Result<std::string> given = codec::DecodeBase64(one.substr(kVersion.size()));
    if (!given || given->size() != want.size()) continue;
    crypto::Hash32 bytes;
    std::ranges::copy(codec::AsBytes(*given), bytes.begin());
    match |= crypto::TagsEqual(bytes, want);
  }
  return match;
}

What WhatIs(std::string_view type, const JsonReader& data) {
  if (type == "email.complained") return What::kComplained;
  if (type == "email.suppressed") return What::kSuppressed;
  if (type != "email.bounced") return What::kOther;
  // A mailbox that is full, or a server that is not there today, may be written to again.
  const auto bounce = data.MaybeObject("bounce");
  if (!bounce || !*bounce) return What::kBounced;
  const auto kind = (*bounce)->MaybeString("type");
  const bool soft = kind && *kind && (**kind == "Transient" || **kind == "Undetermined");
  return soft ? What::kOther : What::kBounced;
}

std::string_view ReasonOf(What what) {
  return what == What::kComplained ? "complained"
         : what == What::kBounced  ? "bounced"
                                   : "suppressed by the provider";
}

Result<MailEvent> ReadEvent(std::string_view body) {
  constexpr size_t kMostAddresses = 50;  // of one mail, at Resend
  PTG_TRY(const Json json, codec::ParseJson(body, {.max_bytes = kMaxEvent}));
  PTG_TRY(const JsonReader r, JsonReader::Of(json));
  PTG_TRY(const std::string_view type, r.String("type"));
  PTG_TRY(const JsonReader data, r.Object("data"));
  MailEvent event;
  event.type = Said(type);
  event.what = WhatIs(type, data);
  if (event.what == What::kOther) return event;
  PTG_TRY(const std::optional<std::string_view> id, data.MaybeString("email_id"));
  event.provider_id = Said(id.value_or(""));
  PTG_TRY(const std::vector<Json>* to, data.Array("to"));
  for (const Json& one : *to) {
    if (event.addresses.size() == kMostAddresses) break;
    const Result<Address> address = ParseAddress(one.AsString() == nullptr ? "" : *one.AsString());
    // Nothing that we could have written to.
    if (address) event.addresses.push_back(address->mailbox);
  }
  return event;
}

}  // namespace

Result<ResendWebhook> ResendWebhook::Make(std::span<const Secret> secrets) {
  constexpr size_t kLeast = 24;
  constexpr size_t kMost = 64;
  ResendWebhook made;
  for (const Secret& secret : secrets) {
    std::string_view text = secret.Reveal();
    const bool prefixed = text.starts_with(kPrefix);
    if (prefixed) text.remove_prefix(kPrefix.size());
    Result<std::string> key = codec::DecodeBase64(text);
    if (!prefixed || !key || key->size() < kLeast || key->size() > kMost) {
      return Fail(Error(Code::kConfig, "the secret of Resend's webhook is no such secret")
                      .At("/mail/webhook_secret")
                      .Want("whsec_ and base64 of 24 to 64 bytes"));
    }
    made.keys_.emplace_back(*std::move(key));
  }
  if (made.keys_.empty()) return Fail(Code::kConfig, "Resend's webhook has no secret");
  return made;
}

Result<MailEvent> ResendWebhook::Read(const net::Headers& headers, std::string_view body,
                                      UnixMs now) const {
  const auto id = Field(headers, "id");
  const auto timestamp = Field(headers, "timestamp");
  const auto signatures = Field(headers, "signature");
  if (!id || id->empty() || !timestamp || !signatures || !IsNear(*timestamp, now)) {
    return Fail(BadSignature());
  }
  std::string text(*id);
  text += '.';
  text += *timestamp;
  text += '.';
  text += body;
  bool match = false;  // all are tried, so that the time says nothing
  for (const Secret& key : keys_) match |= IsSigned(*signatures, key, text);
  if (!match) return Fail(BadSignature());
  return ReadEvent(body);
}

Result<> Apply(db::Tx& tx, const MailEvent& event, UnixMs now) {
  if (event.what == What::kOther) return {};
  const std::string_view reason = ReasonOf(event.what);
  for (const std::string& address : event.addresses) {
    PTG_RUN(Suppress(tx, address, reason, now));
  }
  PTG_RUN(MarkBounced(tx, event.provider_id, reason, now));
  return {};
}

bool ResendDoor::Serves(std::string_view target) const {
  return target.substr(0, target.find('?')) == "/webhooks/resend";
}

Task<> ResendDoor::Take(const net::RequestHead& head, net::BodySource& body) {
  if (head.method != "POST") co_return Fail(Code::kMethodNotAllowed, "events are posted here");
  const Clock& clock = Loop::Current()->clock();
  PTG_CO_TRY(const std::string bytes,
             co_await net::ReadAll(body, kMaxEvent, Deadline::In(clock, kPatience)));
  const UnixMs now = clock_.Now();
  PTG_CO_TRY(const MailEvent event, webhook_.Read(head.headers, bytes, now));
  if (event.what == What::kOther) co_return {};
  const auto apply = [&event, now](db::Tx& tx) { return Apply(tx, event, now); };
  PTG_CO_RUN(co_await database_.Write(apply, Deadline::In(clock, kPatience)));
  Log(LogLevel::kWarn, "mail.bounced",
      {{"type", event.type},
       {"provider_id", event.provider_id},
       {"addresses", event.addresses.size()}});
  co_return {};
}

Task<> ResendDoor::Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
  const Result<> taken = co_await Take(head, body);
  if (!taken && taken.error().code() == Code::kConnection) co_return taken;
  net::ResponseHead answer;
  answer.status = taken ? 200 : problem::RowOf(taken.error().code()).http;
  const std::string text = taken ? "{}" : codec::ToString(problem::ToJson(taken.error()));
  answer.headers.Add("Content-Type",
                     taken ? std::string_view("application/json") : problem::kContentType);
  answer.headers.Add("Cache-Control", "no-store");
  answer.headers.Add("X-Request-Id", NewIdText("req", clock_, rng_));
  if (answer.status == 405) answer.headers.Add("Allow", "POST");
  if (answer.status == 503) answer.headers.Add("Retry-After", "5");
  PTG_CO_RUN(co_await out.Head(std::move(answer), text.size()));
  PTG_CO_RUN(co_await out.Write(text));
  co_return co_await out.End();
}

}  // namespace pontage::mail
