#include "sandbox/usdc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/hex.h"
#include "crypto/secp256k1.h"
#include "sandbox/identity.h"
#include "testing/expect.h"

namespace pontage::sandbox {
namespace {

using chain::TransferAuthorization;
using codec::AbiEncoder;
using codec::Bytes;
using codec::Uint256;
using crypto::EvmAddress;
using crypto::Signature65;

constexpr char kUsdc[] = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
constexpr uint64_t kNow = 1'800'000'000;

EvmAddress Address(std::string_view text) { return *EvmAddress::Parse(text); }
std::string Text(const crypto::Hash32& hash) { return codec::Hex0x(hash); }

// Anvil's second account, as the golden vectors use it.
crypto::PrivateKey GoldenKey() {
  return *crypto::PrivateKey::FromHex(
      "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d");
}

class UsdcTest : public ::testing::Test {
 protected:
  UsdcTest() {
    machine_.Place(Address(kUsdc), usdc_);
    env_.chain_id = 84532;
    env_.number = 5;
    env_.timestamp = kNow;
    env_.hash_of = [](uint64_t) { return crypto::Hash32{}; };
    EXPECT_TRUE(Usdc::Mint(world_, buyer_.address(), Uint256(1'000)).has_value());
  }

  CallOutcome Call(const EvmAddress& from, Bytes data) {
    return machine_.Run({from, Address(kUsdc), {}, data, 1'000'000}, env_);
  }
  // What a call by the facilitator is refused with; "" when it goes through.
  std::string Refusal(Bytes data) {
    const CallOutcome out = Call(facilitator_, std::move(data));
    if (out.ok) return "";
    const std::string reason = ReasonOf(out.data);
    return reason.empty() ? "(without a word)" : reason;
  }

  TransferAuthorization Payment() const {
    TransferAuthorization auth;
    auth.from = buyer_.address();
    auth.to = seller_;
    auth.value = Uint256(100);
    auth.valid_before = Uint256(kNow + 60);
    auth.nonce.fill(0x11);
    return auth;
  }
  Signature65 Sign(const TransferAuthorization& auth) const { return SignBy(buyer_, auth); }
  Signature65 SignBy(const crypto::PrivateKey& key, const TransferAuthorization& auth) const {
    return key.SignRecoverable(chain::DigestOf(usdc_.domain_separator(), auth));
  }
  Bytes Signed(const TransferAuthorization& auth) const {
    return chain::CallTransferWithAuthorization(auth, Sign(auth));
  }
  Uint256 Balance(const EvmAddress& who) const { return Usdc::BalanceOf(world_, who); }

  Usdc usdc_{{Address(kUsdc), "USDC", "2", 84532}};
  World world_;
  Machine machine_{world_};
  BlockEnv env_;
  const crypto::PrivateKey buyer_ = IdentityOf("buyer").key.Clone();
  const EvmAddress seller_ = IdentityOf("seller").address;
  const EvmAddress facilitator_ = IdentityOf("facilitator").address;
};

// The digests and the signature that the official client gives (x402-protocol, constants).
TEST_F(UsdcTest, AgreesWithTheGoldenVector) {
  EXPECT_EQ(Text(usdc_.domain_separator()),
            "0x71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818");
  const crypto::PrivateKey payer = GoldenKey();
  TransferAuthorization auth;
  auth.from = payer.address();
  auth.to = Address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
  auth.value = Uint256(10'000);
  auth.valid_before = Uint256(1'900'000'000);
  auth.nonce.fill(0x11);
  EXPECT_EQ(Text(chain::DigestOf(usdc_.domain_separator(), auth)),
            "0xf2953de99b86b53b5373c9946704f72f6cbf02a1de79c9720f592dd2b062d7dd");
  const auto golden = codec::FromHex0x<65>(
      "0x9ee5cbd85039917a89c4ace7961877e72c83b40c97cd44a8fef9bd0be35f3525"
      "1e592e9a98d4ea66dcbcb36f9cdd4fdeaa33af0e3bbcd9a198ce53e0d88d59131b");
  ASSERT_THAT(golden, ::pontage::testing::IsOk());

  ASSERT_TRUE(Usdc::Mint(world_, payer.address(), Uint256(10'000)).has_value());
  const CallOutcome out = Call(facilitator_, chain::CallTransferWithAuthorization(auth, *golden));
  EXPECT_TRUE(out.ok) << ReasonOf(out.data);
  EXPECT_EQ(Balance(auth.to), Uint256(10'000));
  // Every bit of it counts.
  auth.nonce.fill(0x12);
  for (size_t bit = 0; bit < 64 * 8; bit += 37) {
    auto broken = SignBy(payer, auth);
    broken[bit / 8] = static_cast<uint8_t>(broken[bit / 8] ^ 1 << bit % 8);
    EXPECT_NE(Refusal(chain::CallTransferWithAuthorization(auth, broken)), "") << bit;
  }
}

TEST_F(UsdcTest, APermitHasTheGoldenDigestAndCountsItsNonce) {
  const crypto::PrivateKey owner = GoldenKey();
  chain::Permit permit;
  permit.owner = owner.address();
  permit.spender = Address("0x000000000022D473030F116dDEE9F6B43aC78BA3");
  permit.value = Uint256(10'000);
  permit.deadline = Uint256(1'900'000'000);
  const crypto::Hash32 digest = chain::DigestOf(usdc_.domain_separator(), permit);
  EXPECT_EQ(Text(digest), "0xadab447465ade72dd0f227db408e5c8f967c7596c471adc2faaa9420d62cdd80");
  const Signature65 s = owner.SignRecoverable(digest);
  const auto call = [&](const Uint256& deadline) {
    codec::Bytes32 r{};
    codec::Bytes32 low{};
    std::copy(s.begin(), s.begin() + 32, r.begin());
    std::copy(s.begin() + 32, s.begin() + 64, low.begin());
    return AbiEncoder()
        .Address(permit.owner.bytes)
        .Address(permit.spender.bytes)
        .Uint(permit.value)
        .Uint(deadline)
        .Uint(uint64_t{s[64]})
        .Word(r)
        .Word(low)
        .Finish(Selector("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"));
  };
  EXPECT_EQ(Refusal(call(Uint256(kNow - 1))), "FiatTokenV2: permit is expired");
  EXPECT_EQ(Refusal(call(Uint256(kNow))), "EIP2612: invalid signature");
  EXPECT_EQ(Refusal(call(permit.deadline)), "");
  EXPECT_EQ(world_.Get({SlotKind::kAllowance, permit.owner, permit.spender.ToWord()}),
            permit.value);
  EXPECT_EQ(Refusal(call(permit.deadline)), "EIP2612: invalid signature") << "the nonce moved on";
}

TEST_F(UsdcTest, APaymentMovesTheMoneyOnceAndSaysSo) {
  const TransferAuthorization auth = Payment();
  const CallOutcome out = Call(facilitator_, Signed(auth));
  ASSERT_TRUE(out.ok) << ReasonOf(out.data);
  EXPECT_EQ(Balance(seller_), Uint256(100));
  EXPECT_EQ(Balance(buyer_.address()), Uint256(900));
  ASSERT_EQ(out.logs.size(), 2U);
  const auto used = chain::AsAuthorizationUsed(out.logs[0]);
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->authorizer, auth.from);
  EXPECT_EQ(used->nonce, auth.nonce);
  const auto transfer = chain::AsTransfer(out.logs[1]);
  ASSERT_TRUE(transfer.has_value());
  EXPECT_EQ(transfer->to, seller_);
  EXPECT_EQ(transfer->value, auth.value);
  EXPECT_EQ(Refusal(Signed(auth)), "FiatTokenV2: authorization is used or canceled");
  EXPECT_EQ(Balance(seller_), Uint256(100));
}

// All faults at once; each is mended when it was reported. The order is Circle's.
TEST_F(UsdcTest, ChecksInCirclesOrder) {
  TransferAuthorization auth = Payment();
  auth.to = {};
  auth.value = Uint256(5'000);
  auth.valid_after = Uint256(kNow);
  auth.valid_before = Uint256(kNow);
  world_.Set({SlotKind::kPaused, {}}, Uint256(1));
  world_.Set({SlotKind::kDenied, auth.from}, Uint256(1));
  world_.Set({SlotKind::kAuthorization, auth.from, auth.nonce}, Uint256(1));
  enum class Spelling : uint8_t { kWrongLength, kHighS, kWrongV, kZero, kStranger, kRight };
  Spelling spelling = Spelling::kWrongLength;
  const auto call = [&] {
    const Signature65 good = Sign(auth);
    Bytes signature(good.begin(), good.end());
    if (spelling == Spelling::kWrongLength) signature.push_back(0);
    if (spelling == Spelling::kHighS) std::fill_n(signature.begin() + 32, 32, uint8_t{0xff});
    if (spelling == Spelling::kHighS || spelling == Spelling::kWrongV) signature[64] = 29;
    if (spelling == Spelling::kZero) std::fill_n(signature.begin(), 64, uint8_t{0});
    if (spelling == Spelling::kStranger) {
      const Signature65 other = SignBy(IdentityOf("poor").key, auth);
      signature.assign(other.begin(), other.end());
    }
    return chain::CallTransferWithAuthorizationBytes(auth, signature);
  };
  const struct {
    const char* want;
    std::function<void()> mend;
  } steps[] = {
      {"Pausable: paused", [&] { world_.Set({SlotKind::kPaused, {}}, {}); }},
      {"Blacklistable: account is blacklisted",
       [&] { world_.Set({SlotKind::kDenied, auth.from}, {}); }},
      {"FiatTokenV2: authorization is not yet valid",
       [&] { auth.valid_after = Uint256(kNow - 1); }},
      {"FiatTokenV2: authorization is expired", [&] { auth.valid_before = Uint256(kNow + 1); }},
      {"FiatTokenV2: authorization is used or canceled",
       [&] { world_.Set({SlotKind::kAuthorization, auth.from, auth.nonce}, {}); }},
      {"ECRecover: invalid signature length", [&] { spelling = Spelling::kHighS; }},
      {"ECRecover: invalid signature 's' value", [&] { spelling = Spelling::kWrongV; }},
      {"ECRecover: invalid signature 'v' value", [&] { spelling = Spelling::kZero; }},
      {"ECRecover: invalid signature", [&] { spelling = Spelling::kStranger; }},
      {"FiatTokenV2: invalid signature", [&] { spelling = Spelling::kRight; }},
      {"ERC20: transfer to the zero address", [&] { auth.to = seller_; }},
      {"ERC20: transfer amount exceeds balance", [&] { auth.value = Uint256(1'000); }},
      {"", [] {}},
  };
  for (const auto& step : steps) {
    EXPECT_EQ(Refusal(call()), step.want);
    step.mend();
  }
  EXPECT_EQ(Balance(seller_), Uint256(1'000));
}

TEST_F(UsdcTest, VIsTwentySevenOrTwentyEight) {
  const TransferAuthorization auth = Payment();
  Signature65 signature = Sign(auth);
  signature[64] = static_cast<uint8_t>(signature[64] - 27);
  EXPECT_EQ(Refusal(chain::CallTransferWithAuthorizationBytes(auth, signature)),
            "ECRecover: invalid signature 'v' value");
}

TEST_F(UsdcTest, WhatWasRefusedLeavesNoTrace) {
  TransferAuthorization auth = Payment();
  auth.value = Uint256(1'001);
  EXPECT_EQ(Refusal(Signed(auth)), "ERC20: transfer amount exceeds balance");
  EXPECT_TRUE(world_.Get({SlotKind::kAuthorization, auth.from, auth.nonce}).IsZero());
  auth.value = Uint256(1'000);
  EXPECT_EQ(Refusal(Signed(auth)), "") << "the nonce of a refused payment is still good";
}

TEST_F(UsdcTest, NothingAndTheWholeBalanceCanBePaid) {
  TransferAuthorization auth = Payment();
  auth.value = {};
  EXPECT_EQ(Refusal(Signed(auth)), "");
  auth.nonce.fill(0x22);
  auth.value = Uint256(1'000);
  EXPECT_EQ(Refusal(Signed(auth)), "");
  EXPECT_TRUE(Balance(buyer_.address()).IsZero());
}

TEST_F(UsdcTest, OnlyThePayeeReceives) {
  const TransferAuthorization auth = Payment();
  const Bytes type =
      Call(facilitator_, AbiEncoder().Finish(Selector("RECEIVE_WITH_AUTHORIZATION_TYPEHASH()")))
          .data;
  // EIP-3009's own value.
  EXPECT_EQ(codec::Hex0x(type),
            "0xd099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8");
  codec::Bytes32 type_hash{};
  std::copy(type.begin(), type.end(), type_hash.begin());
  const auto encode = [&](AbiEncoder to) {
    to.Address(auth.from.bytes).Address(auth.to.bytes).Uint(auth.value);
    to.Uint(auth.valid_after).Uint(auth.valid_before).Word(auth.nonce);
    return to;
  };
  const Bytes fields = encode(AbiEncoder().Word(type_hash)).Finish();
  const Signature65 signature = buyer_.SignRecoverable(
      chain::TypedDataDigest(usdc_.domain_separator(), crypto::Keccak256(fields)));
  const uint32_t selector =
      Selector("receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)");
  const Bytes call = encode(AbiEncoder()).Dynamic(signature).Finish(selector);
  EXPECT_EQ(Refusal(call), "FiatTokenV2: caller must be the payee");
  EXPECT_TRUE(Call(seller_, call).ok);
  EXPECT_EQ(Balance(seller_), Uint256(100));
  EXPECT_EQ(ReasonOf(Call(seller_, encode(AbiEncoder()).Dynamic(Sign(auth)).Finish(selector)).data),
            "FiatTokenV2: authorization is used or canceled");
}

TEST_F(UsdcTest, ACanceledAuthorizationPaysNothing) {
  const TransferAuthorization auth = Payment();
  const codec::Bytes32 type =
      crypto::Keccak256(codec::AsBytes("CancelAuthorization(address authorizer,bytes32 nonce)"));
  const Bytes fields = AbiEncoder().Word(type).Address(auth.from.bytes).Word(auth.nonce).Finish();
  const crypto::Hash32 digest =
      chain::TypedDataDigest(usdc_.domain_separator(), crypto::Keccak256(fields));
  const auto cancel = [&](const crypto::PrivateKey& key) {
    return AbiEncoder()
        .Address(auth.from.bytes)
        .Word(auth.nonce)
        .Dynamic(key.SignRecoverable(digest))
        .Finish(Selector("cancelAuthorization(address,bytes32,bytes)"));
  };
  EXPECT_EQ(Refusal(cancel(IdentityOf("poor").key)), "FiatTokenV2: invalid signature");
  EXPECT_EQ(Refusal(cancel(buyer_)), "");
  EXPECT_EQ(Refusal(cancel(buyer_)), "FiatTokenV2: authorization is used or canceled");
  EXPECT_EQ(Refusal(Signed(auth)), "FiatTokenV2: authorization is used or canceled");
}

TEST_F(UsdcTest, TransfersAndAllowances) {
  const auto two = [](std::string_view signature, const EvmAddress& who, uint64_t n) {
    return AbiEncoder().Address(who.bytes).Uint(n).Finish(Selector(signature));
  };
  const auto from = [](const EvmAddress& owner, const EvmAddress& to, uint64_t n) {
    return AbiEncoder()
        .Address(owner.bytes)
        .Address(to.bytes)
        .Uint(n)
        .Finish(Selector("transferFrom(address,address,uint256)"));
  };
  const EvmAddress buyer = buyer_.address();
  const struct {
    EvmAddress by;
    Bytes call;
    const char* want;
  } steps[] = {
      {buyer, two("transfer(address,uint256)", seller_, 1'001),
       "ERC20: transfer amount exceeds balance"},
      {buyer, two("transfer(address,uint256)", {}, 1), "ERC20: transfer to the zero address"},
      {buyer, two("transfer(address,uint256)", buyer, 1'000), ""},
      {buyer, two("approve(address,uint256)", {}, 1), "ERC20: approve to the zero address"},
      {seller_, from(buyer, seller_, 1), "ERC20: transfer amount exceeds allowance"},
      {buyer, two("approve(address,uint256)", seller_, 10), ""},
      {buyer, two("increaseAllowance(address,uint256)", seller_, 5), ""},
      {buyer, two("decreaseAllowance(address,uint256)", seller_, 16),
       "ERC20: decreased allowance below zero"},
      {seller_, from(buyer, seller_, 15), ""},
      {seller_, from(buyer, seller_, 1), "ERC20: transfer amount exceeds allowance"},
  };
  for (const auto& step : steps) {
    const CallOutcome out = Call(step.by, step.call);
    EXPECT_EQ(ReasonOf(out.data), step.want);
    EXPECT_EQ(out.ok, std::string_view(step.want).empty());
  }
  EXPECT_EQ(Balance(seller_), Uint256(15));
  EXPECT_EQ(Balance(buyer), Uint256(985)) << "a transfer to oneself changes nothing";
}

TEST_F(UsdcTest, NobodyGetsMoreThanThereCanBe) {
  const OrRevert<void> minted = Usdc::Mint(world_, seller_, Uint256::Max());
  ASSERT_FALSE(minted.has_value());
  EXPECT_EQ(ReasonOf(minted.error().data), "FiatTokenV2_2: Balance exceeds (2^255 - 1)");
  EXPECT_TRUE(Balance(seller_).IsZero());
}

TEST_F(UsdcTest, CalldataThatDoesNotDecodeRevertsWithoutAWord) {
  const Bytes good = chain::CallBalanceOf(seller_);
  Bytes dirty = good;
  dirty[4] = 1;  // Above the twenty bytes of an address.
  for (const Bytes& call :
       {Bytes{}, Bytes{1, 2}, Bytes{1, 2, 3, 4}, dirty, Bytes(good.begin(), good.end() - 1)}) {
    const CallOutcome out = Call(seller_, call);
    EXPECT_FALSE(out.ok);
    EXPECT_TRUE(out.data.empty());
  }
  EXPECT_TRUE(Call(seller_, good).ok);
}

}  // namespace
}  // namespace pontage::sandbox
