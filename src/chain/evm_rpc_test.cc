#include "chain/evm_rpc.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "chain/evm_rpc_json.h"
#include "codec/hex.h"
#include "testing/expect.h"
#include "testing/rpc_nodes.h"

namespace pontage::chain {
namespace {

using testing::FailsWith;
using testing::IsOk;

class EvmRpcTest : public testing::RpcFixture {};

std::string Word(std::string_view end) {
  return "0x" + std::string(64 - end.size(), '0') + std::string(end);
}

TEST_F(EvmRpcTest, ABatchIsReadByItsIdsInWhateverOrder) {
  node.reversed = true;
  size_t calls = 0;
  node.answer = [&](const std::string& method) {
    if (method == "eth_getCode")
      return std::string(calls++ == 0 ? R"("result":"0x")" : R"("result":"0x60")");
    if (method == "eth_estimateGas") return std::string(R"("result":"0x15f90")");
    // authorizationState, then balanceOf
    return R"("result":")" + Word(calls++ == 1 ? "0" : "3e8") + "\"";
  };
  auto rpc = Rpc({node.url()});
  const auto facts = AskTransfer(*rpc, true);
  ASSERT_THAT(facts, IsOk());
  EXPECT_TRUE(facts->asset_has_code);
  EXPECT_FALSE(facts->payer_has_code);
  EXPECT_FALSE(facts->nonce_used);
  EXPECT_EQ(facts->balance, codec::Uint256(1'000));
  EXPECT_TRUE(facts->succeeds);
  EXPECT_EQ(facts->gas, 90'000U);
  EXPECT_EQ(node.asked, 1U) << "more than one round trip";
}

// What the node says must not leave, and what it did not run is not a verdict.
TEST_F(EvmRpcTest, ARevertIsAFactAndAnotherErrorAnOutage) {
  const struct {
    std::string error;
    bool fact;
  } cases[] = {
      {R"({"code":3,"message":"execution reverted: authorization is used","data":"0x08c379a0"})",
       true},
      {R"({"code":-32000,"message":"execution reverted"})", true},
      {R"({"code":-32000,"message":"out of gas"})", true},
      {R"({"code":-32005,"message":"limit exceeded"})", false},
      {R"({"code":-32601,"message":"method not found"})", false},
      {R"({"code":-32000,"message":"header not found at http://10.0.0.7:8545/secret"})", false},
  };
  auto rpc = Rpc({node.url()});
  for (const auto& c : cases) {
    size_t calls = 0;
    node.answer = [&](const std::string& method) {
      if (method == "eth_getCode") return std::string(R"("result":"0x60")");
      if (++calls < 3) return R"("result":")" + Word("0") + "\"";
      return "\"error\":" + c.error;
    };
    const auto facts = AskTransfer(*rpc);
    if (c.fact) {
      ASSERT_THAT(facts, IsOk()) << c.error;
      EXPECT_FALSE(facts->succeeds);
      continue;
    }
    ASSERT_THAT(facts, FailsWith(Code::kChainUnreachable)) << c.error;
    EXPECT_FALSE(facts.error().detail().contains("10.0.0.7"));
  }
}

TEST_F(EvmRpcTest, ANodeThatAnswersNonsenseIsPassedOver) {
  second.answer = [](const std::string&) { return std::string(R"("result":"0x14a34")"); };
  for (const std::string_view nonsense :
       {"<html>", "{}", "[]", "null", R"([{"id":7,"result":"0x1"}])", R"([{"id":0}])",
        R"([{"id":0,"result":"0x1"},{"id":0,"result":"0x1"}])", R"({"error":{"code":-32600}})"}) {
    node.whole = nonsense;
    auto rpc = Rpc({node.url(), second.url()});
    const auto number = loop.RunUntilDone(rpc->ChainNumber(In(Millis(2'000))));
    ASSERT_THAT(number, IsOk()) << nonsense;
    EXPECT_EQ(*number, 84'532U);
    // The one that answered is asked first from then on.
    const size_t before = node.asked;
    EXPECT_THAT(loop.RunUntilDone(rpc->ChainNumber(In(Millis(2'000)))), IsOk());
    EXPECT_EQ(node.asked, before);
  }
  node.whole.clear();
  node.status = 503;
  auto alone = Rpc({node.url()});
  EXPECT_THAT(loop.RunUntilDone(alone->ChainNumber(In(Millis(2'000)))),
              FailsWith(Code::kChainUnreachable));
}

// A node behind a name may be another one after an outage, and on another chain.
TEST_F(EvmRpcTest, AfterEachFailureANodeSaysItsChainAgainBeforeItIsBelieved) {
  auto rpc = Rpc({node.url(), second.url()});
  const auto count = [&] {
    return loop.RunUntilDone(rpc->TransactionCount({}, false, In(Millis(2'000))));
  };
  second.answer = [](const std::string&) { return std::string(R"("result":"0x2")"); };
  EXPECT_EQ(*count(), 1U);
  EXPECT_EQ(*count(), 1U);
  EXPECT_EQ(node.named, 1U) << "once, as long as it answers";
  node.status = 503;
  EXPECT_EQ(*count(), 2U);
  EXPECT_EQ(second.named, 1U);
  node.status = 200;
  node.chain = "0x1";
  second.status = 503;
  EXPECT_THAT(count(), FailsWith(Code::kChainUnreachable)) << "the first is on another chain now";
  node.chain = "0x14a34";
  EXPECT_EQ(*count(), 1U);
}

TEST_F(EvmRpcTest, TwoNodesMustAgreeWhereItMatters) {
  testing::RpcNode third{loop};
  const auto say = [](testing::RpcNode& one, bool used) {
    one.answer = [used, n = 0](const std::string& method) mutable {
      if (method == "eth_getCode") {
        n = 0;
        return std::string(R"("result":"0x")");
      }
      const std::string word = ++n == 1 ? (used ? "1" : "0") : "3e8";
      return R"("result":")" + Word(word) + "\"";
    };
  };
  auto rpc = Rpc({node.url(), second.url(), third.url()});
  const auto ask = [&] {
    TransferQuestion question;
    question.ask_asset_code = false;
    return loop.RunUntilDone(rpc->AskTransferOfTwo(std::move(question), In(Millis(3'000))));
  };
  say(node, false);
  say(second, false);
  say(third, true);
  auto facts = ask();
  ASSERT_THAT(facts, IsOk());
  EXPECT_FALSE(facts->nonce_used);
  EXPECT_EQ(third.asked, 0U) << "two are enough";
  say(node, true);
  facts = ask();
  ASSERT_THAT(facts, IsOk());
  EXPECT_TRUE(facts->nonce_used) << "outvoted by the third";
  third.status = 503;
  EXPECT_THAT(ask(), FailsWith(Code::kChainUnreachable)) << "one against one is no verdict";
}

TEST_F(EvmRpcTest, AReceiptThatOnlyOneNodeHasIsNotThereYet) {
  std::string block = "0x10";
  const auto has = [&block](const std::string&) {
    return R"("result":{"transactionHash":"0x)" + std::string(64, 'a') +
           R"(","status":"0x1","blockNumber":")" + block + R"(","gasUsed":"0x5208","logs":[]})";
  };
  node.answer = has;
  second.answer = [](const std::string&) { return std::string(R"("result":null)"); };
  auto rpc = Rpc({node.url(), second.url()});
  const auto ask = [&] {
    return loop.RunUntilDone(rpc->ReceiptOfTwo(crypto::Hash32{}, In(Millis(2'000))));
  };
  auto receipt = ask();
  ASSERT_THAT(receipt, IsOk());
  EXPECT_FALSE(receipt->has_value());
  second.answer = has;
  receipt = ask();
  ASSERT_THAT(receipt, IsOk());
  ASSERT_TRUE(receipt->has_value());
  EXPECT_EQ((*receipt)->block, 16U);
}

TEST_F(EvmRpcTest, TwoNodesMustAgreeAboutAnAuthorizationAndAWallet) {
  const auto say = [](testing::RpcNode& one, const char* word) {
    one.answer = [word](const std::string&) { return R"("result":")" + Word(word) + "\""; };
  };
  testing::RpcNode third{loop};
  auto rpc = Rpc({node.url(), second.url(), third.url()});
  const auto used = [&] {
    return loop.RunUntilDone(rpc->NonceUsedOfTwo({}, {}, {}, In(Millis(3'000))));
  };
  const auto call = [&] {
    std::vector<Call> calls(1);
    return loop.RunUntilDone(rpc->CallsOfTwo(std::move(calls), In(Millis(3'000))));
  };
  say(node, "1");
  say(second, "0");
  say(third, "0");
  EXPECT_EQ(used().value(), false) << "outvoted";
  EXPECT_EQ(call()->at(0).data.back(), 0);
  third.status = 503;
  EXPECT_THAT(used(), FailsWith(Code::kChainUnreachable));
  EXPECT_THAT(call(), FailsWith(Code::kChainUnreachable));
}

TEST_F(EvmRpcTest, TheLatestBlockOfTwoIsTheOlderOne) {
  const auto at = [](testing::RpcNode& one, const std::string& number, const std::string& time) {
    one.answer = [number, time](const std::string&) {
      return R"("result":{"number":"0x)" + number + R"(","timestamp":"0x)" + time +
             R"(","baseFeePerGas":"0x7"})";
    };
  };
  at(node, "20", "ffffff");
  at(second, "10", "1000");
  auto rpc = Rpc({node.url(), second.url()});
  const auto block = loop.RunUntilDone(rpc->LatestOfTwo(In(Millis(3'000))));
  ASSERT_THAT(block, IsOk());
  EXPECT_EQ(block->number, 16U);
  EXPECT_EQ(block->time_s, 4'096) << "a time that one node makes up ends no payment";
  second.status = 503;
  EXPECT_THAT(loop.RunUntilDone(rpc->LatestOfTwo(In(Millis(3'000)))),
              FailsWith(Code::kChainUnreachable));
}

TEST_F(EvmRpcTest, NobodyThereIsUnreachable) {
  auto rpc = Rpc({"http://127.0.0.1:1"});
  const auto number = loop.RunUntilDone(rpc->ChainNumber(In(Millis(1'000))));
  EXPECT_THAT(number, FailsWith(Code::kChainUnreachable));
}

TEST_F(EvmRpcTest, ReceiptsAreReadWithTheirLogs) {
  node.answer = [n = 0](const std::string&) mutable {
    if (n++ == 0) return std::string(R"("result":null)");
    return R"("result":{"transactionHash":"0x)" + std::string(64, 'a') +
           R"(","status":"0x1","blockNumber":"0x10","blockHash":"0x)" + std::string(64, 'd') +
           R"(","gasUsed":"0x5208","logs":[{"address":"0x)" + std::string(40, 'b') +
           R"(","topics":["0x)" + std::string(64, 'c') + R"("],"data":"0x00","logIndex":"0x5"}]})";
  };
  auto rpc = Rpc({node.url()});
  std::vector<crypto::Hash32> hashes(2);
  const auto receipts = loop.RunUntilDone(rpc->Receipts(hashes, In(Millis(1'000))));
  ASSERT_THAT(receipts, IsOk());
  EXPECT_FALSE((*receipts)[0].has_value());
  ASSERT_TRUE((*receipts)[1].has_value());
  EXPECT_TRUE((*receipts)[1]->ok);
  EXPECT_EQ((*receipts)[1]->block, 16U);
  EXPECT_EQ(codec::ToHex((*receipts)[1]->block_hash), std::string(64, 'd'));
  ASSERT_EQ((*receipts)[1]->logs.size(), 1U);
  EXPECT_EQ((*receipts)[1]->logs[0].log_index, 5U);
}

// The latest block, the final one if the node speaks of it, and those at the heights.
TEST_F(EvmRpcTest, BlocksAreNamedByTheirHashes) {
  const auto block = [](const std::string& number, char hash) {
    return R"("result":{"number":")" + number + R"(","timestamp":"0x1","hash":"0x)" +
           std::string(64, hash) + "\"}";
  };
  const std::string none = R"("result":null)";
  const std::string error = R"("error":{"code":-39001,"message":"finalized block not found"})";
  const struct {
    std::string_view name;
    std::string finalized, at;
    std::optional<uint64_t> want_final;
    std::optional<std::string> want_at;
    bool fails = false;
  } cases[] = {
      {"all there", block("0x10", 'b'), block("0x18", 'c'), 16, std::string(64, 'c')},
      {"nothing is final yet", none, block("0x18", 'c'), std::nullopt, std::string(64, 'c')},
      {"the node does not know the word", error, block("0x18", 'c'), std::nullopt,
       std::string(64, 'c')},
      {"no such block yet", block("0x10", 'b'), none, 16, std::nullopt},
      {"the node cannot say", block("0x10", 'b'), error, 16, std::nullopt, true},
      {"a block without a hash", block("0x10", 'b'), R"("result":{"number":"0x18"})", 16,
       std::nullopt, true},
  };
  for (const auto& one : cases) {
    node.answer = [&, n = 0](const std::string&) mutable {
      const std::string* const in_turn[] = {nullptr, &one.finalized, &one.at};
      const int i = n++ % 3;
      return i == 0 ? block("0x20", 'a') : *in_turn[i];
    };
    auto rpc = Rpc({node.url()});
    std::vector<uint64_t> heights{24};
    const auto canon = loop.RunUntilDone(rpc->Blocks(heights, In(Millis(1'000))));
    ASSERT_EQ(canon.has_value(), !one.fails) << one.name;
    if (one.fails) continue;
    EXPECT_EQ(canon->head, 32U) << one.name;
    EXPECT_EQ(canon->finalized, one.want_final) << one.name;
    ASSERT_EQ(canon->blocks.size(), 1U) << one.name;
    ASSERT_EQ(canon->blocks[0].has_value(), one.want_at.has_value()) << one.name;
    if (one.want_at) EXPECT_EQ(codec::ToHex(*canon->blocks[0]), *one.want_at) << one.name;
  }
}

TEST(EvmRpcJson, EveryNodesWordsForTheSameRefusal) {
  const struct {
    std::string_view message;
    Sent want;
  } cases[] = {
      {"already known", Sent::kAccepted},
      {"ALREADY_EXISTS: already known", Sent::kAccepted},
      {"AlreadyKnown", Sent::kAccepted},
      {"Known transaction", Sent::kAccepted},
      {"transaction already imported", Sent::kAccepted},
      {"nonce too low: next nonce 5, tx nonce 3", Sent::kNonceTooLow},
      {"OldNonce", Sent::kNonceTooLow},
      {"Nonce too low", Sent::kNonceTooLow},
      {"replacement transaction underpriced", Sent::kUnderpriced},
      {"transaction underpriced", Sent::kUnderpriced},
      {"insufficient funds for gas * price + value", Sent::kNoFunds},
      {"Upfront cost exceeds account balance", Sent::kNoFunds},
      {"intrinsic gas too low", Sent::kRejected},
  };
  for (const auto& c : cases) EXPECT_EQ(ReadSendError(c.message), c.want) << c.message;
}

TEST_F(EvmRpcTest, TheChainAndItsTokensAreCheckedAtStart) {
  const AssetRegistry registry = AssetRegistry::WithDefaults();
  const EvmAsset usdc = *registry.DefaultOf(ChainId::Evm(84532));
  std::string number = "0x14a34";
  std::string code = "0x60";
  std::string separator = "0x71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818";
  node.answer = [&](const std::string& method) {
    const std::string& text = method == "eth_chainId"   ? number
                              : method == "eth_getCode" ? code
                                                        : separator;
    return "\"result\":\"" + text + "\"";
  };
  auto rpc = Rpc({node.url()});
  const auto check = [&] {
    std::vector<EvmAsset> assets{usdc};
    return loop.RunUntilDone(CheckEvmChain(*rpc, std::move(assets), In(Millis(1'000))));
  };
  EXPECT_THAT(check(), IsOk());
  separator[5] = '0';
  EXPECT_THAT(check(), FailsWith(Code::kConfig));
  code = "0x";
  EXPECT_THAT(check(), FailsWith(Code::kConfig));
  number = "0x1";
  EXPECT_THAT(check(), FailsWith(Code::kConfig));
}

}  // namespace
}  // namespace pontage::chain
