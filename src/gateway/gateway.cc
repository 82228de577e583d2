#include "gateway/gateway.h"

#include "base/log.h"
#include "base/try.h"
#include "gateway/status.h"
#include "gateway/upstream_work.h"
#include "wire/problem/error_map.h"

namespace pontage::gateway {

using paywall::Reply;

namespace {

// The route of a request; of the two readings of an escaped slash the dearer one.
std::optional<size_t> RouteOf(const Site& site, std::string_view method,
                              const catalog::Target& target) {
  const std::optional<size_t> plain = site.table.Match(method, target.key);
  if (target.loose_key.empty() || !plain) return plain;
  const std::optional<size_t> loose = site.table.Match(method, target.loose_key);
  if (!loose || site.routes[*loose].free) return plain;
  const catalog::Route& here = site.routes[*plain];
  return here.free || here.price < site.routes[*loose].price ? loose : plain;
}

}  // namespace

Gateway::Gateway(Loop& loop, const GatewayDeps& deps, std::shared_ptr<const Site> site)
    : deps_(deps),
      site_(std::move(site)),
      client_(loop),
      exchange_(deps.ledger, deps.metrics, deps.clock, deps.rng, deps.exchange) {}

Task<> Gateway::Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
  const SteadyMs start = deps_.clock.Steady();
  const RequestId id(NewIdText("req", deps_.clock, deps_.rng));
  Reply reply(out, id, head);
  reply.set_client(body);
  // The trace goes on through us: what the client began, or one that begins here.
  bool continued = false;
  const obs::TraceContext trace =
      obs::ContinueTrace(head.headers.Get("traceparent").value_or(""), deps_.rng, &continued);
  head.headers.Set("traceparent", obs::FormatTraceparent(trace));
  if (!continued) head.headers.Remove("tracestate");
  head.headers.Set("X-Request-Id", id.str());

  std::string route;
  Result<> sent = co_await Answer(head, body, reply, route);
  if (!sent && !out.head_sent()) {
    // Whatever failed, the caller hears of it in the one form.
    sent = co_await reply.Problem(sent.error());
  }
  Note(head, reply, route, start);
  co_return sent;
}

Task<> Gateway::Answer(net::RequestHead& head, net::BodySource& body, Reply& reply,
                       std::string& route_name) {
  // Held for the whole request: a reload in the middle of it changes nothing for it.
  const std::shared_ptr<const Site> site = site_;
  const Result<catalog::Target> target = catalog::Canonicalize(head.target);
  if (!target) co_return co_await reply.Problem(target.error());
  if (IsPreflight(head)) co_return co_await Preflight(head, reply);

  const std::optional<size_t> index = RouteOf(*site, head.method, *target);
  if (!index || !site->table.NamesOnePath(*index)) {
    PTG_CO_TRY(const bool status, co_await AnswerStatus(head, reply, deps_.ready));
    if (status) co_return {};
    if (deps_.built_in) {
      PTG_CO_TRY(const bool done, co_await deps_.built_in(*target, head, body, reply));
      if (done) co_return {};
    }
  }
  if (!index) {
    const std::string allowed = site->table.Allowed(target->key);
    if (!allowed.empty()) {
      paywall::HeaderList headers;
      headers.emplace_back("Allow", allowed);
      const Error wrong(Code::kMethodNotAllowed, "this path does not take " + head.method);
      co_return co_await reply.Problem(wrong, std::move(headers));
    }
    const Error unknown(Code::kNotFound, "no route has this path");
    co_return co_await reply.Problem(unknown);
  }
  const catalog::Route& route = site->routes[*index];
  route_name = route.match;
  if (route.free) co_return co_await Forward(*site, route, *target, head, body, reply);

  deal::Quote quote;
  quote.route = *index;
  quote.route_name = route.match;
  quote.description = route.description;
  quote.mime_type = route.mime_type;
  quote.price = route.price;
  quote.method = head.method;
  quote.resource = target->key + target->query;
  quote.resource_url = site->public_url + target->forward + target->query;
  UpstreamWork work(client_, site->upstreams[route.upstream], *target, head, *site, deps_.clock);
  paywall::Call call{route, quote, *site->rails, head, body, work, reply};
  co_return co_await exchange_.Run(std::move(call));
}

Task<> Gateway::Forward(const Site& site, const catalog::Route& route,
                        const catalog::Target& target, net::RequestHead& head,
                        net::BodySource& body, Reply& reply) {
  UpstreamWork work(client_, site.upstreams[route.upstream], target, head, site, deps_.clock);
  work.PassInterim(reply.out());
  const std::string no_key;
  Result<std::unique_ptr<net::ClientResponse>> response =
      co_await work.Run(no_key, body, Deadline::In(deps_.clock, route.answer_timeout));
  if (!response) co_return co_await reply.Problem(response.error());
  paywall::Answer answer;
  answer.response = *std::move(response);
  const std::optional<paywall::Receipt> none;
  (void)co_await paywall::Deliver(reply, answer, none, route.answer_timeout, deps_.clock);
  co_return {};
}

// Paid routes take calls from any origin: what is asked for is echoed, ours are added.
Task<> Gateway::Preflight(const net::RequestHead& head, Reply& reply) {
  paywall::HeaderList headers;
  headers.emplace_back("Access-Control-Allow-Origin", "*");
  headers.emplace_back("Access-Control-Allow-Methods",
                       *head.headers.Get("Access-Control-Request-Method"));
  std::string allowed =
      "PAYMENT-SIGNATURE, X-PAYMENT, SIGN-IN-WITH-X, Authorization, X-API-Key, Content-Type";
  if (const auto asked = head.headers.Get("Access-Control-Request-Headers")) {
    allowed += ", " + std::string(*asked);
  }
  headers.emplace_back("Access-Control-Allow-Headers", allowed);
  headers.emplace_back("Access-Control-Max-Age", "600");
  headers.emplace_back("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers");
  std::string empty;
  co_return co_await reply.Send(204, "", std::move(empty), std::move(headers));
}

void Gateway::Note(const net::RequestHead& head, const Reply& reply, const std::string& route,
                   SteadyMs start) {
  const Millis took = deps_.clock.Steady() - start;
  const int status = reply.status();
  if (status == 0 && route.empty()) return;  // a built-in path that keeps its own log
  constexpr std::array<std::string_view, 6> kClasses = {"broken", "1xx", "2xx",
                                                        "3xx",    "4xx", "5xx"};
  const auto group = static_cast<size_t>(status / 100);
  const std::string_view status_class = group < kClasses.size() ? kClasses[group] : "other";
  deps_.metrics
      .HistogramOf("pontage_request_seconds", "From the request's head to the end of the answer.",
                   {{"route", route.empty() ? "none" : route}, {"status", status_class}})
      .Observe(took);
  Log(LogLevel::kInfo, "request.done",
      {{"request_id", reply.id().str()},
       {"method", head.method},
       {"path", std::string_view(head.target).substr(0, head.target.find('?'))},
       {"route", route},
       {"status", status},
       {"ms", took},
       {"client", ClientAddress(head, site_->trusted)}});
}

}  // namespace pontage::gateway
