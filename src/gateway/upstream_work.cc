#include "gateway/upstream_work.h"

#include "base/log.h"
#include "base/try.h"
#include "io/socket.h"
#include "net/tls.h"
#include "paywall/fields.h"
#include "wire/problem/error_map.h"

namespace pontage::gateway {
namespace {

// "/api/" + "/v1/x" without a double slash in the middle, and the query.
std::string Join(std::string_view prefix, std::string_view path, std::string_view query) {
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  std::string target;
  target.reserve(prefix.size() + path.size() + query.size());
  return target.append(prefix).append(path).append(query);
}

Task<> PassOn(net::ResponseWriter& out, net::ResponseHead head) {
  // 100 is the server's own business: it told the client to go on when we began to read.
  if (head.status == 100) co_return {};
  paywall::CleanAnswer(head.headers);
  // Whoever has gone, or does not read, is found out by the answer itself: nothing that the
  // upstream could be blamed for, and no reason to ask it again.
  (void)co_await out.Interim(head);
  co_return {};
}

// Out of an upstream's answer what is not the buyer's to see.
void ClearAnswer(net::ResponseHead& answer) {
  // What is switched to, or could be, is told to the client as it is.
  const bool names_protocol = answer.status == 101 || answer.status == 426;
  const std::string protocol(names_protocol ? answer.headers.Get("Upgrade").value_or("") : "");
  paywall::CleanAnswer(answer.headers);
  if (!protocol.empty()) answer.headers.Add("Upgrade", protocol);
}

// An answer that gives its place at the upstream back as soon as its body has ended: what comes
// then, settling for one, is no work of the upstream's.
class PlacedResponse final : public net::ClientResponse, private net::BodySource {
 public:
  PlacedResponse(std::unique_ptr<net::ClientResponse> inner, Gate::Permit permit)
      : inner_(std::move(inner)), permit_(std::move(permit)) {
    if (inner_->body().empty()) permit_.Release();
  }
  net::ResponseHead& head() override { return inner_->head(); }
  net::BodySource& body() override { return *this; }
  Task<> WriteRaw(std::string_view bytes, Deadline by) override {
    return inner_->WriteRaw(bytes, by);
  }
  void EndRaw() override { inner_->EndRaw(); }

 private:
  Task<std::string_view> Read(Deadline by) override {
    PTG_CO_TRY(const std::string_view piece, co_await inner_->body().Read(by));
    if (piece.empty()) permit_.Release();
    co_return piece;
  }
  std::optional<std::string_view> Ready() override {
    const std::optional<std::string_view> piece = inner_->body().Ready();
    if (piece && piece->empty()) permit_.Release();
    return piece;
  }
  std::optional<uint64_t> length() const override { return inner_->body().length(); }
  bool empty() const override { return inner_->body().empty(); }
  const net::Headers& trailers() const override { return inner_->body().trailers(); }

  const std::unique_ptr<net::ClientResponse> inner_;
  Gate::Permit permit_;
};

// What a failed attempt says about the one that was asked; nothing when it may be the client's
// doing.
std::optional<Outcome> OutcomeOf(const Error& error, bool has_body) {
  switch (error.code()) {
    case Code::kUpstreamUnreachable:
      return Outcome::kNoConnect;
    case Code::kUpstreamTimeout:
    case Code::kUpstreamProtocol:
      return Outcome::kBad;
    case Code::kConnection:
      if (!has_body) return Outcome::kBad;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace

Task<std::string_view> KeptApart::Read(Deadline by) {
  PTG_CO_TRY(const std::string_view piece, co_await body_.Read(by));
  if (piece.empty()) {
    trailers_ = {};
    const net::Headers& all = body_.trailers();
    for (size_t i = 0; i < all.size(); ++i) {
      if (!TrailerStaysHere(all.at(i).name, rails_, options_)) trailers_.AddFrom(all, i);
    }
  }
  co_return piece;
}

void UpstreamWork::PassInterim(net::ResponseWriter& out) {
  interim_ = [&out](const net::ResponseHead& head) { return PassOn(out, head); };
}

std::unexpected<Error> UpstreamWork::Refused(Error why) {
  deps_.metrics
      .CounterOf("pontage_upstream_refused_total",
                 "Requests that an upstream was spared, before any payment.",
                 {{"upstream", upstream_.name}, {"code", problem::RowOf(why.code()).slug}})
      .Add();
  return Fail(std::move(why));
}

bool UpstreamWork::AdmittedAtOnce() {
  if (address_) return true;
  const UpstreamLimits& limits = upstream_.limits;
  if (limits.max_in_flight != 0) return false;
  // kTry is not taken here, so that it is not lost.
  if (!upstream_.addresses.front().health->up()) return false;
  address_ = 0;
  return true;
}

Task<> UpstreamWork::Admit() {
  if (AdmittedAtOnce()) co_return {};
  PTG_CO_TRY(const std::optional<size_t> address, co_await Choose(0));
  if (!address) co_return Refused({Code::kUpstreamDown, "the upstream is down; try again soon"});
  Result<Gate::Permit> permit = co_await upstream_.gate->Enter(upstream_.limits, deps_.clock);
  if (!permit) co_return Refused(std::move(permit).error());
  permit_ = *std::move(permit);
  address_ = address;
  co_return {};
}

Task<std::optional<size_t>> UpstreamWork::Choose(size_t from) {
  for (size_t i = from; i < upstream_.addresses.size(); ++i) {
    const Upstream::Address& one = upstream_.addresses[i];
    const Ask may = one.health->MayAsk(upstream_.limits, deps_.clock.Steady());
    if (may == Ask::kNo) continue;
    // Whether somebody listens again is found out before anything is paid for it.
    if (may == Ask::kTry && one.health->for_connects()) {
      const Deadline by = Deadline::In(deps_.clock, upstream_.connect_timeout);
      Result<Socket> socket = co_await Connect(*Loop::Current(), one.url.host, one.url.port, by);
      bool there = socket.has_value();
      // That somebody listens is not enough where it is his certificate that failed.
      if (there && one.url.tls && upstream_.tls) {
        there = (co_await upstream_.tls->Connect(*socket, one.url.host, by)).has_value();
      }
      Heard(i, there ? Outcome::kGood : Outcome::kNoConnect);
      if (!there) continue;
    }
    co_return i;
  }
  co_return std::nullopt;
}

void UpstreamWork::Heard(size_t address, Outcome outcome) {
  const Upstream::Address& one = upstream_.addresses[address];
  if (outcome != Outcome::kGood) {
    deps_.metrics
        .CounterOf("pontage_upstream_failures_total",
                   "Connects that failed and answers of 500 and above, or none.",
                   {{"upstream", upstream_.name},
                    {"kind", outcome == Outcome::kNoConnect ? "connect" : "answer"}})
        .Add();
  }
  const Change change = one.health->Note(upstream_.limits, outcome, deps_.clock.Steady());
  if (change == Change::kNone) return;
  const std::string where = one.url.Authority();
  if (change == Change::kDown) {
    Log(LogLevel::kWarn, "upstream.down", {{"upstream", upstream_.name}, {"address", where}});
  } else {
    Log(LogLevel::kInfo, "upstream.up", {{"upstream", upstream_.name}, {"address", where}});
  }
}

net::RequestHead UpstreamWork::HeadFor(const net::Url& url, const ForwardOptions& options) const {
  net::RequestHead head = UpstreamHead(head_, Join(url.path, target_.forward, target_.query),
                                       *site_.rails, site_.trusted, options);
  for (const auto& [name, value] : upstream_.headers) head.headers.Set(name, value.Reveal());
  return head;
}

Task<std::unique_ptr<net::ClientResponse>> UpstreamWork::Run(const std::string& idempotency_key,
                                                             net::BodySource& body, Deadline by,
                                                             Deadline latest) {
  if (!AdmittedAtOnce()) PTG_CO_RUN(co_await Admit());
  const size_t first = *std::exchange(address_, std::nullopt);
  ForwardOptions options;
  options.pass_authorization = upstream_.pass_authorization;
  options.idempotency_key = idempotency_key;
  // With a body under way nobody could tell where the other protocol begins.
  options.pass_upgrade = body.empty();
  net::Client::SendOptions how;
  how.interim = interim_ ? &interim_ : nullptr;
  how.connect_timeout = upstream_.connect_timeout;
  how.patience = by.Left(deps_.clock);
  how.latest = latest;
  how.tls = upstream_.tls.get();
  net::BodySource* source = nullptr;
  if (!body.empty()) source = &body_.emplace(body, *site_.rails, options);
  const bool safe = head_.method == "GET" || head_.method == "HEAD";
  bool again = idempotency_key.empty() && safe && body.empty();
  std::optional<Error> failed;
  for (std::optional<size_t> address = first; address;) {
    const size_t here = *address;
    const net::Url& url = upstream_.addresses[here].url;
    const net::RequestHead head = HeadFor(url, options);
    Result<std::unique_ptr<net::ClientResponse>> response =
        co_await client_.Send(url, head, source, by, how);
    if (response) {
      Heard(here, (*response)->head().status >= 500 ? Outcome::kBad : Outcome::kGood);
      ClearAnswer((*response)->head());
      if (!permit_.held()) co_return response;
      co_return std::unique_ptr<net::ClientResponse>(
          std::make_unique<PlacedResponse>(*std::move(response), std::move(permit_)));
    }
    failed = std::move(response).error();
    if (const auto outcome = OutcomeOf(*failed, !body.empty())) Heard(here, *outcome);
    const bool unsent = failed->code() == Code::kUpstreamUnreachable;
    const bool broken = failed->code() == Code::kConnection && std::exchange(again, false);
    if (!unsent && !broken) break;
    PTG_CO_TRY(address, co_await Choose(here + 1));
    // One that broke off may only have lost this connection.
    if (!address && broken) address = here;
    if (!address) break;
    // And others that have been idle may end as it did: this is the last time that it is sent.
    how.fresh = how.fresh || broken;
    deps_.metrics
        .CounterOf("pontage_upstream_retries_total",
                   "Requests sent again: nothing was sent before, or nobody paid for them.",
                   {{"upstream", upstream_.name}})
        .Add();
  }
  permit_.Release();
  co_return Fail(*std::move(failed));
}

}  // namespace pontage::gateway
