// What goes to several nodes so that none of them alone can stop it.
#include <algorithm>
#include <memory>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "chain/evm_rpc.h"
#include "chain/evm_rpc_json.h"
#include "codec/hex.h"
#include "io/fork.h"
#include "io/timer.h"

namespace pontage::chain {
namespace {

// What the others say is waited for as long as this once the first has answered: nothing hangs on
// it, and a request that has left is read by a node whether or not anybody waits.
constexpr Millis kBeside{250};

}  // namespace

// What the nodes beside the first one said of each transaction, and that all of them have.
struct EvmRpc::Elsewhere {
  std::vector<bool> accepted;
  Completion<void> done;
};

// The node that was asked has told nothing new for a while. Whoever is ahead of it is asked first.
Task<EvmBlock> EvmRpc::HeadOfOthers(EvmBlock still, Deadline by) {
  const size_t first = first_.load(std::memory_order_relaxed);
  for (const size_t node : Order()) {
    if (node == first) continue;
    const Result<EvmBlock> block = co_await BlockAt(std::nullopt, node, by);
    if (!block || block->number <= still.number) continue;
    Log(LogLevel::kWarn, "chain.node_stands_still",
        {{"chain", chain_.Caip2()},
         {"node", nodes_[first]->url.Authority()},
         {"block", static_cast<int64_t>(still.number)},
         {"ahead", nodes_[node]->url.Authority()},
         {"its_block", static_cast<int64_t>(block->number)}});
    first_.store(node, std::memory_order_relaxed);
    co_return block;
  }
  co_return still;
}

// A node that takes a transaction and passes it to nobody would be believed for as long as it
// answers, so it goes to the others at the same time. What the first says of it counts, unless it
// had no answer or none that says anything of the transaction.
Task<std::vector<Sent>> EvmRpc::Send(std::vector<codec::Bytes> raw, Deadline by) {
  if (nodes_.size() == 1) co_return co_await SendAt(std::move(raw), std::nullopt, by);
  const auto elsewhere = std::make_shared<Elsewhere>();
  elsewhere->accepted.resize(raw.size());
  const Fork beside(SendBeside(raw, Order().front(), elsewhere, by));
  const size_t count = raw.size();
  Result<std::vector<Sent>> sent = co_await SendAt(std::move(raw), std::nullopt, by);
  auto others = elsewhere->done.Until(
      Sooner(by, Deadline::In(clock_, kBeside)),
      Error(Code::kChainUnreachable, "the other nodes have not answered yet"));
  (void)co_await others;
  const bool any = std::ranges::find(elsewhere->accepted, true) != elsewhere->accepted.end();
  if (!sent && !any) co_return sent;
  std::vector<Sent> merged = sent ? *std::move(sent) : std::vector(count, Sent::kRejected);
  for (size_t i = 0; i < count; ++i) {
    if (merged[i] == Sent::kRejected && elsewhere->accepted[i]) merged[i] = Sent::kAccepted;
  }
  co_return merged;
}

Task<> EvmRpc::SendBeside(std::vector<codec::Bytes> raw, size_t except,
                          std::shared_ptr<Elsewhere> elsewhere, Deadline by) {
  for (size_t node = 0; node < nodes_.size(); ++node) {
    if (node == except || nodes_[node]->health.Rests(clock_.Steady())) continue;
    std::vector<codec::Bytes> same = raw;
    const Result<std::vector<Sent>> sent = co_await SendAt(std::move(same), node, by);
    for (size_t i = 0; sent && i < sent->size(); ++i) {
      if ((*sent)[i] == Sent::kAccepted) elsewhere->accepted[i] = true;
    }
  }
  elsewhere->done.Set({});
  co_return {};
}

Task<std::vector<Sent>> EvmRpc::SendAt(std::vector<codec::Bytes> raw, Only only, Deadline by) {
  std::vector<Sent> sent;
  for (size_t at = 0; at < raw.size(); at += kMaxCalls) {
    const size_t count = std::min(kMaxCalls, raw.size() - at);
    std::vector<Ask> asks;
    asks.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      asks.push_back(
          {"eth_sendRawTransaction", "[\"" + codec::Hex0x(raw[at + i]) + "\"]", Errors::kAnswer});
    }
    PTG_CO_TRY(const std::vector<Reply> replies, co_await Batch(std::move(asks), by, only));
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

}  // namespace pontage::chain
