#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "chain/registry.h"
#include "chain/rpc_health.h"
#include "chain/view.h"
#include "codec/json.h"
#include "net/loop_clients.h"
#include "obs/metrics.h"

namespace pontage::chain {

struct EvmRpcOptions {
  // A node that has not answered by then is given up for this call, and the next one is asked.
  Millis attempt{5'000};
  // A receipt with its logs is some 2 KiB, 128 of them a quarter of a megabyte; a contract's code
  // at most 48 KiB of hex. More than this is not read.
  size_t max_answer = 4 << 20;
  obs::Registry* metrics = nullptr;  // outlives it; none: nothing is counted
};

// An EVM chain behind one or more JSON-RPC nodes over HTTP(S). Several calls go as one batch. The
// node that answered last is asked first; one that does not answer, answers no JSON-RPC, or is too
// busy (429, 5xx) is passed over for the next, and left alone for a while. One that answers a call
// with an error of its own (its limit, a state it does not keep) is passed over as well, and one
// whose chain stands still while another's goes on is no longer asked first. Transactions are
// handed to all that are there. Before the first answer of a node is believed, after each failure
// and now and then, it says with the calls themselves which chain it is on. What nodes say in
// errors goes to the log (chain.rpc_error) and nowhere else.
class EvmRpc final : public EvmView {
 public:
  // kConfig when `urls` is empty or one of them is no http(s) URL.
  static Result<std::unique_ptr<EvmRpc>> Make(ChainId chain, const std::vector<std::string>& urls,
                                              const Clock& clock, EvmRpcOptions options = {});

  const ChainId& chain() const override { return chain_; }
  Task<uint64_t> ChainNumber(Deadline by) override;
  Task<EvmBlock> Block(std::optional<uint64_t> number, Deadline by) override;
  Task<EvmBlock> LatestOfTwo(Deadline by) override;
  Task<Canon> Blocks(std::vector<uint64_t> heights, Deadline by) override;
  Task<TransferFacts> AskTransfer(TransferQuestion question, Deadline by) override;
  Task<TransferFacts> AskTransferOfTwo(TransferQuestion question, Deadline by) override;
  Task<bool> NonceUsed(crypto::EvmAddress asset, crypto::EvmAddress payer, codec::Bytes32 nonce,
                       Deadline by) override;
  Task<bool> NonceUsedSince(crypto::EvmAddress asset, crypto::EvmAddress payer,
                            codec::Bytes32 nonce, uint64_t since, Deadline by) override;
  Task<bool> NonceUsedOfTwo(crypto::EvmAddress asset, crypto::EvmAddress payer,
                            codec::Bytes32 nonce, Deadline by) override;
  Task<std::vector<CallResult>> Calls(std::vector<Call> calls, Deadline by) override;
  Task<std::vector<CallResult>> CallsOfTwo(std::vector<Call> calls, Deadline by) override;
  Task<std::vector<bool>> HaveCode(std::vector<crypto::EvmAddress> addresses, Deadline by) override;
  Task<std::vector<FoundLog>> Logs(LogFilter filter, Deadline by) override;
  Task<std::vector<std::optional<EvmReceipt>>> Receipts(std::vector<crypto::Hash32> hashes,
                                                        Deadline by) override;
  Task<std::optional<EvmReceipt>> ReceiptOfTwo(crypto::Hash32 hash, Deadline by) override;
  Task<uint64_t> TransactionCount(crypto::EvmAddress account, bool pending, Deadline by) override;
  Task<codec::Uint256> Balance(crypto::EvmAddress account, Deadline by) override;
  Task<EvmFees> Fees(Deadline by) override;
  Task<std::vector<Sent>> Send(std::vector<codec::Bytes> raw, Deadline by) override;

  // What an error means that a node answers a call with.
  enum class Errors : uint8_t {
    kOutage,   // it could not: another node may
    kRevert,   // the same, but for what the call itself ended with
    kUnknown,  // the same, but for a method that it does not know
    kAnswer,   // it is an answer
  };
  struct Ask {
    std::string_view method;  // one of ours
    std::string params;       // a JSON array, as text
    Errors errors = Errors::kOutage;
  };
  // One reply of a batch: a result, or the node's error.
  struct Reply {
    codec::Json result;
    bool failed = false;
    int64_t code = 0;
    std::string message;  // the node's; for the log and for telling errors apart
    bool has_data = false;
    // The EVM ran and gave up, as opposed to a node that did not run it.
    bool Reverted() const;
    bool Outage(Errors errors) const;
  };

 private:
  struct Node {
    net::Url url;
    NodeHealth health;
  };
  struct Elsewhere;
  // Any node, or the one of that index alone.
  using Only = std::optional<size_t>;

  EvmRpc(ChainId chain, std::vector<std::unique_ptr<Node>> nodes, const Clock& clock,
         EvmRpcOptions options)
      : chain_(std::move(chain)), nodes_(std::move(nodes)), clock_(clock), options_(options) {}

  // Replies in the order of `asks`, at most kMaxCalls.
  Task<std::vector<Reply>> Batch(std::vector<Ask> asks, Deadline by, Only only = std::nullopt);
  // `calls`: JSON objects with the ids 0 to `count` - 1, as text.
  Task<std::vector<Reply>> BatchAt(Node& node, const std::string& calls, size_t count,
                                   bool names_chain, Deadline by);
  Task<std::vector<Reply>> Post(const net::Url& url, const std::string& body, size_t count,
                                Deadline by);
  std::vector<size_t> Order() const;
  void Note(const Node& node, bool up) const;
  void PassedOver(const Node& node, std::string_view method, const std::string& why) const;
  Task<EvmBlock> HeadOfOthers(EvmBlock still, Deadline by);
  Task<std::vector<Sent>> SendAt(std::vector<codec::Bytes> raw, Only only, Deadline by);
  Task<> SendBeside(std::vector<codec::Bytes> raw, size_t except,
                    std::shared_ptr<Elsewhere> elsewhere, Deadline by);
  Task<EvmBlock> BlockAt(std::optional<uint64_t> number, Only only, Deadline by);
  Task<bool> NonceUsedAt(crypto::EvmAddress asset, crypto::EvmAddress payer, codec::Bytes32 nonce,
                         Only only, Deadline by);
  Task<std::vector<CallResult>> CallsAt(std::vector<Call> calls, Only only, Deadline by);
  Error NoTwoAgree(size_t answers) const;
  Task<TransferFacts> AskTransferAt(TransferQuestion question, Only only, Deadline by);
  Task<std::vector<std::optional<EvmReceipt>>> ReceiptsAt(std::vector<crypto::Hash32> hashes,
                                                          Only only, Deadline by);
  // The result of a single call, an error of the node being an outage.
  Task<codec::Json> One(std::string_view method, std::string params, Deadline by,
                        Only only = std::nullopt);
  Error Outage(std::string_view method, const Reply& reply) const;

  ChainId chain_;
  std::vector<std::unique_ptr<Node>> nodes_;
  const Clock& clock_;
  EvmRpcOptions options_;
  net::LoopClients clients_;
  std::atomic<size_t> first_{0};  // the node that answered last
  HeadWatch head_;
};

// Is the chain the one it is configured to be, and is every asset a contract there whose EIP-712
// domain is the configured one? Wrong domains are the most common mistake of sellers: every payment
// would be refused. kConfig naming what differs; kChainUnreachable when it cannot be asked.
Task<> CheckEvmChain(EvmView& view, std::vector<EvmAsset> assets, Deadline by);

}  // namespace pontage::chain
