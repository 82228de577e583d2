#include "sales/mail/templates.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "codec/json.h"
#include "codec/text.h"

namespace pontage::mail {
namespace {

// What is no plain web address is not made into a link, whoever sent it.
bool IsWebUrl(std::string_view url) {
  constexpr size_t kMaxUrl = 2'000;
  if (!url.starts_with("https://") && !url.starts_with("http://")) return false;
  return url.size() <= kMaxUrl && std::ranges::all_of(url, [](char c) {
           return c > ' ' && c < 0x7f && !std::string_view("\"<>\\^`{|}").contains(c);
         });
}

// One text in two spellings.
class Letter {
 public:
  Letter& Say(std::string paragraph) {
    pieces_.push_back({Piece::Kind::kSaid, std::move(paragraph), {}});
    return *this;
  }
  // As it is, alone on its lines: for copying.
  Letter& Show(std::string lines) {
    pieces_.push_back({Piece::Kind::kShown, std::move(lines), {}});
    return *this;
  }
  // Left out when there is no such address.
  Letter& Link(std::string label, std::string url) {
    if (IsWebUrl(url)) {
      pieces_.push_back({Piece::Kind::kLink, std::move(label), std::move(url)});
    }
    return *this;
  }

  std::string Text() const {
    std::string out;
    for (const Piece& piece : pieces_) {
      if (!out.empty()) out += '\n';
      out += piece.text;
      if (piece.kind == Piece::Kind::kLink) out += ":\n" + piece.url;
      out += '\n';
    }
    return out;
  }
  std::string Html(std::string_view title) const {
    std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" +
                      codec::EscapeHtml(title) + "</title></head>\n<body>\n";
    for (const Piece& piece : pieces_) {
      const std::string text = codec::EscapeHtml(piece.text);
      switch (piece.kind) {
        case Piece::Kind::kSaid:
          out += "<p>" + text + "</p>\n";
          break;
        case Piece::Kind::kShown:
          out += "<pre style=\"white-space:pre-wrap;word-break:break-all\">" + text + "</pre>\n";
          break;
        case Piece::Kind::kLink: {
          const std::string url = codec::EscapeHtml(piece.url);
          out += "<p>" + text + ": <a href=\"" + url + "\">" + url + "</a></p>\n";
          break;
        }
      }
    }
    return out + "</body></html>\n";
  }

 private:
  struct Piece {
    enum class Kind : uint8_t { kSaid, kShown, kLink } kind;
    std::string text;
    std::string url;
  };
  std::vector<Piece> pieces_;
};

// For a POSIX shell, whatever is in it.
std::string ShellQuoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += R"('\'')";
    } else {
      out += c;
    }
  }
  return out + "'";
}

// A name for the server in a client's list.
std::string ServerName(std::string_view seller) {
  std::string name;
  for (const char c : seller) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (upper) name += static_cast<char>(c + ('a' - 'A'));
    if (plain) name += c;
    if (!upper && !plain && !name.empty() && name.back() != '-') name += '-';
  }
  while (name.ends_with('-')) name.pop_back();
  return name.empty() ? "seller" : name;
}

std::string McpEntry(const Seller& seller, const std::string& license) {
  const auto text = [](std::string value) {
    return codec::ToString(codec::Json(codec::AsUtf8(value)));
  };
  return "{\n  \"mcpServers\": {\n    " + text(ServerName(seller.name)) +
         ": {\n      \"type\": \"http\",\n      \"url\": " + text(seller.mcp_url) +
         ",\n      \"headers\": {\n        \"Authorization\": " + text("Bearer " + license) +
         "\n      }\n    }\n  }\n}";
}

// How the token is used, and what is to be known of it.
void ShowUse(Letter& letter, const Seller& seller, const LicenseGiven& given) {
  if (!given.claim_url.empty()) return;
  if (!seller.call_url.empty()) {
    letter.Say("Send it with every request:");
    letter.Show("curl -H " + ShellQuoted("Authorization: Bearer " + given.license) + " " +
                ShellQuoted(seller.call_url));
  }
  if (!seller.mcp_url.empty()) {
    letter.Say("For an MCP client, put this into its configuration:");
    letter.Show(McpEntry(seller, given.license));
  }
}

std::string Term(const LicenseGiven& given) {
  std::string text = "Plan: " + given.plan + ". Good until " + Moment(given.expires_at) + ".";
  if (given.renews) {
    text +=
        " Each renewal of the subscription moves that date by itself; the license stays the "
        "same.";
  }
  return text;
}

void Close(Letter& letter, const Seller& seller, const std::string& license_id) {
  letter.Link("Licenses, invoices and cards", seller.manage_url);
  letter.Say("License id, for questions to " + seller.name + ": " + license_id);
}

constexpr std::string_view kKeepIt =
    "Whoever has the license can use it: do not put it where others read it.";

Mail Finish(Kind kind, const Seller& seller, std::string to, std::string subject,
            const Letter& letter, std::string key) {
  Mail mail;
  mail.kind = kind;
  mail.from = seller.from;
  mail.to = std::move(to);
  mail.text = letter.Text();
  mail.html = letter.Html(subject);
  mail.subject = std::move(subject);
  mail.dedup_key = std::string(NameOf(kind)) + ":" + std::move(key);
  return mail;
}

// The license, or the link to it, each behind its own words.
void Present(Letter& letter, const LicenseGiven& given, std::string shown, std::string linked) {
  if (given.claim_url.empty()) {
    letter.Say(std::move(shown));
    letter.Show(given.license);
  } else {
    letter.Say(std::move(linked) + " This link shows it once, within seven days:");
    letter.Link("Show the license", given.claim_url);
  }
}

}  // namespace

std::string Moment(UnixMs at) {
  std::string text = UnixMs::FromSeconds(at.seconds()).Rfc3339();
  text[text.find('T')] = ' ';
  return text.substr(0, text.find('.')) + " UTC";
}

Mail WriteLicense(const Seller& seller, const LicenseLetter& l) {
  Letter letter;
  Present(letter, l.given, "Thank you. This is your license for " + seller.name + ":",
          "Thank you. Your license for " + seller.name + " is ready.");
  letter.Say(Term(l.given));
  ShowUse(letter, seller, l.given);
  letter.Link("Invoice", l.invoice_url);
  letter.Link("Invoice as PDF", l.invoice_pdf);
  letter.Say(std::string(kKeepIt));
  Close(letter, seller, l.given.license_id);
  const std::string again = l.occasion.empty() ? "" : ":" + l.occasion;
  Mail mail = Finish(Kind::kLicense, seller, l.given.to, "Your license for " + seller.name, letter,
                     l.given.license_id + again);
  mail.generation = l.given.generation;
  return mail;
}

Mail WriteReissue(const Seller& seller, const ReissueLetter& l) {
  Letter letter;
  Present(letter, l.given, "This license replaces the one that you had for " + seller.name + ":",
          "A new license replaces the one that you had for " + seller.name + ".");
  letter.Say("The one before stops at " + Moment(l.old_until) +
             ". Limits and payments go on as they were.");
  letter.Say(Term(l.given));
  ShowUse(letter, seller, l.given);
  letter.Say(std::string(kKeepIt));
  Close(letter, seller, l.given.license_id);
  Mail mail = Finish(Kind::kReissue, seller, l.given.to, "Your new license for " + seller.name,
                     letter, l.given.license_id + ":" + std::to_string(l.given.generation));
  mail.generation = l.given.generation;
  return mail;
}

Mail WriteReceipt(const Seller& seller, const ReceiptLetter& l) {
  Letter letter;
  letter.Say("Thank you. The plan " + l.plan + " of " + seller.name + " is paid for until " +
             Moment(l.paid_through) + ".");
  letter.Link("Invoice", l.invoice_url);
  letter.Link("Invoice as PDF", l.invoice_pdf);
  letter.Say("There is nothing to do: the license that you have is good until " +
             Moment(l.expires_at) + " now.");
  Close(letter, seller, l.license_id);
  // One for each paid period of a subscription, whatever number of licenses it has.
  return Finish(Kind::kReceipt, seller, l.to, "Invoice of " + seller.name, letter,
                l.purchase + ":" + std::to_string(l.paid_through.seconds()));
}

Mail WritePaymentFailed(const Seller& seller, const PaymentFailedLetter& l) {
  Letter letter;
  if (l.day == 0) {
    letter.Say("The payment of " + l.amount + " for the plan " + l.plan + " of " + seller.name +
               " could not be collected.");
  } else {
    letter.Say("The payment of " + l.amount + " for the plan " + l.plan + " of " + seller.name +
               " is still open, " + std::to_string(l.day) + " days after it failed.");
  }
  letter.Say((l.access_until > l.now
                  ? "Your license works until " + Moment(l.access_until)
                  : std::string("Your license has stopped; it works again once this is paid")) +
             ". If the payment has gone through meanwhile, there is nothing to do.");
  letter.Link("Pay, or change the card", l.pay_url);
  letter.Say("Invoice: " + l.invoice);
  Close(letter, seller, l.license_id);
  const std::string reminder = l.day == 0 ? "" : ":day" + std::to_string(l.day);
  return Finish(Kind::kPaymentFailed, seller, l.to, "Payment failed for " + seller.name, letter,
                l.invoice + reminder);
}

Mail WriteCancelled(const Seller& seller, const CancelledLetter& l) {
  Letter letter;
  letter.Say(l.removed
                 ? "The plan " + l.plan + " of " + seller.name + " has left your subscription."
                 : "The subscription to the plan " + l.plan + " of " + seller.name +
                       " is cancelled.");
  letter.Say((l.ends_at > l.now ? "Your license works until " + Moment(l.ends_at) + ". "
                                : std::string("Your license has stopped. ")) +
             (l.removed ? "Nothing more will be charged for this plan; the rest goes on."
                        : "Nothing more will be charged."));
  Close(letter, seller, l.license_id);
  // Cancelled, taken up again and cancelled once more is another occasion, whatever its end.
  return Finish(Kind::kCancelled, seller, l.to,
                l.removed ? "Plan " + l.plan + " of " + seller.name + " removed"
                          : "Subscription to " + seller.name + " cancelled",
                letter, l.license_id + ":" + std::to_string(l.now.ms()));
}

Mail WriteKeyRotation(const Seller& seller, const KeyRotationLetter& l) {
  Letter letter;
  const std::string why =
      seller.name + " has changed the key that signs licenses. Your plan is the same";
  Present(letter, l.given, why + "; this is your license under the new key:",
          why + "; your license is signed anew.");
  letter.Say("Please put it in the place of the one before, which stops at " + Moment(l.old_until) +
             ".");
  letter.Say(Term(l.given));
  ShowUse(letter, seller, l.given);
  letter.Say(std::string(kKeepIt));
  Close(letter, seller, l.given.license_id);
  Mail mail = Finish(Kind::kKeyRotation, seller, l.given.to,
                     "Your license for " + seller.name + ", signed anew", letter,
                     l.given.license_id + ":" + l.kid);
  mail.generation = l.given.generation;
  return mail;
}

}  // namespace pontage::mail
