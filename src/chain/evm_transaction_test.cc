#include "chain/evm_transaction.h"

#include <gtest/gtest.h>

#include "chain/evm_calls.h"
#include "codec/abi.h"
#include "codec/hex.h"
#include "codec/rlp.h"
#include "testing/expect.h"
#include "testing/golden.h"
#include "testing/seeds.h"

namespace pontage::chain {
namespace {

using codec::AsBytes;
using codec::Bytes;
using codec::FromHex0x;
using codec::Hex0x;
using codec::Json;
using codec::JsonReader;
using codec::Uint256;
using crypto::EvmAddress;
using pontage::testing::FailsWith;
using pontage::testing::IsOk;
using pontage::testing::Rerun;
using pontage::testing::Seeds;

Bytes Hex(std::string_view text) { return FromHex0x(text, 1 << 20).value(); }
EvmAddress Address(std::string_view text) { return EvmAddress::Parse(text).value(); }

uint32_t Selector(std::string_view signature) {
  const crypto::Hash32 hash = crypto::Keccak256(AsBytes(signature));
  return static_cast<uint32_t>(hash[0] << 24 | hash[1] << 16 | hash[2] << 8 | hash[3]);
}

// The authorization inside the golden transaction.
TransferAuthorization MinedAuthorization() {
  return {
      .from = Address("0x54698062E9a1CAae86075D05d3ED8d4809bFdF03"),
      .to = Address("0x8AD2A8149667651FDEA4ca78A5f2A08c60Aaae39"),
      .value = Uint256(1000),
      .valid_after = Uint256(0),
      .valid_before = Uint256(1795239650),
      .nonce = FromHex0x<32>("0xf0ed7f5dc81c9e65119e0559b6d2704e205b4a3646e994e52598e93bbde239f9")
                   .value()};
}
constexpr char kMinedSignature[] =
    "0x1cc06d62a930672330179fe530732b6210ceda3aa6cb0bc4118b928e2831428b07e5d6a64fb56dd6b3128d4dd038"
    "25"
    "13a3302b85010ee4cb4371c9e6dcc2cf191b";

TEST(EvmTransaction, ReadsWhatViemSignedAndAChainMined) {
  const Json golden = testing::GoldenJson("evm_transaction.json");
  const JsonReader g = JsonReader::Of(golden).value();
  const auto parsed = ParseTransaction(Hex(g.String("raw").value()));
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(Hex0x(parsed->hash), g.String("hash").value());
  EXPECT_EQ(parsed->sender.ToChecksum(), g.String("sender").value());
  EXPECT_EQ(parsed->tx.chain_id, 84532U);
  EXPECT_EQ(parsed->tx.nonce, 0U);
  EXPECT_EQ(parsed->tx.gas_limit, static_cast<uint64_t>(g.Int("gasLimit").value()));
  EXPECT_EQ(parsed->tx.max_priority_fee_per_gas.ToDecimal(),
            g.String("maxPriorityFeePerGas").value());
  EXPECT_EQ(parsed->tx.to, Address(g.String("to").value()));
  EXPECT_TRUE(parsed->tx.value.IsZero());
  EXPECT_EQ(Hex0x(parsed->tx.data), g.String("data").value());
}

TEST(EvmTransaction, OurCalldataIsTheOfficialFacilitators) {
  const Json golden = testing::GoldenJson("evm_transaction.json");
  const JsonReader g = JsonReader::Of(golden).value();
  crypto::Signature65 signature = FromHex0x<65>(kMinedSignature).value();
  EXPECT_EQ(Hex0x(CallTransferWithAuthorization(MinedAuthorization(), signature)),
            g.String("data").value());
  signature[64] = 0;  // Some wallets write it so; tokens want 27.
  EXPECT_EQ(Hex0x(CallTransferWithAuthorization(MinedAuthorization(), signature)),
            g.String("data").value());
}

TEST(EvmTransaction, ReadsTheLogsOfItsReceipt) {
  const Json golden = testing::GoldenJson("evm_transaction.json");
  std::vector<EvmLog> logs;
  for (const JsonReader& r : JsonReader::Of(golden).value().Objects("logs", 4).value()) {
    EvmLog log{.address = Address(r.String("address").value()),
               .topics = {},
               .data = Hex(r.String("data").value())};
    for (const Json& topic : *r.Array("topics").value()) {
      log.topics.push_back(FromHex0x<32>(*topic.AsString()).value());
    }
    logs.push_back(std::move(log));
  }
  ASSERT_EQ(logs.size(), 2U);
  const TransferAuthorization a = MinedAuthorization();
  const auto used = AsAuthorizationUsed(logs[0]);
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->authorizer, a.from);
  EXPECT_EQ(used->nonce, a.nonce);
  const auto transfer = AsTransfer(logs[1]);
  ASSERT_TRUE(transfer.has_value());
  EXPECT_EQ(transfer->from, a.from);
  EXPECT_EQ(transfer->to, a.to);
  EXPECT_EQ(transfer->value, a.value);
  EXPECT_EQ(transfer->token, Address("0x036CbD53842c5426634e7929541eC2318f3dCF7e"));

  // Each for the other, and shapes that only look like them.
  EXPECT_EQ(AsTransfer(logs[0]), std::nullopt);
  EXPECT_EQ(AsAuthorizationUsed(logs[1]), std::nullopt);
  EvmLog erc721 = logs[1];
  erc721.topics.push_back(codec::Bytes32{});
  erc721.data.clear();
  EXPECT_EQ(AsTransfer(erc721), std::nullopt);
  EvmLog long_data = logs[1];
  long_data.data.resize(64);
  EXPECT_EQ(AsTransfer(long_data), std::nullopt);
  EvmLog unclean = logs[1];
  unclean.topics[1][0] = 1;
  EXPECT_EQ(AsTransfer(unclean), std::nullopt);
  EvmLog bare = logs[1];
  bare.topics.clear();
  EXPECT_EQ(AsTransfer(bare), std::nullopt);
  EXPECT_EQ(AsAuthorizationUsed(bare), std::nullopt);
}

EvmTransaction RandomTransaction(Rng& rng) {
  const auto number = [&] {
    Bytes bytes(rng.Next64() % 33);
    rng.Fill(bytes);
    return Uint256::FromBytesBE(bytes).value();
  };
  EvmTransaction tx{.chain_id = 1 + rng.Next64() % 1000000,
                    .nonce = rng.Next64() % 300,
                    .max_priority_fee_per_gas = number(),
                    .max_fee_per_gas = number(),
                    .gas_limit = rng.Next64() % 1000000,
                    .to = std::nullopt,
                    .value = number(),
                    .data = Bytes(rng.Next64() % 300),
                    .access_list = {}};
  rng.Fill(tx.data);
  if (rng.Next64() % 4 != 0) rng.Fill(tx.to.emplace().bytes);
  for (uint64_t i = rng.Next64() % 3; i > 0; --i) {
    AccessListEntry& entry = tx.access_list.emplace_back();
    rng.Fill(entry.address.bytes);
    entry.storage_keys.resize(rng.Next64() % 3);
    for (codec::Bytes32& key : entry.storage_keys) rng.Fill(key);
  }
  return tx;
}

TEST(EvmTransaction, ParsingUndoesSigning) {
  for (const uint64_t seed : Seeds(50)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    const crypto::PrivateKey key = crypto::PrivateKey::Generate(rng);
    const EvmTransaction tx = RandomTransaction(rng);
    const SignedEvmTransaction made = SignTransaction(tx, key);
    const auto back = ParseTransaction(made.raw);
    ASSERT_THAT(back, IsOk());
    EXPECT_EQ(back->tx, tx);
    EXPECT_EQ(back->sender, key.address());
    EXPECT_EQ(back->hash, made.hash);
    EXPECT_EQ(made.hash, crypto::Keccak256(made.raw));
    EXPECT_EQ(SignTransaction(tx, key).raw, made.raw);
  }
}

TEST(EvmTransaction, RefusesEveryOtherForm) {
  SeededRng rng(1);
  const SignedEvmTransaction good =
      SignTransaction(RandomTransaction(rng), crypto::PrivateKey::Generate(rng));
  const codec::RlpItem fields = codec::DecodeRlp(codec::ByteView(good.raw).subspan(1)).value();
  const auto with = [&](void (*change)(codec::RlpItem&)) {
    codec::RlpItem changed = fields;
    change(changed);
    Bytes raw = {2};
    codec::Append(raw, codec::EncodeRlp(changed));
    return ParseTransaction(raw);
  };
  using codec::RlpItem;
  EXPECT_THAT(with([](RlpItem&) {}), IsOk());
  void (*const changes[])(RlpItem&) = {
      [](RlpItem& f) { f.items.pop_back(); },
      [](RlpItem& f) { f.items.push_back(RlpItem::Uint(1)); },
      [](RlpItem& f) { f.items[0] = RlpItem::List({}); },
      [](RlpItem& f) { f.items[1] = RlpItem::Octets(Bytes{0}); },
      [](RlpItem& f) { f.items[4] = RlpItem::Octets(Bytes(9, 1)); },
      [](RlpItem& f) { f.items[5] = RlpItem::Octets(Bytes(19, 1)); },
      [](RlpItem& f) { f.items[5] = RlpItem::List({}); },
      [](RlpItem& f) { f.items[7] = RlpItem::List({}); },
      [](RlpItem& f) { f.items[8] = RlpItem::Octets({}); },
      [](RlpItem& f) { f.items[8] = RlpItem::List({RlpItem::List({})}); },
      [](RlpItem& f) { f.items[9] = RlpItem::Uint(2); },
      [](RlpItem& f) { f.items[9] = RlpItem::Uint(27); },
  };
  for (const auto change : changes) EXPECT_THAT(with(change), FailsWith(Code::kBadRequest));
  EXPECT_THAT(with([](RlpItem& f) { f.items[11] = RlpItem::Uint(Uint256::Max()); }),
              FailsWith(Code::kPaymentSignatureForm));

  EXPECT_THAT(ParseTransaction({}), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ParseTransaction(codec::ByteView(good.raw).subspan(1)), FailsWith(Code::kBadRequest));
  Bytes trailing = good.raw;
  trailing.push_back(0);
  EXPECT_THAT(ParseTransaction(trailing), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ParseTransaction(Bytes(kMaxTransactionBytes + 1, 2)), FailsWith(Code::kBadRequest));
}

TEST(EvmCalls, SelectorsAreTheHashesOfTheirSignatures) {
  const EvmAddress someone = {{7}};
  const TransferAuthorization a = MinedAuthorization();
  const std::pair<Bytes, std::string_view> calls[] = {
      {CallTransferWithAuthorization(a, crypto::Signature65{}),
       "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,"
       "bytes32)"},
      {CallTransferWithAuthorizationBytes(a, Bytes(65, 1)),
       "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"},
      {CallAuthorizationState(someone, a.nonce), "authorizationState(address,bytes32)"},
      {CallBalanceOf(someone), "balanceOf(address)"},
      {CallTransfer(someone, Uint256(1)), "transfer(address,uint256)"},
      {CallDomainSeparator(), "DOMAIN_SEPARATOR()"},
      {CallName(), "name()"},
      {CallVersion(), "version()"},
      {CallDecimals(), "decimals()"},
      {CallAggregate3({}), "aggregate3((address,bool,bytes)[])"},
      {CallTryAggregate(false, {}), "tryAggregate(bool,(address,bytes)[])"},
  };
  for (const auto& [data, signature] : calls) {
    const uint32_t want = Selector(signature);
    ASSERT_GE(data.size(), 4U);
    EXPECT_EQ(static_cast<uint32_t>(data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3]), want)
        << signature;
    EXPECT_EQ((data.size() - 4) % 32, 0U) << signature;
  }
  EXPECT_EQ(Hex0x(TransferTopic()),
            "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
  EXPECT_EQ(Hex0x(AuthorizationUsedTopic()),
            "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5");
  EXPECT_EQ(Multicall3Address().ToChecksum(), "0xcA11bde05977b3631167028862bE2a173976CA11");
}

TEST(EvmCalls, TheBytesOverloadCarriesTheSignatureWhole) {
  const Bytes signature(97, 0xab);  // A contract wallet's: any length.
  const Bytes data = CallTransferWithAuthorizationBytes(MinedAuthorization(), signature);
  const codec::AbiDecoder arguments(codec::ByteView(data).subspan(4));
  EXPECT_EQ(arguments.Address(1).value(), MinedAuthorization().to.bytes);
  EXPECT_EQ(arguments.Word(5).value(), MinedAuthorization().nonce);
  const codec::ByteView carried = arguments.Dynamic(6).value();
  EXPECT_EQ(Bytes(carried.begin(), carried.end()), signature);
}

TEST(EvmCalls, Multicall3ThereAndBack) {
  const Call calls[] = {{.target = {{1}}, .data = CallName(), .allow_failure = true},
                        {.target = {{2}}, .data = CallBalanceOf({{3}}), .allow_failure = false}};
  const Bytes asked = CallAggregate3(calls);
  const auto rows =
      codec::AbiDecoder(codec::ByteView(asked).subspan(4)).DynamicArray(0, kMaxCalls).value();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].Address(0).value(), calls[1].target.bytes);
  EXPECT_TRUE(rows[0].Bool(1).value());
  EXPECT_FALSE(rows[1].Bool(1).value());
  const codec::ByteView inner = rows[1].Dynamic(2).value();
  EXPECT_EQ(Bytes(inner.begin(), inner.end()), calls[1].data);

  const Bytes name = codec::AbiEncoder().Dynamic(AsBytes("USDC")).Finish();
  const Bytes answer = codec::AbiEncoder()
                           .DynamicArray({codec::AbiEncoder().Bool(true).Dynamic(name).Finish(),
                                          codec::AbiEncoder().Bool(false).Dynamic({}).Finish()})
                           .Finish();
  const auto results = ReturnedCalls(answer, 2);
  ASSERT_THAT(results, IsOk());
  EXPECT_TRUE((*results)[0].success);
  EXPECT_EQ(ReturnedString((*results)[0].data).value(), "USDC");
  EXPECT_FALSE((*results)[1].success);
  EXPECT_THAT(ReturnedCalls(answer, 3), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ReturnedCalls({}, 0), FailsWith(Code::kBadRequest));
}

TEST(EvmCalls, ReturnedValuesAreChecked) {
  const Bytes one = codec::AbiEncoder().Uint(uint64_t{1}).Finish();
  const Bytes two = codec::AbiEncoder().Uint(uint64_t{2}).Finish();
  EXPECT_TRUE(ReturnedBool(one).value());
  EXPECT_THAT(ReturnedBool(two), FailsWith(Code::kBadRequest));
  EXPECT_EQ(ReturnedUint(two).value(), Uint256(2));
  EXPECT_EQ(ReturnedWord(two).value(), Uint256(2).ToBytesBE());
  // What a call to an address without code returns.
  EXPECT_THAT(ReturnedBool({}), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ReturnedUint({}), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ReturnedString({}), FailsWith(Code::kBadRequest));
  const Bytes long_text = codec::AbiEncoder().Dynamic(Bytes(kMaxReturnedText + 1, 'x')).Finish();
  EXPECT_THAT(ReturnedString(long_text), FailsWith(Code::kBadRequest));
}

}  // namespace
}  // namespace pontage::chain
