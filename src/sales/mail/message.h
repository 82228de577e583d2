#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/time.h"

namespace pontage::mail {

// What a mail is about; the name stands in the outbox, metrics and logs.
enum class Kind : uint8_t {
  kLicense,
  kReissue,
  kReceipt,
  kPaymentFailed,
  kCancelled,
  kKeyRotation,
  kCount_
};
std::string_view NameOf(Kind kind);
std::optional<Kind> KindOf(std::string_view name);

// One mail to one person, as plain text and, if there is any, as simple HTML that says the same.
struct Mail {
  Kind kind = Kind::kLicense;
  std::string from;  // "Example <keys@example.com>", or the address alone
  std::string to;    // an address alone
  std::string subject;
  std::string text;  // lines end with '\n'
  std::string html;
  // One occasion, one key: a second mail of that key is never written.
  std::string dedup_key;
  int64_t generation = 0;  // of the license's text in it; 0: there is none
};

// RFC 5321 §4.5.3.1: what every server must take.
inline constexpr size_t kMaxLocalPart = 64;
inline constexpr size_t kMaxMailbox = 254;
inline constexpr size_t kMaxDisplayName = 100;
// A line that a list of mails still shows, several times over.
inline constexpr size_t kMaxSubject = 400;
// A license is below 2 KiB and stands in a mail four times.
inline constexpr size_t kMaxText = 64 << 10;
inline constexpr size_t kMaxHtml = 128 << 10;
// What Resend takes as Idempotency-Key.
inline constexpr size_t kMaxDedupKey = 256;

struct Address {
  std::string name;  // UTF-8, without quotes; empty: none
  std::string mailbox;
};
// "a@b" or "Name <a@b>" or "\"Name\" <a@b>". kBadRequest, saying what is wrong with it, for
// anything else: more than one address, line ends and other control characters, non-ASCII in the
// address itself (half of the servers do not take it), quoted local parts.
Result<Address> ParseAddress(std::string_view text);
// The same of an address alone.
Result<> CheckMailbox(std::string_view mailbox);
// How addresses are compared: in lower case. Servers that tell Ann from ann are a thing of books.
std::string AddressKey(std::string_view mailbox);

// Whether the mail may be written and sent: kBadRequest with pointer() "/to", "/subject", … at the
// first field that is missing, too long, no UTF-8, or holds what could end a header or hide in one.
Result<> Check(const Mail& mail);

// The rest of this header is for mails that Check lets through.

// "<…@the sender's domain>", the same for the same dedup_key: who gets a mail twice sees it once.
std::string MessageId(const Mail& mail);

struct MimeOptions {
  UnixMs date;
  // Also says the dedup_key as Resend-Idempotency-Key, which Resend's SMTP server heeds.
  bool resend_key = false;
};
// The mail as SMTP sends it (RFC 5322, RFC 2045 to 2047): everything is ASCII, lines end with CRLF
// and have at most 78 characters but for an address or key that is longer. Dots are not stuffed
// yet.
std::string Render(const Mail& mail, const MimeOptions& options);

// "Sat, 21 Nov 2026 10:58:00 +0000".
std::string MailDate(UnixMs at);

}  // namespace pontage::mail
