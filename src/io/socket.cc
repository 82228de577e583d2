#include "io/socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/try.h"
#include "io/ready_set.h"

namespace pontage {
namespace {

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
// Up to here copying is cheaper than a list of pieces.
constexpr size_t kTogether = 4096;

}  // namespace

// Edges are told once: `readable` keeps the last one until a read has found nothing more, so that
// nobody asks the kernel for what it has already said. Who waits for readiness believes without
// asking only the edge that wakes him, while it is `told`.
struct Socket::State final : Ready, std::enable_shared_from_this<Socket::State> {
  State(Loop& l, int f) : loop(l), fd(f) {}
  ~State() override { Close(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static size_t Side(IoAwaiter::Step wanted) {
    return wanted == IoAwaiter::Step::kWantWrite ? 1 : 0;
  }

  void Edge(uint32_t events) override {
    const std::shared_ptr<State> self = shared_from_this();
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) ended = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
      readable = told = true;
      Fire(*self, 0);
      told = false;
    }
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) Fire(*self, 1);
  }

  // Lets everybody who waits for `side` try again. Whoever resumes may destroy others who wait, or
  // close the socket: nobody is touched after that but through the list.
  static void Fire(State& self, size_t side) {
    IoLink round;
    round.TakeAll(self.waiting[side]);
    while (!round.alone()) {
      auto* const waiter = static_cast<IoAwaiter*>(round.after);
      static_cast<IoLink*>(waiter)->Unlink();
      if (self.closed) {
        waiter->closed_ = true;
      } else if (const IoAwaiter::Step wanted = waiter->Attempt();
                 wanted != IoAwaiter::Step::kDone) {
        self.waiting[Side(wanted)].Append(*waiter);
        continue;
      }
      static_cast<DeadlineNode*>(waiter)->Unlink();
      self.told = false;
      waiter->handle_.resume();
    }
  }

  // Those who wait for `side` try again after everybody else has had a turn.
  void FireSoon(size_t side) {
    loop.Post([self = shared_from_this(), side] { Fire(*self, side); });
  }

  ssize_t Read(std::span<char> into);
  ssize_t Write(std::span<const iovec> pieces);

  void Close() {
    if (std::exchange(closed, true)) return;
    if (ReadySet* const set = loop.sockets()) set->Forget(*this);
    ::close(fd);
  }

  Loop& loop;
  int fd;
  bool closed = false;
  bool readable = true;
  bool told = false;
  bool ended = false;
  std::array<IoLink, 2> waiting;
  uint32_t budget = kBudget;
  uint64_t written = 0;
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
  Socket::State& state = *socket_->state_;
  const size_t side = Socket::State::Side(wanted_);
  state.waiting[side].Append(*this);
  // Who gives way has not tried: no edge need come for what is there already.
  if (std::exchange(state.budget, kBudget) == 0) state.FireSoon(side);
  state.loop.Watch(*this, by_);
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

Socket::Socket(Loop& loop, int fd) : state_(std::make_shared<State>(loop, fd)) {
  PTG_CHECK(loop.sockets() != nullptr);
  if (!loop.sockets()->Add(fd, *state_)) state_->Close();
}

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

ssize_t Socket::State::Read(std::span<char> into) {
  if (closed || !readable) {
    errno = closed ? EBADF : EAGAIN;
    return -1;
  }
  ssize_t n = 0;
  do {
    n = ::recv(fd, into.data(), into.size(), 0);
  } while (n < 0 && errno == EINTR);
  // What comes after a read that could have taken more makes an edge of its own; an end that was
  // told already makes none.
  const bool drained = n < 0 ? errno == EAGAIN : static_cast<size_t>(n) < into.size();
  if (drained && !ended) readable = false;
  return n;
}

ssize_t Socket::State::Write(std::span<const iovec> pieces) {
  const int to = closed ? -1 : fd;
  size_t all = 0;
  for (const iovec& piece : pieces) all += piece.iov_len;
  // One piece goes by a shorter way into the kernel than a list of one or two, by a twentieth of
  // what sending costs: a head with a small body is made one.
  static thread_local std::array<char, kTogether> together;
  const void* one = pieces.size() == 1 ? pieces.front().iov_base : nullptr;
  if (pieces.size() > 1 && all <= together.size()) {
    char* at = together.data();
    for (const iovec& piece : pieces) {
      at = std::copy_n(static_cast<const char*>(piece.iov_base), piece.iov_len, at);
    }
    one = together.data();
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  ssize_t n = 0;
  do {
    n = one != nullptr ? ::send(to, one, all, MSG_NOSIGNAL) : ::sendmsg(to, &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n > 0) written += static_cast<uint64_t>(n);
  return n;
}

ssize_t Socket::TryRead(std::span<char> into) { return state_->Read(into); }
ssize_t Socket::TryWrite(std::span<const iovec> pieces) { return state_->Write(pieces); }

SocketBytes::SocketBytes(const Socket& socket) : state_(socket.state_) {}
ssize_t SocketBytes::Read(std::span<char> into) { return state_->Read(into); }
ssize_t SocketBytes::Write(std::string_view bytes) {
  const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  return state_->Write({&piece, 1});
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
  if (!write_) {
    Socket::State& state = *socket().state_;
    if (!state.readable) return Step::kWantRead;
    if (state.told) return Step::kDone;
  }
  pollfd poll{.fd = fd(), .events = static_cast<int16_t>(write_ ? POLLOUT : POLLIN), .revents = 0};
  if (::poll(&poll, 1, 0) > 0) return Step::kDone;
  if (!write_) socket().state_->readable = socket().state_->ended;
  return write_ ? Step::kWantWrite : Step::kWantRead;
}

uint64_t Socket::written() const { return state_->written; }

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
  state_->Close();
  for (const size_t side : {0U, 1U}) {
    if (!state_->waiting[side].alone()) state_->FireSoon(side);
  }
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
  if (!open()) return false;
  if (!state_->readable) return true;
  char byte = 0;
  return ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
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
  const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const auto failed = [fd](std::string_view what) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) ::close(fd);
    return Fail(Code::kConnection, "cannot listen: " + std::string(what) + ": " + why);
  };
  if (fd < 0) return failed("socket");
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
  // Only now: a socket that does not listen yet is one that has hung up.
  Listener listener;
  listener.loop_ = &loop;
  listener.socket_ = Socket(loop, fd);
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
