#include "base/check.h"
#include "codec/base64url.h"
#include "codec/json.h"
#include "crypto/jwt.h"
#include "testing/fuzz.h"

namespace pontage::crypto {

// A token that is read has one spelling, or what was revoked could be shown under another; and a
// set of keys says the same when it is written again.
FUZZ_TARGET(jwt) {
  if (const auto jws = ReadJws(input, 16 << 10)) {
    const std::string_view rest = input.substr(jws->signed_part.size());
    PTG_CHECK(input.starts_with(jws->signed_part) && rest.starts_with('.'));
    const std::string_view payload = jws->signed_part.substr(jws->signed_part.find('.') + 1);
    PTG_CHECK(codec::EncodeBase64Url(jws->payload) == payload);
    PTG_CHECK(codec::EncodeBase64Url(codec::ByteView(jws->signature)) == rest.substr(1));
    PTG_CHECK(!jws->kid.empty());
    // Whoever knows how it begins reads the same of it.
    const std::string head = JwsHead(jws->kid, jws->typ);
    if (input.starts_with(head)) {
      const auto behind = ReadJwsBehind(input, head.size());
      PTG_CHECK(behind && behind->payload == jws->payload);
      PTG_CHECK(behind->signed_part == jws->signed_part);
      PTG_CHECK(behind->signature == jws->signature);
    }
  }
  if (const auto keys = ParseJwks(input)) {
    const auto again = ParseJwks(codec::ToString(JwksOf(*keys)));
    PTG_CHECK(again && again->size() == keys->size());
    for (size_t i = 0; i < keys->size(); ++i) {
      PTG_CHECK((*again)[i].kid == (*keys)[i].kid && (*again)[i].key == (*keys)[i].key);
      PTG_CHECK((*again)[i].not_after == (*keys)[i].not_after);
    }
  }
}

}  // namespace pontage::crypto
