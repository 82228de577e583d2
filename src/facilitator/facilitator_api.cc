#include "facilitator/facilitator_api.h"

#include <algorithm>
#include <charconv>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "codec/hex.h"
#include "crypto/hash.h"
#include "scheme/exact_evm.h"
#include "wire/problem/error_map.h"

namespace pontage::facilitator {
namespace {

using codec::Json;

constexpr Millis kBodyTimeout{10'000};
constexpr Millis kLeastSettleWait{1'000};

// Counts a call while it is under way.
class Slot {
 public:
  Slot(std::atomic<size_t>& count, size_t most) : count_(count), free_(count.fetch_add(1) < most) {}
  ~Slot() { count_.fetch_sub(1); }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  bool free() const { return free_; }

 private:
  std::atomic<size_t>& count_;
  bool free_;
};

// The sale that the caller names, as a digest: whatever he calls it, it is of one size.
std::string SaleOf(const net::Headers& headers) {
  const std::string_view key = headers.Get("idempotency-key").value_or("");
  if (key.empty()) return {};
  return codec::ToHex(crypto::Sha256(codec::AsBytes(key)));
}

// A fault of the payment itself, as opposed to one of the request around it or of ours.
bool IsOfPayment(Code code) {
  return code >= Code::kPaymentRequired && code <= Code::kPaymentInFlight;
}

}  // namespace

std::optional<Millis> WaitOf(std::string_view prefer) {
  constexpr std::string_view kWait = "wait=";
  constexpr int64_t kMost = 86'400;
  while (!prefer.empty()) {
    const size_t end = std::min(prefer.find_first_of(",;"), prefer.size());
    std::string_view one = prefer.substr(0, end);
    prefer.remove_prefix(std::min(end + 1, prefer.size()));
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (one.size() <= kWait.size() || !net::EqualsNoCase(one.substr(0, kWait.size()), kWait)) {
      continue;
    }
    one.remove_prefix(kWait.size());
    int64_t seconds = 0;
    const auto [at, fault] = std::from_chars(one.data(), one.data() + one.size(), seconds);
    if (fault == std::errc() && at == one.data() + one.size() && seconds >= 0) {
      return Millis(std::min(seconds, kMost) * 1000);
    }
  }
  return std::nullopt;
}

FacilitatorApi::FacilitatorApi(settle::LocalFacilitator& facilitator,
                               const chain::AssetRegistry& assets, ApiOptions options,
                               const Clock& clock, Rng& rng)
    : facilitator_(facilitator),
      assets_(assets),
      options_(std::move(options)),
      clock_(clock),
      rng_(rng) {}

FacilitatorApi::Call FacilitatorApi::CallOf(std::string_view target) const {
  std::string_view path = target.substr(0, target.find('?'));
  constexpr std::string_view kPrefix = "/facilitator";
  if (path.starts_with(kPrefix)) {
    path.remove_prefix(kPrefix.size());
  } else if (!options_.at_root) {
    return Call::kNone;
  }
  if (path == "/verify") return Call::kVerify;
  if (path == "/settle") return Call::kSettle;
  if (path == "/supported") return Call::kSupported;
  return Call::kNone;
}

bool FacilitatorApi::Serves(std::string_view target) const { return CallOf(target) != Call::kNone; }

bool FacilitatorApi::MayCall(const net::RequestHead& head) const {
  if (options_.tokens.empty()) return true;
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view value = head.headers.Get("authorization").value_or("");
  if (value.size() <= kBearer.size() ||
      !net::EqualsNoCase(value.substr(0, kBearer.size()), kBearer)) {
    return false;
  }
  const std::string_view token = value.substr(kBearer.size());
  bool match = false;  // all are compared, so that the time says nothing
  for (const Secret& known : options_.tokens) match |= known.Matches(token);
  return match;
}

Result<x402::FacilitatorRequest> FacilitatorApi::Read(std::string_view body) const {
  codec::JsonLimits limits;
  limits.max_bytes = kMaxBody;
  limits.fault = Code::kPaymentMalformed;
  PTG_TRY(Json json, codec::ParseJson(body, limits));
  PTG_TRY(x402::FacilitatorRequest request, x402::ParseFacilitatorRequest(std::move(json)));
  // Which field of the payload is wrong is said here, while the whole request is at hand; what
  // belongs to another scheme is not read, only refused.
  if (request.payment.scheme == "exact") {
    const auto payload =
        scheme::ParseExactEvm(request.payment.payload(), "/paymentPayload/payload");
    if (!payload && payload.error().code() == Code::kPaymentMalformed) {
      return Fail(payload.error());
    }
  }
  return request;
}

// What we settle for those whom we do not know.
Result<> FacilitatorApi::CheckPolicy(const x402::Requirements& q) const {
  if (!options_.tokens.empty()) return {};
  const auto chain = scheme::NetworkOf(q.network, q.version);
  if (!chain || !facilitator_.Serves(*chain)) return {};  // the protocol refuses it
  const auto asset = crypto::EvmAddress::Parse(q.asset);
  const auto pay_to = crypto::EvmAddress::Parse(q.pay_to);
  if (!asset || !pay_to) return {};
  if (assets_.Find(*chain, *asset) == nullptr) {
    return Fail(Error(Code::kFacilitatorPolicy, "this facilitator does not settle this asset")
                    .At("/paymentRequirements/asset"));
  }
  const bool ours = std::ranges::any_of(options_.pay_to, [&](const auto& known) {
    return known.first == *chain && known.second == *pay_to;
  });
  if (ours) return {};
  return Fail(Error(Code::kFacilitatorPolicy, "this facilitator does not settle for this payee")
                  .At("/paymentRequirements/payTo"));
}

Task<Json> FacilitatorApi::SupportedJson(Deadline by) {
  PTG_CO_TRY(const std::vector<settle::Facilitator::Kind> list,
             co_await facilitator_.Supported(by));
  Json kinds = Json::Array();
  for (const settle::Facilitator::Kind& kind : list) {
    Json one = Json::Object(
        {{"x402Version", kind.version}, {"scheme", kind.scheme}, {"network", kind.network}});
    if (!kind.extra.IsNull()) one.Set("extra", kind.extra);
    kinds.Push(std::move(one));
  }
  Json signers = Json::Array();
  for (std::string& address : facilitator_.Signers()) signers.Push(std::move(address));
  Json json = Json::Object();
  json.Set("kinds", std::move(kinds));
  json.Set("extensions", Json::Array());
  Json by_family = Json::Object();
  by_family.Set("eip155:*", std::move(signers));
  json.Set("signers", std::move(by_family));
  co_return json;
}

namespace {

// Our problem members and, for a payment that was judged or could not be read, the official ones:
// their clients read those at any status and keep the reason.
Json ProblemOf(const Error& error, int status, bool settle, int version) {
  Json json = problem::ToJson(error, status);
  json.Set("error", error.detail());
  if (!IsOfPayment(error.code()) && error.code() != Code::kFacilitatorPolicy) return json;
  const std::string reason = problem::Reason(error, version);
  json.Set(settle ? "success" : "isValid", false);
  json.Set(settle ? "errorReason" : "invalidReason", reason);
  json.Set(settle ? "errorMessage" : "invalidMessage", error.detail());
  if (settle) {
    json.Set("transaction", "");
    json.Set("network", "");
  }
  return json;
}

int StatusOf(const Error& error) {
  if (IsOfPayment(error.code())) return 400;
  return problem::RowOf(error.code()).http;
}

}  // namespace

Task<FacilitatorApi::Answer> FacilitatorApi::Decide(Call call, const net::RequestHead& head,
                                                    net::BodySource& body,
                                                    std::optional<x402::FacilitatorRequest>& told) {
  const bool settle = call == Call::kSettle;
  const auto refuse = [settle](const Error& error, int version = 2) {
    Answer answer;
    answer.status = StatusOf(error);
    answer.json = ProblemOf(error, answer.status, settle, version);
    answer.problem = true;
    if (answer.status == 429 || answer.status == 503) answer.retry_after = "1";
    answer.authenticate = answer.status == 401;
    return answer;
  };
  if (call == Call::kNone) co_return refuse(Error(Code::kNotFound, "there is nothing here"));
  const bool get = call == Call::kSupported;
  if (get ? head.method != "GET" && head.method != "HEAD" : head.method != "POST") {
    Answer answer = refuse(Error(Code::kMethodNotAllowed, "this method does nothing here"));
    answer.allow = get ? "GET, HEAD" : "POST";
    co_return answer;
  }
  Answer answer;
  if (get) {
    PTG_CO_TRY(answer.json, co_await SupportedJson(Deadline::In(clock_, options_.verify_timeout)));
    co_return answer;
  }
  if (!MayCall(head)) {
    co_return refuse(Error(Code::kUnauthorized, "this facilitator wants a token")
                         .Want("Authorization: Bearer <token>"));
  }
  const Slot slot(under_way_, options_.in_flight);
  if (!slot.free()) co_return refuse(Error(Code::kRateLimited, "too many calls are under way"));
  if (body.length().value_or(0) > kMaxBody) {
    co_return refuse(Error(Code::kBodyTooLarge, "the body is longer than 64 KiB"));
  }
  const Result<std::string> bytes =
      co_await net::ReadAll(body, kMaxBody, Deadline::In(clock_, kBodyTimeout));
  if (!bytes && bytes.error().code() == Code::kConnection) co_return Fail(bytes.error());
  if (!bytes) co_return refuse(bytes.error());
  Result<x402::FacilitatorRequest> request = Read(*bytes);
  if (!request) co_return refuse(request.error());
  const int version = request->payment.version;
  const Result<> policy = CheckPolicy(request->requirements);
  if (!policy) co_return refuse(policy.error(), version);
  if (!settle) {
    const Result<x402::VerifyAnswer> verified = co_await facilitator_.Verify(
        request->payment, request->requirements, Deadline::In(clock_, options_.verify_timeout));
    if (!verified) co_return refuse(verified.error(), version);
    answer.json = verified->ToJson();
    co_return answer;
  }
  Millis wait = WaitOf(head.headers.Get("prefer").value_or("")).value_or(options_.settle_timeout);
  wait = std::clamp(wait, kLeastSettleWait, kMostSettleWait);
  const std::string sale = SaleOf(head.headers);
  const Result<settle::Facilitator::Settlement> settled = co_await facilitator_.SettleOnce(
      request->payment, request->requirements, Deadline::In(clock_, wait), sale);
  if (!settled) co_return refuse(settled.error(), version);
  answer.json = settled->answer.ToJson();
  // A sale with a name hears of its success again by that name; another one must not.
  if (settled->outcome == settle::Facilitator::Outcome::kSettled && sale.empty()) {
    told = *std::move(request);
  }
  co_return answer;
}

Task<> FacilitatorApi::Write(Answer answer, net::ResponseWriter& out) const {
  const std::string body = codec::ToString(answer.json);
  net::ResponseHead head;
  head.status = answer.status;
  head.headers.Add("Content-Type",
                   answer.problem ? std::string_view(problem::kContentType) : "application/json");
  head.headers.Add("Cache-Control", "no-store");
  head.headers.Add("X-Request-Id", NewIdText("req", clock_, rng_));
  if (!answer.allow.empty()) head.headers.Add("Allow", answer.allow);
  if (!answer.retry_after.empty()) head.headers.Add("Retry-After", answer.retry_after);
  if (answer.authenticate) head.headers.Add("WWW-Authenticate", "Bearer");
  PTG_CO_RUN(co_await out.Head(std::move(head), body.size()));
  PTG_CO_RUN(co_await out.Write(body));
  co_return co_await out.End();
}

Task<> FacilitatorApi::Handle(net::RequestHead& head, net::BodySource& body,
                              net::ResponseWriter& out) {
  std::optional<x402::FacilitatorRequest> told;
  PTG_CO_TRY(Answer answer, co_await Decide(CallOf(head.target), head, body, told));
  const Result<> written = co_await Write(std::move(answer), out);
  if (!written && told) {
    // The caller does not know that it was paid; whoever asks next may hear it.
    const Result<> untold = co_await facilitator_.Untell(told->payment, told->requirements,
                                                         Deadline::In(clock_, kBodyTimeout));
    if (!untold) {
      Log(LogLevel::kError, "facilitator.untell_failed", {{"reason", untold.error().detail()}});
    }
  }
  co_return written;
}

}  // namespace pontage::facilitator
