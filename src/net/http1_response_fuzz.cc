#include <string>

#include "base/check.h"
#include "net/http1.h"
#include "testing/fuzz.h"

namespace pontage::net::http1 {

// However the bytes arrive, they are one answer or one refusal; what was understood, written out,
// is understood as the same again; and a HEAD's answer differs only in having no body.
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
  if (!whole || *whole == 0) return;

  const std::string_view head = input.substr(0, *whole);
  const Parsed<Response> answer = ParseResponse(head, limits, false);
  const Parsed<Response> to_head = ParseResponse(head, limits, true);
  PTG_CHECK(answer.has_value() == to_head.has_value());
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
