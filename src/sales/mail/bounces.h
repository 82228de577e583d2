#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/secret.h"
#include "base/time.h"
#include "db/db.h"
#include "net/server.h"

// What Resend tells us of mails that it has taken: bounces and complaints stop further mail.
namespace pontage::mail {

struct MailEvent {
  enum class What : uint8_t {
    kBounced,     // for good
    kComplained,  // marked as spam
    kSuppressed,  // Resend does not write there any more, for one of these reasons
    kOther,       // sent, delivered, delayed, …: nothing to do
  };
  What what = What::kOther;
  std::string type;  // Resend's: "email.bounced"
  std::string provider_id;
  std::vector<std::string> addresses;
};

// An event is a few KiB; those with an inbound mail in them are not for us.
inline constexpr size_t kMaxEvent = 256 << 10;

// Webhooks signed as Svix and Standard Webhooks 1.0.0 do: svix-id, svix-timestamp (seconds) and
// svix-signature ("v1,<base64> v1,…"), or the same with "webhook-"; HMAC-SHA256 over
// id.timestamp.body.
class ResendWebhook {
 public:
  // Each secret is "whsec_" and base64 of 24 to 64 bytes; several while one replaces another.
  // kConfig, without the secret in it, when one is not.
  static Result<ResendWebhook> Make(std::span<const Secret> secrets);

  // kUnauthorized, always with the same words, when the signature, the time (five minutes either
  // way) or the fields are not right; kBadRequest for signed bytes that are no event.
  Result<MailEvent> Read(const net::Headers& headers, std::string_view body, UnixMs now) const;

 private:
  std::vector<Secret> keys_;  // decoded
};

// Takes the event into the books: the addresses are suppressed, the mail is marked as bounced. May
// be called again.
Result<> Apply(db::Tx& tx, const MailEvent& event, UnixMs now);

// POST /webhooks/resend: verifies, takes into the books, 200. Every refusal is
// problem+json; 503 when the books are not there, and Resend comes again.
class ResendDoor {
 public:
  // `database`, `clock` and `rng` outlive it.
  ResendDoor(ResendWebhook webhook, db::Database& database, const Clock& clock, Rng& rng)
      : webhook_(std::move(webhook)), database_(database), clock_(clock), rng_(rng) {}
  bool Serves(std::string_view target) const;
  // A net::Handler.
  Task<> Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out);

 private:
  Task<> Take(const net::RequestHead& head, net::BodySource& body);

  ResendWebhook webhook_;
  db::Database& database_;
  const Clock& clock_;
  Rng& rng_;
};

}  // namespace pontage::mail
