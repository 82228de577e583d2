#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "db/db.h"
#include "license/license_store.h"

// What the role `sales` wrote, for people to look at: customers, purchases, invoices, events and
// mails. Reads only, as functions inside a transaction; sales/ has the writers. Every list is
// newest first, at most `limit`, and goes on behind the row that `before` names.
namespace pontage::license {

// Where a page goes on: older than this row. Empty: with the newest.
struct Before {
  int64_t at_ms = 0;
  std::string id = {};
  bool empty() const { return id.empty(); }
};

// Who buys, or was given a license.
struct Customer {
  std::string id;  // "cus_…", or what the operator called him
  std::string email;
  std::string plan;  // of the newest license
  Status status = Status::kActive;
  UnixMs expires;
  int64_t licenses = 0;
  UnixMs since;         // of the newest license
  std::string license;  // the newest one's id
};
// Everybody with a license, by their newest.
Result<std::vector<Customer>> ListCustomers(db::Tx& tx, const Before& before, size_t limit,
                                            UnixMs now);
// By address (whole, or its beginning), by Stripe's id of the customer, the subscription or its
// item, the session, the invoice, the payment, the refund, or of a charge or dispute that an event
// was about, by the number of an invoice, by the id of a license. Also who has no license yet. A
// page goes on behind the `since` and the `id` of the last one of the page before.
Result<std::vector<Customer>> SearchCustomers(db::Tx& tx, const std::string& text,
                                              const Before& before, size_t limit, UnixMs now);

// A subscription, or something bought once.
struct PurchaseRow {
  std::string id;  // "sub_…" or "cs_…"
  std::string customer;
  std::string email;
  std::string status;  // Stripe's word
  std::string plan;
  UnixMs paid_through;  // 0: nothing was paid
  UnixMs period_end;    // 0: it has none
  UnixMs cancel_at;     // 0: nobody said so
  std::string invoice_url;
  std::string alarm;  // for people; empty: all is well
  UnixMs fetched;     // when Stripe was asked last
  UnixMs created;
};
Result<std::vector<PurchaseRow>> ListPurchases(db::Tx& tx, const std::string& customer,
                                               size_t limit);
Result<std::optional<PurchaseRow>> ReadPurchase(db::Tx& tx, const std::string& id);

struct InvoiceRow {
  std::string id;
  std::string purchase;
  std::string customer;
  std::string email;  // of its purchase; may be empty
  std::string number;
  std::string status;
  std::string currency;
  int64_t due = 0;  // in the smallest unit
  int64_t paid = 0;
  std::string url;
  UnixMs created;
};
// Of one customer, or of all (""); of one status, or of any.
struct InvoiceFilter {
  std::string customer = {};
  std::string status = {};
  Before before = {};
  size_t limit = 50;
};
Result<std::vector<InvoiceRow>> ListInvoices(db::Tx& tx, const InvoiceFilter& filter);

// The webhook inbox.
struct EventRow {
  std::string id;
  std::string type;
  std::string object_kind;
  std::string object_id;
  std::string api_version;
  std::string source;
  std::string state;
  int64_t attempts = 0;
  UnixMs next;
  std::string last_error;
  UnixMs created;
  UnixMs received;
  UnixMs done;  // 0: not yet
};
struct EventFilter {
  std::string state = {};
  std::string type = {};
  std::string object = {};  // id of what it is about
  Before before = {};       // received
  size_t limit = 50;
};
Result<std::vector<EventRow>> ListEvents(db::Tx& tx, const EventFilter& filter);
// With what came, as it came: to be shown only redacted.
struct EventWhole {
  EventRow row;
  std::string payload;
};
Result<std::optional<EventWhole>> ReadEvent(db::Tx& tx, const std::string& id);

// The outbox. What is in a mail is not shown to anybody: there may be a license in it.
struct MailRow {
  std::string id;
  std::string kind;
  std::string license;
  std::string recipient;
  std::string state;
  int64_t attempts = 0;
  UnixMs next;
  std::string provider;
  std::string last_error;
  UnixMs created;
  UnixMs updated;
  int64_t generation = 0;       // of the license's text in it; 0: none, or not known
  std::string suppressed = {};  // why nobody writes to the recipient any more; empty: one does
};
// Of the kinds that bring a license, as opposed to news about one.
bool BringsLicense(std::string_view kind);
struct MailFilter {
  // One of a mail's, or kUnreached.
  std::string state = {};
  std::string license = {};
  Before before = {};  // created
  size_t limit = 50;
  UnixMs now = {};  // of kUnreached
};
// The latest that brought a license came back, or was not sent since the address is suppressed, and
// the license opens something: who paid for it may not have it.
inline constexpr std::string_view kUnreached = "unreached";
Result<std::vector<MailRow>> ListOutbox(db::Tx& tx, const MailFilter& filter);
Result<std::optional<MailRow>> ReadMailRow(db::Tx& tx, const std::string& id);

// How much waits for a person, or for anybody.
struct SalesTotals {
  int64_t events_new = 0;
  int64_t events_parked = 0;
  int64_t mails_open = 0;
  int64_t mails_dead = 0;
  int64_t mails_unreached = 0;
  int64_t commands_open = 0;
  int64_t commands_parked = 0;
  int64_t refunds_open = 0;
  int64_t alarms = 0;  // purchases that somebody should look at
};
Result<SalesTotals> CountSales(db::Tx& tx, UnixMs now);

}  // namespace pontage::license
