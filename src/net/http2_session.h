#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "net/http2_head.h"

struct nghttp2_session;

// The server's side of one HTTP/2 connection as bytes in and bytes out, without a socket and
// without waiting: nghttp2 reads and writes the frames, this judges what they say and bounds what
// they cost.
namespace pontage::net::http2 {

// Tokens that come back with time: a burst is forgiven, a flood is not.
class Budget {
 public:
  Budget(int64_t most, int64_t per_second) : most_(most * 1000), rate_(per_second), left_(most_) {}
  // False when there is nothing left.
  bool Spend(int64_t count, SteadyMs now);
  void Earn(int64_t count);

 private:
  int64_t most_;  // in thousandths
  int64_t rate_;  // thousandths for each millisecond
  int64_t left_;
  std::optional<SteadyMs> at_;
};

struct SessionLimits {
  HeadLimits head;
  size_t trailer_bytes = 8 * 1024;
  uint32_t streams = 100;  // what RFC 9113 §5.1.2 asks for at least, and nginx and others allow
  // What a client may send ahead of who reads it: of one body, and of all bodies of a connection.
  uint32_t stream_window = 128 * 1024;
  uint32_t connection_window = 1024 * 1024;
  // Streams that end in an error, whoever says so (rapid reset and its kin): a browser that leaves
  // a page breaks off some dozens at once.
  int64_t resets = 200;
  int64_t resets_per_second = 20;
  // Frames that ask for nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA. Bytes that
  // we send bring some back, for window updates answer them.
  int64_t idle_frames = 2000;
  int64_t idle_frames_per_second = 200;
};

class Session {
 public:
  // What a client said, called from inside Receive and Fill. Nothing of the session but Reset and
  // Consume may be called from there.
  class Events {
   public:
    virtual ~Events() = default;
    // A request, or why it is none. `body`: more of it comes.
    virtual void OnRequest(int32_t id, Parsed<http1::Request> request, bool body) = 0;
    // Counts against the windows until Consume.
    virtual void OnData(int32_t id, std::string_view bytes) = 0;
    // The body's end, with the trailers if they are good ones.
    virtual void OnBodyEnd(int32_t id, Parsed<Headers> trailers) = 0;
    // The stream is over; `error` is 0 when it ended well. Nothing else comes of it.
    virtual void OnClosed(int32_t id, uint32_t error) = 0;
    // The end of the answer is among the bytes that the Fill that runs gives; before OnClosed.
    virtual void OnAnswerEnd(int32_t id) = 0;
    // What was said on the stream cannot be sent; it is to be reset.
    virtual void OnUnsendable(int32_t id) = 0;
  };

  // Where the bytes of an answer come from.
  class Source {
   public:
    virtual ~Source() = default;
    struct Taken {
      size_t count = 0;
      bool end = false;                   // these were the last
      const Headers* trailers = nullptr;  // with `end`
    };
    // What goes next: up to `most` bytes. Nothing and no end: Resume says when there is more.
    virtual Taken Offer(size_t most) = 0;
    // Appends the `count` bytes that Offer has just announced to `out`: they are taken.
    virtual void Take(size_t count, std::string& out) = 0;
  };

  Session(const SessionLimits& limits, const Clock& clock, Events& events);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // What came from the client. False when the connection is over: what Fill still gives is sent,
  // then it is closed. complaint() says which rule or bound was broken, for the log; it is empty
  // when the client or we ended it in order.
  bool Receive(std::string_view bytes);
  std::string_view complaint() const;
  // Appends frames to `out` until it holds `most` bytes or more, or nothing is left to send.
  void Fill(std::string& out, size_t most);
  // Nothing more is to be read: the connection ends when all has been sent. A breach of the
  // protocol shows here once Fill has given what is said about it.
  bool over() const;
  // A header block has begun and not ended.
  bool in_head() const { return in_head_; }

  // A 1xx answer. False when the head cannot be carried.
  bool Interim(int32_t id, const ResponseHead& head);
  // The head of an answer, without what belongs to HTTP/1's connections; `length` is written as
  // Content-Length. `source` null: the answer ends with it. Both must live until OnClosed: they are
  // written from where they are. False when the head cannot be carried, or is larger than
  // what is sent of one (64 KiB): nothing was said then.
  bool Respond(int32_t id, const ResponseHead& head, std::optional<uint64_t> length,
               Source* source);
  void Resume(int32_t id);
  // Breaks the stream off: its answer cannot be completed, or nobody reads on.
  enum class Why : uint8_t { kFailed, kRefused, kDone, kStalled };
  void Reset(int32_t id, Why why);
  // `count` bytes of a body were used: the client may send as many more. `id` 0 for streams that
  // are over.
  void Consume(int32_t id, size_t count);
  // Whether the client would take more of that stream.
  bool Wants(int32_t id) const;
  // No further streams; those that are there go on.
  void GoAway();

 private:
  struct Callbacks;
  friend struct Callbacks;
  bool Overrun(std::string_view why);
  int ThrowAway();

  // nghttp2's buffer for a frame of the largest size, which each session has for all its life and
  // of which it uses the first hundred bytes, for bodies do not go through it. From the heap it
  // would be memory that others have left; pages of its own that nobody touches are none.
  class FrameBlock {
   public:
    FrameBlock() = default;
    ~FrameBlock();
    FrameBlock(const FrameBlock&) = delete;
    FrameBlock& operator=(const FrameBlock&) = delete;
    // Null when it is no block of that size that is asked for, or there is one.
    void* Take(size_t bytes);
    // Whether `block` was ours.
    bool GiveBack(void* block);
    bool Holds(const void* block) const { return block != nullptr && block == pages_; }
    size_t bytes() const { return bytes_; }

   private:
    void* pages_ = nullptr;
    size_t bytes_ = 0;
  };
  struct Memory;

  const SessionLimits limits_;
  const Clock& clock_;
  Events& events_;
  FrameBlock frame_block_;
  nghttp2_session* session_ = nullptr;
  std::string* out_ = nullptr;  // while Fill runs: what it appends to, until there is so much
  size_t most_ = 0;
  uint32_t answers_ = 0;
  std::optional<HeadBuilder> building_;
  bool trailers_ = false;  // what is being built
  bool in_head_ = false;
  size_t continuations_ = 0;  // frames of the block that is open
  Budget resets_;
  Budget idle_;
  std::vector<int32_t> own_resets_;  // not the client's fault
  bool left_ = false;                // one of us has said GOAWAY
  std::string_view complaint_;
  bool failed_ = false;
  bool calm_ = true;  // what a failure is answered with: be calm, or learn the protocol
  bool terminated_ = false;
};

}  // namespace pontage::net::http2
