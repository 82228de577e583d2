#include "obs/trace.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "base/hex_digits.h"

namespace pontage::obs {
namespace {

// version "-" trace-id "-" parent-id "-" flags
constexpr size_t kTraceAt = 3;
constexpr size_t kParentAt = 36;
constexpr size_t kFlagsAt = 53;
constexpr size_t kLength = 55;
constexpr uint8_t kKnownFlags = 0x03;

// Small letters only, as the standard asks (§3.2.2).
int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool ReadHex(std::string_view text, std::span<uint8_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const int high = HexDigit(text[2 * i]);
    const int low = HexDigit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

bool IsZero(std::span<const uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](uint8_t b) { return b == 0; });
}

void FillNonZero(std::span<uint8_t> out, Rng& rng) {
  do {
    rng.Fill(out);
  } while (IsZero(out));
}

}  // namespace

std::optional<TraceContext> ParseTraceparent(std::string_view value) {
  if (value.size() < kLength || value[kTraceAt - 1] != '-' || value[kParentAt - 1] != '-' ||
      value[kFlagsAt - 1] != '-') {
    return std::nullopt;
  }
  std::array<uint8_t, 1> version = {};
  std::array<uint8_t, 1> flags = {};
  TraceContext context;
  if (!ReadHex(value, version) || !ReadHex(value.substr(kTraceAt), context.trace_id) ||
      !ReadHex(value.substr(kParentAt), context.parent_id) ||
      !ReadHex(value.substr(kFlagsAt), flags)) {
    return std::nullopt;
  }
  // A later version may go on after another dash; version 00 ends here.
  const bool ends_well = value.size() == kLength || (version[0] != 0 && value[kLength] == '-');
  if (!ends_well || version[0] == 0xff) return std::nullopt;
  if (IsZero(context.trace_id) || IsZero(context.parent_id)) return std::nullopt;
  context.flags = flags[0] & kKnownFlags;
  return context;
}

TraceContext NewTrace(Rng& rng) {
  TraceContext context;
  FillNonZero(context.trace_id, rng);
  FillNonZero(context.parent_id, rng);
  context.flags = 0x02;
  return context;
}

TraceContext ChildOf(const TraceContext& parent, Rng& rng) {
  TraceContext child = parent;
  FillNonZero(child.parent_id, rng);
  return child;
}

TraceContext ContinueTrace(std::string_view traceparent, Rng& rng, bool* continued) {
  const std::optional<TraceContext> parent = ParseTraceparent(traceparent);
  if (continued != nullptr) *continued = parent.has_value();
  return parent ? ChildOf(*parent, rng) : NewTrace(rng);
}

std::string FormatTraceparent(const TraceContext& context) {
  std::string out(kLength, '-');
  const std::array<uint8_t, 2> ends = {0, context.flags};
  char* const text = out.data();
  WriteHexDigits(std::span(ends).first(1), text);
  WriteHexDigits(context.trace_id, text + kTraceAt);
  WriteHexDigits(context.parent_id, text + kParentAt);
  WriteHexDigits(std::span(ends).last(1), text + kFlagsAt);
  return out;
}

std::string TraceIdText(const TraceContext& context) {
  std::string out(2 * context.trace_id.size(), '0');
  WriteHexDigits(context.trace_id, out.data());
  return out;
}

}  // namespace pontage::obs
