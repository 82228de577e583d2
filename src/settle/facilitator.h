#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "deal/deal.h"
#include "io/task.h"
#include "wire/x402/types.h"

namespace pontage::settle {

// Who verifies payments and moves the money: our own (local_facilitator) or somebody else's over
// HTTP (remote_facilitator). One object serves all loops.
//
// Contract: Verify never moves money and may be called again. Settle is idempotent by the payment:
// a second call with the same payment gives the first outcome and never pays twice. Protocol
// outcomes are values; an Error means that nothing is known about the payment itself:
//   Verify: kChainUnreachable, kFacilitatorUnreachable, kFacilitatorAnswer, kTimeout. Nothing
//   happened. Settle: the same codes only when it is certain that nothing was sent to a chain.
class Facilitator {
 public:
  virtual ~Facilitator() = default;

  // A payment that is not good is a value with valid = false and the reason of its version.
  virtual Task<x402::VerifyAnswer> Verify(const x402::Payment& payment,
                                          const x402::Requirements& requirements, Deadline by) = 0;

  enum class Outcome : uint8_t {
    kSettled,  // the money moved; answer.transaction is the hash
    kRefused,  // it did not and will not by this call; the authorization is provably unused
    kUnknown,  // it may have moved or may still: answer.transaction if a hash is known. Ask Settle
               // again.
  };
  struct Settlement {
    Outcome outcome = Outcome::kUnknown;
    x402::SettleAnswer answer;
  };
  virtual Task<Settlement> Settle(const x402::Payment& payment,
                                  const x402::Requirements& requirements, Deadline by) = 0;
  // The same for a sale in the caller's books. Who asks somebody else must say whether he has asked
  // before: only the first answer ever heard may be a plain refusal.
  virtual Task<Settlement> SettleSale(const x402::Payment& payment,
                                      const x402::Requirements& requirements, deal::Asking,
                                      Deadline by) {
    return Settle(payment, requirements, by);
  }

  // Did this payment's money arrive, whoever sent it? Asks the chain and changes nothing. kUsed:
  // the authorization was used and paid the payee of `requirements` (settlement.answer is filled);
  // kUsedElsewhere: used, but not for us; kUnused; kUnknown when it cannot be told (a remote
  // facilitator without an rpc of ours).
  enum class Trace : uint8_t { kUnknown, kUnused, kUsed, kUsedElsewhere };
  struct Traced {
    Trace trace = Trace::kUnknown;
    x402::SettleAnswer answer;
    // The chain's own time at which the trace is true, or a little before: an authorization that
    // was unused well after its end will never be used, whatever our clock says.
    UnixMs as_of;
  };
  virtual Task<Traced> Lookup(const x402::Payment& payment, const x402::Requirements& requirements,
                              Deadline by) = 0;

  // GET /supported of it: what may be offered. `extra` goes into the offer's extra.
  struct Kind {
    int version = 2;
    std::string scheme;
    std::string network;  // as that version spells it
    codec::Json extra;
  };
  virtual Task<std::vector<Kind>> Supported(Deadline by) = 0;

  virtual std::string_view name() const = 0;  // "local", or the remote's host
};

}  // namespace pontage::settle
