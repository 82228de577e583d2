#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/uint256.h"
#include "wire/x402/types.h"

// What an answer of somebody else's facilitator means. Pure. Their statuses differ (a bad payment
// is 200 with some, 400 with others), so the body is read at any of them; their types are not bent.
namespace pontage::settle {

// What an answer must agree with.
struct Expected {
  int version = 2;
  std::string network;  // as the requirement spells it
  std::string payer;    // of the payload; empty when the scheme is not one we read
  codec::Uint256 amount;
};

// Valid only by a boolean true in a 2xx answer that names no other payer. kFacilitatorUnreachable
// for 429 and 5xx without a verdict, kFacilitatorAnswer for everything that is no verdict.
Result<x402::VerifyAnswer> ReadVerify(int status, std::string_view body, const Expected& expected);

enum class Reading : uint8_t {
  kSettled,
  kPending,   // settlement_pending: the same may be asked again
  kRefused,   // it says that it did not move the money, and why
  kDoubtful,  // it says so, in words that do not exclude that it moved
  kUnclear,   // no answer: 5xx, unreadable, of other types, or in contradiction to what was asked
};
struct SettleReading {
  Reading reading = Reading::kUnclear;
  x402::SettleAnswer answer;  // for kUnclear with a text that says what was wrong
};
SettleReading ReadSettle(int status, std::string_view body, const Expected& expected);

// What an answer means when it is not the first that was heard of the payment (or may not be): the
// money may have moved by the call before, and what is said of this one ("used", "expired", "too
// little is left") would be said then too. So a refusal is a doubt.
Reading Weigh(Reading said, bool first);

// Do two names, in whichever spelling, mean one network?
bool SameNetwork(std::string_view a, std::string_view b);

}  // namespace pontage::settle
