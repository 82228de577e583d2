#include <cerrno>
#include <cstring>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <netinet/in.h>

#include "base/try.h"
#include "io/socket.h"

namespace pontage {
namespace {

using boost::asio::ip::tcp;

// A name may have many addresses; after so many dead ones it is unreachable.
constexpr size_t kAddresses = 8;

// Looks a name up on the resolver's thread. What the lookup finds after the waiting coroutine has
// gone is dropped: the handler shares only `shared_`.
class ResolveAwaiter final : public DeadlineNode {
 public:
  ResolveAwaiter(Loop& loop, std::string host, uint16_t port, Deadline by)
      : loop_(loop), host_(std::move(host)), port_(port), by_(by), resolver_(loop.context()) {}
  ~ResolveAwaiter() override {
    if (shared_) shared_->waiter = nullptr;
  }

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    shared_ = std::make_shared<Shared>();
    shared_->waiter = this;
    resolver_.async_resolve(host_, std::to_string(port_), tcp::resolver::numeric_service,
                            [shared = shared_](const boost::system::error_code& error,
                                               const tcp::resolver::results_type& results) {
                              if (shared->waiter) shared->waiter->Arrived(error, results);
                            });
    loop_.Watch(*this, by_);
  }
  Result<std::vector<SocketAddress>> await_resume() {
    if (timed_out_) return Fail(Code::kTimeout, "timed out looking up " + host_);
    if (found_.empty()) return Fail(Code::kConnection, "cannot resolve " + host_);
    return std::move(found_);
  }

 private:
  struct Shared {
    ResolveAwaiter* waiter = nullptr;
  };

  void Arrived(const boost::system::error_code& error, const tcp::resolver::results_type& results) {
    Unlink();
    shared_->waiter = nullptr;
    if (!error) {
      for (const auto& entry : results) {
        if (found_.size() == kAddresses) break;
        SocketAddress address;
        const tcp::endpoint endpoint = entry.endpoint();
        std::memcpy(&address.storage, endpoint.data(), endpoint.size());
        address.size = static_cast<socklen_t>(endpoint.size());
        found_.push_back(address);
      }
    }
    handle_.resume();
  }
  void Expire() override {
    shared_->waiter = nullptr;
    timed_out_ = true;
    handle_.resume();
  }

  Loop& loop_;
  std::string host_;
  uint16_t port_;
  Deadline by_;
  tcp::resolver resolver_;
  std::coroutine_handle<> handle_;
  std::shared_ptr<Shared> shared_;
  std::vector<SocketAddress> found_;
  bool timed_out_ = false;
};

Task<Socket> ConnectTo(Loop& loop, SocketAddress address, Deadline by) {
  const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) co_return Fail(Code::kConnection, std::strerror(errno));
  Socket socket(loop, fd);
  socket.SetUsualOptions();
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) {
    if (errno != EINPROGRESS) co_return Fail(Code::kConnection, std::strerror(errno));
    PTG_CO_RUN(co_await socket.Writable(by));
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) co_return Fail(Code::kConnection, std::strerror(error));
  }
  co_return socket;
}

}  // namespace

Task<Socket> Connect(Loop& loop, std::string host, uint16_t port, Deadline by) {
  std::vector<SocketAddress> addresses;
  if (const auto literal = SocketAddress::Literal(host, port)) {
    addresses.push_back(*literal);
  } else {
    ResolveAwaiter resolve(loop, host, port, by);
    PTG_CO_TRY(addresses, co_await resolve);
  }
  Result<Socket> last = Fail(Code::kConnection, "no address of " + host);
  for (size_t i = 0; i < addresses.size(); ++i) {
    // One address that swallows everything leaves half of the time to those behind it.
    const bool more = i + 1 < addresses.size() && by.at() != Deadline::Never().at();
    const Deadline until = more ? Deadline::In(loop.clock(), by.Left(loop.clock()) / 2) : by;
    last = co_await ConnectTo(loop, addresses[i], until);
    if (last || by.Passed(loop.clock())) break;
  }
  co_return last;
}

}  // namespace pontage
