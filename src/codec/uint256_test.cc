// Against boost::multiprecision as the oracle.
#include "codec/uint256.h"

#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "testing/expect.h"
#include "testing/seeds.h"

namespace pontage::codec {
namespace {

using Big = boost::multiprecision::cpp_int;
using pontage::testing::FailsWith;
using pontage::testing::Rerun;
using pontage::testing::Seeds;

constexpr char kMaxDecimal[] =
    "115792089237316195423570985008687907853269984665640564039457584007913129639935";
const Big kTwo256 = Big(1) << 256;

Big ToBig(const Uint256& n) {
  Big big = 0;
  for (const uint8_t b : n.ToBytesBE()) big = big << 8 | b;
  return big;
}

// Of any width, so that small, middling and full numbers are all met.
Uint256 RandomNumber(Rng& rng) {
  Bytes bytes(rng.Next64() % 33);
  rng.Fill(bytes);
  if (rng.Next64() % 4 == 0) std::fill(bytes.begin(), bytes.end(), 0xff);
  return Uint256::FromBytesBE(bytes).value();
}

TEST(Uint256, DecimalFormIsStrict) {
  EXPECT_EQ(Uint256::FromDecimal("0").value(), Uint256(0));
  EXPECT_EQ(Uint256::FromDecimal("10000").value(), Uint256(10000));
  EXPECT_EQ(Uint256::FromDecimal(kMaxDecimal).value(), Uint256::Max());
  for (const char* bad :
       {"", "00", "01", "+1", "-1", " 1", "1 ", "1.0", "1e3", "0x10", "1_000", "\xd9\xa1",
        "115792089237316195423570985008687907853269984665640564039457584007913129639936",
        "999999999999999999999999999999999999999999999999999999999999999999999999999999",
        "1157920892373161954235709850086879078532699846656405640394575840079131296399350"}) {
    EXPECT_THAT(Uint256::FromDecimal(bad), FailsWith(Code::kBadRequest)) << bad;
  }
}

TEST(Uint256, FixedDecimalKeepsTheOrder) {
  EXPECT_EQ(Uint256(7).ToFixedDecimal(), std::string(77, '0') + "7");
  EXPECT_EQ(Uint256::Max().ToFixedDecimal(), kMaxDecimal);
  EXPECT_THAT(Uint256::FromFixedDecimal("7"), FailsWith(Code::kBadRequest));
  EXPECT_EQ(Uint256::FromFixedDecimal(std::string(78, '0')).value(), Uint256(0));
  EXPECT_THAT(Uint256::FromFixedDecimal(std::string(78, '9')), FailsWith(Code::kBadRequest));
}

TEST(Uint256, HexQuantityIsStrict) {
  EXPECT_EQ(Uint256::FromHexQuantity("0x0").value(), Uint256(0));
  EXPECT_EQ(Uint256::FromHexQuantity("0x14a34").value(), Uint256(84532));
  EXPECT_EQ(Uint256::FromHexQuantity("0x" + std::string(64, 'f')).value(), Uint256::Max());
  for (const char* bad : {"", "0x", "0x00", "0x01", "10", "0xg", "0x-1", "0X1"}) {
    EXPECT_THAT(Uint256::FromHexQuantity(bad), FailsWith(Code::kBadRequest)) << bad;
  }
  EXPECT_THAT(Uint256::FromHexQuantity("0x1" + std::string(64, '0')), FailsWith(Code::kBadRequest));
  EXPECT_EQ(Uint256(0).ToHexQuantity(), "0x0");
  EXPECT_EQ(Uint256(84532).ToHexQuantity(), "0x14a34");
}

TEST(Uint256, SixtyFourBits) {
  EXPECT_TRUE(Uint256(UINT64_MAX).FitsU64());
  EXPECT_EQ(Uint256(UINT64_MAX).ToU64(), UINT64_MAX);
  const Uint256 above = Add(Uint256(UINT64_MAX), Uint256(1)).value();
  EXPECT_FALSE(above.FitsU64());
  EXPECT_EQ(above.ToU64(), std::nullopt);
  EXPECT_EQ(above.ToDecimal(), "18446744073709551616");
}

TEST(Uint256, NothingWraps) {
  EXPECT_THAT(Add(Uint256::Max(), Uint256(1)), FailsWith(Code::kBadRequest));
  EXPECT_THAT(Sub(Uint256(0), Uint256(1)), FailsWith(Code::kBadRequest));
  EXPECT_THAT(Mul(Uint256::Max(), 2), FailsWith(Code::kBadRequest));
  EXPECT_EQ(Mul(Uint256::Max(), 1).value(), Uint256::Max());
  EXPECT_EQ(Mul(Uint256::Max(), 0).value(), Uint256(0));
  EXPECT_THAT(Uint256::FromBytesBE(Bytes(33, 0)), FailsWith(Code::kBadRequest));
}

TEST(Uint256, AgreesWithTheOracle) {
  for (const uint64_t seed : Seeds(500)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    const Uint256 a = RandomNumber(rng);
    const Uint256 b = RandomNumber(rng);
    const uint64_t small = rng.Next64() >> (rng.Next64() % 64);
    const Big x = ToBig(a);
    const Big y = ToBig(b);

    EXPECT_EQ(a.ToDecimal(), x.str());
    EXPECT_EQ(Uint256::FromDecimal(x.str()).value(), a);
    EXPECT_EQ(Uint256::FromFixedDecimal(a.ToFixedDecimal()).value(), a);
    EXPECT_EQ(Uint256::FromHexQuantity(a.ToHexQuantity()).value(), a);
    EXPECT_EQ(a.ToFixedDecimal() < b.ToFixedDecimal(), x < y);
    EXPECT_EQ(a < b, x < y);
    EXPECT_EQ(a == b, x == y);

    const Result<Uint256> sum = Add(a, b);
    ASSERT_EQ(sum.has_value(), x + y < kTwo256);
    if (sum) EXPECT_EQ(ToBig(*sum), x + y);
    const Result<Uint256> difference = Sub(a, b);
    ASSERT_EQ(difference.has_value(), x >= y);
    if (difference) EXPECT_EQ(ToBig(*difference), x - y);
    const Result<Uint256> product = Mul(a, small);
    ASSERT_EQ(product.has_value(), x * small < kTwo256);
    if (product) EXPECT_EQ(ToBig(*product), x * small);
    const uint64_t by = small == 0 ? 1 : small;
    const QuotientRemainder qr = DivMod(a, by);
    EXPECT_EQ(ToBig(qr.quotient), x / by);
    EXPECT_EQ(Big(qr.remainder), x % by);
  }
}

}  // namespace
}  // namespace pontage::codec
