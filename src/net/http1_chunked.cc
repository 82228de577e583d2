#include "net/http1.h"

namespace pontage::net::http1 {
namespace {

// Below this another hexadecimal digit does not overflow 64 bits.
constexpr uint64_t kLargestChunk = uint64_t{1} << 60;

std::unexpected<Refusal> Refuse(int status, std::string_view why) {
  return std::unexpected(Refusal{status, why});
}

}  // namespace

Parsed<ChunkDecoder::Piece> ChunkDecoder::Next(std::string_view bytes) {
  Piece piece;
  while (piece.consumed < bytes.size() && state_ != State::kDone) {
    if (state_ == State::kData) {
      const size_t left = bytes.size() - piece.consumed;
      const size_t size = left_ < left ? static_cast<size_t>(left_) : left;
      piece.data = bytes.substr(piece.consumed, size);
      piece.consumed += size;
      left_ -= size;
      if (left_ == 0) state_ = State::kDataCr;
      return piece;
    }
    if (auto took = Byte(bytes[piece.consumed]); !took) return std::unexpected(took.error());
    ++piece.consumed;
  }
  return piece;
}

Parsed<> ChunkDecoder::Byte(char c) {
  switch (state_) {
    case State::kSize:
    case State::kSizeMore: {
      if (c == '\r' && state_ == State::kSizeMore) {
        state_ = State::kSizeLf;
        return {};
      }
      int digit = 0;
      if (c >= '0' && c <= '9') {
        digit = c - '0';
      } else if (c >= 'a' && c <= 'f') {
        digit = c - 'a' + 10;
      } else if (c >= 'A' && c <= 'F') {
        digit = c - 'A' + 10;
      } else if (c == ';') {
        return Refuse(400, "a chunk extension");
      } else {
        return Refuse(400, "a malformed chunk size");
      }
      left_ = left_ * 16 + static_cast<uint64_t>(digit);
      if (left_ >= kLargestChunk || ++line_size_ > line_limit_) {
        return Refuse(400, "a chunk size beyond all bounds");
      }
      state_ = State::kSizeMore;
      return {};
    }
    case State::kSizeLf:
      if (c != '\n') return Refuse(400, "a malformed chunk size");
      line_size_ = 0;
      state_ = left_ == 0 ? State::kTrailer : State::kData;
      return {};
    case State::kDataCr:
      if (c != '\r') return Refuse(400, "a chunk longer than its size");
      state_ = State::kDataLf;
      return {};
    case State::kDataLf:
      if (c != '\n') return Refuse(400, "a chunk longer than its size");
      state_ = State::kSize;
      return {};
    case State::kTrailer:
      if (c == '\r') {
        state_ = State::kTrailerLf;
        return {};
      }
      if (c == '\n') return Refuse(400, "a trailer line that ends without CR");
      if (++trailer_size_ > trailer_limit_) return Refuse(431, "the trailers are too large");
      trailer_line_ += c;
      return {};
    case State::kTrailerLf:
      if (c != '\n') return Refuse(400, "a CR inside a trailer line");
      return TrailerLine();
    case State::kData:
    case State::kDone:
      break;
  }
  return {};
}

Parsed<> ChunkDecoder::TrailerLine() {
  if (trailer_line_.empty()) {
    state_ = State::kDone;
    return {};
  }
  if (auto added = ParseField(trailer_line_, trailers_); !added) return added;
  const std::string_view name = trailers_.at(trailers_.size() - 1).name;
  for (const std::string_view framing : {"transfer-encoding", "content-length", "host"}) {
    if (EqualsNoCase(name, framing)) return Refuse(400, "a trailer field that belongs in the head");
  }
  trailer_line_.clear();
  state_ = State::kTrailer;
  return {};
}

}  // namespace pontage::net::http1
