// Hex, base64, base64url and base58: tables of what is refused, properties of what is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/base58.h"
#include "codec/base64.h"
#include "codec/base64url.h"
#include "codec/hex.h"
#include "testing/expect.h"
#include "testing/seeds.h"

namespace pontage::codec {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;
using pontage::testing::Rerun;
using pontage::testing::Seeds;
using ::testing::HasSubstr;

Bytes RandomBytes(Rng& rng, size_t most) {
  Bytes bytes(rng.Next64() % (most + 1));
  rng.Fill(bytes);
  return bytes;
}

TEST(Hex, WritesLowerCase) {
  const Bytes bytes = {0x00, 0x0f, 0xa5, 0xff};
  EXPECT_EQ(ToHex(bytes), "000fa5ff");
  EXPECT_EQ(Hex0x(bytes), "0x000fa5ff");
  EXPECT_EQ(Hex0x({}), "0x");
}

TEST(Hex, ReadsEitherCaseAndRefusesTheRest) {
  EXPECT_EQ(FromHex0x("0xAbCd", 2).value(), (Bytes{0xab, 0xcd}));
  EXPECT_EQ(FromHex0x("0x", 0).value(), Bytes{});
  for (const char* bad :
       {"", "0", "abcd", "0Xabcd", "0xabc", "0xab cd", "0xgg", "0xaa\n", "x0aa"}) {
    EXPECT_THAT(FromHex0x(bad, 8), FailsWith(Code::kBadRequest)) << bad;
  }
  EXPECT_THAT(FromHex0x("0xaabbcc", 2), FailsWith(Code::kBadRequest));
  EXPECT_THAT(FromHex0x<2>("0xaabb"), IsOk());
  EXPECT_THAT(FromHex0x<2>("0xaa"), FailsWith(Code::kBadRequest));
  EXPECT_THAT(FromHex0x<2>("0xaabbcc"), FailsWith(Code::kBadRequest));
  EXPECT_EQ(FromHex0x<2>("0xaa").error().expected(), "0x and 4 hex digits");
}

TEST(Base64, Rfc4648Vectors) {
  const std::pair<std::string_view, std::string_view> vectors[] = {{"", ""},
                                                                   {"f", "Zg=="},
                                                                   {"fo", "Zm8="},
                                                                   {"foo", "Zm9v"},
                                                                   {"foob", "Zm9vYg=="},
                                                                   {"fooba", "Zm9vYmE="},
                                                                   {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(EncodeBase64(bytes), text);
    EXPECT_EQ(DecodeBase64(text).value(), bytes);
    // Some clients drop the padding.
    EXPECT_EQ(DecodeBase64(text.substr(0, text.find('='))).value(), bytes);
  }
}

TEST(Base64, OneSpellingForEachValue) {
  const std::pair<std::string_view, std::string_view> refused[] = {
      {"Zg=", "padding"},
      {"Zg===", "padding"},
      {"Zm9v=", "padding"},
      {"Zm9v====", "padding"},
      {"=", "padding"},
      {"==", "padding"},
      {"====", "padding"},
      {"Z", "cut off"},
      {"Zm9vY", "cut off"},
      {"Zh==", "not zero"},
      {"Zm9=", "not zero"},
      {"Zh", "not zero"},
      {"-_-_", "url alphabet"},
      {"Zm8_", "url alphabet"},
      {"Zm9v\n", "cut off"},
      {"Zm 9", "foreign"},
      {"Zg==Zg==", "foreign"},
      {"Z=g=", "foreign"},
      {"Zm\x80v", "foreign"},
      {" Zm9", "foreign"},
      {std::string_view("Zm\0v", 4), "foreign"}};
  for (const auto& [text, why] : refused) {
    const Result<std::string> got = DecodeBase64(text);
    ASSERT_THAT(got, FailsWith(Code::kBadRequest)) << text;
    EXPECT_THAT(got.error().detail(), HasSubstr(why)) << text;
    EXPECT_THAT(got.error().expected(), HasSubstr("base64"));
  }
}

TEST(Base64, SaysWhereTheForeignCharacterStands) {
  EXPECT_THAT(DecodeBase64("Zm9vYm!y").error().detail(), HasSubstr("at 6"));
}

TEST(Base64Url, RefusesPaddingAndTheStandardAlphabet) {
  EXPECT_EQ(EncodeBase64Url(std::string_view("\xfb\xff\xfe", 3)), "-__-");
  EXPECT_EQ(DecodeBase64Url("Zg").value(), "f");
  for (const char* bad : {"Zg==", "Zm8=", "+//+", "Z", "Zh", "Zm 9"}) {
    EXPECT_THAT(DecodeBase64Url(bad), FailsWith(Code::kBadRequest)) << bad;
    Bytes two(2);
    EXPECT_THAT(DecodeBase64UrlInto(bad, two), FailsWith(Code::kBadRequest)) << bad;
  }
  Bytes three(3);
  ASSERT_THAT(DecodeBase64UrlInto("-__-", three), IsOk());
  EXPECT_EQ(AsText(three), std::string_view("\xfb\xff\xfe", 3));
  EXPECT_THAT(DecodeBase64UrlInto("-__", three), FailsWith(Code::kBadRequest));
  EXPECT_THAT(DecodeBase64UrlInto("-__--_", three), FailsWith(Code::kBadRequest));
  EXPECT_THAT(DecodeBase64UrlInto("", {}), IsOk());
}

TEST(Base58, KnownKeys) {
  // Solana's system program is 32 zero bytes; "Hello World!" is the draft's own example.
  EXPECT_EQ(EncodeBase58(Bytes(32, 0)), std::string(32, '1'));
  EXPECT_EQ(EncodeBase58(AsBytes("Hello World!")), "2NEpo7TZRRrLZSi2U");
  EXPECT_EQ(ToHex(DecodeBase58("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", 32).value()),
            "c6fa7af3bedbad3a3d65f36aabc97431b1bbe4c2d2f6e0e47ca60203452f5d61");
  for (const char* bad : {"0", "O", "I", "l", "a b", "1é"}) {
    EXPECT_THAT(DecodeBase58(bad, 32), FailsWith(Code::kBadRequest)) << bad;
  }
  EXPECT_THAT(DecodeBase58(std::string(33, '1'), 32), FailsWith(Code::kBadRequest));
  EXPECT_THAT(DecodeBase58(std::string(44, 'z'), 32), FailsWith(Code::kBadRequest));
  EXPECT_EQ(DecodeBase58("", 32).value(), Bytes{});
}

TEST(Encodings, WhatIsWrittenIsReadBack) {
  for (const uint64_t seed : Seeds(50)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    const Bytes bytes = RandomBytes(rng, 300);
    const std::string text(AsText(bytes));
    EXPECT_EQ(FromHex0x(Hex0x(bytes), 300).value(), bytes);
    EXPECT_EQ(DecodeBase64(EncodeBase64(bytes)).value(), text);
    EXPECT_EQ(DecodeBase64Url(EncodeBase64Url(bytes)).value(), text);
    EXPECT_EQ(DecodeBase58(EncodeBase58(bytes), 300).value(), bytes);
  }
}

// Changing one character of a padded text never gives the same value again.
TEST(Base64, NoTwoTextsOfOneLengthMeanTheSame) {
  for (const uint64_t seed : Seeds(50)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    const Bytes bytes = RandomBytes(rng, 64);
    std::string text = EncodeBase64(bytes);
    if (text.empty()) continue;
    const size_t at = rng.Next64() % text.size();
    const char other = static_cast<char>(rng.Next64());
    if (other == text[at]) continue;
    text[at] = other;
    const Result<std::string> got = DecodeBase64(text);
    EXPECT_TRUE(!got || *got != AsText(bytes)) << text;
  }
}

}  // namespace
}  // namespace pontage::codec
