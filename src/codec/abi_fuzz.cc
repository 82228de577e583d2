#include "base/check.h"
#include "codec/abi.h"
#include "testing/fuzz.h"

namespace pontage::codec {

// Whatever a contract returns, a reader stays inside it, and what it hands out is a part of it.
FUZZ_TARGET(abi) {
  const AbiDecoder tuple(AsBytes(input));
  const auto inside = [&](ByteView part) {
    const uint8_t* begin = reinterpret_cast<const uint8_t*>(input.data());
    PTG_CHECK(part.empty() ||
              (part.data() >= begin && part.data() + part.size() <= begin + input.size()));
  };
  for (size_t i = 0; i < 4; ++i) {
    if (const auto address = tuple.Address(i)) {
      const auto word = tuple.Word(i);
      PTG_CHECK(word &&
                AbiEncoder().Address(*address).Finish() == Bytes(word->begin(), word->end()));
    }
    if (const auto bytes = tuple.Dynamic(i)) inside(*bytes);
    if (const auto rows = tuple.DynamicArray(i, 16)) {
      PTG_CHECK(rows->size() <= 16);
      for (const AbiDecoder& row : *rows) {
        (void)row.Bool(0);
        if (const auto bytes = row.Dynamic(1)) inside(*bytes);
      }
    }
  }
  const Bytes written = AbiEncoder().Dynamic(AsBytes(input)).Finish();
  const auto back = AbiDecoder(written).Dynamic(0);
  PTG_CHECK(back && AsText(*back) == input);
}

}  // namespace pontage::codec
