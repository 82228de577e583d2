#include "settle/remote_facilitator.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "codec/hex.h"
#include "io/timer.h"
#include "scheme/exact_evm.h"
#include "settle/trace.h"

namespace pontage::settle {
namespace {

using Outcome = Facilitator::Outcome;
using Settlement = Facilitator::Settlement;
using Trace = Facilitator::Trace;

constexpr size_t kMaxKinds = 1'024;
constexpr int kSupportedTries = 4;
constexpr Millis kLongestRetryAfter{30'000};

// Empty when the payload is of a scheme that we do not read.
std::string PayerOf(const x402::Payment& payment) {
  const auto payload = scheme::ParseExactEvm(payment.payload());
  return payload ? payload->auth.from.ToChecksum() : "";
}

Expected ExpectedOf(const x402::Payment& payment, const x402::Requirements& q) {
  return {
      .version = q.version, .network = q.network, .payer = PayerOf(payment), .amount = q.amount};
}

// How long it may wait for a block: a sixth of the time is for the way there and back.
std::string PreferOf(Millis left) {
  constexpr int64_t kMost = 600;
  const int64_t seconds = std::clamp<int64_t>(left.count() / 1000, 0, kMost);
  return "wait=" +
         std::to_string(seconds - std::min<int64_t>(seconds, std::max<int64_t>(1, seconds / 6)));
}

Settlement Unknown(x402::SettleAnswer answer, const x402::Requirements& q, std::string payer) {
  answer.success = false;
  answer.reason = "settlement_pending";
  if (answer.message.empty())
    answer.message = "it is not known yet whether the payment was settled";
  answer.network = q.network;
  if (answer.payer.empty()) answer.payer = std::move(payer);
  return {Outcome::kUnknown, std::move(answer)};
}

}  // namespace

Result<std::unique_ptr<RemoteFacilitator>> RemoteFacilitator::Make(
    RemoteOptions options, const chain::AssetRegistry& assets, const Clock& clock) {
  if (options.endpoints.empty()) return Fail(Code::kConfig, "no facilitator URL is configured");
  std::vector<RemoteOptions::Endpoint> endpoints = std::move(options.endpoints);
  std::unique_ptr<RemoteFacilitator> made(new RemoteFacilitator(std::move(options), assets, clock));
  for (RemoteOptions::Endpoint& endpoint : endpoints) {
    auto one = std::make_unique<Endpoint>();
    PTG_TRY(one->url, net::ParseUrl(endpoint.url));
    while (one->url.path.ends_with('/')) one->url.path.pop_back();
    one->token = std::move(endpoint.token);
    made->endpoints_.push_back(std::move(one));
  }
  made->name_ = made->endpoints_.front()->url.Authority();
  return made;
}

bool RemoteFacilitator::MayTry(const Endpoint& endpoint) const {
  return clock_.Steady().ms() >= endpoint.closed_until.load(std::memory_order_relaxed);
}

Task<RemoteFacilitator::Heard> RemoteFacilitator::Exchange(Endpoint& endpoint,
                                                           std::string_view path,
                                                           const std::string& body, Deadline by,
                                                           std::string_view sale) {
  net::RequestHead head;
  head.method = body.empty() ? "GET" : "POST";
  head.target = endpoint.url.path + std::string(path);
  head.headers.Add("Accept", "application/json");
  if (!body.empty()) head.headers.Add("Content-Type", "application/json");
  if (!endpoint.token.empty()) {
    head.headers.Add("Authorization", "Bearer " + std::string(endpoint.token.Reveal()));
  }
  if (!sale.empty()) head.headers.Add("Idempotency-Key", sale);
  if (path == "/settle") head.headers.Add("Prefer", PreferOf(by.Left(clock_)));
  Result<net::Client::Whole> answer = co_await clients_.Here().Fetch(
      endpoint.url, std::move(head), body, kMaxFacilitatorAnswer, by);
  if (!answer) {
    if (answer.error().code() == Code::kUpstreamUnreachable) {
      endpoint.closed_until.store((clock_.Steady() + options_.circuit).ms());
    }
    Log(LogLevel::kWarn, "facilitator.call_failed",
        {{"facilitator", endpoint.url.Authority()},
         {"path", path},
         {"reason", answer.error().detail()}});
    co_return Fail(std::move(answer).error());
  }
  endpoint.closed_until.store(INT64_MIN);
  Heard heard;
  heard.status = answer->head.status;
  heard.body = std::move(answer->body);
  if (const auto after = answer->head.headers.Get("retry-after")) {
    int64_t seconds = 0;
    const auto [end, fault] =
        std::from_chars(after->data(), after->data() + after->size(), seconds);
    if (fault == std::errc() && end == after->data() + after->size() && seconds >= 0) {
      heard.retry_after =
          std::min(kLongestRetryAfter, Millis(std::min<int64_t>(seconds, 60) * 1000));
    }
  }
  co_return heard;
}

Task<x402::VerifyAnswer> RemoteFacilitator::Verify(const x402::Payment& payment,
                                                   const x402::Requirements& requirements,
                                                   Deadline by) {
  const std::string body = codec::ToString(x402::FacilitatorRequestJson(payment, requirements));
  const Expected expected = ExpectedOf(payment, requirements);
  const Deadline until = Sooner(by, Deadline::In(clock_, options_.verify_timeout));
  Error last(Code::kFacilitatorUnreachable, "the facilitator cannot be reached");
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    if (!MayTry(*endpoint) || until.Passed(clock_)) continue;
    const Result<Heard> heard = co_await Exchange(*endpoint, "/verify", body, until);
    if (!heard) {
      // A hang-up and a silence are no answer; nothing has happened by them.
      const Code why = heard.error().code();
      last = why == Code::kUpstreamTimeout
                 ? Error(Code::kFacilitatorUnreachable, "the facilitator did not answer in time")
             : why == Code::kUpstreamUnreachable
                 ? Error(Code::kFacilitatorUnreachable, "the facilitator cannot be reached")
                 : Error(Code::kFacilitatorAnswer, "the facilitator broke off");
      continue;
    }
    Result<x402::VerifyAnswer> answer = ReadVerify(heard->status, heard->body, expected);
    if (answer) {
      if (answer->payer.empty()) answer->payer = expected.payer;
      co_return answer;
    }
    Log(LogLevel::kWarn, "facilitator.answer_refused",
        {{"facilitator", endpoint->url.Authority()},
         {"path", "/verify"},
         {"status", heard->status},
         {"reason", answer.error().detail()}});
    last = answer.error();
  }
  co_return Fail(std::move(last));
}

// kFacilitatorUnreachable: nothing was sent to anybody.
Task<SettleReading> RemoteFacilitator::AskSettle(const std::string& body, const Expected& expected,
                                                 deal::Asking asking, Deadline by) {
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    if (!MayTry(*endpoint)) continue;
    SettleReading reading;
    // Asked once more, with the very same bytes, by who says that it is under way.
    for (int attempt = 0; attempt < 2; ++attempt) {
      const Result<Heard> heard = co_await Exchange(*endpoint, "/settle", body, by, asking.sale);
      if (!heard) {
        if (heard.error().code() == Code::kUpstreamUnreachable && attempt == 0) break;
        if (attempt == 0) {
          reading.answer.message = "the facilitator broke off while it settled";
          reading.reading = Reading::kUnclear;
        }
        co_return reading;  // after a "pending" its hash is kept
      }
      SettleReading next = ReadSettle(heard->status, heard->body, expected);
      if (next.reading == Reading::kUnclear) {
        Log(LogLevel::kWarn, "facilitator.answer_refused",
            {{"facilitator", endpoint->url.Authority()},
             {"path", "/settle"},
             {"status", heard->status},
             {"reason", next.answer.message}});
        next.answer.transaction = reading.answer.transaction;
      }
      next.reading = Weigh(next.reading, attempt == 0 && !asking.again);
      reading = std::move(next);
      if (reading.reading != Reading::kPending) co_return reading;
    }
    if (reading.reading == Reading::kPending) co_return reading;
  }
  co_return Fail(Code::kFacilitatorUnreachable, "the facilitator cannot be reached");
}

Task<Settlement> RemoteFacilitator::Settle(const x402::Payment& payment,
                                           const x402::Requirements& requirements, Deadline by) {
  return SettleSale(payment, requirements, {}, by);
}

Task<Settlement> RemoteFacilitator::SettleSale(const x402::Payment& payment,
                                               const x402::Requirements& requirements,
                                               deal::Asking asking, Deadline by) {
  const std::string body = codec::ToString(x402::FacilitatorRequestJson(payment, requirements));
  const Expected expected = ExpectedOf(payment, requirements);
  const Deadline until = Sooner(by, Deadline::In(clock_, options_.settle_timeout));
  PTG_CO_TRY(SettleReading reading, co_await AskSettle(body, expected, asking, until));
  if (reading.answer.payer.empty()) reading.answer.payer = expected.payer;
  const bool plain = reading.reading == Reading::kSettled || reading.reading == Reading::kRefused;
  if (ViewOf(requirements) != nullptr && (options_.check || !plain)) {
    co_return co_await Check(payment, requirements, std::move(reading), by);
  }
  switch (reading.reading) {
    case Reading::kSettled:
      co_return Settlement{Outcome::kSettled, std::move(reading.answer)};
    case Reading::kRefused:
      co_return Settlement{Outcome::kRefused, std::move(reading.answer)};
    case Reading::kPending:
    case Reading::kDoubtful:
    case Reading::kUnclear:
      break;
  }
  co_return Unknown(std::move(reading.answer), requirements, expected.payer);
}

Task<Settlement> RemoteFacilitator::Check(const x402::Payment& payment,
                                          const x402::Requirements& requirements,
                                          SettleReading reading, Deadline by) {
  // A node of ours may be a block behind the facilitator's.
  constexpr Millis kPause{500};
  constexpr int kLooks = 6;
  Result<Traced> traced = co_await Lookup(payment, requirements, by);
  for (int look = 1; look < kLooks && reading.reading == Reading::kSettled && traced &&
                     traced->trace == Trace::kUnused && !by.Passed(clock_);
       ++look) {
    PTG_CO_RUN(co_await Sleep(kPause));
    traced = co_await Lookup(payment, requirements, by);
  }
  const std::string payer = reading.answer.payer;
  if (!traced || traced->trace == Trace::kUnknown) {
    co_return Unknown(std::move(reading.answer), requirements, payer);
  }
  if (traced->trace == Trace::kUsed) {
    co_return Settlement{Outcome::kSettled, std::move(traced->answer)};
  }
  const bool claimed = reading.reading == Reading::kSettled;
  if (claimed) {
    Log(LogLevel::kError, "facilitator.success_not_on_chain",
        {{"facilitator", name_}, {"transaction", reading.answer.transaction}});
  }
  if (traced->trace == Trace::kUsedElsewhere) {
    x402::SettleAnswer answer = std::move(reading.answer);
    answer.success = false;
    answer.reason = requirements.version == 1 ? "invalid_transaction_state"
                                              : "invalid_exact_evm_transfer_event_mismatch";
    answer.message = "the authorization was used and did not pay the payee";
    answer.network = requirements.network;
    co_return Settlement{Outcome::kRefused, std::move(answer)};
  }
  if (reading.reading == Reading::kRefused) {
    co_return Settlement{Outcome::kRefused, std::move(reading.answer)};
  }
  const auto payload = scheme::ParseExactEvm(payment.payload());
  if (reading.reading == Reading::kDoubtful && payload && RanOut(payload->auth, traced->as_of)) {
    // It says no, and nobody can send it any more.
    co_return Settlement{Outcome::kRefused, std::move(reading.answer)};
  }
  co_return Unknown(std::move(reading.answer), requirements, payer);
}

const RemoteOptions::View* RemoteFacilitator::ViewOf(const x402::Requirements& requirements) const {
  const auto chain = scheme::NetworkOf(requirements.network, requirements.version);
  if (!chain) return nullptr;
  const auto at = std::ranges::find_if(options_.views, [&chain](const RemoteOptions::View& one) {
    return one.view->chain() == *chain;
  });
  return at == options_.views.end() ? nullptr : &*at;
}

Task<Facilitator::Traced> RemoteFacilitator::Lookup(const x402::Payment& payment,
                                                    const x402::Requirements& requirements,
                                                    Deadline by) {
  const RemoteOptions::View* of = ViewOf(requirements);
  Traced traced;
  if (of == nullptr) co_return traced;
  PTG_CO_TRY(const scheme::ExactEvmTerms terms, scheme::ReadTerms(requirements, assets_));
  PTG_CO_TRY(const scheme::ExactEvmPayload payload, scheme::ParseExactEvm(payment.payload()));
  const chain::EvmAsset* asset = assets_.Find(terms.chain, terms.asset);
  TraceRules rules;
  rules.confirmations = of->confirmations;
  rules.two = asset != nullptr && WorthTwo(terms.amount, asset->decimals, of->quorum_above);
  PTG_CO_TRY(const TracedTransfer found,
             co_await TraceTransfer(*of->view, ClaimOf(payload.auth, terms),
                                    OldestOf(payload.auth, terms), rules, by));
  traced.trace = found.trace;
  traced.as_of = found.as_of;
  if (found.trace == Trace::kUsed) {
    traced.answer.success = true;
    traced.answer.payer = payload.auth.from.ToChecksum();
    traced.answer.network = requirements.network;
    traced.answer.transaction = codec::Hex0x(found.transaction);
  }
  co_return traced;
}

Task<std::vector<Facilitator::Kind>> RemoteFacilitator::Supported(Deadline by) {
  std::vector<Kind> stale;
  bool have = false;
  {
    const std::lock_guard lock(mutex_);
    have = kinds_at_.has_value();
    if (have && clock_.Steady() - *kinds_at_ < options_.supported_age) co_return kinds_;
    stale = kinds_;
  }
  Result<std::vector<Kind>> fresh = co_await FetchSupported(by);
  if (!fresh) {
    // What was true five minutes ago is better than offering nothing.
    if (have) co_return stale;
    co_return fresh;
  }
  const std::lock_guard lock(mutex_);
  kinds_ = *fresh;
  kinds_at_ = clock_.Steady();
  co_return fresh;
}

namespace {

Result<std::vector<Facilitator::Kind>> ReadKinds(const std::string& body) {
  codec::JsonLimits limits;
  limits.max_bytes = kMaxFacilitatorAnswer;
  limits.fault = Code::kFacilitatorAnswer;
  PTG_TRY(const codec::Json json, codec::ParseJson(body, limits));
  PTG_TRY(const codec::JsonReader r, codec::JsonReader::Of(json, Code::kFacilitatorAnswer));
  PTG_TRY(const std::vector<codec::JsonReader> kinds, r.Objects("kinds", kMaxKinds));
  std::vector<Facilitator::Kind> read;
  for (const codec::JsonReader& one : kinds) {
    Facilitator::Kind kind;
    PTG_TRY(const std::optional<int64_t> version, one.MaybeInt("x402Version"));
    kind.version = static_cast<int>(std::clamp<int64_t>(version.value_or(1), 0, 1'000));
    PTG_TRY(kind.scheme, one.String("scheme"));
    PTG_TRY(kind.network, one.String("network"));
    if (const codec::Json* extra = one.MaybeAny("extra")) kind.extra = *extra;
    read.push_back(std::move(kind));
  }
  return read;
}

}  // namespace

Task<std::vector<Facilitator::Kind>> RemoteFacilitator::FetchSupported(Deadline by) {
  Error last(Code::kFacilitatorUnreachable, "the facilitator cannot be reached");
  for (int attempt = 0; attempt < kSupportedTries && !by.Passed(clock_); ++attempt) {
    Millis pause(200 << attempt);
    for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
      if (!MayTry(*endpoint)) continue;
      const Deadline until = Sooner(by, Deadline::In(clock_, options_.verify_timeout));
      const Result<Heard> heard = co_await Exchange(*endpoint, "/supported", "", until);
      if (!heard) continue;
      if (heard->status == 429) {
        pause = heard->retry_after.value_or(pause);
        last = Error(Code::kFacilitatorUnreachable, "the facilitator is too busy");
        continue;
      }
      Result<std::vector<Kind>> kinds = ReadKinds(heard->body);
      if (kinds && heard->status / 100 == 2) co_return kinds;
      last = Error(Code::kFacilitatorAnswer, "the facilitator's /supported is unreadable");
    }
    if (attempt + 1 == kSupportedTries || by.Left(clock_) <= pause) break;
    PTG_CO_RUN(co_await Sleep(pause));
  }
  co_return Fail(std::move(last));
}

}  // namespace pontage::settle
