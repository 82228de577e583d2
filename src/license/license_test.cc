// What a license says, whom it opens what for, and how it is judged.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/base64url.h"
#include "crypto/jwt.h"
#include "license/decision.h"
#include "license/entitlements.h"
#include "license/fernet.h"
#include "license/issuer.h"
#include "license/samples_test.h"
#include "license/verifier.h"
#include "testing/expect.h"

namespace pontage::license {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

TEST(ClaimsTest, ComeBackAsTheyWereIssued) {
  const Keys keys;
  const std::string token = keys.issuer.Issue(Sample());
  EXPECT_LT(token.size(), 600u);
  const Result<Verified> back = keys.verifier()->Read(token, kNow);
  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(back->claims, Sample());
  EXPECT_EQ(keys.issuer.Issue(Sample()), token) << "the text can be written again";
}

TEST(ClaimsTest, SayNothingOfAPerson) {
  const std::string text = codec::ToString(ToJson(Sample()));
  EXPECT_EQ(text.find('@'), text.npos);
}

TEST(VerifierTest, RefusesWhatIsNotItsOwn) {
  const Keys keys;
  const std::string good = keys.issuer.Issue(Sample());
  const auto verifier = keys.verifier();
  const auto read = [&](const std::string& text) { return verifier->Read(text, kNow); };
  ASSERT_THAT(read(good), IsOk());
  SeededRng other_rng(2);
  const Issuer other(crypto::Ed25519Key::Generate(other_rng));
  EXPECT_THAT(read(other.Issue(Sample())), FailsWith(Code::kLicenseInvalid));
  Claims stranger = Sample();
  stranger.issuer = "https://evil.example.com";
  EXPECT_THAT(read(keys.issuer.Issue(stranger)), FailsWith(Code::kLicenseInvalid));
  // A document of ours that is no license: the feed, say.
  EXPECT_THAT(read(keys.issuer.Sign("feed+jwt", codec::ToString(ToJson(Sample())))),
              FailsWith(Code::kLicenseInvalid));
  codec::Json elsewhere = ToJson(Sample());
  elsewhere.Set("aud", "sales");
  EXPECT_THAT(read(keys.issuer.Sign(kLicenseType, codec::ToString(elsewhere))),
              FailsWith(Code::kLicenseInvalid));
  for (const char* claim : {"iss", "aud", "sub", "jti", "iat", "nbf", "exp", "lic"}) {
    codec::Json json = ToJson(Sample());
    ASSERT_TRUE(json.Remove(claim));
    EXPECT_THAT(read(keys.issuer.Sign(kLicenseType, codec::ToString(json))),
                FailsWith(Code::kLicenseInvalid))
        << claim;
  }
  EXPECT_THAT(read(keys.issuer.Sign(kLicenseType, R"({"jti":"a","jti":"b"})")),
              FailsWith(Code::kLicenseInvalid));
  EXPECT_THAT(read("sk-ant-api03-x"), FailsWith(Code::kLicenseInvalid));
  EXPECT_THAT(read(std::string(kMaxToken + 1, 'a')), FailsWith(Code::kLicenseInvalid));
}

// The issuer's own tokens all begin alike, and are known by it; who signs with his key in another
// way is no less believed, and who only begins so is no more.
TEST(VerifierTest, AHeaderInAnotherSpellingIsReadToo) {
  SeededRng rng(3);
  SeededRng same(3);
  const auto key = crypto::Ed25519Key::Generate(rng);
  const Issuer issuer(crypto::Ed25519Key::Generate(same));
  const std::string kid = crypto::Thumbprint(key.public_key());
  const Verifier verifier("https://api.example.com",
                          {{.kid = kid, .key = key.public_key(), .not_after = std::nullopt}});
  const auto part = [](std::string_view text) { return codec::EncodeBase64Url(text); };
  const auto sign = [&](const std::string& header, const Claims& claims) {
    std::string text = part(header) + "." + part(codec::ToString(ToJson(claims)));
    const auto signature = key.Sign(codec::AsBytes(text));
    return text + "." + part(codec::AsText(signature));
  };
  const std::string ours = R"({"alg":"EdDSA","kid":")" + kid + R"(","typ":"lic+jwt"})";
  for (const std::string& header :
       {ours, R"({"typ":"lic+jwt","kid":")" + kid + R"(","alg":"EdDSA"})",
        R"({"alg":"Ed25519","kid":")" + kid + R"(","typ":"lic+jwt","x":1})"}) {
    const std::string token = sign(header, Sample());
    ASSERT_EQ(token == issuer.Issue(Sample()), header == ours);
    const Result<Verified> read = verifier.Read(token, kNow);
    ASSERT_THAT(read, IsOk()) << header;
    EXPECT_EQ(read->claims, Sample());
    EXPECT_THAT(verifier.Read(token + "A", kNow), FailsWith(Code::kLicenseInvalid));
  }
  const std::string good = sign(ours, Sample());
  Claims other = Sample();
  other.plan = "all";
  const std::string forged =
      part(ours) + "." + part(codec::ToString(ToJson(other))) + good.substr(good.rfind('.'));
  EXPECT_THAT(verifier.Read(forged, kNow), FailsWith(Code::kLicenseInvalid));
  const std::string feed = sign(R"({"alg":"EdDSA","kid":")" + kid + R"(","typ":"ent+jwt"})", other);
  EXPECT_THAT(verifier.Read(feed, kNow), FailsWith(Code::kLicenseInvalid));
}

TEST(VerifierTest, AKeyIsGoodUntilItsDate) {
  const Keys keys;
  crypto::Jwk jwk = keys.jwk();
  jwk.not_after = kNow + kDay;
  const Verifier verifier("https://api.example.com", {jwk});
  const std::string token = keys.issuer.Issue(Sample());
  EXPECT_THAT(verifier.Read(token, kNow + kDay - Millis(1)), IsOk());
  EXPECT_THAT(verifier.Read(token, kNow + kDay), FailsWith(Code::kLicenseInvalid));
}

TEST(DecisionTest, OneFaultAfterTheOther) {
  Claims claims = Sample();
  claims.generation = 1;
  claims.not_before = kNow + 2 * kDay;
  claims.expires = kNow - kDay;
  std::optional<Entitlement> word =
      Entitlement{.status = Status::kRevoked, .expires = kNow, .generation = 2, .plan = "basic"};
  const std::vector<std::string> plans = {"pro", "team"};
  Demand demand{.product = "other", .plans = plans};
  const struct {
    Code want;
    std::function<void()> mend;
  } steps[] = {
      {Code::kLicenseRevoked, [&] { word->status = Status::kActive; }},
      {Code::kLicenseRevoked,
       [&] {
         claims.generation = 2;
         word->status = Status::kSuspended;
       }},
      {Code::kLicenseSuspended, [&] { word->status = Status::kExpired; }},
      {Code::kLicenseExpired, [&] { word->status = Status::kPastDue; }},
      {Code::kLicenseExpired, [&] { word->expires = kNow + Millis(1); }},
      {Code::kLicenseInvalid, [&] { claims.not_before = kNow + kLeeway; }},
      {Code::kWrongProduct, [&] { demand.product = "yield"; }},
      {Code::kWrongPlan, [&] { word->plan = ""; }},
  };
  int step = 0;
  for (const auto& [want, mend] : steps) {
    EXPECT_THAT(Decide(claims, word, demand, kNow), FailsWith(want)) << step;
    mend();
    ++step;
  }
  EXPECT_THAT(Decide(claims, word, demand, kNow), IsOk());
}

// billing 27: of a license that was reissued the text before opens until the overlap's end.
TEST(DecisionTest, Billing27TheTextBeforeEndsWithTheOverlap) {
  const std::vector<std::string> pro = {"pro"};
  const Demand demand{.product = "yield", .plans = pro};
  const struct {
    int64_t token;
    Millis until;
    bool opens;
  } cases[] = {
      {.token = 3, .until = Millis(0), .opens = true},
      {.token = 2, .until = Millis(1), .opens = true},
      {.token = 2, .until = Millis(0), .opens = false},
      {.token = 2, .until = -Millis(1), .opens = false},
      {.token = 1, .until = kDay, .opens = false},  // the one before that
  };
  for (const auto& [token, until, opens] : cases) {
    Claims claims = Sample();
    claims.generation = token;
    const Entitlement word{.status = Status::kActive,
                           .expires = kNow + kDay,
                           .generation = 3,
                           .plan = "pro",
                           .old_until = kNow + until};
    const Result<> said = Decide(claims, word, demand, kNow);
    EXPECT_EQ(said.has_value(), opens) << token << " " << until.count();
    if (!opens) EXPECT_THAT(said, FailsWith(Code::kLicenseRevoked));
  }
  // However calmly: what is revoked is.
  Claims claims = Sample();
  const Entitlement revoked{.status = Status::kRevoked,
                            .expires = kNow + kDay,
                            .generation = 3,
                            .plan = "pro",
                            .old_until = kNow + kDay};
  EXPECT_THAT(Decide(claims, revoked, demand, kNow), FailsWith(Code::kLicenseRevoked));
}

TEST(DecisionTest, WhatAPlanOpens) {
  const std::vector<std::string> none;
  const std::vector<std::string> pro = {"pro"};
  const std::vector<std::string> team = {"team"};
  const auto decide = [](const std::vector<std::string>& products, const Demand& demand) {
    Claims claims = Sample();
    claims.products = products;
    return Decide(claims, std::nullopt, demand, kNow);
  };
  const std::vector<std::string> yield = {"dividends", "yield"};
  // With products: these and nothing else.
  EXPECT_THAT(decide(yield, {.product = "yield", .plans = pro}), IsOk());
  EXPECT_THAT(decide(yield, {.product = "yield", .plans = none}), IsOk());
  EXPECT_THAT(decide(yield, {.product = "yield", .plans = team}), FailsWith(Code::kWrongPlan));
  EXPECT_THAT(decide(yield, {.product = "docs", .plans = pro}), FailsWith(Code::kWrongProduct));
  EXPECT_THAT(decide(yield, {.product = "", .plans = pro}), FailsWith(Code::kWrongProduct));
  // Without: every route that names the plan.
  EXPECT_THAT(decide({}, {.product = "docs", .plans = pro}), IsOk());
  EXPECT_THAT(decide({}, {.product = "", .plans = pro}), IsOk());
  EXPECT_THAT(decide({}, {.product = "docs", .plans = none}), FailsWith(Code::kWrongPlan));
}

// Changed at Stripe's portal: the token that the customer pasted still says the old plan.
TEST(DecisionTest, AChangedPlanIsWhatTheConfigurationSaysOfIt) {
  Claims claims = Sample();
  const Plans terms = {{"team", {.products = {"docs"}, .limits = {.monthly = 7, .rpm = 0}}}};
  const std::vector<std::string> team = {"team"};
  const Entitlement word{
      .status = Status::kActive, .expires = claims.expires, .generation = 2, .plan = "team"};
  const Demand docs{.product = "docs", .plans = team, .terms = &terms};
  EXPECT_THAT(Decide(claims, word, docs, kNow), IsOk());
  EXPECT_EQ(*TermsOf(claims, word, &terms).limits, (Limits{.monthly = 7, .rpm = 0}));
  EXPECT_THAT(Decide(claims, std::nullopt, docs, kNow), FailsWith(Code::kWrongProduct));
  const Demand yield{.product = "yield", .plans = team, .terms = &terms};
  EXPECT_THAT(Decide(claims, word, yield, kNow), FailsWith(Code::kWrongProduct));
  // A plan that this gateway has never heard of keeps what the token says.
  const Demand blind{.product = "yield", .plans = team, .terms = nullptr};
  EXPECT_THAT(Decide(claims, word, blind, kNow), IsOk());
}

TEST(DecisionTest, TheEndIsWhatTheIssuerSaysNow) {
  Claims claims = Sample();
  claims.expires = kNow;
  const std::vector<std::string> pro = {"pro"};
  const Demand demand{.product = "yield", .plans = pro};
  EXPECT_THAT(Decide(claims, std::nullopt, demand, kNow - Millis(1)), IsOk());
  EXPECT_THAT(Decide(claims, std::nullopt, demand, kNow), FailsWith(Code::kLicenseExpired));
  const Entitlement renewed{
      .status = Status::kActive, .expires = kNow + kDay, .generation = 2, .plan = "pro"};
  EXPECT_THAT(Decide(claims, renewed, demand, kNow), IsOk());
  EXPECT_THAT(Decide(claims, renewed, demand, kNow + kDay), FailsWith(Code::kLicenseExpired));
  // Canceled at the end of the period: the grace of the token is none of his any more.
  claims.generation = 2;
  Entitlement shorter = renewed;
  shorter.expires = kNow - Millis(1);
  EXPECT_THAT(Decide(claims, shorter, demand, kNow - Millis(2)), IsOk());
  EXPECT_THAT(Decide(claims, shorter, demand, kNow - Millis(1)), FailsWith(Code::kLicenseExpired));
  // What was said before this text was made.
  shorter.generation = 1;
  EXPECT_THAT(Decide(claims, shorter, demand, kNow - Millis(1)), IsOk());
  EXPECT_THAT(Decide(claims, shorter, demand, kNow), FailsWith(Code::kLicenseExpired));
}

TEST(FernetLicenseTest, TimesAreReadAsTheFirstSeedWroteThem) {
  EXPECT_EQ(*ParseIsoTime("2026-11-18T11:06:40"), kNow);
  EXPECT_EQ(*ParseIsoTime("2026-11-18T11:06:40Z"), kNow);
  EXPECT_EQ(*ParseIsoTime("2026-11-18T11:06:40.123456"), kNow + Millis(123));
  EXPECT_EQ(*ParseIsoTime("2026-11-18T12:06:40+01:00"), kNow);
  EXPECT_EQ(*ParseIsoTime("2026-11-18 06:06:40.5-05:00"), kNow + Millis(500));
  for (const char* bad : {"", "2026-11-18", "2026-11-18T11:06", "2026-13-18T11:06:40",
                          "2026-02-30T11:06:40", "2026-11-18T24:06:40", "2026-11-18T11:06:40.",
                          "2026-11-18T11:06:40ZZ", "2026-11-18T11:06:40+1", "1795000000"}) {
    EXPECT_THAT(ParseIsoTime(bad), FailsWith(Code::kBadRequest)) << bad;
  }
}

// It says the plan's name where others say a product, and opens what names the plan.
TEST(FernetLicenseTest, APlanWithoutProductsHasItsOwnNameInTheirPlace) {
  std::vector<Secret> texts;
  texts.emplace_back(codec::EncodeBase64Url(std::string(32, 'a')) + "=");
  const std::vector<FernetPlan> plans = {
      {.name = "pro", .products = {"week"}, .tier = "", .limits = {}},
      {.name = "week", .products = {}, .tier = "", .limits = {.monthly = 7}},
  };
  EXPECT_EQ(plans[0].named(), plans[1].named()) << "which the configuration refuses";
  auto parsed = FernetKeys::Parse(texts, {plans[1]});
  ASSERT_THAT(parsed, IsOk());
  Claims claims = Sample();
  claims.plan = "week";
  claims.products.clear();
  claims.tier = "";
  EXPECT_THAT(FernetPayload(claims), ::testing::HasSubstr(R"("product":"week")"));
  const auto back = parsed->Read(parsed->Issue(claims), claims.issuer, kNow);
  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(back->plan, "week");
  EXPECT_THAT(back->products, ::testing::IsEmpty());
  EXPECT_EQ(back->limits.monthly, 7);
}

// Whoever verifies can forge; but nothing of what is sold in the other format.
TEST(FernetLicenseTest, OpensNoProductOfAnotherFormat) {
  std::vector<Secret> texts;
  texts.emplace_back(codec::EncodeBase64Url(std::string(32, 'a')) + "=");
  const std::vector<FernetPlan> plans = {
      {.name = "week", .products = {"yield"}, .tier = "", .limits = {}}};
  const auto keys = FernetKeys::Parse(texts, plans, {"docs"});
  ASSERT_THAT(keys, IsOk());
  const auto read = [&](std::vector<std::string> products) {
    Claims claims = Sample();
    claims.products = std::move(products);
    claims.tier = "x";
    return keys->Read(keys->Issue(claims), claims.issuer, kNow);
  };
  EXPECT_THAT(read({"yield"}), IsOk()) << "of a tier that is not sold any more";
  EXPECT_THAT(read({"gone"}), IsOk());
  EXPECT_THAT(read({"docs"}), FailsWith(Code::kLicenseInvalid));
  EXPECT_THAT(read({"yield", "docs"}), FailsWith(Code::kLicenseInvalid));
}

TEST(FernetLicenseTest, ComesBackByIdGenerationAndPlan) {
  std::vector<Secret> texts;
  for (const char c : {'a', 'b'}) {
    texts.emplace_back(codec::EncodeBase64Url(std::string(32, c)) + "=");
  }
  const std::vector<FernetPlan> plans = {
      {.name = "pro", .products = {"yield"}, .tier = "professional", .limits = {.monthly = 7}}};
  auto parsed = FernetKeys::Parse(texts, plans);
  ASSERT_THAT(parsed, IsOk());
  const auto keys = std::make_shared<const FernetKeys>(*std::move(parsed));
  std::vector<Secret> old;
  old.emplace_back(codec::EncodeBase64Url(std::string(32, 'b')) + "=");
  auto parsed_old = FernetKeys::Parse(old, plans);
  ASSERT_THAT(parsed_old, IsOk());
  const auto before = std::make_shared<const FernetKeys>(*std::move(parsed_old));
  const Verifier verifier("https://api.example.com", std::make_shared<const KeyRing>(), keys);
  for (const int64_t generation : {1, 2, 17}) {
    Claims claims = Sample();
    claims.generation = generation;
    for (const FernetKeys* by : {&*keys, &*before}) {
      const std::string token = by->Issue(claims);
      EXPECT_EQ(by->Issue(claims), token) << "given again, it is what was given";
      EXPECT_TRUE(Verifier::LooksLikeOne(token));
      const auto back = verifier.Read(token, kNow);
      ASSERT_THAT(back, IsOk());
      EXPECT_EQ(back->claims.id, kId);
      EXPECT_EQ(back->claims.generation, generation);
      EXPECT_EQ(back->claims.plan, "pro");
      EXPECT_EQ(back->claims.limits.monthly, 7);
      EXPECT_EQ(back->claims.expires, claims.expires);
      EXPECT_EQ(back->claims.customer, "cus_1");
      EXPECT_THAT(verifier.Read(token + "=", kNow), FailsWith(Code::kLicenseInvalid));
    }
  }
  // The old key alone does not read what the new one made.
  const Verifier alone("https://api.example.com", std::make_shared<const KeyRing>(), before);
  EXPECT_THAT(alone.Read(keys->Issue(Sample()), kNow), FailsWith(Code::kLicenseInvalid));
}

TEST(FernetLicenseTest, OfSeveralKeysTheOneThatMadeATokenTellsItsFault) {
  std::vector<Secret> texts;
  for (const char c : {'a', 'b', 'c'}) {
    texts.emplace_back(codec::EncodeBase64Url(std::string(32, c)) + "=");
  }
  const auto keys = FernetKeys::Parse(texts, {});
  ASSERT_THAT(keys, IsOk());
  const auto first = crypto::FernetKey::Parse(texts[0]);
  ASSERT_THAT(first, IsOk());
  const auto fault = [&](const std::string& token) {
    const auto read = keys->Read(token, "https://api.example.com", kNow);
    EXPECT_THAT(read, FailsWith(Code::kLicenseInvalid));
    return read ? "" : read.error().detail();
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(fault(first->EncryptAgain("{}", kNow + kDay)), HasSubstr("made in the future"));
  EXPECT_THAT(fault(first->EncryptAgain("", kNow)), HasSubstr("padded"));
  EXPECT_THAT(fault(first->EncryptAgain(R"({"tier":"a","tier":"b"})", kNow)),
              ::testing::AllOf(HasSubstr("the license: "), HasSubstr("\"tier\" appears twice")));
  texts[0] = Secret(codec::EncodeBase64Url(std::string(32, 'd')) + "=");
  const auto strange = crypto::FernetKey::Parse(texts[0]);
  ASSERT_THAT(strange, IsOk());
  EXPECT_THAT(fault(strange->EncryptAgain("{}", kNow)), HasSubstr("not made with"));
}

}  // namespace
}  // namespace pontage::license
