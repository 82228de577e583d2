#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "codec/json.h"
#include "codec/uint256.h"

// The x402 wire objects of both versions, as values. Networks and addresses are text here, spelled
// as the wire has them: chain/ knows what they mean. Source of the shapes: x402 specification v1
// and v2, and what the official packages 1.2.0 and 2.27.0 send and accept.
namespace pontage::x402 {

// A payment header longer than this is refused before it is decoded (a payment is about 1 KiB; with
// extensions and a Solana transaction about 4).
inline constexpr size_t kMaxPaymentHeader = 16 * 1024;

// One way to pay. In version 1 the resource is part of it, in version 2 it stands beside the list.
struct Requirements {
  int version = 2;
  std::string scheme;
  std::string network;  // version 2: CAIP-2; version 1: the short name
  codec::Uint256 amount;
  std::string asset;
  std::string pay_to;
  int64_t max_timeout_s = 0;
  codec::Json extra = codec::Json::Object();
  // Version 1 only.
  std::string resource;
  std::string description;
  std::string mime_type;

  codec::Json ToJson() const;
};

// From a facilitator's request or an offer. Strict about types; unknown members are tolerated.
// Fails with kPaymentRequirements and the pointer of the member below `pointer`.
Result<Requirements> ParseRequirements(const codec::Json& json, int version, std::string pointer);

// What a buyer sent, decoded and shape-checked but not judged.
struct Payment {
  int version = 0;
  std::string scheme;                       // version 1: of the payload; version 2: of `accepted`
  std::string network;                      // likewise, as written
  std::optional<std::string> resource_url;  // version 2, if it names one
  codec::Json raw;                          // the whole object, as it came

  // Members of it, which ParsePayment has seen: the scheme's object, and in version 2 what the
  // buyer says he accepted (null in version 1).
  const codec::Json& payload() const;
  const codec::Json& accepted() const;
};

// The object itself (body of /verify, MCP _meta). kPaymentVersion for a version that is neither 1
// nor 2, kPaymentMalformed with pointer and form for the rest.
Result<Payment> ParsePayment(codec::Json json, std::string pointer = "");
// A PAYMENT-SIGNATURE (`version` 2) or X-PAYMENT (1) value: bounds, base64, JSON, shape, and the
// version inside must be the header's.
Result<Payment> DecodePaymentHeader(std::string_view value, int version);

// What a seller asks for: the content of PAYMENT-REQUIRED (v2) or of a v1 body.
struct Challenge {
  int version = 2;
  std::string error;
  std::string resource_url;
  std::string description;
  std::string mime_type;
  std::vector<Requirements> accepts;
  codec::Json extensions;  // null: none
  codec::Json ToJson() const;
};
Result<Challenge> ParseChallenge(const codec::Json& json);

struct VerifyAnswer {
  bool valid = false;
  std::string reason;
  std::string message;
  std::string payer;
  // Where the fault is and what would be right, when our own facilitator judged; they travel as
  // further members of the answer ("pointer", "expected"), which others ignore.
  std::string pointer;
  std::string expected;
  // Our own, when it was judged in this process: several faults share one reason. Never on the
  // wire.
  std::optional<Code> code;
  codec::Json ToJson() const;
};
// Strict about types: "isValid":"true" is kFacilitatorAnswer, not a yes.
Result<VerifyAnswer> ParseVerifyAnswer(const codec::Json& json);

struct SettleAnswer {
  bool success = false;
  std::string reason;
  std::string message;
  std::string payer;
  std::string transaction;
  std::string network;
  std::optional<std::string> amount;
  codec::Json ToJson() const;
};
Result<SettleAnswer> ParseSettleAnswer(const codec::Json& json);

// {x402Version, paymentPayload, paymentRequirements}: the body of /verify and /settle. The version
// is the payload's, then the body's, then 1; contradictions are kPaymentVersion.
struct FacilitatorRequest {
  Payment payment;
  Requirements requirements;
};
Result<FacilitatorRequest> ParseFacilitatorRequest(codec::Json json);
codec::Json FacilitatorRequestJson(const Payment& payment, const Requirements& requirements);

// base64(JSON): how every object travels in a header.
std::string EncodeHeader(const codec::Json& json);
Result<codec::Json> DecodeHeader(std::string_view value, Code fault);

}  // namespace pontage::x402
