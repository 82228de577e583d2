#include <string>

#include <gtest/gtest.h>

#include "testing/expect.h"
#include "testing/rpc_nodes.h"
#include "testing/stepped_clock.h"

namespace pontage::chain {
namespace {

using testing::FailsWith;
using testing::IsOk;

class EvmRpcNodesTest : public testing::RpcFixture {
 protected:
  Result<uint64_t> Count(EvmRpc& rpc) {
    return loop.RunUntilDone(rpc.TransactionCount({}, false, In(Millis(2'000))));
  }
  Result<std::vector<Sent>> Send(EvmRpc& rpc) {
    return loop.RunUntilDone(rpc.Send({{1}, {2}}, In(Millis(20'000))));
  }
};

std::string ErrorOf(int code, const std::string& message) {
  return R"("error":{"code":)" + std::to_string(code) + R"(,"message":")" + message + "\"}";
}

TEST_F(EvmRpcNodesTest, ANodeThatAnswersOnlyErrorsIsPassedOver) {
  second.answer = [](const std::string&) { return std::string(R"("result":"0x2")"); };
  for (const auto& [code, message] : std::initializer_list<std::pair<int, std::string>>{
           {-32603, "internal error"}, {-32005, "limit exceeded"}, {-32000, "header not found"}}) {
    SCOPED_TRACE(message);
    node.answer = [&](const std::string&) { return ErrorOf(code, message); };
    auto rpc = Rpc({node.url(), second.url()});
    EXPECT_EQ(Count(*rpc).value_or(0), 2U);
    const size_t before = node.asked;
    EXPECT_EQ(Count(*rpc).value_or(0), 2U);
    EXPECT_EQ(node.asked, before) << "the one that could is asked first from then on";
    second.status = 503;
    EXPECT_THAT(Count(*rpc), FailsWith(Code::kChainUnreachable));
    second.status = 200;
  }
}

// What the call itself ended with is the same everywhere.
TEST_F(EvmRpcNodesTest, ARevertIsAskedOfNobodyElse) {
  node.answer = [](const std::string& method) {
    return method == "eth_getCode" ? std::string(R"("result":"0x60")")
                                   : ErrorOf(3, "execution reverted");
  };
  auto rpc = Rpc({node.url(), second.url()});
  const auto facts = AskTransfer(*rpc);
  ASSERT_THAT(facts, IsOk());
  EXPECT_FALSE(facts->succeeds);
  EXPECT_EQ(second.asked, 0U);
}

TEST_F(EvmRpcNodesTest, ATransactionGoesToEveryNode) {
  auto rpc = Rpc({node.url(), second.url()});
  const std::vector<Sent> taken(2, Sent::kAccepted);
  auto sent = Send(*rpc);
  ASSERT_THAT(sent, IsOk());
  EXPECT_EQ(*sent, taken);
  EXPECT_EQ(node.asked, 1U);
  EXPECT_EQ(second.asked, 1U);
  // What the first one does not say anything of, another may have taken.
  node.answer = [](const std::string&) { return ErrorOf(-32603, "internal error"); };
  EXPECT_EQ(Send(*rpc).value_or(std::vector<Sent>()), taken);
  node.status = 503;
  EXPECT_EQ(Send(*rpc).value_or(std::vector<Sent>()), taken);
  second.status = 503;
  EXPECT_THAT(Send(*rpc), FailsWith(Code::kChainUnreachable));
}

TEST_F(EvmRpcNodesTest, NobodyWaitsForAnotherNodeThatIsSilent) {
  second.silent = true;
  attempt = Millis(20'000);
  auto rpc = Rpc({node.url(), second.url()});
  const SteadyMs began = Clock::System().Steady();
  EXPECT_EQ(Send(*rpc).value_or(std::vector<Sent>()), std::vector<Sent>(2, Sent::kAccepted));
  EXPECT_LT(Clock::System().Steady() - began, Millis(10'000)) << "less than an attempt takes";
  EXPECT_EQ(second.asked, 1U);
}

TEST_F(EvmRpcNodesTest, WhatTheFirstNodeSaysOfATransactionCounts) {
  node.answer = [](const std::string&) { return ErrorOf(-32000, "nonce too low"); };
  auto rpc = Rpc({node.url(), second.url()});
  EXPECT_EQ(Send(*rpc).value_or(std::vector<Sent>()), std::vector<Sent>(2, Sent::kNonceTooLow));
}

TEST_F(EvmRpcNodesTest, ANodeWhoseChainStandsStillIsNotAskedFirst) {
  const auto at = [](const std::string& height) {
    return [height](const std::string&) {
      return R"("result":{"number":")" + height + R"(","timestamp":"0x1","hash":"0x)" +
             std::string(64, '1') + R"(","baseFeePerGas":"0x1"})";
    };
  };
  node.answer = at("0x10");
  second.answer = at("0x20");
  testing::SteppedClock clock;
  auto rpc = Rpc({node.url(), second.url()}, clock);
  const auto head = [&] {
    const auto block = loop.RunUntilDone(rpc->Block(std::nullopt, Deadline::Never()));
    EXPECT_THAT(block, IsOk());
    return block ? block->number : 0;
  };
  EXPECT_EQ(head(), 0x10U);
  clock.Advance(HeadWatch::kStill - Millis(1));
  EXPECT_EQ(head(), 0x10U);
  clock.Advance(Millis(1));
  EXPECT_EQ(head(), 0x20U);
  const size_t before = node.asked;
  EXPECT_EQ(head(), 0x20U);
  EXPECT_EQ(node.asked, before);
}

}  // namespace
}  // namespace pontage::chain
