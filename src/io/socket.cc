#include "io/socket.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/descriptor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/try.h"

namespace pontage {
namespace {

using Descriptor =
    boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type>;

// After so many attempts that did not have to wait, others get their turn: one fast peer with 16
// KiB at a time holds the loop for well under a millisecond.
constexpr uint32_t kBudget = 32;
// Longer than the minute for which a kernel still answers for a socket that its program has closed;
// then four more chances for a network that is down for a moment.
constexpr int kProbeAfterS = 65;
constexpr int kProbeEveryS = 15;
constexpr int kProbes = 4;
// Connections the kernel may hold before we accept them; the kernel lowers it to somaxconn.
constexpr int kBacklog = 4096;

}  // namespace

struct Socket::State {
  State(Loop& l, int f) : loop(l), descriptor(l.context().get_executor(), f), fd(f) {}

  static size_t Side(IoAwaiter::Step wanted) {
    return wanted == IoAwaiter::Step::kWantWrite ? 1 : 0;
  }

  // Asks the reactor to tell us once about `side`, unless it already will.
  static void Arm(const std::shared_ptr<State>& self, size_t side) {
    if (self->armed[side]) return;
    self->armed[side] = true;
    const auto kind = side == 1 ? boost::asio::posix::descriptor_base::wait_write
                                : boost::asio::posix::descriptor_base::wait_read;
    self->descriptor.async_wait(kind, [self, side](const boost::system::error_code&) {
      self->armed[side] = false;
      Fire(self, side);
    });
  }

  // Lets everybody who waits for `side` try again. Whoever resumes may destroy others who wait, or
  // close the socket: nobody is touched after that but through the list.
  static void Fire(const std::shared_ptr<State>& self, size_t side) {
    IoLink round;
    round.TakeAll(self->waiting[side]);
    while (!round.alone()) {
      auto* const waiter = static_cast<IoAwaiter*>(round.after);
      static_cast<IoLink*>(waiter)->Unlink();
      if (self->closed) {
        waiter->closed_ = true;
      } else if (Wait(self, *waiter, waiter->Attempt())) {
        continue;
      }
      static_cast<DeadlineNode*>(waiter)->Unlink();
      waiter->handle_.resume();
    }
  }

  // Puts `waiter` where it will be tried again; false when there is nothing to wait for.
  static bool Wait(const std::shared_ptr<State>& self, IoAwaiter& waiter, IoAwaiter::Step wanted) {
    if (wanted == IoAwaiter::Step::kDone) return false;
    const size_t side = Side(wanted);
    self->waiting[side].Append(waiter);
    Arm(self, side);
    return true;
  }

  Loop& loop;
  Descriptor descriptor;
  int fd;
  bool closed = false;
  std::array<bool, 2> armed{};
  std::array<IoLink, 2> waiting;
  uint32_t budget = kBudget;
};

void IoLink::Unlink() {
  before->after = after;
  after->before = before;
  before = after = this;
}

void IoLink::Append(IoLink& link) {
  link.before = before;
  link.after = this;
  before->after = &link;
  before = &link;
}

void IoLink::TakeAll(IoLink& other) {
  if (other.alone()) return;
  before = other.before;
  after = other.after;
  before->after = after->before = this;
  other.before = other.after = &other;
}

IoAwaiter::IoAwaiter(Socket& socket, Deadline by, Step yield)
    : socket_(&socket), by_(by), yield_(yield) {}

IoAwaiter::~IoAwaiter() = default;

bool IoAwaiter::await_ready() {
  if (!socket_->open()) {
    closed_ = true;
    return true;
  }
  Socket::State& state = *socket_->state_;
  if (yield_ != Step::kDone && --state.budget == 0) {
    wanted_ = yield_;
    return false;
  }
  wanted_ = Attempt();
  return wanted_ == Step::kDone;
}

void IoAwaiter::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  const std::shared_ptr<Socket::State>& state = socket_->state_;
  state->budget = kBudget;
  Socket::State::Wait(state, *this, wanted_);
  state->loop.Watch(*this, by_);
}

void IoAwaiter::Expire() {
  IoLink::Unlink();
  timed_out_ = true;
  handle_.resume();
}

Result<> IoAwaiter::outcome() const {
  if (timed_out_) return Fail(Code::kTimeout, "timed out");
  if (closed_) return Fail(Code::kConnection, "the connection was closed");
  if (errno_ != 0) return Fail(Code::kConnection, std::strerror(errno_));
  return {};
}

int IoAwaiter::fd() const { return socket_->fd(); }

Socket::Socket(Loop& loop, int fd) : state_(std::make_shared<State>(loop, fd)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    Close();
    state_ = std::move(other.state_);
  }
  return *this;
}

Socket::ReadAwaiter Socket::Read(std::span<char> into, Deadline by) { return {*this, into, by}; }
Socket::WriteAwaiter Socket::WriteSome(std::span<const iovec> pieces, Deadline by) {
  return {*this, pieces, by};
}
Socket::ReadyAwaiter Socket::Readable(Deadline by) { return {*this, false, by}; }
Socket::ReadyAwaiter Socket::Writable(Deadline by) { return {*this, true, by}; }

ssize_t Socket::TryRead(std::span<char> into) {
  ssize_t n = 0;
  do {
    n = ::recv(fd(), into.data(), into.size(), 0);
  } while (n < 0 && errno == EINTR);
  return n;
}

ssize_t Socket::TryWrite(std::span<const iovec> pieces) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  ssize_t n = 0;
  do {
    n = ::sendmsg(fd(), &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n;
}

IoAwaiter::Step Socket::ReadAwaiter::Attempt() {
  const ssize_t n = socket().TryRead(into_);
  if (n >= 0) {
    count_ = static_cast<size_t>(n);
    return Step::kDone;
  }
  if (errno == EAGAIN) return Step::kWantRead;
  FailWith(errno);
  return Step::kDone;
}

Result<size_t> Socket::ReadAwaiter::await_resume() {
  PTG_RUN(outcome());
  return count_;
}

IoAwaiter::Step Socket::WriteAwaiter::Attempt() {
  const ssize_t n = socket().TryWrite(pieces_);
  if (n >= 0) {
    count_ = static_cast<size_t>(n);
    return Step::kDone;
  }
  if (errno == EAGAIN) return Step::kWantWrite;
  FailWith(errno);
  return Step::kDone;
}

Result<size_t> Socket::WriteAwaiter::await_resume() {
  PTG_RUN(outcome());
  return count_;
}

IoAwaiter::Step Socket::ReadyAwaiter::Attempt() {
  pollfd poll{.fd = fd(), .events = static_cast<int16_t>(write_ ? POLLOUT : POLLIN), .revents = 0};
  if (::poll(&poll, 1, 0) > 0) return Step::kDone;
  return write_ ? Step::kWantWrite : Step::kWantRead;
}

bool Socket::open() const { return state_ != nullptr && !state_->closed; }
int Socket::fd() const { return open() ? state_->fd : -1; }

void Socket::SetUsualOptions() {
  const auto set = [this](int level, int option, int value) {
    ::setsockopt(fd(), level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kProbeAfterS);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeEveryS);
  set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
}

void Socket::ShutdownWrite() { ::shutdown(fd(), SHUT_WR); }

void Socket::Close() {
  if (!open()) return;
  state_->closed = true;
  boost::system::error_code ignored;
  state_->descriptor.close(ignored);
}

void Socket::Abort() {
  if (!open()) return;
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  Close();
}

bool Socket::PeerGone() const {
  pollfd poll{.fd = fd(), .events = 0, .revents = 0};
  if (!open()) return true;
  return ::poll(&poll, 1, 0) > 0 && (poll.revents & (POLLERR | POLLHUP)) != 0;
}

bool Socket::AtRest() const {
  char byte = 0;
  return open() && ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

std::pair<std::string, uint16_t> Socket::Peer() const {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (::getpeername(fd(), reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0) {
    return {};
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  } else {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
    // An IPv4 client of a socket for both families goes by its IPv4 address.
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
    } else {
      ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    }
  }
  return {text.data(), address.port()};
}

Result<SocketAddress> SocketAddress::Literal(std::string_view ip, uint16_t port) {
  const std::string text(ip);
  SocketAddress address;
  auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    address.size = sizeof v4;
    return address;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
  if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    address.size = sizeof v6;
    return address;
  }
  return Fail(Code::kConfig, "not an IP address: " + text);
}

Result<SocketAddress> SocketAddress::ParseListen(std::string_view text) {
  const auto wrong = [&text] {
    return Fail(Error(Code::kConfig, "cannot listen on \"" + std::string(text) + "\"")
                    .Want("an IP address and a port, such as 127.0.0.1:8402, [::1]:8402 or :8402"));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  const std::string_view digits = text.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty()) {
    return wrong();
  }
  std::string_view ip = text.substr(0, colon);
  if (ip.empty()) return Literal("::", port);
  const bool brackets = ip.size() > 2 && ip.front() == '[' && ip.back() == ']';
  if (brackets) ip = ip.substr(1, ip.size() - 2);
  if (brackets != ip.contains(':')) return wrong();
  auto address = Literal(ip, port);
  if (!address) return wrong();
  return address;
}

uint16_t SocketAddress::port() const {
  return storage.ss_family == AF_INET6
             ? ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port)
             : ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

bool SocketAddress::IsFree() const {
  const int fd = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return true;
  const int on = 1;
  const int off = 0;
  // Past connections that linger do not count; without SO_REUSEPORT every listener does.
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (storage.ss_family == AF_INET6) {
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  const int bound = ::bind(fd, reinterpret_cast<const sockaddr*>(&storage), size);
  const bool taken = bound != 0 && errno == EADDRINUSE;
  ::close(fd);
  return !taken;
}

Result<Listener> Listener::Open(Loop& loop, const SocketAddress& address) {
  const auto failed = [](std::string_view what) {
    return Fail(Code::kConnection,
                "cannot listen: " + std::string(what) + ": " + std::strerror(errno));
  };
  const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("socket");
  Listener listener;
  listener.loop_ = &loop;
  listener.socket_ = Socket(loop, fd);
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (address.storage.ss_family == AF_INET6) {
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) {
    return failed("bind");
  }
  if (::listen(fd, kBacklog) != 0) return failed("listen");
  return listener;
}

uint16_t Listener::port() const {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (::getsockname(socket_.fd(), reinterpret_cast<sockaddr*>(&address.storage), &address.size) !=
      0) {
    return 0;
  }
  return address.port();
}

Listener::AcceptAwaiter Listener::Accept() { return {*loop_, socket_}; }

Listener::AcceptAwaiter::~AcceptAwaiter() {
  if (accepted_ >= 0) ::close(accepted_);
}

IoAwaiter::Step Listener::AcceptAwaiter::Attempt() {
  while (true) {
    accepted_ = ::accept4(fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted_ >= 0) return Step::kDone;
    if (errno == EAGAIN) return Step::kWantRead;
    // One that broke before we came to it is none of ours; the next may be good.
    if (errno == EINTR || errno == ECONNABORTED) continue;
    FailWith(errno);
    return Step::kDone;
  }
}

Result<Socket> Listener::AcceptAwaiter::await_resume() {
  const Result<> result = outcome();
  if (!result) {
    const int error = error_number();
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
      return Fail(Code::kOverloaded, "no descriptors left");
    }
    return Fail(result.error());
  }
  Socket accepted(loop_, std::exchange(accepted_, -1));
  accepted.SetUsualOptions();
  return accepted;
}

}  // namespace pontage
