#include "net/http2_connection.h"

#include <array>

#include "base/log.h"
#include "base/try.h"
#include "net/connection.h"

namespace pontage::net::http2 {
namespace {

// One read's worth of frames.
constexpr size_t kBlock = 16 * 1024;
// What waits to be written: four records' worth. While there is this much nothing more is read, so
// that who asks and does not listen is not answered into our memory.
constexpr size_t kOut = 64 * 1024;
// Reads that did not wait before others get their turn.
constexpr size_t kTurn = 32;
// How long a peer that was told the end may take to end too.
constexpr Millis kLastWords{2'000};

SessionLimits LimitsOf(const ServerLimits& limits) {
  SessionLimits ours;
  ours.head = {limits.head_bytes, limits.header_fields};
  ours.trailer_bytes = limits.trailer_bytes;
  ours.streams = limits.streams;
  return ours;
}

}  // namespace

Connection::Connection(std::shared_ptr<ServerShared> shared, Transport& transport, IoLink& parked,
                       std::string peer_address, uint16_t peer_port)
    : shared_(std::move(shared)),
      transport_(transport),
      parked_(parked),
      peer_address_(std::move(peer_address)),
      peer_port_(peer_port),
      session_(LimitsOf(shared_->limits), shared_->loop.clock(), *this) {}

Connection::~Connection() = default;

Task<bool> Connection::Run(std::shared_ptr<Connection> self) {
  Connection& c = *self;
  // Whatever ends this coroutine, nothing of ours waits on the transport after it.
  struct Leave {
    ~Leave() {
      connection.dead_ = true;
      connection.writer_.Stop();
      connection.parked_.Unlink();
      connection.DeadlineNode::Unlink();
    }
    Connection& connection;
  };
  const Leave leave{c};
  c.Rest();
  c.FlushSoon();
  PTG_CO_TRY(const End end, co_await c.ReadFrames());
  if (end == End::kBroken) c.Die();
  if (end == End::kOver) c.LoseAll();
  for (const auto& [id, stream] : c.streams_) {
    stream->Break(Error(Code::kConnection, "the client left before its body ended"));
    c.readers_.push_back(stream);
  }
  c.Wake();
  c.Flush();
  while (c.running_ > 0) {
    c.finished_.Clear();
    PTG_CO_RUN(co_await c.finished_.Wait(Deadline::Never()));
  }
  c.Flush();
  while (!c.dead_ && !c.all_out()) {
    c.drained_.Clear();
    // The write itself has its deadline.
    PTG_CO_RUN(co_await c.drained_.Wait(Deadline::Never()));
  }
  co_return end == End::kOver && !c.dead_;
}

Task<Connection::End> Connection::ReadFrames() {
  // Filled and used up between two suspensions: one for all connections of a thread.
  static thread_local std::array<char, kBlock> block;
  const ServerShared& shared = *shared_;
  Deadline by = Deadline::Never();
  for (size_t reads = 1;; ++reads) {
    while (!dead_ && !closing_ && out_.size() - out_at_ >= kOut) {
      room_.Clear();
      PTG_CO_RUN(co_await room_.Wait(Deadline::Never()));
    }
    if (dead_) co_return End::kBroken;
    const Result<size_t> count = co_await transport_.Read(block, by);
    if (!count) co_return End::kBroken;
    if (*count == 0) co_return End::kPeerEnded;
    if (closing_) continue;
    const bool good = session_.Receive({block.data(), *count});
    Dispatch();
    FlushSoon();
    if (!good) co_return End::kOver;
    if (!session_.in_head()) {
      by = Deadline::Never();
    } else if (by.at() == Deadline::Never().at()) {
      by = Deadline::In(shared.loop.clock(), shared.limits.head_timeout);
    }
    if (reads % kTurn == 0) PTG_CO_RUN(co_await Sleep(Millis(0)));
  }
}

// ---- What nghttp2 tells, while it must not be entered again: noted for Dispatch.

void Connection::OnRequest(int32_t id, Parsed<http1::Request> request, bool body) {
  auto stream = std::make_shared<Stream>(*this, id, std::move(request), body);
  streams_.emplace(id, stream);
  fresh_.push_back(std::move(stream));
}

void Connection::OnData(int32_t id, std::string_view bytes) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || found->second->done_ || found->second->refusal_) {
    session_.Consume(found == streams_.end() ? 0 : id, bytes.size());
    return;
  }
  found->second->arrived_.append(bytes);
  readers_.push_back(found->second);
}

void Connection::OnBodyEnd(int32_t id, Parsed<Headers> trailers) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& stream = *found->second;
  stream.sending_ = false;
  if (!trailers) {
    stream.Break(Error(Code::kBadRequest, std::string(trailers.error().why)));
  } else if (stream.input_ == Stream::Input::kMore) {
    stream.input_ = Stream::Input::kEnd;
    stream.trailers_ = *std::move(trailers);
  }
  readers_.push_back(found->second);
}

void Connection::OnClosed(int32_t id, uint32_t error) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const std::shared_ptr<Stream> stream = std::move(found->second);
  streams_.erase(found);
  stream->closed_ = true;
  // What nobody has read yet must not count against the connection for ever.
  session_.Consume(0, stream->arrived_.size() + stream->given_.size());
  // Also when the client calls it no error, as some do by default.
  if (error != 0 || !stream->answered_) {
    stream->Lose();
  } else {
    stream->Break(Error(Code::kConnection, "the client left before its body ended"));
    readers_.push_back(stream);
  }
}

void Connection::OnAnswerEnd(int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second->answered_ = true;
  leaving_.push_back(found->second);
  // Nobody reads the rest of what was refused.
  const Stream& stream = *found->second;
  if (stream.done_ && stream.sending_) session_.Reset(id, Session::Why::kDone);
}

void Connection::OnUnsendable(int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second->unsendable_ = true;
  writers_.push_back(found->second);
  session_.Reset(id, Session::Why::kFailed);
}

// ---- What follows.

void Connection::Dispatch() {
  for (const std::shared_ptr<Stream>& stream : std::exchange(fresh_, {})) {
    if (stream->closed_) continue;
    if (stream->refusal_) {
      stream->done_ = true;
      stream->Tell(*stream->refusal_);
    } else if (running_ >= shared_->limits.streams) {
      // Those before it were broken off and still run: not a way to have more of them.
      stream->done_ = true;
      session_.Reset(stream->id_, Session::Why::kRefused);
    } else {
      ++running_;
      shared_->loop.Spawn(Handle(shared_from_this(), stream), "http.request");
    }
  }
  Wake();
  Rest();
}

void Connection::Wake() {
  // Who goes on may have others woken: they are added while these are gone through.
  std::vector<std::shared_ptr<Stream>> woken = std::exchange(spare_, {});
  while (!readers_.empty() || !writers_.empty()) {
    woken.swap(readers_);
    for (const auto& stream : woken) stream->readable_.Set();
    woken.clear();
    woken.swap(writers_);
    for (const auto& stream : woken) stream->writable_.Set();
    woken.clear();
  }
  spare_ = std::move(woken);
}

Task<> Connection::Handle(std::shared_ptr<Connection> self, std::shared_ptr<Stream> stream) {
  const Result<> handled = co_await self->shared_->handler(stream->request_.head, *stream, *stream);
  self->Finish(*stream, handled);
  co_return {};
}

void Connection::Finish(Stream& stream, const Result<>& handled) {
  stream.done_ = true;
  const bool ended = stream.state_ == Stream::State::kEnded;
  if (!ended && !handled) {
    const bool theirs = handled.error().code() == Code::kConnection;
    Log(theirs ? LogLevel::kDebug : LogLevel::kWarn, "http.handler_failed",
        {{"method", stream.request_.head.method}, {"detail", handled.error().detail()}});
  }
  if (!stream.closed_ && !dead_) {
    session_.Consume(stream.id_, stream.arrived_.size() + stream.given_.size());
    if (!ended && !stream.head_sent() && !stream.aborted_) {
      stream.Tell(handled ? Refusal{500, "the request was not answered"}
                          : RefusalOf(handled.error().code()));
    } else if (!ended) {
      session_.Reset(stream.id_, stream.stalled_ ? Session::Why::kStalled : Session::Why::kFailed);
    } else if (stream.sending_) {
      // The rest of its body is of no use to anybody (RFC 9113 §8.1).
      session_.Reset(stream.id_, Session::Why::kDone);
    }
  }
  stream.arrived_.clear();
  stream.given_.clear();
  FlushSoon();
  --running_;
  Rest();
  if (running_ == 0) finished_.Set();
}

void Connection::FlushSoon() {
  if (flush_posted_ || dead_) return;
  flush_posted_ = true;
  shared_->loop.Post([weak = weak_from_this()] {
    const std::shared_ptr<Connection> self = weak.lock();
    if (!self) return;
    self->flush_posted_ = false;
    self->Flush();
  });
}

void Connection::Flush() {
  if (dead_) return;
  if (write_failed_) return Die();
  if (all_out()) {
    // Before it is filled again: who reads must not wait until there is nothing left to say.
    room_.Set();
    if (dead_) return;
  }
  while (!writing_ && !write_failed_) {
    if (out_at_ == out_.size()) {
      out_.clear();
      out_at_ = 0;
    }
    const size_t before = out_.size();
    session_.Fill(out_, kOut);
    produced_ += out_.size() - before;
    for (const auto& stream : leaving_) {
      if (!stream->end_at_) stream->end_at_ = produced_;
    }
    if (out_at_ == out_.size()) break;
    const size_t count = transport_.TryWrite(std::string_view(out_).substr(out_at_));
    out_at_ += count;
    written_ += count;
    if (count > 0) continue;
    writing_ = true;
    writer_.Start(WriteOut());
  }
  if (session_.over() && !closing_) {
    // Nothing that is said on any stream leaves any more.
    closing_ = true;
    parked_.Unlink();
    LoseAll();
  }
  std::erase_if(leaving_, [this](const std::shared_ptr<Stream>& stream) {
    if (!stream->left_whole()) return false;
    writers_.push_back(stream);
    return true;
  });
  Wake();
  if (dead_) return;
  if (draining_) Rest();
  if (all_out()) {
    if (running_ == 0) {
      std::string().swap(out_);
      out_at_ = 0;
    }
    room_.Set();
    drained_.Set();
    // Whoever waited for that may have been the last, and our transport gone with him.
    if (dead_) return;
    if (closing_ && !std::exchange(shut_, true)) {
      transport_.ShutdownWrite();
      shared_->loop.Watch(*this, Deadline::In(shared_->loop.clock(), kLastWords));
    }
  }
}

Task<> Connection::WriteOut() {
  std::array<iovec, 1> pieces{{{out_.data() + out_at_, out_.size() - out_at_}}};
  const Result<> written = co_await transport_.WriteAll(
      pieces, shared_->loop.clock(), shared_->limits.write_timeout, Deadline::Never());
  if (written) {
    written_ += out_.size() - out_at_;
    out_at_ = out_.size();
  }
  write_failed_ = !written;
  writing_ = false;
  // Through the loop: who is woken may end this very task.
  FlushSoon();
  co_return {};
}

void Connection::Rest() {
  if (dead_ || closing_) return;
  if (running_ > 0) {
    parked_.Unlink();
    DeadlineNode::Unlink();
    return;
  }
  if (streams_.empty()) {
    if (draining_) return Close();
    if (parked_.alone()) shared_->idle.Append(parked_);
  }
  // Answers that nobody waits for are given no more time than idleness.
  if (linked()) return;
  const Deadline by = Deadline::In(shared_->loop.clock(), shared_->limits.idle_timeout);
  shared_->loop.Watch(*this, by);
}

void Connection::Expire() {
  if (closing_) {
    transport_.socket().Close();
  } else {
    Close();
  }
}

void Connection::Drain() {
  if (draining_ || dead_) return;
  draining_ = true;
  session_.GoAway();
  Rest();
  FlushSoon();
}

void Connection::Close() {
  if (closing_ || dead_) return;
  if (!draining_) session_.GoAway();
  closing_ = true;
  parked_.Unlink();
  FlushSoon();
}

void Connection::LoseAll() {
  for (const auto& [id, stream] : streams_) stream->Lose();
  if (session_.complaint().empty() || std::exchange(complained_, true)) return;
  Log(LogLevel::kWarn, "http.http2_refused",
      {{"client", peer_address_}, {"detail", session_.complaint()}});
}

void Connection::Die() {
  if (dead_) return;
  dead_ = true;
  LoseAll();
  // Ends on their way out that did not leave.
  for (const auto& stream : std::exchange(leaving_, {})) stream->Lose();
  transport_.socket().Abort();
  Wake();
  room_.Set();
  drained_.Set();
}

}  // namespace pontage::net::http2
