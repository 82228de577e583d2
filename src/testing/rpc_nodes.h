#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/try.h"
#include "chain/evm_rpc.h"
#include "codec/json.h"
#include "io/runtime.h"
#include "io/timer.h"
#include "net/server.h"

namespace pontage::testing {

// A node: answers each call of a batch by a function of its method, or the whole batch by a text.
class RpcNode {
 public:
  explicit RpcNode(Loop& loop)
      : server_(loop, {},
                [this](net::RequestHead&, net::BodySource& body, net::ResponseWriter& out) {
                  return Serve(body, out);
                }) {
    PTG_CHECK(server_.Listen("127.0.0.1:0").has_value());
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }

  // `result` or `error` as JSON text.
  std::function<std::string(const std::string& method)> answer = [](const std::string&) {
    return std::string(R"("result":"0x1")");
  };
  std::string whole;              // when not empty: the body, whatever was asked
  std::string chain = "0x14a34";  // what it says beside other calls
  int status = 200;
  bool reversed = false;
  bool silent = false;
  size_t asked = 0;
  size_t named = 0;  // how often it said its chain beside other calls

 private:
  Task<> Serve(net::BodySource& body, net::ResponseWriter& out) {
    ++asked;
    if (silent) co_return co_await Sleep(Millis(60'000));
    PTG_CO_TRY(const std::string bytes,
               co_await net::ReadAll(body, 1 << 20, Deadline::In(Clock::System(), Millis(1'000))));
    PTG_CO_TRY(const codec::Json batch, codec::ParseJson(bytes));
    std::vector<std::string> parts;
    const size_t count = batch.AsArray()->size();
    for (const codec::Json& one : *batch.AsArray()) {
      if (count > 1 && *one.Find("method")->AsString() == "eth_chainId") {
        ++named;
        parts.push_back(R"({"jsonrpc":"2.0","id":)" + *one.Find("id")->AsNumberText() +
                        R"(,"result":")" + chain + "\"}");
        continue;
      }
      parts.push_back(R"({"jsonrpc":"2.0","id":)" + *one.Find("id")->AsNumberText() + "," +
                      answer(*one.Find("method")->AsString()) + "}");
    }
    if (reversed) std::ranges::reverse(parts);
    std::string text = "[";
    for (const std::string& part : parts) text += (text.size() > 1 ? "," : "") + part;
    text += "]";
    if (!whole.empty()) text = whole;
    net::ResponseHead head;
    head.status = status;
    PTG_CO_RUN(co_await out.Head(std::move(head), text.size()));
    PTG_CO_RUN(co_await out.Write(text));
    co_return co_await out.End();
  }
  net::Server server_;
};

// A chain behind one or two of them.
class RpcFixture : public ::testing::Test {
 protected:
  std::unique_ptr<chain::EvmRpc> Rpc(std::vector<std::string> urls,
                                     const Clock& clock = Clock::System()) {
    chain::EvmRpcOptions options;
    options.attempt = attempt;
    return *chain::EvmRpc::Make(chain::ChainId::Evm(84532), urls, clock, options);
  }
  static Deadline In(Millis time) { return Deadline::In(Clock::System(), time); }
  Result<chain::TransferFacts> AskTransfer(chain::EvmRpc& rpc, bool estimate = false) {
    chain::TransferQuestion question;
    question.estimate = estimate;
    return loop.RunUntilDone(rpc.AskTransfer(std::move(question), In(Millis(2'000))));
  }

  Millis attempt{500};
  Loop loop;
  RpcNode node{loop};
  RpcNode second{loop};
};

}  // namespace pontage::testing
