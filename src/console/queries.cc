#include "console/queries.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <utility>

#include "base/try.h"
#include "console/html.h"
#include "ledger/ledger_store.h"
#include "license/claims.h"

namespace pontage::console {
namespace {

using codec::Json;
using license::Before;

Error BadCursor() {
  return Error(Code::kBadRequest, "no cursor of this list")
      .At("/cursor")
      .Want("what `next` of the page before said");
}

Result<size_t> LimitOf(const PageAsk& page) {
  if (page.limit >= 1 && page.limit <= kMostRows) return page.limit;
  return Fail(Error(Code::kBadRequest, "a page of no size")
                  .At("/limit")
                  .Want("1 to " + std::to_string(kMostRows)));
}

std::string CursorOf(UnixMs at, const std::string& id) {
  return std::to_string(at.ms()) + "." + id;
}

Result<int64_t> NumberOf(std::string_view text) {
  int64_t value = 0;
  const auto [at, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || at != text.data() + text.size() || value < 0) {
    return Fail(BadCursor());
  }
  return value;
}

Result<Before> BeforeOf(const PageAsk& page) {
  if (page.cursor.empty()) return Before{};
  const size_t dot = page.cursor.find('.');
  if (dot == std::string::npos || dot + 1 == page.cursor.size() || page.cursor.size() > 300) {
    return Fail(BadCursor());
  }
  PTG_TRY(const int64_t at, NumberOf(std::string_view(page.cursor).substr(0, dot)));
  return Before{.at_ms = at, .id = page.cursor.substr(dot + 1)};
}

// One more row than was asked for says that there is another page.
template <typename T, typename F>
Page<T> PageOf(std::vector<T> rows, size_t limit, F cursor) {
  Page<T> page;
  if (rows.size() > limit) {
    rows.resize(limit);
    page.next = cursor(rows.back());
  }
  page.rows = std::move(rows);
  return page;
}

Result<> CheckWord(std::string_view text, std::string_view pointer) {
  if (text.size() <= kMostSearch) return {};
  return Fail(Error(Code::kBadRequest, "longer than anything that is looked for")
                  .At(std::string(pointer))
                  .Want("at most " + std::to_string(kMostSearch) + " characters"));
}

constexpr std::array<std::string_view, 4> kEventStates = {"new", "done", "ignored", "parked"};
constexpr std::array<std::string_view, 8> kMailStates = {
    "queued", "sending", "parked", "sent", "dead", "suppressed", "bounced", license::kUnreached};
constexpr std::array<std::string_view, 5> kCommandStates = {"requested", "pending", "done",
                                                            "failed", "parked"};
// Stripe's words for an invoice.
constexpr std::array<std::string_view, 5> kInvoiceStates = {"draft", "open", "paid",
                                                            "uncollectible", "void"};

// A slip is told, or a list of what nobody asked for would look like none at all.
Result<> CheckState(std::string_view state, std::span<const std::string_view> known) {
  if (state.empty() || std::ranges::find(known, state) != known.end()) return {};
  std::string words;
  for (const std::string_view word : known) words.append(words.empty() ? "" : ", ").append(word);
  return Fail(Error(Code::kBadRequest, "no such state").At("/state").Want(words));
}

Error NotThere(std::string_view what, const std::string& id) {
  return {Code::kNotFound, "there is no " + std::string(what) + " " + id};
}

PaymentRow OfChain(const ledger::Reservation& r) {
  return {.rail = r.rail,
          .id = r.id.str(),
          .at = r.created,
          .state = std::string(ledger::ToString(r.state)),
          .payer = r.payer,
          .email = {},
          .amount = r.price.ToString(),
          .what = r.route,
          .delivery = std::string(ledger::ToString(r.delivery)),
          .network = r.network,
          .reference = r.transaction,
          .url = {}};
}

PaymentRow OfCard(const license::InvoiceRow& i) {
  return {.rail = "card",
          .id = i.id,
          .at = i.created,
          .state = i.status,
          .payer = i.customer,
          .email = i.email,
          .amount = Amount(i.paid > 0 ? i.paid : i.due, i.currency),
          .what = i.purchase,
          .delivery = {},
          .network = {},
          .reference = i.number,
          .url = i.url};
}

}  // namespace

Task<Overview> Queries::Look(Deadline by) {
  Overview out;
  const UnixMs now = Now();
  const auto sales = [now](db::Tx& tx) { return license::CountSales(tx, now); };
  PTG_CO_TRY(out.sales, co_await parts_.sales.Read(sales, by));
  const auto books = [](db::Tx& tx) { return ledger::CountReservations(tx); };
  PTG_CO_TRY(out.ledger, co_await parts_.ledger.Read(books, by));
  co_return out;
}

std::string Queries::LicenseIn(std::string_view text) const {
  if (text.size() <= kMostSearch) return {};
  return parts_.name_license ? parts_.name_license(text) : license::IdNamedBy(text);
}

Task<Page<license::Customer>> Queries::Customers(std::string search, PageAsk page, Deadline by) {
  PTG_CO_TRY(const size_t limit, LimitOf(page));
  PTG_CO_TRY(const Before before, BeforeOf(page));
  // What people have in hand may be the license itself: its id stands for it from here on.
  if (std::string id = LicenseIn(search); !id.empty()) search = std::move(id);
  PTG_CO_RUN(CheckWord(search, "/q"));
  const UnixMs now = Now();
  const auto read = [&](db::Tx& tx) -> Result<std::vector<license::Customer>> {
    if (!search.empty()) return license::SearchCustomers(tx, search, before, limit + 1, now);
    return license::ListCustomers(tx, before, limit + 1, now);
  };
  PTG_CO_TRY(std::vector<license::Customer> rows, co_await parts_.sales.Read(read, by));
  // Of everybody each has a license; who is found by a search perhaps none.
  const bool all = search.empty();
  co_return PageOf(std::move(rows), limit, [all](const license::Customer& c) {
    return CursorOf(c.since, all ? c.license : c.id);
  });
}

Task<CustomerWhole> Queries::Customer(std::string id, Deadline by) {
  PTG_CO_RUN(CheckWord(id, "/id"));
  const UnixMs now = Now();
  const auto read = [&](db::Tx& tx) -> Result<CustomerWhole> {
    PTG_TRY(const std::vector<license::Customer> found,
            license::SearchCustomers(tx, id, {}, kMostRows, now));
    // What names him: his id, else a license, a payment, his whole address. Its beginning is a
    // search, and may be somebody else's.
    const auto it = std::ranges::find(found, id, &license::Customer::id);
    const auto who = it != found.end() ? it : found.begin();
    const std::string address = license::NormalEmail(id);
    if (who == found.end() ||
        (who->id != id && who->email != address && who->email.starts_with(address))) {
      return Fail(NotThere("customer", id));
    }
    CustomerWhole out;
    out.id = who->id;
    out.email = who->email;
    PTG_TRY(out.purchases, license::ListPurchases(tx, out.id, kMostRows));
    license::LicenseFilter licenses;
    licenses.customer = out.id;
    licenses.limit = kMostRows;
    PTG_TRY(out.licenses, license::ListLicenses(tx, licenses));
    license::InvoiceFilter invoices;
    invoices.customer = out.id;
    invoices.limit = kMostRows;
    PTG_TRY(out.invoices, license::ListInvoices(tx, invoices));
    for (const license::License& one : out.licenses) {
      if (out.refunds.size() >= kMostRows) break;
      license::RefundFilter refunds;
      refunds.license = one.id;
      refunds.limit = kBelonging;
      PTG_TRY(std::vector<license::Refund> some, license::ListRefunds(tx, refunds));
      out.refunds.insert(out.refunds.end(), some.begin(), some.end());
    }
    std::ranges::sort(out.refunds, std::ranges::greater(),
                      [](const license::Refund& r) { return std::pair(r.created, r.id); });
    return out;
  };
  co_return co_await parts_.sales.Read(read, by);
}

Task<Page<license::License>> Queries::Licenses(LicenseAsk ask, PageAsk page, Deadline by) {
  PTG_CO_TRY(const size_t limit, LimitOf(page));
  PTG_CO_TRY(const Before before, BeforeOf(page));
  PTG_CO_RUN(CheckWord(ask.customer, "/customer"));
  PTG_CO_RUN(CheckWord(ask.email, "/email"));
  if (std::string id = LicenseIn(ask.license); !id.empty()) ask.license = std::move(id);
  PTG_CO_RUN(CheckWord(ask.license, "/license"));
  const auto read = [&](db::Tx& tx) -> Result<std::vector<license::License>> {
    std::vector<license::License> out;
    if (!ask.license.empty()) {
      PTG_TRY(std::optional<license::License> one, license::FindLicense(tx, ask.license));
      const bool other =
          one && ((!ask.customer.empty() && one->customer != ask.customer) ||
                  (!ask.email.empty() && one->email != license::NormalEmail(ask.email)));
      if (one && !other && before.empty()) out.push_back(*std::move(one));
      return out;
    }
    license::LicenseFilter filter;
    filter.customer = ask.customer;
    filter.email = license::NormalEmail(ask.email);
    filter.limit = limit + 1;
    filter.before_created = UnixMs(before.at_ms);
    filter.before_id = before.id;
    // Of an address that is nothing but blanks there is none.
    if (!ask.email.empty() && filter.email.empty()) return out;
    return license::ListLicenses(tx, filter);
  };
  PTG_CO_TRY(std::vector<license::License> rows, co_await parts_.sales.Read(read, by));
  co_return PageOf(std::move(rows), limit,
                   [](const license::License& l) { return CursorOf(l.created, l.id); });
}

Task<LicenseWhole> Queries::License(std::string id, Deadline by) {
  const UnixMs now = Now();
  const auto read = [&](db::Tx& tx) -> Result<LicenseWhole> {
    PTG_TRY(std::optional<license::License> found, license::FindLicense(tx, id));
    if (!found) return Fail(NotThere("license", id));
    LicenseWhole out;
    out.license = *std::move(found);
    out.status = license::StatusAt(out.license, now);
    constexpr std::string_view kSession = "session:";
    const std::string& origin = out.license.origin;
    const std::string purchase = !out.license.subscription.empty() ? out.license.subscription
                                 : origin.starts_with(kSession)    ? origin.substr(kSession.size())
                                                                   : std::string();
    if (!purchase.empty()) {
      PTG_TRY(out.purchase, license::ReadPurchase(tx, purchase));
    }
    license::RefundFilter refunds;
    refunds.license = id;
    refunds.limit = kBelonging;
    PTG_TRY(out.refunds, license::ListRefunds(tx, refunds));
    license::MailFilter mails;
    mails.license = id;
    mails.limit = kBelonging;
    PTG_TRY(out.mails, license::ListOutbox(tx, mails));
    ledger::CommandFilter commands;
    commands.subject = id;
    commands.limit = kBelonging;
    PTG_TRY(out.commands, ledger::ListCommands(tx, commands));
    ledger::AuditFilter audit;
    audit.subject = id;
    audit.limit = kBelonging;
    PTG_TRY(out.audit, ledger::ListAudit(tx, audit));
    return out;
  };
  PTG_CO_TRY(LicenseWhole whole, co_await parts_.sales.Read(read, by));
  const auto count = [&](db::Tx& tx) { return license::ReadUsage(tx, id, now); };
  PTG_CO_TRY(whole.usage, co_await parts_.ledger.Read(count, by));
  co_return whole;
}

Task<Page<PaymentRow>> Queries::Payments(PaymentAsk ask, PageAsk page, Deadline by) {
  PTG_CO_TRY(const size_t limit, LimitOf(page));
  PTG_CO_TRY(const Before before, BeforeOf(page));
  PTG_CO_RUN(CheckWord(ask.customer, "/customer"));
  if (!ask.rail.empty() && ask.rail != "x402" && ask.rail != "card") {
    co_return Fail(Error(Code::kBadRequest, "no rail of ours").At("/rail").Want("x402 or card"));
  }
  std::vector<PaymentRow> rows;
  const Result<ledger::State> state = ledger::ParseState(ask.state);
  if (!state && !CheckState(ask.state, kInvoiceStates)) {
    co_return Fail(Error(Code::kBadRequest, "no such state")
                       .At("/state")
                       .Want("a state of a payment on a chain (" + state.error().expected() +
                             "), or of an invoice (draft, open, paid, uncollectible, void)"));
  }
  if (ask.rail != "card" && (ask.state.empty() || state)) {
    ledger::Ledger::Filter filter;
    if (state) filter.state = *state;
    filter.payer = ask.customer;
    filter.limit = limit + 1;
    filter.before_created = UnixMs(before.at_ms);
    filter.before_id = before.id;
    const auto read = [&filter](db::Tx& tx) { return ledger::ListReservations(tx, filter); };
    PTG_CO_TRY(const std::vector<ledger::Reservation> some, co_await parts_.ledger.Read(read, by));
    for (const ledger::Reservation& one : some) rows.push_back(OfChain(one));
  }
  if (ask.rail != "x402" && (ask.state.empty() || !state)) {
    license::InvoiceFilter filter;
    filter.customer = ask.customer;
    filter.status = ask.state;
    filter.before = before;
    filter.limit = limit + 1;
    const auto read = [&filter](db::Tx& tx) { return license::ListInvoices(tx, filter); };
    PTG_CO_TRY(const std::vector<license::InvoiceRow> some, co_await parts_.sales.Read(read, by));
    for (const license::InvoiceRow& one : some) rows.push_back(OfCard(one));
  }
  std::ranges::sort(rows, std::ranges::greater(),
                    [](const PaymentRow& r) { return std::pair(r.at, r.id); });
  co_return PageOf(std::move(rows), limit,
                   [](const PaymentRow& r) { return CursorOf(r.at, r.id); });
}

Task<ChainPayment> Queries::Payment(std::string name, Deadline by) {
  const auto read = [&name](db::Tx& tx) -> Result<ChainPayment> {
    PTG_TRY(std::vector<ledger::Reservation> found, ledger::FindReservations(tx, name));
    if (found.empty()) return Fail(NotThere("payment", name));
    ChainPayment out;
    out.row = std::move(found.front());
    PTG_TRY(out.history, ledger::ReadHistory(tx, out.row.id));
    return out;
  };
  co_return co_await parts_.ledger.Read(read, by);
}

Task<Page<license::InvoiceRow>> Queries::Invoices(std::string customer, PageAsk page, Deadline by) {
  PTG_CO_TRY(const size_t limit, LimitOf(page));
  license::InvoiceFilter filter;
  PTG_CO_TRY(filter.before, BeforeOf(page));
  filter.customer = std::move(customer);
  filter.limit = limit + 1;
  const auto read = [&filter](db::Tx& tx) { return license::ListInvoices(tx, filter); };
  PTG_CO_TRY(std::vector<license::InvoiceRow> rows, co_await parts_.sales.Read(read, by));
  co_return PageOf(std::move(rows), limit,
                   [](const license::InvoiceRow& i) { return CursorOf(i.created, i.id); });
}

Task<Page<license::Refund>> Queries::Refunds(std::string license, PageAsk page, Deadline by) {
  PTG_CO_TRY(const size_t limit, LimitOf(page));
  PTG_CO_TRY(const Before before, BeforeOf(page));
  license::RefundFilter filter{.license = std::move(license)};
  filter.before_created = UnixMs(before.at_ms);
  filter.before_id = before.id;
  filter.limit = limit + 1;
  const auto read = [&filter](db::Tx& tx) { return license::ListRefunds(tx, filter); };
  PTG_CO_TRY(std::vector<license::Refund> rows, co_await parts_.sales.Read(read, by));
  co_return PageOf(std::move(rows), limit,
                   [](const license::Refund& r) { return CursorOf(r.created, r.id); });
}

Task<Page<license::EventRow>> Queries::Events(EventAsk ask, PageAsk page, Deadline by) {
  PTG_CO_TRY(const size_t limit, LimitOf(page));
  PTG_CO_RUN(CheckState(ask.state, kEventStates));
  license::EventFilter filter{.state = ask.state, .type = ask.type, .object = ask.object};
  PTG_CO_TRY(filter.before, BeforeOf(page));
  filter.limit = limit + 1;
  const auto read = [&filter](db::Tx& tx) { return license::ListEvents(tx, filter); };
  PTG_CO_TRY(std::vector<license::EventRow> rows, co_await parts_.sales.Read(read, by));
  co_return PageOf(std::move(rows), limit,
                   [](const license::EventRow& e) { return CursorOf(e.received, e.id); });
}

Task<Queries::EventShown> Queries::Event(std::string id, Deadline by) {
  const auto read = [&id](db::Tx& tx) { return license::ReadEvent(tx, id); };
  PTG_CO_TRY(const std::optional<license::EventWhole> found, co_await parts_.sales.Read(read, by));
  if (!found) co_return Fail(NotThere("event", id));
  codec::JsonLimits limits;
  limits.max_bytes = 1 << 20;
  limits.max_depth = 64;
  EventShown out;
  out.row = found->row;
  if (const Result<Json> json = codec::ParseJson(found->payload, limits)) {
    out.payload = Redacted(*json);
  }
  co_return out;
}

Task<Page<license::MailRow>> Queries::Outbox(MailAsk ask, PageAsk page, Deadline by) {
  PTG_CO_TRY(const size_t limit, LimitOf(page));
  PTG_CO_RUN(CheckState(ask.state, kMailStates));
  license::MailFilter filter{.state = ask.state, .license = ask.license};
  PTG_CO_TRY(filter.before, BeforeOf(page));
  filter.limit = limit + 1;
  filter.now = Now();
  const auto read = [&filter](db::Tx& tx) { return license::ListOutbox(tx, filter); };
  PTG_CO_TRY(std::vector<license::MailRow> rows, co_await parts_.sales.Read(read, by));
  co_return PageOf(std::move(rows), limit,
                   [](const license::MailRow& m) { return CursorOf(m.created, m.id); });
}

Task<std::optional<DriftReport>> Queries::Drift(Deadline by) {
  if (!parts_.read_drift) co_return std::optional<DriftReport>();
  co_return co_await parts_.sales.Read(parts_.read_drift, by);
}

Task<Page<ledger::AuditRow>> Queries::Audit(std::string subject, PageAsk page, Deadline by) {
  PTG_CO_TRY(const size_t limit, LimitOf(page));
  ledger::AuditFilter filter{.subject = std::move(subject)};
  if (!page.cursor.empty()) {
    PTG_CO_TRY(filter.before, NumberOf(page.cursor));
  }
  filter.limit = limit + 1;
  const auto read = [&filter](db::Tx& tx) { return ledger::ListAudit(tx, filter); };
  PTG_CO_TRY(std::vector<ledger::AuditRow> rows, co_await parts_.sales.Read(read, by));
  co_return PageOf(std::move(rows), limit,
                   [](const ledger::AuditRow& row) { return std::to_string(row.seq); });
}

// What was good once may have been changed since: each time everything is looked at, in parts.
Task<AuditState> Queries::CheckAudit(Deadline by) {
  ledger::AuditCheck from;
  {
    const std::lock_guard lock(mutex_);
    from = checked_;
  }
  const auto most = static_cast<int64_t>(parts_.audit_rows);
  const Deadline until = Deadline::In(parts_.clock, parts_.audit_for);
  ledger::AuditCheck check = from;
  bool whole = false;
  do {
    // A break is looked for again from where the part began that has it.
    from = check;
    const auto read = [this, &from](db::Tx& tx) {
      return ledger::CheckAudit(tx, from, parts_.audit_rows);
    };
    PTG_CO_TRY(check, co_await parts_.sales.Read(read, by));
    whole = check.holds() && check.rows < most;
    Remember(from, check, whole);
  } while (!whole && check.holds() && !until.Passed(parts_.clock));
  co_return AuditState{.holds = check.holds(),
                       .whole = whole,
                       .rows = check.seq,
                       .seq = check.seq,
                       .hash = check.hash,
                       .broken_at = check.broken_at};
}

void Queries::Remember(const ledger::AuditCheck& from, const ledger::AuditCheck& check,
                       bool whole) {
  const std::lock_guard lock(mutex_);
  if (!check.holds()) {
    checked_ = from;
    broken_ = true;
    return;
  }
  // Another look, which began elsewhere, does not unsay a break that this one has not seen.
  if (broken_ && from.seq != checked_.seq) return;
  broken_ = false;
  checked_ = whole ? ledger::AuditCheck{} : check;
}

Task<Page<ledger::Command>> Queries::Commands(CommandAsk ask, PageAsk page, Deadline by) {
  PTG_CO_TRY(const size_t limit, LimitOf(page));
  PTG_CO_TRY(const Before before, BeforeOf(page));
  PTG_CO_RUN(CheckState(ask.state, kCommandStates));
  ledger::CommandFilter filter{.subject = ask.subject,
                               .state = ask.state,
                               .before_ms = before.at_ms,
                               .before_id = before.id,
                               .limit = limit + 1};
  const auto read = [&filter](db::Tx& tx) { return ledger::ListCommands(tx, filter); };
  PTG_CO_TRY(std::vector<ledger::Command> rows, co_await parts_.sales.Read(read, by));
  co_return PageOf(std::move(rows), limit,
                   [](const ledger::Command& c) { return CursorOf(c.created, c.id); });
}

Task<ledger::Command> Queries::Command(std::string id, Deadline by) {
  const auto read = [&id](db::Tx& tx) { return ledger::FindCommand(tx, id); };
  PTG_CO_TRY(std::optional<ledger::Command> found, co_await parts_.sales.Read(read, by));
  if (!found) co_return Fail(NotThere("command", id));
  co_return *std::move(found);
}

}  // namespace pontage::console
