// The chain behind a real server on loopback, asked by our own clients.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "chain/evm_rpc.h"
#include "chain/evm_transaction.h"
#include "chain/evm_typed_data.h"
#include "chain/registry.h"
#include "io/timer.h"
#include "net/client.h"
#include "sandbox/dev_chain.h"
#include "testing/expect.h"

namespace pontage::sandbox {
namespace {

using codec::Uint256;
using crypto::EvmAddress;
using ::pontage::testing::IsOk;

class RpcHttpTest : public ::testing::Test {
 protected:
  explicit RpcHttpTest(Millis block_time = Millis(0))
      : chain_({.chain_id = 84532, .block_time = block_time}, Clock::System()),
        server_(loop_, {}, RpcHandler(chain_)) {
    EXPECT_THAT(server_.Listen("127.0.0.1:0"), IsOk());
    url_ = "http://127.0.0.1:" + std::to_string(server_.port());
  }
  // Everything here is on loopback; what takes longer hangs.
  static Deadline Soon() { return Deadline::In(Clock::System(), 10s); }

  Task<net::Client::Whole> Fetch(std::string method, std::string body) {
    net::Client client(loop_);
    PTG_CO_TRY(const net::Url url, net::ParseUrl(url_));
    net::RequestHead head;
    head.method = method;
    head.target = "/";
    head.headers.Add("Content-Type", "application/json");
    head.headers.Add("Access-Control-Request-Headers", "x-wallet");
    co_return co_await client.Fetch(url, head, body, 1 << 20, Soon());
  }
  net::Client::Whole MustFetch(const std::string& method, const std::string& body) {
    auto answer = loop_.RunUntilDone(Fetch(method, body));
    EXPECT_THAT(answer, IsOk());
    return answer ? std::move(*answer) : net::Client::Whole{};
  }
  std::unique_ptr<chain::EvmRpc> View() {
    auto view = chain::EvmRpc::Make(chain::ChainId::Evm(84532), {url_}, Clock::System());
    EXPECT_THAT(view, IsOk());
    return std::move(*view);
  }

  Loop loop_;
  DevChain chain_;
  net::Server server_;
  std::string url_;
};

TEST_F(RpcHttpTest, AnswersAndIsOpenToBrowsers) {
  const auto answer = MustFetch("POST", R"({"jsonrpc":"2.0","id":1,"method":"eth_chainId"})");
  EXPECT_EQ(answer.head.status, 200);
  EXPECT_EQ(answer.body, R"({"jsonrpc":"2.0","id":1,"result":"0x14a34"})");
  EXPECT_EQ(answer.head.headers.Get("Content-Type"), "application/json");
  EXPECT_EQ(answer.head.headers.Get("Access-Control-Allow-Origin"), "*");
  const auto preflight = MustFetch("OPTIONS", "");
  EXPECT_EQ(preflight.head.status, 204);
  EXPECT_EQ(preflight.head.headers.Get("Access-Control-Allow-Headers"), "x-wallet");
}

TEST_F(RpcHttpTest, RefusesOtherMethodsAndLargeBodies) {
  EXPECT_EQ(MustFetch("GET", "").head.status, 405);
  EXPECT_EQ(MustFetch("POST", std::string(kMaxRpcBody + 1, ' ')).head.status, 413);
  EXPECT_EQ(MustFetch("POST", R"({"jsonrpc":"2.0","method":"eth_chainId"})").head.status, 204);
}

// What a facilitator of ours does for one payment, read by read.
TEST_F(RpcHttpTest, OurOwnFacilitatorsReadsAgree) {
  const auto view = View();
  const crypto::PrivateKey buyer = IdentityOf("buyer").key.Clone();
  const crypto::PrivateKey facilitator = IdentityOf("facilitator").key.Clone();
  const EvmAddress seller = IdentityOf("seller").address;
  const chain::AssetRegistry registry = chain::AssetRegistry::WithDefaults();
  const chain::EvmAsset usdc = *registry.DefaultOf(chain::ChainId::Evm(84532));

  chain::TransferAuthorization auth;
  auth.from = buyer.address();
  auth.to = seller;
  auth.value = Uint256(1'000);
  auth.valid_before = Uint256(4'000'000'000);
  auth.nonce.fill(7);
  const crypto::Hash32 separator =
      chain::DomainSeparator({usdc.eip712_name, usdc.eip712_version, 84532, usdc.address});
  const codec::Bytes call = chain::CallTransferWithAuthorization(
      auth, buyer.SignRecoverable(chain::DigestOf(separator, auth)));

  const auto run = [&]() -> Task<> {
    std::vector<chain::EvmAsset> assets{usdc};
    PTG_CO_RUN(co_await chain::CheckEvmChain(*view, assets, Soon()));

    chain::TransferQuestion question;
    question.asset = usdc.address;
    question.payer = auth.from;
    question.nonce = auth.nonce;
    question.calldata = call;
    question.sender = facilitator.address();
    question.estimate = true;
    PTG_CO_TRY(const chain::TransferFacts facts, co_await view->AskTransfer(question, Soon()));
    EXPECT_TRUE(facts.asset_has_code);
    EXPECT_FALSE(facts.payer_has_code);
    EXPECT_FALSE(facts.nonce_used);
    EXPECT_TRUE(facts.succeeds);
    EXPECT_EQ(facts.balance, Uint256(1'000'000'000));

    PTG_CO_TRY(const chain::EvmFees fees, co_await view->Fees(Soon()));
    chain::EvmTransaction tx;
    tx.chain_id = 84532;
    tx.max_priority_fee_per_gas = fees.priority_fee;
    PTG_CO_TRY(tx.max_fee_per_gas, Add(fees.base_fee, fees.priority_fee));
    tx.gas_limit = facts.gas;
    tx.to = usdc.address;
    tx.data = call;
    const auto signed_tx = chain::SignTransaction(tx, facilitator);
    std::vector<codec::Bytes> raws{signed_tx.raw, signed_tx.raw};
    PTG_CO_TRY(const std::vector<chain::Sent> sent, co_await view->Send(raws, Soon()));
    EXPECT_EQ(sent[0], chain::Sent::kAccepted);
    EXPECT_EQ(sent[1], chain::Sent::kNonceTooLow) << "it is mined by then";

    std::vector<crypto::Hash32> hashes{signed_tx.hash, crypto::Hash32{}};
    PTG_CO_TRY(const auto receipts, co_await view->Receipts(hashes, Soon()));
    EXPECT_FALSE(receipts[1].has_value());
    if (!receipts[0]) co_return Fail(Code::kInternal, "no receipt");
    EXPECT_TRUE(receipts[0]->ok);
    EXPECT_EQ(receipts[0]->gas_used, facts.gas) << "the estimate is exact";
    EXPECT_EQ(receipts[0]->logs.size(), 2U);

    PTG_CO_TRY(const bool used,
               co_await view->NonceUsed(usdc.address, auth.from, auth.nonce, Soon()));
    EXPECT_TRUE(used);
    chain::LogFilter filter;
    filter.address = usdc.address;
    filter.topics = {chain::AuthorizationUsedTopic(), auth.from.ToWord(), auth.nonce};
    filter.to_block = receipts[0]->block;
    PTG_CO_TRY(const auto logs, co_await view->Logs(filter, Soon()));
    EXPECT_EQ(logs.size(), 1U);
    PTG_CO_TRY(const uint64_t count,
               co_await view->TransactionCount(facilitator.address(), true, Soon()));
    EXPECT_EQ(count, 1U);
    co_return {};
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_EQ(chain_.BalanceOf(seller), Uint256(1'000));
}

class TimedRpcTest : public RpcHttpTest {
 protected:
  TimedRpcTest() : RpcHttpTest(100ms) {}
};

TEST_F(TimedRpcTest, BlocksComeByThemselvesAndTakeWhatWaits) {
  loop_.Spawn(chain_.RunBlocks(), "sandbox.blocks");
  const auto view = View();
  const auto run = [&]() -> Task<> {
    chain::EvmTransaction tx;
    tx.chain_id = 84532;
    tx.max_fee_per_gas = Uint256(3'000'000'000);
    tx.max_priority_fee_per_gas = Uint256(1'000'000'000);
    tx.gas_limit = 100'000;
    tx.to = chain_.usdc();
    tx.data = chain::CallTransfer(IdentityOf("seller").address, Uint256(1));
    std::vector<codec::Bytes> raws;
    std::vector<crypto::Hash32> hashes;
    for (; tx.nonce < 100; ++tx.nonce) {
      const auto signed_tx = chain::SignTransaction(tx, IdentityOf("buyer").key);
      raws.push_back(signed_tx.raw);
      hashes.push_back(signed_tx.hash);
    }
    PTG_CO_TRY(const auto sent, co_await view->Send(raws, Soon()));
    EXPECT_THAT(sent, ::testing::Each(chain::Sent::kAccepted));
    PTG_CO_TRY(const uint64_t before,
               co_await view->TransactionCount(IdentityOf("buyer").address, true, Soon()));
    EXPECT_EQ(before, 100U);
    const Deadline by = Soon();
    for (;;) {
      PTG_CO_TRY(const auto receipts, co_await view->Receipts(hashes, by));
      if (receipts.back()) break;
      PTG_CO_RUN(co_await Sleep(20ms));
    }
    co_return {};
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_EQ(chain_.BalanceOf(IdentityOf("seller").address), Uint256(100));
}

}  // namespace
}  // namespace pontage::sandbox
