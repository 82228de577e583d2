#include "rail/x402_rail.h"

#include <array>
#include <set>

#include <gtest/gtest.h>

#include "codec/base64.h"
#include "testing/expect.h"

namespace pontage::rail {
namespace {

using codec::Json;
using testing::FailsWith;
using testing::IsOk;

constexpr const char* kPayee = "0x8AD2A8149667651FDEA4ca78A5f2A08c60Aaae39";

x402::Requirements Offered() {
  x402::Requirements q;
  q.scheme = "exact";
  q.network = "eip155:84532";
  q.amount = codec::Uint256(1000);
  q.asset = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
  q.pay_to = kPayee;
  q.max_timeout_s = 300;
  q.extra = Json::Object({{"name", "USDC"}, {"version", "2"}});
  return q;
}

TEST(MatchesOfferTest, EveryMemberCounts) {
  EXPECT_THAT(MatchesOffer(Offered().ToJson(), Offered()), IsOk());
  const struct {
    const char* member;
    Json other;
  } cases[] = {{"scheme", "upto"},
               {"network", "eip155:8453"},
               {"amount", "999"},
               {"amount", "01000"},
               {"asset", "0x036CbD53842c5426634e7929541eC2318f3dCF70"},
               {"payTo", "0x036CbD53842c5426634e7929541eC2318f3dCF7e"},
               {"maxTimeoutSeconds", 301}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.member);
    Json accepted = Offered().ToJson();
    accepted.Set(c.member, c.other);
    const Result<> got = MatchesOffer(accepted, Offered());
    ASSERT_THAT(got, FailsWith(Code::kPaymentNoMatch));
    EXPECT_EQ(got.error().pointer(), "/accepted/" + std::string(c.member));
    accepted.Remove(c.member);
    EXPECT_FALSE(MatchesOffer(accepted, Offered()).has_value());
  }
}

TEST(MatchesOfferTest, ExtraMayGrowAndNotChange) {
  Json accepted = Offered().ToJson();
  accepted.Find("extra")->Set("mine", true);
  EXPECT_THAT(MatchesOffer(accepted, Offered()), IsOk());
  accepted.Find("extra")->Set("name", "USD Coin");
  EXPECT_THAT(MatchesOffer(accepted, Offered()), FailsWith(Code::kPaymentNoMatch));
  accepted.Remove("extra");
  EXPECT_THAT(MatchesOffer(accepted, Offered()), FailsWith(Code::kPaymentNoMatch));
}

TEST(MatchesOfferTest, AddressesCompareWithoutCase) {
  Json accepted = Offered().ToJson();
  accepted.Set("payTo", "0x8ad2a8149667651fdea4ca78a5f2a08c60aaae39");
  EXPECT_THAT(MatchesOffer(accepted, Offered()), IsOk());
}

TEST(SameResourceTest, TheCanonicalPathDecides) {
  const std::string ours = "https://api.example.com/v1/quotes/btc?x=1";
  for (const char* same : {"https://api.example.com/v1/quotes/btc?x=1",
                           "https://API.example.com:443/v1//Quotes/btc?x=1",
                           "https://api.example.com/v1/quotes/%62tc/?x=1"}) {
    EXPECT_THAT(SameResource(same, ours), IsOk()) << same;
  }
  for (const char* other :
       {"http://api.example.com/v1/quotes/btc?x=1", "https://api.example.org/v1/quotes/btc?x=1",
        "https://api.example.com/v1/quotes/eth?x=1", "https://api.example.com/v1/quotes/btc",
        "https://api.example.com/v1/quotes/btc?x=2",
        "https://api.example.com:444/v1/quotes/btc?x=1", "", "nonsense"}) {
    EXPECT_THAT(SameResource(other, ours), FailsWith(Code::kPaymentResource)) << other;
  }
}

// Asks nobody: what the rail needs from a facilitator is tested with the real one.
class NoFacilitator final : public settle::Facilitator {
 public:
  Task<x402::VerifyAnswer> Verify(const x402::Payment&, const x402::Requirements&,
                                  Deadline) override {
    co_return Fail(Code::kFacilitatorUnreachable, "nobody");
  }
  Task<Settlement> Settle(const x402::Payment&, const x402::Requirements&, Deadline) override {
    co_return Fail(Code::kFacilitatorUnreachable, "nobody");
  }
  Task<Traced> Lookup(const x402::Payment&, const x402::Requirements&, Deadline) override {
    co_return Traced{};
  }
  Task<std::vector<Kind>> Supported(Deadline) override { co_return std::vector<Kind>{}; }
  std::string_view name() const override { return "nobody"; }
};

class X402RailTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<X402Rail>> Make(catalog::Route route, uint64_t chain = 84532) {
    X402Options options;
    options.pay_to.push_back({chain::ChainId::Evm(chain), kPayee});
    return X402Rail::Make({std::move(route)}, chain::AssetRegistry::WithDefaults(),
                          std::move(options), facilitator_, Clock::System());
  }
  static catalog::Route Route() {
    catalog::Route route;
    route.match = "/a";
    route.price = Money::Micros(1000);
    return route;
  }
  NoFacilitator facilitator_;
};

TEST_F(X402RailTest, OneRefusalSpeaksBothVersions) {
  const auto rail = Make(Route());
  ASSERT_THAT(rail, IsOk());
  deal::Quote quote;
  quote.resource_url = "https://shop.example/a";
  deal::Challenge challenge;
  (*rail)->Offer(quote, Error(Code::kPaymentRequired, ""), challenge);
  ASSERT_EQ(challenge.headers.size(), 1U);
  EXPECT_EQ(challenge.headers[0].first, "PAYMENT-REQUIRED");
  const auto v2 = codec::ParseJson(*codec::DecodeBase64(challenge.headers[0].second));
  EXPECT_EQ(x402::ParseChallenge(*v2)->accepts[0].network, "eip155:84532");
  EXPECT_EQ(*v2->Find("resource")->Find("url")->AsString(), quote.resource_url);
  const auto v1 = x402::ParseChallenge(challenge.members);
  ASSERT_THAT(v1, IsOk());
  EXPECT_EQ(v1->version, 1);
  EXPECT_EQ(v1->accepts[0].network, "base-sepolia");
  EXPECT_EQ(v1->accepts[0].resource, quote.resource_url);
  EXPECT_EQ(v1->accepts[0].amount.ToDecimal(), "1000");
}

TEST_F(X402RailTest, AVersionThatIsOffIsNotOffered) {
  catalog::Route route = Route();
  route.v1 = false;
  const auto rail = Make(route);
  ASSERT_THAT(rail, IsOk());
  const deal::Quote quote;
  deal::Challenge challenge;
  (*rail)->Offer(quote, Error(Code::kPaymentRequired, ""), challenge);
  EXPECT_EQ(challenge.members.Find("accepts"), nullptr);
  EXPECT_FALSE(challenge.plain_json);
}

TEST_F(X402RailTest, ATimeoutCoversAnsweringAndSettling) {
  catalog::Route route = Route();
  route.answer_timeout = Millis(500'000);
  const auto rail = Make(route);
  ASSERT_THAT(rail, IsOk());
  EXPECT_EQ((*rail)->OffersV2(0)[0].max_timeout_s, 500 + 30 + 6 + 60);
}

TEST_F(X402RailTest, WhatCannotBeOfferedIsAConfigurationError) {
  catalog::Route scheme = Route();
  scheme.scheme = "upto";
  EXPECT_THAT(Make(scheme), FailsWith(Code::kConfig));
  catalog::Route network = Route();
  network.networks = {"eip155:1"};
  EXPECT_THAT(Make(network), FailsWith(Code::kConfig));
  catalog::Route versions = Route();
  versions.v1 = versions.v2 = false;
  EXPECT_THAT(Make(versions), FailsWith(Code::kConfig));
}

// Who paid and reloads find each other: the books are asked by this key.
TEST_F(X402RailTest, APaymentIsKnownThoughItsOfferIsGone) {
  const Json authorization = Json::Object({{"from", "0x857b06519E91e3A54538791bDbb0E22373e36b66"},
                                           {"to", kPayee},
                                           {"value", "1000"},
                                           {"validAfter", "0"},
                                           {"validBefore", "4000000000"},
                                           {"nonce", "0x" + std::string(64, '5')}});
  const Json payload =
      Json::Object({{"signature", "0x" + std::string(130, '1')}, {"authorization", authorization}});
  Json v1 = Json::Object({{"x402Version", 1}, {"scheme", "exact"}, {"network", "base-sepolia"}});
  v1.Set("payload", payload);
  Json v2 = Json::Object({{"x402Version", 2}, {"accepted", Offered().ToJson()}});
  v2.Set("payload", payload);
  catalog::Route dearer = Route();
  dearer.price = Money::Micros(5000);
  catalog::Route only_v1 = Route();
  only_v1.v2 = false;
  catalog::Route only_v2 = Route();
  only_v2.v1 = false;
  std::vector<std::unique_ptr<X402Rail>> rails;
  for (const catalog::Route& route : {Route(), dearer, only_v1, only_v2}) {
    rails.push_back(*Make(route));
  }
  rails.push_back(*Make(Route(), 8453));
  std::set<std::array<uint8_t, 32>> keys;
  for (const auto& rail : rails) {
    for (const Json& json : {v1, v2}) {
      deal::Credential credential;
      credential.rail = rail->name();
      credential.version = json.Find("accepted") != nullptr ? 2 : 1;
      credential.value = x402::EncodeHeader(json);
      const Result<deal::Grant> claim = rail->Claim(credential, deal::Quote());
      ASSERT_THAT(claim, IsOk());
      keys.insert(claim->once_key);
    }
  }
  EXPECT_EQ(keys.size(), 1U);
}

TEST_F(X402RailTest, AHeaderThatCanBeReadTwoWaysIsRefused) {
  const auto rail = Make(Route());
  ASSERT_THAT(rail, IsOk());
  const auto find = [&](std::vector<std::pair<const char*, std::string>> fields) {
    net::Headers headers;
    for (const auto& [name, value] : fields) headers.Add(name, value);
    return (*rail)->Find(headers);
  };
  EXPECT_FALSE(find({})->has_value());
  EXPECT_EQ(find({{"x-payment", "a"}})->value().version, 1);
  EXPECT_EQ(find({{"X-PAYMENT", "a"}, {"payment-signature", "b"}})->value().version, 2);
  EXPECT_THAT(find({{"PAYMENT-SIGNATURE", "a"}, {"Payment-Signature", "a"}}),
              FailsWith(Code::kPaymentMalformed));
  EXPECT_THAT(find({{"PAYMENT-SIGNATURE", "a,b"}}), FailsWith(Code::kPaymentMalformed));
  EXPECT_THAT(find({{"PAYMENT-SIGNATURE", std::string(16 * 1024 + 1, 'a')}}),
              FailsWith(Code::kPaymentMalformed));
}

}  // namespace
}  // namespace pontage::rail
