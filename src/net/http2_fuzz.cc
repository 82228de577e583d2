#include <map>
#include <string>

#include "base/check.h"
#include "net/http2_session.h"
#include "testing/fuzz.h"

// Whatever bytes a client sends, in whatever pieces: the same requests, bodies and ends come out;
// each request is one that HTTP/1.1 could carry and would read as the same; nothing comes of a
// stream that has ended; and what is held is what the windows allow.
namespace pontage::net::http2 {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

SessionLimits SmallLimits() {
  SessionLimits limits;
  limits.head = {.bytes = 2048, .fields = 16};
  limits.trailer_bytes = 256;
  limits.streams = 5;
  limits.stream_window = 65'535;
  limits.connection_window = 100'000;
  limits.resets = 10;
  limits.idle_frames = 50;
  return limits;
}

class StillClock final : public Clock {
 public:
  UnixMs Now() const override { return UnixMs(); }
  SteadyMs Steady() const override { return SteadyMs(1); }
};

std::string AsHttp1(const http1::Request& request) {
  RequestHead copy = request.head;
  http1::RemoveHopByHop(copy.headers);
  const std::string host(copy.headers.Get("host").value());
  copy.headers.Remove("Host");
  http1::WriteOptions options;
  if (request.framing == http1::Framing::kLength) options.length = request.length;
  options.chunked = request.framing == http1::Framing::kChunked;
  std::string out;
  PTG_CHECK(http1::WriteRequest(copy, host, options, out));
  const http1::HeadLimits wide{.bytes = 16'384, .fields = 64};
  http1::HeadScanner scanner(wide);
  PTG_CHECK(scanner.Scan(out) == out.size());
  const auto again = http1::ParseRequest(out, wide);
  PTG_CHECK(again.has_value());
  PTG_CHECK(again->head.method == copy.method && again->head.target == copy.target);
  PTG_CHECK(again->framing == request.framing && again->length == request.length);
  PTG_CHECK(again->head.headers.Get("host") == host);
  PTG_CHECK(again->expect_continue == request.expect_continue);
  const size_t framed = request.framing == http1::Framing::kNone ? 0 : 1;
  PTG_CHECK(again->head.headers.size() == copy.headers.size() + 1 + framed);
  return out;
}

// Answers every request, and keeps a record of all that it was told.
class Peer final : public Session::Events, public Session::Source {
 public:
  Peer() : session(SmallLimits(), clock_, *this) {}

  void OnRequest(int32_t id, Parsed<http1::Request> request, bool body) override {
    PTG_CHECK(!streams_.contains(id) && id > last_);
    last_ = id;
    streams_[id] = {.more = body, .head = {}};
    PTG_CHECK(streams_.size() <= SmallLimits().streams + 1);
    record += "request " + std::to_string(id) + ' ';
    record += request ? AsHttp1(*request) : std::to_string(request.error().status);
  }
  void OnData(int32_t id, std::string_view bytes) override {
    Stream& stream = streams_.at(id);
    PTG_CHECK(stream.more);
    stream.held += bytes.size();
    held_ += bytes.size();
    PTG_CHECK(stream.held <= 65'535 && held_ <= 100'000);
    data_[id].append(bytes);
  }
  void OnBodyEnd(int32_t id, Parsed<Headers> trailers) override {
    Stream& stream = streams_.at(id);
    PTG_CHECK(stream.more);
    stream.more = false;
    record += "end " + std::to_string(id) + ' ' + data_[id];
    if (!trailers) return;
    std::string out;
    PTG_CHECK(http1::WriteLastChunk(&*trailers, out));
    record += out;
  }
  void OnClosed(int32_t id, uint32_t) override {
    if (const auto found = streams_.find(id); found != streams_.end()) {
      session.Consume(0, found->second.held);
      held_ -= found->second.held;
      streams_.erase(found);
      record += "closed " + std::to_string(id);
    }
  }
  void OnAnswerEnd(int32_t) override {}
  void OnUnsendable(int32_t) override {}

  Taken Offer(size_t most) override { return {.count = std::min<size_t>(most, 1000), .end = true}; }
  void Take(size_t count, std::string& out) override { out.append(count, 'x'); }

  void AnswerAll() {
    for (auto& [id, stream] : streams_) {
      if (std::exchange(stream.answered, true)) continue;
      stream.head.status = 200;
      stream.head.headers.Add("Name", "value");
      PTG_CHECK(session.Respond(id, stream.head, 1000, this));
    }
  }
  void ReadAll() {
    for (auto& [id, stream] : streams_) {
      held_ -= stream.held;
      session.Consume(id, std::exchange(stream.held, 0));
    }
  }

  std::string record;

 private:
  struct Stream {
    bool more = false;
    bool answered = false;
    size_t held = 0;
    ResponseHead head;
  };
  StillClock clock_;
  std::map<int32_t, Stream> streams_;
  std::map<int32_t, std::string> data_;
  int32_t last_ = 0;
  size_t held_ = 0;

 public:
  Session session;
};

void DrainOutput(Peer& peer) {
  constexpr size_t kMost = 4096;
  // Each turn gives what one block holds, and a frame more.
  for (int turns = 0; turns < 1000; ++turns) {
    std::string out;
    peer.session.Fill(out, kMost);
    PTG_CHECK(out.size() <= kMost + 32'768);
    if (out.empty()) return;
  }
  PTG_CHECK(false);
}

// nghttp2 counts pieces of CONTINUATION frames as frames: there alone the pieces may decide.
bool CountsPieces(const Peer& peer) { return peer.session.complaint().contains("CONTINUATION"); }

// What comes out when `bytes` arrive in steps of `step` and nobody answers.
std::string Listen(std::string_view bytes, size_t step) {
  Peer peer;
  PTG_CHECK(peer.session.Receive(kPreface));
  for (size_t at = 0; at < bytes.size(); at += step) {
    if (!peer.session.Receive(bytes.substr(at, step))) break;
  }
  if (CountsPieces(peer)) return "?";
  return std::move(peer.record);
}

}  // namespace

FUZZ_TARGET(http2) {
  if (input.size() > 64 * 1024) return;
  const std::string whole = Listen(input, input.size() + 1);
  for (const size_t step : {size_t{1}, size_t{9}, input.size() / 2 + 1}) {
    const std::string pieces = Listen(input, step);
    PTG_CHECK(pieces == whole || pieces == "?" || whole == "?");
  }
  // And with answers in between.
  Peer peer;
  peer.session.Receive(kPreface);
  DrainOutput(peer);
  const size_t step = input.size() / 8 + 1;
  for (size_t at = 0; at < input.size(); at += step) {
    const bool good = peer.session.Receive(input.substr(at, step));
    if (good) peer.AnswerAll();
    if (at % 2 == 0) peer.ReadAll();
    DrainOutput(peer);
    if (!good) break;
  }
}

}  // namespace pontage::net::http2
