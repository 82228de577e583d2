#include <algorithm>
#include <string>

#include "base/check.h"
#include "net/http1.h"
#include "net/http1_naive_fuzz.h"
#include "testing/fuzz.h"

// However the bytes arrive, the body is the same; a second, naive reader finds the same bodies, and
// none where there is none; what was decoded, encoded again, decodes to the same and ends where it
// should.
namespace pontage::net::http1 {
namespace {

constexpr size_t kDigits = 64;
constexpr size_t kTrailer = 256;

struct Decoded {
  std::string body;
  std::string trailers;
  size_t consumed = 0;
  bool done = false;
  Refusal refusal{0, ""};
  friend bool operator==(const Decoded&, const Decoded&) = default;
};

Decoded Decode(std::string_view bytes, size_t step) {
  ChunkDecoder decoder(kDigits, kTrailer);
  Decoded result;
  size_t shown = 0;
  while (!decoder.done()) {
    if (result.consumed == shown) {
      if (shown == bytes.size()) break;
      shown = std::min(bytes.size(), shown + step);
    }
    const std::string_view window = bytes.substr(result.consumed, shown - result.consumed);
    const auto piece = decoder.Next(window);
    if (!piece) {
      // Where it stopped within a window depends on the window, what came before it does not.
      result.refusal = piece.error();
      result.consumed = 0;
      return result;
    }
    PTG_CHECK(piece->consumed > 0 && piece->consumed <= window.size());
    result.consumed += piece->consumed;
    result.body += piece->data;
  }
  result.done = decoder.done();
  for (size_t i = 0; i < decoder.trailers().size(); ++i) {
    const Headers::Field field = decoder.trailers().at(i);
    result.trailers.append(field.name).append(":").append(field.value).append("\n");
  }
  return result;
}

}  // namespace

FUZZ_TARGET(chunked) {
  const Decoded whole = Decode(input, input.size() + 1);
  for (const size_t step : {size_t{1}, size_t{2}, size_t{5}, input.size() / 2 + 1}) {
    PTG_CHECK(Decode(input, step) == whole);
  }
  const auto second = naive::ReadChunked(std::string(input), kDigits, kTrailer);
  PTG_CHECK(second.has_value() == whole.done);
  if (!whole.done) return;
  PTG_CHECK(second->data == whole.body && second->size == whole.consumed);
  std::string trailers;
  for (const auto& [name, value] : second->trailers) trailers += name + ":" + value + "\n";
  PTG_CHECK(trailers == whole.trailers);
  // No shorter piece of it is a whole body.
  for (size_t size = 0; size < whole.consumed; ++size) {
    PTG_CHECK(!Decode(input.substr(0, size), size + 1).done);
  }
  std::string encoded;
  if (!whole.body.empty()) {
    WriteChunkSize(whole.body.size(), encoded);
    encoded.append(whole.body).append("\r\n");
  }
  PTG_CHECK(WriteLastChunk(nullptr, encoded));
  const Decoded again = Decode(encoded, encoded.size());
  PTG_CHECK(again.done && again.consumed == encoded.size() && again.body == whole.body);
}

}  // namespace pontage::net::http1
