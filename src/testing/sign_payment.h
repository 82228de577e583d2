#pragma once

#include "chain/evm_typed_data.h"
#include "chain/registry.h"
#include "codec/hex.h"
#include "codec/json.h"
#include "crypto/secp256k1.h"
#include "wire/x402/types.h"

namespace pontage::testing {

// What payments in `asset` are signed under on the chain of that number.
inline chain::Eip712Domain DomainOf(const chain::EvmAsset& asset, uint64_t chain_id) {
  chain::Eip712Domain domain;
  domain.name = asset.eip712_name;
  domain.version = asset.eip712_version;
  domain.chain_id = chain_id;
  domain.verifying_contract = asset.address;
  return domain;
}

// What a buyer sends for `auth` under the offer `q`: the x402 object of its version, signed.
inline codec::Json SignedPayment(const crypto::PrivateKey& payer, const chain::Eip712Domain& token,
                                 const x402::Requirements& q,
                                 const chain::TransferAuthorization& auth) {
  const crypto::Hash32 digest = chain::DigestOf(chain::DomainSeparator(token), auth);
  codec::Json authorization = codec::Json::Object({{"from", auth.from.ToChecksum()},
                                                   {"to", auth.to.ToChecksum()},
                                                   {"value", auth.value.ToDecimal()},
                                                   {"validAfter", auth.valid_after.ToDecimal()},
                                                   {"validBefore", auth.valid_before.ToDecimal()},
                                                   {"nonce", codec::Hex0x(auth.nonce)}});
  codec::Json payload = codec::Json::Object();
  payload.Set("signature", codec::Hex0x(payer.SignRecoverable(digest)));
  payload.Set("authorization", std::move(authorization));
  codec::Json raw = codec::Json::Object({{"x402Version", q.version}});
  if (q.version == 1) {
    raw.Set("scheme", q.scheme).Set("network", q.network);
  } else {
    raw.Set("accepted", q.ToJson());
  }
  raw.Set("payload", std::move(payload));
  return raw;
}

}  // namespace pontage::testing
