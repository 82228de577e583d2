#include "scheme/transfer_proof.h"

#include <algorithm>

#include "base/fault.h"

namespace pontage::scheme {

// Up to the next authorization in that direction: the transfers of `payer`, and whether one of them
// is what `claim` says.
TransferLogs::Found TransferLogs::Segment(size_t at, bool forward, const crypto::EvmAddress& payer,
                                          const TransferClaim* claim) const {
  Found found;
  for (size_t i = at;;) {
    if (forward ? ++i >= steps_.size() : i-- == 0) break;
    if (steps_[i].used && PTG_PLANTED("count_log_twice")) continue;
    if (steps_[i].used) break;
    const chain::TransferEvent& t = *steps_[i].moved;
    if (t.from != payer) continue;
    found.any = true;
    if (claim != nullptr && t.to == claim->to && t.value == claim->value) found.match = true;
  }
  return found;
}

// Whether the token writes its Transfer before its AuthorizationUsed. Told by the logs alone, never
// by whose payment is asked for: so each transfer belongs to one authorization, whoever asks.
bool TransferLogs::TransferFirst() const {
  std::optional<size_t> first;
  std::optional<size_t> last;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (!steps_[i].used) continue;
    if (!first) first = i;
    last = i;
  }
  if (!first) return false;
  const auto any = [&](size_t at, bool forward) {
    return Segment(at, forward, steps_[at].used->authorizer, nullptr).any;
  };
  return !any(*last, true) && any(*first, false);
}

TransferLogs::TransferLogs(std::span<const chain::EvmLog> logs, crypto::EvmAddress asset)
    : asset_(asset) {
  std::vector<const chain::EvmLog*> own;
  for (const chain::EvmLog& log : logs) {
    if (log.address == asset) own.push_back(&log);
  }
  std::ranges::sort(own, {}, [](const chain::EvmLog* log) { return log->log_index; });
  // A log that appears twice in an answer is one log.
  const auto repeated =
      std::ranges::unique(own, {}, [](const chain::EvmLog* log) { return log->log_index; });
  own.erase(repeated.begin(), repeated.end());
  for (const chain::EvmLog* log : own) {
    Step step{chain::AsAuthorizationUsed(*log), chain::AsTransfer(*log)};
    if (step.used || step.moved) steps_.push_back(std::move(step));
  }
  forward_ = !TransferFirst();
}

Proof TransferLogs::Prove(const TransferClaim& claim) const {
  if (claim.asset != asset_) return Proof::kUnused;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (!steps_[i].used || steps_[i].used->authorizer != claim.payer ||
        steps_[i].used->nonce != claim.nonce) {
      continue;
    }
    const bool paid = Segment(i, forward_, claim.payer, &claim).match;
    return paid ? Proof::kPaid : Proof::kElsewhere;
  }
  return Proof::kUnused;
}

Proof ProveTransfer(std::span<const chain::EvmLog> logs, const TransferClaim& claim) {
  return TransferLogs(logs, claim.asset).Prove(claim);
}

}  // namespace pontage::scheme
