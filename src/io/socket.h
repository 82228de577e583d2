#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <sys/socket.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/time.h"
#include "io/runtime.h"
#include "io/task.h"

// Non-blocking TCP on one loop. The system call is tried first; only when it would block the
// coroutine waits for readiness. Reading and writing are plain awaiters, not coroutines: they cost
// no frame. Everything may be destroyed while it waits.
namespace pontage {

class Socket;

// A place in a list of waiters, or the list itself.
struct IoLink {
  IoLink() : before(this), after(this) {}
  IoLink(const IoLink&) = delete;
  IoLink& operator=(const IoLink&) = delete;
  ~IoLink() { Unlink(); }
  void Unlink();
  void Append(IoLink& link);  // the list's side
  // Everything of `other` moves here, to an empty list.
  void TakeAll(IoLink& other);
  bool alone() const { return after == this; }

  IoLink* before;
  IoLink* after;
};

// One attempt after another at something on a socket that may have to wait. Await it where it was
// made (it is not movable) and keep what it points to alive. Derived classes say what an attempt
// is; TLS has its own.
class IoAwaiter : private DeadlineNode, private IoLink {
 public:
  bool await_ready();
  void await_suspend(std::coroutine_handle<> handle);

 protected:
  enum class Step : uint8_t { kDone, kWantRead, kWantWrite };

  // Nothing is tried by the constructor. `by` that has passed still lets one attempt happen. After
  // many attempts that never had to wait the loop is given to others once, by a wait for `yield`
  // (kDone: never; for TLS, whose own buffer the descriptor knows nothing of).
  IoAwaiter(Socket& socket, Deadline by, Step yield);
  ~IoAwaiter() override;

  virtual Step Attempt() = 0;
  // What went wrong, if anything: kTimeout when `by` passed, kConnection when the socket was closed
  // on our side meanwhile, or what Attempt noted with FailWith.
  Result<> outcome() const;
  void FailWith(int error) { errno_ = error; }
  int error_number() const { return errno_; }
  Socket& socket() const { return *socket_; }
  int fd() const;

 private:
  friend class Socket;
  void Expire() override;

  Socket* socket_;
  Deadline by_;
  std::coroutine_handle<> handle_;
  Step wanted_ = Step::kDone;
  Step yield_;
  int errno_ = 0;
  bool timed_out_ = false;
  bool closed_ = false;
};

// One connected (or listening) descriptor. Closes it when destroyed.
class Socket {
 public:
  // No descriptor.
  Socket() = default;
  // Takes `fd`, which must be non-blocking.
  Socket(Loop& loop, int fd);
  ~Socket() { Close(); }
  Socket(Socket&&) noexcept = default;
  Socket& operator=(Socket&& other) noexcept;

  class ReadAwaiter;
  class WriteAwaiter;
  class ReadyAwaiter;

  // Up to `into.size()` bytes, at least one; 0 when the peer has sent its last. kTimeout,
  // kConnection.
  ReadAwaiter Read(std::span<char> into, Deadline by);
  // Some of `pieces`, at least one byte (of a non-empty list): how many. kTimeout, kConnection.
  WriteAwaiter WriteSome(std::span<const iovec> pieces, Deadline by);
  // Until there is something to read (bytes, an end or an error), or room to write.
  ReadyAwaiter Readable(Deadline by);
  ReadyAwaiter Writable(Deadline by);

  // One attempt without waiting: the count, or -1 with errno.
  ssize_t TryRead(std::span<char> into);
  ssize_t TryWrite(std::span<const iovec> pieces);

  bool open() const;
  int fd() const;
  // TCP_NODELAY, and probes on a silent connection: a peer that has vanished, or closed without a
  // word to us since, is known to be gone after two minutes or so.
  void SetUsualOptions();
  // Nothing more will be written; what the peer sends can still be read.
  void ShutdownWrite();
  // Everything that waits on it fails with kConnection, soon.
  void Close();
  // Close with a reset: the peer sees that it was broken off.
  void Abort();
  // True once the peer has reset the connection (a peer that only finished writing has not).
  bool PeerGone() const;
  // Whether a connection at rest can be used again: nothing unread, no end, no error.
  bool AtRest() const;
  // How many bytes TryWrite and WriteSome have given to the kernel.
  uint64_t written() const;
  // The textual IP and port of the peer; empty and 0 when there is none.
  std::pair<std::string, uint16_t> Peer() const;

 private:
  friend class IoAwaiter;
  friend class SocketBytes;
  struct State;
  std::shared_ptr<State> state_;
};

// A socket's bytes for a library that reads and writes by itself, wherever the socket is moved to:
// as TryRead and TryWrite; -1 with EBADF once it is closed.
class SocketBytes {
 public:
  explicit SocketBytes(const Socket& socket);
  ssize_t Read(std::span<char> into);
  ssize_t Write(std::string_view bytes);

 private:
  std::shared_ptr<Socket::State> state_;
};

class Socket::ReadAwaiter final : public IoAwaiter {
 public:
  ReadAwaiter(Socket& socket, std::span<char> into, Deadline by)
      : IoAwaiter(socket, by, Step::kWantRead), into_(into) {}
  Result<size_t> await_resume();

 private:
  Step Attempt() override;
  std::span<char> into_;
  size_t count_ = 0;
};

class Socket::WriteAwaiter final : public IoAwaiter {
 public:
  WriteAwaiter(Socket& socket, std::span<const iovec> pieces, Deadline by)
      : IoAwaiter(socket, by, Step::kWantWrite), pieces_(pieces) {}
  Result<size_t> await_resume();

 private:
  Step Attempt() override;
  std::span<const iovec> pieces_;
  size_t count_ = 0;
};

class Socket::ReadyAwaiter final : public IoAwaiter {
 public:
  ReadyAwaiter(Socket& socket, bool write, Deadline by)
      : IoAwaiter(socket, by, Step::kDone), write_(write) {}
  Result<> await_resume() { return outcome(); }

 private:
  Step Attempt() override;
  bool write_;
};

// An address to listen on or connect to.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  // A literal IPv4 or IPv6 address, without brackets; nothing for names.
  static Result<SocketAddress> Literal(std::string_view ip, uint16_t port);
  // "127.0.0.1:8402", "[::1]:0", ":8402" (all addresses of both families). kConfig otherwise.
  static Result<SocketAddress> ParseListen(std::string_view text);
  uint16_t port() const;
  // No socket listens there, sharing or not.
  bool IsFree() const;
};

// A new connection to the first address of `host` (a name or a literal) that takes it. kConnection
// (no such name, refused, unreachable), kTimeout.
Task<Socket> Connect(Loop& loop, std::string host, uint16_t port, Deadline by);

// A listening socket. Several may share an address and share its connections (SO_REUSEPORT).
class Listener {
 public:
  Listener() = default;
  // kConnection when the address is taken or not ours.
  static Result<Listener> Open(Loop& loop, const SocketAddress& address);

  class AcceptAwaiter;
  // The next connection. kOverloaded when there are no descriptors left (wait before the next
  // call), kConnection when the listener was closed.
  AcceptAwaiter Accept();
  uint16_t port() const;
  void Close() { socket_.Close(); }
  bool open() const { return socket_.open(); }

 private:
  Loop* loop_ = nullptr;
  Socket socket_;
};

class Listener::AcceptAwaiter final : public IoAwaiter {
 public:
  AcceptAwaiter(Loop& loop, Socket& socket)
      : IoAwaiter(socket, Deadline::Never(), Step::kWantRead), loop_(loop) {}
  ~AcceptAwaiter() override;
  Result<Socket> await_resume();

 private:
  Step Attempt() override;
  Loop& loop_;
  int accepted_ = -1;
};

}  // namespace pontage
