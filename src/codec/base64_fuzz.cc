#include "base/check.h"
#include "codec/base64.h"
#include "testing/fuzz.h"

namespace pontage::codec {

// Apart from padding that was left out there is one spelling for each value, or one payment could
// be shown again under another header.
FUZZ_TARGET(base64) {
  if (const auto bytes = DecodeBase64(input)) {
    const std::string canonical = EncodeBase64(*bytes);
    PTG_CHECK(canonical == input || canonical.substr(0, canonical.find('=')) == input);
  }
  const auto back = DecodeBase64(EncodeBase64(input));
  PTG_CHECK(back && *back == input);
}

}  // namespace pontage::codec
