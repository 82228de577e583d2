#include "settle/fee_policy.h"

#include <algorithm>

#include "base/try.h"

namespace pontage::settle {
namespace {

using codec::Uint256;

// An eighth more, rounded up.
std::optional<Uint256> EighthMore(const Uint256& n) {
  const codec::QuotientRemainder eighth = DivMod(n, 8);
  const Result<Uint256> up = Add(eighth.quotient, Uint256(uint64_t{eighth.remainder != 0}));
  if (!up) return std::nullopt;
  const Result<Uint256> sum = Add(n, std::max(*up, Uint256(1)));
  return sum ? std::optional(*sum) : std::nullopt;
}

}  // namespace

chain::EvmFees Believed(chain::EvmFees market) {
  const Uint256 most = std::max(Uint256(50'000'000'000), market.base_fee);
  market.priority_fee = std::min(market.priority_fee, most);
  return market;
}

Result<GasPrice> FirstPrice(const chain::EvmFees& market, const Uint256& cap) {
  PTG_TRY(const Uint256 needed, Add(market.base_fee, market.priority_fee));
  if (needed > cap) return Fail(Code::kOverloaded, "gas costs more than we pay");
  PTG_TRY(const Uint256 most, Add(needed, market.base_fee));
  return GasPrice{std::min(most, cap), market.priority_fee};
}

std::optional<GasPrice> RaisedPrice(const GasPrice& last, const chain::EvmFees& market,
                                    const Uint256& cap) {
  const std::optional<Uint256> most = EighthMore(last.most);
  const std::optional<Uint256> tip = EighthMore(last.tip);
  if (!most || !tip || *most > cap) return std::nullopt;
  GasPrice raised{*most, std::max(*tip, market.priority_fee)};
  const Result<Uint256> twice = Mul(market.base_fee, 2);
  const Result<Uint256> now = twice ? Add(*twice, raised.tip) : twice;
  raised.most = now ? std::max(raised.most, std::min(*now, cap)) : cap;
  raised.tip = std::min(raised.tip, raised.most);
  // A tip above its old bound may leave less than an eighth.
  if (raised.tip < *tip) return std::nullopt;
  return raised;
}

Step NextStep(const Unmined& tx, const chain::EvmFees& market, Millis patience) {
  if (tx.age < patience) return Step::kWait;
  if (!tx.wanted && !tx.canceled) return Step::kCancel;
  if (tx.versions >= kMaxVersions) return Step::kWait;
  const Result<Uint256> needed = Add(market.base_fee, market.priority_fee);
  const bool left_behind = tx.underpriced || !needed || tx.price.most < *needed;
  return tx.head || left_behind ? Step::kRaise : Step::kWait;
}

}  // namespace pontage::settle
