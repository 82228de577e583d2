#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "net/http1.h"

// A header block of HTTP/2 (RFC 9113 §8) judged as strictly as HTTP/1's heads are, and made into
// the same request: whoever reads it further on cannot tell what carried it, and could write it out
// as HTTP/1.1 without asking again.
namespace pontage::net::http2 {

using http1::HeadLimits;
using http1::Parsed;
using http1::Refusal;

// Takes the fields of one block in their order, as HPACK gave them. The first fault is kept and
// nothing after it; what is stored is bounded by the limits, whatever comes.
class HeadBuilder {
 public:
  enum class Kind : uint8_t { kRequest, kTrailers };
  // limits.bytes as SETTINGS_MAX_HEADER_LIST_SIZE counts: names, values and 32 for each field.
  HeadBuilder(Kind kind, HeadLimits limits) : kind_(kind), limits_(limits) {}

  void Add(std::string_view name, std::string_view value);

  // The request. `body`: something follows the block. Its framing is kNone, kLength, or kChunked
  // for a body of a size that nobody said. Once.
  Parsed<http1::Request> Request(bool body);
  // The trailers. Once.
  Parsed<Headers> Trailers();
  // Of all fields shown so far, kept or not.
  size_t bytes() const { return bytes_; }

 private:
  Parsed<> Judge(std::string_view name, std::string_view value);
  Parsed<> Pseudo(std::string_view name, std::string_view value);
  Parsed<> Target(RequestHead& head) const;
  Parsed<> Host(RequestHead& head) const;
  Parsed<> Framing(http1::Request& request, bool body) const;

  const Kind kind_;
  const HeadLimits limits_;
  size_t bytes_ = 0;
  std::optional<Refusal> refusal_;
  bool regular_ = false;  // a field that is no pseudo-header has come
  std::optional<std::string> method_;
  std::optional<std::string> scheme_;
  std::optional<std::string> authority_;
  std::optional<std::string> path_;
  std::optional<std::string> host_;
  std::string cookie_;
  Headers headers_;
};

}  // namespace pontage::net::http2
