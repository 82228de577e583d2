#include "console/operator_api.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"

namespace pontage::console {
namespace {

using codec::Json;
using web::Answer;

constexpr std::string_view kId = "{id}";
constexpr Millis kTimeout{20'000};
constexpr Millis kBodyTimeout{10'000};
constexpr size_t kMaxId = 300;

// The id out of `path` where it has the form of `pattern`; "" where that has none.
std::optional<std::string_view> Match(std::string_view pattern, std::string_view path) {
  const size_t at = pattern.find(kId);
  if (at == pattern.npos) {
    return path == pattern ? std::optional(std::string_view()) : std::nullopt;
  }
  const std::string_view before = pattern.substr(0, at);
  const std::string_view after = pattern.substr(at + kId.size());
  if (path.size() <= before.size() + after.size()) return std::nullopt;
  if (!path.starts_with(before) || !path.ends_with(after)) return std::nullopt;
  path.remove_prefix(before.size());
  path.remove_suffix(after.size());
  if (path.size() > kMaxId || path.contains('/')) return std::nullopt;
  return path;
}

template <typename T, typename F>
Answer ListAnswer(const Page<T>& page, F json) {
  Json data = Json::Array();
  for (const T& row : page.rows) data.Push(json(row));
  return web::JsonAnswer(Json::Object(
      {{"data", std::move(data)}, {"next", page.next.empty() ? Json(nullptr) : Json(page.next)}}));
}

template <typename T, typename F>
Json ListJson(const std::vector<T>& rows, F json) {
  Json data = Json::Array();
  for (const T& row : rows) data.Push(json(row));
  return data;
}

Error UnknownMember(std::string_view name, std::initializer_list<std::string_view> names) {
  std::string known;
  for (const std::string_view one : names) known += (known.empty() ? "" : ", ") + std::string(one);
  return Error(Code::kBadRequest, "this is not known here")
      .At("/" + std::string(name))
      .Want(known.empty() ? "nothing" : known);
}

Json ToJson(const ChainPayment& payment) {
  const ledger::Reservation& r = payment.row;
  Json history = Json::Array();
  for (const auto& event : payment.history) {
    history.Push(
        Json::Object({{"at", event.at.Rfc3339()}, {"what", event.what}, {"detail", event.detail}}));
  }
  return Json::Object({{"rail", r.rail},
                       {"id", r.id.str()},
                       {"request_id", r.request_id.str()},
                       {"state", ledger::ToString(r.state)},
                       {"delivery", ledger::ToString(r.delivery)},
                       {"route", r.route},
                       {"method", r.method},
                       {"resource", r.resource},
                       {"price", r.price.ToString()},
                       {"amount", r.amount.ToDecimal()},
                       {"asset", r.asset},
                       {"network", r.network},
                       {"payer", r.payer},
                       {"pay_to", r.pay_to},
                       {"transaction", r.transaction},
                       {"upstream_status", r.upstream_status},
                       {"failure", r.failure},
                       {"created", r.created.Rfc3339()},
                       {"updated", r.updated.Rfc3339()},
                       {"history", std::move(history)}});
}

}  // namespace

Result<> OperatorApi::Call::Knows(std::initializer_list<std::string_view> names) const {
  for (const auto& [name, value] : query.all()) {
    if (std::ranges::find(names, name) == names.end()) return Fail(UnknownMember(name, names));
  }
  const auto* members = body.AsObject();
  if (members == nullptr) return {};
  for (const codec::JsonMember& member : *members) {
    if (std::ranges::find(names, member.key) == names.end()) {
      return Fail(UnknownMember(member.key, names));
    }
  }
  return {};
}

Result<PageAsk> OperatorApi::Call::Page(std::initializer_list<std::string_view> names) const {
  for (const auto& [name, value] : query.all()) {
    const bool known =
        name == "limit" || name == "cursor" || std::ranges::find(names, name) != names.end();
    if (!known) return Fail(UnknownMember(name, names));
  }
  PageAsk page{.cursor = Query("cursor")};
  const std::string_view limit = query.Get("limit");
  if (limit.empty()) return page;
  const auto [at, fault] = std::from_chars(limit.data(), limit.data() + limit.size(), page.limit);
  if (fault == std::errc() && at == limit.data() + limit.size()) return page;
  return Fail(Error(Code::kBadRequest, "no number").At("/limit").Want("1 to 200"));
}

Result<std::string> OperatorApi::Call::Text(std::string_view name) const {
  const Json* value = body.Find(name);
  if (value == nullptr || value->IsNull()) return std::string();
  if (const std::string* text = value->AsString()) return *text;
  return Fail(
      Error(Code::kBadRequest, "this is no text").At("/" + std::string(name)).Want("a string"));
}

Result<int64_t> OperatorApi::Call::Int(std::string_view name) const {
  const Json* value = body.Find(name);
  if (value == nullptr || value->IsNull()) return 0;
  if (const auto number = value->AsInt64()) return *number;
  return Fail(Error(Code::kBadRequest, "this is no whole number")
                  .At("/" + std::string(name))
                  .Want("a whole number"));
}

Result<bool> OperatorApi::Call::Bool(std::string_view name, bool fallback) const {
  const Json* value = body.Find(name);
  if (value == nullptr || value->IsNull()) return fallback;
  if (const bool* set = value->AsBool()) return *set;
  return Fail(Error(Code::kBadRequest, "this is neither true nor false")
                  .At("/" + std::string(name))
                  .Want("true or false"));
}

std::span<const OperatorApi::Route> OperatorApi::Routes() {
  using enum Scope;
  static constexpr std::array<Route, 22> kRoutes = {{
      {"GET", "/admin/v1", kRead, &OperatorApi::Look},
      {"GET", "/admin/v1/customers", kRead, &OperatorApi::Customers},
      {"GET", "/admin/v1/customers/{id}", kRead, &OperatorApi::Customer},
      {"GET", "/admin/v1/licenses", kRead, &OperatorApi::Licenses},
      {"GET", "/admin/v1/licenses/{id}", kRead, &OperatorApi::License},
      {"GET", "/admin/v1/refunds", kRead, &OperatorApi::Refunds},
      {"GET", "/admin/v1/payments", kRead, &OperatorApi::Payments},
      {"GET", "/admin/v1/payments/{id}", kRead, &OperatorApi::Payment},
      {"GET", "/admin/v1/events", kRead, &OperatorApi::Events},
      {"GET", "/admin/v1/events/{id}", kRead, &OperatorApi::Event},
      {"GET", "/admin/v1/outbox", kRead, &OperatorApi::Outbox},
      {"GET", "/admin/v1/drift", kRead, &OperatorApi::Drift},
      {"GET", "/admin/v1/audit", kRead, &OperatorApi::Audit},
      {"GET", "/admin/v1/commands", kRead, &OperatorApi::Commands},
      // The license as text, where one was asked for, is only for who did.
      {"GET", "/admin/v1/commands/{id}", kRead, &OperatorApi::Command},
      {"POST", "/admin/v1/licenses", kOwner, &OperatorApi::Issue},
      {"POST", "/admin/v1/licenses/{id}/revoke", kOwner, &OperatorApi::Revoke},
      {"POST", "/admin/v1/licenses/{id}/reissue", kSupport, &OperatorApi::Reissue},
      {"POST", "/admin/v1/licenses/{id}/extend", kSupport, &OperatorApi::Extend},
      {"POST", "/admin/v1/licenses/{id}/refund", kRefund, &OperatorApi::Refund},
      {"POST", "/admin/v1/events/{id}/rerun", kSupport, &OperatorApi::Rerun},
      {"POST", "/admin/v1/outbox/{id}/retry", kSupport, &OperatorApi::Retry},
  }};
  return kRoutes;
}

bool OperatorApi::Serves(std::string_view target) const {
  const std::string_view path = web::PathOf(target);
  return path == kRoot || (path.starts_with(kRoot) && path[kRoot.size()] == '/');
}

Task<> OperatorApi::Handle(net::RequestHead& head, net::BodySource& body,
                           net::ResponseWriter& out) {
  const std::string request_id = NewIdText("req", parts_.clock, parts_.rng);
  const Result<Answer> decided = co_await Decide(head, body, request_id);
  Answer answer = decided ? *decided : web::ProblemAnswer(decided.error());
  if (!decided && decided.error().code() == Code::kRateLimited) {
    std::erase_if(answer.headers, [](const auto& h) { return h.first == "Retry-After"; });
    answer.headers.emplace_back("Retry-After", std::to_string(WrongTries::kEach.count() / 1000));
  }
  answer.headers.emplace_back("X-Request-Id", request_id);
  Log(LogLevel::kInfo, "console.call",
      {{"request_id", request_id},
       {"method", head.method},
       {"path", web::PathOf(head.target)},
       {"status", answer.status}});
  co_return co_await web::SendAnswer(out, std::move(answer), parts_.clock, parts_.rng);
}

Task<Answer> OperatorApi::Decide(const net::RequestHead& head, net::BodySource& body,
                                 std::string request_id) {
  // First of all: who has no key hears nothing of what there is.
  const std::string presented = head.headers.Count("X-Admin-Key") == 1
                                    ? std::string(*head.headers.Get("X-Admin-Key"))
                                    : std::string();
  const std::string client = parts_.client_of ? parts_.client_of(head) : head.peer_address;
  PTG_CO_TRY(Caller caller, parts_.keys.Judge(presented, client, parts_.clock.Steady()));
  const std::string_view path = web::PathOf(head.target);
  const Route* route = nullptr;
  bool path_known = false;
  Call call;
  for (const Route& one : Routes()) {
    const auto id = Match(one.path, path);
    if (!id) continue;
    path_known = true;
    if (one.method != head.method) continue;
    route = &one;
    call.id = *id;
    break;
  }
  if (route == nullptr) {
    if (path_known) co_return Fail(Code::kMethodNotAllowed, "not with this method");
    co_return Fail(Code::kNotFound, "there is nothing at this path");
  }
  if (!caller.scopes.Cover(route->scope)) {
    co_return Fail(Error(Code::kForbidden, "this key may not do this")
                       .Want("a key with the scope " + std::string(ToString(route->scope))));
  }
  call.caller = std::move(caller);
  call.request_id = std::move(request_id);
  call.by = Deadline::In(parts_.clock, kTimeout);
  PTG_CO_TRY(call.query, web::Fields::OfQuery(head.target));
  if (route->method == "POST") {
    call.idempotency_key = std::string(head.headers.Get("Idempotency-Key").value_or(""));
    const Deadline body_by = Deadline::In(parts_.clock, kBodyTimeout);
    PTG_CO_TRY(const std::string text, co_await net::ReadAll(body, kMaxBody, body_by));
    codec::JsonLimits limits;
    limits.max_bytes = kMaxBody;
    limits.max_depth = 4;
    const std::string_view given = text.empty() ? std::string_view("{}") : std::string_view(text);
    PTG_CO_TRY(call.body, codec::ParseJson(given, limits));
    if (!call.body.IsObject()) {
      co_return Fail(
          Error(Code::kBadRequest, "the body is no JSON object").Want("{\"reason\": …}"));
    }
  }
  co_return co_await (this->*route->act)(std::move(call));
}

Task<Answer> OperatorApi::Look(Call call) {
  PTG_CO_RUN(call.Knows({}));
  PTG_CO_TRY(const Overview now, co_await parts_.queries.Look(call.by));
  Json sales = Json::Object({{"events_new", now.sales.events_new},
                             {"events_parked", now.sales.events_parked},
                             {"mails_open", now.sales.mails_open},
                             {"mails_dead", now.sales.mails_dead},
                             {"mails_unreached", now.sales.mails_unreached},
                             {"commands_open", now.sales.commands_open},
                             {"commands_parked", now.sales.commands_parked},
                             {"refunds_open", now.sales.refunds_open},
                             {"alarms", now.sales.alarms}});
  Json books = Json::Object({{"held", now.ledger.held},
                             {"in_doubt", now.ledger.in_doubt},
                             {"owed", now.ledger.owed},
                             {"broken", now.ledger.broken}});
  co_return web::JsonAnswer(
      Json::Object({{"sales", std::move(sales)}, {"ledger", std::move(books)}}));
}

Task<Answer> OperatorApi::Customers(Call call) {
  PTG_CO_TRY(PageAsk page, call.Page({"q"}));
  PTG_CO_TRY(const auto rows,
             co_await parts_.queries.Customers(call.Query("q"), std::move(page), call.by));
  co_return ListAnswer(rows, [](const license::Customer& c) { return console::ToJson(c); });
}

Task<Answer> OperatorApi::Customer(Call call) {
  PTG_CO_RUN(call.Knows({}));
  PTG_CO_TRY(const CustomerWhole who, co_await parts_.queries.Customer(call.id, call.by));
  const UnixMs now = parts_.queries.Now();
  Json json = Json::Object({{"id", who.id}, {"email", who.email}});
  json.Set("subscriptions", ListJson(who.purchases, [](const license::PurchaseRow& p) {
             return console::ToJson(p);
           }));
  json.Set("licenses", ListJson(who.licenses, [now](const license::License& l) {
             return license::ToJson(l, now);
           }));
  json.Set("invoices",
           ListJson(who.invoices, [](const license::InvoiceRow& i) { return console::ToJson(i); }));
  json.Set("refunds",
           ListJson(who.refunds, [](const license::Refund& r) { return license::ToJson(r); }));
  co_return web::JsonAnswer(json);
}

Task<Answer> OperatorApi::Licenses(Call call) {
  PTG_CO_TRY(PageAsk page, call.Page({"customer", "email", "license"}));
  const LicenseAsk ask{.customer = call.Query("customer"),
                       .email = call.Query("email"),
                       .license = call.Query("license")};
  PTG_CO_TRY(const auto rows, co_await parts_.queries.Licenses(ask, std::move(page), call.by));
  const UnixMs now = parts_.queries.Now();
  co_return ListAnswer(rows, [now](const license::License& l) { return license::ToJson(l, now); });
}

Task<Answer> OperatorApi::License(Call call) {
  PTG_CO_RUN(call.Knows({}));
  PTG_CO_TRY(const LicenseWhole whole, co_await parts_.queries.License(call.id, call.by));
  Json json = license::ToJson(whole.license, parts_.queries.Now());
  json.Set("usage", license::ToJson(whole.usage));
  json.Set("purchase", whole.purchase ? console::ToJson(*whole.purchase) : Json(nullptr));
  json.Set("refunds",
           ListJson(whole.refunds, [](const license::Refund& r) { return license::ToJson(r); }));
  json.Set("mails",
           ListJson(whole.mails, [](const license::MailRow& m) { return console::ToJson(m); }));
  json.Set("commands",
           ListJson(whole.commands, [](const ledger::Command& c) { return console::ToJson(c); }));
  json.Set("audit",
           ListJson(whole.audit, [](const ledger::AuditRow& r) { return console::ToJson(r); }));
  co_return web::JsonAnswer(json);
}

Task<Answer> OperatorApi::Refunds(Call call) {
  PTG_CO_TRY(PageAsk page, call.Page({"license"}));
  PTG_CO_TRY(const auto rows,
             co_await parts_.queries.Refunds(call.Query("license"), std::move(page), call.by));
  co_return ListAnswer(rows, [](const license::Refund& r) { return license::ToJson(r); });
}

Task<Answer> OperatorApi::Payments(Call call) {
  PTG_CO_TRY(PageAsk page, call.Page({"rail", "state", "customer"}));
  const PaymentAsk ask{
      .rail = call.Query("rail"), .state = call.Query("state"), .customer = call.Query("customer")};
  PTG_CO_TRY(const auto rows, co_await parts_.queries.Payments(ask, std::move(page), call.by));
  co_return ListAnswer(rows, [](const PaymentRow& p) { return console::ToJson(p); });
}

Task<Answer> OperatorApi::Payment(Call call) {
  PTG_CO_RUN(call.Knows({}));
  PTG_CO_TRY(const ChainPayment payment, co_await parts_.queries.Payment(call.id, call.by));
  co_return web::JsonAnswer(ToJson(payment));
}

Task<Answer> OperatorApi::Events(Call call) {
  PTG_CO_TRY(PageAsk page, call.Page({"state", "type", "object"}));
  const Queries::EventAsk ask{
      .state = call.Query("state"), .type = call.Query("type"), .object = call.Query("object")};
  PTG_CO_TRY(const auto rows, co_await parts_.queries.Events(ask, std::move(page), call.by));
  co_return ListAnswer(rows, [](const license::EventRow& e) { return console::ToJson(e); });
}

Task<Answer> OperatorApi::Event(Call call) {
  PTG_CO_RUN(call.Knows({}));
  PTG_CO_TRY(Queries::EventShown event, co_await parts_.queries.Event(call.id, call.by));
  Json json = console::ToJson(event.row);
  json.Set("payload", std::move(event.payload));
  co_return web::JsonAnswer(json);
}

Task<Answer> OperatorApi::Outbox(Call call) {
  PTG_CO_TRY(PageAsk page, call.Page({"state", "license"}));
  const Queries::MailAsk ask{.state = call.Query("state"), .license = call.Query("license")};
  PTG_CO_TRY(const auto rows, co_await parts_.queries.Outbox(ask, std::move(page), call.by));
  co_return ListAnswer(rows, [](const license::MailRow& m) { return console::ToJson(m); });
}

Task<Answer> OperatorApi::Drift(Call call) {
  PTG_CO_RUN(call.Knows({}));
  PTG_CO_TRY(std::optional<DriftReport> drift, co_await parts_.queries.Drift(call.by));
  if (!drift) {
    co_return web::JsonAnswer(Json::Object({{"at", nullptr}, {"report", nullptr}}));
  }
  co_return web::JsonAnswer(
      Json::Object({{"at", drift->at.Rfc3339()}, {"report", std::move(drift->report)}}));
}

Task<Answer> OperatorApi::Audit(Call call) {
  PTG_CO_TRY(PageAsk page, call.Page({"subject"}));
  PTG_CO_TRY(const auto rows,
             co_await parts_.queries.Audit(call.Query("subject"), std::move(page), call.by));
  PTG_CO_TRY(const AuditState state, co_await parts_.queries.CheckAudit(call.by));
  Json data = ListJson(rows.rows, [](const ledger::AuditRow& r) { return console::ToJson(r); });
  // Of what was looked at in part nobody can say that it holds.
  const Json holds = state.holds && !state.whole ? Json(nullptr) : Json(state.holds);
  Json chain = Json::Object(
      {{"holds", holds}, {"whole", state.whole}, {"rows", state.rows}, {"hash", state.hash}});
  if (!state.holds) chain.Set("broken_at", state.broken_at);
  co_return web::JsonAnswer(
      Json::Object({{"data", std::move(data)},
                    {"next", rows.next.empty() ? Json(nullptr) : Json(rows.next)},
                    {"chain", std::move(chain)}}));
}

Task<Answer> OperatorApi::Commands(Call call) {
  PTG_CO_TRY(PageAsk page, call.Page({"subject", "state"}));
  const Queries::CommandAsk ask{.subject = call.Query("subject"), .state = call.Query("state")};
  PTG_CO_TRY(const auto rows, co_await parts_.queries.Commands(ask, std::move(page), call.by));
  co_return ListAnswer(rows, [](const ledger::Command& c) { return console::ToJson(c); });
}

Task<Answer> OperatorApi::Command(Call call) {
  PTG_CO_RUN(call.Knows({}));
  PTG_CO_TRY(const ledger::Command command, co_await parts_.queries.Command(call.id, call.by));
  Json json = console::ToJson(command);
  // Who ordered it gets what it came to; others see that it was.
  if (!command.secret.empty() && command.actor == call.caller.name) {
    json.Set("license", command.secret);
  }
  co_return web::JsonAnswer(json);
}

}  // namespace pontage::console
