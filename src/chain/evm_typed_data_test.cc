#include "chain/evm_typed_data.h"

#include <gtest/gtest.h>

#include "chain/registry.h"
#include "codec/hex.h"
#include "crypto/secp256k1.h"
#include "testing/expect.h"
#include "testing/golden.h"

namespace pontage::chain {
namespace {

using codec::AsBytes;
using codec::FromHex0x;
using codec::Hex0x;
using codec::Json;
using codec::JsonReader;
using codec::Uint256;
using crypto::EvmAddress;
using crypto::Keccak256;
using pontage::testing::IsOk;

EvmAddress Address(std::string_view text) { return EvmAddress::Parse(text).value(); }

TEST(TypedData, TypeHashes) {
  EXPECT_EQ(Hex0x(Keccak256(AsBytes(kTransferWithAuthorizationType))),
            "0x7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267");
  EXPECT_EQ(Hex0x(Keccak256(AsBytes(kPermitType))),
            "0x6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9");
}

TEST(TypedData, DomainSeparators) {
  const AssetRegistry registry = AssetRegistry::WithDefaults();
  const std::pair<uint64_t, const char*> known[] = {
      {8453, "0x02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f"},
      {84532, "0x71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818"}};
  for (const auto& [chain, separator] : known) {
    const EvmAsset* usdc = registry.DefaultOf(ChainId::Evm(chain));
    ASSERT_NE(usdc, nullptr);
    EXPECT_EQ(Hex0x(DomainSeparator({.name = usdc->eip712_name,
                                     .version = usdc->eip712_version,
                                     .chain_id = chain,
                                     .verifying_contract = usdc->address})),
              separator);
  }
  // Permit2 leaves the version out of its domain type.
  EXPECT_EQ(Hex0x(DomainSeparator(
                {.name = "Permit2",
                 .version = std::nullopt,
                 .chain_id = 84532,
                 .verifying_contract = Address("0x000000000022D473030F116dDEE9F6B43aC78BA3")})),
            "0x010f27a92fb9a32622f44f001dc4d15706a85b33499cfc2ce9033113ab26592c");
}

TEST(TypedData, PermitDigest) {
  const Eip712Domain usdc{
      .name = "USDC",
      .version = "2",
      .chain_id = 84532,
      .verifying_contract = Address("0x036CbD53842c5426634e7929541eC2318f3dCF7e")};
  const Permit permit{.owner = Address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
                      .spender = Address("0x000000000022D473030F116dDEE9F6B43aC78BA3"),
                      .value = Uint256(10000),
                      .nonce = Uint256(0),
                      .deadline = Uint256(1900000000)};
  EXPECT_EQ(Hex0x(DigestOf(DomainSeparator(usdc), permit)),
            "0xadab447465ade72dd0f227db408e5c8f967c7596c471adc2faaa9420d62cdd80");
}

struct Vector {
  std::string name;
  Eip712Domain domain;
  TransferAuthorization authorization;
  crypto::Signature65 signature;
};

Vector Read(const JsonReader& r) {
  const JsonReader d = r.Object("domain").value();
  const JsonReader a = r.Object("authorization").value();
  const auto number = [&](const char* key) {
    return Uint256::FromDecimal(a.String(key).value()).value();
  };
  return {.name = std::string(r.String("name").value()),
          .domain = {.name = std::string(d.String("name").value()),
                     .version = std::string(d.String("version").value()),
                     .chain_id = static_cast<uint64_t>(d.Int("chainId").value()),
                     .verifying_contract = Address(d.String("verifyingContract").value())},
          .authorization = {.from = Address(a.String("from").value()),
                            .to = Address(a.String("to").value()),
                            .value = number("value"),
                            .valid_after = number("validAfter"),
                            .valid_before = number("validBefore"),
                            .nonce = FromHex0x<32>(a.String("nonce").value()).value()},
          .signature = FromHex0x<65>(r.String("signature").value()).value()};
}

TEST(TypedData, AgreesWithTheOfficialClients) {
  const Json golden = testing::GoldenJson("eip3009.json");
  const std::vector<JsonReader> vectors =
      JsonReader::Of(golden).value().Objects("vectors", 100).value();
  ASSERT_GE(vectors.size(), 10U);
  for (const JsonReader& r : vectors) {
    const Vector v = Read(r);
    SCOPED_TRACE(v.name);
    const crypto::Hash32 separator = DomainSeparator(v.domain);
    EXPECT_EQ(Hex0x(separator), r.String("domainSeparator").value());
    if (const auto hash = r.MaybeString("structHash").value()) {
      EXPECT_EQ(Hex0x(StructHash(v.authorization)), *hash);
    }
    const crypto::Hash32 digest = DigestOf(separator, v.authorization);
    EXPECT_EQ(Hex0x(digest), r.String("digest").value());
    const Result<EvmAddress> signer = crypto::Recover(digest, v.signature);
    const auto recovered = r.MaybeString("recovered").value();
    ASSERT_EQ(signer.has_value(), recovered.has_value());
    if (recovered) EXPECT_EQ(signer->ToChecksum(), *recovered);
  }
}

// The published vector's signature, made here.
TEST(TypedData, SignsLikeTheOfficialClients) {
  const auto key = crypto::PrivateKey::FromHex(
      "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d");
  ASSERT_THAT(key, IsOk());
  const Json golden = testing::GoldenJson("eip3009.json");
  const std::vector<JsonReader> vectors =
      JsonReader::Of(golden).value().Objects("vectors", 100).value();
  const Vector v = Read(vectors.front());
  ASSERT_EQ(v.authorization.from, key->address());
  EXPECT_EQ(key->SignRecoverable(DigestOf(DomainSeparator(v.domain), v.authorization)),
            v.signature);
}

// Every field is under the signature.
TEST(TypedData, AnyChangeChangesTheDigest) {
  const Json golden = testing::GoldenJson("eip3009.json");
  const Vector v = Read(JsonReader::Of(golden).value().Objects("vectors", 100).value().front());
  const auto digest = [](const Vector& w) {
    return DigestOf(DomainSeparator(w.domain), w.authorization);
  };
  void (*const changes[])(Vector&) = {
      [](Vector& w) { w.authorization.from.bytes[19] ^= 1; },
      [](Vector& w) { w.authorization.to.bytes[0] ^= 1; },
      [](Vector& w) { w.authorization.value = Uint256(10001); },
      [](Vector& w) { w.authorization.valid_after = Uint256(1); },
      [](Vector& w) { w.authorization.valid_before = Uint256(1900000001); },
      [](Vector& w) { w.authorization.nonce[31] ^= 1; },
      [](Vector& w) { w.domain.name = "USD Coin"; },
      [](Vector& w) { w.domain.version = "1"; },
      [](Vector& w) { w.domain.version = std::nullopt; },
      [](Vector& w) { w.domain.chain_id = 8453; },
      [](Vector& w) { w.domain.verifying_contract.bytes[5] ^= 1; },
  };
  for (const auto change : changes) {
    Vector w = v;
    change(w);
    EXPECT_NE(digest(w), digest(v));
  }
}

}  // namespace
}  // namespace pontage::chain
