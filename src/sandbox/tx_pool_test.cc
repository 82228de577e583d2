#include "sandbox/tx_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox/identity.h"

namespace pontage::sandbox {
namespace {

using codec::Uint256;
using ::testing::ElementsAre;

// "buyer 3": who sent it and its nonce.
std::vector<std::string> Names(const std::vector<const RawTransaction*>& ready) {
  std::vector<std::string> names;
  for (const RawTransaction* tx : ready) {
    std::string name = "?";
    for (const Identity& identity : Identities()) {
      if (identity.address == tx->sender()) name = identity.name;
    }
    names.push_back(name + " " + std::to_string(tx->tx().nonce));
  }
  return names;
}

class TxPoolTest : public ::testing::Test {
 protected:
  // The error's text; "" when taken.
  std::string Add(const std::string& who, uint64_t nonce, uint64_t fee = 100, uint64_t tip = 10) {
    chain::EvmTransaction tx;
    tx.chain_id = 1;
    tx.nonce = nonce;
    tx.max_fee_per_gas = Uint256(fee);
    tx.max_priority_fee_per_gas = Uint256(tip);
    tx.to = IdentityOf("seller").address;
    RawTransaction raw;
    raw.signed_tx = chain::SignTransaction(tx, IdentityOf(who).key);
    const RpcResult<> added = pool_.Add(std::move(raw));
    return added ? "" : added.error().message;
  }
  std::vector<std::string> Ready() const {
    return Names(pool_.Ready([](const crypto::EvmAddress&) { return uint64_t{1}; }));
  }
  TxPool pool_;
};

TEST_F(TxPoolTest, ReadyInTheOrderTheyCameAndOfTheirNonces) {
  for (const auto& [who, nonce] : std::vector<std::pair<const char*, uint64_t>>{
           {"buyer", 2}, {"poor", 1}, {"buyer", 1}, {"poor", 3}, {"poor", 2}, {"buyer", 5}}) {
    ASSERT_EQ(Add(who, nonce), "");
  }
  EXPECT_THAT(Ready(), ElementsAre("poor 1", "buyer 1", "buyer 2", "poor 2", "poor 3"));
  EXPECT_EQ(pool_.NextNonce(IdentityOf("buyer").address, 1), 3U);
  EXPECT_EQ(pool_.NextNonce(IdentityOf("seller").address, 7), 7U);
}

TEST_F(TxPoolTest, ADearerOneTakesThePlace) {
  ASSERT_EQ(Add("buyer", 1, 100, 10), "");
  EXPECT_EQ(Add("buyer", 1, 100, 10), "transaction already imported");
  EXPECT_EQ(Add("buyer", 1, 109, 11), "replacement transaction underpriced");
  EXPECT_EQ(Add("buyer", 1, 110, 10), "replacement transaction underpriced") << "both fees count";
  EXPECT_EQ(Add("buyer", 1, 110, 11), "");
  EXPECT_EQ(pool_.size(), 1U);
}

TEST_F(TxPoolTest, ForgetsWhatIsMined) {
  for (const uint64_t nonce : {1U, 2U, 3U}) ASSERT_EQ(Add("buyer", nonce), "");
  ASSERT_EQ(Add("poor", 1), "");
  pool_.DropBelow(IdentityOf("buyer").address, 3);
  EXPECT_THAT(Ready(), ElementsAre("poor 1"));
  EXPECT_EQ(pool_.size(), 2U);
  pool_.DropBelow(IdentityOf("buyer").address, 9);
  pool_.Remove(IdentityOf("poor").address, 1);
  EXPECT_EQ(pool_.size(), 0U);
}

TEST_F(TxPoolTest, IsBounded) {
  for (uint64_t nonce = 0; nonce < kMaxPoolTransactions; ++nonce) {
    RawTransaction raw;
    raw.signed_tx.tx.nonce = nonce;
    for (size_t i = 0; i < 8; ++i) {
      raw.signed_tx.hash[i] = static_cast<uint8_t>(nonce >> 8 * i);
    }
    ASSERT_TRUE(pool_.Add(raw).has_value());
  }
  EXPECT_EQ(Add("buyer", 1), "txpool is full");
}

}  // namespace
}  // namespace pontage::sandbox
