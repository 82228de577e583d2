#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/money.h"
#include "base/secret.h"
#include "base/time.h"
#include "chain/registry.h"
#include "chain/view.h"
#include "net/loop_clients.h"
#include "settle/facilitator.h"
#include "settle/remote_answers.h"

namespace pontage::settle {

// Answers are a few hundred bytes; /supported of one that serves every chain some 20 KiB.
inline constexpr size_t kMaxFacilitatorAnswer = 256 * 1024;

struct RemoteOptions {
  struct Endpoint {
    std::string url;  // what /verify, /settle and /supported are appended to
    Secret token;     // Authorization: Bearer; empty: none
  };
  std::vector<Endpoint> endpoints;  // in the order they are tried
  Millis verify_timeout{10'000};
  Millis settle_timeout{90'000};  // what the official clients allow
  // A refused or failed connect keeps others from trying for so long.
  Millis circuit{500};
  Millis supported_age{300'000};
  // Chains of our own. Lookup asks them, and whatever the facilitator leaves in doubt is decided by
  // them.
  struct View {
    chain::EvmView* view = nullptr;
    uint64_t confirmations = 1;
    std::optional<Money> quorum_above = std::nullopt;
  };
  std::vector<View> views;
  // A success and a refusal too are believed only when such a chain agrees.
  bool check = false;
};

// Somebody else's facilitator over HTTP. What it says is checked for types and against what was
// asked. It is believed about a success, and with `check` only when the transfer is on the chain;
// about a refusal only when it is the first that was heard of the payment. Only a failed connect
// counts against an endpoint; one that answers, however wrongly, or hangs up, is asked again for
// the next payment. A /settle goes to another endpoint only when nothing was sent to the one
// before. Safe to use from every loop.
class RemoteFacilitator final : public Facilitator {
 public:
  // `assets`, `clock` and the views outlive it. kConfig when there is no endpoint or one is no URL.
  static Result<std::unique_ptr<RemoteFacilitator>> Make(RemoteOptions options,
                                                         const chain::AssetRegistry& assets,
                                                         const Clock& clock);

  Task<x402::VerifyAnswer> Verify(const x402::Payment& payment,
                                  const x402::Requirements& requirements, Deadline by) override;
  Task<Settlement> Settle(const x402::Payment& payment, const x402::Requirements& requirements,
                          Deadline by) override;
  // Tells the facilitator the sale's name (Idempotency-Key), so that one which keeps it repeats its
  // success, and how long it may wait (Prefer), so that its answer comes while it is listened to.
  Task<Settlement> SettleSale(const x402::Payment& payment, const x402::Requirements& requirements,
                              deal::Asking asking, Deadline by) override;
  Task<Traced> Lookup(const x402::Payment& payment, const x402::Requirements& requirements,
                      Deadline by) override;
  Task<std::vector<Kind>> Supported(Deadline by) override;
  std::string_view name() const override { return name_; }

 private:
  struct Endpoint {
    net::Url url;
    Secret token;
    std::atomic<int64_t> closed_until{INT64_MIN};  // steady ms: not tried before
  };
  // Of one exchange with one endpoint.
  struct Heard {
    int status = 0;
    std::string body;
    std::optional<Millis> retry_after;
  };

  RemoteFacilitator(RemoteOptions options, const chain::AssetRegistry& assets, const Clock& clock)
      : options_(std::move(options)), assets_(assets), clock_(clock) {}

  bool MayTry(const Endpoint& endpoint) const;
  // kUpstreamUnreachable: nothing was sent.
  Task<Heard> Exchange(Endpoint& endpoint, std::string_view path, const std::string& body,
                       Deadline by, std::string_view sale = {});
  Task<SettleReading> AskSettle(const std::string& body, const Expected& expected,
                                deal::Asking asking, Deadline by);
  // What our own view of the chain says about it, if there is one.
  Task<Settlement> Check(const x402::Payment& payment, const x402::Requirements& requirements,
                         SettleReading reading, Deadline by);
  Task<std::vector<Kind>> FetchSupported(Deadline by);
  const RemoteOptions::View* ViewOf(const x402::Requirements& requirements) const;

  RemoteOptions options_;
  const chain::AssetRegistry& assets_;
  const Clock& clock_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::string name_;
  net::LoopClients clients_;
  std::mutex mutex_;
  std::vector<Kind> kinds_;
  std::optional<SteadyMs> kinds_at_;
};

}  // namespace pontage::settle
