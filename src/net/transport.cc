#include "net/transport.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/try.h"
#include "net/tls.h"

namespace pontage::net {
namespace {

std::string_view AsView(const iovec& piece) {
  return {static_cast<const char*>(piece.iov_base), piece.iov_len};
}

// The most that one TLS record carries.
constexpr size_t kRecord = 16 * 1024;

// What of `pieces` goes into the next record: small ones together, for each record is a system call
// and some forty bytes. Good until the next call on this thread; the same pieces give the same
// bytes, as OpenSSL wants of a write that is tried again.
std::string_view OneRecord(std::span<const iovec> pieces) {
  const std::string_view first = AsView(pieces.front());
  if (pieces.size() == 1 || first.size() >= kRecord) return first;
  static thread_local std::array<char, kRecord> gathered;
  size_t size = 0;
  for (const iovec& piece : pieces) {
    const std::string_view some = AsView(piece).substr(0, kRecord - size);
    std::ranges::copy(some, gathered.begin() + static_cast<std::ptrdiff_t>(size));
    size += some.size();
  }
  return {gathered.data(), size};
}

}  // namespace

Transport::Transport(Socket socket) : socket_(std::move(socket)) {}
Transport::Transport(Socket socket, std::unique_ptr<TlsSession> tls)
    : socket_(std::move(socket)), tls_(std::move(tls)) {}
Transport::Transport(Transport&&) noexcept = default;
Transport& Transport::operator=(Transport&&) noexcept = default;
Transport::~Transport() = default;

Transport::ReadAwaiter Transport::Read(std::span<char> into, Deadline by) {
  return {*this, into, by};
}
Transport::WriteAwaiter Transport::WriteSome(std::span<const iovec> pieces, Deadline by) {
  return {*this, pieces, by};
}

Task<> Transport::WriteAll(std::span<iovec> pieces, const Clock& clock, Millis progress,
                           Deadline by) {
  while (true) {
    while (!pieces.empty() && pieces.front().iov_len == 0) pieces = pieces.subspan(1);
    if (pieces.empty()) co_return {};
    const Deadline soon = Sooner(by, Deadline::In(clock, progress));
    PTG_CO_TRY(size_t count, co_await WriteSome(pieces, soon));
    while (count > 0) {
      iovec& front = pieces.front();
      const size_t took = std::min(count, front.iov_len);
      front.iov_base = static_cast<char*>(front.iov_base) + took;
      front.iov_len -= took;
      count -= took;
      if (front.iov_len == 0) pieces = pieces.subspan(1);
    }
  }
}

size_t Transport::TryWrite(std::string_view bytes) {
  if (bytes.empty()) return 0;
  const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  return TryWrite({&piece, 1});
}

size_t Transport::TryWrite(std::span<const iovec> pieces) {
  if (!socket_.open()) return 0;
  if (tls_) return tls_->Write(OneRecord(pieces)).count;
  const ssize_t n = socket_.TryWrite(pieces);
  return n > 0 ? static_cast<size_t>(n) : 0;
}

void Transport::ShutdownWrite() {
  if (!socket_.open()) return;
  if (tls_) tls_->ShutdownWrite();
  socket_.ShutdownWrite();
}

bool Transport::AtRest() {
  if (!socket_.open()) return false;
  return tls_ ? tls_->AtRest() : socket_.AtRest();
}

bool Transport::HasUnread() const { return tls_ && tls_->HasUnread(); }

void Transport::Secure(std::unique_ptr<TlsSession> tls) { tls_ = std::move(tls); }

std::string_view Transport::protocol() const { return tls_ ? tls_->protocol() : ""; }

// TLS has bytes of its own that the descriptor knows nothing of: it never yields by readiness.
Transport::ReadAwaiter::ReadAwaiter(Transport& transport, std::span<char> into, Deadline by)
    : IoAwaiter(transport.socket_, by, transport.tls_ ? Step::kDone : Step::kWantRead),
      transport_(transport),
      into_(into) {}

IoAwaiter::Step Transport::ReadAwaiter::Attempt() {
  if (transport_.tls_) {
    const TlsSession::Outcome outcome = transport_.tls_->Read(into_);
    if (outcome.need == TlsSession::Need::kRead) return Step::kWantRead;
    if (outcome.need == TlsSession::Need::kWrite) return Step::kWantWrite;
    count_ = outcome.count;
    if (outcome.failed) FailWith(EPROTO);
    return Step::kDone;
  }
  const ssize_t n = socket().TryRead(into_);
  if (n < 0 && errno == EAGAIN) return Step::kWantRead;
  if (n < 0) {
    FailWith(errno);
  } else {
    count_ = static_cast<size_t>(n);
  }
  return Step::kDone;
}

Result<size_t> Transport::ReadAwaiter::await_resume() {
  PTG_RUN(outcome());
  return count_;
}

Transport::WriteAwaiter::WriteAwaiter(Transport& transport, std::span<const iovec> pieces,
                                      Deadline by)
    : IoAwaiter(transport.socket_, by, transport.tls_ ? Step::kDone : Step::kWantWrite),
      transport_(transport),
      pieces_(pieces) {}

IoAwaiter::Step Transport::WriteAwaiter::Attempt() {
  if (transport_.tls_) {
    const TlsSession::Outcome outcome = transport_.tls_->Write(OneRecord(pieces_));
    if (outcome.need == TlsSession::Need::kRead) return Step::kWantRead;
    if (outcome.need == TlsSession::Need::kWrite) return Step::kWantWrite;
    count_ = outcome.count;
    if (outcome.failed || outcome.count == 0) FailWith(EPIPE);
    return Step::kDone;
  }
  const ssize_t n = socket().TryWrite(pieces_);
  if (n < 0 && errno == EAGAIN) return Step::kWantWrite;
  if (n < 0) {
    FailWith(errno);
  } else {
    count_ = static_cast<size_t>(n);
  }
  return Step::kDone;
}

Result<size_t> Transport::WriteAwaiter::await_resume() {
  PTG_RUN(outcome());
  return count_;
}

namespace {

// Blocks that are given back wait for the next request on this thread: 16 KiB are more than the
// allocator keeps at hand, and each request took and gave back two.
class Blocks {
 public:
  static constexpr size_t kBytes = 16 * 1024;

  std::unique_ptr<char[]> Take() {
    if (count_ == 0) return std::make_unique_for_overwrite<char[]>(kBytes);
    return std::move(kept_[--count_]);
  }
  void Give(std::unique_ptr<char[]> block) {
    if (count_ < kept_.size()) kept_[count_++] = std::move(block);
  }

 private:
  std::array<std::unique_ptr<char[]>, 64> kept_;
  size_t count_ = 0;
};
thread_local Blocks t_blocks;

}  // namespace

InputBuffer::~InputBuffer() { Free(); }

std::span<char> InputBuffer::Room(size_t block) {
  if (begin_ == end_) begin_ = end_ = 0;
  const size_t kept = end_ - begin_;
  if (block > capacity_ || end_ == capacity_) {
    const size_t wanted = std::max(block, kept < capacity_ / 2 ? capacity_ : 2 * capacity_);
    if (wanted > capacity_) {
      auto larger = wanted == Blocks::kBytes ? t_blocks.Take()
                                             : std::make_unique_for_overwrite<char[]>(wanted);
      if (kept > 0) std::memcpy(larger.get(), data_.get() + begin_, kept);
      if (capacity_ == Blocks::kBytes) t_blocks.Give(std::move(data_));
      data_ = std::move(larger);
      capacity_ = wanted;
    } else {
      std::memmove(data_.get(), data_.get() + begin_, kept);
    }
    begin_ = 0;
    end_ = kept;
  }
  return {data_.get() + end_, capacity_ - end_};
}

void InputBuffer::Free() {
  if (capacity_ == Blocks::kBytes) t_blocks.Give(std::move(data_));
  data_.reset();
  capacity_ = begin_ = end_ = 0;
}

}  // namespace pontage::net
