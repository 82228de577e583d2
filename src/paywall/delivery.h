#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ledger/ledger.h"
#include "ledger/reservation.h"
#include "net/client.h"
#include "net/server.h"
#include "paywall/reply.h"

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

// Sends head, held bytes and the rest, with back-pressure. `receipt` goes into the head. The result
// says who broke off, if anybody: delivered, broken (the client) or owed (the upstream).
struct Receipt {
  std::string name;
  std::string value;
};
Task<ledger::Delivery> Deliver(Reply& reply, Answer& answer, const std::optional<Receipt>& receipt,
                               Millis idle, const Clock& clock);

// How the answer to a buyer may be cached: "private" joins what the upstream says, and "public"
// leaves.
std::string PrivateCacheControl(std::string_view theirs);

// The stored form of a whole answer, for routes with replay = "answer".
ledger::Ledger::StoredAnswer ToStored(const Answer& answer);
// Sends a stored answer again.
Task<> SendStored(Reply& reply, const ledger::Ledger::StoredAnswer& stored, const Receipt& receipt);

// A body whose first part was read already.
class PrefixedBody final : public net::BodySource {
 public:
  PrefixedBody(std::string prefix, net::BodySource& rest)
      : prefix_(std::move(prefix)), rest_(rest) {}
  Task<std::string_view> Read(Deadline by) override;
  std::optional<uint64_t> length() const override { return rest_.length(); }
  bool empty() const override { return prefix_.empty() && rest_.empty(); }
  const net::Headers& trailers() const override { return rest_.trailers(); }

 private:
  std::string prefix_;
  net::BodySource& rest_;
  bool given_ = false;
};

// Reads up to `max` bytes of a body. Gives them and a body that begins with them.
struct Captured {
  std::string first;
  std::unique_ptr<net::BodySource> body;
};
Task<Captured> Capture(net::BodySource& body, size_t max, Deadline by);

}  // namespace pontage::paywall
