#include "scheme/transfer_proof.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/fault.h"

namespace pontage::scheme {
namespace {

struct Step {
  std::optional<chain::AuthorizationUsedEvent> used;
  std::optional<chain::TransferEvent> moved;
};

// Up to the next authorization in that direction: the transfers of `payer`.
struct Found {
  bool any = false;
  bool match = false;
};
Found Segment(const std::vector<Step>& steps, size_t at, bool forward,
              const crypto::EvmAddress& payer, const TransferClaim& claim) {
  Found found;
  for (size_t i = at;;) {
    if (forward ? ++i >= steps.size() : i-- == 0) break;
    if (steps[i].used && PTG_PLANTED("count_log_twice")) continue;
    if (steps[i].used) break;
    const chain::TransferEvent& t = *steps[i].moved;
    if (t.from != payer) continue;
    found.any = true;
    if (t.to == claim.to && t.value == claim.value) found.match = true;
  }
  return found;
}

// Whether the token writes its Transfer before its AuthorizationUsed. Told by the logs alone, never
// by whose payment is asked for: so each transfer belongs to one authorization, whoever asks.
bool TransferFirst(const std::vector<Step>& steps, const TransferClaim& claim) {
  std::optional<size_t> first;
  std::optional<size_t> last;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!steps[i].used) continue;
    if (!first) first = i;
    last = i;
  }
  if (!first) return false;
  const auto any = [&](size_t at, bool forward) {
    return Segment(steps, at, forward, steps[at].used->authorizer, claim).any;
  };
  return !any(*last, true) && any(*first, false);
}

}  // namespace

Proof ProveTransfer(std::span<const chain::EvmLog> logs, const TransferClaim& claim) {
  std::vector<const chain::EvmLog*> own;
  for (const chain::EvmLog& log : logs) {
    if (log.address == claim.asset) own.push_back(&log);
  }
  std::ranges::sort(own, {}, [](const chain::EvmLog* log) { return log->log_index; });
  // A log that appears twice in an answer is one log.
  const auto repeated =
      std::ranges::unique(own, {}, [](const chain::EvmLog* log) { return log->log_index; });
  own.erase(repeated.begin(), repeated.end());
  std::vector<Step> steps;
  for (const chain::EvmLog* log : own) {
    Step step{chain::AsAuthorizationUsed(*log), chain::AsTransfer(*log)};
    if (step.used || step.moved) steps.push_back(std::move(step));
  }
  const bool forward = !TransferFirst(steps, claim);
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!steps[i].used || steps[i].used->authorizer != claim.payer ||
        steps[i].used->nonce != claim.nonce) {
      continue;
    }
    const bool paid = Segment(steps, i, forward, claim.payer, claim).match;
    return paid ? Proof::kPaid : Proof::kElsewhere;
  }
  return Proof::kUnused;
}

}  // namespace pontage::scheme
