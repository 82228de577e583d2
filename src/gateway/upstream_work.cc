#include "gateway/upstream_work.h"

#include "base/try.h"
#include "paywall/fields.h"

namespace pontage::gateway {
namespace {

// "/api/" + "/v1/x" without a double slash in the middle.
std::string Join(std::string_view prefix, std::string_view path) {
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  return std::string(prefix) + std::string(path);
}

Task<> PassOn(net::ResponseWriter& out, net::ResponseHead head) {
  // 100 is the server's own business: it told the client to go on when we began to read.
  if (head.status == 100) co_return {};
  paywall::CleanAnswer(head.headers);
  co_return co_await out.Interim(head);
}

}  // namespace

void UpstreamWork::PassInterim(net::ResponseWriter& out) {
  interim_ = [&out](const net::ResponseHead& head) { return PassOn(out, head); };
}

Task<std::unique_ptr<net::ClientResponse>> UpstreamWork::Run(const std::string& idempotency_key,
                                                             net::BodySource& body, Deadline by) {
  ForwardOptions options;
  options.pass_authorization = upstream_.pass_authorization;
  options.idempotency_key = idempotency_key;
  net::RequestHead head =
      UpstreamHead(head_, Join(upstream_.url.path, target_.forward) + target_.query, *site_.rails,
                   site_.trusted, options);
  for (const auto& [name, value] : upstream_.headers) head.headers.Set(name, value.Reveal());
  const net::Client::Interim* interim = interim_ ? &interim_ : nullptr;
  net::BodySource* source = body.empty() ? nullptr : &body;
  PTG_CO_TRY(std::unique_ptr<net::ClientResponse> response,
             co_await client_.Send(upstream_.url, head, source, by, interim));
  paywall::CleanAnswer(response->head().headers);
  co_return response;
}

}  // namespace pontage::gateway
