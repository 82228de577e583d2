#include "codec/gzip.h"

#include <algorithm>
#include <memory>
#include <zlib.h>

#include "base/check.h"

namespace pontage::codec {
namespace {

constexpr int kGzipWindow = 15 + 16;  // zlib's largest window, and the frame of RFC 1952
constexpr size_t kChunk = 64 << 10;

// zlib's own type is not const.
Bytef* In(std::string_view text) {
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(text.data()));
}
Bytef* Out(std::string& text, size_t at) { return reinterpret_cast<Bytef*>(text.data()) + at; }

}  // namespace

std::string Gzip(std::string_view text) {
  z_stream z{};
  PTG_CHECK(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindow, 8,
                         Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&z, static_cast<uLong>(text.size())), '\0');
  z.next_in = In(text);
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = Out(out, 0);
  z.avail_out = static_cast<uInt>(out.size());
  PTG_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

Result<std::string> Gunzip(std::string_view bytes, size_t most) {
  z_stream z{};
  PTG_CHECK(inflateInit2(&z, kGzipWindow) == Z_OK);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&z, &inflateEnd);
  z.next_in = In(bytes);
  z.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  while (true) {
    const size_t had = out.size();
    // One more than is allowed shows that there is more.
    const size_t room = std::min(kChunk, most + 1 - had);
    out.resize(had + room);
    z.next_out = Out(out, had);
    z.avail_out = static_cast<uInt>(room);
    const int rc = inflate(&z, Z_NO_FLUSH);
    out.resize(had + room - z.avail_out);
    if (out.size() > most) return Fail(Code::kBadRequest, "the compressed text is too long");
    if (rc == Z_STREAM_END) break;
    if (rc != Z_OK || (out.size() == had && z.avail_in == 0)) {
      return Fail(Code::kBadRequest, "the compressed text is broken");
    }
  }
  if (z.avail_in != 0) return Fail(Code::kBadRequest, "there is more behind the compressed text");
  return out;
}

}  // namespace pontage::codec
