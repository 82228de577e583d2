#include "sales/mail/message.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "base/try.h"
#include "base/utf8.h"
#include "codec/base64.h"
#include "codec/hex.h"
#include "codec/text.h"
#include "crypto/hash.h"

namespace pontage::mail {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(Kind::kCount_)> kNames = {
    "license", "reissue", "receipt", "payment_failed", "cancelled", "key_rotation"};

// Longer lines are broken (RFC 5322 §2.1.1, RFC 2045 §6.7).
constexpr size_t kLine = 76;

bool IsAlnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
// RFC 5322 §3.2.3.
bool IsAtext(char c) { return IsAlnum(c) || std::string_view("!#$%&'*+-/=?^_`{|}~").contains(c); }
bool IsPrintable(char c) { return c >= ' ' && c < 0x7f; }

Error Bad(std::string detail) { return {Code::kBadRequest, std::move(detail)}; }

Result<> CheckLine(std::string_view text, size_t most) {
  if (text.empty()) return Fail(Bad("is empty"));
  if (text.size() > most) return Fail(Bad("is longer than " + std::to_string(most) + " bytes"));
  if (std::ranges::any_of(text, codec::IsControl)) {
    return Fail(Bad("holds a line end or another control character"));
  }
  if (!codec::IsUtf8(text)) return Fail(Bad("is not UTF-8"));
  return {};
}

Result<> CheckBody(std::string_view text, size_t most) {
  if (text.size() > most) return Fail(Bad("is longer than " + std::to_string(most) + " bytes"));
  const auto forbidden = [](char c) { return codec::IsControl(c) && c != '\n' && c != '\t'; };
  if (std::ranges::any_of(text, forbidden)) return Fail(Bad("holds a control character"));
  if (!codec::IsUtf8(text)) return Fail(Bad("is not UTF-8"));
  return {};
}

Result<> CheckDomain(std::string_view domain) {
  constexpr size_t kMaxLabel = 63;
  if (domain.empty()) return Fail(Bad("has no domain"));
  while (true) {
    const std::string_view label = domain.substr(0, domain.find('.'));
    if (label.empty() || label.size() > kMaxLabel || label.front() == '-' || label.back() == '-' ||
        !std::ranges::all_of(label, [](char c) { return IsAlnum(c) || c == '-'; })) {
      return Fail(Bad("has a domain that is none"));
    }
    if (label.size() == domain.size()) return {};
    domain.remove_prefix(label.size() + 1);
  }
}

std::string_view Trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// Moves an error to the field it belongs to.
Error Place(std::string_view field, const Error& error, std::string want = "") {
  return Error(error.code(), "the mail's " + std::string(field) + " " + error.detail())
      .At("/" + std::string(field))
      .Want(std::move(want));
}

bool IsPlain(std::string_view text) {
  return std::ranges::all_of(text, IsPrintable) && !text.contains("=?") && text == Trimmed(text);
}

// RFC 2047 words with whole characters, a line for each.
std::string EncodedWords(std::string_view text) {
  constexpr size_t kWord = 39;  // with "Subject: " and the marks around it, 76 columns
  std::string out;
  while (!text.empty()) {
    size_t take = 0;
    while (take < text.size()) {
      const size_t next = std::max<size_t>(Utf8Length(text.substr(take)), 1);
      if (take + next > kWord) break;
      take += next;
    }
    if (!out.empty()) out += "\r\n ";
    out += "=?utf-8?B?" + codec::EncodeBase64(text.substr(0, take)) + "?=";
    text.remove_prefix(take);
  }
  return out;
}

std::string SubjectField(std::string_view subject) {
  constexpr size_t kPlain = 66;
  return subject.size() <= kPlain && IsPlain(subject) ? std::string(subject)
                                                      : EncodedWords(subject);
}

std::string AddressField(const Address& address) {
  const std::string angle = "<" + address.mailbox + ">";
  if (address.name.empty()) return angle;
  constexpr size_t kPlain = 60;
  if (address.name.size() > kPlain || !IsPlain(address.name)) {
    return EncodedWords(address.name) + "\r\n " + angle;
  }
  const bool words =
      std::ranges::all_of(address.name, [](char c) { return IsAtext(c) || c == ' '; });
  return (words ? address.name : '"' + address.name + '"') + "\r\n " + angle;
}

// RFC 2045 §6.7.
std::string QuotedPrintable(std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size() + text.size() / 16);
  size_t column = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      out += "\r\n";
      column = 0;
      continue;
    }
    const bool at_end = i + 1 == text.size() || text[i + 1] == '\n';
    const bool space = c == ' ' || c == '\t';
    const bool plain = space ? !at_end : IsPrintable(c) && c != '=';
    const size_t need = plain ? 1 : 3;
    if (column + need > kLine - 1) {
      out += "=\r\n";
      column = 0;
    }
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '=';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 0xf];
    }
    column += need;
  }
  return out;
}

std::string Part(std::string_view type, std::string_view body) {
  return "Content-Type: " + std::string(type) +
         "; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
         QuotedPrintable(body) + "\r\n";
}

std::string Digest(const Mail& mail) {
  constexpr size_t kDigits = 32;  // 128 bits do not meet by chance
  return codec::ToHex(crypto::Sha256(codec::AsBytes(mail.dedup_key))).substr(0, kDigits);
}

}  // namespace

std::string_view NameOf(Kind kind) { return kNames[static_cast<size_t>(kind)]; }

std::optional<Kind> KindOf(std::string_view name) {
  const auto* const at = std::ranges::find(kNames, name);
  if (at == kNames.end()) return std::nullopt;
  return static_cast<Kind>(at - kNames.begin());
}

Result<> CheckMailbox(std::string_view mailbox) {
  PTG_RUN(CheckLine(mailbox, kMaxMailbox));
  const size_t at = mailbox.rfind('@');
  if (at == std::string_view::npos) return Fail(Bad("has no @"));
  const std::string_view local = mailbox.substr(0, at);
  if (local.empty() || local.size() > kMaxLocalPart) {
    return Fail(Bad("has nothing, or more than 64 bytes, before the @"));
  }
  const bool dots = local.front() == '.' || local.back() == '.' || local.contains("..");
  if (dots || !std::ranges::all_of(local, [](char c) { return IsAtext(c) || c == '.'; })) {
    return Fail(Bad("holds a character that an address may not have"));
  }
  return CheckDomain(mailbox.substr(at + 1));
}

Result<Address> ParseAddress(std::string_view text) {
  PTG_RUN(CheckLine(text, kMaxMailbox + kMaxDisplayName + 8));
  Address address;
  text = Trimmed(text);
  if (text.ends_with('>')) {
    const size_t open = text.find('<');
    if (open == std::string_view::npos) return Fail(Bad("has a > without a <"));
    std::string_view name = Trimmed(text.substr(0, open));
    if (name.size() >= 2 && name.front() == '"' && name.back() == '"') {
      name = name.substr(1, name.size() - 2);
    }
    if (name.size() > kMaxDisplayName) return Fail(Bad("has a name of more than 100 bytes"));
    if (name.find_first_of("\"\\<>") != std::string_view::npos) {
      return Fail(Bad("has a name with a quote, a backslash or an angle bracket in it"));
    }
    address.name = name;
    text = text.substr(open + 1, text.size() - open - 2);
  }
  address.mailbox = text;
  PTG_RUN(CheckMailbox(address.mailbox));
  return address;
}

std::string AddressKey(std::string_view mailbox) {
  std::string key(mailbox);
  for (char& c : key) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return key;
}

Result<> Check(const Mail& mail) {
  if (const auto from = ParseAddress(mail.from); !from) {
    return Fail(Place("from", from.error(), "Name <address@domain>"));
  }
  if (const auto to = CheckMailbox(mail.to); !to) {
    return Fail(Place("to", to.error(), "address@domain"));
  }
  if (const auto subject = CheckLine(mail.subject, kMaxSubject); !subject) {
    return Fail(Place("subject", subject.error()));
  }
  if (mail.text.empty()) return Fail(Place("text", Bad("is empty")));
  if (const auto text = CheckBody(mail.text, kMaxText); !text) {
    return Fail(Place("text", text.error()));
  }
  if (const auto html = CheckBody(mail.html, kMaxHtml); !html) {
    return Fail(Place("html", html.error()));
  }
  const auto shown = [](char c) { return IsPrintable(c) && c != ' '; };
  if (const auto key = CheckLine(mail.dedup_key, kMaxDedupKey); !key) {
    return Fail(Place("dedup_key", key.error()));
  }
  if (!std::ranges::all_of(mail.dedup_key, shown)) {
    return Fail(Place("dedup_key", Bad("holds a space or is not ASCII")));
  }
  return {};
}

std::string MessageId(const Mail& mail) {
  const size_t at = mail.from.rfind('@');
  std::string domain = at == std::string::npos ? "localhost" : mail.from.substr(at + 1);
  std::erase_if(domain, [](char c) { return c == '>' || c == ' '; });
  return "<" + Digest(mail) + "@" + domain + ">";
}

std::string MailDate(UnixMs at) {
  constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::chrono::sys_seconds t{std::chrono::seconds(at.seconds())};
  const auto day = std::chrono::floor<std::chrono::days>(t);
  const std::chrono::year_month_day date(day);
  // "2026-11-21T10:58:00.123Z": the figures are there already.
  const std::string iso = at.Rfc3339();
  return std::string(kDays[std::chrono::weekday(day).c_encoding()]) + ", " + iso.substr(8, 2) +
         " " + kMonths[static_cast<unsigned>(date.month()) - 1] + " " + iso.substr(0, 4) + " " +
         iso.substr(11, 8) + " +0000";
}

std::string Render(const Mail& mail, const MimeOptions& options) {
  const Address from = ParseAddress(mail.from).value_or(Address{});
  std::string out = "From: " + AddressField(from) + "\r\n";
  out += "To: <" + mail.to + ">\r\n";
  out += "Subject: " + SubjectField(mail.subject) + "\r\n";
  out += "Date: " + MailDate(options.date) + "\r\n";
  out += "Message-ID: " + MessageId(mail) + "\r\n";
  // RFC 3834: no holiday notes in return.
  out += "Auto-Submitted: auto-generated\r\n";
  if (options.resend_key) out += "Resend-Idempotency-Key: " + mail.dedup_key + "\r\n";
  out += "MIME-Version: 1.0\r\n";
  if (mail.html.empty()) return out + Part("text/plain", mail.text);
  // In quoted-printable no '=' is followed by a '_'.
  const std::string boundary = "=_" + Digest(mail);
  out += "Content-Type: multipart/alternative;\r\n boundary=\"" + boundary + "\"\r\n\r\n";
  out += "--" + boundary + "\r\n" + Part("text/plain", mail.text);
  out += "--" + boundary + "\r\n" + Part("text/html", mail.html);
  out += "--" + boundary + "--\r\n";
  return out;
}

}  // namespace pontage::mail
