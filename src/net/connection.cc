#include "net/connection.h"

#include <array>

#include <sys/socket.h>

#include "base/log.h"
#include "base/try.h"
#include "net/http2_connection.h"

namespace pontage::net {
namespace {

// One read's worth: a request with its payment header fits, and most bodies in a few.
constexpr size_t kBlock = 16 * 1024;
// For uploads: fewer system calls where there is much to read.
constexpr size_t kLargeBlock = 64 * 1024;
// When we close on somebody who is still sending, a reset would destroy the answer on its way: so
// we read on for a while. Time and bytes: a slow uploader shall see its 402, not hold us for long.
constexpr Millis kLingerTime{10'000};
constexpr Millis kLingerPause{2'000};
constexpr size_t kLingerBytes = 64 * 1024 * 1024;

std::string_view Slug(int status) {
  switch (status) {
    case 408:
      return "timeout";
    case 413:
      return "body_too_large";
    case 431:
      return "head_too_large";
    case 501:
    case 505:
      return "unsupported";
    case 503:
      return "overloaded";
    default:
      return status >= 500 ? "internal" : "bad_request";
  }
}

}  // namespace

http1::Refusal RefusalOf(Code code) {
  switch (code) {
    case Code::kBadRequest:
      return {400, "the request's body is malformed"};
    case Code::kTimeout:
      return {408, "the request's body did not arrive in time"};
    case Code::kBodyTooLarge:
      return {413, "the request's body is too large"};
    default:
      return {500, "the request could not be answered"};
  }
}

// `why` and the phrase are our own constants: nothing in them needs escaping.
std::pair<ResponseHead, std::string> MinimalProblem(http1::Refusal refusal,
                                                    std::string_view request_id) {
  const std::string_view phrase = http1::Reason(refusal.status);
  const std::string status = std::to_string(refusal.status);
  std::string body = R"({"type":"about:blank","title":")";
  body.append(phrase).append(R"(","status":)").append(status).append(R"(,"code":")");
  body.append(Slug(refusal.status)).append(R"(","detail":")").append(refusal.why).append("\"}\n");
  ResponseHead head;
  head.status = refusal.status;
  head.headers.Add("Content-Type", "application/problem+json");
  if (!request_id.empty()) head.headers.Add("X-Request-Id", request_id);
  if (refusal.status == 503) head.headers.Add("Retry-After", "1");
  return {std::move(head), std::move(body)};
}

std::string MinimalAnswer(http1::Refusal refusal, std::string_view request_id) {
  const auto [head, body] = MinimalProblem(refusal, request_id);
  http1::WriteOptions options;
  options.length = body.size();
  options.connection = "close";
  std::string out;
  http1::WriteResponse(head, options, out);
  return out + body;
}

Connection::Connection(std::shared_ptr<ServerShared> shared, Transport transport)
    : shared_(std::move(shared)), transport_(std::move(transport)) {
  std::tie(peer_address_, peer_port_) = transport_.socket().Peer();
  everywhere_.owner = parked_.owner = this;
  shared_->all.Append(everywhere_);
  ++shared_->count;
  shared_->none.Clear();
}

Connection::~Connection() {
  everywhere_.Unlink();
  parked_.Unlink();
  if (--shared_->count == 0) {
    // Not from here: who waits may destroy what we are part of.
    shared_->loop.Post([shared = shared_] {
      if (shared->count == 0) shared->none.Set();
    });
  }
}

Connection& Connection::OfEverywhere(IoLink& link) { return *static_cast<Link&>(link).owner; }
Connection& Connection::OfParked(IoLink& link) { return *static_cast<Link&>(link).owner; }

Task<> Connection::Run(std::unique_ptr<Connection> self) {
  ServerShared& shared = *self->shared_;
  const Clock& clock = shared.loop.clock();
  Next next = Next::kPark;
  if (shared.tls) PTG_CO_RUN(co_await self->ShakeHands(next));
  if (self->transport_.protocol() == "h2") PTG_CO_RUN(co_await self->ServeHttp2(next));
  while (next == Next::kPark && !shared.draining) {
    if (!self->transport_.HasUnread()) {
      // Between requests a connection holds no buffer and no frame but this one.
      shared.idle.Append(self->parked_);
      const Deadline idle = Deadline::In(clock, shared.limits.idle_timeout);
      const Result<> ready = co_await self->transport_.socket().Readable(idle);
      self->parked_.Unlink();
      if (!ready) co_return {};
    }
    PTG_CO_RUN(co_await self->Serve(next));
    self->input_.Free();
  }
  if (next == Next::kAbort) self->Abort();
  if (next == Next::kLinger) co_return co_await self->Linger();
  co_return {};
}

Task<> Connection::ShakeHands(Next& next) {
  struct Counted {
    explicit Counted(size_t& n) : count(n) { ++count; }
    ~Counted() { --count; }
    size_t& count;
  };
  const Counted counted(shared_->handshakes);
  shared_->shaking.Append(parked_);
  next = Next::kClose;
  const Deadline by = Deadline::In(shared_->loop.clock(), shared_->limits.handshake_timeout);
  Socket& socket = transport_.socket();
  if (!co_await socket.Readable(by)) {
    parked_.Unlink();
    co_return {};
  }
  char first = 0;
  const bool came = ::recv(socket.fd(), &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
  if (came && first >= 'A' && first <= 'Z') {
    parked_.Unlink();
    next = Next::kLinger;
    const http1::Refusal plain{400, "this port speaks TLS: use https"};
    co_return co_await Refuse(plain);
  }
  // Held here: the next certificate may come while we shake hands.
  const std::shared_ptr<const TlsServerContext> tls = shared_->tls;
  auto session = co_await tls->Accept(socket, by);
  parked_.Unlink();
  if (!session) {
    Log(LogLevel::kDebug, "tls.handshake_failed",
        {{"client", peer_address_}, {"detail", session.error().detail()}});
    co_return {};
  }
  transport_.Secure(*std::move(session));
  next = Next::kPark;
  co_return {};
}

Task<> Connection::ServeHttp2(Next& next) {
  struct Speaking {
    ~Speaking() { connection.http2_ = nullptr; }
    Connection& connection;
  };
  const Speaking speaking{*this};
  auto http2 =
      std::make_shared<http2::Connection>(shared_, transport_, parked_, peer_address_, peer_port_);
  http2_ = http2.get();
  if (shared_->draining) http2->Drain();
  PTG_CO_TRY(const bool listens, co_await http2::Connection::Run(std::move(http2)));
  next = listens ? Next::kLinger : Next::kClose;
  co_return {};
}

void Connection::BeginDrain() {
  if (http2_ != nullptr) http2_->Drain();
}

Task<> Connection::Serve(Next& next) {
  for (size_t answered = 1;; ++answered) {
    PTG_CO_TRY(const size_t size, co_await ReadHead(next));
    if (size == 0) co_return {};
    const http1::HeadLimits limits{shared_->limits.head_bytes, shared_->limits.header_fields};
    auto request = http1::ParseRequest(input_.view().substr(0, size), limits);
    if (!request) {
      next = Next::kLinger;
      PTG_CO_RUN(co_await Refuse(request.error()));
      co_return {};
    }
    input_.Consume(size);
    PTG_CO_RUN(co_await Exchange(*request, next));
    if (next != Next::kPark || input_.empty()) co_return {};
    if (answered % shared_->limits.pipelined == 0) {
      // Others first: a millisecond is the timer's grain.
      PTG_CO_RUN(co_await Sleep(Millis(1)));
    }
  }
}

Task<size_t> Connection::Fill(size_t block, Deadline by) {
  const std::span<char> room = input_.Room(block);
  PTG_CO_TRY(const size_t count, co_await transport_.Read(room, by));
  input_.Filled(count);
  co_return count;
}

Task<size_t> Connection::ReadHead(Next& next) {
  http1::HeadScanner scanner({shared_->limits.head_bytes, shared_->limits.header_fields});
  const Deadline by = Deadline::In(shared_->loop.clock(), shared_->limits.head_timeout);
  bool skipped = false;
  while (true) {
    // One empty line before a request is forgiven, as RFC 9112 §2.2 asks.
    if (!skipped && input_.view().starts_with("\r\n")) {
      input_.Consume(2);
      skipped = true;
    }
    const bool undecided = !skipped && input_.view() == "\r";
    const http1::Parsed<size_t> scanned = undecided ? 0 : scanner.Scan(input_.view());
    if (!scanned) {
      next = Next::kLinger;
      PTG_CO_RUN(co_await Refuse(scanned.error()));
      co_return size_t{0};
    }
    if (*scanned > 0) co_return *scanned;
    // As Fill does, without its frame.
    const std::span<char> room = input_.Room(kBlock);
    const Result<size_t> count = co_await transport_.Read(room, by);
    if (count) input_.Filled(*count);
    if (!count && count.error().code() == Code::kTimeout && !input_.empty()) {
      next = Next::kLinger;
      const http1::Refusal late{408, "the request's head did not arrive in time"};
      PTG_CO_RUN(co_await Refuse(late));
      co_return size_t{0};
    }
    if (!count || *count == 0) {
      next = Next::kClose;
      co_return size_t{0};
    }
  }
}

Task<> Connection::Exchange(http1::Request& request, Next& next) {
  request.head.peer_address = peer_address_;
  request.head.peer_port = peer_port_;
  request.head.tls = transport_.secure();
  RequestBody body(*this, request);
  Writer writer(*this, request, body);
  // Whatever a handler does wrong, its client gets an answer or a broken connection.
  const Result<> handled = co_await shared_->handler(request.head, body, writer);
  if (writer.ended()) {
    // As nearly all do: nothing of the request is unread.
    if (writer.keep_alive() && body.finished()) {
      next = Next::kPark;
      co_return {};
    }
    co_return co_await Finish(body, writer, next);
  }
  if (!handled) {
    const bool theirs = handled.error().code() == Code::kConnection;
    Log(theirs ? LogLevel::kDebug : LogLevel::kWarn, "http.handler_failed",
        {{"method", request.head.method}, {"detail", handled.error().detail()}});
  }
  if (writer.head_sent() || writer.aborted()) {
    next = Next::kAbort;
    co_return {};
  }
  next = Next::kLinger;
  const auto refusal = handled ? http1::Refusal{500, "the request was not answered"}
                               : RefusalOf(handled.error().code());
  co_return co_await Refuse(refusal);
}

// After a whole answer: is there a next request, and where does it begin?
Task<> Connection::Finish(RequestBody& body, Writer& writer, Next& next) {
  next = Next::kLinger;
  if (!writer.keep_alive() || !body.DrainableBy(kDrainBytes)) co_return {};
  const Deadline by = Deadline::In(shared_->loop.clock(), shared_->limits.body_timeout);
  size_t drained = 0;
  while (!body.finished()) {
    const Result<std::string_view> piece = co_await body.Read(by);
    if (!piece) co_return {};
    drained += piece->size();
    if (drained > kDrainBytes) co_return {};
  }
  next = Next::kPark;
  co_return {};
}

Task<> Connection::Refuse(http1::Refusal refusal) {
  std::string answer = MinimalAnswer(refusal, shared_->NextRequestId());
  std::array<iovec, 1> pieces{{{answer.data(), answer.size()}}};
  co_return co_await transport_.WriteAll(pieces, shared_->loop.clock(),
                                         shared_->limits.write_timeout, Deadline::Never());
}

Task<> Connection::Linger() {
  transport_.ShutdownWrite();
  const Clock& clock = shared_->loop.clock();
  const Deadline by = Deadline::In(clock, kLingerTime);
  for (size_t read = 0; read < kLingerBytes;) {
    input_.Consume(input_.view().size());
    const Deadline pause = Sooner(by, Deadline::In(clock, kLingerPause));
    const Result<size_t> count = co_await Fill(kBlock, pause);
    if (!count || *count == 0 || by.Passed(clock)) break;
    read += *count;
  }
  co_return {};
}

RequestBody::RequestBody(Connection& connection, const http1::Request& request)
    : connection_(connection),
      framing_(request.framing),
      announced_(request.length),
      left_(request.length),
      continue_wanted_(request.expect_continue),
      state_(request.framing == http1::Framing::kNone ? State::kEnd : State::kMore) {
  if (framing_ == http1::Framing::kChunked) {
    const ServerLimits& limits = connection_.shared_->limits;
    chunks_.emplace(limits.chunk_line_bytes, limits.trailer_bytes);
  }
}

std::optional<uint64_t> RequestBody::length() const {
  if (framing_ == http1::Framing::kChunked || raw_) return std::nullopt;
  return announced_;
}

bool RequestBody::DrainableBy(size_t bytes) const {
  if (state_ == State::kEnd) return true;
  if (state_ == State::kBroken || continue_wanted_) return false;
  return framing_ == http1::Framing::kChunked || left_ <= bytes;
}

void RequestBody::BecomeRaw() {
  raw_ = true;
  framing_ = http1::Framing::kUntilClose;
  state_ = State::kMore;
}

std::unexpected<Error> RequestBody::Break(Error error) {
  state_ = State::kBroken;
  error_ = error;
  return Fail(std::move(error));
}

Task<std::string_view> RequestBody::Read(Deadline by) {
  if (state_ == State::kEnd) co_return std::string_view();
  if (state_ == State::kBroken) co_return Fail(*error_);
  if (!raw_) {
    const Millis pause = connection_.shared_->limits.body_timeout;
    by = Sooner(by, Deadline::In(connection_.shared_->loop.clock(), pause));
  }
  if (continue_wanted_ && connection_.input_.empty()) connection_.SendContinue();
  continue_wanted_ = false;
  if (framing_ == http1::Framing::kChunked) co_return co_await ReadChunk(by);
  co_return co_await ReadRaw(by);
}

Task<std::string_view> RequestBody::ReadRaw(Deadline by) {
  InputBuffer& input = connection_.input_;
  if (input.empty()) {
    const size_t block = left_ > kBlock ? kLargeBlock : kBlock;
    const Result<size_t> count = co_await connection_.Fill(block, by);
    if (!count) co_return Break(count.error());
    if (*count == 0) {
      if (!raw_) co_return Break(Error(Code::kConnection, "the client left before its body ended"));
      state_ = State::kEnd;
      co_return std::string_view();
    }
  }
  std::string_view piece = input.view();
  if (!raw_) {
    piece = piece.substr(0, left_);
    left_ -= piece.size();
    if (left_ == 0) state_ = State::kEnd;
  }
  input.Consume(piece.size());
  co_return piece;
}

Task<std::string_view> RequestBody::ReadChunk(Deadline by) {
  InputBuffer& input = connection_.input_;
  while (true) {
    const auto piece = chunks_->Next(input.view());
    if (!piece) co_return Break(Error(Code::kBadRequest, std::string(piece.error().why)));
    input.Consume(piece->consumed);
    if (!piece->data.empty()) co_return piece->data;
    if (chunks_->done()) {
      trailers_ = std::move(chunks_->trailers());
      state_ = State::kEnd;
      co_return std::string_view();
    }
    const Result<size_t> count = co_await connection_.Fill(kBlock, by);
    if (!count) co_return Break(count.error());
    if (*count == 0) {
      co_return Break(Error(Code::kConnection, "the client left before its body ended"));
    }
  }
}

}  // namespace pontage::net
