#include "console/operator_pages.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "codec/hex.h"
#include "codec/text.h"
#include "console/pages.h"
#include "license/claims.h"
#include "wire/problem/error_map.h"

namespace pontage::console {
namespace {

constexpr Millis kBodyTimeout{10'000};
constexpr Millis kPageTimeout{10'000};
// A form leads on to the order's page, which looks again by itself: nobody stares at a white one.
constexpr Millis kOrderTimeout{2'000};
constexpr std::string_view kRoot = "/admin";
constexpr std::string_view kLogin = "/admin/login";
constexpr std::string_view kApi = "/admin/v1";

bool IsBelow(std::string_view path, std::string_view root) {
  return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
}

// One segment of a path; nothing for a broken escape.
std::optional<std::string> DecodedSegment(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    uint8_t byte = 0;
    if (!codec::HexInto(text.substr(std::min(i + 1, text.size()), 2), {&byte, 1})) {
      return std::nullopt;
    }
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

// What stands for {id}; nothing when the path is another one.
std::optional<std::string> MatchPath(std::string_view pattern, std::string_view path) {
  constexpr std::string_view kHole = "{id}";
  const size_t hole = pattern.find(kHole);
  if (hole == pattern.npos) return pattern == path ? std::optional<std::string>("") : std::nullopt;
  const std::string_view before = pattern.substr(0, hole);
  const std::string_view after = pattern.substr(hole + kHole.size());
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) ||
      !path.ends_with(after)) {
    return std::nullopt;
  }
  path.remove_prefix(before.size());
  path.remove_suffix(after.size());
  return path.find('/') == path.npos ? DecodedSegment(path) : std::nullopt;
}

// Browsers say where a request comes from; of those that do not the token alone tells.
bool FromElsewhere(const net::RequestHead& head) {
  const std::string_view site = head.headers.Get("Sec-Fetch-Site").value_or("same-origin");
  return site != "same-origin";
}

PageAsk AskOf(const web::Fields& query, size_t limit) {
  return {.cursor = std::string(query.Get("cursor")), .limit = limit};
}

// The page that a form stands on, as far as its path tells: the nearest above it.
std::string PageAbove(std::string_view path) {
  while (path.size() > kRoot.size()) {
    path = path.substr(0, path.rfind('/'));
    for (const OperatorPages::Route& route : OperatorPages::Routes()) {
      if (route.method == "GET" && MatchPath(route.path, path)) return std::string(path);
    }
  }
  return std::string(kRoot);
}

// Where a search leads to that may be a license as text, so that this stays in no history of
// addresses and is in none of ours. Empty: it is too short for one.
std::string WithoutLicense(const web::Fields& query, const Queries& queries) {
  const std::string_view search = codec::Trimmed(query.Get("q"));
  if (search.size() <= kMostSearch) return "";
  return Url({"admin", "customers"}, {{"q", queries.LicenseIn(search)}});
}

// Whom a login leads back to.
std::string NextOf(std::string_view target, const Queries& queries) {
  const Result<web::Fields> query = web::Fields::OfQuery(target);
  if (!query) return std::string(kRoot);
  const std::string next = WithoutLicense(*query, queries);
  return next.empty() ? SafeNext(target) : next;
}

bool IsHex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  });
}

}  // namespace

std::string PlaceOf(std::string_view search) {
  const auto starts = [search](std::string_view prefix) { return search.starts_with(prefix); };
  if (starts("pay_") || starts("req_")) return Url({"admin", "payments", search});
  if (starts("evt_")) return Url({"admin", "events", search});
  if (starts("cmd_")) return Url({"admin", "commands", search});
  if (!starts("0x") || !IsHex(search.substr(2))) return "";
  if (search.size() == 66) return Url({"admin", "payments", search});
  if (search.size() == 42) return Url({"admin", "payments"}, {{"customer", search}});
  return "";
}

std::span<const OperatorPages::Route> OperatorPages::Routes() {
  using P = OperatorPages;
  static constexpr std::array<Route, 22> kRoutes = {{
      {"GET", "/admin", Scope::kRead, &P::Home},
      {"GET", "/admin/customers", Scope::kRead, &P::Customers},
      {"GET", "/admin/customers/{id}", Scope::kRead, &P::Customer},
      {"GET", "/admin/licenses/{id}", Scope::kRead, &P::License},
      {"GET", "/admin/payments", Scope::kRead, &P::Payments},
      {"GET", "/admin/payments/{id}", Scope::kRead, &P::Payment},
      {"GET", "/admin/events", Scope::kRead, &P::Events},
      {"GET", "/admin/events/{id}", Scope::kRead, &P::Event},
      {"GET", "/admin/outbox", Scope::kRead, &P::Outbox},
      {"GET", "/admin/commands", Scope::kRead, &P::Commands},
      {"GET", "/admin/commands/{id}", Scope::kRead, &P::Command},
      {"GET", "/admin/drift", Scope::kRead, &P::Drift},
      {"GET", "/admin/audit", Scope::kRead, &P::Audit},
      {"GET", "/admin/issue", Scope::kOwner, &P::AskIssue},
      {"POST", "/admin/issue", Scope::kOwner, &P::Issue},
      {"POST", "/admin/licenses/{id}/extend", Scope::kSupport, &P::Extend},
      {"POST", "/admin/licenses/{id}/reissue", Scope::kSupport, &P::Reissue},
      {"POST", "/admin/licenses/{id}/revoke", Scope::kOwner, &P::Revoke},
      {"POST", "/admin/licenses/{id}/refund", Scope::kRefund, &P::Refund},
      {"POST", "/admin/events/{id}/rerun", Scope::kSupport, &P::Rerun},
      {"POST", "/admin/outbox/{id}/retry", Scope::kSupport, &P::Retry},
      {"POST", "/admin/logout", Scope::kRead, &P::Logout},
  }};
  return kRoutes;
}

bool OperatorPages::Serves(std::string_view target) const {
  const std::string_view path = web::PathOf(target);
  return IsBelow(path, kRoot) && !IsBelow(path, kApi);
}

Task<> OperatorPages::Handle(net::RequestHead& head, net::BodySource& body,
                             net::ResponseWriter& out) {
  const std::string id = NewIdText("req", parts_.clock, parts_.rng);
  Result<web::Answer> decided = co_await Decide(head, body, id);
  if (!decided && decided.error().code() == Code::kConnection) co_return Fail(decided.error());
  web::Answer answer;
  if (decided) {
    answer = *std::move(decided);
  } else {
    // Before anybody is known: no page of the console says more than this.
    answer = ConsolePage(problem::RowOf(decided.error().code()).http,
                         LoginPage(decided.error().detail(), kRoot));
  }
  co_return co_await web::SendAnswer(out, std::move(answer), parts_.clock, parts_.rng);
}

Task<std::optional<Session>> OperatorPages::WhoIs(const net::RequestHead& head, Deadline by) {
  PTG_CO_TRY(std::optional<Session> session, co_await parts_.sessions.Find(head, by));
  if (!session) co_return session;
  const OperatorKey* const key = parts_.keys.Find(session->key);
  if (key == nullptr || !parts_.sessions.IsOf(*session, key->key)) session.reset();
  co_return session;
}

Viewer OperatorPages::ViewerOf(const Session& session) const {
  std::array<uint8_t, 16> bytes{};
  parts_.rng.Fill(bytes);
  return {.name = session.key,
          .scopes = parts_.keys.Find(session.key)->scopes,
          .csrf = session.csrf,
          .now = parts_.clock.Now(),
          .idempotency_key = "page." + codec::ToHex(bytes)};
}

Task<web::Answer> OperatorPages::Login(const net::RequestHead& head, std::string_view body,
                                       Deadline by) {
  if (FromElsewhere(head)) {
    co_return ConsolePage(403, LoginPage("This form was sent by another site.", kRoot));
  }
  PTG_CO_TRY(const web::Fields form,
             web::Fields::Read(head.headers.Get("Content-Type").value_or(""), body));
  const std::string client = parts_.client_of(head);
  const std::string presented(codec::Trimmed(form.Get("key")));
  const Result<Caller> caller = parts_.keys.Judge(presented, client, parts_.clock.Steady());
  if (!caller) {
    Log(LogLevel::kWarn, "console.login_refused",
        {{"client", client}, {"detail", caller.error().detail()}});
    const bool wait = caller.error().code() == Code::kRateLimited;
    web::Answer answer = ConsolePage(
        wait ? 429 : 401, LoginPage(wait ? "Too many wrong keys. Wait a minute and try again."
                                         : "This is not the key.",
                                    form.Get("next")));
    if (wait) answer.headers.emplace_back("Retry-After", "60");
    co_return answer;
  }
  PTG_CO_TRY(const std::string cookie, co_await parts_.sessions.Open(caller->name, presented, by));
  Log(LogLevel::kInfo, "console.login", {{"actor", caller->name}, {"client", client}});
  const Result<> told = co_await parts_.verbs.TellLogin(caller->name, client, by);
  // Whoever comes to mend an outage is let in.
  if (!told) Log(LogLevel::kWarn, "console.unaudited", {{"detail", told.error().detail()}});
  web::Answer answer = LeadTo(SafeNext(form.Get("next")));
  answer.headers.emplace_back("Set-Cookie", cookie);
  co_return answer;
}

Task<web::Answer> OperatorPages::Decide(const net::RequestHead& head, net::BodySource& body,
                                        std::string request_id) {
  const std::string_view path = web::PathOf(head.target);
  const bool reads = head.method == "GET" || head.method == "HEAD";
  if (!reads && head.method != "POST") {
    web::Answer answer = ConsolePage(405, LoginPage("This page does not take that.", kRoot));
    answer.headers.emplace_back("Allow", "GET, POST");
    co_return answer;
  }
  if (body.length().value_or(0) > kMaxBody) {
    co_return Fail(Code::kBodyTooLarge, "the form is too long");
  }
  const Deadline read_by = Deadline::In(parts_.clock, kBodyTimeout);
  PTG_CO_TRY(const std::string text, co_await net::ReadAll(body, kMaxBody, read_by));
  const Deadline by = Deadline::In(parts_.clock, kPageTimeout);
  if (path == kLogin && !reads) co_return co_await Login(head, text, by);
  PTG_CO_TRY(const std::optional<Session> session, co_await WhoIs(head, by));
  if (path == kLogin) {
    if (session) co_return LeadTo(kRoot);
    const Result<web::Fields> query = web::Fields::OfQuery(head.target);
    co_return ConsolePage(200, LoginPage("", query ? query->Get("next") : kRoot));
  }
  if (!session) {
    const std::string next = reads ? NextOf(head.target, parts_.queries) : std::string(kRoot);
    co_return LeadTo(Url({"admin", "login"}, {{"next", next == kRoot ? "" : next}}));
  }
  Call call;
  call.viewer = ViewerOf(*session);
  call.session = session->id;
  call.by = by;
  const Viewer viewer = call.viewer;
  const std::string back = PageAbove(path);
  const auto fault = [&viewer, &back](const Error& error) {
    return ConsolePage(problem::RowOf(error.code()).http, FaultPage(viewer, error, back));
  };
  const Route* found = nullptr;
  for (const Route& route : Routes()) {
    if (route.method != (reads ? "GET" : "POST")) continue;
    std::optional<std::string> id = MatchPath(route.path, path);
    if (!id) continue;
    found = &route;
    call.id = *std::move(id);
  }
  if (found == nullptr) {
    co_return fault(Error(Code::kNotFound, "there is nothing at this path"));
  }
  if (!viewer.scopes.Cover(found->scope)) {
    co_return fault(Error(Code::kForbidden, "your key may not do this")
                        .Want("a key with the scope " + std::string(ToString(found->scope))));
  }
  const std::string_view type = head.headers.Get("Content-Type").value_or("");
  Result<web::Fields> fields =
      reads ? web::Fields::OfQuery(head.target) : web::Fields::Read(type, text);
  if (!fields) co_return fault(fields.error());
  call.query = *std::move(fields);
  if (!reads && (FromElsewhere(head) || !Sessions::IsCsrf(*session, call.query.Get("csrf")))) {
    co_return fault(Error(Code::kForbidden, "this form was not sent from a page of your session")
                        .Want("the page loaded anew, and its form sent from there"));
  }
  if (!reads) call.by = Deadline::In(parts_.clock, kOrderTimeout);
  call.who = {.actor = viewer.name,
              .request_id = std::move(request_id),
              .idempotency_key = std::string(call.query.Get("key"))};
  const Act act = found->act;
  Result<web::Answer> answer = co_await (this->*act)(std::move(call));
  if (answer) co_return *std::move(answer);
  co_return fault(answer.error());
}

Task<web::Answer> OperatorPages::Home(Call call) {
  PTG_CO_TRY(const Overview overview, co_await parts_.queries.Look(call.by));
  const PaymentAsk any;
  const PageAsk few{.cursor = "", .limit = kFewRows};
  PTG_CO_TRY(const Page<PaymentRow> latest, co_await parts_.queries.Payments(any, few, call.by));
  co_return ConsolePage(200, HomePage(call.viewer, overview, latest.rows));
}

Task<web::Answer> OperatorPages::Customers(Call call) {
  const std::string search(codec::Trimmed(call.query.Get("q")));
  if (const std::string place = PlaceOf(search); !place.empty()) co_return LeadTo(place);
  if (!parts_.queries.LicenseIn(search).empty()) {
    co_return LeadTo(WithoutLicense(call.query, parts_.queries));
  }
  const PageAsk ask = AskOf(call.query, kPageRows);
  PTG_CO_TRY(const Page<license::Customer> found,
             co_await parts_.queries.Customers(search, ask, call.by));
  if (!search.empty() && found.rows.size() == 1 && found.next.empty()) {
    co_return LeadTo(Url({"admin", "customers", found.rows.front().id}));
  }
  co_return ConsolePage(200, CustomersPage(call.viewer, search, found));
}

Task<web::Answer> OperatorPages::Customer(Call call) {
  PTG_CO_TRY(const CustomerWhole customer, co_await parts_.queries.Customer(call.id, call.by));
  co_return ConsolePage(200, CustomerPage(call.viewer, customer));
}

Task<web::Answer> OperatorPages::License(Call call) {
  PTG_CO_TRY(const LicenseWhole whole, co_await parts_.queries.License(call.id, call.by));
  std::optional<license::InvoiceRow> last;
  if (whole.purchase) {
    const PageAsk ask{.cursor = "", .limit = kPageRows};
    PTG_CO_TRY(const Page<license::InvoiceRow> invoices,
               co_await parts_.queries.Invoices(whole.purchase->customer, ask, call.by));
    for (const license::InvoiceRow& one : invoices.rows) {
      if (one.purchase != whole.purchase->id || one.status != "paid" || one.paid <= 0) continue;
      last = one;
      break;
    }
  }
  co_return ConsolePage(200, LicensePage(call.viewer, whole, last));
}

Task<web::Answer> OperatorPages::Payments(Call call) {
  const PaymentAsk ask{.rail = std::string(call.query.Get("rail")),
                       .state = std::string(call.query.Get("state")),
                       .customer = std::string(call.query.Get("customer"))};
  const PageAsk page = AskOf(call.query, kPageRows);
  PTG_CO_TRY(const Page<PaymentRow> found, co_await parts_.queries.Payments(ask, page, call.by));
  co_return ConsolePage(200, PaymentsPage(call.viewer, ask, found));
}

Task<web::Answer> OperatorPages::Payment(Call call) {
  PTG_CO_TRY(const ChainPayment payment, co_await parts_.queries.Payment(call.id, call.by));
  co_return ConsolePage(200, ChainPaymentPage(call.viewer, payment));
}

Task<web::Answer> OperatorPages::Events(Call call) {
  const Queries::EventAsk ask{.state = std::string(call.query.Get("state")),
                              .type = std::string(call.query.Get("type")),
                              .object = std::string(call.query.Get("object"))};
  const PageAsk page = AskOf(call.query, kPageRows);
  PTG_CO_TRY(const Page<license::EventRow> found,
             co_await parts_.queries.Events(ask, page, call.by));
  co_return ConsolePage(200, EventsPage(call.viewer, ask, found));
}

Task<web::Answer> OperatorPages::Event(Call call) {
  PTG_CO_TRY(const Queries::EventShown event, co_await parts_.queries.Event(call.id, call.by));
  co_return ConsolePage(200, EventPage(call.viewer, event));
}

Task<web::Answer> OperatorPages::Outbox(Call call) {
  const Queries::MailAsk ask{.state = std::string(call.query.Get("state")),
                             .license = std::string(call.query.Get("license"))};
  const PageAsk page = AskOf(call.query, kPageRows);
  PTG_CO_TRY(const Page<license::MailRow> found,
             co_await parts_.queries.Outbox(ask, page, call.by));
  co_return ConsolePage(200, OutboxPage(call.viewer, ask, found));
}

Task<web::Answer> OperatorPages::Commands(Call call) {
  const Queries::CommandAsk ask{.subject = std::string(call.query.Get("subject")),
                                .state = std::string(call.query.Get("state"))};
  const PageAsk page = AskOf(call.query, kPageRows);
  PTG_CO_TRY(const Page<ledger::Command> found,
             co_await parts_.queries.Commands(ask, page, call.by));
  co_return ConsolePage(200, CommandsPage(call.viewer, ask, found));
}

Task<web::Answer> OperatorPages::Command(Call call) {
  PTG_CO_TRY(const ledger::Command command, co_await parts_.queries.Command(call.id, call.by));
  codec::Json result;
  // A license as text is for who ordered it.
  if (command.state == ledger::CommandState::kDone && command.actor == call.viewer.name) {
    PTG_CO_TRY(Done done, co_await parts_.verbs.Wait(call.id, call.by));
    result = std::move(done.result);
  }
  co_return ConsolePage(200, CommandPage(call.viewer, command, result));
}

Task<web::Answer> OperatorPages::Drift(Call call) {
  PTG_CO_TRY(const std::optional<DriftReport> drift, co_await parts_.queries.Drift(call.by));
  co_return ConsolePage(200, DriftPage(call.viewer, drift));
}

Task<web::Answer> OperatorPages::Audit(Call call) {
  const std::string subject(codec::Trimmed(call.query.Get("subject")));
  const PageAsk page = AskOf(call.query, kAuditRows);
  PTG_CO_TRY(const Page<ledger::AuditRow> found,
             co_await parts_.queries.Audit(subject, page, call.by));
  PTG_CO_TRY(const AuditState state, co_await parts_.queries.CheckAudit(call.by));
  co_return ConsolePage(200, AuditPage(call.viewer, subject, found, state));
}

Task<web::Answer> OperatorPages::AskIssue(Call call) {
  co_return ConsolePage(200, IssuePage(call.viewer, parts_.plans));
}

Task<web::Answer> OperatorPages::Logout(Call call) {
  PTG_CO_RUN(co_await parts_.sessions.Close(std::move(call.session), call.by));
  web::Answer answer = LeadTo(kLogin);
  answer.headers.emplace_back("Set-Cookie", parts_.sessions.Forget());
  co_return answer;
}

}  // namespace pontage::console
