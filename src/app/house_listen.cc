// Where people come in: listeners, and what answers there.
#include <algorithm>
#include <sched.h>

#include "app/house.h"
#include "base/try.h"
#include "gateway/status.h"

namespace pontage::app {
namespace {

std::string WithPort(std::string_view address, uint16_t port) {
  return std::string(address.substr(0, address.rfind(':') + 1)) + std::to_string(port);
}

}  // namespace

size_t ThreadsOf(const Config& config) {
  if (config.server.threads > 0) return config.server.threads;
  // What this process may really use: a container's limit, not the machine's size.
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool known = sched_getaffinity(0, sizeof set, &set) == 0;
  return known ? static_cast<size_t>(std::max(1, CPU_COUNT(&set))) : 1;
}

std::string UrlOf(std::string_view address, bool tls) {
  std::string host(address);
  if (host.starts_with(':')) host = "127.0.0.1" + host;
  if (host.starts_with("0.0.0.0:")) host = "127.0.0.1" + host.substr(7);
  return (tls ? "https://" : "http://") + host;
}

net::Handler House::Impl::HandlerOf(size_t loop) {
  if (gateway_role()) {
    gateway::Gateway* gateway = loops[loop].gateway.get();
    return [gateway](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
      return gateway->Handle(head, body, out);
    };
  }
  const auto serve = [this](net::RequestHead& head, net::BodySource& body,
                            net::ResponseWriter& out) -> Task<> {
    const RequestId id(NewIdText("req", clock, rng));
    paywall::Reply reply(out, id, head);
    PTG_CO_TRY(const bool status,
               co_await gateway::AnswerIfStatus(head, reply, shared->deps().ready));
    if (status) co_return {};
    const catalog::Target unread;  // doors look at the request's own
    PTG_CO_TRY(const bool done, co_await shared->deps().built_in(unread, head, body, reply));
    if (done) co_return {};
    const Error unknown(Code::kNotFound, "there is nothing at this path");
    co_return co_await reply.Problem(unknown);
  };
  return serve;
}

Result<> House::Impl::ListenOn(size_t loop, const std::string& address, uint16_t& port) {
  Result<> listening;
  OnLoop(runtime.loop(loop), [&] {
    auto server =
        std::make_unique<net::Server>(runtime.loop(loop), net::ServerLimits{}, HandlerOf(loop));
    server->NameRefusals(NewRequestIds());
    if (tls) server->UseTls(tls);
    listening = server->Listen(address);
    if (listening) port = server->port();
    loops[loop].servers.push_back(std::move(server));
  });
  return listening;
}

Result<> House::Impl::ListenAll() {
  for (const std::string& address : config.server.listen) {
    // The loops share the port, and so would a second process by mistake: it is asked for alone
    // first.
    PTG_RUN(net::CheckAddressFree(address));
    // The first loop takes the port (perhaps port zero), the others share it.
    uint16_t port = 0;
    std::string real = address;
    for (size_t i = 0; i < runtime.size(); ++i) {
      PTG_RUN(ListenOn(i, real, port));
      real = WithPort(address, port);
    }
    addresses.push_back(real);
    urls.push_back(UrlOf(real, tls != nullptr));
  }
  if (config.server.metrics_listen.empty()) return {};
  Result<> listening;
  OnLoop(runtime.loop(0), [&] {
    metrics_server = std::make_unique<net::Server>(runtime.loop(0), net::ServerLimits{},
                                                   gateway::MetricsHandler(shared->deps()));
    metrics_server->NameRefusals(NewRequestIds());
    listening = metrics_server->Listen(config.server.metrics_listen);
    if (listening) {
      metrics_url = UrlOf(WithPort(config.server.metrics_listen, metrics_server->port()));
    }
  });
  return listening;
}

}  // namespace pontage::app
