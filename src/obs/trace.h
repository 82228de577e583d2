#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/rng.h"

// One request's place in a trace that goes through several services: the `traceparent` header
// (W3C Trace Context, https://www.w3.org/TR/trace-context/).
namespace pontage::obs {

struct TraceContext {
  std::array<uint8_t, 16> trace_id = {};  // Never all zero.
  std::array<uint8_t, 8> parent_id = {};  // The span that made the request; never all zero.
  uint8_t flags = 0;                      // 1: sampled, 2: the trace id is random. Others are zero.

  friend bool operator==(const TraceContext&, const TraceContext&) = default;
};

// The value of one `traceparent` header. Nothing when it is not exactly of the form of version 00,
// or does not begin like it in a later version: capitals, other lengths, zero ids and the version
// ff are refused.
std::optional<TraceContext> ParseTraceparent(std::string_view value);

// A trace that begins here, not sampled.
TraceContext NewTrace(Rng& rng);
// The same trace with a new span id, for a request that we make on behalf of `parent`.
TraceContext ChildOf(const TraceContext& parent, Rng& rng);
// The child of what the client sent, or a new trace where it sent nothing good. In the second case
// (`continued` is false) the client's `tracestate` belongs to nothing and is not passed on.
TraceContext ContinueTrace(std::string_view traceparent, Rng& rng, bool* continued = nullptr);

// "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
std::string FormatTraceparent(const TraceContext& context);
// The trace id alone, for a log line.
std::string TraceIdText(const TraceContext& context);

}  // namespace pontage::obs
