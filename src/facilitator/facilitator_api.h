#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/secret.h"
#include "base/time.h"
#include "chain/chain_id.h"
#include "chain/registry.h"
#include "codec/json.h"
#include "crypto/evm_address.h"
#include "net/message.h"
#include "net/server.h"
#include "settle/local_facilitator.h"

namespace pontage::facilitator {

struct ApiOptions {
  // /verify, /settle and /supported stand under /facilitator, and with this without it too: where
  // no gateway has routes of its own there.
  bool at_root = false;
  // Who may use it (Authorization: Bearer). Without any it serves everybody, but only payments in
  // listed assets to one of `pay_to`: nobody else's sales burn our gas.
  std::vector<Secret> tokens;
  std::vector<std::pair<chain::ChainId, crypto::EvmAddress>> pay_to;
  // Calls under way at once; more hear 429. Each holds a body of at most 64 KiB and waits for a
  // node, so this is some 64 MiB at worst.
  size_t in_flight = 1'000;
  Millis verify_timeout{10'000};
  // How long a settlement is waited for unless the caller says how long he listens (Prefer: wait):
  // less than the gateway's own settle_timeout, so that settlement_pending, or the success, is
  // heard and not told to a connection that was given up.
  Millis settle_timeout{25'000};
};

// The longest that is waited for anybody: half of what the official clients wait.
inline constexpr Millis kMostSettleWait{45'000};
// `wait` of a Prefer header (RFC 7240, 4.3), in whole seconds; nullopt when there is none. Pure.
std::optional<Millis> WaitOf(std::string_view prefer);

// A payment with its extensions is at most some 20 KiB; the official facilitator's framework stops
// at 100.
inline constexpr size_t kMaxBody = 64 * 1024;

// The facilitator's HTTP interface (x402 specification, "Facilitator"): POST /verify, POST /settle,
// GET /supported, of both protocol versions. What the protocol decides is 200, a good payment or a
// bad one. Everything else is problem+json: 400 for what cannot be read (with pointer and expected,
// and with the official members, so that their clients keep the reason), 401, 403 (not ours to
// settle), 404, 405, 413, 429, and 503 when the chain or the store does not answer, which says
// nothing about the payment. Safe to use from every loop.
class FacilitatorApi {
 public:
  // `facilitator`, `assets`, `clock` and `rng` outlive it.
  FacilitatorApi(settle::LocalFacilitator& facilitator, const chain::AssetRegistry& assets,
                 ApiOptions options, const Clock& clock, Rng& rng);

  // Whether a request for this target is one of ours (perhaps with the wrong method).
  bool Serves(std::string_view target) const;
  // A net::Handler. Answers 404 for what it does not serve.
  Task<> Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out);

  // What GET /supported says.
  Task<codec::Json> SupportedJson(Deadline by);

 private:
  enum class Call : uint8_t { kNone, kVerify, kSettle, kSupported };
  struct Answer {
    int status = 200;
    codec::Json json;
    bool problem = false;
    std::string allow;          // of 405
    std::string retry_after;    // of 429 and 503
    bool authenticate = false;  // of 401
  };

  Call CallOf(std::string_view target) const;
  bool MayCall(const net::RequestHead& head) const;
  Result<x402::FacilitatorRequest> Read(std::string_view body) const;
  Result<> CheckPolicy(const x402::Requirements& requirements) const;
  Task<Answer> Decide(Call call, const net::RequestHead& head, net::BodySource& body,
                      std::optional<x402::FacilitatorRequest>& told);
  Task<> Write(Answer answer, net::ResponseWriter& out) const;

  settle::LocalFacilitator& facilitator_;
  const chain::AssetRegistry& assets_;
  ApiOptions options_;
  const Clock& clock_;
  Rng& rng_;
  std::atomic<size_t> under_way_{0};
};

}  // namespace pontage::facilitator
