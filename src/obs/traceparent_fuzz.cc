#include "base/check.h"
#include "obs/trace.h"
#include "testing/fuzz.h"

namespace pontage::obs {

// What is accepted in version 00 is printed as it came, but for flags that we do not know; what is
// accepted at all can be read again and is then the same.
FUZZ_TARGET(traceparent) {
  const auto context = ParseTraceparent(input);
  if (!context) return;
  const std::string text = FormatTraceparent(*context);
  PTG_CHECK(ParseTraceparent(text) == context);
  PTG_CHECK(text.substr(2, 51) == input.substr(2, 51));
}

}  // namespace pontage::obs
