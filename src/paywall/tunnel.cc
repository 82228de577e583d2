#include "paywall/tunnel.h"

#include <memory>

#include "base/try.h"
#include "io/fork.h"
#include "io/timer.h"

namespace pontage::paywall {
namespace {

// What both directions tell the one that waits for them. Shared with what is posted to the loop,
// which may come after everything else.
struct Ends {
  Event changed;
  bool up = false;      // the client has said its last
  bool down = false;    // the upstream has
  bool broken = false;  // one of them is gone

  // Wakes through the loop: who is woken destroys the task that calls this.
  static void Tell(const std::shared_ptr<Ends>& ends) {
    Loop::Current()->Post([ends] { ends->changed.Set(); });
  }
};

Task<> CarryUp(net::BodySource& client, net::ClientResponse& upstream) {
  while (true) {
    PTG_CO_TRY(const std::string_view piece, co_await client.Read(Deadline::Never()));
    if (piece.empty()) break;
    PTG_CO_RUN(co_await upstream.WriteRaw(piece, Deadline::Never()));
  }
  upstream.EndRaw();
  co_return {};
}

Task<> CarryDown(net::BodySource& upstream, net::ResponseWriter& client) {
  while (true) {
    PTG_CO_TRY(const std::string_view piece, co_await upstream.Read(Deadline::Never()));
    if (piece.empty()) break;
    PTG_CO_RUN(co_await client.Write(piece));
  }
  co_return co_await client.End();
}

Task<> Up(net::BodySource& client, net::ClientResponse& upstream, std::shared_ptr<Ends> ends) {
  const Result<> carried = co_await CarryUp(client, upstream);
  ends->up = true;
  ends->broken = ends->broken || !carried;
  Ends::Tell(ends);
  co_return {};
}

Task<> Down(net::BodySource& upstream, net::ResponseWriter& client, std::shared_ptr<Ends> ends) {
  const Result<> carried = co_await CarryDown(upstream, client);
  ends->down = true;
  ends->broken = ends->broken || !carried;
  Ends::Tell(ends);
  co_return {};
}

}  // namespace

Task<ledger::Delivery> Tunnel(Reply& reply, net::ClientResponse& upstream, net::ResponseHead head,
                              Millis closing, const Clock& clock) {
  net::ResponseWriter& out = reply.out();
  if (!co_await out.Upgrade(std::move(head))) co_return ledger::Delivery::kBroken;
  const auto ends = std::make_shared<Ends>();
  Fork up(Up(*reply.client(), upstream, ends));
  Fork down(Down(upstream.body(), out, ends));
  while (!ends->broken && !(ends->up && ends->down)) {
    const bool one = ends->up || ends->down;
    const Deadline by = one ? Deadline::In(clock, closing) : Deadline::Never();
    if (!co_await ends->changed.Wait(by)) break;
    ends->changed.Clear();
  }
  up.Stop();
  down.Stop();
  if (!ends->down) out.Abort();
  co_return ledger::Delivery::kDelivered;
}

}  // namespace pontage::paywall
