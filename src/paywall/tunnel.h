#pragma once

#include "ledger/ledger.h"
#include "net/client.h"
#include "paywall/reply.h"

namespace pontage::paywall {

// After an upstream's 101 (`head`, cleared and decorated): sends it and carries bytes both ways,
// with back-pressure, until both sides have ended or one is gone. A side that has ended its own
// half still hears the other for `closing`. Broken when the head could not be handed over; from
// then on the connection is what was sold, and however it ends it was delivered: its end tells
// nothing about whose fault that was, and a reset must not be a second session for the same money.
Task<ledger::Delivery> Tunnel(Reply& reply, net::ClientResponse& upstream, net::ResponseHead head,
                              Millis closing, const Clock& clock);

}  // namespace pontage::paywall
