#include "chain_link.h"

#include "base/try.h"

namespace pontage::sim {

Task<> ChainLink::There() {
  PTG_CO_RUN(co_await Sleep(dice_.Between(Millis(1), Millis(80))));
  if (dice_.Chance(weather_.request_lost)) {
    PTG_CO_RUN(co_await Sleep(dice_.Between(Millis(0), Millis(3'000))));
    co_return Fail(Code::kChainUnreachable, "the question was lost");
  }
  co_return {};
}

Task<> ChainLink::Back() {
  PTG_CO_RUN(co_await Sleep(dice_.Between(Millis(1), Millis(80))));
  if (dice_.Chance(weather_.reply_lost)) {
    PTG_CO_RUN(co_await Sleep(dice_.Between(Millis(0), Millis(3'000))));
    co_return Fail(Code::kChainUnreachable, "the answer was lost");
  }
  co_return {};
}

Task<uint64_t> ChainLink::ChainNumber(Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(const uint64_t number, co_await chain_.ChainNumber(by));
  PTG_CO_RUN(co_await Back());
  co_return number;
}

Task<chain::EvmBlock> ChainLink::Block(std::optional<uint64_t> number, Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(chain::EvmBlock block, co_await chain_.Block(number, by));
  if (!number && dice_.Chance(weather_.behind)) {
    PTG_CO_TRY(block, co_await chain_.Block(block.number - 1, by));
  }
  PTG_CO_RUN(co_await Back());
  co_return block;
}

Task<chain::Canon> ChainLink::Blocks(std::vector<uint64_t> heights, Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(chain::Canon canon, co_await chain_.Blocks(std::move(heights), by));
  PTG_CO_RUN(co_await Back());
  co_return canon;
}

Task<chain::TransferFacts> ChainLink::AskTransfer(chain::TransferQuestion question, Deadline by) {
  PTG_CO_RUN(co_await There());
  const auto [payer, nonce] = std::pair(question.payer, question.nonce);
  PTG_CO_TRY(chain::TransferFacts facts, co_await chain_.AskTransfer(std::move(question), by));
  if (dice_.Chance(weather_.behind) && facts.nonce_used && !chain_.WasUsed(payer, nonce)) {
    facts.nonce_used = false;
    facts.succeeds = true;
  }
  PTG_CO_RUN(co_await Back());
  co_return facts;
}

Task<bool> ChainLink::NonceUsed(crypto::EvmAddress asset, crypto::EvmAddress payer,
                                codec::Bytes32 nonce, Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(bool used, co_await chain_.NonceUsed(asset, payer, nonce, by));
  if (dice_.Chance(weather_.behind)) used = chain_.WasUsed(payer, nonce);
  PTG_CO_RUN(co_await Back());
  co_return used;
}

Task<bool> ChainLink::NonceUsedSince(crypto::EvmAddress asset, crypto::EvmAddress payer,
                                     codec::Bytes32 nonce, uint64_t since, Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(bool used, co_await chain_.NonceUsedSince(asset, payer, nonce, since, by));
  const bool behind = dice_.Chance(weather_.behind);
  if (behind) used = chain_.WasUsed(payer, nonce);
  const bool has_it = chain_.head() >= since + (behind ? 1 : 0);
  PTG_CO_RUN(co_await Back());
  if (!has_it) co_return Fail(Code::kChainUnreachable, "the node has not got that block");
  co_return used;
}

Task<std::vector<chain::CallResult>> ChainLink::Calls(std::vector<chain::Call> calls, Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(std::vector<chain::CallResult> results, co_await chain_.Calls(std::move(calls), by));
  PTG_CO_RUN(co_await Back());
  co_return results;
}

Task<std::vector<bool>> ChainLink::HaveCode(std::vector<crypto::EvmAddress> addresses,
                                            Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(std::vector<bool> have, co_await chain_.HaveCode(std::move(addresses), by));
  PTG_CO_RUN(co_await Back());
  co_return have;
}

Task<std::vector<chain::FoundLog>> ChainLink::Logs(chain::LogFilter filter, Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(std::vector<chain::FoundLog> found, co_await chain_.Logs(std::move(filter), by));
  PTG_CO_RUN(co_await Back());
  co_return found;
}

Task<std::vector<std::optional<chain::EvmReceipt>>> ChainLink::Receipts(
    std::vector<crypto::Hash32> hashes, Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(std::vector<std::optional<chain::EvmReceipt>> found,
             co_await chain_.Receipts(std::move(hashes), by));
  for (std::optional<chain::EvmReceipt>& one : found) {
    if (one && dice_.Chance(weather_.behind)) one.reset();
  }
  PTG_CO_RUN(co_await Back());
  co_return found;
}

Task<uint64_t> ChainLink::TransactionCount(crypto::EvmAddress account, bool pending, Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(const uint64_t count, co_await chain_.TransactionCount(account, pending, by));
  PTG_CO_RUN(co_await Back());
  co_return count;
}

Task<codec::Uint256> ChainLink::Balance(crypto::EvmAddress account, Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(const codec::Uint256 balance, co_await chain_.Balance(account, by));
  PTG_CO_RUN(co_await Back());
  co_return balance;
}

Task<chain::EvmFees> ChainLink::Fees(Deadline by) {
  PTG_CO_RUN(co_await There());
  PTG_CO_TRY(const chain::EvmFees fees, co_await chain_.Fees(by));
  PTG_CO_RUN(co_await Back());
  co_return fees;
}

Task<std::vector<chain::Sent>> ChainLink::Send(std::vector<codec::Bytes> raw, Deadline by) {
  for (const codec::Bytes& one : raw) {
    if (dice_.Chance(weather_.duplicated)) late_.push_back(one);
  }
  const Result<> there = co_await There();
  if (!there) {
    // What the sender gave up may arrive all the same.
    for (codec::Bytes& one : raw) {
      if (dice_.Chance(500)) late_.push_back(std::move(one));
    }
    co_return Fail(there.error());
  }
  std::vector<size_t> order(raw.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (dice_.Chance(weather_.shuffled)) {
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[dice_.Below(i)]);
  }
  std::vector<chain::Sent> sent(raw.size(), chain::Sent::kRejected);
  for (const size_t i : order) {
    std::vector<codec::Bytes> one{std::move(raw[i])};
    PTG_CO_TRY(const std::vector<chain::Sent> outcome, co_await chain_.Send(std::move(one), by));
    sent[i] = outcome.at(0);
  }
  PTG_CO_RUN(co_await Back());
  co_return sent;
}

}  // namespace pontage::sim
