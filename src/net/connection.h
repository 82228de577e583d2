#pragma once

#include <memory>
#include <string>

#include "io/timer.h"
#include "io/turn.h"
#include "net/http1.h"
#include "net/server.h"
#include "net/tls_server.h"
#include "net/transport.h"

// One connection of a server: private to net/server.cc and its tests.
namespace pontage::net {

class Connection;

namespace http2 {
class Connection;
}

// What is said when a handler gave up before it answered: mostly about a body that could not be
// read.
http1::Refusal RefusalOf(Code code);
// A problem document and the head that goes with it, for what no handler answers.
std::pair<ResponseHead, std::string> MinimalProblem(http1::Refusal refusal,
                                                    std::string_view request_id);
// The same as bytes of HTTP/1, after which the connection closes.
std::string MinimalAnswer(http1::Refusal refusal, std::string_view request_id);

// What the connections of a server share.
struct ServerShared {
  ServerShared(Loop& l, ServerLimits s, Handler h) : loop(l), limits(s), handler(std::move(h)) {}

  Loop& loop;
  const ServerLimits limits;
  const Handler handler;
  std::function<std::string()> request_id;  // for what no handler answers
  std::string NextRequestId() const { return request_id ? request_id() : std::string(); }
  bool draining = false;
  size_t count = 0;
  IoLink all;                                   // Connection::everywhere_
  IoLink idle;                                  // Connection::parked_, the longest idle first
  std::shared_ptr<const TlsServerContext> tls;  // null: none
  IoLink shaking;  // Connection::parked_ of those in a TLS handshake, the slowest first
  size_t handshakes = 0;
  Event none;  // set while there are no connections
};

// The request's body as it comes off the connection.
class RequestBody final : public BodySource {
 public:
  RequestBody(Connection& connection, const http1::Request& request);

  Task<std::string_view> Read(Deadline by) override;
  std::optional<uint64_t> length() const override;
  bool empty() const override { return framing_ == http1::Framing::kNone; }
  const Headers& trailers() const override { return trailers_; }

  // Everything of it was read.
  bool finished() const { return state_ == State::kEnd; }
  // Whether what is left may be read away so that the connection can be used again; not when the
  // client still waits for our 100 (Continue).
  bool DrainableBy(size_t bytes) const;
  // From now on: the raw bytes of the connection.
  void BecomeRaw();
  // A 100 (Continue) has been sent or is of no use any more.
  void ContinueDone() { continue_wanted_ = false; }
  bool continue_wanted() const { return continue_wanted_; }

 private:
  enum class State : uint8_t { kMore, kEnd, kBroken };
  Task<std::string_view> ReadRaw(Deadline by);
  Task<std::string_view> ReadChunk(Deadline by);
  std::unexpected<Error> Break(Error error);

  Connection& connection_;
  http1::Framing framing_;
  uint64_t announced_;
  uint64_t left_;
  bool continue_wanted_;
  bool raw_ = false;
  State state_;
  std::optional<Error> error_;
  std::optional<http1::ChunkDecoder> chunks_;
  Headers trailers_;
};

class Writer final : public ResponseWriter, private TurnNode {
 public:
  Writer(Connection& connection, const http1::Request& request, RequestBody& body);
  ~Writer() override;

  Task<> Interim(const ResponseHead& head) override;
  Task<> Head(ResponseHead head, std::optional<uint64_t> body_size) override;
  Task<> Write(std::string_view bytes, bool flush) override;
  Task<> End(const Headers* trailers) override;
  Task<> Upgrade(ResponseHead head) override;
  bool head_sent() const override { return state_ != State::kBeforeHead; }
  void Abort() override;
  bool client_gone() const override;

  // The whole answer has been handed to the socket.
  bool ended() const { return state_ == State::kEnded; }
  bool aborted() const { return aborted_; }
  bool upgraded() const { return upgraded_; }
  // The connection can take another request after this answer.
  bool keep_alive() const { return keep_alive_; }
  // The request's body asks the client to go on.
  void SendContinue();

 private:
  enum class State : uint8_t { kBeforeHead, kInBody, kEnded };
  Result<> Usable() const;
  bool WillKeepAlive() const;
  // When the first bytes of the body do not follow at once, the head leaves alone.
  void AtTurnEnd() override;
  // Whether all of out_ and these has left without a wait; if not, they are what is left.
  bool Left(std::string_view& body, std::string_view& after);
  Task<> Flush(std::string_view body, std::string_view after);

  Connection& connection_;
  RequestBody& body_;
  const int minor_version_;
  const bool to_head_;
  bool keep_alive_;
  State state_ = State::kBeforeHead;
  bool chunked_ = false;
  bool bodiless_ = false;
  bool upgraded_ = false;
  bool aborted_ = false;
  bool sending_ = false;
  bool gone_ = false;
  std::optional<uint64_t> left_;  // of the announced size
  std::string out_;               // not yet handed to the socket
};

class Connection {
 public:
  Connection(std::shared_ptr<ServerShared> shared, Transport transport);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // From the first byte to the last.
  static Task<> Run(std::unique_ptr<Connection> self);
  // The connection that a link of ServerShared::all or ::idle belongs to.
  static Connection& OfEverywhere(IoLink& link);
  static Connection& OfParked(IoLink& link);
  void Abort() { transport_.socket().Abort(); }
  void Close() { transport_.socket().Close(); }
  // The server drains: what HTTP/1 sees between two requests, HTTP/2 tells its client.
  void BeginDrain();

 private:
  friend class RequestBody;
  friend class Writer;
  // An unread body up to this size is read away to keep the connection; a larger one costs more
  // than a new connection does.
  static constexpr size_t kDrainBytes = 256 * 1024;
  enum class Next : uint8_t { kPark, kClose, kLinger, kAbort };

  // The TLS handshake; without it `next` says how to end.
  Task<> ShakeHands(Next& next);
  // HTTP/2 from its preface to its end.
  Task<> ServeHttp2(Next& next);
  // Answers requests until none has begun to arrive.
  Task<> Serve(Next& next);
  // 0 with next set: there is no further request.
  Task<size_t> ReadHead(Next& next);
  Task<> Exchange(http1::Request& request, Next& next);
  Task<> Finish(RequestBody& body, Writer& writer, Next& next);
  Task<> Refuse(http1::Refusal refusal);
  Task<> Linger();
  void SendContinue() {
    if (writer_ != nullptr) writer_->SendContinue();
  }
  // More bytes into input_; how many, 0 at the end of the stream.
  Task<size_t> Fill(size_t block, Deadline by);

  struct Link : IoLink {
    Connection* owner = nullptr;
  };

  const std::shared_ptr<ServerShared> shared_;
  Transport transport_;
  std::string peer_address_;
  uint16_t peer_port_ = 0;
  InputBuffer input_;
  Writer* writer_ = nullptr;            // of the exchange that runs
  http2::Connection* http2_ = nullptr;  // while it speaks HTTP/2
  Link everywhere_;
  Link parked_;
};

}  // namespace pontage::net
