#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"

namespace pontage::chain {

// EIP-712: what a wallet signs so that a token moves without a transaction of the payer's own.

struct Eip712Domain {
  std::string name;
  // Absent where the contract leaves it out of its domain type (Permit2).
  std::optional<std::string> version;
  uint64_t chain_id = 0;
  crypto::EvmAddress verifying_contract;
};
// The hash of a domain. Some 1 us: cache it for each asset.
crypto::Hash32 DomainSeparator(const Eip712Domain& domain);

// EIP-3009 §"transferWithAuthorization". Times are seconds since 1970.
struct TransferAuthorization {
  crypto::EvmAddress from;
  crypto::EvmAddress to;
  codec::Uint256 value;  // Atomic units.
  codec::Uint256 valid_after;
  codec::Uint256 valid_before;
  codec::Bytes32 nonce{};
};
inline constexpr std::string_view kTransferWithAuthorizationType =
    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
    "uint256 validBefore,bytes32 nonce)";
crypto::Hash32 StructHash(const TransferAuthorization& authorization);

// EIP-2612: leave for `spender` to take `value`. The deadline is in seconds since 1970.
struct Permit {
  crypto::EvmAddress owner;
  crypto::EvmAddress spender;
  codec::Uint256 value;
  codec::Uint256 nonce;
  codec::Uint256 deadline;
};
inline constexpr std::string_view kPermitType =
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
crypto::Hash32 StructHash(const Permit& permit);

// The 32 bytes that are signed: keccak(0x1901 || separator || struct hash).
crypto::Hash32 TypedDataDigest(const crypto::Hash32& separator, const crypto::Hash32& struct_hash);
inline crypto::Hash32 DigestOf(const crypto::Hash32& separator, const TransferAuthorization& a) {
  return TypedDataDigest(separator, StructHash(a));
}
inline crypto::Hash32 DigestOf(const crypto::Hash32& separator, const Permit& p) {
  return TypedDataDigest(separator, StructHash(p));
}

}  // namespace pontage::chain
