// Published vectors for each hash and signature, and the faults of a signature one by one.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/hex.h"
#include "codec/json.h"
#include "crypto/ed25519.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"
#include "crypto/hmac.h"
#include "crypto/recovered_keys.h"
#include "crypto/secp256k1.h"
#include "testing/expect.h"
#include "testing/seeds.h"

namespace pontage::crypto {
namespace {

using codec::AsBytes;
using codec::Bytes;
using codec::ToHex;
using pontage::testing::FailsWith;
using pontage::testing::IsOk;
using pontage::testing::Rerun;
using pontage::testing::Seeds;
using ::testing::HasSubstr;
using ::testing::Not;

Bytes Hex(std::string_view digits) {
  return codec::FromHex0x("0x" + std::string(digits), 1 << 20).value();
}

TEST(Keccak, KnownDigests) {
  const std::pair<std::string, std::string_view> vectors[] = {
      {"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"},
      {"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"},
      {"The quick brown fox jumps over the lazy dog",
       "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15"},
      {"Transfer(address,address,uint256)",
       "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"},
      // One byte less than a block, a block, one more.
      {std::string(135, 'a'), "34367dc248bbd832f4e3e69dfaac2f92638bd0bbd18f2912ba4ef454919cf446"},
      {std::string(136, 'a'), "a6c4d403279fe3e0af03729caada8374b5ca54d8065329a3ebcaeb4b60aa386e"},
      {std::string(137, 'a'), "d869f639c7046b4929fc92a4d988a8b22c55fbadb802c0c66ebcd484f1915f39"},
  };
  for (const auto& [text, hex] : vectors) EXPECT_EQ(ToHex(Keccak256(AsBytes(text))), hex) << text;
}

TEST(Keccak, PartsAreOneMessage) {
  for (const uint64_t seed : Seeds(50)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    Bytes message(rng.Next64() % 700);
    rng.Fill(message);
    const codec::ByteView whole(message);
    const size_t a = rng.Next64() % (message.size() + 1);
    const size_t b = a + rng.Next64() % (message.size() - a + 1);
    const Hash32 want = Keccak256(whole);
    EXPECT_EQ(Keccak256({whole.first(a), whole.subspan(a, b - a), whole.subspan(b)}), want);
    Keccak reused;
    reused.Update(whole.first(b)).Finish();
    EXPECT_EQ(reused.Update(whole).Finish(), want) << "Finish leaves nothing behind";
    EXPECT_EQ(Sha256({whole.first(a), whole.subspan(a)}), Sha256(whole));
  }
}

TEST(Sha256, KnownDigests) {
  EXPECT_EQ(ToHex(Sha256(AsBytes(""))),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(ToHex(Sha256(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

// RFC 4231, test cases 1, 2 and 6.
TEST(Hmac, Rfc4231) {
  EXPECT_EQ(ToHex(HmacSha256(Bytes(20, 0x0b), AsBytes("Hi There"))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  const Hash32 jefe = HmacSha256(AsBytes("Jefe"), AsBytes("what do ya want for nothing?"));
  EXPECT_EQ(ToHex(jefe), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(ToHex(HmacSha256(Bytes(131, 0xaa),
                             AsBytes("Test Using Larger Than Block-Size Key - Hash Key First"))),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  Hash32 other = jefe;
  EXPECT_TRUE(TagsEqual(jefe, other));
  other[31] ^= 1;
  EXPECT_FALSE(TagsEqual(jefe, other));
}

// A context kept by the thread must not lend its last key to a message with none.
TEST(Hmac, AnEmptyKeyIsAKey) {
  const Hash32 before = HmacSha256({}, AsBytes("m"));
  HmacSha256(AsBytes("secret"), AsBytes("m"));
  EXPECT_EQ(HmacSha256({}, AsBytes("m")), before);
  EXPECT_NE(HmacSha256(AsBytes("secret"), AsBytes("m")), before);
}

// EIP-55's own examples.
TEST(EvmAddress, Checksums) {
  for (const char* text :
       {"0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77", "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb"}) {
    const auto address = EvmAddress::Parse(text, EvmAddress::Checksum::kVerify);
    ASSERT_THAT(address, IsOk()) << text;
    EXPECT_EQ(address->ToChecksum(), text);
    EXPECT_EQ(EvmAddress::Parse(address->ToLower()).value(), *address);
    EXPECT_EQ(EvmAddress::FromWord(address->ToWord()).value(), *address);
  }
}

TEST(EvmAddress, AMistypedLetterIsFoundWhereItMatters) {
  const char* slip = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD";
  EXPECT_THAT(EvmAddress::Parse(slip, EvmAddress::Checksum::kVerify), FailsWith(Code::kBadRequest));
  EXPECT_THAT(EvmAddress::Parse(slip), IsOk());
}

TEST(EvmAddress, RefusesEveryOtherForm) {
  for (const char* bad :
       {"", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed0",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg", "0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        " x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}) {
    EXPECT_THAT(EvmAddress::Parse(bad), FailsWith(Code::kBadRequest)) << bad;
  }
  codec::Bytes32 word{};
  word[11] = 1;
  EXPECT_THAT(EvmAddress::FromWord(word), FailsWith(Code::kBadRequest));
}

// The first accounts of every local development chain.
TEST(PrivateKey, KnownAddresses) {
  const std::pair<const char*, const char*> keys[] = {
      {"0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
       "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"},
      {"59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
       "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"}};
  for (const auto& [hex, address] : keys) {
    const auto key = PrivateKey::FromHex(hex);
    ASSERT_THAT(key, IsOk());
    EXPECT_EQ(key->address().ToChecksum(), address);
    EXPECT_THAT(std::string(key->ToHex().Reveal()), ::testing::EndsWith(hex));
    EXPECT_EQ(PrivateKey::FromHex(key->ToHex().Reveal())->address(), key->address());
  }
}

TEST(PrivateKey, RefusesWhatIsNoKeyAndDoesNotRepeatIt) {
  const std::string order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
  for (const std::string& bad :
       {std::string(), std::string("0x"), std::string(64, '0'), order, std::string(64, 'f'),
        std::string(63, '1'), std::string(65, '1'), std::string(64, 'g')}) {
    const auto key = PrivateKey::FromHex(bad);
    ASSERT_THAT(key, FailsWith(Code::kConfig)) << bad;
    if (!bad.empty()) EXPECT_THAT(key.error().detail(), Not(HasSubstr(bad)));
  }
  EXPECT_THAT(PrivateKey::FromHex(order.substr(0, 63) + "0"), IsOk());
}

TEST(Recover, FindsTheSignerAndOnlyHim) {
  for (const uint64_t seed : Seeds(20)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    const PrivateKey key = PrivateKey::Generate(rng);
    Hash32 digest;
    rng.Fill(digest);
    Signature65 signature = key.SignRecoverable(digest);
    EXPECT_EQ(signature, key.SignRecoverable(digest));
    EXPECT_EQ(Recover(digest, signature).value(), key.address());
    signature[64] = static_cast<uint8_t>(signature[64] - 27);  // 0 and 1 mean the same.
    EXPECT_EQ(Recover(digest, signature).value(), key.address());

    // Any one bit changed: somebody else, or nobody.
    const uint64_t bit = rng.Next64() % (65 * 8);
    signature[bit / 8] = static_cast<uint8_t>(signature[bit / 8] ^ (1 << bit % 8));
    const auto other = Recover(digest, signature);
    EXPECT_TRUE(!other || *other != key.address()) << bit;
    digest[bit % 32] ^= 1;
    const auto elsewhere = Recover(digest, key.SignRecoverable(digest));
    EXPECT_EQ(elsewhere.value(), key.address());
  }
}

// With so few places that most notes are put out by others: what it says is what Recover says.
TEST(RecoveredKeys, SayWhatRecoverSays) {
  RecoveredKeys keys(2);
  SeededRng rng(7);
  const PrivateKey a = PrivateKey::Generate(rng);
  const PrivateKey b = PrivateKey::Generate(rng);
  for (const uint64_t seed : Seeds(20)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng bytes(seed);
    Hash32 digest;
    bytes.Fill(digest);
    const Signature65 by_a = a.SignRecoverable(digest);
    Signature65 by_b = b.SignRecoverable(digest);
    for (int again = 0; again < 2; ++again) {
      EXPECT_EQ(keys.Recover(digest, by_a).value(), a.address());
      // The same digest, and so the same place, under another signature.
      EXPECT_EQ(keys.Recover(digest, by_b).value(), b.address());
    }
    by_b[64] = 99;
    EXPECT_EQ(keys.Recover(digest, by_b).error().code(), Recover(digest, by_b).error().code());
    EXPECT_THAT(keys.Recover(digest, codec::ByteView(by_a).first(64)), Not(IsOk()));
    digest[31] ^= 1;  // The same place, another digest.
    EXPECT_NE(keys.Recover(digest, by_a), a.address());
  }
}

TEST(Recover, SaysWhatIsWrongWithTheForm) {
  const Hash32 digest = Keccak256(AsBytes("m"));
  SeededRng rng(1);
  const Signature65 good = PrivateKey::Generate(rng).SignRecoverable(digest);
  const Bytes order = Hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
  const auto with = [&](size_t at, const Bytes& bytes) {
    Bytes changed(good.begin(), good.end());
    std::copy(bytes.begin(), bytes.end(), changed.begin() + static_cast<ptrdiff_t>(at));
    return changed;
  };
  // The same signature with s mirrored and v turned: valid on the curve, refused by tokens.
  Bytes high_s = Bytes(good.begin(), good.end());
  int borrow = 0;
  for (int i = 31; i >= 0; --i) {
    const size_t at = static_cast<size_t>(i);
    const int digit = order[at] - good[32 + at] - borrow;
    borrow = digit < 0;
    high_s[32 + at] = static_cast<uint8_t>(digit);
  }
  high_s[64] = good[64] == 27 ? 28 : 27;
  const Bytes half = Hex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");
  const Bytes above_half = Hex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1");

  const std::pair<Bytes, std::string_view> refused[] = {
      {{}, "0 bytes"},
      {Bytes(good.begin(), good.end() - 1), "EIP-2098"},
      {Bytes(66, 1), "66 bytes"},
      {Bytes(65, 0), "r is out of range"},
      {with(0, order), "r is out of range"},
      {with(32, Bytes(32, 0)), "s is out of range"},
      {with(32, order), "s is out of range"},
      {with(32, Bytes(32, 0xff)), "s is out of range"},
      {high_s, "upper half"},
      {with(32, above_half), "upper half"},
      {with(64, {2}), "v is 2"},
      {with(64, {26}), "v is 26"},
      {with(64, {29}), "v is 29"},
      {with(64, {255}), "v is 255"},
  };
  for (const auto& [signature, why] : refused) {
    const auto got = Recover(digest, signature);
    ASSERT_THAT(got, FailsWith(Code::kPaymentSignatureForm)) << why;
    EXPECT_THAT(got.error().detail(), HasSubstr(std::string(why)));
    EXPECT_THAT(got.error().expected(), HasSubstr("65 bytes"));
  }
  // The greatest low s is of the right form, whoever it leads to.
  const auto at_half = Recover(digest, with(32, half));
  EXPECT_TRUE(at_half || at_half.error().code() == Code::kPaymentSignature);
  // An r that is the abscissa of no point.
  EXPECT_THAT(Recover(digest, with(0, Hex(std::string(62, '0') + "05"))),
              FailsWith(Code::kPaymentSignature));
}

// RFC 8032 §7.1, test 2.
TEST(Ed25519, Rfc8032) {
  const Bytes seed = Hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  const auto key = Ed25519Key::FromSeed(Secret(std::string(codec::AsText(seed))));
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(ToHex(key->public_key()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const Bytes message = {0x72};
  Ed25519Signature signature = key->Sign(message);
  EXPECT_EQ(
      ToHex(signature),
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
      "0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  EXPECT_TRUE(VerifyEd25519(key->public_key(), message, signature));
  EXPECT_FALSE(VerifyEd25519(key->public_key(), Bytes{0x73}, signature));
  signature[0] ^= 1;
  EXPECT_FALSE(VerifyEd25519(key->public_key(), message, signature));
  signature[0] ^= 1;
  EXPECT_FALSE(VerifyEd25519(Ed25519PublicKey{}, message, signature)) << "a key of small order";
  EXPECT_THAT(Ed25519Key::FromSeed(Secret("short")), FailsWith(Code::kConfig));
  SeededRng rng(7);
  const Ed25519Key other = Ed25519Key::Generate(rng);
  EXPECT_TRUE(VerifyEd25519(other.public_key(), message, other.Sign(message)));
  EXPECT_FALSE(VerifyEd25519(other.public_key(), message, signature));
}

}  // namespace
}  // namespace pontage::crypto
