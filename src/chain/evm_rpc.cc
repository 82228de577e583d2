#include "chain/evm_rpc.h"

#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "chain/evm_rpc_json.h"
#include "chain/evm_typed_data.h"
#include "codec/hex.h"

namespace pontage::chain {
namespace {

using codec::Json;

Json CallObject(const crypto::EvmAddress& to, codec::ByteView data,
                const std::optional<crypto::EvmAddress>& from = std::nullopt) {
  Json call = Json::Object({{"to", to.ToLower()}, {"data", codec::Hex0x(data)}});
  if (from) call.Set("from", from->ToLower());
  return call;
}

EvmRpc::Ask EthCall(const crypto::EvmAddress& to, codec::ByteView data,
                    const std::optional<crypto::EvmAddress>& from = std::nullopt) {
  return {"eth_call", Json::Array({CallObject(to, data, from), "latest"})};
}

EvmRpc::Ask GetCode(const crypto::EvmAddress& address) {
  return {"eth_getCode", Json::Array({address.ToLower(), "latest"})};
}

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

Result<std::unique_ptr<EvmRpc>> EvmRpc::Make(ChainId chain, const std::vector<std::string>& urls,
                                             const Clock& clock, EvmRpcOptions options) {
  if (urls.empty()) {
    return Fail(Error(Code::kConfig, "no rpc is configured for " + chain.Caip2())
                    .Want("rpc = [\"http://…\"]"));
  }
  std::vector<net::Url> parsed;
  for (const std::string& url : urls) {
    PTG_TRY(net::Url one, net::ParseUrl(url));
    parsed.push_back(std::move(one));
  }
  return std::unique_ptr<EvmRpc>(
      new EvmRpc(std::move(chain), std::move(parsed), clock, std::move(options)));
}

Error EvmRpc::Outage(std::string_view method, const Reply& reply) const {
  Log(LogLevel::kWarn, "chain.rpc_error",
      {{"chain", chain_.Caip2()},
       {"method", method},
       {"rpc_code", reply.code},
       {"message", std::string_view(reply.message).substr(0, 500)}});
  return Error(Code::kChainUnreachable, "a node of " + chain_.Caip2() + " could not answer");
}

Task<std::vector<EvmRpc::Reply>> EvmRpc::BatchAt(const net::Url& url, const std::string& body,
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

Task<std::vector<EvmRpc::Reply>> EvmRpc::Batch(std::vector<Ask> asks, Deadline by) {
  Json batch = Json::Array();
  for (size_t i = 0; i < asks.size(); ++i) {
    batch.Push(Json::Object({{"jsonrpc", "2.0"},
                             {"id", i},
                             {"method", asks[i].method},
                             {"params", std::move(asks[i].params)}}));
  }
  const std::string body = codec::ToString(batch);
  // A single node is asked twice: a connection that broke says little about the node.
  const size_t attempts = std::max<size_t>(2, urls_.size());
  const size_t first = first_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < attempts && !by.Passed(clock_); ++i) {
    const size_t at = (first + i) % urls_.size();
    const Deadline until = Sooner(by, Deadline::In(clock_, options_.attempt));
    Result<std::vector<Reply>> replies = co_await BatchAt(urls_[at], body, asks.size(), until);
    if (replies) {
      first_.store(at, std::memory_order_relaxed);
      co_return replies;
    }
    Log(LogLevel::kWarn, "chain.rpc_failed",
        {{"chain", chain_.Caip2()},
         {"node", urls_[at].Authority()},
         {"method", asks.front().method},
         {"reason", replies.error().detail()}});
  }
  co_return Fail(Unreachable(chain_));
}

Task<Json> EvmRpc::One(std::string method, Json params, Deadline by) {
  std::vector<Ask> asks;
  asks.push_back({method, std::move(params)});
  PTG_CO_TRY(std::vector<Reply> replies, co_await Batch(std::move(asks), by));
  if (replies[0].failed) co_return Fail(Outage(method, replies[0]));
  co_return std::move(replies[0].result);
}

Task<uint64_t> EvmRpc::ChainNumber(Deadline by) {
  PTG_CO_TRY(const Json result, co_await One("eth_chainId", Json::Array(), by));
  co_return ReadQuantity64(result);
}

Task<EvmBlock> EvmRpc::Block(std::optional<uint64_t> number, Deadline by) {
  Json which = number ? Json(codec::Uint256(*number).ToHexQuantity()) : Json("latest");
  Json params = Json::Array();
  params.Push(std::move(which)).Push(false);
  PTG_CO_TRY(const Json result, co_await One("eth_getBlockByNumber", std::move(params), by));
  co_return ReadBlock(result);
}

Task<TransferFacts> EvmRpc::AskTransfer(TransferQuestion q, Deadline by) {
  std::vector<Ask> asks;
  asks.push_back(GetCode(q.payer));
  asks.push_back(EthCall(q.asset, CallAuthorizationState(q.payer, q.nonce)));
  asks.push_back(EthCall(q.asset, CallBalanceOf(q.payer)));
  Json transfer = CallObject(q.asset, q.calldata, q.sender);
  if (q.estimate) {
    asks.push_back({"eth_estimateGas", Json::Array({std::move(transfer)})});
  } else {
    asks.push_back({"eth_call", Json::Array({std::move(transfer), "latest"})});
  }
  if (q.ask_asset_code) asks.push_back(GetCode(q.asset));
  PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by));
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
  Json params = Json::Array();
  params.Push(CallObject(asset, CallAuthorizationState(payer, nonce))).Push("latest");
  PTG_CO_TRY(const Json result, co_await One("eth_call", std::move(params), by));
  PTG_CO_TRY(const codec::Bytes word, ReadBytes(result));
  const Result<bool> used = ReturnedBool(word);
  if (!used) {
    co_return Fail(Code::kChainUnreachable, "authorizationState of the asset answered no boolean");
  }
  co_return *used;
}

Task<std::vector<CallResult>> EvmRpc::Calls(std::vector<Call> calls, Deadline by) {
  std::vector<Ask> asks;
  asks.reserve(calls.size());
  for (const Call& call : calls) asks.push_back(EthCall(call.target, call.data));
  PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by));
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
  Json params = Json::Array();
  params.Push(std::move(object));
  PTG_CO_TRY(const Json result, co_await One("eth_getLogs", std::move(params), by));
  co_return ReadFoundLogs(result);
}

Task<std::vector<std::optional<EvmReceipt>>> EvmRpc::Receipts(std::vector<crypto::Hash32> hashes,
                                                              Deadline by) {
  std::vector<std::optional<EvmReceipt>> receipts;
  for (size_t at = 0; at < hashes.size(); at += kMaxCalls) {
    const size_t count = std::min(kMaxCalls, hashes.size() - at);
    std::vector<Ask> asks;
    asks.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      asks.push_back({"eth_getTransactionReceipt", Json::Array({codec::Hex0x(hashes[at + i])})});
    }
    PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by));
    for (const Reply& reply : replies) {
      if (reply.failed) co_return Fail(Outage("eth_getTransactionReceipt", reply));
      PTG_CO_TRY(std::optional<EvmReceipt> receipt, ReadReceipt(reply.result));
      receipts.push_back(std::move(receipt));
    }
  }
  co_return receipts;
}

Task<uint64_t> EvmRpc::TransactionCount(crypto::EvmAddress account, bool pending, Deadline by) {
  Json params = Json::Array();
  params.Push(account.ToLower()).Push(pending ? "pending" : "latest");
  PTG_CO_TRY(const Json result, co_await One("eth_getTransactionCount", std::move(params), by));
  co_return ReadQuantity64(result);
}

Task<codec::Uint256> EvmRpc::Balance(crypto::EvmAddress account, Deadline by) {
  Json params = Json::Array();
  params.Push(account.ToLower()).Push("latest");
  PTG_CO_TRY(const Json result, co_await One("eth_getBalance", std::move(params), by));
  co_return ReadQuantity(result);
}

Task<EvmFees> EvmRpc::Fees(Deadline by) {
  std::vector<Ask> asks;
  Json latest = Json::Array();
  latest.Push("latest").Push(false);
  asks.push_back({"eth_getBlockByNumber", std::move(latest)});
  asks.push_back({"eth_maxPriorityFeePerGas", Json::Array()});
  PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by));
  if (replies[0].failed) co_return Fail(Outage("eth_getBlockByNumber", replies[0]));
  PTG_CO_TRY(const EvmBlock block, ReadBlock(replies[0].result));
  EvmFees fees;
  fees.base_fee = block.base_fee;
  // Nodes without a suggestion of their own take what wallets use then: one gwei.
  fees.priority_fee = codec::Uint256(1'000'000'000);
  if (!replies[1].failed) {
    PTG_CO_TRY(fees.priority_fee, ReadQuantity(replies[1].result));
  }
  co_return fees;
}

Task<std::vector<Sent>> EvmRpc::Send(std::vector<codec::Bytes> raw, Deadline by) {
  std::vector<Sent> sent;
  for (size_t at = 0; at < raw.size(); at += kMaxCalls) {
    const size_t count = std::min(kMaxCalls, raw.size() - at);
    std::vector<Ask> asks;
    asks.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      asks.push_back({"eth_sendRawTransaction", Json::Array({codec::Hex0x(raw[at + i])})});
    }
    PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by));
    for (const Reply& reply : replies) {
      const Sent one = reply.failed ? ReadSendError(reply.message) : Sent::kAccepted;
      if (one != Sent::kAccepted) {
        Log(LogLevel::kWarn, "chain.send_refused",
            {{"chain", chain_.Caip2()},
             {"rpc_code", reply.code},
             {"message", std::string_view(reply.message).substr(0, 500)}});
      }
      sent.push_back(one);
    }
  }
  co_return sent;
}

Task<> CheckEvmChain(EvmView& view, std::vector<EvmAsset> assets, Deadline by) {
  const std::string name = view.chain().Caip2();
  PTG_CO_TRY(const uint64_t number, co_await view.ChainNumber(by));
  if (number != view.chain().number()) {
    co_return Fail(
        Error(Code::kConfig, "the rpc of " + name + " is on chain " + std::to_string(number))
            .Want("a node of chain " + std::to_string(view.chain().number())));
  }
  if (assets.empty()) co_return {};
  std::vector<crypto::EvmAddress> addresses;
  std::vector<Call> calls;
  for (const EvmAsset& asset : assets) {
    addresses.push_back(asset.address);
    Call call;
    call.target = asset.address;
    call.data = CallDomainSeparator();
    calls.push_back(std::move(call));
  }
  PTG_CO_TRY(const std::vector<bool> have, co_await view.HaveCode(std::move(addresses), by));
  PTG_CO_TRY(const std::vector<CallResult> separators, co_await view.Calls(std::move(calls), by));
  for (size_t i = 0; i < assets.size(); ++i) {
    const EvmAsset& asset = assets[i];
    const std::string what = asset.symbol + " " + asset.address.ToChecksum() + " on " + name;
    if (!have[i]) {
      co_return Fail(Error(Code::kConfig, "there is no contract at " + what));
    }
    if (asset.method != TransferMethod::kEip3009) continue;
    Eip712Domain domain;
    domain.name = asset.eip712_name;
    domain.version = asset.eip712_version;
    domain.chain_id = number;
    domain.verifying_contract = asset.address;
    const Result<codec::Bytes32> theirs = ReturnedWord(separators[i].data);
    if (!separators[i].success || !theirs) {
      co_return Fail(
          Error(Code::kConfig, what + " has no DOMAIN_SEPARATOR(): not an EIP-3009 token"));
    }
    if (*theirs != DomainSeparator(domain)) {
      co_return Fail(Error(Code::kConfig, what + " has another EIP-712 domain than name \"" +
                                              asset.eip712_name + "\", version \"" +
                                              asset.eip712_version + "\"")
                         .Want("the name and version that the token itself signs with"));
    }
  }
  co_return {};
}

}  // namespace pontage::chain
