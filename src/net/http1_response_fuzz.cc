#include <string>

#include "base/check.h"
#include "net/http1.h"
#include "net/http1_naive_fuzz.h"
#include "testing/fuzz.h"

namespace pontage::net::http1 {
namespace {

// Both take it and read the same, or both refuse it.
void CheckAgainstNaive(const std::string& head, const Parsed<Response>& answer, size_t fields) {
  const auto second = naive::ReadResponse(head, fields);
  PTG_CHECK(second.has_value() == answer.has_value());
  if (!answer) return;
  const ResponseHead& first = answer->head;
  PTG_CHECK(first.status == second->status && first.reason == second->reason);
  PTG_CHECK(first.minor_version == (second->old ? 0 : 1));
  PTG_CHECK(first.headers.size() == second->fields.size());
  for (size_t i = 0; i < second->fields.size(); ++i) {
    PTG_CHECK(first.headers.at(i).name == second->fields[i].first);
    PTG_CHECK(first.headers.at(i).value == second->fields[i].second);
  }
  const bool bodiless = first.status < 200 || first.status == 204 || first.status == 304;
  const bool until_close = !bodiless && !second->body.chunked && !second->body.length;
  PTG_CHECK((answer->framing == Framing::kUntilClose) == until_close);
  PTG_CHECK((answer->framing == Framing::kChunked) == (!bodiless && second->body.chunked));
  PTG_CHECK(answer->has_length == second->body.length.has_value());
  PTG_CHECK(answer->length == second->body.length.value_or(0));
  PTG_CHECK(answer->keep_alive == (second->keep_alive && !until_close));
}

}  // namespace

// However the bytes arrive, they are one answer or one refusal; a second, naive reader takes the
// same heads and finds the same in them; what was understood, written out, is understood as the
// same again; and a HEAD's answer differs only in having no body.
FUZZ_TARGET(http1_response) {
  const HeadLimits limits{.bytes = 4096, .fields = 16};

  HeadScanner at_once(limits);
  const Parsed<size_t> whole = at_once.Scan(input);
  HeadScanner by_byte(limits);
  Parsed<size_t> last = 0;
  for (size_t size = 0; size <= input.size(); ++size) {
    last = by_byte.Scan(input.substr(0, size));
    if (!last || *last > 0) break;
  }
  PTG_CHECK(last == whole);
  PTG_CHECK(naive::HeadSize(std::string(input), limits.bytes, limits.fields).value_or(0) ==
            whole.value_or(0));
  if (!whole || *whole == 0) return;

  const std::string_view head = input.substr(0, *whole);
  const Parsed<Response> answer = ParseResponse(head, limits, false);
  const Parsed<Response> to_head = ParseResponse(head, limits, true);
  PTG_CHECK(answer.has_value() == to_head.has_value());
  CheckAgainstNaive(std::string(head), answer, limits.fields);
  if (!answer) return;
  PTG_CHECK(to_head->framing == Framing::kNone);
  PTG_CHECK(to_head->length == answer->length && to_head->has_length == answer->has_length);
  if (answer->framing == Framing::kUntilClose) PTG_CHECK(!answer->keep_alive);

  ResponseHead copy = answer->head;
  RemoveHopByHop(copy.headers);
  WriteOptions options;
  options.chunked = answer->framing == Framing::kChunked;
  if (answer->has_length) options.length = answer->length;
  std::string out;
  PTG_CHECK(WriteResponse(copy, options, out));
  const HeadLimits wide{.bytes = 8192, .fields = 32};
  HeadScanner scanner(wide);
  PTG_CHECK(scanner.Scan(out) == out.size());
  const Parsed<Response> again = ParseResponse(out, wide, false);
  PTG_CHECK(again.has_value());
  PTG_CHECK(again->head.status == copy.status && again->framing == answer->framing);
  PTG_CHECK(again->length == answer->length);
}

}  // namespace pontage::net::http1
