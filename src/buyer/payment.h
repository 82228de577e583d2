#pragma once

#include <optional>
#include <string>

#include "base/time.h"
#include "buyer/policy.h"
#include "chain/evm_typed_data.h"
#include "chain/view.h"
#include "crypto/secp256k1.h"
#include "wire/x402/types.h"

namespace pontage::buyer {

// A payment that was signed: money can move by it until it expires, whoever holds it.
struct SignedPayment {
  std::string header_name;  // PAYMENT-SIGNATURE or X-PAYMENT
  std::string header;       // its value
  chain::TransferAuthorization authorization;
  chain::ChainId network = chain::ChainId::Evm(1);
  crypto::EvmAddress asset;
  UnixMs valid_before;
};

// Signs exactly the amount of `choice`, once, good for as long as the offer says: version 2 from 0,
// version 1 from ten minutes ago, as the official clients do. `accepted`, `resource` and
// `extensions` are the offer's, unchanged. `nonce` is 32 fresh random bytes.
SignedPayment SignPayment(const Offer& offer, const Choice& choice, const crypto::PrivateKey& key,
                          UnixMs now, const codec::Bytes32& nonce);

// The receipt of an answer: PAYMENT-RESPONSE, else X-PAYMENT-RESPONSE; nullopt without one. One
// that cannot be read is kUpstreamProtocol.
Result<std::optional<x402::SettleAnswer>> ReadReceipt(std::optional<std::string_view> v2,
                                                      std::optional<std::string_view> v1);

// Whether a mined transaction is this payment: not reverted, with the token's AuthorizationUsed of
// this payer and nonce and its Transfer of exactly this amount to the payee. The error says what is
// missing (kSettleTransfer).
Result<> ProvesPayment(const chain::EvmReceipt& receipt, const SignedPayment& payment);

}  // namespace pontage::buyer
