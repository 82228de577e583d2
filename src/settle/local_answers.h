#pragma once

#include <string>
#include <utility>

#include "settle/facilitator.h"
#include "wire/problem/error_map.h"

// The answers of the local facilitator that are not a success.
namespace pontage::settle {

inline x402::VerifyAnswer Invalid(const Error& error, int version, std::string payer) {
  x402::VerifyAnswer answer;
  answer.valid = false;
  answer.reason = problem::Reason(error, version);
  answer.message = error.detail();
  answer.payer = std::move(payer);
  answer.code = error.code();
  answer.pointer = error.pointer();
  answer.expected = error.expected();
  return answer;
}

inline Facilitator::Settlement Failed(Facilitator::Outcome outcome, const Error& error, int version,
                                      std::string payer, std::string network,
                                      std::string transaction = "") {
  Facilitator::Settlement s;
  s.outcome = outcome;
  s.answer.success = false;
  s.answer.reason = problem::Reason(error, version);
  s.answer.message = error.detail();
  s.answer.payer = std::move(payer);
  s.answer.network = std::move(network);
  s.answer.transaction = std::move(transaction);
  return s;
}

inline Error UsedBefore() {
  return Error(Code::kPaymentReplayed, "the authorization was used on the chain before");
}

inline Error NotSeen() {
  return Error(Code::kSettlePending,
               "the transaction was sent and its receipt was not seen yet; ask again");
}

}  // namespace pontage::settle
