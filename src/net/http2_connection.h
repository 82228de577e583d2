#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/fork.h"
#include "io/timer.h"
#include "net/http2_session.h"
#include "net/server.h"
#include "net/transport.h"

// HTTP/2 on one connection of a server: private to net/. Requests run concurrently on the
// connection's loop, each in a coroutine of its own that ends by itself, as one of HTTP/1 does when
// its client has gone: a payment that is being settled is not cut off by a RST_STREAM.
namespace pontage::net {

struct ServerShared;

namespace http2 {

class Connection;

// One request and its answer.
class Stream final : public BodySource,
                     public ResponseWriter,
                     public Session::Source,
                     public std::enable_shared_from_this<Stream> {
 public:
  Stream(Connection& connection, int32_t id, Parsed<http1::Request> request, bool body);

  Task<std::string_view> Read(Deadline by) override;
  std::optional<uint64_t> length() const override;
  bool empty() const override { return request_.framing == http1::Framing::kNone; }
  const Headers& trailers() const override { return trailers_; }

  Task<> Interim(const ResponseHead& head) override;
  Task<> Head(ResponseHead head, std::optional<uint64_t> body_size) override;
  Task<> Write(std::string_view bytes, bool flush) override;
  Task<> End(const Headers* trailers) override;
  Task<> Upgrade(ResponseHead head) override;
  bool head_sent() const override { return state_ != State::kBeforeHead; }
  void Abort() override { aborted_ = true; }
  bool client_gone() const override;

  Taken Offer(size_t most) override;
  void Take(size_t count, std::string& out) override;

 private:
  friend class Connection;
  enum class State : uint8_t { kBeforeHead, kInBody, kEnded };
  enum class Input : uint8_t { kMore, kEnd, kBroken };

  Result<> Usable() const;
  void SendContinue();
  // There is more to take.
  void GoOn();
  size_t pending() const { return pending_.size() - taken_; }
  bool left_whole() const;
  enum class Until : uint8_t { kRoom, kLeft };
  // Until there is room for more, or all of it was handed to the socket; kTimeout when the client
  // takes nothing for the write deadline.
  Task<> Wait(Until until);
  // Sends a whole answer that nobody waits for.
  void Tell(Refusal refusal);
  // No more of the body will come.
  void Break(Error error);
  // Broken off by the client, or with its connection.
  void Lose();

  Connection& connection_;
  const int32_t id_;
  std::optional<Refusal> refusal_;  // instead of a request
  http1::Request request_;
  // What comes.
  Input input_ = Input::kMore;
  bool sending_;  // the client has not ended its side
  std::optional<Error> error_;
  std::string arrived_;  // not given yet
  std::string given_;    // to who reads, until he asks for more
  Headers trailers_;
  Event readable_;
  // What goes.
  State state_ = State::kBeforeHead;
  bool to_head_ = false;
  bool bodiless_ = false;
  bool aborted_ = false;
  bool stalled_ = false;
  bool unsendable_ = false;       // through no fault of the client's
  bool closed_ = false;           // nghttp2 knows it no more
  bool answered_ = false;         // the last frame of the answer was made
  bool gone_ = false;             // broken off by the client, or with its connection
  bool done_ = false;             // its handler has ended
  bool last_ = false;             // nothing follows what is in pending_
  std::optional<uint64_t> left_;  // of the announced size
  std::string pending_;           // not yet taken
  size_t taken_ = 0;              // of pending_
  uint64_t progress_ = 0;         // all that was ever taken
  ResponseHead answer_;           // until its head has left
  Headers answer_trailers_;
  std::optional<uint64_t> end_at_;  // where in the connection's bytes the answer ends
  Event writable_;
};

class Connection final : public Session::Events,
                         private DeadlineNode,
                         public std::enable_shared_from_this<Connection> {
 public:
  // `parked` is the connection's place in the list of those that may be dropped.
  Connection(std::shared_ptr<ServerShared> shared, Transport& transport, IoLink& parked,
             std::string peer_address, uint16_t peer_port);
  ~Connection() override;

  // From the preface to the last handler's end. True when the peer should be given time to read why
  // it ended.
  static Task<bool> Run(std::shared_ptr<Connection> self);
  // No further requests; the connection ends with the last answer.
  void Drain();

 private:
  friend class Stream;

  void OnRequest(int32_t id, Parsed<http1::Request> request, bool body) override;
  void OnData(int32_t id, std::string_view bytes) override;
  void OnBodyEnd(int32_t id, Parsed<Headers> trailers) override;
  void OnClosed(int32_t id, uint32_t error) override;
  void OnAnswerEnd(int32_t id) override;
  void OnUnsendable(int32_t id) override;
  void Expire() override;

  enum class End : uint8_t { kPeerEnded, kOver, kBroken };
  // Until the peer ends, breaks off or breaks a rule.
  Task<End> ReadFrames();
  static Task<> Handle(std::shared_ptr<Connection> self, std::shared_ptr<Stream> stream);
  void Finish(Stream& stream, const Result<>& handled);
  // What Receive left to be done: new requests begin, who waits goes on.
  void Dispatch();
  void Wake();
  // Hands frames to the socket, at the end of this turn of the loop or now.
  void FlushSoon();
  void Flush();
  bool all_out() const { return !writing_ && out_at_ == out_.size(); }
  Task<> WriteOut();
  // Whether it rests, and what follows from that.
  void Rest();
  // No more is said: what is left goes out, then the peer has a moment to do the same.
  void Close();
  // Nobody is heard any more; why goes to the log.
  void LoseAll();
  // The peer is lost, and everybody who speaks to it.
  void Die();

  const std::shared_ptr<ServerShared> shared_;
  Transport& transport_;
  IoLink& parked_;
  const std::string peer_address_;
  const uint16_t peer_port_;
  Session session_;
  std::unordered_map<int32_t, std::shared_ptr<Stream>> streams_;  // those nghttp2 knows
  std::vector<std::shared_ptr<Stream>> fresh_;                    // to be handled
  std::vector<std::shared_ptr<Stream>> readers_;                  // to be woken
  std::vector<std::shared_ptr<Stream>> writers_;
  std::vector<std::shared_ptr<Stream>> spare_;    // empty: the room for the next two
  std::vector<std::shared_ptr<Stream>> leaving_;  // their ends are in out_
  size_t running_ = 0;                            // handlers
  std::string out_;                               // from out_at_ on to be written
  size_t out_at_ = 0;
  uint64_t produced_ = 0;
  uint64_t written_ = 0;
  bool flush_posted_ = false;
  bool writing_ = false;
  bool write_failed_ = false;
  bool draining_ = false;
  bool closing_ = false;
  bool shut_ = false;  // our end of the stream is sent
  bool dead_ = false;
  bool complained_ = false;
  Event room_;      // there is room in out_ again
  Event drained_;   // all that was to be said has left
  Event finished_;  // no handler runs
  Fork writer_;     // last: it uses the others and ends first
};

}  // namespace http2
}  // namespace pontage::net
