#include "sales/stripe_client.h"

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "base/try.h"
#include "io/timer.h"
#include "sales/stripe_answer.h"

namespace pontage::sales {
namespace {

using codec::Json;
using stripe::Form;

// Stripe's ids are letters, digits and underscores, and shorter.
constexpr size_t kMaxId = 255;
// Longer than this no Retry-After is waited for: the caller's deadline is near.
constexpr int64_t kMostRetryAfterS = 60;
// No try is begun again that has less than this to hear its answer: the caller learns sooner, and
// of the fault that there was rather than of the time that there was not.
constexpr Millis kShortestRetry(100);

bool IsId(std::string_view text) {
  return !text.empty() && text.size() <= kMaxId && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

// Printable ASCII: it is a header's value.
bool IsKey(std::string_view text) {
  return !text.empty() && text.size() <= StripeClient::kMaxKey &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

std::optional<Millis> ReadRetryAfter(std::string_view text) {
  int64_t seconds = 0;
  const char* const end = text.data() + text.size();
  const auto [at, fault] = std::from_chars(text.data(), end, seconds);
  if (fault != std::errc() || at != end || seconds < 0) return std::nullopt;
  return Millis(std::min(seconds, kMostRetryAfterS) * 1000);
}

// What went wrong with the connection, in words for whoever asked us.
Error NotAnswered(const Error& error) {
  switch (error.code()) {
    case Code::kUpstreamTimeout:
    case Code::kTimeout:
      return Error(Code::kUpstreamTimeout, "Stripe did not answer in time");
    case Code::kUpstreamUnreachable:
      return Error(Code::kUpstreamUnreachable, "Stripe cannot be reached");
    case Code::kConnection:
      return Error(Code::kUpstreamUnreachable, "the connection to Stripe broke");
    default:
      return Error(Code::kUpstreamProtocol, "what answered for Stripe is no HTTP that we take");
  }
}

}  // namespace

Result<std::unique_ptr<StripeClient>> StripeClient::Make(StripeOptions options, const Clock& clock,
                                                         Rng& rng) {
  if (options.api_key.empty()) return Fail(Code::kConfig, "no key for Stripe's API is configured");
  PTG_TRY(net::Url base, net::ParseUrl(options.api_base));
  while (base.path.ends_with('/')) base.path.pop_back();
  return std::unique_ptr<StripeClient>(
      new StripeClient(std::move(options), std::move(base), clock, rng));
}

std::unique_ptr<StripeClient> StripeClient::Slower(StripeShare share) const {
  StripeOptions options;
  options.api_base = options_.api_base;
  options.api_key = options_.api_key.Clone();
  options.attempt = options_.attempt;
  options.tries = options_.tries;
  options.first_pause = options_.first_pause;
  options.longest_pause = options_.longest_pause;
  options.longest_wait = share.in_line;
  options.max_answer = options_.max_answer;
  options.tls = options_.tls;
  std::unique_ptr<StripeClient> client(new StripeClient(std::move(options), base_, clock_, rng_));
  client->throttle_ = throttle_;
  client->slower_ = std::make_unique<Throttle>(share.per_second, share.at_once);
  client->own_wait_ = share.longest_wait;
  return client;
}

Result<StripeClient::Request> StripeClient::Prepare(std::string_view method, const StripePath& path,
                                                    const Form* query) const {
  Request request;
  request.method = method;
  request.target = base_.path + path.before;
  request.shown = path.before;
  if (!path.id.empty()) {
    if (!IsId(path.id)) return Fail(Code::kNotFound, "this is no id of Stripe's");
    request.target.append("/").append(path.id);
    request.shown.append("/:id");
  }
  request.target.append(path.after);
  request.shown.append(path.after);
  if (query != nullptr && !query->empty()) request.target.append("?").append(query->Encode());
  return request;
}

Task<Json> StripeClient::Get(StripePath path, Form query, Deadline by) {
  PTG_CO_TRY(Request request, Prepare("GET", path, &query));
  co_return co_await Call(std::move(request), by);
}

Task<Json> StripeClient::Post(StripePath path, Form body, std::string key, Deadline by) {
  if (!IsKey(key)) co_return Fail(Code::kInternal, "an idempotency key cannot be sent");
  PTG_CO_TRY(Request request, Prepare("POST", path, nullptr));
  request.body = body.Encode();
  request.key = std::move(key);
  co_return co_await Call(std::move(request), by);
}

Task<Json> StripeClient::Delete(StripePath path, Deadline by) {
  PTG_CO_TRY(Request request, Prepare("DELETE", path, nullptr));
  co_return co_await Call(std::move(request), by);
}

Task<> StripeClient::WaitForPlace(Deadline by) {
  const Millis left = by.Left(clock_);
  if (left == Millis(0)) co_return Fail(Code::kTimeout, "no time was left to ask Stripe");
  for (Throttle* throttle : {slower_.get(), throttle_.get()}) {
    if (throttle == nullptr) continue;
    const Millis most = throttle == slower_.get() ? own_wait_ : options_.longest_wait;
    const std::optional<Millis> wait = throttle->Take(clock_.Steady(), std::min(left, most));
    if (!wait) co_return Fail(Code::kRateLimited, "too many questions to Stripe are waiting");
    if (*wait > Millis(0)) PTG_CO_RUN(co_await Sleep(*wait));
  }
  co_return {};
}

Task<StripeClient::Heard> StripeClient::Once(const Request& request, Deadline by) {
  net::RequestHead head;
  head.method = request.method;
  head.target = request.target;
  head.headers.Add("Authorization", "Bearer " + std::string(options_.api_key.Reveal()));
  head.headers.Add("Stripe-Version", kStripeVersion);
  head.headers.Add("Accept", "application/json");
  head.headers.Add("User-Agent", "pontage");
  if (request.method == "POST") {
    head.headers.Add("Content-Type", "application/x-www-form-urlencoded");
    head.headers.Add("Idempotency-Key", request.key);
  }
  const Deadline until = Sooner(by, Deadline::In(clock_, options_.attempt));
  Result<net::Client::Whole> answer = co_await clients_.Here().Fetch(
      base_, std::move(head), request.body, options_.max_answer, until, options_.tls);
  if (!answer) co_return Fail(NotAnswered(answer.error()));
  Heard heard;
  heard.status = answer->head.status;
  heard.body = std::move(answer->body);
  const net::Headers& headers = answer->head.headers;
  if (const auto word = headers.Get("stripe-should-retry")) heard.should_retry = std::string(*word);
  if (const auto after = headers.Get("retry-after")) heard.retry_after = ReadRetryAfter(*after);
  heard.request_id = headers.Get("request-id").value_or("");
  co_return heard;
}

Result<Json> StripeClient::ReadAnswer(const Heard& heard) const {
  if (heard.status < 200 || heard.status > 299) {
    return Fail(ReadStripeError(heard.status, heard.body, options_.api_key));
  }
  codec::JsonLimits limits;
  limits.max_bytes = options_.max_answer;
  limits.fault = Code::kUpstreamProtocol;
  Result<Json> json = codec::ParseJson(heard.body, limits);
  if (json) return json;
  return Fail(Code::kUpstreamProtocol, "Stripe's answer cannot be read: " + json.error().detail());
}

Task<Json> StripeClient::Call(Request request, Deadline by) {
  for (int attempt = 1;; ++attempt) {
    PTG_CO_RUN(co_await WaitForPlace(by));
    const Result<Heard> heard = co_await Once(request, by);
    Result<Json> answer = heard ? ReadAnswer(*heard) : Result<Json>(Fail(heard.error()));
    if (answer) co_return answer;
    const bool again = heard ? MayRetry(heard->status, heard->should_retry)
                             : heard.error().code() != Code::kUpstreamProtocol;
    Millis pause = PauseBefore(attempt, options_.first_pause, options_.longest_pause, rng_);
    if (heard && heard->retry_after) pause = std::max(pause, *heard->retry_after);
    const bool retry =
        again && attempt < options_.tries && by.Left(clock_) > pause + kShortestRetry;
    const std::string_view name = heard ? std::string_view(heard->request_id) : std::string_view();
    Log(LogLevel::kWarn, "stripe.call_failed",
        {{"method", request.method},
         {"path", request.shown},
         {"status", heard ? heard->status : 0},
         {"reason", answer.error().detail()},
         {"stripe_request", name},
         {"attempt", attempt},
         {"again", retry}});
    if (!retry) co_return answer;
    PTG_CO_RUN(co_await Sleep(pause));
  }
}

}  // namespace pontage::sales
