#pragma once

#include <string>
#include <string_view>

#include "base/check.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "wire/x402/types.h"

// What holds of the payment headers of both versions, for the fuzz targets: payment_v1_fuzz.cc and
// payment_v2_fuzz.cc. The input is the JSON inside a header, where mutations reach further, and is
// also shown as the header itself.
namespace pontage::x402 {

inline bool HasText(const codec::Json& json, std::string_view key) {
  const codec::Json* member = json.Find(key);
  return member != nullptr && member->IsString();
}
inline bool IsAbsent(const codec::Json& json, std::string_view key) {
  const codec::Json* member = json.Find(key);
  return member == nullptr || member->IsNull();
}
inline const codec::Json* ObjectAt(const codec::Json& json, std::string_view key) {
  const codec::Json* member = json.Find(key);
  return member != nullptr && member->IsObject() ? member : nullptr;
}

// The shapes as the specification lists them, read without the reader that production has.
inline bool IsShapedNaively(const codec::Json& json, int version) {
  const codec::Json* number = json.Find("x402Version");
  if (!json.IsObject() || number == nullptr || number->AsNumberText() == nullptr) return false;
  if (*number->AsNumberText() != std::to_string(version)) return false;
  if (ObjectAt(json, "payload") == nullptr) return false;
  if (version == 1) return HasText(json, "scheme") && HasText(json, "network");
  const codec::Json* accepted = ObjectAt(json, "accepted");
  if (accepted == nullptr || !HasText(*accepted, "scheme") || !HasText(*accepted, "network")) {
    return false;
  }
  if (!IsAbsent(json, "extensions") && ObjectAt(json, "extensions") == nullptr) return false;
  if (IsAbsent(json, "resource")) return true;
  const codec::Json* resource = ObjectAt(json, "resource");
  return resource != nullptr && (IsAbsent(*resource, "url") || HasText(*resource, "url"));
}

// A payment is what was sent, whole and unchanged, and goes to a facilitator and back as the same.
inline void CheckTravels(const Payment& payment) {
  const std::string value = EncodeHeader(payment.raw);
  if (value.size() <= kMaxPaymentHeader) {
    const auto again = DecodePaymentHeader(value, payment.version);
    PTG_CHECK(again && again->raw == payment.raw && again->payload() == payment.payload());
    PTG_CHECK(again->scheme == payment.scheme && again->network == payment.network);
    PTG_CHECK(again->resource_url == payment.resource_url);
    const auto other = DecodePaymentHeader(value, 3 - payment.version);
    PTG_CHECK(!other && other.error().code() == Code::kPaymentVersion);
  }
  Requirements terms;
  terms.version = payment.version;
  terms.scheme = payment.scheme;
  terms.network = payment.network;
  terms.amount = codec::Uint256(1000);
  terms.asset = "0x1";
  terms.pay_to = "0x2";
  terms.max_timeout_s = 60;
  const auto asked = ParseFacilitatorRequest(FacilitatorRequestJson(payment, terms));
  PTG_CHECK(asked && asked->payment.raw == payment.raw);
  PTG_CHECK(asked->requirements.ToJson() == terms.ToJson());
}

inline void CheckPaymentHeader(std::string_view input, int version) {
  if (const auto given = DecodePaymentHeader(input, version)) CheckTravels(*given);
  const std::string value = codec::EncodeBase64(input);
  const auto payment = DecodePaymentHeader(value, version);
  const auto json = codec::ParseJson(input, {.max_bytes = kMaxPaymentHeader});
  const bool fits = value.size() <= kMaxPaymentHeader;
  PTG_CHECK(payment.has_value() == (fits && json && IsShapedNaively(*json, version)));
  if (!payment) {
    // A fault says what would be right, and where, and nothing is taken for another kind of fault.
    const Code code = payment.error().code();
    PTG_CHECK(code == Code::kPaymentMalformed || code == Code::kPaymentVersion);
    PTG_CHECK(!payment.error().detail().empty());
    return;
  }
  PTG_CHECK(payment->version == version && payment->raw == *json);
  PTG_CHECK(payment->payload() == *json->Find("payload"));
  const codec::Json& named = version == 1 ? *json : *json->Find("accepted");
  PTG_CHECK(payment->scheme == *named.Find("scheme")->AsString());
  PTG_CHECK(payment->network == *named.Find("network")->AsString());
  CheckTravels(*payment);
}

}  // namespace pontage::x402
