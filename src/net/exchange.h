#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "io/fork.h"
#include "net/client.h"
#include "net/http1.h"
#include "net/tls.h"
#include "net/transport.h"

// One request and its answer on one upstream connection: private to net/client.cc.
namespace pontage::net {

// Idle connections of one loop by destination.
class Pool {
 public:
  Pool(Loop& loop, ClientLimits limits);
  ~Pool();

  // What is idle to one destination. Good until Close.
  struct Idle;
  using Line = std::list<std::unique_ptr<Idle>, Shelved<std::unique_ptr<Idle>>>;
  Line& LineTo(const std::string& destination);
  // The connection used last that is still good, or nothing.
  std::optional<Transport> Take(Line& line);
  // Keeps it for at most `lifetime`. Once closed, keeps nothing and looks at no line.
  void Give(Line& line, Transport transport, Millis lifetime);
  // Nothing is kept any more.
  void Close();

  Loop& loop() const { return loop_; }
  const ClientLimits& limits() const { return limits_; }

 private:
  Loop& loop_;
  const ClientLimits limits_;
  bool closed_ = false;
  std::unordered_map<std::string, Line> lines_;
};

class Exchange final : public ClientResponse, private BodySource {
 public:
  // `host`: as the Host field has it.
  Exchange(std::shared_ptr<Pool> pool, Pool::Line& line, std::string host, Transport transport,
           bool reused);
  ~Exchange() override;
  // One for each request.
  static void* operator new(size_t bytes) { return TakeShelved(bytes); }
  static void operator delete(void* piece, size_t bytes) { GiveShelved(piece, bytes); }

  // Sends the request and reads the final answer's head.
  Task<> Run(const RequestHead& head, BodySource* body, Deadline by,
             const Client::SendOptions& options);
  // After Run failed: whether not one byte of the request left, so that it may be sent on another
  // connection.
  bool MayRepeat() const;

  ResponseHead& head() override { return answer_.head; }
  BodySource& body() override { return *this; }
  Task<> WriteRaw(std::string_view bytes, Deadline by) override;
  void EndRaw() override;

 private:
  enum class State : uint8_t { kHead, kBody, kEnd, kBroken };

  Task<std::string_view> Read(Deadline by) override;
  std::optional<std::string_view> Ready() override;
  std::optional<uint64_t> length() const override;
  bool empty() const override;
  const Headers& trailers() const override { return trailers_; }

  Result<std::string> Serialize(const RequestHead& head, BodySource* body);
  Task<> Upload(BodySource& body, bool chunked);
  Task<> UploadPieces(BodySource& body, bool chunked);
  Task<> WriteLead(std::string_view body, std::string_view after, Deadline by);
  void FlushLeadSoon();
  Task<> ReadHead(Deadline by, const Client::SendOptions& options);
  Result<> Accept(size_t head_size);
  // What of the input belongs to a body that is not chunked.
  std::string_view TakePlain();
  Task<std::string_view> ReadPlain(Deadline by);
  Task<std::string_view> ReadChunk(Deadline by);
  // Where the next bytes go, and that they came.
  std::span<char> Room() { return input_.Room(left_ > kBlock ? kLargeBlock : kBlock); }
  void Filled(size_t count) {
    input_.Filled(count);
    answer_began_ = answer_began_ || count > 0;
  }
  static constexpr size_t kBlock = 16 * 1024;
  static constexpr size_t kLargeBlock = 64 * 1024;
  Millis Lifetime() const;  // asked while the head is still ours: its owner may move it away
  std::unexpected<Error> Break(Error error);

  const std::shared_ptr<Pool> pool_;
  Pool::Line& line_;
  const std::string host_;
  Transport transport_;
  const bool reused_;
  const uint64_t written_before_;
  bool answer_began_ = false;
  bool body_taken_ = false;
  bool to_head_ = false;
  InputBuffer input_;
  http1::Response answer_;
  Millis lifetime_{0};  // in the pool, afterwards
  State state_ = State::kHead;
  uint64_t left_ = 0;
  std::optional<http1::ChunkDecoder> chunks_;
  Headers trailers_;
  std::optional<Error> error_;
  std::string upgrade_asked_;  // the protocol
  std::string lead_;           // of the request, not yet handed to the socket
  bool writing_ = false;
  bool reading_source_ = false;  // waits for a piece of the request's body
  std::optional<Error> source_error_;
  std::shared_ptr<Exchange*> self_;  // for what is posted to the loop
  bool uploading_ = false;
  std::optional<SteadyMs> uploaded_at_;  // when the server last took something of the body
  Fork upload_;                          // last: it uses the others and ends first
};

}  // namespace pontage::net
