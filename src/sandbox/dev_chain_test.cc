#include "sandbox/dev_chain.h"

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chain/evm_calls.h"
#include "chain/evm_transaction.h"
#include "codec/abi.h"
#include "codec/hex.h"
#include "codec/json.h"
#include "sandbox/block_chain.h"
#include "testing/expect.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using codec::Uint256;
using crypto::EvmAddress;
using ::testing::HasSubstr;

class ManualClock final : public Clock {
 public:
  UnixMs Now() const override { return UnixMs(now_ms_); }
  SteadyMs Steady() const override { return SteadyMs(now_ms_); }
  void Advance(Millis d) { now_ms_ += d.count(); }

 private:
  std::atomic<int64_t> now_ms_{1'800'000'000'000};
};

// One call: the whole answer.
Json Ask(DevChain& chain, std::string_view method, Json params = Json::Array()) {
  const Json request = Json::Object({{"jsonrpc", "2.0"},
                                     {"id", 1},
                                     {"method", std::string(method)},
                                     {"params", std::move(params)}});
  Result<Json> answer =
      codec::ParseJson(chain.HandleRpc(ToString(request)), {.max_bytes = 4 << 20});
  PTG_CHECK(answer.has_value());
  return *std::move(answer);
}
// Its result; the error as text when it fails.
Json Get(DevChain& chain, std::string_view method, Json params = Json::Array()) {
  const Json answer = Ask(chain, method, std::move(params));
  const Json* result = answer.Find("result");
  return result ? *result : Json("failed: " + ToString(answer));
}
// "-32003 nonce too low"; "" without an error.
std::string Fault(const Json& answer) {
  const Json* error = answer.Find("error");
  if (!error) return "";
  return std::to_string(*error->Find("code")->AsInt64()) + " " +
         *error->Find("message")->AsString();
}

chain::EvmTransaction Transfer(const DevChain& chain, uint64_t nonce, const EvmAddress& to,
                               uint64_t value) {
  chain::EvmTransaction tx;
  tx.chain_id = chain.chain_id();
  tx.nonce = nonce;
  tx.max_fee_per_gas = Uint256(10'000'000'000);
  tx.max_priority_fee_per_gas = Uint256(1'000'000'000);
  tx.gas_limit = 100'000;
  tx.to = chain.usdc();
  tx.data = chain::CallTransfer(to, Uint256(value));
  return tx;
}
Json Raw(const chain::EvmTransaction& tx, std::string_view who) {
  return Json::Array({codec::Hex0x(chain::SignTransaction(tx, IdentityOf(who).key).raw)});
}

TEST(IdentityTest, AreTheSameForEver) {
  ASSERT_EQ(Identities().size(), 4U);
  EXPECT_EQ(IdentityOf("buyer").address.ToChecksum(), "0xC60F4BEA5F544438a2B3d121e73F387d72684b39");
  EXPECT_EQ(IdentityOf("seller").address.ToChecksum(),
            "0xb8764e3a2f37b99b72aB6b44b67F3a2c2452d9a1");
  EXPECT_EQ(IdentityOf("facilitator").address.ToChecksum(),
            "0x2A1300C9EAd737f38Bb21084122A7daE9e2d3b7b");
  EXPECT_EQ(IdentityOf("poor").address.ToChecksum(), "0x20f58fB12FFA6d5eA8321C9f0dCeBAB023B91935");
}

class DevChainTest : public ::testing::Test {
 protected:
  uint64_t Dollars(std::string_view who) {
    return chain_.BalanceOf(IdentityOf(who).address).ToU64().value();
  }
  ManualClock clock_;
  DevChain chain_{{}, clock_};
};

TEST_F(DevChainTest, StartsFunded) {
  EXPECT_EQ(Dollars("buyer"), 1'000'000'000U);
  EXPECT_EQ(Dollars("poor"), 10'000U);
  EXPECT_EQ(Dollars("seller"), 0U);
  const std::string facilitator = IdentityOf("facilitator").address.ToLower();
  EXPECT_EQ(Get(chain_, "eth_getBalance", Json::Array({facilitator, "latest"})),
            Json("0x56bc75e2d63100000"));
  EXPECT_EQ(Get(chain_, "eth_chainId"), Json("0x14a34"));
  EXPECT_EQ(Get(chain_, "eth_blockNumber"), Json("0x0"));
}

TEST(DevChainOfBase, HasThatNetworksDollar) {
  ManualClock clock;
  DevChain chain({.chain_id = 8453}, clock);
  EXPECT_EQ(chain.usdc().ToChecksum(), "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
  const Json call = Json::Object(
      {{"to", chain.usdc().ToLower()}, {"data", codec::Hex0x(chain::CallDomainSeparator())}});
  EXPECT_EQ(Get(chain, "eth_call", Json::Array({call})),
            Json("0x02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f"));
}

TEST_F(DevChainTest, ATransferIsMinedAtOnceAndPaidFor) {
  const EvmAddress seller = IdentityOf("seller").address;
  const Json hash =
      Get(chain_, "eth_sendRawTransaction", Raw(Transfer(chain_, 0, seller, 7), "buyer"));
  const Json receipt = Get(chain_, "eth_getTransactionReceipt", Json::Array({hash}));
  ASSERT_TRUE(receipt.IsObject()) << ToString(receipt);
  EXPECT_EQ(*receipt.Find("status"), Json("0x1"));
  EXPECT_EQ(*receipt.Find("blockNumber"), Json("0x1"));
  EXPECT_EQ(Dollars("seller"), 7U);
  // One ether less gas times price, and nothing else.
  const Uint256 used = *Uint256::FromHexQuantity(*receipt.Find("gasUsed")->AsString());
  const Uint256 price = *Uint256::FromHexQuantity(*receipt.Find("effectiveGasPrice")->AsString());
  EXPECT_EQ(price, Uint256(kBaseFee + 1'000'000'000));
  const Uint256 cost = *Mul(price, *used.ToU64());
  const Uint256 left = *Sub(Uint256(1'000'000'000'000'000'000), cost);
  const std::string buyer = IdentityOf("buyer").address.ToLower();
  EXPECT_EQ(Get(chain_, "eth_getBalance", Json::Array({buyer})), Json(left.ToHexQuantity()));
}

TEST_F(DevChainTest, ARevertIsMinedWithStatusZeroAndCosts) {
  const EvmAddress seller = IdentityOf("seller").address;
  const Json hash = Get(chain_, "eth_sendRawTransaction",
                        Raw(Transfer(chain_, 0, seller, 2'000'000'000), "buyer"));
  const Json receipt = Get(chain_, "eth_getTransactionReceipt", Json::Array({hash}));
  EXPECT_EQ(*receipt.Find("status"), Json("0x0"));
  EXPECT_TRUE(receipt.Find("logs")->AsArray()->empty());
  EXPECT_EQ(Dollars("buyer"), 1'000'000'000U);
  const std::string buyer = IdentityOf("buyer").address.ToLower();
  EXPECT_EQ(Get(chain_, "eth_getTransactionCount", Json::Array({buyer})), Json("0x1"));
}

TEST_F(DevChainTest, TooLittleGasIsUsedUpForNothing) {
  chain::EvmTransaction tx = Transfer(chain_, 0, IdentityOf("seller").address, 7);
  tx.gas_limit = 30'000;
  const Json hash = Get(chain_, "eth_sendRawTransaction", Raw(tx, "buyer"));
  const Json receipt = Get(chain_, "eth_getTransactionReceipt", Json::Array({hash}));
  EXPECT_EQ(*receipt.Find("status"), Json("0x0"));
  EXPECT_EQ(*receipt.Find("gasUsed"), Json("0x7530"));
  EXPECT_EQ(Dollars("seller"), 0U);
}

TEST_F(DevChainTest, APriceNobodyHasIsRefused) {
  chain::EvmTransaction tx = Transfer(chain_, 0, IdentityOf("seller").address, 7);
  tx.max_fee_per_gas = Uint256::Max();
  const std::string want = "-32003 Insufficient funds for gas * price + value";
  EXPECT_EQ(Fault(Ask(chain_, "eth_sendRawTransaction", Raw(tx, "buyer"))), want);
  tx.max_fee_per_gas = Uint256(kBaseFee * 2);
  tx.value = Uint256::Max();
  EXPECT_EQ(Fault(Ask(chain_, "eth_sendRawTransaction", Raw(tx, "buyer"))), want);
}

TEST_F(DevChainTest, NoncesWaitForEachOther) {
  const EvmAddress seller = IdentityOf("seller").address;
  for (const uint64_t nonce : {2U, 1U}) {
    Get(chain_, "eth_sendRawTransaction", Raw(Transfer(chain_, nonce, seller, 1), "buyer"));
  }
  EXPECT_EQ(Get(chain_, "eth_blockNumber"), Json("0x0")) << "a gap mines nothing";
  Get(chain_, "eth_sendRawTransaction", Raw(Transfer(chain_, 0, seller, 1), "buyer"));
  EXPECT_EQ(Dollars("seller"), 3U);
  EXPECT_EQ(Get(chain_, "eth_blockNumber"), Json("0x1"));
  EXPECT_EQ(
      Fault(Ask(chain_, "eth_sendRawTransaction", Raw(Transfer(chain_, 2, seller, 1), "buyer"))),
      "-32003 nonce too low");
}

TEST_F(DevChainTest, WhoSpentItElsewhereIsForgotten) {
  Get(chain_, "evm_setAutomine", Json::Array({false}));
  chain::EvmTransaction tx = Transfer(chain_, 0, IdentityOf("seller").address, 1);
  tx.to = IdentityOf("seller").address;
  tx.data.clear();
  tx.value = Uint256(600'000'000'000'000'000);  // Of one ether: once, not twice.
  const Json first = Get(chain_, "eth_sendRawTransaction", Raw(tx, "buyer"));
  tx.nonce = 1;
  const Json second = Get(chain_, "eth_sendRawTransaction", Raw(tx, "buyer"));
  EXPECT_TRUE(Get(chain_, "eth_getTransactionByHash", Json::Array({second})).IsObject());
  Get(chain_, "evm_mine");
  EXPECT_TRUE(Get(chain_, "eth_getTransactionReceipt", Json::Array({first})).IsObject());
  EXPECT_TRUE(Get(chain_, "eth_getTransactionByHash", Json::Array({second})).IsNull());
}

TEST_F(DevChainTest, AFullBlockLeavesTheRestToTheNext) {
  Get(chain_, "evm_setAutomine", Json::Array({false}));
  const EvmAddress seller = IdentityOf("seller").address;
  constexpr uint64_t kSent = 700;  // Each uses some 54,000 of 30,000,000 gas.
  for (uint64_t nonce = 0; nonce < kSent; ++nonce) {
    chain::EvmTransaction tx = Transfer(chain_, nonce, seller, 1);
    const Json answer = Ask(chain_, "eth_sendRawTransaction", Raw(tx, "facilitator"));
    ASSERT_EQ(Fault(answer), "");
  }
  // These pay gas but no dollars: the facilitator has none, so each is status 0.
  Get(chain_, "evm_mine");
  const Json first = Get(chain_, "eth_getBlockByNumber", Json::Array({"latest", false}));
  Get(chain_, "evm_mine");
  const Json second = Get(chain_, "eth_getBlockByNumber", Json::Array({"latest", false}));
  const size_t in_first = first.Find("transactions")->AsArray()->size();
  const size_t in_second = second.Find("transactions")->AsArray()->size();
  EXPECT_GT(in_first, 500U);
  EXPECT_GT(in_second, 0U);
  EXPECT_EQ(in_first + in_second, kSent);
}

TEST_F(DevChainTest, TimedBlocksComeByTheClock) {
  DevChain timed({.chain_id = 84532, .block_time = 1s}, clock_);
  const EvmAddress seller = IdentityOf("seller").address;
  const Json hash =
      Get(timed, "eth_sendRawTransaction", Raw(Transfer(timed, 0, seller, 7), "buyer"));
  timed.Tick();
  EXPECT_TRUE(Get(timed, "eth_getTransactionReceipt", Json::Array({hash})).IsNull());
  EXPECT_EQ(*Get(timed, "eth_getTransactionByHash", Json::Array({hash})).Find("blockNumber"),
            Json(nullptr));
  clock_.Advance(1s);
  timed.Tick();
  EXPECT_EQ(*Get(timed, "eth_getTransactionReceipt", Json::Array({hash})).Find("status"),
            Json("0x1"));
  timed.Tick();
  EXPECT_EQ(Get(timed, "eth_blockNumber"), Json("0x1")) << "one block for each second";
  clock_.Advance(1s);
  timed.Tick();
  EXPECT_EQ(Get(timed, "eth_blockNumber"), Json("0x2")) << "empty ones as well";
}

TEST_F(DevChainTest, BlockTimeCanBeGivenAndTakenLater) {
  Get(chain_, "evm_setIntervalMining", Json::Array({2}));
  EXPECT_EQ(Get(chain_, "anvil_getAutomine"), Json(false));
  Get(chain_, "eth_sendRawTransaction",
      Raw(Transfer(chain_, 0, IdentityOf("seller").address, 7), "buyer"));
  clock_.Advance(1s);
  chain_.Tick();
  EXPECT_EQ(Dollars("seller"), 0U);
  clock_.Advance(1s);
  chain_.Tick();
  EXPECT_EQ(Dollars("seller"), 7U);
  Get(chain_, "evm_setIntervalMining", Json::Array({0}));
  clock_.Advance(10s);
  chain_.Tick();
  EXPECT_EQ(Get(chain_, "eth_blockNumber"), Json("0x1")) << "from then on by hand";
}

TEST_F(DevChainTest, OldStatesCanBeRead) {
  const EvmAddress seller = IdentityOf("seller").address;
  for (uint64_t n = 0; n < 3; ++n) {
    Get(chain_, "eth_sendRawTransaction", Raw(Transfer(chain_, n, seller, 10), "buyer"));
  }
  const Json call = Json::Object(
      {{"to", chain_.usdc().ToLower()}, {"data", codec::Hex0x(chain::CallBalanceOf(seller))}});
  for (uint64_t block = 0; block <= 3; ++block) {
    const Json at = Json::Array({call, Uint256(block).ToHexQuantity()});
    const auto word = codec::FromHex0x<32>(*Get(chain_, "eth_call", at).AsString());
    EXPECT_EQ(Uint256::FromWord(*word), Uint256(10 * block)) << block;
  }
  EXPECT_EQ(Dollars("seller"), 30U) << "looking back changes nothing";
  EXPECT_THAT(Fault(Ask(chain_, "eth_call", Json::Array({call, "0x4"}))),
              HasSubstr("block height is 3 but requested was 4"));
}

TEST_F(DevChainTest, ASnapshotTakesEverythingBack) {
  const EvmAddress seller = IdentityOf("seller").address;
  Get(chain_, "sandbox_fund", Json::Array({seller.ToLower(), "0x5"}));
  const Json id = Get(chain_, "evm_snapshot");
  Get(chain_, "sandbox_fund", Json::Array({seller.ToLower(), "0x7"}));
  Get(chain_, "eth_sendRawTransaction", Raw(Transfer(chain_, 0, seller, 100), "buyer"));
  EXPECT_EQ(Dollars("seller"), 112U);
  EXPECT_EQ(Get(chain_, "evm_revert", Json::Array({id})), Json(true));
  EXPECT_EQ(Dollars("seller"), 5U);
  EXPECT_EQ(Dollars("buyer"), 1'000'000'000U);
  EXPECT_EQ(Get(chain_, "eth_blockNumber"), Json("0x0"));
  EXPECT_EQ(Get(chain_, "evm_revert", Json::Array({id})), Json(false)) << "once";
}

TEST_F(DevChainTest, TimeMovesForwardOnly) {
  EXPECT_EQ(Fault(Ask(chain_, "anvil_setNextBlockTimestamp", Json::Array({1}))),
            "-32602 Timestamp error: 1 is lower than previous block's timestamp");
  Get(chain_, "evm_increaseTime", Json::Array({3'600}));
  Get(chain_, "evm_mine");
  const auto time = [&] {
    return *Get(chain_, "eth_getBlockByNumber", Json::Array({"latest", false})).Find("timestamp");
  };
  EXPECT_EQ(time(), Json(Uint256(1'800'003'600).ToHexQuantity()));
  Get(chain_, "evm_setNextBlockTimestamp", Json::Array({1'900'000'000}));
  Get(chain_, "evm_mine");
  clock_.Advance(5s);
  Get(chain_, "evm_mine");
  EXPECT_EQ(time(), Json(Uint256(1'900'000'005).ToHexQuantity())) << "and goes on from there";
}

TEST_F(DevChainTest, RefusesWhatIsNoRequest) {
  const struct {
    const char* body;
    const char* want;
  } rows[] = {
      {"{", "-32700 Parse error"},
      {"", "-32700 Parse error"},
      {"[]", "-32600 Invalid request"},
      {"4", "-32600 Invalid request"},
      {"{}", "-32600 Invalid request"},
      {R"({"jsonrpc":"2.0","id":1,"method":7})", "-32600 Invalid request"},
      {R"({"jsonrpc":"2.0","id":1,"method":"eth_nothing"})", "-32601 Method not found"},
      {R"({"jsonrpc":"2.0","id":1,"method":"eth_call","params":{}})",
       "-32602 invalid type: expected a sequence"},
      {R"({"jsonrpc":"2.0","id":1,"method":"anvil_mine","params":[1000000]})",
       "-32602 number too large: at most 10000"},
  };
  for (const auto& row : rows) {
    const Result<Json> answer = codec::ParseJson(chain_.HandleRpc(row.body));
    ASSERT_THAT(answer, ::pontage::testing::IsOk()) << row.body;
    EXPECT_EQ(Fault(*answer), row.want) << row.body;
  }
  EXPECT_EQ(chain_.HandleRpc(R"({"jsonrpc":"2.0","method":"eth_chainId"})"), "");
}

TEST_F(DevChainTest, ABatchIsAnsweredInOrderAndBounded) {
  EXPECT_EQ(chain_.HandleRpc(R"([{"jsonrpc":"2.0","id":"a","method":"eth_chainId"},5,)"
                             R"({"jsonrpc":"2.0","method":"eth_chainId"}])"),
            R"([{"jsonrpc":"2.0","id":"a","result":"0x14a34"},)"
            R"({"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"}}])");
  Json batch = Json::Array();
  const Json one = Json::Object({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "eth_chainId"}});
  for (size_t i = 0; i <= kMaxRpcBatch; ++i) batch.Push(one);
  EXPECT_THAT(chain_.HandleRpc(ToString(batch)), HasSubstr("batch too large"));
}

// Calldata is short, but its offsets may point to one and the same element again and again: without
// a bound by gas this would run 1,000^16 calls.
TEST_F(DevChainTest, AliasedMulticallsEnd) {
  const auto word = [](uint64_t n) { return codec::AbiEncoder().Uint(n).Finish(); };
  codec::Bytes call = chain::CallName();
  for (int depth = 0; depth < 12; ++depth) {
    // tryAggregate(false, [x, x, x, …]): a thousand offsets to one element.
    codec::Bytes nested =
        codec::AbiEncoder().Finish(Selector("tryAggregate(bool,(address,bytes)[])"));
    const auto add = [&nested](const codec::Bytes& bytes) { codec::Append(nested, bytes); };
    add(word(0));
    add(word(64));
    add(word(1'000));
    for (int i = 0; i < 1'000; ++i) add(word(32'000));
    const EvmAddress target = depth == 0 ? chain_.usdc() : chain::Multicall3Address();
    add(codec::AbiEncoder().Address(target.bytes).Dynamic(call).Finish());
    call = std::move(nested);
    if (call.size() > 100'000) break;
  }
  const Json object =
      Json::Object({{"to", chain::Multicall3Address().ToLower()}, {"data", codec::Hex0x(call)}});
  EXPECT_THAT(Fault(Ask(chain_, "eth_call", Json::Array({object}))), HasSubstr("OutOfGas"));
}

TEST_F(DevChainTest, ManyThreadsMayAsk) {
  const EvmAddress seller = IdentityOf("seller").address;
  std::atomic<int> refused{0};
  {
    std::vector<std::jthread> threads;
    for (uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (uint64_t i = 0; i < 25; ++i) {
          const Json answer = Ask(chain_, "eth_sendRawTransaction",
                                  Raw(Transfer(chain_, t * 25 + i, seller, 1), "buyer"));
          if (!Fault(answer).empty()) ++refused;
          Get(chain_, "eth_getBlockByNumber", Json::Array({"pending", true}));
        }
      });
    }
  }
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(Dollars("seller"), 100U);
}

}  // namespace
}  // namespace pontage::sandbox
