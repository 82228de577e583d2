#include "net/http2_session.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include <nghttp2/nghttp2.h>
#include <sys/mman.h>

#include "base/check.h"

namespace pontage::net::http2 {
namespace {

// nghttp2's own net below ours: acknowledgements that wait to be sent.
constexpr size_t kAcknowledgements = 200;
// The largest head that we take needs four. Its own count also counts pieces of frames, as they
// happen to arrive; it is for blocks that nghttp2 throws away without telling us.
constexpr size_t kContinuations = 20;
constexpr size_t kContinuationPieces = 200;
// A block that is decoded to more than so many limits is no mistake.
constexpr size_t kFarBeyond = 4;
// A piece of an answer that the client's windows cut to less than this earns no window updates.
constexpr size_t kDribble = 256;
constexpr int64_t kEarnedByFrame = 3;
// The largest head that nghttp2 sends, and that most clients take; it counts so much for each field
// and for the block itself.
constexpr size_t kHeadOut = 64 * 1024;
constexpr size_t kFieldOut = 12;
constexpr size_t kBlockOut = 17;
constexpr size_t kFrameHead = 9;
// nghttp2's buffer for frames is larger than this, and nothing else of its that is usual.
constexpr size_t kPagesFrom = 16 * 1024;

std::string_view View(const uint8_t* text, size_t size) {
  return {reinterpret_cast<const char*>(text), size};
}

// A value of which there is a new one in each answer. In HPACK's table it would only drive others
// out, and each search would walk past all that went before.
bool IsNewEachTime(std::string_view name) { return EqualsNoCase(name, "x-request-id"); }
// But its name is worth a place there: so often an answer puts it in again.
constexpr uint32_t kNamesAgain = 32;

// Fields in the form nghttp2 takes, which copies names (and spells them in lower case) and, unless
// they are `kept`, values when they are submitted. One at a time on a thread.
class Fields {
 public:
  explicit Fields(bool names_only = false) : unnamed_(names_only) { t_pairs.clear(); }
  // False when name or value hold what a head cannot carry.
  bool Add(std::string_view name, std::string_view value) {
    if (!name.starts_with(':') && !http1::IsToken(name)) return false;
    if (!http1::IsFieldValue(value)) return false;
    Push(name, value, NGHTTP2_NV_FLAG_NONE);
    return true;
  }
  bool AddAll(const Headers& headers, uint8_t flags = NGHTTP2_NV_FLAG_NONE) {
    for (size_t i = 0; i < headers.size(); ++i) {
      const auto [name, value] = headers.at(i);
      if (!headers.judged(i) && !(http1::IsToken(name) && http1::IsFieldValue(value))) return false;
      const bool unnamed = unnamed_ && IsNewEachTime(name);
      Push(name, value, flags | (unnamed ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE));
    }
    return true;
  }
  std::span<const nghttp2_nv> Get() const { return t_pairs; }
  bool fits() const {
    size_t bytes = kBlockOut;
    for (const nghttp2_nv& pair : t_pairs) bytes += pair.namelen + pair.valuelen + kFieldOut;
    return bytes <= kHeadOut;
  }

 private:
  static void Push(std::string_view name, std::string_view value, int flags) {
    t_pairs.push_back({.name = Bytes(name),
                       .value = Bytes(value),
                       .namelen = name.size(),
                       .valuelen = value.size(),
                       .flags = static_cast<uint8_t>(flags)});
  }
  // It does not write there.
  static uint8_t* Bytes(std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  }
  const bool unnamed_;
  static thread_local std::vector<nghttp2_nv> t_pairs;
};
thread_local std::vector<nghttp2_nv> Fields::t_pairs;

// A number as text.
class Digits {
 public:
  explicit Digits(uint64_t number)
      : end_(std::to_chars(text_.data(), text_.data() + text_.size(), number).ptr) {}
  std::string_view view() const { return {text_.data(), end_}; }

 private:
  std::array<char, 20> text_;
  char* end_;
};

uint32_t CodeOf(Session::Why why) {
  switch (why) {
    case Session::Why::kRefused:
      return NGHTTP2_REFUSED_STREAM;
    case Session::Why::kDone:
      return NGHTTP2_NO_ERROR;
    case Session::Why::kStalled:
      return NGHTTP2_CANCEL;
    case Session::Why::kFailed:
      break;
  }
  return NGHTTP2_INTERNAL_ERROR;
}

}  // namespace

bool Budget::Spend(int64_t count, SteadyMs now) {
  const int64_t passed = at_ ? std::max<int64_t>(0, (now - *at_).count()) : 0;
  at_ = now;
  // A connection may have rested for days.
  left_ = std::min(most_, left_ + std::min<int64_t>(passed, 3'600'000) * rate_);
  if (left_ < count * 1000) return false;
  left_ -= count * 1000;
  return true;
}

void Budget::Earn(int64_t count) { left_ = std::min(most_, left_ + count * 1000); }

struct Session::Callbacks {
  static Session& Of(void* user) { return *static_cast<Session*>(user); }

  static int OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd* hd, void* user) {
    Session& s = Of(user);
    bool useful = false;
    switch (hd->type) {
      case NGHTTP2_HEADERS:
        s.continuations_ = 0;
        s.in_head_ = (hd->flags & NGHTTP2_FLAG_END_HEADERS) == 0;
        useful = true;
        break;
      case NGHTTP2_CONTINUATION:
        s.in_head_ = (hd->flags & NGHTTP2_FLAG_END_HEADERS) == 0;
        useful = hd->length > 0;
        if (++s.continuations_ > kContinuations) s.Overrun("a header block without end");
        break;
      case NGHTTP2_DATA:
        useful = hd->length > 0 || (hd->flags & NGHTTP2_FLAG_END_STREAM) != 0;
        break;
      default:
        break;
    }
    if (!useful && !s.idle_.Spend(1, s.clock_.Steady())) s.Overrun("too many idle frames");
    return s.failed_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Session& s = Of(user);
    s.trailers_ = frame->headers.cat != NGHTTP2_HCAT_REQUEST;
    HeadLimits limits = s.limits_.head;
    if (s.trailers_) limits.bytes = s.limits_.trailer_bytes;
    s.building_.emplace(s.trailers_ ? HeadBuilder::Kind::kTrailers : HeadBuilder::Kind::kRequest,
                        limits);
    return 0;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* user) {
    Session& s = Of(user);
    if (!s.building_) return s.ThrowAway();
    s.building_->Add(View(name, name_size), View(value, value_size));
    const bool far = s.building_->bytes() > kFarBeyond * s.limits_.head.bytes;
    return far ? s.ThrowAway() : 0;
  }

  // Not the kind of field that is quietly left out.
  static int OnInvalidHeader(nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t,
                             const uint8_t*, size_t, uint8_t, void* user) {
    return Of(user).ThrowAway();
  }

  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Session& s = Of(user);
    const int32_t id = frame->hd.stream_id;
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (s.failed_) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && s.building_) {
      if (!s.trailers_) {
        s.events_.OnRequest(id, s.building_->Request(!end), !end);
      } else if (end) {
        s.events_.OnBodyEnd(id, s.building_->Trailers());
      }
      s.building_.reset();
    } else if (frame->hd.type == NGHTTP2_DATA && end) {
      s.events_.OnBodyEnd(id, Headers());
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
      s.left_ = true;
    } else if (frame->hd.type == NGHTTP2_RST_STREAM &&
               frame->rst_stream.error_code == NGHTTP2_NO_ERROR &&
               nghttp2_session_get_stream_local_close(s.session_, id) == 0) {
      // An answer that is broken off costs the same whatever the reason is called.
      if (!s.resets_.Spend(1, s.clock_.Steady())) s.Overrun("too many streams that are broken off");
    }
    return 0;
  }

  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size,
                    void* user) {
    Session& s = Of(user);
    if (!s.failed_) s.events_.OnData(id, View(data, size));
    return 0;
  }

  static int OnClosed(nghttp2_session*, int32_t id, uint32_t error, void* user) {
    Session& s = Of(user);
    const bool ours = std::erase(s.own_resets_, id) > 0;
    if (error != NGHTTP2_NO_ERROR && !ours && !s.resets_.Spend(1, s.clock_.Steady())) {
      s.Overrun("too many streams that end in an error");
    }
    if (!s.failed_) s.events_.OnClosed(id, error);
    return 0;
  }

  static int OnSent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    const bool carries = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (carries && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      Of(user).events_.OnAnswerEnd(frame->hd.stream_id);
    }
    return 0;
  }

  static int OnNotSent(nghttp2_session*, const nghttp2_frame* frame, int error, void* user) {
    const bool over = error == NGHTTP2_ERR_STREAM_CLOSED || error == NGHTTP2_ERR_STREAM_CLOSING ||
                      error == NGHTTP2_ERR_SESSION_CLOSING;
    if (frame->hd.type != NGHTTP2_HEADERS || over) return 0;
    Of(user).events_.OnUnsendable(frame->hd.stream_id);
    return 0;
  }

  static ssize_t Ready(nghttp2_session* session, int32_t id, uint8_t*, size_t size, uint32_t* flags,
                       nghttp2_data_source* source, void* user) {
    const Source::Taken taken = static_cast<Source*>(source->ptr)->Offer(size);
    if (taken.count == 0 && !taken.end) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (taken.count < size || size >= kDribble) Of(user).idle_.Earn(kEarnedByFrame);
    if (taken.end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      Fields fields;
      if (taken.trailers != nullptr && fields.AddAll(*taken.trailers)) {
        const auto all = fields.Get();
        if (nghttp2_submit_trailer(session, id, all.data(), all.size()) == 0) {
          *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        }
      }
    }
    return static_cast<ssize_t>(taken.count);
  }

  // A frame of a body, from where the body is. Without padding, for we ask for none.
  static int Take(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t size,
                  nghttp2_data_source* source, void* user) {
    const Session& s = Of(user);
    s.out_->append(View(head, kFrameHead));
    static_cast<Source*>(source->ptr)->Take(size, *s.out_);
    return s.out_->size() < s.most_ && !s.failed_ ? 0 : NGHTTP2_ERR_PAUSE;
  }
};

Session::FrameBlock::~FrameBlock() { GiveBack(pages_); }

void* Session::FrameBlock::Take(size_t bytes) {
  if (bytes < kPagesFrom || pages_ != nullptr) return nullptr;
  void* const pages =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  pages_ = pages;
  bytes_ = bytes;
  return pages;
}

bool Session::FrameBlock::GiveBack(void* block) {
  if (block == nullptr || block != pages_) return false;
  ::munmap(pages_, bytes_);
  pages_ = nullptr;
  return true;
}

// What nghttp2 asks memory of: the heap, but for the block.
struct Session::Memory {
  static FrameBlock& Of(void* user) { return *static_cast<FrameBlock*>(user); }
  static void* Malloc(size_t bytes, void* user) {
    void* const block = Of(user).Take(bytes);
    return block != nullptr ? block : std::malloc(bytes);
  }
  static void Free(void* piece, void* user) {
    if (!Of(user).GiveBack(piece)) std::free(piece);
  }
  static void* Calloc(size_t count, size_t bytes, void*) { return std::calloc(count, bytes); }
  static void* Realloc(void* piece, size_t bytes, void* user) {
    // The block neither grows nor shrinks: what is in it moves to the heap.
    FrameBlock& block = Of(user);
    if (piece == nullptr) return Malloc(bytes, user);
    if (!block.Holds(piece)) return std::realloc(piece, bytes);
    void* const moved = std::malloc(bytes);
    if (moved == nullptr) return nullptr;
    std::memcpy(moved, piece, std::min(bytes, block.bytes()));
    block.GiveBack(piece);
    return moved;
  }
};

Session::Session(const SessionLimits& limits, const Clock& clock, Events& events)
    : limits_(limits),
      clock_(clock),
      events_(events),
      resets_(limits.resets, limits.resets_per_second),
      idle_(limits.idle_frames, limits.idle_frames_per_second) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* options = nullptr;
  PTG_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&options) == 0);
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, Callbacks::OnBeginFrame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::OnBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, Callbacks::OnInvalidHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::OnClosed);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Callbacks::OnSent);
  nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, Callbacks::OnNotSent);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, Callbacks::Take);
  // Windows open as bodies are read, not as they arrive.
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_no_closed_streams(options, 1);
  nghttp2_option_set_max_outbound_ack(options, kAcknowledgements);
  nghttp2_option_set_max_continuations(options, kContinuationPieces);
  nghttp2_mem memory{&frame_block_, Memory::Malloc, Memory::Free, Memory::Calloc, Memory::Realloc};
  PTG_CHECK(nghttp2_session_server_new3(&session_, callbacks, this, options, &memory) == 0);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(options);

  const std::array<nghttp2_settings_entry, 4> settings{
      {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.streams},
       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window},
       {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(limits_.head.bytes)},
       {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<int32_t>(limits_.connection_window));
}

Session::~Session() { nghttp2_session_del(session_); }

// The stream is reset and the rest of its block read without a word of it.
int Session::ThrowAway() {
  building_.reset();
  in_head_ = false;
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

bool Session::Overrun(std::string_view why) {
  if (complaint_.empty()) complaint_ = why;
  failed_ = true;
  return false;
}

bool Session::Receive(std::string_view bytes) {
  if (failed_) return false;
  const ssize_t read = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (read < 0) Overrun(nghttp2_strerror(static_cast<int>(read)));
  calm_ = read != NGHTTP2_ERR_BAD_CLIENT_MAGIC;
  return !over();
}

void Session::Fill(std::string& out, size_t most) {
  out_ = &out;
  most_ = most;
  while (out.size() < most) {
    if (failed_ && !std::exchange(terminated_, true)) {
      nghttp2_session_terminate_session(session_,
                                        calm_ ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
    }
    const size_t before = out.size();
    const uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size > 0) out.append(View(data, static_cast<size_t>(size)));
    if (size < 0) Overrun(nghttp2_strerror(static_cast<int>(size)));
    // Frames of bodies are in `out` already.
    if (size < 0 || out.size() == before) break;
  }
  out_ = nullptr;
}

std::string_view Session::complaint() const {
  if (complaint_.empty() && over() && !left_) return "a rule of the protocol was broken";
  return complaint_;
}

bool Session::over() const { return failed_ || nghttp2_session_want_read(session_) == 0; }

bool Session::Interim(int32_t id, const ResponseHead& head) {
  Fields fields;
  const Digits status(static_cast<uint64_t>(head.status));
  if (!fields.Add(":status", status.view()) || !fields.AddAll(head.headers)) return false;
  const auto all = fields.Get();
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, id, nullptr, all.data(), all.size(), nullptr);
  return true;
}

bool Session::Respond(int32_t id, const ResponseHead& head, std::optional<uint64_t> length,
                      Source* source) {
  Fields fields(answers_++ % kNamesAgain != 0);
  const Digits status(static_cast<uint64_t>(head.status));
  if (!fields.Add(":status", status.view()) ||
      !fields.AddAll(head.headers, NGHTTP2_NV_FLAG_NO_COPY_VALUE)) {
    return false;
  }
  const Digits digits(length.value_or(0));
  if (length) fields.Add("content-length", digits.view());
  if (!fields.fits()) return false;
  nghttp2_data_provider provider{};
  provider.source.ptr = source;
  provider.read_callback = Callbacks::Ready;
  const auto all = fields.Get();
  nghttp2_submit_response(session_, id, all.data(), all.size(),
                          source != nullptr ? &provider : nullptr);
  return true;
}

void Session::Resume(int32_t id) { nghttp2_session_resume_data(session_, id); }

void Session::Reset(int32_t id, Why why) {
  // Who is refused has asked for more than he was told he may.
  if (why != Why::kRefused) own_resets_.push_back(id);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, CodeOf(why));
}

void Session::Consume(int32_t id, size_t count) {
  if (count == 0) return;
  if (id == 0) {
    nghttp2_session_consume_connection(session_, count);
  } else {
    nghttp2_session_consume(session_, id, count);
  }
}

bool Session::Wants(int32_t id) const {
  return nghttp2_session_get_stream_remote_window_size(session_, id) > 0;
}

void Session::GoAway() {
  left_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
}

}  // namespace pontage::net::http2
