#include "crypto/jwt.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/base64url.h"
#include "testing/expect.h"

namespace pontage::crypto {
namespace {

using pontage::testing::FailsAt;
using pontage::testing::FailsWith;
using pontage::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kMost = 4096;

// RFC 8037, appendix A.
Ed25519Key RfcKey() {
  const Secret seed(codec::DecodeBase64Url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").value());
  return Ed25519Key::FromSeed(seed).value();
}

std::string Part(std::string_view text) { return codec::EncodeBase64Url(text); }

// A token with this header, signed as it should be.
std::string WithHeader(const std::string& header) {
  const std::string head = Part(header) + "." + Part("{}");
  const Ed25519Signature signature = RfcKey().Sign(codec::AsBytes(head));
  return head + "." + codec::EncodeBase64Url(codec::AsText(signature));
}

TEST(JwtTest, Rfc8037) {
  const Ed25519Key key = RfcKey();
  EXPECT_EQ(codec::EncodeBase64Url(codec::AsText(key.public_key())),
            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
  EXPECT_EQ(Thumbprint(key.public_key()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
  const std::string head = Part(R"({"alg":"EdDSA"})") + "." + Part("Example of Ed25519 signing");
  const Ed25519Signature signature = key.Sign(codec::AsBytes(head));
  EXPECT_EQ(
      codec::EncodeBase64Url(codec::AsText(signature)),
      "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
}

TEST(JwtTest, WhatIsSignedComesBack) {
  const Ed25519Key key = RfcKey();
  const std::string token = SignJws(key, "lic+jwt", R"({"a":1})");
  const Result<Jws> jws = ReadJws(token, kMost);
  ASSERT_THAT(jws, IsOk());
  EXPECT_EQ(jws->kid, Thumbprint(key.public_key()));
  EXPECT_EQ(jws->typ, "lic+jwt");
  EXPECT_EQ(jws->payload, R"({"a":1})");
  EXPECT_TRUE(IsSignedBy(*jws, key.public_key()));
  SeededRng rng(1);
  EXPECT_FALSE(IsSignedBy(*jws, Ed25519Key::Generate(rng).public_key()));
}

// Each character of a token counts: changed into any other it is refused or has no good signature.
TEST(JwtTest, NoCharacterCanBeAnother) {
  const Ed25519Key key = RfcKey();
  const std::string token = SignJws(key, "t", R"({"a":1})");
  for (size_t i = 0; i < token.size(); ++i) {
    for (const char c : {'A', 'B', 'f', 'z', '0', '-', '_', '.', '=', '+', '/', ' ', '\n'}) {
      if (c == token[i]) continue;
      std::string other = token;
      other[i] = c;
      const Result<Jws> jws = ReadJws(other, kMost);
      EXPECT_FALSE(jws && IsSignedBy(*jws, key.public_key())) << i << " " << c;
    }
  }
}

TEST(JwtTest, WhoKnowsTheBeginningReadsTheRestAlike) {
  const Ed25519Key key = RfcKey();
  const std::string head = JwsHead(Thumbprint(key.public_key()), "lic+jwt");
  const std::string token = SignJws(key, "lic+jwt", R"({"a":1})");
  ASSERT_TRUE(token.starts_with(head) && head.ends_with('.'));
  const Result<Jws> whole = ReadJws(token, kMost);
  const Result<Jws> rest = ReadJwsBehind(token, head.size());
  ASSERT_THAT(whole, IsOk());
  ASSERT_THAT(rest, IsOk());
  EXPECT_EQ(rest->payload, whole->payload);
  EXPECT_EQ(rest->signed_part, whole->signed_part);
  EXPECT_EQ(rest->signature, whole->signature);
  for (const std::string& bad : {token + ".", token + "A", head, head + "e30", head + "e30.e30"}) {
    EXPECT_THAT(ReadJwsBehind(bad, head.size()), FailsWith(Code::kBadRequest)) << bad;
  }
}

// The last character of a signature has four bits that say nothing: jose takes 16 spellings of it.
TEST(JwtTest, ASignatureHasOneSpelling) {
  const std::string token = SignJws(RfcKey(), "t", "{}");
  int good = 0;
  for (const char c :
       std::string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")) {
    std::string other = token;
    other.back() = c;
    good += ReadJws(other, kMost) ? 1 : 0;
  }
  EXPECT_EQ(good, 4);  // those that say other bits are spelled right, and wrong
  EXPECT_THAT(ReadJws(token + "=", kMost), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ReadJws(token + "\n", kMost), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ReadJws(" " + token, kMost), FailsWith(Code::kBadRequest));
}

TEST(JwtTest, RefusesWhatAHeaderMayNotSay) {
  EXPECT_THAT(ReadJws(WithHeader(R"({"alg":"Ed25519","kid":"k"})"), kMost), IsOk());
  for (const char* header : {
           R"({"alg":"none","kid":"k"})",
           R"({"alg":"HS256","kid":"k"})",
           R"({"alg":"ES256","kid":"k"})",
           R"({"alg":"eddsa","kid":"k"})",
           R"({"kid":"k"})",
           R"({"alg":"EdDSA"})",
           R"({"alg":"EdDSA","kid":""})",
           R"({"alg":"EdDSA","kid":7})",
           R"({"alg":"EdDSA","kid":"k","kid":"k"})",
           R"({"alg":"EdDSA","kid":"k","crit":[]})",
           R"({"alg":"EdDSA","kid":"k","crit":["exp"]})",
           R"({"alg":"EdDSA","kid":"k","b64":false})",
           R"({"alg":"EdDSA","kid":"k","jku":"https://x"})",
           R"({"alg":"EdDSA","kid":"k","jwk":{}})",
           R"({"alg":"EdDSA","kid":"k","x5u":"https://x"})",
           R"({"alg":"EdDSA","kid":"k","x5c":[]})",
           R"({"alg":"EdDSA","kid":"k","zip":"DEF"})",
           R"({"alg":"EdDSA","kid":"k","typ":1})",
           R"(["EdDSA"])",
           R"("x")",
           "",
       }) {
    EXPECT_THAT(ReadJws(WithHeader(header), kMost), FailsWith(Code::kBadRequest)) << header;
  }
}

TEST(JwtTest, RefusesWhatIsNoToken) {
  const std::string token = SignJws(RfcKey(), "t", "{}");
  EXPECT_THAT(ReadJws(token, token.size() - 1), FailsWith(Code::kBadRequest));
  for (const std::string& bad : {std::string(), std::string("."), std::string(".."),
                                 std::string("..."), std::string("sk-ant-api03-abc"),
                                 token.substr(0, token.rfind('.')), token + ".", "." + token}) {
    EXPECT_THAT(ReadJws(bad, kMost), FailsWith(Code::kBadRequest)) << bad;
  }
}

TEST(JwksTest, ASetComesBack) {
  SeededRng rng(7);
  std::vector<Jwk> keys;
  for (int i = 0; i < 3; ++i) {
    const Ed25519PublicKey key = Ed25519Key::Generate(rng).public_key();
    keys.push_back({.kid = Thumbprint(key), .key = key, .not_after = std::nullopt});
  }
  keys[1].not_after = UnixMs(1'795'000'000'000);
  const Result<std::vector<Jwk>> back = ParseJwks(codec::ToString(JwksOf(keys)));
  ASSERT_THAT(back, IsOk());
  ASSERT_EQ(back->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ((*back)[i].kid, keys[i].kid);
    EXPECT_EQ((*back)[i].key, keys[i].key);
    EXPECT_EQ((*back)[i].not_after, keys[i].not_after);
  }
}

TEST(JwksTest, PassesOverOtherKeysAndRefusesBrokenOnes) {
  const std::string x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
  const auto set = [](const std::string& keys) { return ParseJwks("{\"keys\":[" + keys + "]}"); };
  const auto others = set(R"({"kty":"RSA","n":"x","e":"AQAB"},)"
                          R"({"kty":"OKP","crv":"X25519","x":"a","kid":"e"},)"
                          R"({"kty":"OKP","crv":"Ed25519","use":"enc","x":"a","kid":"f"})");
  ASSERT_THAT(others, IsOk());
  EXPECT_TRUE(others->empty());
  const std::string good = R"({"kty":"OKP","crv":"Ed25519","x":")" + x + R"(","kid":"a"})";
  EXPECT_THAT(set(good), IsOk());
  EXPECT_THAT(set(good + "," + good), FailsAt("/keys/1/kid", "two keys"));
  EXPECT_THAT(set(R"({"kty":"OKP","crv":"Ed25519","x":"AAAA","kid":"a"})"),
              FailsAt("/keys/0/x", "no Ed25519 key"));
  EXPECT_THAT(set(R"({"kty":"OKP","crv":"Ed25519","x":")" + x + R"(","d":"AAAA","kid":"a"})"),
              FailsAt("/keys/0/d", "private key"));
  EXPECT_THAT(ParseJwks("[]"), FailsWith(Code::kBadRequest));
  EXPECT_THAT(ParseJwks("{}"), FailsWith(Code::kBadRequest));
}

// What `openssl genpkey -algorithm ed25519` writes (RFC 8410 §10.3).
TEST(PemTest, ReadsAPrivateKeyAndNothingElse) {
  const Secret rfc(
      "-----BEGIN PRIVATE KEY-----\n"
      "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
      "-----END PRIVATE KEY-----\n");
  const Result<Ed25519Key> key = ParsePrivatePem(rfc);
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(codec::EncodeBase64Url(codec::AsText(key->public_key())),
            "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
  const Secret seed(std::string(32, 's'));
  EXPECT_EQ(ParsePrivatePem(PrivatePem(seed))->public_key(),
            Ed25519Key::FromSeed(seed)->public_key());
  constexpr const char* kX25519 =
      "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9E"
      "dVhC\n-----END PRIVATE KEY-----\n";
  for (const char* bad :
       {"", "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        "-----END PRIVATE KEY-----\n-----BEGIN PRIVATE KEY-----\n",
        // The same of X25519.
        kX25519}) {
    const Secret text{std::string(bad)};
    const Result<Ed25519Key> none = ParsePrivatePem(text);
    ASSERT_THAT(none, FailsWith(Code::kConfig)) << bad;
    EXPECT_THAT(none.error().detail(), Not(HasSubstr("MC4")));
  }
}

}  // namespace
}  // namespace pontage::crypto
