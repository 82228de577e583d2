#pragma once

#include <functional>

#include "gateway/gateway.h"

namespace pontage::gateway {

// /healthz (alias /health) and /readyz, on every listener: whether a request asks for one of them.
// `key` is its canonical path.
bool AsksStatus(std::string_view method, std::string_view key);
// A status word only.
Task<> AnswerStatus(std::string_view key, paywall::Reply& reply,
                    const std::function<bool()>& ready);

// Both in one, for listeners without routes. False when `head` asks for something else.
Task<bool> AnswerIfStatus(const net::RequestHead& head, paywall::Reply& reply,
                          const std::function<bool()>& ready);

// The listener of metrics_listen: /metrics in Prometheus text format, and the two above.
net::Handler MetricsHandler(const GatewayDeps& deps);

}  // namespace pontage::gateway
