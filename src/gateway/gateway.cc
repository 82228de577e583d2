#include "gateway/gateway.h"

#include "base/log.h"
#include "base/try.h"
#include "gateway/forward_auth.h"
#include "gateway/status.h"
#include "gateway/upstream_work.h"
#include "wire/problem/error_map.h"

namespace pontage::gateway {

using paywall::Reply;

namespace {

// A few connections of HTTP/2 bring hundreds of requests at once: what they leave idle between two
// of them is kept, or most would begin with a connection of their own.
constexpr size_t kIdlePerUpstream = 256;
// Of an upstream's answer. With a receipt and what else is ours beside it, it must fit into what
// clients read of a head and HTTP/2 sends of one (64 KiB at some): what does not fit is refused
// while nothing has been charged.
constexpr size_t kAnswerHead = 32 * 1024;

deal::Quote QuoteOf(const Site& site, size_t index, const catalog::Target& target,
                    std::string method) {
  const catalog::Route& route = site.routes[index];
  deal::Quote quote;
  quote.route = index;
  quote.route_name = route.match;
  quote.description = route.description;
  quote.mime_type = route.mime_type;
  quote.price = route.price;
  quote.method = std::move(method);
  quote.resource = target.key + target.query;
  quote.target = target.forward + target.query;
  quote.resource_url = site.public_url + quote.target;
  return quote;
}

Task<> NoRoute(const Site& site, const catalog::Target& target, const std::string& method,
               Reply& reply) {
  const std::string allowed = site.table.Allowed(target.key);
  if (!allowed.empty()) {
    paywall::HeaderList headers;
    headers.emplace_back("Allow", allowed);
    const Error wrong(Code::kMethodNotAllowed, "this path does not take " + method);
    co_return co_await reply.Problem(wrong, std::move(headers));
  }
  const Error unknown(Code::kNotFound, "no route has this path");
  co_return co_await reply.Problem(unknown);
}

}  // namespace

Gateway::Gateway(Loop& loop, const GatewayDeps& deps, std::shared_ptr<const Site> site)
    : deps_(deps),
      site_(std::move(site)),
      client_(loop, {.head_bytes = kAnswerHead, .idle_per_host = kIdlePerUpstream}),
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
  head.headers.Remove("traceparent");
  head.headers.Remove("X-Request-Id");
  if (!continued) head.headers.Remove("tracestate");
  // Digits, letters and dashes of our own.
  head.headers.AddJudged("traceparent", obs::FormatTraceparent(trace));
  head.headers.AddJudged("X-Request-Id", id.str());

  Noted noted;
  Result<> sent = co_await Answer(head, body, reply, noted);
  if (!sent && !out.head_sent()) {
    // Whatever failed, the caller hears of it in the one form.
    sent = co_await reply.Problem(sent.error());
  }
  Note(head, reply, noted, start);
  co_return sent;
}

Task<> Gateway::Answer(net::RequestHead& head, net::BodySource& body, Reply& reply, Noted& noted) {
  // Held for the whole request: a reload in the middle of it changes nothing for it.
  const std::shared_ptr<const Site> site = site_;
  const Result<catalog::Target> target = catalog::Canonicalize(head.target);
  if (!target) co_return co_await reply.Problem(target.error());
  const std::optional<size_t> index = RouteOf(*site, head.method, *target);
  if (AsksForwardAuth(head.target, *target) &&
      !(index && site->table.BeginsWith(*index, kForwardAuthPath.substr(1)))) {
    co_return co_await AnswerForwardAuth(*site, head, reply, noted);
  }
  if (IsPreflight(head)) co_return co_await Preflight(head, reply);

  if (!index || !site->table.NamesOnePath(*index)) {
    if (AsksStatus(head.method, target->key)) {
      co_return co_await AnswerStatus(target->key, reply, deps_.ready);
    }
    if (deps_.built_in) {
      PTG_CO_TRY(const bool done, co_await deps_.built_in(*target, head, body, reply));
      if (done) co_return {};
    }
  }
  if (!index) co_return co_await NoRoute(*site, *target, head.method, reply);
  const catalog::Route& route = site->routes[*index];
  noted.route = route.match;
  if (!route.upstream) {
    const Error only(Code::kNotFound,
                     "this route has no upstream: a proxy asks about it at /forward-auth");
    co_return co_await reply.Problem(only);
  }
  Counted counted;
  if (route.rate.limits()) {
    const catalog::Verdict pace = TakeRate(*site, route, head, counted);
    if (!pace.pass) co_return co_await TooFast(route, pace.retry, counted, reply);
  }
  Licensed licensed = JudgeLicense(*site, route, head);
  if (licensed.unseen) {
    PTG_CO_TRY(licensed, co_await VerifyLicense(*site, route, head, std::move(licensed)));
  }
  if (licensed.claims && licensed.limits != license::Limits{}) {
    PTG_CO_RUN(co_await CountLicense(licensed, route, counted));
  }
  if (licensed.claims) NoteLicensed(licensed, route, reply);
  const bool free = route.free || licensed.claims || TakeFree(*site, route, head, counted);
  counted.Say(reply);
  if (free) {
    co_return co_await Forward(*site, route, *target, head, body, reply);
  }
  const deal::Quote quote = QuoteOf(*site, *index, *target, head.method);
  UpstreamWork work(client_, site->upstreams[*route.upstream], *target, head, *site, deps_);
  paywall::Call call{route, quote, *site->rails, head, body, work, reply};
  if (licensed.fault) {
    if (licensed.retry > Millis(0)) {
      reply.Add("Retry-After", std::to_string(catalog::RetrySeconds(licensed.retry)));
    }
    co_return co_await exchange_.TurnAway(call, *licensed.fault);
  }
  co_return co_await exchange_.Run(std::move(call));
}

Task<> Gateway::AnswerForwardAuth(const Site& site, net::RequestHead& head, Reply& reply,
                                  Noted& noted) {
  noted.path = kForwardAuthPath;
  std::string raw_target = head.target;
  const Result<bool> deny = TakeDeny(raw_target);
  if (!deny) co_return co_await reply.Problem(deny.error());
  if (*deny) {
    reply.RefuseWith403();
    head.headers.Remove("Accept");  // a page for browsers does not fit into a field
  }
  const Result<Question> question = ReadQuestion(head, raw_target, site.trusted);
  if (!question) {
    Log(LogLevel::kWarn, "forward_auth.unreadable",
        {{"request_id", reply.id().str()},
         {"peer", head.peer_address},
         {"detail", question.error().detail()}});
    co_return co_await reply.Problem(question.error());
  }
  const std::string method = question->method.empty() ? head.method : question->method;
  noted.method = method;
  noted.path = question->target.forward;
  const std::optional<size_t> index = RouteOfQuestion(site, *question);
  if (!index) co_return co_await NoRoute(site, question->target, method, reply);
  // The answer to a question goes out before the work is done, whatever the route says.
  catalog::Route route = site.routes[*index];
  route.settle_before = true;
  noted.route = route.match;
  Counted counted;
  if (route.rate.limits()) {
    const catalog::Verdict pace = TakeRate(site, route, head, counted);
    if (!pace.pass) co_return co_await TooFast(route, pace.retry, counted, reply);
  }
  Licensed licensed = JudgeLicense(site, route, head);
  if (licensed.unseen) {
    PTG_CO_TRY(licensed, co_await VerifyLicense(site, route, head, std::move(licensed)));
  }
  if (licensed.claims && licensed.limits != license::Limits{}) {
    PTG_CO_RUN(co_await CountLicense(licensed, route, counted));
  }
  if (licensed.claims) NoteLicensed(licensed, route, reply);
  const bool free = route.free || licensed.claims || TakeFree(site, route, head, counted);
  counted.Say(reply);
  if (free) {
    paywall::HeaderList headers;
    headers.emplace_back("Cache-Control", "no-store");
    std::string empty;
    co_return co_await reply.Send(200, "", std::move(empty), std::move(headers));
  }
  const deal::Quote quote = QuoteOf(site, *index, question->target, method);
  // Some proxies announce the body that they keep to themselves.
  net::StringBody no_body("");
  PassWork work;
  paywall::Call call{route, quote, *site.rails, head, no_body, work, reply};
  if (licensed.fault) {
    if (licensed.retry > Millis(0)) {
      reply.Add("Retry-After", std::to_string(catalog::RetrySeconds(licensed.retry)));
    }
    co_return co_await exchange_.TurnAway(call, *licensed.fault);
  }
  co_return co_await exchange_.Run(std::move(call));
}

void Gateway::Counted::Add(std::string_view name, const catalog::Allowance& allowance,
                           const catalog::Verdict& verdict) {
  policy += (policy.empty() ? "" : ", ") + catalog::PolicyMember(name, allowance);
  left += (left.empty() ? "" : ", ") + catalog::LimitMember(name, verdict);
}

void Gateway::Counted::Say(Reply& reply) const {
  if (policy.empty()) return;
  reply.Add("RateLimit-Policy", policy);
  reply.Add("RateLimit", left);
}

catalog::Verdict Gateway::TakeRate(const Site& site, const catalog::Route& route,
                                   const net::RequestHead& head, Counted& counted) {
  const std::string client = ClientKey(ClientAddress(head, site.trusted));
  const catalog::Verdict verdict =
      deps_.limiter.TakeRate(route.match, client, route.rate, deps_.clock.Steady());
  counted.Add("rate", route.rate, verdict);
  return verdict;
}

Task<> Gateway::TooFast(const catalog::Route& route, Millis retry, const Counted& counted,
                        Reply& reply) {
  counted.Say(reply);
  deps_.metrics
      .CounterOf("pontage_rate_limited_total", "Requests that came faster than their route's rate.",
                 {{"route", route.match}})
      .Add();
  paywall::HeaderList headers;
  headers.emplace_back("Retry-After", std::to_string(catalog::RetrySeconds(retry)));
  const Error limited =
      Error(Code::kRateLimited, "too many requests from this address; nothing was charged")
          .Want(std::to_string(route.rate.count) + " requests in " +
                std::to_string(route.rate.window.count() / 1000) + " s");
  co_return co_await reply.Problem(limited, std::move(headers));
}

bool Gateway::TakeFree(const Site& site, const catalog::Route& route, const net::RequestHead& head,
                       Counted& counted) {
  if (!route.free_quota.limits()) return false;
  const std::string client = ClientKey(ClientAddress(head, site.trusted));
  const catalog::Verdict verdict =
      deps_.limiter.TakeQuota(route.match, client, route.free_quota, deps_.clock.Steady());
  counted.Add("free", route.free_quota, verdict);
  if (!verdict.pass) return false;
  deps_.metrics
      .CounterOf("pontage_free_calls_total", "Calls of priced routes that `free` gave away.",
                 {{"route", route.match}})
      .Add();
  return true;
}

Task<> Gateway::Forward(const Site& site, const catalog::Route& route,
                        const catalog::Target& target, net::RequestHead& head,
                        net::BodySource& body, Reply& reply) {
  UpstreamWork work(client_, site.upstreams[*route.upstream], target, head, site, deps_);
  work.PassInterim(reply.out());
  const std::string no_key;
  Result<std::unique_ptr<net::ClientResponse>> response = co_await work.Run(
      no_key, body, Deadline::In(deps_.clock, route.answer_timeout), Deadline::Never());
  if (!response) co_return co_await reply.Problem(response.error());
  paywall::Answer answer;
  answer.response = *std::move(response);
  if (!route.free) {
    // Free for this client this time: a shared cache must not make it free for everybody.
    paywall::KeepPrivate(answer.response->head().headers);
  }
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

void Gateway::Note(const net::RequestHead& head, const Reply& reply, const Noted& noted,
                   SteadyMs start) {
  const std::string& route = noted.route;
  const std::string_view path = noted.path.empty()
                                    ? std::string_view(head.target).substr(0, head.target.find('?'))
                                    : std::string_view(noted.path);
  const Millis took = deps_.clock.Steady() - start;
  const int status = reply.status();
  if (status == 0 && route.empty() && noted.path.empty())
    return;  // a built-in path that keeps its own log
  constexpr std::array<std::string_view, 6> kClasses = {"broken", "1xx", "2xx",
                                                        "3xx",    "4xx", "5xx"};
  const auto group = static_cast<size_t>(status / 100);
  const std::string_view status_class = group < kClasses.size() ? kClasses[group] : "other";
  // The registry is asked once for each: a look there is 1,250 instructions.
  obs::Histogram*& times = request_times_[route][std::min(group, kClasses.size())];
  if (times == nullptr) {
    times = &deps_.metrics.HistogramOf(
        "pontage_request_seconds", "From the request's head to the end of the answer.",
        {{"route", route.empty() ? "none" : route}, {"status", status_class}});
  }
  times->Observe(took);
  LogGathered(LogLevel::kInfo, "request.done",
              {{"request_id", reply.id().str()},
               {"method", noted.method.empty() ? head.method : noted.method},
               {"path", path},
               {"route", route},
               {"status", status},
               {"ms", took},
               {"client", ClientAddress(head, site_->trusted)}});
}

}  // namespace pontage::gateway
