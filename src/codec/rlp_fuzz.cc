#include "base/check.h"
#include "codec/rlp.h"
#include "testing/fuzz.h"

namespace pontage::codec {

// One spelling for each item, or one transaction would have two hashes.
FUZZ_TARGET(rlp) {
  const ByteView bytes = AsBytes(input);
  if (const auto item = DecodeRlp(bytes)) {
    const Bytes again = EncodeRlp(*item);
    PTG_CHECK(AsText(again) == input);
  }
  const auto back = DecodeRlp(EncodeRlp(RlpItem::Octets(bytes)));
  PTG_CHECK(back && !back->is_list && AsText(back->bytes) == input);
}

}  // namespace pontage::codec
