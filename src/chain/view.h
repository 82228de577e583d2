#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "chain/chain_id.h"
#include "chain/evm_calls.h"
#include "codec/bytes.h"
#include "codec/uint256.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"
#include "io/task.h"

namespace pontage::chain {

struct EvmBlock {
  uint64_t number = 0;
  int64_t time_s = 0;
  codec::Uint256 base_fee;  // wei for each unit of gas
};

struct EvmReceipt {
  crypto::Hash32 hash{};
  bool ok = false;  // status 1: it was not reverted
  uint64_t block = 0;
  crypto::Hash32 block_hash{};  // zeros when the node does not say
  uint64_t gas_used = 0;
  // Wei, with what a rollup takes for its parent chain; absent when the node does not say.
  std::optional<codec::Uint256> cost;
  std::vector<EvmLog> logs;
};

// Which blocks a chain holds to be its own at the moment.
struct Canon {
  uint64_t head = 0;                  // the latest block
  std::optional<uint64_t> finalized;  // what is never thrown out; absent: the node does not say
  // Of the heights that were asked for, in their order; absent: the chain has no such block.
  std::vector<std::optional<crypto::Hash32>> blocks;
};

struct FoundLog {
  EvmLog log;
  crypto::Hash32 transaction{};
  uint64_t block = 0;
};

// Topics by place; nullopt matches any.
struct LogFilter {
  crypto::EvmAddress address;
  std::vector<std::optional<codec::Bytes32>> topics;
  uint64_t from_block = 0;
  uint64_t to_block = 0;
};

// Everything that decides whether an EIP-3009 transfer would go through now.
struct TransferQuestion {
  crypto::EvmAddress asset;
  crypto::EvmAddress payer;
  codec::Bytes32 nonce{};
  codec::Bytes calldata;      // transferWithAuthorization(…)
  crypto::EvmAddress sender;  // who will send it, so that it is simulated as it will run
  bool estimate = false;      // also how much gas it needs
  // False when the caller knows that the asset is a contract: its code is some 30 KiB on the wire.
  bool ask_asset_code = true;
};
struct TransferFacts {
  bool asset_has_code = false;
  bool payer_has_code = false;  // a contract wallet, or an account that delegates (EIP-7702)
  bool nonce_used = false;
  codec::Uint256 balance;  // the payer's, atomic units of the asset
  bool succeeds = false;   // the simulation did not revert
  uint64_t gas = 0;        // 0 when not asked for or when it reverts
};

struct EvmFees {
  codec::Uint256 base_fee;      // of the latest block, wei
  codec::Uint256 priority_fee;  // what the node suggests, wei
};

// What became of one eth_sendRawTransaction.
enum class Sent : uint8_t {
  kAccepted,     // taken, or known already
  kNonceTooLow,  // the nonce was used: by this transaction, or by another
  kUnderpriced,  // another transaction with this nonce is there and pays as much
  kNoFunds,      // the signer cannot pay the gas
  kRejected,     // anything else; the node's text is in the log
};

// An EVM chain as everything above reads it. The one behind JSON-RPC is EvmRpc; fakes and chains in
// this process fit as well. Safe to use from every loop. Each call fails with kChainUnreachable
// when no node answered before the deadline, or what it answered is not an answer; a node's own
// words never stand in an error.
class EvmView {
 public:
  virtual ~EvmView() = default;

  virtual const ChainId& chain() const = 0;

  // The number the node says it is on (eth_chainId).
  virtual Task<uint64_t> ChainNumber(Deadline by) = 0;
  // The latest block, or the one of that number.
  virtual Task<EvmBlock> Block(std::optional<uint64_t> number, Deadline by) = 0;
  // The latest block as two nodes know it: the older one of theirs.
  virtual Task<EvmBlock> LatestOfTwo(Deadline by) { return Block(std::nullopt, by); }
  // The blocks at these heights, at most kMaxCalls - 2 of them, as one node sees them. One round
  // trip.
  virtual Task<Canon> Blocks(std::vector<uint64_t> heights, Deadline by) = 0;
  // All in one round trip.
  virtual Task<TransferFacts> AskTransfer(TransferQuestion question, Deadline by) = 0;
  // The same of two nodes that agree, for payments that are worth it. A view with one source has
  // one opinion.
  virtual Task<TransferFacts> AskTransferOfTwo(TransferQuestion question, Deadline by) {
    return AskTransfer(std::move(question), by);
  }
  // Only whether the authorization was used. One round trip.
  virtual Task<bool> NonceUsed(crypto::EvmAddress asset, crypto::EvmAddress payer,
                               codec::Bytes32 nonce, Deadline by) = 0;
  // The same by a node that has the block `since`: what is unused there was unused in it. One that
  // is behind fails with kChainUnreachable. A view with one source is never behind itself.
  virtual Task<bool> NonceUsedSince(crypto::EvmAddress asset, crypto::EvmAddress payer,
                                    codec::Bytes32 nonce, uint64_t since, Deadline by) {
    (void)since;
    return NonceUsed(asset, payer, nonce, by);
  }
  // What two nodes say.
  virtual Task<bool> NonceUsedOfTwo(crypto::EvmAddress asset, crypto::EvmAddress payer,
                                    codec::Bytes32 nonce, Deadline by) {
    return NonceUsed(asset, payer, nonce, by);
  }
  // eth_call each; a revert is success = false. One round trip, at most kMaxCalls.
  virtual Task<std::vector<CallResult>> Calls(std::vector<Call> calls, Deadline by) = 0;
  // The same of two nodes that agree.
  virtual Task<std::vector<CallResult>> CallsOfTwo(std::vector<Call> calls, Deadline by) {
    return Calls(std::move(calls), by);
  }
  // Whether there is code at each address. One round trip.
  virtual Task<std::vector<bool>> HaveCode(std::vector<crypto::EvmAddress> addresses,
                                           Deadline by) = 0;
  virtual Task<std::vector<FoundLog>> Logs(LogFilter filter, Deadline by) = 0;
  // In the order asked for; nullopt where the transaction is not mined. One round trip for each
  // kMaxCalls of them.
  virtual Task<std::vector<std::optional<EvmReceipt>>> Receipts(std::vector<crypto::Hash32> hashes,
                                                                Deadline by) = 0;
  // Of two nodes that agree; nullopt as well while only one of them has it.
  virtual Task<std::optional<EvmReceipt>> ReceiptOfTwo(crypto::Hash32 hash, Deadline by);
  // How many transactions the account has sent; with those that wait in the node when `pending`.
  virtual Task<uint64_t> TransactionCount(crypto::EvmAddress account, bool pending,
                                          Deadline by) = 0;
  // Wei.
  virtual Task<codec::Uint256> Balance(crypto::EvmAddress account, Deadline by) = 0;
  virtual Task<EvmFees> Fees(Deadline by) = 0;
  // Hands over signed transactions, in this order. One round trip for each kMaxCalls of them.
  virtual Task<std::vector<Sent>> Send(std::vector<codec::Bytes> raw, Deadline by) = 0;
};

}  // namespace pontage::chain
