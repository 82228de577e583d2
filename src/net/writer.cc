#include <algorithm>
#include <array>

#include "base/try.h"
#include "net/connection.h"

namespace pontage::net {
namespace {

// Small pieces are gathered up to this size when nobody asks for them to leave: one segment
// offload's worth, and the bound on what a slow reader makes us hold.
constexpr size_t kGather = 16 * 1024;
// What a usual answer's head takes.
constexpr size_t kHeadBytes = 960;

}  // namespace

Writer::Writer(Connection& connection, const http1::Request& request, RequestBody& body)
    : connection_(connection),
      body_(body),
      minor_version_(request.head.minor_version),
      to_head_(request.head.method == "HEAD"),
      keep_alive_(request.keep_alive) {
  connection_.writer_ = this;
}

Writer::~Writer() { connection_.writer_ = nullptr; }

Result<> Writer::Usable() const {
  if (aborted_) return Fail(Code::kConnection, "the answer was aborted");
  if (gone_) return Fail(Code::kConnection, "the client has gone");
  return {};
}

void Writer::SendContinue() {
  if (state_ != State::kBeforeHead || !body_.continue_wanted()) return;
  body_.ContinueDone();
  out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  // What does not leave now leaves with the head: the client may go on without a 100 anyway.
  if (!sending_) out_.erase(0, connection_.transport_.TryWrite(out_));
}

Task<> Writer::Interim(const ResponseHead& head) {
  PTG_CO_RUN(Usable());
  if (minor_version_ == 0 || state_ != State::kBeforeHead) co_return {};
  if (head.status == 100) {
    SendContinue();
    co_return {};
  }
  ResponseHead ours = head;
  http1::RemoveHopByHop(ours.headers);
  if (head.status < 100 || head.status > 199 || head.status == 101 ||
      !http1::WriteResponse(ours, {}, out_)) {
    co_return Fail(Code::kInternal, "not an interim answer");
  }
  co_return co_await Flush({}, {});
}

// Whether the client may send another request: not when the rest of this one's body is in the way.
bool Writer::WillKeepAlive() const {
  return keep_alive_ && !connection_.shared_->draining &&
         body_.DrainableBy(connection_.kDrainBytes);
}

Task<> Writer::Head(ResponseHead head, std::optional<uint64_t> body_size) {
  PTG_CO_RUN(Usable());
  if (state_ != State::kBeforeHead || head.status < 200) {
    co_return Fail(Code::kInternal, "not a place for an answer's head");
  }
  const std::string upgrade(head.status == 426 ? head.headers.Get("upgrade").value_or("") : "");
  http1::RemoveHopByHop(head.headers);
  if (!upgrade.empty()) head.headers.Add("Upgrade", upgrade);
  const bool no_body_ever = head.status == 204 || head.status == 304;
  bodiless_ = to_head_ || no_body_ever;
  chunked_ = !bodiless_ && !body_size && minor_version_ == 1;
  // Without a size an HTTP/1.0 answer ends with the connection.
  keep_alive_ = WillKeepAlive();
  http1::WriteOptions options;
  options.chunked = chunked_;
  // A size beside 304 is that of the answer it stands for, and 0 only means that nobody knew it.
  if (head.status != 204 && !(head.status == 304 && body_size == 0)) options.length = body_size;
  options.connection = keep_alive_ ? "" : "close";
  out_.reserve(out_.size() + kHeadBytes);
  if (!http1::WriteResponse(head, options, out_)) {
    co_return Fail(Code::kInternal, "the answer's head holds what a head cannot carry");
  }
  state_ = State::kInBody;
  body_.ContinueDone();
  if (!bodiless_) left_ = body_size;
  if (!bodiless_ && left_ != 0) AskForTurnEnd();
  co_return {};
}

void Writer::AtTurnEnd() {
  if (sending_ || aborted_ || out_.empty()) return;
  out_.erase(0, connection_.transport_.TryWrite(out_));
}

bool Writer::Left(std::string_view& body, std::string_view& after) {
  std::array<iovec, 3> pieces{};
  size_t used = 0;
  for (const std::string_view piece : {std::string_view(out_), body, after}) {
    if (!piece.empty()) pieces[used++] = {const_cast<char*>(piece.data()), piece.size()};
  }
  if (used == 0) return true;
  size_t gone = connection_.transport_.TryWrite(std::span(pieces).first(used));
  const size_t lead = std::min(gone, out_.size());
  out_.erase(0, lead);
  gone -= lead;
  for (std::string_view* const piece : {&body, &after}) {
    const size_t some = std::min(gone, piece->size());
    piece->remove_prefix(some);
    gone -= some;
  }
  return out_.empty() && body.empty() && after.empty();
}

Task<> Writer::Flush(std::string_view body, std::string_view after) {
  std::string lead = std::move(out_);
  out_.clear();
  const auto piece = [](std::string_view text) {
    return iovec{const_cast<char*>(text.data()), text.size()};
  };
  std::array<iovec, 3> pieces{piece(lead), piece(body), piece(after)};
  sending_ = true;
  const Result<> sent = co_await connection_.transport_.WriteAll(
      pieces, connection_.shared_->loop.clock(), connection_.shared_->limits.write_timeout,
      Deadline::Never());
  sending_ = false;
  if (!sent) {
    // Half an answer is out: nothing else may follow on this connection.
    gone_ = sent.error().code() == Code::kConnection;
    aborted_ = true;
  }
  co_return sent;
}

Task<> Writer::Write(std::string_view bytes, bool flush) {
  PTG_CO_RUN(Usable());
  if (state_ != State::kInBody) co_return Fail(Code::kInternal, "a body outside of an answer");
  if (bodiless_) co_return {};
  if (left_) {
    if (bytes.size() > *left_) {
      Abort();
      co_return Fail(Code::kInternal, "the body is longer than announced");
    }
    *left_ -= bytes.size();
  }
  const bool chunk = chunked_ && !bytes.empty();
  if (chunk) http1::WriteChunkSize(bytes.size(), out_);
  std::string_view after = chunk ? "\r\n" : "";
  if (!flush && out_.size() + bytes.size() + after.size() <= kGather) {
    out_.append(bytes).append(after);
    co_return {};
  }
  if (Left(bytes, after)) co_return {};
  co_return co_await Flush(bytes, after);
}

Task<> Writer::End(const Headers* trailers) {
  PTG_CO_RUN(Usable());
  if (state_ != State::kInBody) co_return Fail(Code::kInternal, "an end outside of an answer");
  if (left_.value_or(0) != 0) {
    Abort();
    co_return Fail(Code::kInternal, "the body is shorter than announced");
  }
  if (chunked_ && !http1::WriteLastChunk(trailers, out_)) {
    Abort();
    co_return Fail(Code::kInternal, "the trailers hold what a head cannot carry");
  }
  std::string_view nothing;
  if (!Left(nothing, nothing)) PTG_CO_RUN(co_await Flush({}, {}));
  state_ = State::kEnded;
  if (upgraded_) connection_.transport_.ShutdownWrite();
  co_return {};
}

Task<> Writer::Upgrade(ResponseHead head) {
  PTG_CO_RUN(Usable());
  // With a body unread, nobody could tell where the other protocol begins.
  if (state_ != State::kBeforeHead || head.status != 101 || minor_version_ == 0 ||
      !body_.finished()) {
    co_return Fail(Code::kInternal, "not a place for an upgrade");
  }
  const std::string protocol(head.headers.Get("upgrade").value_or(""));
  http1::RemoveHopByHop(head.headers);
  head.headers.Add("Upgrade", protocol);
  http1::WriteOptions options;
  options.connection = "Upgrade";
  if (!http1::WriteResponse(head, options, out_)) {
    co_return Fail(Code::kInternal, "the answer's head holds what a head cannot carry");
  }
  state_ = State::kInBody;
  upgraded_ = true;
  keep_alive_ = false;
  body_.BecomeRaw();
  co_return co_await Flush({}, {});
}

void Writer::Abort() { aborted_ = true; }

bool Writer::client_gone() const { return gone_ || connection_.transport_.socket().PeerGone(); }

}  // namespace pontage::net
