#include "scheme/exact_evm.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/try.h"
#include "chain/evm_calls.h"
#include "codec/hex.h"
#include "crypto/secp256k1.h"
#include "scheme/registry.h"

namespace pontage::scheme {
namespace {

using codec::Json;
using codec::JsonReader;
using codec::Uint256;

Result<crypto::EvmAddress> ReadAddress(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::string_view text, r.String(key));
  const Result<crypto::EvmAddress> address = crypto::EvmAddress::Parse(text);
  if (!address) return Fail(r.Place(key, address.error()));
  return *address;
}

Result<Uint256> ReadNumber(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::string_view text, r.String(key));
  const Result<Uint256> number = Uint256::FromDecimal(text);
  if (number) return *number;
  const bool digits = !text.empty() && text.front() != '0' &&
                      std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (digits) {
    return Fail(Error(Code::kPaymentSignature,
                      "the number is above 2^256 - 1, so nobody can have signed it")
                    .At(codec::ChildPointer(r.pointer(), key))
                    .Want("a decimal string of at most 2^256 - 1"));
  }
  return Fail(r.Place(key, number.error()));
}

std::string At(std::string_view member) { return "/payload/authorization/" + std::string(member); }

// now + `plus`, never before the epoch.
Uint256 Seconds(int64_t now_s, int64_t plus) {
  int64_t sum = 0;
  if (__builtin_add_overflow(now_s, plus, &sum)) sum = INT64_MAX;
  return Uint256(static_cast<uint64_t>(std::max<int64_t>(sum, 0)));
}

// Whether the signature is wrapped for a wallet that is yet to be deployed: it ends with
// 0x6492…6492 (ERC-6492).
bool IsUndeployed(codec::ByteView signature) {
  if (signature.size() < 32) return false;
  const codec::ByteView end = signature.last(32);
  for (size_t i = 0; i < end.size(); ++i) {
    if (end[i] != (i % 2 == 0 ? 0x64 : 0x92)) return false;
  }
  return true;
}

Result<> CheckSignature(const ExactEvm& p) {
  if (IsUndeployed(p.payload.signature)) {
    return Fail(Error(Code::kPaymentContractWallet,
                      "the signature is for a wallet that its factory has not deployed yet")
                    .At("/payload/signature")
                    .Want("a wallet that is deployed, and its signature as it is")
                    .Because(p.want.version == 1
                                 ? "invalid_exact_evm_payload_undeployed_smart_wallet"
                                 : "eip6492_factory_not_allowed"));
  }
  if (p.wallet) {
    if (*p.wallet) return {};
    return Fail(Error(Code::kPaymentSignature, "the payer's contract does not accept the signature")
                    .At("/payload/signature")
                    .Want("a signature for which isValidSignature of authorization.from says "
                          "0x1626ba7e"));
  }
  const Result<crypto::EvmAddress> signer = p.signer
                                                ? Result<crypto::EvmAddress>(*p.signer)
                                                : crypto::Recover(DigestOf(p), p.payload.signature);
  constexpr std::string_view kForm =
      "0x and 65 bytes r, s, v with s in the lower half and v 27 or 28, by the key of "
      "authorization.from over the EIP-712 domain in extra";
  if (!signer) {
    return Fail(Error(signer.error().code(), signer.error().detail())
                    .At("/payload/signature")
                    .Want(std::string(kForm)));
  }
  if (*signer != p.payload.auth.from) {
    return Fail(Error(Code::kPaymentSignature, "the signature is not the payer's")
                    .At("/payload/signature")
                    .Want(std::string(kForm)));
  }
  return {};
}

Result<> CheckFacts(const ExactEvm& p, const chain::TransferFacts& facts) {
  if (!facts.asset_has_code) {
    return Fail(Error(Code::kPaymentAsset, "there is no contract at the asset's address"));
  }
  if (facts.payer_has_code && !p.wallet) {
    return Fail(Error(Code::kPaymentContractWallet,
                      "the payer is a contract wallet, or an account that delegates to one")
                    .At(At("from"))
                    .Want("an account without code"));
  }
  if (facts.nonce_used) {
    return Fail(Error(Code::kPaymentReplayed, "the authorization was used on the chain before")
                    .At(At("nonce"))
                    .Want("a nonce that was never used"));
  }
  if (facts.balance < p.payload.auth.value) {
    return Fail(Error(Code::kPaymentFunds, "the payer does not have that much")
                    .At(At("from"))
                    .Want("a balance of at least " + p.payload.auth.value.ToDecimal()));
  }
  if (!facts.succeeds) {
    return Fail(Error(Code::kPaymentSimulation, "the token contract would refuse the transfer"));
  }
  return {};
}

}  // namespace

Result<ExactEvmPayload> ParseExactEvm(const Json& payload, std::string pointer) {
  PTG_TRY(const JsonReader r, JsonReader::Of(payload, Code::kPaymentMalformed, std::move(pointer)));
  if (r.MaybeAny("authorization") == nullptr && r.MaybeAny("permit2Authorization") != nullptr) {
    return Fail(Error(Code::kPaymentTransfer, "a Permit2 payment is not taken here")
                    .At(codec::ChildPointer(r.pointer(), "permit2Authorization"))
                    .Want("an EIP-3009 authorization"));
  }
  PTG_TRY(const JsonReader a, r.Object("authorization"));
  ExactEvmPayload p;
  PTG_TRY(p.auth.from, ReadAddress(a, "from"));
  PTG_TRY(p.auth.to, ReadAddress(a, "to"));
  PTG_TRY(p.auth.value, ReadNumber(a, "value"));
  PTG_TRY(p.auth.valid_after, ReadNumber(a, "validAfter"));
  PTG_TRY(p.auth.valid_before, ReadNumber(a, "validBefore"));
  PTG_TRY(const std::string_view nonce, a.String("nonce"));
  const Result<codec::Bytes32> nonce_bytes = codec::FromHex0x<32>(nonce);
  if (!nonce_bytes) return Fail(a.Place("nonce", nonce_bytes.error()));
  p.auth.nonce = *nonce_bytes;
  PTG_TRY(const std::string_view signature, r.String("signature"));
  Result<codec::Bytes> bytes = codec::FromHex0x(signature, kMaxSignature);
  if (!bytes) {
    return Fail(Error(Code::kPaymentSignatureForm, bytes.error().detail())
                    .At(codec::ChildPointer(r.pointer(), "signature"))
                    .Want("0x and 130 hex digits"));
  }
  p.signature = *std::move(bytes);
  return p;
}

Result<chain::ChainId> NetworkOf(std::string_view network, int version) {
  return version == 1 ? chain::ChainId::FromV1Name(network) : chain::ChainId::FromCaip2(network);
}

Result<ExactEvmTerms> ReadTerms(const x402::Requirements& q, const chain::AssetRegistry& assets) {
  constexpr std::string_view kRoot = "/paymentRequirements";
  PTG_RUN(ParseScheme(q.scheme));
  PTG_TRY(chain::ChainId chain, NetworkOf(q.network, q.version));
  if (chain.family() != chain::Family::kEvm) {
    return Fail(Error(Code::kPaymentNetwork, "the network is no EVM chain")
                    .At(codec::ChildPointer(kRoot, "network")));
  }
  const auto address = [&](std::string_view key,
                           std::string_view text) -> Result<crypto::EvmAddress> {
    const Result<crypto::EvmAddress> parsed = crypto::EvmAddress::Parse(text);
    if (parsed) return *parsed;
    return Fail(Error(Code::kPaymentRequirements, parsed.error().detail())
                    .At(codec::ChildPointer(kRoot, key))
                    .Want(parsed.error().expected()));
  };
  PTG_TRY(const crypto::EvmAddress asset, address("asset", q.asset));
  PTG_TRY(const crypto::EvmAddress pay_to, address("payTo", q.pay_to));
  PTG_TRY(const JsonReader extra,
          JsonReader::Of(q.extra, Code::kPaymentDomain, "/paymentRequirements/extra"));
  if (const Json* method = extra.MaybeAny("assetTransferMethod")) {
    const std::string* name = method->AsString();
    if (name == nullptr || *name != "eip3009") {
      return Fail(Error(Code::kPaymentTransfer, "the transfer method is not spoken here")
                      .At(codec::ChildPointer(extra.pointer(), "assetTransferMethod"))
                      .Want("\"eip3009\", or nothing"));
    }
  }
  const chain::EvmAsset* known = assets.Find(chain, asset);
  PTG_TRY(const std::optional<std::string_view> name, extra.MaybeString("name"));
  PTG_TRY(const std::optional<std::string_view> version, extra.MaybeString("version"));
  const bool may_default = known != nullptr && q.version == 1;
  if ((!name || !version) && !may_default) {
    return Fail(extra.Bad(name ? "version" : "name", "the asset's EIP-712 domain is not named",
                          "extra.name and extra.version, as the token signs with"));
  }
  ExactEvmTerms terms{.version = q.version,
                      .chain = chain,
                      .asset = asset,
                      .pay_to = pay_to,
                      .amount = q.amount,
                      .max_timeout_s = q.max_timeout_s,
                      .domain = {}};
  terms.domain.name = std::string(name.value_or(known ? known->eip712_name : ""));
  terms.domain.version = std::string(version.value_or(known ? known->eip712_version : ""));
  terms.domain.chain_id = chain.number();
  terms.domain.verifying_contract = asset;
  if (known != nullptr && terms.domain.name != known->eip712_name) {
    return Fail(extra.Bad("name", "the token signs with another name", known->eip712_name)
                    .Because("invalid_exact_evm_token_name_mismatch"));
  }
  if (known != nullptr && *terms.domain.version != known->eip712_version) {
    return Fail(extra.Bad("version", "the token signs with another version", known->eip712_version)
                    .Because("invalid_exact_evm_token_version_mismatch"));
  }
  return terms;
}

Result<> CheckTerms(const ExactEvm& p) {
  const chain::TransferAuthorization& auth = p.payload.auth;
  PTG_RUN(ParseScheme(p.scheme));
  if (p.chain != p.want.chain) {
    return Fail(Error(Code::kPaymentNetwork, "the payment is for another network")
                    .At(p.want.version == 1 ? "/network" : "/accepted/network")
                    .Want(p.want.version == 1 ? std::string(p.want.chain.V1Name().value_or(""))
                                              : p.want.chain.Caip2()));
  }
  if (auth.to != p.want.pay_to) {
    return Fail(Error(Code::kPaymentRecipient, "the payment is made out to another address")
                    .At(At("to"))
                    .Want(p.want.pay_to.ToChecksum()));
  }
  if (auth.value.IsZero()) {
    return Fail(Error(Code::kPaymentAmount, "a payment of nothing costs its gas and pays nobody")
                    .At(At("value"))
                    .Want("at least 1"));
  }
  if (auth.value != p.want.amount) {
    return Fail(Error(Code::kPaymentAmount, "the payment is not of the price")
                    .At(At("value"))
                    .Want(p.want.amount.ToDecimal()));
  }
  if (auth.valid_before < Seconds(p.now_s, kSettleMarginS)) {
    return Fail(
        Error(Code::kPaymentExpired, "the payment is no longer valid, or not for long enough")
            .At(At("validBefore"))
            .Want("at least " + Seconds(p.now_s, kSettleMarginS).ToDecimal()));
  }
  if (auth.valid_after > Seconds(p.now_s, 0)) {
    return Fail(Error(Code::kPaymentEarly, "the payment is not valid yet")
                    .At(At("validAfter"))
                    .Want("at most " + Seconds(p.now_s, 0).ToDecimal()));
  }
  int64_t window_s = 0;
  if (__builtin_add_overflow(p.want.max_timeout_s, kWindowSkewS, &window_s)) window_s = INT64_MAX;
  const Uint256 latest = Seconds(p.now_s, window_s);
  if (auth.valid_before > latest) {
    return Fail(Error(Code::kPaymentWindow, "the payment is valid for longer than was asked for")
                    .At(At("validBefore"))
                    .Want("at most " + latest.ToDecimal()));
  }
  return {};
}

bool IsUntimely(Code fault) {
  return fault == Code::kPaymentExpired || fault == Code::kPaymentEarly ||
         fault == Code::kPaymentWindow;
}

Result<> CheckExactEvm(const ExactEvm& p) {
  PTG_RUN(CheckTerms(p));
  PTG_RUN(CheckSignature(p));
  if (p.facts) PTG_RUN(CheckFacts(p, *p.facts));
  return {};
}

// A seller takes few assets: the last domain's hash is kept at hand, half of the digest's work.
crypto::Hash32 DigestOf(const ExactEvm& p) {
  thread_local chain::Eip712Domain known;
  thread_local crypto::Hash32 separator = chain::DomainSeparator(known);
  const chain::Eip712Domain& domain = p.want.domain;
  if (std::tie(known.name, known.version, known.chain_id, known.verifying_contract) !=
      std::tie(domain.name, domain.version, domain.chain_id, domain.verifying_contract)) {
    known = domain;
    separator = chain::DomainSeparator(known);
  }
  return chain::DigestOf(separator, p.payload.auth);
}

codec::Bytes32 OnceKey(const chain::ChainId& chain, const crypto::EvmAddress& asset,
                       const crypto::EvmAddress& payer, const codec::Bytes32& nonce) {
  const codec::Bytes octets = chain.Binary();
  return crypto::Sha256({codec::AsBytes("pontage/once/evm\n"), octets, asset.bytes, payer.bytes,
                         codec::ByteView(nonce)});
}

}  // namespace pontage::scheme
