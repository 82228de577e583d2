#include "wire/stripe/signature.h"

#include <cctype>
#include <set>

#include <gtest/gtest.h>

#include "testing/expect.h"
#include "testing/seeds.h"

namespace pontage::stripe {
namespace {

using testing::FailsWith;
using testing::IsOk;

// Made by Stripe's own client.
constexpr std::string_view kSecret = "whsec_test_secret";
constexpr std::string_view kBody = R"({"id":"evt_1","object":"event","type":"invoice.paid"})";
constexpr std::string_view kTag =
    "cf6b9d54b136688b38b50b424a079ec2d76f9d5581f27f851d9ee97880c657d9";
constexpr int64_t kSentS = 1'795'000'000;
const UnixMs kNow = UnixMs::FromSeconds(kSentS);

std::vector<SigningSecret> Secrets(std::string_view text = kSecret) {
  std::vector<SigningSecret> secrets;
  secrets.push_back({Secret(std::string(text)), std::nullopt});
  return secrets;
}
std::string Header(std::string_view tag = kTag, int64_t sent_s = kSentS) {
  return "t=" + std::to_string(sent_s) + ",v1=" + std::string(tag);
}
std::optional<SignatureFault> FaultOf(std::string_view header, std::string_view body = kBody,
                                      UnixMs now = kNow) {
  return FindSignatureFault(header, body, Secrets(), now);
}

TEST(SignatureTest, TheKnownVectorIsGoodAndOurOwn) {
  EXPECT_THAT(VerifySignature(Header(), kBody, Secrets(), kNow), IsOk());
  EXPECT_EQ(Sign(kBody, Secret(std::string(kSecret)), kNow), Header());
}

TEST(SignatureTest, EveryBitOfTimeBodyAndTagCounts) {
  const std::string header = Header();
  const std::string whole = header + std::string(kBody);
  for (size_t i = 0; i < whole.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      EXPECT_THAT(VerifySignature(changed.substr(0, header.size()), changed.substr(header.size()),
                                  Secrets(), kNow),
                  FailsWith(Code::kBadRequest))
          << changed;
    }
  }
}

TEST(SignatureTest, ItsAgeIsBoundedOnBothSides) {
  const struct {
    Millis later;
    std::optional<SignatureFault> fault;
  } rows[] = {
      {0s, {}},
      {300s, {}},
      {300'999ms, {}},  // in whole seconds, as it is signed
      {301s, SignatureFault::kStale},
      {-60s, {}},
      {-61s, SignatureFault::kEarly},
      {-3600s, SignatureFault::kEarly},
      {std::chrono::hours(24 * 365), SignatureFault::kStale},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(FaultOf(Header(), kBody, kNow + row.later), row.fault) << row.later.count();
  }
}

TEST(SignatureTest, FormsThatAreTakenAndRefused) {
  const std::string tag(kTag);
  std::string capitals = tag;
  for (char& c : capitals) c = static_cast<char>(std::toupper(c));
  const std::string other(64, '0');
  const struct {
    std::string header;
    std::optional<SignatureFault> fault;
  } rows[] = {
      {"t=1795000000,v1=" + other + ",v1=" + tag, {}},
      {"t=1795000000,v1=" + tag + ",v0=" + other, {}},
      {"v1=" + tag + ",t=1795000000", {}},
      {"later=1,t=1795000000,v1=" + tag, {}},
      {"", SignatureFault::kMalformed},
      {"v1=" + tag, SignatureFault::kMalformed},
      {"t=,v1=" + tag, SignatureFault::kMalformed},
      {"t=1795000000,t=1795000000,v1=" + tag, SignatureFault::kMalformed},
      {"t=1795000000x,v1=" + tag, SignatureFault::kMalformed},
      {"t=-1795000000,v1=" + tag, SignatureFault::kMalformed},
      {"t=+1795000000,v1=" + tag, SignatureFault::kMalformed},
      {"t= 1795000000,v1=" + tag, SignatureFault::kMalformed},
      {"t=1795000000000,v1=" + tag, SignatureFault::kMalformed},
      {Header() + "," + std::string(kMaxSignatureHeader, 'x'), SignatureFault::kMalformed},
      {"t=1795000000", SignatureFault::kMismatch},
      {"t=1795000000,v1=", SignatureFault::kMismatch},
      {"t=1795000000, v1=" + tag, SignatureFault::kMismatch},
      {"t=1795000000,v1=" + capitals, SignatureFault::kMismatch},
      {"t=1795000000,v1=" + tag + " ", SignatureFault::kMismatch},
      {"t=1795000000,v1=" + tag + "00", SignatureFault::kMismatch},
      {"t=1795000000,v0=" + tag, SignatureFault::kMismatch},
      {"t=01795000000,v1=" + tag, SignatureFault::kMismatch},
      {"t=0,v1=" + tag, SignatureFault::kStale},
      {"t=999999999999,v1=" + tag, SignatureFault::kEarly},
  };
  for (const auto& row : rows) EXPECT_EQ(FaultOf(row.header), row.fault) << row.header;
  EXPECT_EQ(FaultOf(Header(), std::string(kBody) + "\n"), SignatureFault::kMismatch);
}

TEST(SignatureTest, WhileASecretIsRolledEitherIsGoodAndAfterwardsOnlyTheNew) {
  std::vector<SigningSecret> secrets = Secrets("whsec_new");
  secrets.push_back({Secret("whsec_old"), kNow + 60s});
  const std::string by_old = Sign(kBody, secrets[1].value, kNow);
  const std::string by_new = Sign(kBody, secrets[0].value, kNow);
  const std::string both = by_old + by_new.substr(by_new.find(','));
  for (const std::string& header : {by_old, by_new, both}) {
    EXPECT_THAT(VerifySignature(header, kBody, secrets, kNow), IsOk()) << header;
    EXPECT_THAT(VerifySignature(header, kBody, secrets, kNow + 60s), IsOk()) << header;
  }
  const UnixMs after = kNow + 60'001ms;
  EXPECT_EQ(FindSignatureFault(by_old, kBody, secrets, after), SignatureFault::kMismatch);
  EXPECT_THAT(VerifySignature(by_new, kBody, secrets, after), IsOk());
  EXPECT_THAT(VerifySignature(both, kBody, secrets, after), IsOk());
}

// HMAC takes any key: one that everybody can guess would let everybody sign.
TEST(SignatureTest, ABlankSecretIsNone) {
  for (const std::string_view blank : {"", " ", "\t\r\n"}) {
    const std::vector<SigningSecret> secrets = Secrets(blank);
    const std::string header = Sign(kBody, secrets[0].value, kNow);
    EXPECT_EQ(FindSignatureFault(header, kBody, secrets, kNow), SignatureFault::kNoSecret);
  }
  EXPECT_EQ(FindSignatureFault(Header(), kBody, {}, kNow), SignatureFault::kNoSecret);
}

TEST(SignatureTest, EveryFaultReadsTheSame) {
  const Error first = VerifySignature("", kBody, Secrets(), kNow).error();
  const std::string headers[] = {Header(), Header(std::string(64, 'a')), Header(kTag, 5),
                                 "v1=" + std::string(kTag), Header(kTag, kSentS * 2)};
  for (const std::string& header : headers) {
    const auto fault = VerifySignature(header, "another body", Secrets(), kNow);
    ASSERT_THAT(fault, FailsWith(Code::kBadRequest)) << header;
    EXPECT_EQ(Describe(fault.error()), Describe(first));
    EXPECT_EQ(fault.error().reason(), first.reason());
  }
  std::set<std::string_view> words;
  for (const SignatureFault fault :
       {SignatureFault::kMalformed, SignatureFault::kStale, SignatureFault::kEarly,
        SignatureFault::kNoSecret, SignatureFault::kMismatch}) {
    words.insert(ToText(fault));
  }
  EXPECT_EQ(words.size(), 5U) << "the log tells them apart";
}

TEST(SignatureTest, AnyBytesCanBeSigned) {
  for (const uint64_t seed : testing::Seeds(20)) {
    SCOPED_TRACE(testing::Rerun(seed));
    SeededRng rng(seed);
    std::string body(rng.Next64() % 2000, '\0');
    for (char& c : body) c = static_cast<char>(rng.Next64());
    const std::string header = Sign(body, Secret(std::string(kSecret)), kNow);
    EXPECT_EQ(FaultOf(header, body), std::nullopt);
    EXPECT_EQ(FaultOf(header, body + "x"), SignatureFault::kMismatch);
  }
}

}  // namespace
}  // namespace pontage::stripe
