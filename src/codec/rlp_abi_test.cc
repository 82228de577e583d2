#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/abi.h"
#include "codec/hex.h"
#include "codec/rlp.h"
#include "testing/expect.h"
#include "testing/seeds.h"

namespace pontage::codec {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;
using pontage::testing::Rerun;
using pontage::testing::Seeds;

Bytes Hex(std::string_view digits) {
  return FromHex0x("0x" + std::string(digits), 1 << 20).value();
}

RlpItem Text(std::string_view text) { return RlpItem::Octets(AsBytes(text)); }

// Examples of Ethereum's own page on RLP.
TEST(Rlp, KnownEncodings) {
  const RlpItem empty = RlpItem::List({});
  const std::pair<RlpItem, std::string_view> vectors[] = {
      {Text("dog"), "83646f67"},
      {RlpItem::List({Text("cat"), Text("dog")}), "c88363617483646f67"},
      {Text(""), "80"},
      {empty, "c0"},
      {RlpItem::Uint(0), "80"},
      {RlpItem::Octets(Bytes{0}), "00"},
      {RlpItem::Uint(15), "0f"},
      {RlpItem::Uint(127), "7f"},
      {RlpItem::Uint(128), "8180"},
      {RlpItem::Uint(1024), "820400"},
      {RlpItem::List(
           {empty, RlpItem::List({empty}), RlpItem::List({empty, RlpItem::List({empty})})}),
       "c7c0c1c0c3c0c1c0"},
      {Text("Lorem ipsum dolor sit amet, consectetur adipisicing elit"),
       "b8384c6f72656d20697073756d20646f6c6f722073697420616d65742c20636f6e7365637465747572206164697"
       "06"
       "9736963696e6720656c6974"},
  };
  for (const auto& [item, hex] : vectors) {
    EXPECT_EQ(ToHex(EncodeRlp(item)), hex);
    EXPECT_EQ(DecodeRlp(Hex(hex)).value(), item);
  }
}

TEST(Rlp, RefusesEverySecondSpelling) {
  for (const char* bad : {"", "81", "8100", "817f", "b800", "b837", "b90001ff", "c1", "c281",
                          "f800", "f90001c0", "8080", "c0c0", "83646f", "bf0000000000000001",
                          "bfffffffffffffffff00", "ffffffffffffffffff"}) {
    EXPECT_THAT(DecodeRlp(Hex(bad)), FailsWith(Code::kBadRequest)) << bad;
  }
}

TEST(Rlp, DepthIsBounded) {
  Bytes lists = {0xc0};  // Each list around the last is one octet longer.
  for (size_t depth = 1; depth < kMaxRlpDepth; ++depth) {
    lists.insert(lists.begin(), static_cast<uint8_t>(0xc0 + lists.size()));
  }
  EXPECT_THAT(DecodeRlp(lists), IsOk());
  lists.insert(lists.begin(), static_cast<uint8_t>(0xc0 + lists.size()));
  EXPECT_THAT(DecodeRlp(lists), FailsWith(Code::kBadRequest));
}

TEST(Rlp, NumbersHaveNoLeadingZeros) {
  EXPECT_THAT(RlpItem::Octets(Bytes{0, 1}).ToUint(), FailsWith(Code::kBadRequest));
  EXPECT_THAT(RlpItem::List({}).ToUint(), FailsWith(Code::kBadRequest));
  EXPECT_THAT(RlpItem::Octets(Bytes(33, 1)).ToUint(), FailsWith(Code::kBadRequest));
  EXPECT_THAT(RlpItem::Octets(Bytes(9, 1)).ToU64(), FailsWith(Code::kBadRequest));
  EXPECT_EQ(RlpItem::Uint(Uint256::Max()).ToUint().value(), Uint256::Max());
  EXPECT_EQ(RlpItem::Uint(UINT64_MAX).ToU64().value(), UINT64_MAX);
}

RlpItem RandomItem(Rng& rng, size_t depth) {
  if (depth == 1 || rng.Next64() % 2 == 0) {
    Bytes bytes(rng.Next64() % 70);
    rng.Fill(bytes);
    return RlpItem::Octets(bytes);
  }
  RlpItem list = RlpItem::List({});
  for (uint64_t i = rng.Next64() % 6; i > 0; --i) list.items.push_back(RandomItem(rng, depth - 1));
  return list;
}

TEST(Rlp, DecodingUndoesEncoding) {
  for (const uint64_t seed : Seeds(100)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    const RlpItem item = RandomItem(rng, kMaxRlpDepth);
    EXPECT_EQ(DecodeRlp(EncodeRlp(item)).value(), item);
  }
}

// The example of Solidity's ABI specification: f(uint256,uint32[],bytes10,bytes), without the
// static array, which no call of ours has.
TEST(Abi, HeadsThenTails) {
  AbiEncoder call;
  call.Uint(0x123).Dynamic(AsBytes("Hello, world!")).Bool(true);
  EXPECT_EQ(ToHex(call.Finish(0xa9059cbb)),
            "a9059cbb"
            "0000000000000000000000000000000000000000000000000000000000000123"
            "0000000000000000000000000000000000000000000000000000000000000060"
            "0000000000000000000000000000000000000000000000000000000000000001"
            "000000000000000000000000000000000000000000000000000000000000000d"
            "48656c6c6f2c20776f726c642100000000000000000000000000000000000000");
}

TEST(Abi, ReadsBackWhatItWrote) {
  AddressBytes address;
  address.fill(0xab);
  const Bytes inner1 = AbiEncoder().Bool(true).Dynamic(AsBytes("one")).Finish();
  const Bytes inner2 = AbiEncoder().Bool(false).Dynamic({}).Finish();
  const Bytes bytes =
      AbiEncoder().Address(address).DynamicArray({inner1, inner2}).Uint(Uint256::Max()).Finish();
  const AbiDecoder tuple(bytes);
  EXPECT_EQ(tuple.Address(0).value(), address);
  EXPECT_EQ(tuple.Uint(2).value(), Uint256::Max());
  const std::vector<AbiDecoder> rows = tuple.DynamicArray(1, 2).value();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_TRUE(rows[0].Bool(0).value());
  EXPECT_EQ(AsText(rows[0].Dynamic(1).value()), "one");
  EXPECT_FALSE(rows[1].Bool(0).value());
  EXPECT_EQ(rows[1].Dynamic(1).value().size(), 0U);
  EXPECT_THAT(tuple.DynamicArray(1, 1), FailsWith(Code::kBadRequest));
}

TEST(Abi, RefusesWhatLiesOutsideOrIsNotClean) {
  const auto word = [](std::string_view last) {
    return std::string(64 - last.size(), '0') + std::string(last);
  };
  EXPECT_THAT(AbiDecoder(Hex("00")).Word(0), FailsWith(Code::kBadRequest));
  EXPECT_THAT(AbiDecoder(Hex(word("2"))).Bool(0), FailsWith(Code::kBadRequest));
  const Bytes wide = Hex("01" + std::string(62, '0'));
  EXPECT_THAT(AbiDecoder(wide).Address(0), FailsWith(Code::kBadRequest));
  EXPECT_THAT(AbiDecoder(wide).U64(0), FailsWith(Code::kBadRequest));
  const std::pair<const char*, std::string> dynamic[] = {
      {"an offset outside", word("40")},
      {"a huge offset", std::string(64, 'f')},
      {"a length outside", word("20") + word("1")},
      {"a huge length", word("20") + std::string(64, 'f')},
      {"a length near 2^64", word("20") + word("ffffffffffffffff") + word("0")},
      {"no room for the length", word("21")},
      {"unclean padding", word("20") + word("1") + "61" + std::string(60, '0') + "01"},
      {"missing padding", word("20") + word("1") + "61"},
  };
  for (const auto& [why, hex] : dynamic) {
    const Bytes bytes = Hex(hex);
    EXPECT_THAT(AbiDecoder(bytes).Dynamic(0), FailsWith(Code::kBadRequest)) << why;
  }
  const Bytes many = Hex(word("20") + word("ffffffff"));
  EXPECT_THAT(AbiDecoder(many).DynamicArray(0, 100), FailsWith(Code::kBadRequest));
  const Bytes outside = Hex(word("20") + word("1") + word("60"));
  EXPECT_THAT(AbiDecoder(outside).DynamicArray(0, 100), FailsWith(Code::kBadRequest));
}

}  // namespace
}  // namespace pontage::codec
