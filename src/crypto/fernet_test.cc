// The vectors of github.com/fernet/spec, and what its reference implementation lets pass.
#include "crypto/fernet.h"

#include <string>

#include <gtest/gtest.h>

#include "testing/expect.h"
#include "testing/seeds.h"

namespace pontage::crypto {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;
using pontage::testing::Rerun;
using pontage::testing::Seeds;

// 1985-10-26T01:20:00-07:00.
constexpr UnixMs kThen = UnixMs::FromSeconds(499'162'800);
constexpr Millis kTtl{60'000};
constexpr std::string_view kToken =
    "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4"
    "IwqDA==";

FernetKey Key() {
  const Secret text("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=");
  return FernetKey::Parse(text).value();
}

TEST(FernetTest, Generate) {
  std::string iv;
  for (char c = 0; c < 16; ++c) iv.push_back(c);
  EXPECT_EQ(Key().EncryptWith("hello", kThen, iv), kToken);
}

TEST(FernetTest, Verify) {
  EXPECT_EQ(Key().Decrypt(kToken, kThen + Millis(1'000), kTtl).value(), "hello");
  EXPECT_EQ(Key().Decrypt(kToken, kThen + Millis(1'000)).value(), "hello");
}

TEST(FernetTest, Invalid) {
  const UnixMs now = kThen + Millis(1'000);
  const struct {
    const char* what;
    const char* token;
    UnixMs now;
  } vectors[] = {
      {"incorrect mac",
       "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQU"
       "FBQUFBQQ==",
       now},
      {"too short", "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==", now},
      {"invalid base64",
       "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-"
       "p1YsUD2Q==",
       now},
      {"payload size not multiple of block size",
       "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrf"
       "yudzUm",
       now},
      {"payload padding error",
       "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIb"
       "kuKNqOhw==",
       now},
      {"far-future TS",
       "gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX"
       "9b_qXQcw==",
       now},
      {"expired TTL",
       "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-"
       "p1YsUD2Q==",
       kThen + Millis(91'000)},
      {"incorrect IV",
       "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TI"
       "vcZjK1zQ==",
       now},
  };
  for (const auto& v : vectors) {
    EXPECT_THAT(Key().Decrypt(v.token, v.now, kTtl), FailsWith(Code::kBadRequest)) << v.what;
  }
  // The future is refused without a time to live, too, where the reference takes it.
  EXPECT_THAT(Key().Decrypt(vectors[5].token, now), FailsWith(Code::kBadRequest));
}

// Spellings that the reference implementation reads as the same token.
TEST(FernetTest, ATokenHasOneSpelling) {
  const std::string token(kToken);
  const UnixMs now = kThen;
  ASSERT_THAT(Key().Decrypt(token, now), IsOk());
  std::string standard = token;
  for (char& c : standard) c = c == '_' ? '/' : c == '-' ? '+' : c;
  std::string spare = token;
  spare[spare.size() - 3] = 'B';  // other bits behind the last byte
  for (const std::string& other :
       {standard, spare, token.substr(0, token.size() - 2), token.substr(0, token.size() - 1),
        token + "=", token + "\n", token + "AAAA", "\n" + token,
        token.substr(0, 20) + "\n" + token.substr(20),
        token.substr(0, 20) + "!!!!" + token.substr(20)}) {
    EXPECT_THAT(Key().Decrypt(other, now), FailsWith(Code::kBadRequest)) << other;
  }
}

TEST(FernetTest, WhatIsEncryptedComesBackAndOnlyWithItsKey) {
  for (const uint64_t seed : Seeds(50)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    std::string message(1 + rng.Next64() % 300, '\0');
    rng.Fill({reinterpret_cast<uint8_t*>(message.data()), message.size()});
    std::string token = Key().Encrypt(message, kThen, rng);
    EXPECT_EQ(Key().Decrypt(token, kThen).value(), message);
    const Secret other("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    EXPECT_FALSE(FernetKey::Parse(other)->Decrypt(token, kThen));
    token[rng.Next64() % (token.size() - 2)] ^= 1;
    EXPECT_FALSE(Key().Decrypt(token, kThen));
  }
  SeededRng rng(1);
  // An empty content says nothing: npm's reader gives one for what it could not read.
  EXPECT_FALSE(Key().Decrypt(Key().Encrypt("", kThen, rng), kThen));
}

TEST(FernetTest, WhatIsGivenAgainIsTheTextThatWasGiven) {
  const std::string token = Key().EncryptAgain("the same", kThen);
  EXPECT_EQ(Key().EncryptAgain("the same", kThen), token);
  EXPECT_EQ(Key().Decrypt(token, kThen).value(), "the same");
  constexpr size_t kVector = 4 * (1 + 8 + 16) / 3;  // version, time and vector, in base64
  EXPECT_NE(Key().EncryptAgain("the sama", kThen).substr(0, kVector), token.substr(0, kVector));
  EXPECT_NE(Key().EncryptAgain("the same", kThen + Millis(1'000)), token);
}

TEST(FernetKeyTest, RefusesWhatIsNoKey) {
  for (const char* bad : {"", "cw_0x689", "cw_0x689RpI+jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
                          "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4AAAA="}) {
    const Secret text{std::string(bad)};
    EXPECT_THAT(FernetKey::Parse(text), FailsWith(Code::kConfig)) << bad;
  }
}

}  // namespace
}  // namespace pontage::crypto
