#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ledger/ledger.h"
#include "ledger/reservation.h"
#include "net/client.h"
#include "net/server.h"
#include "paywall/reply.h"
#include "paywall/upload.h"

namespace pontage::paywall {

// The upstream's answer on its way to the buyer: a head, what was held of its body, and the rest.
struct Answer {
  std::unique_ptr<net::ClientResponse> response;
  std::string held;
  bool complete = false;  // `held` is the whole body
};

// Whether the answer has to be settled before it is complete: event streams, protocol switches, and
// bodies that say they are longer than `hold_max`. Pure.
bool MustStream(const net::ResponseHead& head, std::optional<uint64_t> body_size, size_t hold_max);

// Reads the body until its end or just beyond `hold_max`. Fails when the upstream breaks off.
Task<> Hold(Answer& answer, size_t hold_max, Deadline by);

// Whose doing it is that an upstream broke off its answer when a part of it had left. Pure.
struct Break {
  bool upload_failed = false;  // the buyer had broken off his request, or was waited for
  bool client_gone = false;    // or had left
  Millis client_held{0};       // how long the client let us wait while it was sent
};
// An upstream gives up on an answer that nobody takes (nginx after 60 s, others sooner, some after
// a fixed time for the whole): with a client that held it back for this long that is his doing.
inline constexpr Millis kHeldBack{1'000};
ledger::Ledger::Ending WhoBroke(const Break& broke);

// Sends head, held bytes and the rest, with back-pressure. `receipt` goes into the head. `upload`:
// of a sale, the request's body. The result says who broke off, if anybody: delivered, broken (the
// client) or owed (the upstream).
struct Receipt {
  std::string name;
  std::string value;
};
Task<ledger::Ledger::Ending> Deliver(Reply& reply, Answer& answer,
                                     const std::optional<Receipt>& receipt, Millis idle,
                                     const Clock& clock, const Upload* upload = nullptr);

// How the answer to a buyer may be cached: "private" joins what the upstream says, and "public"
// leaves.
std::string PrivateCacheControl(std::string_view theirs);
// So that no shared cache keeps an answer: that Cache-Control, and nothing that speaks to some
// caches alone.
void KeepPrivate(net::Headers& headers);

// The stored form of a whole answer, for routes with replay = "answer". None of one whose fields
// are not ASCII: it cannot be kept.
std::optional<ledger::Ledger::StoredAnswer> ToStored(const Answer& answer);
// Sends a stored answer again.
Task<> SendStored(Reply& reply, const ledger::Ledger::StoredAnswer& stored, const Receipt& receipt);

}  // namespace pontage::paywall
