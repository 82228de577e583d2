// What a sum above `quorum_above` rests on: the word of two nodes, each asked by itself.
#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"
#include "chain/evm_rpc.h"

namespace pontage::chain {
namespace {

// Whether two nodes say the same of a payment. Balances move with every block; what they mean for
// this payment is in `succeeds`.
bool SameVerdict(const TransferFacts& a, const TransferFacts& b) {
  return a.asset_has_code == b.asset_has_code && a.payer_has_code == b.payer_has_code &&
         a.nonce_used == b.nonce_used && a.succeeds == b.succeeds;
}

}  // namespace

Error EvmRpc::NoTwoAgree(size_t answers) const {
  Log(LogLevel::kWarn, "chain.no_quorum", {{"chain", chain_.Caip2()}, {"answers", answers}});
  return {Code::kChainUnreachable, "no two nodes of " + chain_.Caip2() + " agree"};
}

// Nodes are rarely at the same block. One that lies about the time or the height can but say less.
Task<EvmBlock> EvmRpc::LatestOfTwo(Deadline by) {
  std::optional<EvmBlock> heard;
  for (const size_t node : Order()) {
    const Result<EvmBlock> block = co_await BlockAt(std::nullopt, node, by);
    if (!block) continue;
    if (!heard) {
      heard = *block;
      continue;
    }
    EvmBlock older = *heard;
    older.number = std::min(older.number, block->number);
    older.time_s = std::min(older.time_s, block->time_s);
    co_return older;
  }
  co_return Fail(NoTwoAgree(heard ? 1 : 0));
}

// The first opinion that a second one shares. One that stands alone is an outage, not a verdict.
Task<TransferFacts> EvmRpc::AskTransferOfTwo(TransferQuestion question, Deadline by) {
  std::vector<TransferFacts> heard;
  for (const size_t node : Order()) {
    TransferQuestion same = question;
    Result<TransferFacts> facts = co_await AskTransferAt(std::move(same), node, by);
    if (!facts) continue;
    for (const TransferFacts& other : heard) {
      if (!SameVerdict(*facts, other)) continue;
      facts->gas = std::max(facts->gas, other.gas);
      facts->balance = std::min(facts->balance, other.balance);
      co_return facts;
    }
    heard.push_back(*std::move(facts));
  }
  co_return Fail(NoTwoAgree(heard.size()));
}

Task<bool> EvmRpc::NonceUsedOfTwo(crypto::EvmAddress asset, crypto::EvmAddress payer,
                                  codec::Bytes32 nonce, Deadline by) {
  std::array<size_t, 2> said{};
  for (const size_t node : Order()) {
    const Result<bool> used = co_await NonceUsedAt(asset, payer, nonce, node, by);
    if (used && ++said[*used ? 1 : 0] == 2) co_return *used;
  }
  co_return Fail(NoTwoAgree(said[0] + said[1]));
}

Task<std::vector<CallResult>> EvmRpc::CallsOfTwo(std::vector<Call> calls, Deadline by) {
  std::vector<std::vector<CallResult>> heard;
  for (const size_t node : Order()) {
    std::vector<Call> same = calls;
    Result<std::vector<CallResult>> results = co_await CallsAt(std::move(same), node, by);
    if (!results) continue;
    if (std::ranges::find(heard, *results) != heard.end()) co_return results;
    heard.push_back(*std::move(results));
  }
  co_return Fail(NoTwoAgree(heard.size()));
}

Task<std::optional<EvmReceipt>> EvmRpc::ReceiptOfTwo(crypto::Hash32 hash, Deadline by) {
  std::vector<EvmReceipt> heard;
  for (const size_t node : Order()) {
    std::vector<crypto::Hash32> one{hash};
    Result<std::vector<std::optional<EvmReceipt>>> found =
        co_await ReceiptsAt(std::move(one), node, by);
    if (!found || !(*found)[0]) continue;
    for (const EvmReceipt& other : heard) {
      const EvmReceipt& mine = *(*found)[0];
      if (mine.ok == other.ok && mine.block == other.block && mine.logs == other.logs) {
        co_return std::move((*found)[0]);
      }
    }
    heard.push_back(*std::move((*found)[0]));
  }
  co_return std::optional<EvmReceipt>();
}

}  // namespace pontage::chain
