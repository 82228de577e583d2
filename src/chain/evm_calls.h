#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "chain/evm_typed_data.h"
#include "codec/bytes.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "crypto/secp256k1.h"

namespace pontage::chain {

// Calldata of the contract functions we call, and readers of what they return and log. Pure.

// EIP-3009 by (v, r, s): what a 65-byte signature of an account goes through.
codec::Bytes CallTransferWithAuthorization(const TransferAuthorization& a,
                                           const crypto::Signature65& signature);
// The overload with `bytes signature`, for contract wallets.
codec::Bytes CallTransferWithAuthorizationBytes(const TransferAuthorization& a,
                                                codec::ByteView signature);
// What either of them would move; nullopt when the calldata is of another call.
std::optional<TransferAuthorization> AsTransferWithAuthorization(codec::ByteView calldata);
codec::Bytes CallAuthorizationState(const crypto::EvmAddress& authorizer,
                                    const codec::Bytes32& nonce);
// ERC-1271, and whether what it returned means yes.
codec::Bytes CallIsValidSignature(const codec::Bytes32& digest, codec::ByteView signature);
bool SaysValidSignature(codec::ByteView returned);
codec::Bytes CallBalanceOf(const crypto::EvmAddress& owner);
codec::Bytes CallTransfer(const crypto::EvmAddress& to, const codec::Uint256& value);
codec::Bytes CallDomainSeparator();
codec::Bytes CallName();
codec::Bytes CallVersion();
codec::Bytes CallDecimals();

// What a call returned. Fails with kBadRequest when it is not of that shape.
Result<bool> ReturnedBool(codec::ByteView data);
Result<codec::Uint256> ReturnedUint(codec::ByteView data);
Result<codec::Bytes32> ReturnedWord(codec::ByteView data);
// At most kMaxReturnedText bytes.
Result<std::string> ReturnedString(codec::ByteView data);
// A token's name or version; longer ones are not worth an EIP-712 domain.
inline constexpr size_t kMaxReturnedText = 256;

// Multicall3, at the same address on every chain that has it.
crypto::EvmAddress Multicall3Address();
struct Call {
  crypto::EvmAddress target;
  codec::Bytes data;
  bool allow_failure = true;
};
struct CallResult {
  bool success = false;
  codec::Bytes data;
  friend bool operator==(const CallResult&, const CallResult&) = default;
};
// Some thirty reads are asked for at once when a facilitator starts.
inline constexpr size_t kMaxCalls = 128;
// aggregate3((address,bool,bytes)[])
codec::Bytes CallAggregate3(std::span<const Call> calls);
// The calls in it. Fails with kBadRequest when it is of another call or shape.
Result<std::vector<Call>> ReadAggregate3(codec::ByteView calldata);
// tryAggregate(bool,(address,bytes)[])
codec::Bytes CallTryAggregate(bool require_success, std::span<const Call> calls);
// What either of them returned: one result for each call, in order. Fails with kBadRequest when the
// count is not `calls`.
Result<std::vector<CallResult>> ReturnedCalls(codec::ByteView data, size_t calls);

// One log of a receipt or of eth_getLogs.
struct EvmLog {
  crypto::EvmAddress address;          // The contract that wrote it.
  std::vector<codec::Bytes32> topics;  // At most four.
  codec::Bytes data;
  uint64_t log_index = 0;  // Its place in the block: with the block it names the log.
  friend bool operator==(const EvmLog&, const EvmLog&) = default;
};

// Topic 0 of the two events a settlement is proved by.
codec::Bytes32 TransferTopic();
codec::Bytes32 AuthorizationUsedTopic();

struct TransferEvent {
  crypto::EvmAddress token;
  crypto::EvmAddress from;
  crypto::EvmAddress to;
  codec::Uint256 value;
};
struct AuthorizationUsedEvent {
  crypto::EvmAddress token;
  crypto::EvmAddress authorizer;
  codec::Bytes32 nonce{};
};
// nullopt when the log is another event, or of another shape (an ERC-721 Transfer has four topics).
std::optional<TransferEvent> AsTransfer(const EvmLog& log);
std::optional<AuthorizationUsedEvent> AsAuthorizationUsed(const EvmLog& log);

}  // namespace pontage::chain
