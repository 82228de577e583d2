#include <algorithm>
#include <tuple>

#include "base/try.h"
#include "net/connection.h"
#include "net/http2_connection.h"

namespace pontage::net::http2 {
namespace {

// What is held of one answer while the client takes none of it.
constexpr size_t kGather = 32 * 1024;

}  // namespace

Stream::Stream(Connection& connection, int32_t id, Parsed<http1::Request> request, bool body)
    : connection_(connection), id_(id), input_(body ? Input::kMore : Input::kEnd), sending_(body) {
  if (!request) {
    refusal_ = request.error();
    return;
  }
  request_ = *std::move(request);
  to_head_ = request_.head.method == "HEAD";
  request_.head.peer_address = connection_.peer_address_;
  request_.head.peer_port = connection_.peer_port_;
  request_.head.tls = connection_.transport_.secure();
}

// ---- What comes.

std::optional<uint64_t> Stream::length() const {
  if (request_.framing == http1::Framing::kChunked) return std::nullopt;
  return request_.length;
}

void Stream::Break(Error error) {
  if (input_ != Input::kMore) return;
  input_ = Input::kBroken;
  error_ = std::move(error);
}

Task<std::string_view> Stream::Read(Deadline by) {
  if (!given_.empty()) {
    if (!closed_) connection_.session_.Consume(id_, given_.size());
    connection_.FlushSoon();
    given_.clear();
  }
  if (request_.expect_continue && arrived_.empty() && input_ == Input::kMore) SendContinue();
  const ServerShared& shared = *connection_.shared_;
  by = Sooner(by, Deadline::In(shared.loop.clock(), shared.limits.body_timeout));
  while (arrived_.empty() && input_ == Input::kMore) {
    readable_.Clear();
    const Result<> came = co_await readable_.Wait(by);
    if (!came && arrived_.empty()) Break(came.error());
  }
  if (!arrived_.empty()) {
    given_.swap(arrived_);
    co_return std::string_view(given_);
  }
  if (input_ == Input::kBroken) co_return Fail(*error_);
  co_return std::string_view();
}

void Stream::SendContinue() {
  request_.expect_continue = false;
  if (state_ != State::kBeforeHead || closed_) return;
  ResponseHead go_on;
  go_on.status = 100;
  connection_.session_.Interim(id_, go_on);
  connection_.FlushSoon();
}

// ---- What goes.

Result<> Stream::Usable() const {
  if (unsendable_) return Fail(Code::kInternal, "the answer's head cannot be sent over HTTP/2");
  if (aborted_) return Fail(Code::kConnection, "the answer was aborted");
  if (gone_) return Fail(Code::kConnection, "the client has gone");
  return {};
}

bool Stream::client_gone() const {
  return gone_ || connection_.dead_ || connection_.transport_.socket().PeerGone();
}

Task<> Stream::Interim(const ResponseHead& head) {
  PTG_CO_RUN(Usable());
  if (state_ != State::kBeforeHead) co_return {};
  if (head.status == 100) {
    SendContinue();
    co_return {};
  }
  ResponseHead ours = head;
  http1::RemoveHopByHop(ours.headers);
  const bool interim = head.status > 101 && head.status < 200;
  if (!interim || !connection_.session_.Interim(id_, ours)) {
    co_return Fail(Code::kInternal, "not an interim answer");
  }
  connection_.FlushSoon();
  co_return {};
}

Task<> Stream::Head(ResponseHead head, std::optional<uint64_t> body_size) {
  PTG_CO_RUN(Usable());
  if (state_ != State::kBeforeHead || head.status < 200) {
    co_return Fail(Code::kInternal, "not a place for an answer's head");
  }
  http1::RemoveHopByHop(head.headers);
  const bool no_body_ever = head.status == 204 || head.status == 304;
  bodiless_ = to_head_ || no_body_ever;
  // A size beside 304 is that of the answer it stands for, and 0 only means that nobody knew it.
  const bool sized = head.status != 204 && !(head.status == 304 && body_size == 0);
  const bool whole = bodiless_ || body_size == 0;
  answer_ = std::move(head);
  if (!connection_.session_.Respond(id_, answer_, sized ? body_size : std::nullopt,
                                    whole ? nullptr : this)) {
    co_return Fail(Code::kInternal,
                   "the answer's head is too large, or holds what a head cannot carry");
  }
  state_ = State::kInBody;
  request_.expect_continue = false;
  if (!bodiless_) left_ = body_size;
  last_ = whole;
  connection_.FlushSoon();
  co_return {};
}

Session::Source::Taken Stream::Offer(size_t most) {
  Taken taken;
  taken.count = std::min(most, pending());
  taken.end = last_ && taken.count == pending();
  if (taken.end && answer_trailers_.size() > 0) taken.trailers = &answer_trailers_;
  return taken;
}

void Stream::Take(size_t count, std::string& out) {
  if (count == 0) return;
  out.append(pending_, taken_, count);
  taken_ += count;
  progress_ += count;
  if (pending() == 0) {
    pending_.clear();
    taken_ = 0;
  }
  connection_.writers_.push_back(shared_from_this());
}

void Stream::GoOn() {
  if (!closed_) connection_.session_.Resume(id_);
  connection_.FlushSoon();
}

bool Stream::left_whole() const { return end_at_ && connection_.written_ >= *end_at_; }

Task<> Stream::Wait(Until until) {
  const ServerShared& shared = *connection_.shared_;
  const auto there = [this, until] {
    return until == Until::kLeft ? left_whole() : pending() <= kGather / 2;
  };
  while (!there()) {
    PTG_CO_RUN(Usable());
    writable_.Clear();
    const uint64_t before = progress_;
    const uint64_t elsewhere = connection_.written_;
    const Deadline by = Deadline::In(shared.loop.clock(), shared.limits.write_timeout);
    const Result<> moved = co_await writable_.Wait(by);
    if (moved || there() || progress_ != before) continue;
    // The client reads, and it was other streams' turn for all of that time.
    const bool waits = !closed_ && connection_.written_ != elsewhere;
    if (waits && connection_.session_.Wants(id_)) continue;
    stalled_ = aborted_ = true;
    co_return Fail(moved.error());
  }
  co_return {};
}

Task<> Stream::Write(std::string_view bytes, bool flush) {
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
  while (!bytes.empty()) {
    if (pending() >= kGather) {
      GoOn();
      PTG_CO_RUN(co_await Wait(Until::kRoom));
    }
    const std::string_view some = bytes.substr(0, kGather - std::min(kGather, pending()));
    pending_.erase(0, std::exchange(taken_, 0));
    pending_.append(some);
    bytes.remove_prefix(some.size());
  }
  if (flush) GoOn();
  co_return {};
}

Task<> Stream::End(const Headers* trailers) {
  PTG_CO_RUN(Usable());
  if (state_ != State::kInBody) co_return Fail(Code::kInternal, "an end outside of an answer");
  if (left_.value_or(0) != 0) {
    Abort();
    co_return Fail(Code::kInternal, "the body is shorter than announced");
  }
  if (!std::exchange(last_, true)) {
    if (trailers != nullptr) answer_trailers_ = *trailers;
    GoOn();
  }
  PTG_CO_RUN(co_await Wait(Until::kLeft));
  state_ = State::kEnded;
  co_return {};
}

// Without Extended CONNECT there is no switch of protocols in HTTP/2.
Task<> Stream::Upgrade(ResponseHead /*head*/) {
  co_return Fail(Code::kInternal, "not a place for an upgrade");
}

void Stream::Tell(Refusal refusal) {
  if (closed_) return;
  std::tie(answer_, pending_) = MinimalProblem(refusal, connection_.shared_->NextRequestId());
  taken_ = 0;
  last_ = true;
  state_ = State::kInBody;
  bodiless_ = to_head_;
  connection_.session_.Respond(id_, answer_, pending_.size(), bodiless_ ? nullptr : this);
  connection_.FlushSoon();
}

void Stream::Lose() {
  gone_ = true;
  Break(Error(Code::kConnection, "the client left before its body ended"));
  connection_.readers_.push_back(shared_from_this());
  connection_.writers_.push_back(shared_from_this());
}

}  // namespace pontage::net::http2
