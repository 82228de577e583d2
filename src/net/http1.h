#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "net/message.h"

// HTTP/1.x as bytes (RFC 9112), without input or output, and strict: a message that two readers
// could take for two different ones is refused, not repaired. The law: no prefix of a message is
// read as another complete head, and the pieces in which bytes arrive change nothing.
namespace pontage::net::http1 {

// Why a message is not accepted, and the status that a server answers it with.
struct Refusal {
  int status = 400;
  std::string_view why;  // a constant, fit for the caller

  friend bool operator==(const Refusal&, const Refusal&) = default;
};
template <typename T = void>
using Parsed = std::expected<T, Refusal>;

struct HeadLimits {
  size_t bytes = 64 * 1024;
  size_t fields = 128;
};

// How the end of a body is known.
enum class Framing : uint8_t { kNone, kLength, kChunked, kUntilClose };

struct Request {
  RequestHead head;
  Framing framing = Framing::kNone;
  uint64_t length = 0;           // for kLength
  bool keep_alive = false;       // HTTP/1.1 without Connection: close
  bool expect_continue = false;  // HTTP/1.1 with Expect: 100-continue
};

struct Response {
  ResponseHead head;
  Framing framing = Framing::kNone;
  uint64_t length = 0;      // for kLength; for the answer to a HEAD what it announces
  bool has_length = false;  // Content-Length was there
  bool keep_alive = false;
};

// Finds the end of a head in bytes that arrive in pieces, and refuses what can no longer become
// one: bare LF, a head beyond the limits, a first byte that begins no message.
class HeadScanner {
 public:
  explicit HeadScanner(HeadLimits limits) : limits_(limits) {}
  // `bytes`: everything since the head's beginning, at least what was shown before. The size of the
  // head with its empty line, or 0 while it is not complete.
  Parsed<size_t> Scan(std::string_view bytes);

 private:
  HeadLimits limits_;
  size_t line_ = 0;  // where the line that is being looked at begins
  size_t lines_ = 0;
  size_t seen_ = 0;  // nothing before this ends a line that has not been counted
};

// One field line, without its CRLF and not empty, added to `headers`.
Parsed<> ParseField(std::string_view line, Headers& headers);
// A whole head as HeadScanner delimits it.
Parsed<Request> ParseRequest(std::string_view head, HeadLimits limits);
// `to_head`: it answers a HEAD request. Informational answers (1xx) have no body.
Parsed<Response> ParseResponse(std::string_view head, HeadLimits limits, bool to_head);

// Decodes a chunked body (RFC 9112 §7.1) without extensions.
class ChunkDecoder {
 public:
  // `line`: the most bytes in a size line; `trailer`: in all trailer lines together.
  ChunkDecoder(size_t line, size_t trailer) : line_limit_(line), trailer_limit_(trailer) {}

  struct Piece {
    size_t consumed = 0;    // of the input, the data included
    std::string_view data;  // a part of the input; empty when it held none
  };
  // Takes from the front of `bytes` up to the end of one piece of data. Without data in the answer
  // and not done(), all was taken and more is needed.
  Parsed<Piece> Next(std::string_view bytes);
  bool done() const { return state_ == State::kDone; }
  Headers& trailers() { return trailers_; }

 private:
  enum class State : uint8_t {
    kSize,      // the first digit has not come
    kSizeMore,  // at least one has
    kSizeLf,    // after the CR of the size line
    kData,
    kDataCr,
    kDataLf,
    kTrailer,  // in a trailer line (or the last, empty one)
    kTrailerLf,
    kDone,
  };
  Parsed<> Byte(char c);
  Parsed<> TrailerLine();

  size_t line_limit_;
  size_t trailer_limit_;
  State state_ = State::kSize;
  uint64_t left_ = 0;
  size_t line_size_ = 0;
  size_t trailer_size_ = 0;
  std::string trailer_line_;
  Headers trailers_;
};

// Token as in RFC 9110 §5.6.2: methods and field names.
bool IsToken(std::string_view text);
// A standard method but for its case. Methods have one spelling (RFC 9110 §9.1), but who answers
// may fold them: what is no GET here must not become one there.
bool IsMiscasedMethod(std::string_view text);
// No byte in it could end a field value or hide in one.
bool IsFieldValue(std::string_view text);
// host[:port] as Host and absolute forms have it, IPv6 in brackets; nothing in it could end a name
// or mean something else to somebody else.
bool IsAuthority(std::string_view text);
// No space, no control character and no '#': what a request target may be made of.
bool IsTargetText(std::string_view text);
// A Content-Length, which is one plain number without a sign and leading zeros.
Parsed<uint64_t> ParseLength(std::string_view digits);
// Whether one of the comma-separated members of all fields of that name is `token`.
bool HasListToken(const Headers& headers, std::string_view name, std::string_view token);
// Takes out what belongs to one connection: Connection and what it names, Keep-Alive,
// Proxy-Connection, TE, Transfer-Encoding, Content-Length and Upgrade.
void RemoveHopByHop(Headers& headers);

// The same question of one field of `headers`, which must not change meanwhile.
class HopByHop {
 public:
  explicit HopByHop(const Headers& headers);
  bool Is(std::string_view name) const;

 private:
  std::vector<std::string_view> named_;
};

// The head's text with its empty line, appended to `out`. `length` and `chunked` write the framing
// fields; `connection` the Connection field, if it is not empty. Fields of `head` of these names
// must have been removed. False when a name or value holds what a head cannot carry; `out` is then
// as before.
// With `omit`, what it names, Host and Expect are left out: whoever sends a request on writes its
// own.
struct WriteOptions {
  std::optional<uint64_t> length;
  bool chunked = false;
  std::string_view connection;
  std::string_view upgrade = {};
  const HopByHop* omit = nullptr;
};
bool WriteRequest(const RequestHead& head, std::string_view host, const WriteOptions& options,
                  std::string& out);
bool WriteResponse(const ResponseHead& head, const WriteOptions& options, std::string& out);
// "1f\r\n": what stands before a chunk's data; after it stands CRLF.
void WriteChunkSize(size_t size, std::string& out);
// The last chunk with its trailers.
bool WriteLastChunk(const Headers* trailers, std::string& out);
// The standard phrase, or "Status".
std::string_view Reason(int status);

}  // namespace pontage::net::http1
