#include "gateway/status.h"

#include "base/try.h"
#include "obs/process.h"

namespace pontage::gateway {

bool AsksStatus(std::string_view method, std::string_view key) {
  return (key == "/healthz" || key == "/health" || key == "/readyz") &&
         (method == "GET" || method == "HEAD");
}

Task<> AnswerStatus(std::string_view key, paywall::Reply& reply,
                    const std::function<bool()>& ready) {
  const bool health = key != "/readyz";
  const bool good = health || !ready || ready();
  std::string word = good ? (health ? "ok\n" : "ready\n") : "not ready\n";
  co_return co_await reply.Send(good ? 200 : 503, "text/plain; charset=utf-8", std::move(word));
}

Task<bool> AnswerIfStatus(const net::RequestHead& head, paywall::Reply& reply,
                          const std::function<bool()>& ready) {
  const Result<catalog::Target> target = catalog::Canonicalize(head.target);
  if (!target || !AsksStatus(head.method, target->key)) co_return false;
  PTG_CO_RUN(co_await AnswerStatus(target->key, reply, ready));
  co_return true;
}

net::Handler MetricsHandler(const GatewayDeps& deps) {
  return [&deps](net::RequestHead& head, net::BodySource&, net::ResponseWriter& out) -> Task<> {
    const RequestId id(NewIdText("req", deps.clock, deps.rng));
    paywall::Reply reply(out, id, head);
    PTG_CO_TRY(const bool status, co_await AnswerIfStatus(head, reply, deps.ready));
    if (status) co_return {};
    if (head.target == "/metrics" && (head.method == "GET" || head.method == "HEAD")) {
      std::string text = deps.metrics.Expose() + obs::ExposeProcess();
      co_return co_await reply.Send(200, "text/plain; version=0.0.4; charset=utf-8",
                                    std::move(text));
    }
    const Error unknown(Code::kNotFound, "this listener has /metrics, /healthz and /readyz");
    co_return co_await reply.Problem(unknown);
  };
}

}  // namespace pontage::gateway
