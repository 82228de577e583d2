#include "settle/remote_answers.h"

#include <algorithm>
#include <array>

#include "base/try.h"
#include "chain/chain_id.h"
#include "crypto/evm_address.h"
#include "settle/remote_facilitator.h"

namespace pontage::settle {
namespace {

constexpr std::string_view kPendingReason = "settlement_pending";

Result<codec::Json> ReadBody(std::string_view body) {
  codec::JsonLimits limits;
  limits.max_bytes = kMaxFacilitatorAnswer;
  limits.fault = Code::kFacilitatorAnswer;
  return codec::ParseJson(body, limits);
}

// EVM addresses by value, everything else by its letters.
bool SameAccount(std::string_view a, std::string_view b) {
  const auto left = crypto::EvmAddress::Parse(a);
  const auto right = crypto::EvmAddress::Parse(b);
  if (left && right) return *left == *right;
  return a == b;
}

// A transaction or an account as every network writes it: letters and digits, of no more than twice
// what the longest (a Solana signature) takes.
bool IsName(std::string_view text) {
  constexpr size_t kMaxName = 180;
  return text.size() <= kMaxName &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

bool IsSuccess(int status) { return status >= 200 && status <= 299; }

// Reasons that come with money that may have moved: an exception in the middle, a receipt that was
// not waited for, an authorization that is used (perhaps by the call before this one).
bool IsDoubtful(std::string_view reason) {
  constexpr std::array kSigns = {"unexpected_",
                                 "nonce_already_used",
                                 "duplicate_settlement",
                                 "timed_out",
                                 "timeout",
                                 "block_height_exceeded",
                                 "post_settlement_transfer_not_confirmed"};
  for (const std::string_view sign : kSigns) {
    if (reason.find(sign) != std::string_view::npos) return true;
  }
  return false;
}

SettleReading Unclear(std::string what) {
  SettleReading reading;
  reading.answer.reason = kPendingReason;
  reading.answer.message = "the facilitator's answer does not tell: " + std::move(what);
  return reading;
}

}  // namespace

Reading Weigh(Reading said, bool first) {
  return said == Reading::kRefused && !first ? Reading::kDoubtful : said;
}

bool SameNetwork(std::string_view a, std::string_view b) {
  if (a == b) return true;
  const auto left = chain::ChainId::Parse(a);
  const auto right = chain::ChainId::Parse(b);
  return left && right && *left == *right;
}

Result<x402::VerifyAnswer> ReadVerify(int status, std::string_view body, const Expected& expected) {
  const std::string said = "the facilitator answered " + std::to_string(status);
  Result<codec::Json> json = ReadBody(body);
  Result<x402::VerifyAnswer> answer =
      json ? x402::ParseVerifyAnswer(*json) : Result<x402::VerifyAnswer>(Fail(json.error()));
  if (!answer) {
    if (status >= 500 || status == 429) return Fail(Code::kFacilitatorUnreachable, said);
    return Fail(Code::kFacilitatorAnswer, said + " without a verdict");
  }
  if (!answer->valid) {
    // Its own failure in the middle of judging, which judges nothing.
    if (answer->reason.starts_with("unexpected_")) {
      return Fail(Code::kFacilitatorUnreachable, said + ": " + answer->reason);
    }
    if (answer->reason.empty()) answer->reason = "invalid_payment";
    return answer;
  }
  if (!IsSuccess(status)) {
    return Fail(Code::kFacilitatorAnswer, said + " and called the payment valid");
  }
  if (!IsName(answer->payer)) {
    return Fail(Code::kFacilitatorAnswer, "the facilitator names a payer that is none");
  }
  if (!expected.payer.empty() && !answer->payer.empty() &&
      !SameAccount(answer->payer, expected.payer)) {
    return Fail(Code::kFacilitatorAnswer, "the facilitator answered for another payer");
  }
  return answer;
}

SettleReading ReadSettle(int status, std::string_view body, const Expected& expected) {
  if (status >= 500) return Unclear("status " + std::to_string(status));
  const Result<codec::Json> json = ReadBody(body);
  if (!json) return Unclear("it is not JSON");
  Result<x402::SettleAnswer> answer = x402::ParseSettleAnswer(*json);
  if (!answer) return Unclear(answer.error().detail());
  SettleReading reading;
  reading.answer = *std::move(answer);
  if (!reading.answer.success) {
    if (!IsName(reading.answer.transaction)) reading.answer.transaction.clear();
    if (!IsName(reading.answer.payer)) reading.answer.payer.clear();
    if (reading.answer.reason == kPendingReason) {
      reading.reading = Reading::kPending;
    } else {
      reading.reading = IsDoubtful(reading.answer.reason) ? Reading::kDoubtful : Reading::kRefused;
    }
    return reading;
  }
  const x402::SettleAnswer& a = reading.answer;
  if (!IsSuccess(status)) return Unclear("success with status " + std::to_string(status));
  if (a.transaction.empty()) return Unclear("success without a transaction");
  if (!IsName(a.transaction)) return Unclear("success with a transaction that is none");
  if (!IsName(a.payer)) return Unclear("success with a payer that is none");
  if (!SameNetwork(a.network, expected.network)) return Unclear("success on another network");
  if (!expected.payer.empty() && !a.payer.empty() && !SameAccount(a.payer, expected.payer)) {
    return Unclear("success for another payer");
  }
  if (a.amount && *a.amount != expected.amount.ToDecimal()) {
    return Unclear("success of another amount");
  }
  reading.reading = Reading::kSettled;
  return reading;
}

}  // namespace pontage::settle
