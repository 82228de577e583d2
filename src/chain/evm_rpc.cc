#include "chain/evm_rpc.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "chain/evm_rpc_json.h"
#include "chain/evm_typed_data.h"
#include "codec/hex.h"

namespace pontage::chain {
namespace {

using codec::Json;

// What is asked goes out as text at once: it is hex and words of ours, of which nothing needs an
// escape, and a tree of values would be built, copied and written for each payment.
std::string Quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

// params of a call: [first, "latest"], or with another word behind it.
std::string Params(std::string_view first, std::string_view second = "\"latest\"") {
  std::string params;
  params.reserve(first.size() + second.size() + 3);
  params.append("[").append(first).append(",").append(second).append("]");
  return params;
}

std::string CallObject(const crypto::EvmAddress& to, codec::ByteView data,
                       const std::optional<crypto::EvmAddress>& from = std::nullopt) {
  std::string call = R"({"to":")" + to.ToLower() + R"(","data":")" + codec::Hex0x(data) + "\"";
  if (from) call.append(R"(,"from":")").append(from->ToLower()).append("\"");
  call.append("}");
  return call;
}

EvmRpc::Ask EthCall(const crypto::EvmAddress& to, codec::ByteView data,
                    const std::optional<crypto::EvmAddress>& from = std::nullopt) {
  return {"eth_call", Params(CallObject(to, data, from)), EvmRpc::Errors::kRevert};
}

EvmRpc::Ask GetCode(const crypto::EvmAddress& address) {
  return {"eth_getCode", Params(Quoted(address.ToLower()))};
}

void AppendCall(std::string& batch, size_t id, std::string_view method, std::string_view params) {
  batch.append(R"({"jsonrpc":"2.0","id":)").append(std::to_string(id));
  batch.append(R"(,"method":")").append(method).append(R"(","params":)").append(params);
  batch.append("}");
}

// What authorizationState returned.
Result<bool> ReadState(const Json& result) {
  PTG_TRY(const codec::Bytes word, ReadBytes(result));
  const Result<bool> used = ReturnedBool(word);
  if (used) return used;
  return Fail(Code::kChainUnreachable, "authorizationState of the asset answered no boolean");
}

// JSON-RPC 2.0 §5.1.
constexpr int64_t kNoSuchMethod = -32601;

// What went wrong with the connection, without anything a node said.
Error Unreachable(const ChainId& chain) {
  return Error(Code::kChainUnreachable, "no node of " + chain.Caip2() + " answered");
}

}  // namespace

bool EvmRpc::Reply::Reverted() const {
  if (!failed) return false;
  // 3 is what geth, anvil and most others answer for a revert. Older nodes have only words for it.
  if (code == 3 || has_data) return true;
  for (const std::string_view sign :
       {"revert", "out of gas", "invalid opcode", "gas required exceeds", "invalid jump",
        "stack underflow", "stack limit"}) {
    if (message.find(sign) != std::string::npos) return true;
  }
  return false;
}

bool EvmRpc::Reply::Outage(Errors errors) const {
  if (!failed || errors == Errors::kAnswer) return false;
  if (errors == Errors::kRevert) return !Reverted();
  return errors != Errors::kUnknown || code != kNoSuchMethod;
}

Result<std::unique_ptr<EvmRpc>> EvmRpc::Make(ChainId chain, const std::vector<std::string>& urls,
                                             const Clock& clock, EvmRpcOptions options) {
  if (urls.empty()) {
    return Fail(Error(Code::kConfig, "no rpc is configured for " + chain.Caip2())
                    .Want("rpc = [\"http://…\"]"));
  }
  std::vector<std::unique_ptr<Node>> nodes;
  for (const std::string& url : urls) {
    auto node = std::make_unique<Node>();
    PTG_TRY(node->url, net::ParseUrl(url));
    nodes.push_back(std::move(node));
  }
  return std::unique_ptr<EvmRpc>(
      new EvmRpc(std::move(chain), std::move(nodes), clock, std::move(options)));
}

Error EvmRpc::Outage(std::string_view method, const Reply& reply) const {
  Log(LogLevel::kWarn, "chain.rpc_error",
      {{"chain", chain_.Caip2()},
       {"method", method},
       {"rpc_code", reply.code},
       {"message", std::string_view(reply.message).substr(0, 500)}});
  return Error(Code::kChainUnreachable, "a node of " + chain_.Caip2() + " could not answer");
}

Task<std::vector<EvmRpc::Reply>> EvmRpc::Post(const net::Url& url, const std::string& body,
                                              size_t count, Deadline by) {
  net::RequestHead head;
  head.method = "POST";
  head.target = url.path;
  head.headers.Add("Content-Type", "application/json");
  head.headers.Add("Accept", "application/json");
  PTG_CO_TRY(const net::Client::Whole answer,
             co_await clients_.Here().Fetch(url, std::move(head), body, options_.max_answer, by));
  if (answer.head.status == 429 || answer.head.status >= 500) {
    co_return Fail(Code::kChainUnreachable, "HTTP " + std::to_string(answer.head.status));
  }
  co_return ReadReplies(answer.body, count, options_.max_answer);
}

// A node that is not known says with its answers which chain it is on; who asks for nothing else
// judges that himself.
Task<std::vector<EvmRpc::Reply>> EvmRpc::BatchAt(Node& node, const std::string& calls, size_t count,
                                                 bool names_chain, Deadline by) {
  std::string body = "[" + calls;
  if (names_chain || node.health.Known(clock_.Steady())) {
    body.append("]");
    co_return co_await Post(node.url, body, count, by);
  }
  body.append(",");
  AppendCall(body, count, "eth_chainId", "[]");
  body.append("]");
  PTG_CO_TRY(std::vector<Reply> replies, co_await Post(node.url, body, count + 1, by));
  const Reply& named = replies.back();
  if (named.failed) co_return Fail(Code::kChainUnreachable, "it does not say its chain");
  PTG_CO_TRY(const uint64_t number, ReadQuantity64(named.result));
  if (number != chain_.number()) {
    Log(LogLevel::kError, "chain.wrong_node",
        {{"chain", chain_.Caip2()},
         {"node", node.url.Authority()},
         {"says", static_cast<int64_t>(number)}});
    co_return Fail(Code::kChainUnreachable, "it is on another chain");
  }
  node.health.Named(clock_.Steady());
  replies.pop_back();
  co_return replies;
}

std::vector<size_t> EvmRpc::Order() const {
  const SteadyMs now = clock_.Steady();
  std::vector<bool> rests;
  for (const auto& node : nodes_) rests.push_back(node->health.Rests(now));
  return OrderOfNodes(rests, first_.load(std::memory_order_relaxed));
}

void EvmRpc::Note(const Node& node, bool up) const {
  if (options_.metrics == nullptr) return;
  const std::string name = chain_.Caip2();
  const std::string where = node.url.Authority();
  options_.metrics
      ->GaugeOf("pontage_rpc_up", "Whether a node of a chain answered when it was asked last.",
                {{"network", name}, {"node", where}})
      .Set(up ? 1 : 0);
  if (up) return;
  options_.metrics
      ->CounterOf("pontage_rpc_failures_total", "Calls of a node without an answer.",
                  {{"network", name}, {"node", where}})
      .Add();
}

void EvmRpc::PassedOver(const Node& node, std::string_view method, const std::string& why) const {
  Note(node, false);
  Log(LogLevel::kWarn, "chain.rpc_failed",
      {{"chain", chain_.Caip2()},
       {"node", node.url.Authority()},
       {"method", method},
       {"reason", std::string_view(why).substr(0, 500)}});
}

Task<std::vector<EvmRpc::Reply>> EvmRpc::Batch(std::vector<Ask> asks, Deadline by, Only only) {
  std::string calls;
  for (size_t i = 0; i < asks.size(); ++i) {
    if (i > 0) calls.append(",");
    AppendCall(calls, i, asks[i].method, asks[i].params);
  }
  const bool names_chain = asks.size() == 1 && asks[0].method == "eth_chainId";
  std::vector<size_t> order = only ? std::vector{*only} : Order();
  // A single node is asked twice: a connection that broke says little about the node.
  const bool alone = order.size() == 1;
  if (alone) order.push_back(order[0]);
  std::optional<std::vector<Reply>> errors;  // of the first that could not
  for (size_t i = 0; i < order.size() && !by.Passed(clock_); ++i) {
    Node& node = *nodes_[order[i]];
    const Deadline until = Sooner(by, Deadline::In(clock_, options_.attempt));
    Result<std::vector<Reply>> replies =
        co_await BatchAt(node, calls, asks.size(), names_chain, until);
    if (!replies) {
      node.health.Failed(clock_.Steady());
      PassedOver(node, asks.front().method, replies.error().detail());
      continue;
    }
    node.health.Succeeded();
    const auto outage = [&](size_t at) { return (*replies)[at].Outage(asks[at].errors); };
    const auto all = std::views::iota(size_t{0}, asks.size());
    const auto bad = std::ranges::find_if(all, outage);
    if (bad == all.end() || alone) {
      Note(node, true);
      if (!only) first_.store(order[i], std::memory_order_relaxed);
      co_return replies;
    }
    const Reply& error = (*replies)[*bad];
    PassedOver(node, asks[*bad].method, std::to_string(error.code) + " " + error.message);
    if (!errors) errors = *std::move(replies);
  }
  if (errors) co_return *std::move(errors);
  co_return Fail(Unreachable(chain_));
}

Task<Json> EvmRpc::One(std::string_view method, std::string params, Deadline by, Only only) {
  std::vector<Ask> asks;
  asks.push_back({method, std::move(params)});
  PTG_CO_TRY(std::vector<Reply> replies, co_await Batch(std::move(asks), by, only));
  if (replies[0].failed) co_return Fail(Outage(method, replies[0]));
  co_return std::move(replies[0].result);
}

Task<uint64_t> EvmRpc::ChainNumber(Deadline by) {
  PTG_CO_TRY(const Json result, co_await One("eth_chainId", "[]", by));
  co_return ReadQuantity64(result);
}

Task<EvmBlock> EvmRpc::Block(std::optional<uint64_t> number, Deadline by) {
  PTG_CO_TRY(const EvmBlock block, co_await BlockAt(number, std::nullopt, by));
  if (number || nodes_.size() == 1 || !head_.Stands(block.number, clock_.Steady())) {
    co_return block;
  }
  co_return co_await HeadOfOthers(block, by);
}

Task<EvmBlock> EvmRpc::BlockAt(std::optional<uint64_t> number, Only only, Deadline by) {
  const std::string which = number ? codec::Uint256(*number).ToHexQuantity() : "latest";
  std::string params = Params(Quoted(which), "false");
  PTG_CO_TRY(const Json result, co_await One("eth_getBlockByNumber", std::move(params), by, only));
  co_return ReadBlock(result);
}

Task<Canon> EvmRpc::Blocks(std::vector<uint64_t> heights, Deadline by) {
  std::vector<Ask> asks;
  const auto ask = [&asks](std::string_view which, Errors errors = Errors::kOutage) {
    asks.push_back({"eth_getBlockByNumber", Params(Quoted(which), "false"), errors});
  };
  ask("latest");
  ask("finalized", Errors::kAnswer);
  for (const uint64_t height : heights) ask(codec::Uint256(height).ToHexQuantity());
  PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by));
  Canon canon;
  if (replies[0].failed) co_return Fail(Outage("eth_getBlockByNumber", replies[0]));
  PTG_CO_TRY(const EvmBlock head, ReadBlock(replies[0].result));
  canon.head = head.number;
  // Nodes that do not know the tag, and those that have nothing final yet, say so by an error or
  // null.
  if (!replies[1].failed && !replies[1].result.IsNull()) {
    PTG_CO_TRY(const EvmBlock finalized, ReadBlock(replies[1].result));
    canon.finalized = finalized.number;
  }
  for (size_t i = 2; i < replies.size(); ++i) {
    if (replies[i].failed) co_return Fail(Outage("eth_getBlockByNumber", replies[i]));
    PTG_CO_TRY(std::optional<crypto::Hash32> hash, ReadBlockHash(replies[i].result));
    canon.blocks.push_back(std::move(hash));
  }
  co_return canon;
}

Task<TransferFacts> EvmRpc::AskTransfer(TransferQuestion question, Deadline by) {
  return AskTransferAt(std::move(question), std::nullopt, by);
}

Task<TransferFacts> EvmRpc::AskTransferAt(TransferQuestion q, Only only, Deadline by) {
  std::vector<Ask> asks;
  asks.push_back(GetCode(q.payer));
  asks.push_back(EthCall(q.asset, CallAuthorizationState(q.payer, q.nonce)));
  asks.push_back(EthCall(q.asset, CallBalanceOf(q.payer)));
  if (q.estimate) {
    asks.push_back({"eth_estimateGas", "[" + CallObject(q.asset, q.calldata, q.sender) + "]",
                    Errors::kRevert});
  } else {
    asks.push_back(EthCall(q.asset, q.calldata, q.sender));
  }
  if (q.ask_asset_code) asks.push_back(GetCode(q.asset));
  PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by, only));
  TransferFacts facts;
  if (replies[0].failed) co_return Fail(Outage("eth_getCode", replies[0]));
  PTG_CO_TRY(facts.payer_has_code, ReadHasCode(replies[0].result));
  facts.asset_has_code = true;
  if (q.ask_asset_code) {
    if (replies[4].failed) co_return Fail(Outage("eth_getCode", replies[4]));
    PTG_CO_TRY(facts.asset_has_code, ReadHasCode(replies[4].result));
  }
  // A contract that knows neither function reverts or answers nothing: then these stay as they are
  // and the simulation decides.
  for (const size_t i : {size_t{1}, size_t{2}}) {
    if (replies[i].failed && !replies[i].Reverted()) co_return Fail(Outage("eth_call", replies[i]));
  }
  if (!replies[1].failed) {
    PTG_CO_TRY(const codec::Bytes word, ReadBytes(replies[1].result));
    facts.nonce_used = ReturnedBool(word).value_or(false);
  }
  if (!replies[2].failed) {
    PTG_CO_TRY(const codec::Bytes word, ReadBytes(replies[2].result));
    facts.balance = ReturnedUint(word).value_or(codec::Uint256());
  }
  const Reply& run = replies[3];
  if (run.failed && !run.Reverted()) {
    co_return Fail(Outage(q.estimate ? "eth_estimateGas" : "eth_call", run));
  }
  facts.succeeds = !run.failed;
  if (facts.succeeds && q.estimate) {
    PTG_CO_TRY(const uint64_t gas, ReadQuantity64(run.result));
    facts.gas = gas;
  }
  co_return facts;
}

Task<bool> EvmRpc::NonceUsed(crypto::EvmAddress asset, crypto::EvmAddress payer,
                             codec::Bytes32 nonce, Deadline by) {
  return NonceUsedAt(asset, payer, nonce, std::nullopt, by);
}

// Both in one batch, which one node answers.
Task<bool> EvmRpc::NonceUsedSince(crypto::EvmAddress asset, crypto::EvmAddress payer,
                                  codec::Bytes32 nonce, uint64_t since, Deadline by) {
  std::vector<Ask> asks;
  asks.push_back({"eth_blockNumber", "[]"});
  asks.push_back(EthCall(asset, CallAuthorizationState(payer, nonce)));
  PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by));
  for (const Reply& reply : replies) {
    if (reply.failed) co_return Fail(Outage("eth_call", reply));
  }
  PTG_CO_TRY(const uint64_t head, ReadQuantity64(replies[0].result));
  if (head < since) {
    co_return Fail(Code::kChainUnreachable, "the node has not got block " + std::to_string(since));
  }
  co_return ReadState(replies[1].result);
}

Task<bool> EvmRpc::NonceUsedAt(crypto::EvmAddress asset, crypto::EvmAddress payer,
                               codec::Bytes32 nonce, Only only, Deadline by) {
  std::string params = Params(CallObject(asset, CallAuthorizationState(payer, nonce)));
  PTG_CO_TRY(const Json result, co_await One("eth_call", std::move(params), by, only));
  co_return ReadState(result);
}

Task<std::vector<CallResult>> EvmRpc::Calls(std::vector<Call> calls, Deadline by) {
  return CallsAt(std::move(calls), std::nullopt, by);
}

Task<std::vector<CallResult>> EvmRpc::CallsAt(std::vector<Call> calls, Only only, Deadline by) {
  std::vector<Ask> asks;
  asks.reserve(calls.size());
  for (const Call& call : calls) asks.push_back(EthCall(call.target, call.data));
  PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by, only));
  std::vector<CallResult> results;
  for (const Reply& reply : replies) {
    if (reply.failed && !reply.Reverted()) co_return Fail(Outage("eth_call", reply));
    CallResult result;
    result.success = !reply.failed;
    if (result.success) {
      PTG_CO_TRY(result.data, ReadBytes(reply.result));
    }
    results.push_back(std::move(result));
  }
  co_return results;
}

Task<std::vector<bool>> EvmRpc::HaveCode(std::vector<crypto::EvmAddress> addresses, Deadline by) {
  std::vector<Ask> asks;
  asks.reserve(addresses.size());
  for (const crypto::EvmAddress& address : addresses) asks.push_back(GetCode(address));
  PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by));
  std::vector<bool> have;
  for (const Reply& reply : replies) {
    if (reply.failed) co_return Fail(Outage("eth_getCode", reply));
    PTG_CO_TRY(const bool one, ReadHasCode(reply.result));
    have.push_back(one);
  }
  co_return have;
}

Task<std::vector<FoundLog>> EvmRpc::Logs(LogFilter filter, Deadline by) {
  Json topics = Json::Array();
  for (const std::optional<codec::Bytes32>& topic : filter.topics) {
    topics.Push(topic ? Json(codec::Hex0x(*topic)) : Json());
  }
  Json object = Json::Object({{"address", filter.address.ToLower()},
                              {"topics", std::move(topics)},
                              {"fromBlock", codec::Uint256(filter.from_block).ToHexQuantity()},
                              {"toBlock", codec::Uint256(filter.to_block).ToHexQuantity()}});
  std::string params = "[" + codec::ToString(object) + "]";
  PTG_CO_TRY(const Json result, co_await One("eth_getLogs", std::move(params), by));
  co_return ReadFoundLogs(result);
}

Task<std::vector<std::optional<EvmReceipt>>> EvmRpc::Receipts(std::vector<crypto::Hash32> hashes,
                                                              Deadline by) {
  return ReceiptsAt(std::move(hashes), std::nullopt, by);
}

Task<std::vector<std::optional<EvmReceipt>>> EvmRpc::ReceiptsAt(std::vector<crypto::Hash32> hashes,
                                                                Only only, Deadline by) {
  std::vector<std::optional<EvmReceipt>> receipts;
  for (size_t at = 0; at < hashes.size(); at += kMaxCalls) {
    const size_t count = std::min(kMaxCalls, hashes.size() - at);
    std::vector<Ask> asks;
    asks.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      asks.push_back(
          {"eth_getTransactionReceipt", "[" + Quoted(codec::Hex0x(hashes[at + i])) + "]"});
    }
    PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by, only));
    for (const Reply& reply : replies) {
      if (reply.failed) co_return Fail(Outage("eth_getTransactionReceipt", reply));
      PTG_CO_TRY(std::optional<EvmReceipt> receipt, ReadReceipt(reply.result));
      receipts.push_back(std::move(receipt));
    }
  }
  co_return receipts;
}

Task<uint64_t> EvmRpc::TransactionCount(crypto::EvmAddress account, bool pending, Deadline by) {
  std::string params = Params(Quoted(account.ToLower()), pending ? "\"pending\"" : "\"latest\"");
  PTG_CO_TRY(const Json result, co_await One("eth_getTransactionCount", std::move(params), by));
  co_return ReadQuantity64(result);
}

Task<codec::Uint256> EvmRpc::Balance(crypto::EvmAddress account, Deadline by) {
  std::string params = Params(Quoted(account.ToLower()));
  PTG_CO_TRY(const Json result, co_await One("eth_getBalance", std::move(params), by));
  co_return ReadQuantity(result);
}

Task<EvmFees> EvmRpc::Fees(Deadline by) {
  std::vector<Ask> asks;
  asks.push_back({"eth_getBlockByNumber", Params("\"latest\"", "false")});
  asks.push_back({"eth_maxPriorityFeePerGas", "[]", Errors::kUnknown});
  PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by));
  if (replies[0].failed) co_return Fail(Outage("eth_getBlockByNumber", replies[0]));
  PTG_CO_TRY(const EvmBlock block, ReadBlock(replies[0].result));
  EvmFees fees;
  fees.base_fee = block.base_fee;
  if (!replies[1].failed) {
    PTG_CO_TRY(fees.priority_fee, ReadQuantity(replies[1].result));
    co_return fees;
  }
  if (replies[1].code != kNoSuchMethod) {
    co_return Fail(Outage("eth_maxPriorityFeePerGas", replies[1]));
  }
  // Nodes without a suggestion of their own take what wallets use then, one gwei; where gas is
  // cheaper than that, as much again.
  const codec::Uint256 gwei(1'000'000'000);
  fees.priority_fee = fees.base_fee.IsZero() ? gwei : std::min(fees.base_fee, gwei);
  co_return fees;
}

Task<std::optional<EvmReceipt>> EvmView::ReceiptOfTwo(crypto::Hash32 hash, Deadline by) {
  std::vector<crypto::Hash32> one{hash};
  PTG_CO_TRY(std::vector<std::optional<EvmReceipt>> found, co_await Receipts(std::move(one), by));
  co_return std::move(found[0]);
}

}  // namespace pontage::chain
