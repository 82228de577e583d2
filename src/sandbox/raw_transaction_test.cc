#include "sandbox/raw_transaction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/hex.h"
#include "codec/rlp.h"
#include "sandbox/identity.h"
#include "testing/expect.h"

namespace pontage::sandbox {
namespace {

using codec::Bytes;
using codec::RlpItem;
using codec::Uint256;
using ::pontage::testing::FailsWith;
using ::pontage::testing::IsOk;

// The example of EIP-155 itself: nonce 9, 20 gwei, one ether to 0x3535…, key 0x4646….
constexpr char kEip155[] =
    "0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a0"
    "28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b"
    "3800ccf555c9f3dc64214b297fb1966a3b6d83";

Bytes FromHex(std::string_view text) { return *codec::FromHex0x(text, 1 << 20); }

TEST(RawTransactionTest, ReadsTheExampleOfEip155) {
  const auto raw = ParseRawTransaction(FromHex(kEip155));
  ASSERT_THAT(raw, IsOk());
  EXPECT_EQ(raw->type, 0);
  EXPECT_TRUE(raw->has_chain_id);
  EXPECT_EQ(raw->tx().chain_id, 1U);
  EXPECT_EQ(raw->tx().nonce, 9U);
  EXPECT_EQ(raw->tx().gas_limit, 21'000U);
  EXPECT_EQ(raw->tx().max_fee_per_gas, Uint256(20'000'000'000));
  EXPECT_EQ(raw->tx().value, Uint256(1'000'000'000'000'000'000));
  EXPECT_EQ(raw->v, 37U);
  EXPECT_EQ(raw->sender().ToLower(), "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f");
}

TEST(RawTransactionTest, ReadsWhatWeSign) {
  chain::EvmTransaction tx;
  tx.chain_id = 84532;
  tx.nonce = 3;
  tx.gas_limit = 21'000;
  tx.to = IdentityOf("seller").address;
  const auto signed_tx = chain::SignTransaction(tx, IdentityOf("buyer").key);
  const auto raw = ParseRawTransaction(signed_tx.raw);
  ASSERT_THAT(raw, IsOk());
  EXPECT_EQ(raw->type, 2);
  EXPECT_EQ(raw->tx(), tx);
  EXPECT_EQ(raw->hash(), signed_tx.hash);
  EXPECT_EQ(raw->sender(), IdentityOf("buyer").address);
  EXPECT_FALSE(raw->r.IsZero());
}

TEST(RawTransactionTest, RefusesEveryOtherSpelling) {
  const Bytes good = FromHex(kEip155);
  EXPECT_THAT(ParseRawTransaction({}), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ParseRawTransaction(Bytes{0x01, 0xc0}), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ParseRawTransaction(Bytes{0x02, 0xc0}), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ParseRawTransaction(Bytes{0xc0}), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ParseRawTransaction(Bytes(chain::kMaxTransactionBytes + 1, 0xc0)),
              FailsWith(Code::kBadRequest));
  Bytes longer = good;
  longer.push_back(0);
  EXPECT_THAT(ParseRawTransaction(longer), FailsWith(Code::kBadRequest));
  // v of 26, 29 and 34 name no parity.
  for (const uint64_t v : {uint64_t{0}, uint64_t{26}, uint64_t{29}, uint64_t{34}}) {
    RlpItem list = *codec::DecodeRlp(good);
    list.items[6] = RlpItem::Uint(v);
    EXPECT_FALSE(ParseRawTransaction(codec::EncodeRlp(list)).has_value()) << v;
  }
}

TEST(RawTransactionTest, IntrinsicGasCountsCalldataAndAccessLists) {
  EXPECT_EQ(IntrinsicGas(codec::ByteView{}), 21'000U);
  EXPECT_EQ(IntrinsicGas(Bytes{0, 0, 1}), 21'024U);
  chain::EvmTransaction tx;
  tx.access_list = {{.address = {}, .storage_keys = {{}, {}}}};
  EXPECT_EQ(IntrinsicGas(tx), 21'000U + 2'400U + 2 * 1'900U);
}

}  // namespace
}  // namespace pontage::sandbox
