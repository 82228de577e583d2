#include <utility>

#include "base/try.h"
#include "sandbox/dev_chain.h"

namespace pontage::sandbox {
namespace {

// Wallets in a browser call from any page; there is nothing of value here to protect.
void AllowBrowsers(const net::RequestHead& head, net::Headers& headers) {
  headers.Add("Access-Control-Allow-Origin", "*");
  headers.Add("Access-Control-Allow-Methods", "POST, OPTIONS");
  const auto wanted = head.headers.Get("Access-Control-Request-Headers");
  headers.Add("Access-Control-Allow-Headers", wanted.value_or("content-type"));
  headers.Add("Access-Control-Max-Age", "86400");
}

Task<> Answer(DevChain& chain, net::RequestHead& head, net::BodySource& body,
              net::ResponseWriter& out, const Clock& clock) {
  net::ResponseHead answer;
  AllowBrowsers(head, answer.headers);
  std::string text;
  if (head.method == "OPTIONS") {
    answer.status = 204;
  } else if (head.method != "POST") {
    answer.status = 405;
    answer.headers.Add("Allow", "POST, OPTIONS");
    text = "This is a JSON-RPC endpoint: POST to it.\n";
    answer.headers.Add("Content-Type", "text/plain; charset=utf-8");
  } else {
    const Deadline by = Deadline::In(clock, 30s);  // A local client sends 2 MiB in a moment.
    const Result<std::string> request = co_await net::ReadAll(body, kMaxRpcBody, by);
    if (!request && request.error().code() != Code::kBodyTooLarge) {
      co_return std::unexpected(request.error());
    }
    answer.status = request ? 200 : 413;
    text = request ? chain.HandleRpc(*request)
                   : R"({"jsonrpc":"2.0","id":null,"error":)"
                     R"({"code":-32600,"message":"request body too large"}})";
    if (text.empty()) answer.status = 204;
    if (!text.empty()) answer.headers.Add("Content-Type", "application/json");
  }
  PTG_CO_RUN(co_await out.Head(std::move(answer), text.size()));
  if (!text.empty()) PTG_CO_RUN(co_await out.Write(text));
  co_return co_await out.End();
}

}  // namespace

net::Handler RpcHandler(DevChain& chain) {
  return [&chain](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
    return Answer(chain, head, body, out, Loop::Current()->clock());
  };
}

}  // namespace pontage::sandbox
