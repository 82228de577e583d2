#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "sales/mail/message.h"

// The mails that the card rail writes: values in, a Mail out. Pure. The HTML part says what the
// text says; everything in it is escaped, nothing is loaded from anywhere and nothing is counted.
// Wording is harmless twice: a crash may repeat a mail.
//
// URLs that came from outside are shown only if they are plain http or https. Whether the rest may
// be sent (addresses, lengths) is for Check.
namespace pontage::mail {

// For whom the mails speak.
struct Seller {
  std::string from;        // [mail] from
  std::string name;        // of the service, in subjects and texts: "Example"
  std::string call_url;    // what the curl line asks: a route that the plan opens
  std::string mcp_url;     // of the MCP server; empty: there is none
  std::string manage_url;  // where a buyer sees licenses, cards and invoices; empty: nowhere
};

// The bearer token with what it opens.
struct LicenseGiven {
  std::string to;
  std::string license;  // the token itself, without white space; unless there is a claim_url
  std::string license_id;
  int64_t generation = 1;
  std::string plan;
  UnixMs expires_at;
  bool renews = false;      // a subscription: each payment moves expires_at, the token stays
  std::string claim_url{};  // shows the token once; empty: the mail has it
};

// The first mail of a license. `occasion` is empty; or tells one wish to have it again from
// another: "resend:2026-11-21T10".
struct LicenseLetter {
  LicenseGiven given;
  std::string invoice_url;  // Stripe's page and file; empty: left out
  std::string invoice_pdf;
  std::string occasion;
};
Mail WriteLicense(const Seller& seller, const LicenseLetter& letter);

// A token in the place of one that was lost or known to others.
struct ReissueLetter {
  LicenseGiven given;
  UnixMs old_until;  // when the one before stops
};
Mail WriteReissue(const Seller& seller, const ReissueLetter& letter);

// A subscription was paid for once more: the invoice, and until when the same license is good now.
struct ReceiptLetter {
  std::string to;
  std::string license_id;
  std::string plan;
  std::string purchase;  // Stripe's subscription
  UnixMs paid_through;
  UnixMs expires_at;
  std::string invoice_url;  // Stripe's page and file; empty: left out
  std::string invoice_pdf;
};
Mail WriteReceipt(const Seller& seller, const ReceiptLetter& letter);

// A renewal that could not be collected.
struct PaymentFailedLetter {
  std::string to;
  std::string license_id;
  std::string plan;
  std::string invoice;  // Stripe's id
  std::string amount;   // for people: "$29.00"
  std::string pay_url;  // Stripe's page of the invoice, where it can be paid
  UnixMs access_until;  // the end of the grace; not after `now`: it is over, or there is none
  UnixMs now;
  int day = 0;  // 0, and the reminders of day 3 and 6: one mail each for an invoice
};
Mail WritePaymentFailed(const Seller& seller, const PaymentFailedLetter& letter);

struct CancelledLetter {
  std::string to;
  std::string license_id;
  std::string plan;
  UnixMs ends_at;  // until when the license passes; not after `now`: it has ended
  UnixMs now;
  bool removed = false;  // the plan alone has left a subscription that goes on
};
Mail WriteCancelled(const Seller& seller, const CancelledLetter& letter);

// The key that signs licenses is another one: a token that it signed, before the old one stops.
struct KeyRotationLetter {
  LicenseGiven given;
  std::string kid;  // of the new key
  UnixMs old_until;
};
Mail WriteKeyRotation(const Seller& seller, const KeyRotationLetter& letter);

// "2026-11-21 10:58:00 UTC".
std::string Moment(UnixMs at);

}  // namespace pontage::mail
