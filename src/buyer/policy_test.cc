#include "buyer/policy.h"

#include <gtest/gtest.h>

#include "testing/expect.h"
#include "testing/sample_offer.h"

namespace pontage::buyer {
namespace {

using codec::Json;
using testing::FailsWith;
using testing::IsOk;

using testing::kPayee;
using testing::kUsdc;

Json Entry() { return testing::SampleOffer(); }

Json EntryV1() {
  return Json::Object({{"scheme", "exact"},
                       {"network", "base-sepolia"},
                       {"maxAmountRequired", "10000"},
                       {"resource", "http://seller/x"},
                       {"description", ""},
                       {"mimeType", ""},
                       {"asset", kUsdc},
                       {"payTo", kPayee},
                       {"maxTimeoutSeconds", 60},
                       {"extra", Json::Object({{"name", "USDC"}, {"version", "2"}})}});
}

Json With(Json entry, const char* key, Json value) {
  entry.Set(key, std::move(value));
  return entry;
}
Json WithExtra(Json entry, const char* key, Json value) {
  entry.Find("extra")->Set(key, std::move(value));
  return entry;
}

Offer OfferOf(std::vector<Json> accepts, int version = 2) {
  Offer offer;
  offer.version = version;
  offer.accepts = std::move(accepts);
  return offer;
}

const chain::AssetRegistry& Assets() {
  static const chain::AssetRegistry assets = chain::AssetRegistry::WithDefaults();
  return assets;
}

TEST(PolicyTest, OneEntryIsTakenOrRefusedForItsReason) {
  const struct {
    const char* what;
    Json entry;
    std::optional<Code> refused;
  } rows[] = {
      {"the plain one", Entry(), std::nullopt},
      {"lower-case token",
       With(Entry(), "asset", "0x036cbd53842c5426634e7929541ec2318f3dcf7e"),
       {}},
      {"members of its own", With(Entry(), "later", Json::Array()), {}},
      {"the method said aloud", WithExtra(Entry(), "assetTransferMethod", "eip3009"), {}},
      {"the flow said aloud", WithExtra(Entry(), "paymentFlow", "authorization"), {}},
      {"settled first", WithExtra(Entry(), "paymentFlow", "upfront"), {}},
      {"exactly the limit", With(Entry(), "amount", "1000000"), {}},
      {"a millionth above", With(Entry(), "amount", "1000001"), Code::kBuyerPolicy},
      {"beyond counting", With(Entry(), "amount", std::string(77, '9')), Code::kBuyerPolicy},
      {"an unknown scheme", With(Entry(), "scheme", "upto"), Code::kPaymentScheme},
      {"an unknown flow", WithExtra(Entry(), "paymentFlow", "escrow"), Code::kPaymentScheme},
      {"Permit2", WithExtra(Entry(), "assetTransferMethod", "permit2"), Code::kPaymentScheme},
      {"no object", Json("exact"), Code::kPaymentScheme},
      {"an amount that is none", With(Entry(), "amount", "1e4"), Code::kPaymentScheme},
      {"an amount as a number", With(Entry(), "amount", 10000), Code::kPaymentScheme},
      {"no time", With(Entry(), "maxTimeoutSeconds", 0), Code::kPaymentScheme},
      {"another family", With(Entry(), "network", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
       Code::kPaymentNetwork},
      {"a version 1 name", With(Entry(), "network", "base-sepolia"), Code::kPaymentNetwork},
      {"another chain's token", With(Entry(), "network", "eip155:8453"), Code::kPaymentAsset},
      {"an unknown token", With(Entry(), "asset", kPayee), Code::kPaymentAsset},
      {"no address to pay", With(Entry(), "payTo", "seller"), Code::kPaymentAsset},
      {"paid to nobody", With(Entry(), "payTo", "0x0000000000000000000000000000000000000000"),
       Code::kPaymentAsset},
      {"the wrong domain name", WithExtra(Entry(), "name", "USD Coin"), Code::kPaymentDomain},
      {"the wrong domain version", WithExtra(Entry(), "version", "1"), Code::kPaymentDomain},
      {"no domain", With(Entry(), "extra", Json::Object()), Code::kPaymentDomain},
      {"a blank check", With(Entry(), "maxTimeoutSeconds", 86'401), Code::kBuyerPolicy},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    const auto choice = Choose(OfferOf({row.entry}), Assets(), Policy());
    if (row.refused) {
      EXPECT_THAT(choice, FailsWith(*row.refused));
    } else {
      EXPECT_THAT(choice, IsOk());
    }
  }
}

TEST(PolicyTest, WhatIsUnknownIsPassedOverAndTheFirstThatIsGoodIsTaken) {
  const auto choice =
      Choose(OfferOf({With(Entry(), "scheme", "upto"), With(Entry(), "network", "aptos:1"),
                      With(Entry(), "amount", "20000"), Entry()}),
             Assets(), Policy());
  ASSERT_THAT(choice, IsOk());
  EXPECT_EQ(choice->index, 2u);
  EXPECT_EQ(choice->price, Money::Micros(20'000));
}

TEST(PolicyTest, SettlingAfterTheWorkIsPreferred) {
  const auto choice =
      Choose(OfferOf({WithExtra(Entry(), "paymentFlow", "upfront"), Entry()}), Assets(), Policy());
  ASSERT_THAT(choice, IsOk());
  EXPECT_EQ(choice->index, 1u);
}

TEST(PolicyTest, TheRefusalIsTheOneThatCameFurthest) {
  const Offer offer = OfferOf({With(Entry(), "amount", "5000000"), With(Entry(), "scheme", "upto"),
                               With(Entry(), "network", "aptos:1")});
  const auto choice = Choose(offer, Assets(), Policy());
  ASSERT_THAT(choice, FailsWith(Code::kBuyerPolicy));
  EXPECT_EQ(choice.error().detail(), "the price is $5, the limit for one call $1");
  EXPECT_THAT(Choose(OfferOf({}), Assets(), Policy()), FailsWith(Code::kPaymentRequired));
}

TEST(PolicyTest, PinsNarrowWhatIsPaid) {
  Policy policy;
  policy.networks = {chain::ChainId::Evm(8453)};
  EXPECT_THAT(Choose(OfferOf({Entry()}), Assets(), policy), FailsWith(Code::kBuyerPolicy));
  policy.networks = {chain::ChainId::Evm(8453), chain::ChainId::Evm(84532)};
  EXPECT_THAT(Choose(OfferOf({Entry()}), Assets(), policy), IsOk());
  policy.assets = {*crypto::EvmAddress::Parse(kPayee)};
  EXPECT_THAT(Choose(OfferOf({Entry()}), Assets(), policy), FailsWith(Code::kBuyerPolicy));
  policy.assets = {*crypto::EvmAddress::Parse(kUsdc)};
  EXPECT_THAT(Choose(OfferOf({Entry()}), Assets(), policy), IsOk());
  policy.hosts = {"api.example.com"};
  EXPECT_THAT(CheckHost(policy, "API.example.com"), IsOk());
  EXPECT_THAT(CheckHost(policy, "api.example.com.evil.test"), FailsWith(Code::kBuyerPolicy));
  EXPECT_THAT(CheckHost(Policy(), "anybody.test"), IsOk());
}

TEST(PolicyTest, VersionOneIsReadByItsOwnNames) {
  const auto choice = Choose(OfferOf({EntryV1()}, 1), Assets(), Policy());
  ASSERT_THAT(choice, IsOk());
  EXPECT_EQ(choice->asset.chain, chain::ChainId::Evm(84532));
  EXPECT_THAT(Choose(OfferOf({With(EntryV1(), "network", "eip155:84532")}, 1), Assets(), Policy()),
              FailsWith(Code::kPaymentNetwork));
}

TEST(PolicyTest, TheHeaderCountsBeforeTheBody) {
  const Json v2 = Json::Object({{"x402Version", 2},
                                {"error", "Payment required"},
                                {"resource", Json::Object({{"url", "http://seller/x"}})},
                                {"accepts", Json::Array({Entry()})},
                                {"extensions", Json::Object({{"a", Json::Object()}})}});
  const Json v1 = Json::Object({{"x402Version", 1},
                                {"error", "X-PAYMENT header is required"},
                                {"accepts", Json::Array({EntryV1()})},
                                {"title", "Payment required"}});
  const std::string header = x402::EncodeHeader(v2);
  const std::string body = codec::ToString(v1);

  const auto both = ReadOffer(header, body);
  ASSERT_THAT(both, IsOk());
  EXPECT_EQ(both->version, 2);
  EXPECT_EQ(both->error, "Payment required");
  EXPECT_EQ(both->resource, *v2.Find("resource"));
  EXPECT_EQ(both->extensions, *v2.Find("extensions"));
  const auto only_body = ReadOffer(std::nullopt, body);
  ASSERT_THAT(only_body, IsOk());
  EXPECT_EQ(only_body->version, 1);

  EXPECT_THAT(ReadOffer(std::nullopt, ""), FailsWith(Code::kPaymentRequired));
  EXPECT_THAT(ReadOffer(std::nullopt, "<html>402</html>"), FailsWith(Code::kPaymentRequired));
  EXPECT_THAT(ReadOffer(std::nullopt, codec::ToString(v2)), FailsWith(Code::kPaymentRequired));
  EXPECT_THAT(ReadOffer("%%%", body), FailsWith(Code::kPaymentRequired));
  EXPECT_THAT(ReadOffer(x402::EncodeHeader(v1), body), FailsWith(Code::kPaymentRequired));
  EXPECT_THAT(ReadOffer(x402::EncodeHeader(Json::Object({{"x402Version", 2}})), body),
              FailsWith(Code::kPaymentRequired));
}

TEST(PolicyTest, OnlySoManyWaysToPayAreRead) {
  const std::string body = codec::ToString(Json::Object(
      {{"x402Version", 1}, {"accepts", Json::Array(std::vector<Json>(200, EntryV1()))}}));
  const auto offer = ReadOffer(std::nullopt, body);
  ASSERT_THAT(offer, IsOk());
  EXPECT_EQ(offer->accepts.size(), kMaxAccepts);
}

TEST(PolicyTest, WorthIsRoundedUp) {
  const auto n = [](const char* text) { return *codec::Uint256::FromDecimal(text); };
  EXPECT_EQ(Worth(n("1000"), 6), Money::Micros(1'000));
  EXPECT_EQ(Worth(n("1"), 18), Money::Micros(1));
  EXPECT_EQ(Worth(n("1000000000000"), 18), Money::Micros(1));
  EXPECT_EQ(Worth(n("1000000000001"), 18), Money::Micros(2));
  EXPECT_EQ(Worth(n("5"), 2), Money::Micros(50'000));
  EXPECT_EQ(Worth(n("0"), 6), Money::Zero());
  EXPECT_EQ(Worth(codec::Uint256::Max(), 6), std::nullopt);
  EXPECT_EQ(Worth(codec::Uint256::Max(), 0), std::nullopt);
}

}  // namespace
}  // namespace pontage::buyer
