#include <algorithm>
#include <memory>
#include <ranges>
#include <string>
#include <utility>
#include <vector>

#include "app/cli/books.h"
#include "app/cli/commands.h"
#include "app/licenses.h"
#include "base/try.h"
#include "console/html.h"
#include "console/queries.h"
#include "license/verifier.h"

// What the books say of one license, as the console's pages do. Reads only.
namespace pontage::app {
namespace {

using codec::Json;

constexpr Millis kPatience{30'000};

// Where the books of licenses and those of calls lie: one store, unless the configuration names
// others for the console.
struct Stores {
  std::unique_ptr<db::Database> sales;
  std::unique_ptr<db::Database> apart;  // null: the same

  db::Database& ledger() const { return apart ? *apart : *sales; }
};

Result<Stores> OpenStores(const Config& config) {
  const auto named = [&config](const std::string& url) {
    return url.empty() ? config.store.url : url;
  };
  const std::string sales = named(config.console.sales_store);
  const std::string ledger = named(config.console.ledger_store);
  Stores stores;
  PTG_TRY(stores.sales, OpenBooks(sales));
  if (ledger != sales) {
    PTG_TRY(stores.apart, OpenBooks(ledger));
  }
  return stores;
}

// As it is, or out of the license itself.
Result<std::string> IdOf(const Config& config, db::Database& sales, const std::string& name) {
  if (!license::Verifier::LooksLikeOne(name)) return name;
  PTG_TRY(const auto verifier, LoadVerifier(config, sales));
  if (!verifier) return Fail(NothingUnder(name));
  const auto verified = verifier->Read(name, Clock::System().Now());
  if (verified) return verified->claims.id;
  const Error nothing = NothingUnder(name);
  return Fail(Error(nothing.code(), nothing.detail() + ": " + verified.error().detail())
                  .Want(nothing.expected()));
}

struct Told {
  console::LicenseWhole whole;
  std::vector<license::InvoiceRow> invoices;  // of its purchase
};

Task<Told> Tell(console::Queries& queries, std::string id, Deadline by) {
  Told out;
  PTG_CO_TRY(out.whole, co_await queries.License(std::move(id), by));
  if (!out.whole.purchase) co_return out;
  const std::string& purchase = out.whole.purchase->id;
  console::PageAsk page{.cursor = {}, .limit = console::kMostRows};
  // Of the whole customer, who has few: a purchase has one a month at most.
  const std::string customer = out.whole.purchase->customer;
  PTG_CO_TRY(auto found, co_await queries.Invoices(customer, std::move(page), by));
  std::erase_if(found.rows, [&](const license::InvoiceRow& i) { return i.purchase != purchase; });
  if (found.rows.size() > console::kBelonging) found.rows.resize(console::kBelonging);
  out.invoices = std::move(found.rows);
  co_return out;
}

struct Line {
  UnixMs at;
  std::string what;
  std::string detail;
  size_t place = 0;  // among those of one instant
};

// "a, b": what there is of the parts.
std::string Joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) {
    if (part.empty()) continue;
    if (!out.empty()) out += ", ";
    out += part;
  }
  return out;
}

std::string Said(std::string_view before, const std::string& text) {
  return text.empty() ? "" : std::string(before) + text;
}

// "" of what is no single value: the rows themselves have it.
std::string Word(const Json* value) {
  if (value == nullptr || value->AsObject() != nullptr || value->AsArray() != nullptr) return "";
  const std::string* text = value->AsString();
  return text != nullptr ? *text : codec::ToString(*value);
}

// "status active -> revoked": what the row says that it did not say before.
std::string ChangeOf(const ledger::AuditEntry& entry) {
  const auto before = codec::ParseJson(entry.before);
  const auto after = codec::ParseJson(entry.after);
  if (!after || after->AsObject() == nullptr) return {};
  std::vector<std::string> parts;
  for (const codec::JsonMember& member : *after->AsObject()) {
    const std::string is = Word(&member.value);
    const std::string was = before ? Word(before->Find(member.key)) : std::string();
    if (is.empty() || is == was || is == entry.subject) continue;
    parts.push_back(member.key + ' ' + (was.empty() ? "" : was + " -> ") + is);
  }
  return Joined(parts);
}

Line LineOf(const ledger::AuditRow& row) {
  const ledger::AuditEntry& e = row.entry;
  return {row.at, e.verb, Joined({Said("by ", e.actor), ChangeOf(e), Said("reason: ", e.reason)})};
}

Line LineOf(const ledger::Command& c) {
  const std::string state(ledger::ToString(c.state));
  return {c.created, "order",
          Joined({c.verb + ' ' + c.id, Said("by ", c.actor),
                  c.over() ? state + ' ' + c.updated.Rfc3339() : state, c.last_error})};
}

Line LineOf(const license::Refund& r) {
  const std::string amount = r.amount > 0 ? console::Amount(r.amount, r.currency) : std::string();
  return {r.created, "refund",
          Joined({r.id, amount, r.state + ' ' + r.updated.Rfc3339(), Said("by ", r.actor),
                  Said("reason: ", r.reason)})};
}

Line LineOf(const license::InvoiceRow& i) {
  return {i.created, "invoice",
          Joined({i.number.empty() ? i.id : i.number,
                  console::Amount(i.paid > 0 ? i.paid : i.due, i.currency), i.status})};
}

Line LineOf(const license::MailRow& m) {
  return {
      m.created, "mail",
      Joined({m.kind + " to " + m.recipient, m.state + ' ' + m.updated.Rfc3339(), m.last_error})};
}

// Of lists that begin with the newest: everything in order of time, and what is of one instant in
// the order in which it follows from one another.
std::vector<Line> HistoryOf(const Told& told) {
  std::vector<Line> out;
  const auto add = [&out](const auto& rows) {
    for (const auto& row : std::views::reverse(rows)) {
      out.push_back(LineOf(row));
      out.back().place = out.size();
    }
  };
  add(told.whole.commands);
  add(told.invoices);
  add(told.whole.audit);
  add(told.whole.refunds);
  add(told.whole.mails);
  std::ranges::sort(out, {}, [](const Line& line) { return std::pair(line.at, line.place); });
  return out;
}

// Kinds of which there may be older rows than are shown.
std::vector<std::string> MoreOf(const Told& told) {
  std::vector<std::string> out;
  const auto full = [&out](const char* kind, size_t rows) {
    if (rows >= console::kBelonging) out.emplace_back(kind);
  };
  full("audit", told.whole.audit.size());
  full("orders", told.whole.commands.size());
  full("refunds", told.whole.refunds.size());
  full("invoices", told.invoices.size());
  full("mails", told.whole.mails.size());
  return out;
}

template <typename T>
Json ListOf(const std::vector<T>& rows) {
  Json list = Json::Array();
  // Each kind has its ToJson beside its store or the console's queries.
  using console::ToJson;
  for (const T& row : rows) list.Push(ToJson(row));
  return list;
}

Json ToJson(const Told& told, UnixMs now) {
  const console::LicenseWhole& w = told.whole;
  Json json = license::ToJson(w.license, now);
  json.Set("usage", license::ToJson(w.usage));
  json.Set("purchase", w.purchase ? console::ToJson(*w.purchase) : Json(nullptr));
  Json history = Json::Array();
  for (const Line& line : HistoryOf(told)) {
    history.Push(
        Json::Object({{"at", line.at.Rfc3339()}, {"what", line.what}, {"detail", line.detail}}));
  }
  json.Set("history", std::move(history));
  json.Set("audit", ListOf(w.audit));
  json.Set("orders", ListOf(w.commands));
  json.Set("refunds", ListOf(w.refunds));
  json.Set("invoices", ListOf(told.invoices));
  json.Set("mails", ListOf(w.mails));
  Json more = Json::Array();
  for (const std::string& kind : MoreOf(told)) more.Push(kind);
  json.Set("more", std::move(more));
  return json;
}

void PrintFacts(const console::LicenseWhole& w, UnixMs now) {
  const license::License& l = w.license;
  PrintLine(l.id + ": " + std::string(license::ToString(w.status)) + ", plan " + l.plan);
  const std::vector<std::pair<std::string_view, std::string>> facts = {
      {"customer", l.customer},
      {"email", l.email},
      {"subscription", l.subscription},
      {"purchase",
       w.purchase ? Joined({w.purchase->id + ' ' + w.purchase->status, w.purchase->alarm}) : ""},
      {"generation", std::to_string(l.generation)},
      {"paid through", l.paid_through.Rfc3339()},
      {"expires", l.expires.Rfc3339()},
      {"extended", l.extended > UnixMs() ? "until " + l.extended.Rfc3339() : ""},
      {"issued", l.issued.Rfc3339()},
      {"old text", l.old_until > now ? "good until " + l.old_until.Rfc3339() : ""},
      {"revoked by", l.revoked_by},
      {"reason", l.reason},
      {"calls",
       std::to_string(w.usage.today) + " today, " + std::to_string(w.usage.month) + " this month"}};
  for (const auto& [name, value] : facts) {
    if (!value.empty())
      PrintLine("  " + std::string(name) + std::string(13 - name.size(), ' ') + value);
  }
}

void ExplainToPerson(const Told& told, UnixMs now) {
  PrintFacts(told.whole, now);
  PrintLine("  history");
  for (const Line& line : HistoryOf(told)) {
    PrintLine("    " + line.at.Rfc3339() + "  " + line.what + Said("  ", line.detail));
  }
  const std::string more = Joined(MoreOf(told));
  if (!more.empty()) {
    PrintLine("    the newest " + std::to_string(console::kBelonging) + " of each: there may be " +
              "older " + more);
  }
  const std::vector<license::Usage::Count>& routes = told.whole.usage.routes;
  if (!routes.empty()) PrintLine("  calls by route, of the last 31 days that had any");
  for (const license::Usage::Count& route : routes) {
    PrintLine("    " + route.name + "  " + std::to_string(route.calls));
  }
}

}  // namespace

bool NamesLicense(const std::string& name) {
  return name.starts_with("lic_") || license::Verifier::LooksLikeOne(name);
}

int ExplainLicense(const CommonOptions& common, const Config& config, const std::string& name) {
  const auto stores = OpenStores(config);
  if (!stores) return FailWith(common, stores.error());
  const auto id = IdOf(config, *stores->sales, name);
  if (!id) return FailWith(common, id.error());
  console::Queries queries(
      {.ledger = stores->ledger(), .sales = *stores->sales, .clock = Clock::System()});
  Loop loop;
  const Deadline by = Deadline::In(Clock::System(), kPatience);
  const auto told = loop.RunUntilDone(Tell(queries, *id, by));
  if (!told) {
    const bool none = told.error().code() == Code::kNotFound;
    return FailWith(common, none ? NothingUnder(*id) : told.error());
  }
  const UnixMs now = queries.Now();
  if (!WantsJson(common)) {
    ExplainToPerson(*told, now);
    return kDone;
  }
  Json list = Json::Array();
  list.Push(ToJson(*told, now));
  PrintJson(Json::Object({{"licenses", std::move(list)}}));
  return kDone;
}

}  // namespace pontage::app
