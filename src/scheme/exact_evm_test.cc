#include "scheme/exact_evm.h"

#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "chain/evm_calls.h"
#include "codec/hex.h"
#include "crypto/secp256k1.h"
#include "testing/expect.h"
#include "wire/problem/error_map.h"

namespace pontage::scheme {
namespace {

using codec::Json;
using codec::Uint256;
using testing::FailsWith;
using testing::IsOk;

constexpr std::string_view kUsdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
constexpr std::string_view kPayee = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
constexpr int64_t kNow = 1'795'239'354;

crypto::EvmAddress Address(std::string_view text) { return *crypto::EvmAddress::Parse(text); }

// The second of anvil's well-known development keys.
crypto::PrivateKey PayerKey() {
  return *crypto::PrivateKey::FromHex(
      "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d");
}

Json Payload() {
  return *codec::ParseJson(R"({
    "signature": "0x9ee5cbd85039917a89c4ace7961877e72c83b40c97cd44a8fef9bd0be35f35251e592e9a98d4ea66dcbcb36f9cdd4fdeaa33af0e3bbcd9a198ce53e0d88d59131b",
    "authorization": {
      "from": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
      "to": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
      "value": "10000", "validAfter": "0", "validBefore": "1900000000",
      "nonce": "0x1111111111111111111111111111111111111111111111111111111111111111"}})");
}

x402::Requirements Wanted(int version = 2) {
  x402::Requirements q;
  q.version = version;
  q.scheme = "exact";
  q.network = version == 1 ? "base-sepolia" : "eip155:84532";
  q.amount = Uint256(10'000);
  q.asset = kUsdc;
  q.pay_to = kPayee;
  q.max_timeout_s = 300;
  q.extra = Json::Object({{"name", "USDC"}, {"version", "2"}});
  return q;
}

ExactEvm Good() {
  ExactEvm p{.scheme = "exact",
             .chain = chain::ChainId::Evm(84532),
             .payload = *ParseExactEvm(Payload()),
             .want = *ReadTerms(Wanted(), chain::AssetRegistry::WithDefaults()),
             .now_s = 1'900'000'000 - 300,
             .facts = std::nullopt};
  chain::TransferFacts facts;
  facts.asset_has_code = true;
  facts.balance = Uint256(1'000'000);
  facts.succeeds = true;
  p.facts = facts;
  return p;
}

void Sign(ExactEvm& p) {
  const crypto::Hash32 digest =
      chain::DigestOf(chain::DomainSeparator(p.want.domain), p.payload.auth);
  const crypto::Signature65 signature = PayerKey().SignRecoverable(digest);
  p.payload.signature.assign(signature.begin(), signature.end());
}

TEST(ExactEvm, AGoodPaymentIsGoodWithAndWithoutTheChain) {
  ExactEvm p = Good();
  EXPECT_THAT(CheckExactEvm(p), IsOk());
  p.facts.reset();
  EXPECT_THAT(CheckExactEvm(p), IsOk());
  p.payload.signature[64] = 0;  // v as 0 and 1, as some wallets write it
  EXPECT_THAT(CheckExactEvm(p), IsOk());
}

TEST(ExactEvm, WhoHasRecoveredTheSignerIsBelievedAndNobodyElseIsPaid) {
  ExactEvm p = Good();
  p.signer = p.payload.auth.from;
  EXPECT_THAT(CheckExactEvm(p), IsOk());
  p.signer = p.want.asset;
  EXPECT_THAT(CheckExactEvm(p), FailsWith(Code::kPaymentSignature));
  // Not by somebody who names the signer of another payment: the terms come first.
  p = Good();
  p.signer = p.payload.auth.from;
  p.payload.auth.value = Uint256(1);
  EXPECT_THAT(CheckExactEvm(p), FailsWith(Code::kPaymentAmount));
  EXPECT_THAT(CheckTerms(p), FailsWith(Code::kPaymentAmount));
}

// Every fault at once; the one that is reported is mended, and the next one shows.
TEST(ExactEvm, TheFirstFaultWins) {
  ExactEvm p = Good();
  const ExactEvm good = p;
  p.scheme = "upto";
  p.chain.reset();
  p.payload.auth.to = Address(kUsdc);
  p.payload.auth.value = Uint256(9'999);
  p.payload.auth.valid_before = Uint256(static_cast<uint64_t>(p.now_s + kSettleMarginS - 1));
  p.payload.auth.valid_after = Uint256(static_cast<uint64_t>(p.now_s + 1));
  p.payload.signature = {1, 2, 3};
  p.facts->asset_has_code = false;
  p.facts->payer_has_code = true;
  p.facts->nonce_used = true;
  p.facts->balance = Uint256(9'999);
  p.facts->succeeds = false;
  const struct {
    Code want;
    std::string_view pointer;
    std::function<void()> mend;
  } steps[] = {
      {Code::kPaymentScheme, "", [&] { p.scheme = "exact"; }},
      {Code::kPaymentNetwork, "/accepted/network", [&] { p.chain = chain::ChainId::Evm(84532); }},
      {Code::kPaymentRecipient, "/payload/authorization/to",
       [&] { p.payload.auth.to = good.payload.auth.to; }},
      {Code::kPaymentAmount, "/payload/authorization/value",
       [&] { p.payload.auth.value = Uint256(10'001); }},
      {Code::kPaymentAmount, "/payload/authorization/value",
       [&] { p.payload.auth.value = Uint256(10'000); }},
      {Code::kPaymentExpired, "/payload/authorization/validBefore",
       [&] { p.payload.auth.valid_before = Uint256(static_cast<uint64_t>(p.now_s + 901)); }},
      {Code::kPaymentEarly, "/payload/authorization/validAfter",
       [&] { p.payload.auth.valid_after = Uint256(static_cast<uint64_t>(p.now_s)); }},
      {Code::kPaymentWindow, "/payload/authorization/validBefore",
       [&] { p.payload.auth.valid_before = Uint256(static_cast<uint64_t>(p.now_s + 900)); }},
      {Code::kPaymentSignatureForm, "/payload/signature",
       [&] { p.payload.signature = good.payload.signature; }},
      {Code::kPaymentSignature, "/payload/signature", [&] { Sign(p); }},
      {Code::kPaymentAsset, "", [&] { p.facts->asset_has_code = true; }},
      {Code::kPaymentContractWallet, "/payload/authorization/from",
       [&] { p.facts->payer_has_code = false; }},
      {Code::kPaymentReplayed, "/payload/authorization/nonce",
       [&] { p.facts->nonce_used = false; }},
      {Code::kPaymentFunds, "/payload/authorization/from",
       [&] { p.facts->balance = Uint256(10'000); }},
      {Code::kPaymentSimulation, "", [&] { p.facts->succeeds = true; }},
  };
  for (const auto& step : steps) {
    const Result<> checked = CheckExactEvm(p);
    EXPECT_THAT(checked, FailsWith(step.want));
    if (!checked) {
      EXPECT_EQ(checked.error().pointer(), step.pointer);
    }
    step.mend();
  }
  EXPECT_THAT(CheckExactEvm(p), IsOk());
}

TEST(ExactEvm, EachSingleChangeOfWhatWasSignedIsRefused) {
  const std::function<void(ExactEvm&)> changes[] = {
      [](ExactEvm& p) { p.payload.auth.from = Address(kPayee); },
      [](ExactEvm& p) { p.payload.auth.nonce[31] ^= 1; },
      [](ExactEvm& p) { p.payload.auth.valid_after = Uint256(1); },
      [](ExactEvm& p) { p.payload.auth.valid_before = Uint256(1'900'000'001); },
      [](ExactEvm& p) {
        p.payload.auth.value = Uint256(10'001);
        p.want.amount = Uint256(10'001);
      },
      [](ExactEvm& p) {
        p.payload.auth.to = Address(kUsdc);
        p.want.pay_to = Address(kUsdc);
      },
      [](ExactEvm& p) { p.want.domain.chain_id = 8453; },
      [](ExactEvm& p) { p.want.domain.name = "USD Coin"; },
      [](ExactEvm& p) { p.want.domain.version = "1"; },
      [](ExactEvm& p) { p.want.domain.verifying_contract = Address(kPayee); },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    ExactEvm p = Good();
    changes[i](p);
    EXPECT_THAT(CheckExactEvm(p), FailsWith(Code::kPaymentSignature)) << "change " << i;
  }
  // Every single bit of the signature, too.
  for (size_t bit = 0; bit < 65 * 8; ++bit) {
    ExactEvm p = Good();
    p.payload.signature[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    EXPECT_FALSE(CheckExactEvm(p)) << "bit " << bit;
  }
}

TEST(ExactEvm, OnlySixtyFiveBytesWithALowSAreASignature) {
  for (const size_t size : {0UL, 1UL, 64UL, 66UL, 130UL, 4096UL}) {
    ExactEvm p = Good();
    p.payload.signature.resize(size, 1);
    EXPECT_THAT(CheckExactEvm(p), FailsWith(Code::kPaymentSignatureForm)) << size;
  }
  ExactEvm zero = Good();
  zero.payload.signature.assign(65, 0);
  EXPECT_THAT(CheckExactEvm(zero), FailsWith(Code::kPaymentSignatureForm));
}

// Version 1 clients sign as if ten minutes had passed; that is no fault. The far future is.
TEST(ExactEvm, TheTimesOfVersionOneClientsAreGood) {
  ExactEvm p = Good();
  p.want.max_timeout_s = 60;
  p.now_s = kNow;
  p.payload.auth.valid_after = Uint256(kNow - 600);
  p.payload.auth.valid_before = Uint256(kNow + 60);
  Sign(p);
  EXPECT_THAT(CheckExactEvm(p), IsOk());
  p.payload.auth.valid_before = Uint256::Max();
  EXPECT_THAT(CheckExactEvm(p), FailsWith(Code::kPaymentWindow));
  p.want.max_timeout_s = INT64_MAX;
  EXPECT_THAT(CheckExactEvm(p), FailsWith(Code::kPaymentWindow));
}

TEST(ExactEvm, AnAccountThatDelegatesIsRefusedThoughItsKeySignedWell) {
  ExactEvm p = Good();
  p.facts->payer_has_code = true;
  EXPECT_THAT(CheckExactEvm(p), FailsWith(Code::kPaymentContractWallet));
}

// The reasons the official facilitators give (x402 specification v1 §9, SDK 2.27).
TEST(ExactEvm, TheReasonsAreThoseOfEachVersion) {
  const struct {
    Code code;
    std::string_view v1, v2;
  } rows[] = {
      {Code::kPaymentRecipient, "invalid_exact_evm_payload_recipient_mismatch",
       "invalid_exact_evm_recipient_mismatch"},
      {Code::kPaymentAmount, "invalid_exact_evm_payload_authorization_value",
       "invalid_exact_evm_payload_authorization_value_mismatch"},
      {Code::kPaymentExpired, "invalid_exact_evm_payload_authorization_valid_before",
       "invalid_exact_evm_payload_authorization_valid_before"},
      {Code::kPaymentEarly, "invalid_exact_evm_payload_authorization_valid_after",
       "invalid_exact_evm_payload_authorization_valid_after"},
      {Code::kPaymentSignature, "invalid_exact_evm_payload_signature",
       "invalid_exact_evm_signature"},
      {Code::kPaymentSignatureForm, "invalid_exact_evm_payload_signature",
       "invalid_exact_evm_signature"},
      {Code::kPaymentFunds, "insufficient_funds", "invalid_exact_evm_insufficient_balance"},
      {Code::kPaymentReplayed, "invalid_transaction_state", "invalid_exact_evm_nonce_already_used"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(problem::Reason(Error(row.code, ""), 1), row.v1);
    EXPECT_EQ(problem::Reason(Error(row.code, ""), 2), row.v2);
  }
}

TEST(ParseExactEvm, EachFaultNamesItsFieldAndItsForm) {
  const struct {
    std::string_view text;  // JSON of the member; empty takes it away
    std::string_view member;
    Code code;
  } cases[] = {
      {"", "from", Code::kPaymentMalformed},
      {"null", "from", Code::kPaymentMalformed},
      {"\"0x12\"", "from", Code::kPaymentMalformed},
      {"7", "to", Code::kPaymentMalformed},
      {"\"0xzz44CdDdB6a900fa2b585dd299e03d12FA4293BC\"", "to", Code::kPaymentMalformed},
      {"1000", "value", Code::kPaymentMalformed},
      {"\"abc\"", "value", Code::kPaymentMalformed},
      {"\"-1\"", "value", Code::kPaymentMalformed},
      {"\"01\"", "value", Code::kPaymentMalformed},
      {"\"1e3\"", "value", Code::kPaymentMalformed},
      {"\"0x10\"", "value", Code::kPaymentMalformed},
      {"\"\"", "value", Code::kPaymentMalformed},
      {"\"115792089237316195423570985008687907853269984665640564039457584007913129639936\"",
       "value", Code::kPaymentSignature},
      {"12", "validAfter", Code::kPaymentMalformed},
      {"\" 12\"", "validBefore", Code::kPaymentMalformed},
      {"\"0x11\"", "nonce", Code::kPaymentMalformed},
      {"\"1111\"", "nonce", Code::kPaymentMalformed},
  };
  for (const auto& c : cases) {
    Json payload = Payload();
    Json* authorization = payload.Find("authorization");
    if (c.text.empty()) {
      authorization->Remove(c.member);
    } else {
      authorization->Set(std::string(c.member), *codec::ParseJson(c.text));
    }
    const auto parsed = ParseExactEvm(payload);
    EXPECT_THAT(parsed, FailsWith(c.code)) << c.member << " " << c.text;
    if (parsed) continue;
    EXPECT_EQ(parsed.error().pointer(), "/payload/authorization/" + std::string(c.member));
    EXPECT_FALSE(parsed.error().expected().empty()) << c.member << " " << c.text;
  }
}

TEST(ParseExactEvm, OtherPayloadsAreNamed) {
  EXPECT_THAT(ParseExactEvm(Json::Object()), FailsWith(Code::kPaymentMalformed));
  EXPECT_THAT(ParseExactEvm(Json("text")), FailsWith(Code::kPaymentMalformed));
  Json permit2 = Json::Object();
  permit2.Set("permit2Authorization", Json::Object());
  EXPECT_THAT(ParseExactEvm(permit2), FailsWith(Code::kPaymentTransfer));
  Json no_hex = Payload();
  no_hex.Set("signature", "0xnothex");
  EXPECT_THAT(ParseExactEvm(no_hex), FailsWith(Code::kPaymentSignatureForm));
  no_hex.Remove("signature");
  EXPECT_THAT(ParseExactEvm(no_hex), FailsWith(Code::kPaymentMalformed));
  const auto placed = ParseExactEvm(no_hex, "/paymentPayload/payload");
  ASSERT_FALSE(placed);
  EXPECT_EQ(placed.error().pointer(), "/paymentPayload/payload/signature");
}

TEST(ReadTerms, TheDomainMustBeTheAssetsOwn) {
  const chain::AssetRegistry assets = chain::AssetRegistry::WithDefaults();
  EXPECT_THAT(ReadTerms(Wanted(), assets), IsOk());
  x402::Requirements q = Wanted();
  q.extra = Json::Object({{"name", "USD Coin"}, {"version", "2"}});
  const auto wrong = ReadTerms(q, assets);
  ASSERT_THAT(wrong, FailsWith(Code::kPaymentDomain));
  EXPECT_EQ(problem::Reason(wrong.error(), 2), "invalid_exact_evm_token_name_mismatch");
  q.extra = Json::Object({{"name", "USDC"}, {"version", "1"}});
  EXPECT_THAT(ReadTerms(q, assets), FailsWith(Code::kPaymentDomain));
  q.extra = Json::Object();
  const auto missing = ReadTerms(q, assets);
  ASSERT_THAT(missing, FailsWith(Code::kPaymentDomain));
  EXPECT_EQ(problem::Reason(missing.error(), 2), "invalid_exact_evm_missing_eip712_domain");
  // Version 1 sellers leave it out for the assets everybody knows.
  x402::Requirements one = Wanted(1);
  one.extra = Json::Object();
  const auto terms = ReadTerms(one, assets);
  ASSERT_THAT(terms, IsOk());
  EXPECT_EQ(terms->domain.name, "USDC");
  EXPECT_EQ(terms->chain, chain::ChainId::Evm(84532));
}

TEST(ReadTerms, SpellingsAreThoseOfTheVersion) {
  const chain::AssetRegistry assets = chain::AssetRegistry::WithDefaults();
  const struct {
    int version;
    std::string network;
    Code code;
  } cases[] = {{2, "base-sepolia", Code::kPaymentNetwork},
               {1, "eip155:84532", Code::kPaymentNetwork},
               {2, "eip155:0", Code::kPaymentNetwork},
               {2, "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", Code::kPaymentNetwork},
               {1, "nowhere", Code::kPaymentNetwork}};
  for (const auto& c : cases) {
    x402::Requirements q = Wanted(c.version);
    q.network = c.network;
    EXPECT_THAT(ReadTerms(q, assets), FailsWith(c.code)) << c.network;
  }
  x402::Requirements q = Wanted();
  q.scheme = "upto";
  EXPECT_THAT(ReadTerms(q, assets), FailsWith(Code::kPaymentScheme));
  q = Wanted();
  q.extra.Set("assetTransferMethod", "permit2");
  EXPECT_THAT(ReadTerms(q, assets), FailsWith(Code::kPaymentTransfer));
  q.extra.Set("assetTransferMethod", "eip3009");
  EXPECT_THAT(ReadTerms(q, assets), IsOk());
  q.pay_to = "0x12";
  EXPECT_THAT(ReadTerms(q, assets), FailsWith(Code::kPaymentRequirements));
}

TEST(OnceKey, DiffersByEachPartAndByNothingElse) {
  const chain::TransferAuthorization auth = Good().payload.auth;
  const auto key = [&](uint64_t chain, std::string_view asset, crypto::EvmAddress payer,
                       codec::Bytes32 nonce) {
    return OnceKey(chain::ChainId::Evm(chain), Address(asset), payer, nonce);
  };
  const codec::Bytes32 base = key(84532, kUsdc, auth.from, auth.nonce);
  EXPECT_EQ(OnceKey(*chain::ChainId::FromV1Name("base-sepolia"),
                    Address("0x036cbd53842c5426634e7929541ec2318f3dcf7e"), auth.from, auth.nonce),
            base);
  codec::Bytes32 nonce = auth.nonce;
  nonce[0] ^= 1;
  EXPECT_NE(key(8453, kUsdc, auth.from, auth.nonce), base);
  EXPECT_NE(key(84532, kPayee, auth.from, auth.nonce), base);
  EXPECT_NE(key(84532, kUsdc, auth.to, auth.nonce), base);
  EXPECT_NE(key(84532, kUsdc, auth.from, nonce), base);
}

// A payer with code is judged by his contract alone, whatever his key has signed.
TEST(ExactEvm, AWalletIsJudgedByItsContract) {
  ExactEvm p = Good();
  p.facts->payer_has_code = true;
  const codec::Bytes by_key = p.payload.signature;
  const codec::Bytes odd(66, 7);
  for (const codec::Bytes& signature : {by_key, odd, codec::Bytes()}) {
    p.payload.signature = signature;
    p.wallet = true;
    EXPECT_THAT(CheckExactEvm(p), IsOk());
    p.wallet = false;
    EXPECT_THAT(CheckExactEvm(p), FailsWith(Code::kPaymentSignature));
  }
}

// ERC-6492: the wallet is not there yet. There is no factory that we would call.
TEST(ExactEvm, ASignatureForAnUndeployedWalletIsRefusedWithItsReason) {
  ExactEvm p = Good();
  p.payload.signature.clear();
  for (int i = 0; i < 48; ++i) {
    p.payload.signature.push_back(0x64);
    p.payload.signature.push_back(0x92);
  }
  for (const std::optional<bool> wallet : {std::optional<bool>(), std::optional(true)}) {
    p.wallet = wallet;
    const Result<> checked = CheckExactEvm(p);
    ASSERT_THAT(checked, FailsWith(Code::kPaymentContractWallet));
    EXPECT_EQ(checked.error().reason(), "eip6492_factory_not_allowed");
    EXPECT_EQ(checked.error().pointer(), "/payload/signature");
  }
}

}  // namespace
}  // namespace pontage::scheme
