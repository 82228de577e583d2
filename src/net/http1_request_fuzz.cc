#include <algorithm>
#include <string>

#include "base/check.h"
#include "net/http1.h"
#include "net/http1_naive_fuzz.h"
#include "testing/fuzz.h"

// However the bytes arrive, they are one request or one refusal; no prefix of a head is another
// complete head; a second, naive reader takes the same heads and finds the same in them; and what
// was understood, written out, is understood as the same again.
namespace pontage::net::http1 {
namespace {

constexpr HeadLimits kLimits{.bytes = 4096, .fields = 16};

struct Outcome {
  size_t size = 0;  // of the head, 0 when it is not complete
  Refusal refusal{0, ""};
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Shows the scanner `bytes` in steps of `step`, stops at the first verdict.
Outcome Feed(std::string_view bytes, size_t step) {
  HeadScanner scanner(kLimits);
  Outcome outcome;
  for (size_t shown = 0; shown < bytes.size() || shown == 0;) {
    shown = std::min(bytes.size(), shown + step);
    const Parsed<size_t> size = scanner.Scan(bytes.substr(0, shown));
    if (!size) {
      outcome.refusal = size.error();
      return outcome;
    }
    outcome.size = *size;
    if (*size > 0) {
      PTG_CHECK(*size <= shown);
      return outcome;
    }
    if (shown == bytes.size()) break;
  }
  return outcome;
}

void CheckWritten(const Request& request) {
  const auto host = request.head.headers.Get("host");
  if (!host) return;
  RequestHead copy = request.head;
  RemoveHopByHop(copy.headers);
  // Means nothing in HTTP/1.0, which is written out as HTTP/1.1.
  copy.headers.Remove("Expect");
  const std::string authority(*host);
  copy.headers.Remove("Host");
  WriteOptions options;
  if (request.framing == Framing::kLength) options.length = request.length;
  options.chunked = request.framing == Framing::kChunked;
  std::string out;
  PTG_CHECK(WriteRequest(copy, authority, options, out));
  HeadScanner scanner({.bytes = 2 * kLimits.bytes, .fields = 2 * kLimits.fields});
  const Parsed<size_t> size = scanner.Scan(out);
  PTG_CHECK(size && *size == out.size());
  const Parsed<Request> again = ParseRequest(out, {.bytes = 8192, .fields = 32});
  PTG_CHECK(again.has_value());
  PTG_CHECK(again->head.method == copy.method && again->head.target == copy.target);
  PTG_CHECK(again->framing == request.framing && again->length == request.length);
  PTG_CHECK(again->head.headers.Get("host") == authority);
  PTG_CHECK(again->head.headers.size() ==
            copy.headers.size() + 1 + (request.framing == Framing::kNone ? 0 : 1));
}

// Both take it and read the same, or both refuse it.
void CheckAgainstNaive(const std::string& head, const Parsed<Request>& request) {
  const auto second = naive::ReadRequest(head, kLimits.fields);
  PTG_CHECK(second.has_value() == request.has_value());
  if (!request) return;
  const RequestHead& first = request->head;
  PTG_CHECK(first.method == second->method && first.target == second->target);
  PTG_CHECK(first.minor_version == (second->old ? 0 : 1));
  PTG_CHECK(first.headers.size() == second->fields.size());
  for (size_t i = 0; i < second->fields.size(); ++i) {
    PTG_CHECK(first.headers.at(i).name == second->fields[i].first);
    PTG_CHECK(first.headers.at(i).value == second->fields[i].second);
  }
  PTG_CHECK((request->framing == Framing::kChunked) == second->body.chunked);
  PTG_CHECK(request->length == second->body.length.value_or(0));
  PTG_CHECK((request->framing == Framing::kLength) == (request->length > 0));
  PTG_CHECK(request->keep_alive == second->keep_alive);
  PTG_CHECK(request->expect_continue == second->expects);
}

}  // namespace

FUZZ_TARGET(http1_request) {
  const Outcome whole = Feed(input, input.size() + 1);
  for (const size_t step : {size_t{1}, size_t{2}, size_t{7}, input.size() / 2 + 1}) {
    PTG_CHECK(Feed(input, step) == whole);
  }
  PTG_CHECK(naive::HeadSize(std::string(input), kLimits.bytes, kLimits.fields).value_or(0) ==
            whole.size);
  if (whole.size == 0) return;
  const std::string_view head = input.substr(0, whole.size);
  for (size_t size = 0; size < head.size(); ++size) {
    HeadScanner scanner(kLimits);
    PTG_CHECK(scanner.Scan(head.substr(0, size)) == size_t{0});
  }
  const Parsed<Request> request = ParseRequest(head, kLimits);
  CheckAgainstNaive(std::string(head), request);
  if (request) CheckWritten(*request);
}

}  // namespace pontage::net::http1
