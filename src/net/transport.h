#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "io/socket.h"

namespace pontage::net {

// TLS over a socket, driven directly on the descriptor (net/tls.h).
class TlsSession;

// A byte stream to a peer: a socket, or TLS over it. Reading and writing may wait at the same time.
class Transport {
 public:
  Transport() = default;
  explicit Transport(Socket socket);
  Transport(Socket socket, std::unique_ptr<TlsSession> tls);
  Transport(Transport&&) noexcept;
  Transport& operator=(Transport&&) noexcept;
  ~Transport();

  class ReadAwaiter;
  class WriteAwaiter;
  // As Socket has them.
  ReadAwaiter Read(std::span<char> into, Deadline by);
  WriteAwaiter WriteSome(std::span<const iovec> pieces, Deadline by);
  // All of `pieces` (which it changes); `progress` is the longest wait for the peer to take more.
  Task<> WriteAll(std::span<iovec> pieces, const Clock& clock, Millis progress, Deadline by);
  // What can be written without waiting: how much; 0 too when it fails, which the next write tells.
  size_t TryWrite(std::string_view bytes);
  // The same of several pieces, of which the first is not empty.
  size_t TryWrite(std::span<const iovec> pieces);
  // No more will be written: close_notify and the end of the stream.
  void ShutdownWrite();
  // Nothing unread, no end, no error: fit for another exchange.
  bool AtRest();
  // There may be something to read although the descriptor says nothing of it.
  bool HasUnread() const;

  // From now on over `tls`, which has shaken hands on this socket.
  void Secure(std::unique_ptr<TlsSession> tls);
  bool secure() const { return tls_ != nullptr; }
  // What ALPN agreed on; empty without TLS or when the peer did not ask.
  std::string_view protocol() const;

  Socket& socket() { return socket_; }
  const Socket& socket() const { return socket_; }

 private:
  Socket socket_;
  std::unique_ptr<TlsSession> tls_;
};

class Transport::ReadAwaiter final : public IoAwaiter {
 public:
  ReadAwaiter(Transport& transport, std::span<char> into, Deadline by);
  Result<size_t> await_resume();

 private:
  Step Attempt() override;
  Transport& transport_;
  std::span<char> into_;
  size_t count_ = 0;
};

class Transport::WriteAwaiter final : public IoAwaiter {
 public:
  WriteAwaiter(Transport& transport, std::span<const iovec> pieces, Deadline by);
  Result<size_t> await_resume();

 private:
  Step Attempt() override;
  Transport& transport_;
  std::span<const iovec> pieces_;
  size_t count_ = 0;
};

// What has been read and not yet used, in one block that grows up to what its owner allows and is
// given back when there is nothing in it.
class InputBuffer {
 public:
  InputBuffer() = default;
  ~InputBuffer();
  InputBuffer(const InputBuffer&) = delete;
  InputBuffer& operator=(const InputBuffer&) = delete;
  std::string_view view() const { return {data_.get() + begin_, end_ - begin_}; }
  bool empty() const { return begin_ == end_; }
  void Consume(size_t count) { begin_ += count; }
  // Room for at least one more byte with `keep` unused bytes in front; the block is at least
  // `block` large. Views into the buffer end with this.
  std::span<char> Room(size_t block);
  void Filled(size_t count) { end_ += count; }
  void Free();

 private:
  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace pontage::net
