#pragma once

#include <memory>
#include <string>

#include "base/time.h"
#include "io/task.h"
#include "net/client.h"

namespace pontage::paywall {

// What is sold: one run of the seller's work. The gateway's is "forward to the upstream"; an MCP
// tool's is a call. Called at most once for a reservation, but for one that is owed.
class Work {
 public:
  virtual ~Work() = default;
  // Asked once before each Run, and before anything is written or paid for it: whether there is
  // room for the work now. Waits a little where it may. kUpstreamBusy, kUpstreamDown: nothing was
  // begun, and the caller should come again.
  virtual Task<> Admit();
  // `idempotency_key` is the reservation's id, the same for every run of it; empty for free work.
  // `body` is the request's body and outlives the answer. `by`: the answer's head; a body that is
  // still on its way may move that, but never past `latest`. The answer's head has been cleared of
  // what must not reach a buyer (receipts, settlement overrides, hop-by-hop fields). Errors: those
  // of net::Client::Send.
  virtual Task<std::unique_ptr<net::ClientResponse>> Run(const std::string& idempotency_key,
                                                         net::BodySource& body, Deadline by,
                                                         Deadline latest) = 0;
};

}  // namespace pontage::paywall
