#include "net/server.h"

#include <array>

#include "base/log.h"
#include "base/try.h"
#include "net/connection.h"

namespace pontage::net {
namespace {

// When descriptors have run out, others must give some back first; and no error may make us spin.
constexpr Millis kAcceptPause{50};

}  // namespace

struct Server::Impl {
  explicit Impl(std::shared_ptr<ServerShared> s) : shared(std::move(s)) {}

  // Accepts until the listener is closed. Owns what it uses: it may outlive the Server.
  static Task<> Accept(std::shared_ptr<Impl> self) {
    while (self->listener.open()) {
      Result<Socket> socket = co_await self->listener.Accept();
      if (!socket) {
        if (!self->listener.open()) break;
        Log(LogLevel::kWarn, "http.accept_failed", {{"detail", socket.error().detail()}});
        if (socket.error().code() == Code::kOverloaded) self->DropLongestIdle();
        PTG_CO_RUN(co_await Sleep(kAcceptPause));
        continue;
      }
      self->Take(*std::move(socket));
    }
    co_return {};
  }

  void Take(Socket socket) {
    ServerShared& s = *shared;
    if (s.count >= s.limits.connections) {
      if (s.idle.alone()) {
        if (s.tls) return;  // Saying why would take the handshake that there is no room for.
        // Everybody is at work: say so, in one attempt.
        const std::string answer = MinimalAnswer({503, "too many connections"}, s.NextRequestId());
        const iovec piece{const_cast<char*>(answer.data()), answer.size()};
        socket.TryWrite({&piece, 1});
        socket.ShutdownWrite();
        return;
      }
      DropLongestIdle();
    }
    if (s.tls && s.handshakes >= s.limits.handshakes) DropFirst(s.shaking);
    Transport transport(std::move(socket));
    auto connection = std::make_unique<Connection>(shared, std::move(transport));
    s.loop.Spawn(Connection::Run(std::move(connection)), "http.connection");
  }

  // Whoever has been idle the longest makes room.
  void DropLongestIdle() { DropFirst(shared->idle); }
  static void DropFirst(IoLink& list) {
    if (list.alone()) return;
    Connection& longest = Connection::OfParked(*list.after);
    list.after->Unlink();
    longest.Close();
  }

  std::shared_ptr<ServerShared> shared;
  Listener listener;
};

Server::Server(Loop& loop, ServerLimits limits, Handler handler)
    : impl_(std::make_shared<Impl>(
          std::make_shared<ServerShared>(loop, limits, std::move(handler)))) {
  impl_->shared->none.Set();
}

Server::~Server() {
  impl_->listener.Close();
  impl_->shared->draining = true;
}

void Server::NameRefusals(std::function<std::string()> request_id) {
  impl_->shared->request_id = std::move(request_id);
}

void Server::UseTls(std::shared_ptr<const TlsServerContext> tls) {
  impl_->shared->tls = std::move(tls);
}

Result<> Server::Listen(std::string_view address) {
  PTG_TRY(const SocketAddress where, SocketAddress::ParseListen(address));
  Loop& loop = impl_->shared->loop;
  Result<Listener> listener = Listener::Open(loop, where);
  if (!listener && address.starts_with(':')) {
    // A machine without IPv6.
    PTG_TRY(const SocketAddress v4, SocketAddress::Literal("0.0.0.0", where.port()));
    listener = Listener::Open(loop, v4);
  }
  if (!listener) return Fail(listener.error());
  impl_->listener = *std::move(listener);
  loop.Spawn(Impl::Accept(impl_), "http.accept");
  return {};
}

Task<> Server::Drain(Deadline by) {
  const std::shared_ptr<Impl> impl = impl_;
  ServerShared& shared = *impl->shared;
  impl->listener.Close();
  shared.draining = true;
  // Those who speak HTTP/2 are told; they leave the list of the idle by themselves.
  for (IoLink* link = shared.all.after; link != &shared.all; link = link->after) {
    Connection::OfEverywhere(*link).BeginDrain();
  }
  while (!shared.idle.alone()) impl->DropLongestIdle();
  while (!shared.shaking.alone()) Impl::DropFirst(shared.shaking);
  const Result<> finished = co_await shared.none.Wait(by);
  if (finished) co_return {};
  for (IoLink* link = shared.all.after; link != &shared.all; link = link->after) {
    Connection::OfEverywhere(*link).Abort();
  }
  // Nobody is waited for any more, by an earlier call with more patience neither.
  shared.none.Set();
  co_return {};
}

Result<> CheckAddressFree(std::string_view address) {
  PTG_TRY(const SocketAddress where, SocketAddress::ParseListen(address));
  if (where.port() != 0 && !where.IsFree()) {
    return Fail(Code::kConnection,
                "cannot listen on " + std::string(address) + ": the address is in use");
  }
  return {};
}

uint16_t Server::port() const { return impl_->listener.port(); }
size_t Server::connections() const { return impl_->shared->count; }

}  // namespace pontage::net
