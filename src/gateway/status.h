#pragma once

#include <functional>

#include "gateway/gateway.h"

namespace pontage::gateway {

// /healthz (alias /health) and /readyz, a status word only, on every listener. False when `head`
// asks for something else.
Task<bool> AnswerStatus(const net::RequestHead& head, paywall::Reply& reply,
                        const std::function<bool()>& ready);

// The listener of metrics_listen: /metrics in Prometheus text format, and the two above.
net::Handler MetricsHandler(const GatewayDeps& deps);

}  // namespace pontage::gateway
