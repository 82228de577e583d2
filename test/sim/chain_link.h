#pragma once

#include "dice.h"
#include "io/timer.h"
#include "testing/fake_evm_chain.h"

namespace pontage::sim {

// One node's way to the chain: everything takes time, may not arrive, or arrives and is not
// answered. What was handed over late or twice lies in `late`, which the world delivers.
class ChainLink final : public chain::EvmView {
 public:
  ChainLink(testing::FakeEvmChain& chain, std::vector<codec::Bytes>& late, Dice& dice,
            const Weather& weather)
      : chain_(chain), late_(late), dice_(dice), weather_(weather) {}

  const chain::ChainId& chain() const override { return chain_.chain(); }
  Task<uint64_t> ChainNumber(Deadline by) override;
  Task<chain::EvmBlock> Block(std::optional<uint64_t> number, Deadline by) override;
  Task<chain::Canon> Blocks(std::vector<uint64_t> heights, Deadline by) override;
  Task<chain::TransferFacts> AskTransfer(chain::TransferQuestion question, Deadline by) override;
  Task<bool> NonceUsed(crypto::EvmAddress asset, crypto::EvmAddress payer, codec::Bytes32 nonce,
                       Deadline by) override;
  Task<bool> NonceUsedSince(crypto::EvmAddress asset, crypto::EvmAddress payer,
                            codec::Bytes32 nonce, uint64_t since, Deadline by) override;
  Task<std::vector<chain::CallResult>> Calls(std::vector<chain::Call> calls, Deadline by) override;
  Task<std::vector<bool>> HaveCode(std::vector<crypto::EvmAddress> addresses, Deadline by) override;
  Task<std::vector<chain::FoundLog>> Logs(chain::LogFilter filter, Deadline by) override;
  Task<std::vector<std::optional<chain::EvmReceipt>>> Receipts(std::vector<crypto::Hash32> hashes,
                                                               Deadline by) override;
  Task<uint64_t> TransactionCount(crypto::EvmAddress account, bool pending, Deadline by) override;
  Task<codec::Uint256> Balance(crypto::EvmAddress account, Deadline by) override;
  Task<chain::EvmFees> Fees(Deadline by) override;
  Task<std::vector<chain::Sent>> Send(std::vector<codec::Bytes> raw, Deadline by) override;

 private:
  Task<> There();
  Task<> Back();

  testing::FakeEvmChain& chain_;
  std::vector<codec::Bytes>& late_;
  Dice& dice_;
  const Weather& weather_;
};

}  // namespace pontage::sim
