#include "net/exchange.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/try.h"

namespace pontage::net {
namespace {

// What a usual request's head takes.
constexpr size_t kHeadBytes = 960;
// Size lines and trailers of answers: as the server's own bounds.
constexpr size_t kChunkLine = 64;
constexpr size_t kTrailer = 8 * 1024;
// Interim answers before the final one; more is a server that never comes to the point.
constexpr size_t kInterims = 32;
// How much earlier than a server means to close a connection we stop using it.
constexpr Millis kCrossing{500};
// Who uploads is ended with the exchange, whose own deadline runs; this is only the net below.
constexpr Millis kUploadPause{3'600'000};

std::unexpected<Error> ProtocolError(std::string_view why) {
  return Fail(Code::kUpstreamProtocol, "the upstream's answer has " + std::string(why));
}

bool MethodHasContent(std::string_view method) {
  return method == "POST" || method == "PUT" || method == "PATCH";
}

}  // namespace

struct Pool::Idle final : DeadlineNode {
  Idle(Line& l, Transport t) : line(l), transport(std::move(t)) {}
  // One for each request.
  static void* operator new(size_t bytes) { return TakeShelved(bytes); }
  static void operator delete(void* piece, size_t bytes) { GiveShelved(piece, bytes); }
  void Expire() override {
    // Destroys this.
    std::erase_if(line, [this](const std::unique_ptr<Idle>& idle) { return idle.get() == this; });
  }
  Line& line;
  Transport transport;
};

Pool::Pool(Loop& loop, ClientLimits limits) : loop_(loop), limits_(limits) {}
Pool::~Pool() = default;

Pool::Line& Pool::LineTo(const std::string& destination) { return lines_[destination]; }

std::optional<Transport> Pool::Take(Line& line) {
  while (!line.empty()) {
    Transport transport = std::move(line.back()->transport);
    line.pop_back();
    if (transport.AtRest()) return transport;
  }
  return std::nullopt;
}

void Pool::Give(Line& line, Transport transport, Millis lifetime) {
  if (closed_ || lifetime <= Millis(0) || limits_.idle_per_host == 0) return;
  if (line.size() >= limits_.idle_per_host) line.pop_front();
  line.push_back(std::make_unique<Idle>(line, std::move(transport)));
  loop_.Watch(*line.back(), Deadline::In(loop_.clock(), lifetime));
}

void Pool::Close() {
  closed_ = true;
  lines_.clear();
}

Exchange::Exchange(std::shared_ptr<Pool> pool, Pool::Line& line, std::string host,
                   Transport transport, bool reused)
    : pool_(std::move(pool)),
      line_(line),
      host_(std::move(host)),
      transport_(std::move(transport)),
      reused_(reused),
      written_before_(transport_.socket().written()) {}

Exchange::~Exchange() {
  if (self_) *self_ = nullptr;
  upload_.Stop();
  if (state_ == State::kEnd && answer_.keep_alive && answer_.head.status != 101 && !uploading_ &&
      lead_.empty() && input_.empty()) {
    pool_->Give(line_, std::move(transport_), lifetime_);
  }
}

// A server that says when it will close ("Keep-Alive: timeout=5") is left before that: a request
// that crosses its end on the way would be lost.
Millis Exchange::Lifetime() const {
  const Millis ours = pool_->limits().idle_timeout;
  const auto field = answer_.head.headers.Get("keep-alive");
  if (!field) return ours;
  const size_t at = field->find("timeout=");
  if (at == std::string_view::npos) return ours;
  const std::string_view digits = field->substr(at + std::string_view("timeout=").size());
  uint32_t seconds = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
  if (parsed.ec != std::errc()) return ours;
  return std::min(ours, Millis(int64_t{seconds} * 1000) - kCrossing);
}

bool Exchange::MayRepeat() const {
  // What the kernel took may have been read and worked on, whatever was acknowledged of it since.
  return reused_ && !answer_began_ && !body_taken_ &&
         transport_.socket().written() == written_before_;
}

Result<std::string> Exchange::Serialize(const RequestHead& head, BodySource* body) {
  const http1::HopByHop here(head.headers);
  http1::WriteOptions options;
  options.omit = &here;
  options.upgrade = head.headers.Get("upgrade").value_or("");
  upgrade_asked_ = options.upgrade;
  options.connection = upgrade_asked_.empty() ? "" : "Upgrade";
  // We do not wait for a 100: the body comes as fast as its source gives it.
  if (body != nullptr && !body->empty()) {
    options.length = body->length();
    options.chunked = !options.length.has_value();
  } else if (MethodHasContent(head.method)) {
    options.length = 0;
  }
  std::string out;
  out.reserve(kHeadBytes);
  if (!http1::WriteRequest(head, host_, options, out)) {
    return Fail(Code::kInternal, "the request's head holds what a head cannot carry");
  }
  return out;
}

Task<> Exchange::Run(const RequestHead& head, BodySource* body, Deadline by,
                     const Client::SendOptions& options) {
  to_head_ = head.method == "HEAD";
  PTG_CO_TRY(lead_, Serialize(head, body));
  if (body != nullptr && !body->empty()) {
    uploading_ = true;
    upload_.Start(Upload(*body, !body->length().has_value()));
  } else {
    lead_.erase(0, transport_.TryWrite(lead_));
    // A server that does not read may still have answered: the reading tells.
    if (!lead_.empty()) (void)co_await WriteLead({}, {}, by);
  }
  const Result<> answered = co_await ReadHead(by, options);
  if (answered) co_return {};
  if (source_error_) co_return Fail(*source_error_);
  if (answered.error().code() == Code::kTimeout) {
    // It can hardly answer what it has not been told.
    if (reading_source_) co_return Fail(Code::kTimeout, "the request's body stopped coming");
    co_return Fail(Code::kUpstreamTimeout, "the upstream did not answer in time");
  }
  co_return answered;
}

Task<> Exchange::WriteLead(std::string_view body, std::string_view after, Deadline by) {
  const std::string lead = std::move(lead_);
  lead_.clear();
  const auto piece = [](std::string_view text) {
    return iovec{const_cast<char*>(text.data()), text.size()};
  };
  std::array<iovec, 3> pieces{piece(lead), piece(body), piece(after)};
  writing_ = true;
  const Result<> written =
      co_await transport_.WriteAll(pieces, pool_->loop().clock(), kUploadPause, by);
  writing_ = false;
  co_return written;
}

// When the first bytes of the body do not follow at once, the head leaves alone.
void Exchange::FlushLeadSoon() {
  self_ = std::make_shared<Exchange*>(this);
  pool_->loop().Post([self = self_] {
    Exchange* const exchange = *self;
    if (exchange == nullptr || exchange->writing_) return;
    exchange->lead_.erase(0, exchange->transport_.TryWrite(exchange->lead_));
  });
}

Task<> Exchange::Upload(BodySource& body, bool chunked) {
  const Result<> done = co_await UploadPieces(body, chunked);
  if (done) {
    uploading_ = false;
  } else if (source_error_) {
    // Wakes who waits for the answer, through the loop.
    transport_.socket().Abort();
  }
  // Else the server takes no more; it may have answered all the same, so the reading goes on.
  co_return done;
}

Task<> Exchange::UploadPieces(BodySource& body, bool chunked) {
  FlushLeadSoon();
  uint64_t left = body.length().value_or(0);
  body_taken_ = true;
  while (true) {
    reading_source_ = true;
    const Result<std::string_view> piece = co_await body.Read(Deadline::Never());
    reading_source_ = false;
    if (!piece) {
      source_error_ = piece.error();
      co_return Fail(piece.error());
    }
    if (piece->empty()) break;
    if (chunked) {
      http1::WriteChunkSize(piece->size(), lead_);
      PTG_CO_RUN(co_await WriteLead(*piece, "\r\n", Deadline::Never()));
    } else {
      if (piece->size() > left) break;
      left -= piece->size();
      PTG_CO_RUN(co_await WriteLead(*piece, {}, Deadline::Never()));
    }
    uploaded_at_ = pool_->loop().clock().Steady();
  }
  const bool whole = chunked ? http1::WriteLastChunk(&body.trailers(), lead_) : left == 0;
  if (!whole) {
    source_error_ = Error(Code::kInternal, "the request's body is not what was announced");
    co_return Fail(*source_error_);
  }
  co_return co_await WriteLead({}, {}, Deadline::Never());
}

Task<> Exchange::ReadHead(Deadline by, const Client::SendOptions& options) {
  const Client::Interim* const interim = options.interim;
  const http1::HeadLimits limits{pool_->limits().head_bytes, pool_->limits().header_fields};
  for (size_t interims = 0; interims < kInterims; ++interims) {
    http1::HeadScanner scanner(limits);
    size_t size = 0;
    while (true) {
      const auto scanned = scanner.Scan(input_.view());
      if (!scanned) co_return ProtocolError(scanned.error().why);
      size = *scanned;
      if (size > 0) break;
      const std::span<char> room = Room();
      const Result<size_t> count = co_await transport_.Read(room, by);
      if (count) Filled(*count);
      if (!count && count.error().code() == Code::kTimeout && uploaded_at_) {
        // It may still be busy with what we send.
        const Deadline later = Sooner(Deadline(*uploaded_at_ + options.patience), options.latest);
        if (!later.Passed(pool_->loop().clock())) {
          by = later;
          continue;
        }
      }
      if (!count) co_return Fail(count.error());
      if (*count == 0) {
        co_return Fail(Code::kConnection, "the upstream closed the connection without an answer");
      }
    }
    PTG_CO_RUN(Accept(size));
    const int status = answer_.head.status;
    if (status >= 200 || status == 101) co_return {};
    if (interim != nullptr) PTG_CO_RUN(co_await (*interim)(answer_.head));
  }
  co_return ProtocolError("no end of interim answers");
}

Result<> Exchange::Accept(size_t head_size) {
  const http1::HeadLimits limits{pool_->limits().head_bytes, pool_->limits().header_fields};
  auto parsed = http1::ParseResponse(input_.view().substr(0, head_size), limits, to_head_);
  if (!parsed) return ProtocolError(parsed.error().why);
  input_.Consume(head_size);
  answer_ = *std::move(parsed);
  lifetime_ = Lifetime();
  if (answer_.head.status == 101) {
    if (upgrade_asked_.empty()) return ProtocolError("a protocol switch that nobody asked for");
    const auto switched = answer_.head.headers.Get("upgrade");
    if (!switched || !EqualsNoCase(*switched, upgrade_asked_) ||
        answer_.head.headers.Count("upgrade") > 1) {
      return ProtocolError("a switch to another protocol than was asked for");
    }
    answer_.framing = http1::Framing::kUntilClose;
    answer_.keep_alive = false;
  }
  // The answer itself is still to come: until then nothing has ended.
  if (answer_.head.status < 200 && answer_.head.status != 101) return {};
  left_ = answer_.framing == http1::Framing::kLength ? answer_.length : 0;
  state_ = answer_.framing == http1::Framing::kNone ? State::kEnd : State::kBody;
  if (answer_.framing == http1::Framing::kChunked) {
    chunks_.emplace(kChunkLine, kTrailer);
    // What came with the head is looked at before anybody passes the head on.
    http1::ChunkDecoder ahead = *chunks_;
    if (const auto piece = ahead.Next(input_.view()); !piece) {
      return ProtocolError(piece.error().why);
    }
  }
  return {};
}

std::optional<uint64_t> Exchange::length() const {
  if (answer_.has_length) return answer_.length;
  if (answer_.framing == http1::Framing::kNone && !to_head_) return 0;
  return std::nullopt;
}

bool Exchange::empty() const { return answer_.framing == http1::Framing::kNone; }

std::unexpected<Error> Exchange::Break(Error error) {
  if (error.code() == Code::kTimeout) {
    return Fail(Code::kUpstreamTimeout, "the upstream's answer stopped coming");
  }
  state_ = State::kBroken;
  error_ = error;
  return Fail(std::move(error));
}

Task<std::string_view> Exchange::Read(Deadline by) {
  if (const std::optional<std::string_view> ready = Ready()) co_return *ready;
  if (state_ == State::kBroken) co_return Fail(*error_);
  if (answer_.framing == http1::Framing::kChunked) co_return co_await ReadChunk(by);
  co_return co_await ReadPlain(by);
}

std::optional<std::string_view> Exchange::Ready() {
  if (state_ == State::kEnd) return std::string_view();
  const bool plain = state_ == State::kBody && answer_.framing != http1::Framing::kChunked;
  if (!plain || input_.empty()) return std::nullopt;
  return TakePlain();
}

std::string_view Exchange::TakePlain() {
  std::string_view piece = input_.view();
  if (answer_.framing != http1::Framing::kUntilClose) {
    piece = piece.substr(0, left_);
    left_ -= piece.size();
    if (left_ == 0) state_ = State::kEnd;
  }
  input_.Consume(piece.size());
  return piece;
}

Task<std::string_view> Exchange::ReadPlain(Deadline by) {
  const std::span<char> room = Room();
  const Result<size_t> count = co_await transport_.Read(room, by);
  if (!count) co_return Break(count.error());
  Filled(*count);
  if (*count > 0) co_return TakePlain();
  if (answer_.framing != http1::Framing::kUntilClose) {
    co_return Break(Error(Code::kConnection, "the upstream left before its answer ended"));
  }
  state_ = State::kEnd;
  co_return std::string_view();
}

Task<std::string_view> Exchange::ReadChunk(Deadline by) {
  while (true) {
    const auto piece = chunks_->Next(input_.view());
    if (!piece) co_return Break(ProtocolError(piece.error().why).error());
    input_.Consume(piece->consumed);
    if (!piece->data.empty()) co_return piece->data;
    if (chunks_->done()) {
      trailers_ = std::move(chunks_->trailers());
      state_ = State::kEnd;
      co_return std::string_view();
    }
    const std::span<char> room = Room();
    const Result<size_t> count = co_await transport_.Read(room, by);
    if (count) Filled(*count);
    if (!count) co_return Break(count.error());
    if (*count == 0) {
      co_return Break(Error(Code::kConnection, "the upstream left before its answer ended"));
    }
  }
}

Task<> Exchange::WriteRaw(std::string_view bytes, Deadline by) {
  if (answer_.head.status != 101) co_return Fail(Code::kInternal, "the protocol was not switched");
  std::array<iovec, 1> pieces{{{const_cast<char*>(bytes.data()), bytes.size()}}};
  co_return co_await transport_.WriteAll(pieces, pool_->loop().clock(), kUploadPause, by);
}

void Exchange::EndRaw() {
  if (answer_.head.status == 101) transport_.ShutdownWrite();
}

}  // namespace pontage::net
