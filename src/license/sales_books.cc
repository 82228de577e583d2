#include "license/sales_books.h"

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "codec/json.h"

namespace pontage::license {
namespace {

// Behind ($1, $2) of a list by time and id.
#define PTG_BEFORE(at, id) "($2 = '' OR " at " < $1 OR (" at " = $1 AND " id " < $2))"

#define PTG_CUSTOMER_COLUMNS                                                 \
  "l.customer, l.email, l.plan, l.status, l.expires_ms, l.created_ms, l.id," \
  " (SELECT COUNT(*) FROM license AS m WHERE m.customer = l.customer)"
// One row of each: his newest license.
#define PTG_NEWEST                                                           \
  "NOT EXISTS (SELECT 1 FROM license AS n WHERE n.customer = l.customer AND" \
  " (n.created_ms > l.created_ms OR (n.created_ms = l.created_ms AND n.id > l.id)))"

constexpr db::Statement kCustomers{
    "customer.list", "SELECT " PTG_CUSTOMER_COLUMNS " FROM license AS l WHERE " PTG_BEFORE(
                         "l.created_ms", "l.id") " AND " PTG_NEWEST
                                                 " ORDER BY l.created_ms DESC, l.id DESC LIMIT $3"};
constexpr db::Statement kCustomer{"customer.find",
                                  "SELECT " PTG_CUSTOMER_COLUMNS
                                  " FROM license AS l WHERE l.customer = $1"
                                  " ORDER BY l.created_ms DESC, l.id DESC LIMIT 1"};
// Who has bought, or begun to, and has no license.
constexpr db::Statement kBuyer{
    "customer.buyer",
    "SELECT email FROM (SELECT email, 1 AS place FROM purchase WHERE customer = $1 AND email <> ''"
    " UNION ALL SELECT email, 2 FROM buyer WHERE customer = $1"
    " UNION ALL SELECT '', 3 FROM purchase WHERE customer = $1) AS known ORDER BY place LIMIT 1"};
// A page of those whom `hits` names (by $1), behind ($2, $3): by their newest license, and who has
// none at the end.
#define PTG_FOUND(hits)                                                                       \
  "SELECT customer FROM (SELECT hit.customer AS customer, COALESCE((SELECT MAX(l.created_ms)" \
  " FROM license AS l WHERE l.customer = hit.customer), 0) AS since FROM (" hits              \
  ") AS hit) AS found WHERE ($3 = '' OR since < $2 OR (since = $2 AND customer < $3))"        \
  " ORDER BY since DESC, customer DESC LIMIT $4"
constexpr db::Statement kByEmail{
    "customer.by_email",
    PTG_FOUND("SELECT customer FROM license WHERE email = $1 UNION SELECT customer FROM purchase"
              " WHERE email = $1 UNION SELECT customer FROM buyer WHERE email = $1")};
constexpr db::Statement kByBeginning{"customer.by_beginning",
                                     PTG_FOUND("SELECT DISTINCT customer FROM license WHERE"
                                               " substr(email, 1, CAST($5 AS INTEGER)) = $1")};
constexpr db::Statement kByName{
    "customer.by_name",
    PTG_FOUND(
        "SELECT customer FROM license WHERE customer = $1 OR id = $1 UNION SELECT customer FROM"
        " purchase WHERE customer = $1 OR id = $1 UNION SELECT customer FROM buyer WHERE customer"
        " = $1 UNION SELECT customer FROM invoice WHERE id = $1 UNION SELECT p.customer FROM"
        " purchase AS p JOIN purchase_payment AS y ON y.purchase = p.id"
        " WHERE y.payment_intent = $1 UNION SELECT m.customer FROM license AS m"
        " JOIN refund AS r ON r.license = m.id WHERE r.id = $1 UNION SELECT m.customer FROM"
        " license AS m JOIN refund AS r ON r.license = m.id WHERE r.stripe_refund = $1"
        " AND r.stripe_refund <> ''")};
// What no index knows: an invoice's number, as it is typed, and the item of a subscription.
constexpr db::Statement kByNumber{
    "customer.by_number",
    PTG_FOUND("SELECT customer FROM invoice WHERE upper(number) = upper($1) AND number <> ''")};
constexpr db::Statement kByItem{
    "customer.by_item",
    PTG_FOUND("SELECT customer FROM license WHERE"
              " substr(origin, length(origin) - length($1)) = ':' || $1 AND subscription <> ''")};
#undef PTG_FOUND
constexpr db::Statement kToldOf{"customer.told_of",
                                "SELECT payload FROM stripe_event WHERE object_id = $1"
                                " ORDER BY received_ms DESC, id DESC LIMIT 3"};

#define PTG_PURCHASE_COLUMNS                                                         \
  "id, customer, email, status, plan, paid_through_ms, period_end_ms, cancel_at_ms," \
  " invoice_url, alarm, fetched_ms, created_ms"
constexpr db::Statement kPurchases{"purchase.list", "SELECT " PTG_PURCHASE_COLUMNS
                                                    " FROM purchase WHERE customer = $1"
                                                    " ORDER BY created_ms DESC, id DESC LIMIT $2"};
constexpr db::Statement kPurchase{"purchase.read",
                                  "SELECT " PTG_PURCHASE_COLUMNS " FROM purchase WHERE id = $1"};

constexpr db::Statement kInvoices{
    "invoice.list",
    "SELECT id, purchase, customer, number, status, currency, due, paid, url, created_ms,"
    " (SELECT p.email FROM purchase AS p WHERE p.id = invoice.purchase)"
    " FROM invoice WHERE " PTG_BEFORE(
        "created_ms",
        "id") " AND ($4 = '' OR customer = $4) AND ($5 = '' OR status = $5)"
    " ORDER BY created_ms DESC, id DESC LIMIT $3"};

#define PTG_EVENT_COLUMNS                                                                        \
  "id, type, object_kind, object_id, api_version, source, state, attempts, next_ms, last_error," \
  " created_ms, received_ms, done_ms"
constexpr db::Statement kEvents{
    "stripe_event.list",
    "SELECT " PTG_EVENT_COLUMNS " FROM stripe_event WHERE " PTG_BEFORE("received_ms", "id")
    " AND ($4 = '' OR state = $4) AND ($5 = '' OR type = $5) AND ($6 = '' OR object_id = $6)"
    " ORDER BY received_ms DESC, id DESC LIMIT $3"};
constexpr db::Statement kEvent{
    "stripe_event.read", "SELECT " PTG_EVENT_COLUMNS ", payload FROM stripe_event WHERE id = $1"};

#define PTG_MAIL_BRINGS(kind) kind " IN ('license', 'reissue', 'key_rotation')"
#define PTG_MAIL_COLUMNS                                                                      \
  "id, kind, license, recipient, state, attempts, next_ms, provider, last_error, created_ms," \
  " updated_ms, generation,"                                                                  \
  " COALESCE((SELECT reason FROM mail_suppressed WHERE address = recipient), '')"
#define PTG_MAIL_UNREACHED(now) \
  "state IN ('suppressed', 'bounced') AND " PTG_MAIL_BRINGS("kind")                              \
  " AND EXISTS (SELECT 1 FROM license AS l WHERE l.id = mail_outbox.license AND l.status IN"      \
  " ('active', 'past_due') AND l.expires_ms > " now ")"                                          \
  " AND NOT EXISTS (SELECT 1 FROM mail_outbox AS n WHERE n.license = mail_outbox.license AND "    \
  PTG_MAIL_BRINGS("n.kind") " AND (n.created_ms > mail_outbox.created_ms OR"                     \
  " (n.created_ms = mail_outbox.created_ms AND n.id > mail_outbox.id)))"
constexpr db::Statement kUnreachedMails{
    "mail.unreached",
    "SELECT " PTG_MAIL_COLUMNS " FROM mail_outbox WHERE " PTG_BEFORE("created_ms", "id")
    " AND ($5 = '' OR license = $5) AND " PTG_MAIL_UNREACHED("$4") " ORDER BY created_ms DESC, id DESC LIMIT $3"};
constexpr db::Statement kMails{
    "mail.page",
    "SELECT " PTG_MAIL_COLUMNS " FROM mail_outbox WHERE " PTG_BEFORE("created_ms", "id")
    " AND ($4 = '' OR state = $4) AND ($5 = '' OR license = $5)"
    " ORDER BY created_ms DESC, id DESC LIMIT $3"};
constexpr db::Statement kMail{"mail.read",
                              "SELECT " PTG_MAIL_COLUMNS " FROM mail_outbox WHERE id = $1"};

constexpr db::Statement kCount{
    "sales.count",
    "SELECT (SELECT COUNT(*) FROM stripe_event WHERE state = 'new'),"
    " (SELECT COUNT(*) FROM stripe_event WHERE state = 'parked'),"
    " (SELECT COUNT(*) FROM mail_outbox WHERE state IN ('queued', 'sending', 'parked')),"
    " (SELECT COUNT(*) FROM mail_outbox WHERE state = 'dead'),"
    " (SELECT COUNT(*) FROM mail_outbox WHERE " PTG_MAIL_UNREACHED("$1") "),"
    " (SELECT COUNT(*) FROM command WHERE state IN ('requested', 'pending')),"
    " (SELECT COUNT(*) FROM command WHERE state = 'parked'),"
    " (SELECT COUNT(*) FROM refund WHERE state IN ('requested', 'pending')),"
    " (SELECT COUNT(*) FROM purchase WHERE alarm <> '')"};

#undef PTG_BEFORE
#undef PTG_CUSTOMER_COLUMNS
#undef PTG_NEWEST
#undef PTG_PURCHASE_COLUMNS
#undef PTG_EVENT_COLUMNS
#undef PTG_MAIL_COLUMNS
#undef PTG_MAIL_BRINGS
#undef PTG_MAIL_UNREACHED

Customer CustomerOf(const db::Row& row, UnixMs now) {
  License newest;
  newest.status = ParseStatus(row.Text(3)).value_or(Status::kSuspended);
  newest.expires = UnixMs(row.Int(4));
  return {.id = row.Text(0),
          .email = row.Text(1),
          .plan = row.Text(2),
          .status = StatusAt(newest, now),
          .expires = newest.expires,
          .licenses = row.Int(7),
          .since = UnixMs(row.Int(5)),
          .license = row.Text(6)};
}

Result<std::optional<Customer>> ReadCustomer(db::Tx& tx, const std::string& id, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kCustomer, id));
  if (!rows.empty()) return std::optional(CustomerOf(rows.front(), now));
  PTG_TRY(const db::Rows bought, tx.Run(kBuyer, id));
  if (bought.empty()) return std::optional<Customer>();
  Customer out;
  out.id = id;
  out.email = bought.front().Text(0);
  return std::optional(std::move(out));
}

PurchaseRow PurchaseOf(const db::Row& row) {
  return {.id = row.Text(0),
          .customer = row.Text(1),
          .email = row.Text(2),
          .status = row.Text(3),
          .plan = row.Text(4),
          .paid_through = UnixMs(row.Int(5)),
          .period_end = UnixMs(row.Int(6)),
          .cancel_at = UnixMs(row.Int(7)),
          .invoice_url = row.Text(8),
          .alarm = row.Text(9),
          .fetched = UnixMs(row.Int(10)),
          .created = UnixMs(row.Int(11))};
}

EventRow EventOf(const db::Row& row) {
  return {.id = row.Text(0),
          .type = row.Text(1),
          .object_kind = row.Text(2),
          .object_id = row.Text(3),
          .api_version = row.Text(4),
          .source = row.Text(5),
          .state = row.Text(6),
          .attempts = row.Int(7),
          .next = UnixMs(row.Int(8)),
          .last_error = row.Text(9),
          .created = UnixMs(row.Int(10)),
          .received = UnixMs(row.Int(11)),
          .done = UnixMs(row.Int(12))};
}

MailRow MailOf(const db::Row& row) {
  return {.id = row.Text(0),
          .kind = row.Text(1),
          .license = row.Text(2),
          .recipient = row.Text(3),
          .state = row.Text(4),
          .attempts = row.Int(5),
          .next = UnixMs(row.Int(6)),
          .provider = row.Text(7),
          .last_error = row.Text(8),
          .created = UnixMs(row.Int(9)),
          .updated = UnixMs(row.Int(10)),
          .generation = row.Int(11),
          .suppressed = row.Text(12)};
}

// Of an object that has no row of its own (the session of a subscription, a charge, somebody else's
// refund): the customer, or else the payment, that an event about it names.
Result<std::string> ToldOf(db::Tx& tx, const std::string& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kToldOf, id));
  codec::JsonLimits limits;
  limits.max_bytes = 1 << 20;
  limits.max_depth = 64;
  for (const db::Row& row : rows) {
    const Result<codec::Json> event = codec::ParseJson(row.Text(0), limits);
    const codec::Json* data = event ? event->Find("data") : nullptr;
    const codec::Json* object = data == nullptr ? nullptr : data->Find("object");
    for (const std::string_view member : {"customer", "subscription", "payment_intent"}) {
      const codec::Json* value = object == nullptr ? nullptr : object->Find(member);
      const std::string* text = value == nullptr ? nullptr : value->AsString();
      if (text != nullptr && !text->empty()) return *text;
    }
  }
  return std::string();
}

// Not by an address.
Result<db::Rows> FindByName(db::Tx& tx, const std::string& text, const Before& before,
                            int64_t most) {
  const auto starts = [&text](std::string_view prefix) { return text.starts_with(prefix); };
  PTG_TRY(db::Rows found, tx.Run(kByName, text, before.at_ms, before.id, most));
  if (!found.empty() || text.empty() || text.contains('@')) return found;
  if (starts("si_")) return tx.Run(kByItem, text, before.at_ms, before.id, most);
  const bool told =
      starts("cs_") || starts("ch_") || starts("re_") || starts("dp_") || starts("du_");
  if (!told) return tx.Run(kByNumber, text, before.at_ms, before.id, most);
  PTG_TRY(const std::string other, ToldOf(tx, text));
  if (other.empty()) return found;
  return tx.Run(kByName, other, before.at_ms, before.id, most);
}

template <typename T, typename F>
std::vector<T> Each(const db::Rows& rows, F read) {
  std::vector<T> out;
  out.reserve(rows.size());
  for (const db::Row& row : rows) out.push_back(read(row));
  return out;
}

}  // namespace

Result<std::vector<Customer>> ListCustomers(db::Tx& tx, const Before& before, size_t limit,
                                            UnixMs now) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kCustomers, before.at_ms, before.id, static_cast<int64_t>(limit)));
  return Each<Customer>(rows, [now](const db::Row& row) { return CustomerOf(row, now); });
}

Result<std::vector<Customer>> SearchCustomers(db::Tx& tx, const std::string& text,
                                              const Before& before, size_t limit, UnixMs now) {
  const auto most = static_cast<int64_t>(limit);
  PTG_TRY(db::Rows found, FindByName(tx, text, before, most));
  const std::string email = NormalEmail(text);
  if (found.empty()) {
    PTG_TRY(found, tx.Run(kByEmail, email, before.at_ms, before.id, most));
  }
  // Nobody of that address: perhaps it is the beginning of one. Looks at all licenses.
  if (found.empty() && !email.empty()) {
    // In characters, as both engines count them.
    const int64_t size = std::ranges::count_if(
        email, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    PTG_TRY(found, tx.Run(kByBeginning, email, before.at_ms, before.id, most, size));
  }
  std::vector<Customer> out;
  for (const db::Row& row : found) {
    PTG_TRY(std::optional<Customer> one, ReadCustomer(tx, row.Text(0), now));
    if (one) out.push_back(*std::move(one));
  }
  return out;
}

Result<std::vector<PurchaseRow>> ListPurchases(db::Tx& tx, const std::string& customer,
                                               size_t limit) {
  PTG_TRY(const db::Rows rows, tx.Run(kPurchases, customer, static_cast<int64_t>(limit)));
  return Each<PurchaseRow>(rows, PurchaseOf);
}

Result<std::optional<PurchaseRow>> ReadPurchase(db::Tx& tx, const std::string& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kPurchase, id));
  if (rows.empty()) return std::optional<PurchaseRow>();
  return std::optional(PurchaseOf(rows.front()));
}

Result<std::vector<InvoiceRow>> ListInvoices(db::Tx& tx, const InvoiceFilter& filter) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kInvoices, filter.before.at_ms, filter.before.id,
                 static_cast<int64_t>(filter.limit), filter.customer, filter.status));
  return Each<InvoiceRow>(rows, [](const db::Row& row) {
    return InvoiceRow{.id = row.Text(0),
                      .purchase = row.Text(1),
                      .customer = row.Text(2),
                      .email = row.Text(10),
                      .number = row.Text(3),
                      .status = row.Text(4),
                      .currency = row.Text(5),
                      .due = row.Int(6),
                      .paid = row.Int(7),
                      .url = row.Text(8),
                      .created = UnixMs(row.Int(9))};
  });
}

Result<std::vector<EventRow>> ListEvents(db::Tx& tx, const EventFilter& filter) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kEvents, filter.before.at_ms, filter.before.id, static_cast<int64_t>(filter.limit),
                 filter.state, filter.type, filter.object));
  return Each<EventRow>(rows, EventOf);
}

Result<std::optional<EventWhole>> ReadEvent(db::Tx& tx, const std::string& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kEvent, id));
  if (rows.empty()) return std::optional<EventWhole>();
  return std::optional(EventWhole{.row = EventOf(rows.front()), .payload = rows.front().Text(13)});
}

bool BringsLicense(std::string_view kind) {
  return kind == "license" || kind == "reissue" || kind == "key_rotation";
}

Result<std::vector<MailRow>> ListOutbox(db::Tx& tx, const MailFilter& filter) {
  if (filter.state == kUnreached) {
    PTG_TRY(const db::Rows rows,
            tx.Run(kUnreachedMails, filter.before.at_ms, filter.before.id,
                   static_cast<int64_t>(filter.limit), filter.now.ms(), filter.license));
    return Each<MailRow>(rows, MailOf);
  }
  PTG_TRY(const db::Rows rows,
          tx.Run(kMails, filter.before.at_ms, filter.before.id, static_cast<int64_t>(filter.limit),
                 filter.state, filter.license));
  return Each<MailRow>(rows, MailOf);
}

Result<std::optional<MailRow>> ReadMailRow(db::Tx& tx, const std::string& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kMail, id));
  if (rows.empty()) return std::optional<MailRow>();
  return std::optional(MailOf(rows.front()));
}

Result<SalesTotals> CountSales(db::Tx& tx, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kCount, now.ms()));
  const db::Row& row = rows.at(0);
  return SalesTotals{.events_new = row.Int(0),
                     .events_parked = row.Int(1),
                     .mails_open = row.Int(2),
                     .mails_dead = row.Int(3),
                     .mails_unreached = row.Int(4),
                     .commands_open = row.Int(5),
                     .commands_parked = row.Int(6),
                     .refunds_open = row.Int(7),
                     .alarms = row.Int(8)};
}

}  // namespace pontage::license
