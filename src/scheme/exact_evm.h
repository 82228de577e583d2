#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "chain/chain_id.h"
#include "chain/evm_typed_data.h"
#include "chain/registry.h"
#include "chain/view.h"
#include "codec/bytes.h"
#include "codec/json.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"
#include "wire/x402/types.h"

// Scheme exact on EVM chains, moved by EIP-3009: the payer signs a transferWithAuthorization of
// exactly the price to the seller, and anybody may send it. Everything here is pure. Sources: x402
// specification schemes/exact/scheme_exact_evm.md, EIP-3009, EIP-712.
namespace pontage::scheme {

// A transfer must still be good when it is mined: this many seconds from now at least, which is
// what the official facilitators ask for.
inline constexpr int64_t kSettleMarginS = 6;
// Clocks differ, and version 1 clients sign as if ten minutes had passed: a payment may be valid
// for this much longer than the offer's maxTimeoutSeconds, no more, because what is remembered
// against replays is remembered for so long.
inline constexpr int64_t kWindowSkewS = 600;
// A signature of a contract wallet may be long; one of an account is 65 bytes. What is longer than
// this is not even decoded.
inline constexpr size_t kMaxSignature = 4096;

// The `payload` of a payment.
struct ExactEvmPayload {
  chain::TransferAuthorization auth;
  codec::Bytes signature;  // any length; CheckExactEvm judges it
};

// Strict: `signature` is "0x" and hex, addresses are 40 hex digits, value and times are decimal
// strings, the nonce is 32 bytes of hex. Fails with kPaymentMalformed (kPaymentTransfer for a
// payload of another transfer method, kPaymentSignatureForm for a signature that is no hex, and
// kPaymentSignature for a number above 2^256 - 1, which nobody can have signed), with the pointer
// of the member below `pointer` and its right form.
Result<ExactEvmPayload> ParseExactEvm(const codec::Json& payload, std::string pointer = "/payload");

// What the seller asks for, out of a requirement.
struct ExactEvmTerms {
  int version = 2;
  chain::ChainId chain;
  crypto::EvmAddress asset;
  crypto::EvmAddress pay_to;
  codec::Uint256 amount;  // atomic units
  int64_t max_timeout_s = 0;
  chain::Eip712Domain domain;  // of the asset, as the requirement says
};

// Reads a requirement: its scheme is "exact" (kPaymentScheme), its network an EVM chain in the
// spelling of its version (kPaymentNetwork), its asset and payTo are addresses
// (kPaymentRequirements), its transfer method is EIP-3009 (kPaymentTransfer), and extra.name and
// extra.version are there and, for an asset that `assets` knows, right (kPaymentDomain). Version 1
// requirements may leave them out for a known asset.
Result<ExactEvmTerms> ReadTerms(const x402::Requirements& requirements,
                                const chain::AssetRegistry& assets);

// The chain that a network name of that version means. kPaymentNetwork.
Result<chain::ChainId> NetworkOf(std::string_view network, int version);

// Everything the decision needs.
struct ExactEvm {
  std::string scheme;                   // as the payment says
  std::optional<chain::ChainId> chain;  // as the payment says; none when we do not know the name
  ExactEvmPayload payload;
  ExactEvmTerms want;
  int64_t now_s = 0;
  // Set for a payer with code, whose key says nothing: whether his contract says that the signature
  // is good (ERC-1271). Nobody recovers a key then.
  std::optional<bool> wallet = std::nullopt;
  // Whose key made the signature over DigestOf, for who has recovered it: crypto::Recover costs
  // more than all the rest. Absent: CheckExactEvm recovers it.
  std::optional<crypto::EvmAddress> signer = std::nullopt;
  // Absent: decide only what needs no chain.
  std::optional<chain::TransferFacts> facts;
};

// The decision, cheapest first; the first fault wins, in the order of docs/reference/errors.md:
// kPaymentScheme, kPaymentNetwork, kPaymentRecipient, kPaymentAmount, kPaymentExpired,
// kPaymentEarly, kPaymentWindow, kPaymentSignatureForm, kPaymentSignature, and with `facts`
// kPaymentAsset, kPaymentContractWallet, kPaymentReplayed, kPaymentFunds, kPaymentSimulation. A
// payer with code and without `wallet` is refused even when his key signed well: the token would
// ask his code. A signature of a wallet that is not deployed (ERC-6492) is kPaymentContractWallet
// before anything else of the signature.
Result<> CheckExactEvm(const ExactEvm& p);

// The part of it before the signature, which costs next to nothing.
Result<> CheckTerms(const ExactEvm& p);

// Whether `fault` (of CheckTerms) is the word of a clock: the same payment is good at another time,
// and by the clock of another node perhaps now.
bool IsUntimely(Code fault);

// What the payer signed, and what ERC-1271 asks his contract about.
crypto::Hash32 DigestOf(const ExactEvm& p);

// The 32 bytes that stand for an authorization, whatever spelling or header it came in: SHA-256 of
// a tag, the chain's octets, asset, payer and nonce.
codec::Bytes32 OnceKey(const chain::ChainId& chain, const crypto::EvmAddress& asset,
                       const crypto::EvmAddress& payer, const codec::Bytes32& nonce);

}  // namespace pontage::scheme
