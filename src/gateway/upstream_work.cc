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

Task<std::string_view> KeptApart::Read(Deadline by) {
  PTG_CO_TRY(const std::string_view piece, co_await body_.Read(by));
  if (piece.empty()) {
    trailers_ = {};
    const net::Headers& all = body_.trailers();
    for (size_t i = 0; i < all.size(); ++i) {
      const net::Headers::Field field = all.at(i);
      if (!StaysHere(field.name, rails_, options_)) trailers_.Add(field.name, field.value);
    }
  }
  co_return piece;
}

void UpstreamWork::PassInterim(net::ResponseWriter& out) {
  interim_ = [&out](const net::ResponseHead& head) { return PassOn(out, head); };
}

Task<std::unique_ptr<net::ClientResponse>> UpstreamWork::Run(const std::string& idempotency_key,
                                                             net::BodySource& body, Deadline by) {
  ForwardOptions options;
  options.pass_authorization = upstream_.pass_authorization;
  options.idempotency_key = idempotency_key;
  // With a body under way nobody could tell where the other protocol begins.
  options.pass_upgrade = body.empty();
  net::RequestHead head =
      UpstreamHead(head_, Join(upstream_.url.path, target_.forward) + target_.query, *site_.rails,
                   site_.trusted, options);
  for (const auto& [name, value] : upstream_.headers) head.headers.Set(name, value.Reveal());
  net::Client::SendOptions how;
  how.interim = interim_ ? &interim_ : nullptr;
  how.connect_timeout = upstream_.connect_timeout;
  how.patience = by.Left(clock_);
  how.tls = upstream_.tls.get();
  net::BodySource* source = nullptr;
  if (!body.empty()) source = &body_.emplace(body, *site_.rails, options);
  PTG_CO_TRY(std::unique_ptr<net::ClientResponse> response,
             co_await client_.Send(upstream_.url, head, source, by, how));
  net::ResponseHead& answer = response->head();
  // What is switched to, or could be, is told to the client as it is.
  const bool names_protocol = answer.status == 101 || answer.status == 426;
  const std::string protocol(names_protocol ? answer.headers.Get("Upgrade").value_or("") : "");
  paywall::CleanAnswer(answer.headers);
  if (!protocol.empty()) answer.headers.Add("Upgrade", protocol);
  co_return response;
}

}  // namespace pontage::gateway
