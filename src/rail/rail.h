#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/time.h"
#include "deal/deal.h"
#include "io/task.h"
#include "net/message.h"

namespace pontage::rail {

// Where the money of a stored payment stands, by the chain's own word.
enum class Trace : uint8_t { kUnknown, kUnused, kUsed, kUsedElsewhere };
struct Traced {
  Trace trace = Trace::kUnknown;
  deal::Settlement settlement;  // of kUsed: settled, with hash and receipt
  UnixMs as_of;                 // the chain's time, not ours, of what it said; 0 where it said none
};

// A way to pay for one request. One object per configured rail serves all threads; every method is
// safe to call concurrently. To add a rail, implement this and name it in app/compose.cc.
//
// Contract: Find and Offer are pure. Verify never moves money and may be called again. Settle is
// idempotent by the payment: a second call gives the first outcome. A settlement that is kUnknown
// may have moved money; the ledger keeps the hold and the sweeper asks again.
class Rail {
 public:
  virtual ~Rail() = default;

  // "x402", "license", "api_key": as written in config, metrics and receipts.
  virtual std::string_view name() const = 0;

  // The credential of this rail in the request, if there is one. Does not judge it, but refuses
  // what could be read in two ways (a header given twice) or is too long to be looked at.
  virtual Result<std::optional<deal::Credential>> Find(const net::Headers& headers) const = 0;
  // Which request headers carry credentials of this rail and stay with us.
  virtual bool IsOwnHeader(std::string_view name) const = 0;

  // Adds to a refusal what this rail would accept for `quote`; `why` is what was wrong,
  // kPaymentRequired when nothing was presented.
  virtual void Offer(const deal::Quote& quote, const Error& why,
                     deal::Challenge& challenge) const = 0;

  // Who pays, and up to how much; or why the credential is not good for `quote`.
  virtual Task<deal::Grant> Verify(const deal::Credential& credential, const deal::Quote& quote,
                                   Deadline by) const = 0;
  // What the credential claims to be, unverified: for recognizing one that was used before. Fails
  // when it cannot be read.
  virtual Result<deal::Grant> Claim(const deal::Credential& credential,
                                    const deal::Quote& quote) const = 0;

  // Collects the grant. `payload`, `requirement` and `version` are those of the grant, perhaps out
  // of the ledger after a crash; `asking` says for which sale.
  virtual Task<deal::Settlement> Settle(const std::string& payload, const std::string& requirement,
                                        deal::Asking asking, Deadline by) const = 0;
  virtual Task<Traced> Lookup(const std::string& payload, const std::string& requirement,
                              Deadline by) const = 0;

  // The response header that carries a receipt (the JSON of a Settlement) of that protocol version.
  virtual std::pair<std::string_view, std::string> ReceiptHeader(
      int version, const std::string& receipt) const = 0;
};

}  // namespace pontage::rail
