#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "codec/json.h"
#include "db/db.h"
#include "io/task.h"
#include "ledger/audit.h"
#include "ledger/command_queue.h"
#include "ledger/ledger.h"
#include "license/license_store.h"
#include "license/refund_store.h"
#include "license/sales_books.h"
#include "license/usage_store.h"

// What an operator sees: read models over the store of the gateways (the ledger) and that of
// `sales`, which are one store by default. Every list is paged and bounded, newest first.
namespace pontage::console {

// Which part of a list.
struct PageAsk {
  std::string cursor = {};  // Page::next of the page before; empty: the newest
  size_t limit = 50;        // at most kMostRows, at least 1
};
inline constexpr size_t kMostRows = 200;
// What is looked for is no longer than this, unless it is a license as text.
inline constexpr size_t kMostSearch = 200;

template <typename T>
struct Page {
  std::vector<T> rows;
  std::string next;  // the cursor of the page behind; empty: this is the last
};

// A payment of either rail.
struct PaymentRow {
  std::string rail;  // "x402", "card"
  std::string id;    // "pay_…" or "in_…"
  UnixMs at;
  std::string state;      // x402: held, settled, voided, expired, in_doubt; card: Stripe's word
  std::string payer;      // an address on a chain; Stripe's customer
  std::string email;      // card: where the license went; may be empty
  std::string amount;     // for people: "$0.001", "$29.00", "2900 jpy"
  std::string what;       // the route that was called; the purchase that was paid
  std::string delivery;   // x402: delivered, owed, broken, …; card: empty
  std::string network;    // x402: CAIP-2; card: empty
  std::string reference;  // the transaction's hash; the invoice's number
  std::string url;        // card: Stripe's page of it
};
struct PaymentAsk {
  std::string rail = {};      // empty: both
  std::string state = {};     // empty: any
  std::string customer = {};  // card: of this customer; x402: this payer
};
// All that is known of a payment on a chain.
struct ChainPayment {
  ledger::Reservation row;
  std::vector<ledger::Ledger::Event> history;
};

struct LicenseAsk {
  std::string customer = {};
  std::string email = {};    // in any spelling
  std::string license = {};  // its id, or itself as text
};
// A license with what belongs to it: of each kind the newest rows, at most kBelonging.
inline constexpr size_t kBelonging = 50;
struct LicenseWhole {
  license::License license;
  license::Status status = license::Status::kActive;  // as of now
  license::Usage usage{};                             // of the gateways on the ledger's store
  std::optional<license::PurchaseRow> purchase;
  std::vector<license::Refund> refunds;
  std::vector<license::MailRow> mails;
  std::vector<ledger::Command> commands;
  std::vector<ledger::AuditRow> audit;
};
// A customer with what belongs to him; each list at most kMostRows long.
struct CustomerWhole {
  std::string id;
  std::string email;
  std::vector<license::PurchaseRow> purchases;
  std::vector<license::License> licenses;
  std::vector<license::InvoiceRow> invoices;
  std::vector<license::Refund> refunds;  // of his licenses
};

// What reconciling with Stripe found last.
struct DriftReport {
  UnixMs at;
  codec::Json report;  // an object; "drift" counts what differs
};

// How the whole audit stands.
struct AuditState {
  bool holds = true;      // as far as it was looked at
  bool whole = true;      // false: not all was looked at yet; the next call goes on
  int64_t rows = 0;       // looked at
  int64_t seq = 0;        // the last good row
  std::string hash = {};  // its hash: to be kept elsewhere
  int64_t broken_at = 0;
};

// What waits, for the first page.
struct Overview {
  license::SalesTotals sales;
  ledger::Ledger::Totals ledger;
};

// Errors: kNotFound for what there is not, kBadRequest (pointer "/cursor" or "/limit") for a page
// that cannot be, and the stores'. Safe to use from every loop.
class Queries {
 public:
  struct Parts {
    db::Database& ledger;  // of gateways and facilitators
    db::Database& sales;   // licenses, Stripe, mails, commands, audit
    const Clock& clock;
    // The last report of the reconciler out of the store of `sales`; nothing: there was none yet.
    // Empty: this process knows of no reconciler.
    std::function<Result<std::optional<DriftReport>>(db::Tx& tx)> read_drift = {};
    // The id of a license that somebody has in hand, good or not; empty: it is none. Not set: of
    // the format that says its id to everybody.
    std::function<std::string(std::string_view)> name_license = {};
    // CheckAudit looks at so many rows in one transaction, and begins no further one so long
    // after the first.
    size_t audit_rows = 20'000;
    Millis audit_for{300};
  };
  explicit Queries(Parts parts) : parts_(std::move(parts)) {}

  // The id of the license that `text` is; empty: it is none, or too short for one.
  std::string LicenseIn(std::string_view text) const;

  Task<Overview> Look(Deadline by);

  // `search` as in license::SearchCustomers, or a license as text, one page; empty: everybody with
  // a license.
  Task<Page<license::Customer>> Customers(std::string search, PageAsk page, Deadline by);
  // By Stripe's id, or what the operator called him; an address finds him, too.
  Task<CustomerWhole> Customer(std::string id, Deadline by);

  Task<Page<license::License>> Licenses(LicenseAsk ask, PageAsk page, Deadline by);
  Task<LicenseWhole> License(std::string id, Deadline by);

  Task<Page<PaymentRow>> Payments(PaymentAsk ask, PageAsk page, Deadline by);
  // By the id of the payment, its request or its transaction; on a chain only.
  Task<ChainPayment> Payment(std::string name, Deadline by);
  Task<Page<license::InvoiceRow>> Invoices(std::string customer, PageAsk page, Deadline by);
  Task<Page<license::Refund>> Refunds(std::string license, PageAsk page, Deadline by);

  struct EventAsk {
    std::string state = {};
    std::string type = {};
    std::string object = {};
  };
  Task<Page<license::EventRow>> Events(EventAsk ask, PageAsk page, Deadline by);
  // What came, with everything redacted that is no id, word, amount or time.
  struct EventShown {
    license::EventRow row;
    codec::Json payload;
  };
  Task<EventShown> Event(std::string id, Deadline by);

  struct MailAsk {
    std::string state = {};
    std::string license = {};
  };
  Task<Page<license::MailRow>> Outbox(MailAsk ask, PageAsk page, Deadline by);

  Task<std::optional<DriftReport>> Drift(Deadline by);

  Task<Page<ledger::AuditRow>> Audit(std::string subject, PageAsk page, Deadline by);
  // Looks at the whole chain, a part at each call where it is long; then from its beginning again.
  // A break is looked at again in each call until it is mended.
  Task<AuditState> CheckAudit(Deadline by);

  struct CommandAsk {
    std::string subject = {};
    std::string state = {};
  };
  Task<Page<ledger::Command>> Commands(CommandAsk ask, PageAsk page, Deadline by);
  Task<ledger::Command> Command(std::string id, Deadline by);

  UnixMs Now() const { return parts_.clock.Now(); }

 private:
  void Remember(const ledger::AuditCheck& from, const ledger::AuditCheck& check, bool whole);

  const Parts parts_;
  std::mutex mutex_;
  ledger::AuditCheck checked_;  // what is good so far: where the next look begins
  bool broken_ = false;         // the look from there found a break
};

// JSON as /admin/v1 gives it; pages may use the same words. Licenses and refunds have theirs beside
// their stores.
codec::Json ToJson(const license::Customer& customer);
codec::Json ToJson(const license::PurchaseRow& purchase);
codec::Json ToJson(const license::InvoiceRow& invoice);
codec::Json ToJson(const license::EventRow& event);
codec::Json ToJson(const license::MailRow& mail);
codec::Json ToJson(const PaymentRow& payment);
codec::Json ToJson(const ledger::AuditRow& row);
// Without the secret: who ordered it gets that from Verbs.
codec::Json ToJson(const ledger::Command& command);

// An event with its personal values replaced by "[redacted]": names, addresses, numbers of phones,
// whatever is free text. Pure.
codec::Json Redacted(const codec::Json& event);

}  // namespace pontage::console
