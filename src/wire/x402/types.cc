#include "wire/x402/types.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/try.h"
#include "codec/base64.h"
#include "codec/text.h"

namespace pontage::x402 {
namespace {

using codec::Json;
using codec::JsonReader;

constexpr size_t kMaxAccepts = 64;  // what one offer may list; ours has a handful

Result<std::string> OptionalText(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::optional<std::string_view> text, r.MaybeString(key));
  return std::string(text.value_or(""));
}

// What somebody else says for people to read; it goes on into headers, logs and the books.
constexpr size_t kMaxSaid = 500;

// Such a text, cut to kMaxSaid bytes at a letter, its control characters blanks.
Result<std::string> SaidText(const JsonReader& r, std::string_view key) {
  PTG_TRY(std::string text, OptionalText(r, key));
  if (text.size() > kMaxSaid) {
    size_t end = kMaxSaid;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
    text.resize(end);
  }
  return codec::AsLine(std::move(text));
}

void SetIfAny(Json& json, std::string key, const std::string& text) {
  if (!text.empty()) json.Set(std::move(key), text);
}

}  // namespace

std::string EncodeHeader(const Json& json) { return codec::EncodeBase64(codec::ToString(json)); }

Result<Json> DecodeHeader(std::string_view value, Code fault) {
  if (value.size() > kMaxPaymentHeader) {
    return Fail(Error(fault, "the header is longer than 16 KiB").Want("at most 16384 characters"));
  }
  const Result<std::string> text = codec::DecodeBase64(value);
  if (!text) {
    return Fail(Error(fault, "the header is not base64: " + text.error().detail())
                    .Want("standard base64 (RFC 4648 section 4) of one JSON object"));
  }
  codec::JsonLimits limits;
  limits.max_bytes = kMaxPaymentHeader;
  limits.fault = fault;
  Result<Json> json = codec::ParseJson(*text, limits);
  if (!json) {
    return Fail(Error(fault, "the header is not JSON: " + json.error().detail())
                    .Want("standard base64 of one JSON object in UTF-8"));
  }
  return json;
}

Json Requirements::ToJson() const {
  Json json = Json::Object({{"scheme", scheme}, {"network", network}});
  if (version == 1) {
    json.Set("maxAmountRequired", amount.ToDecimal());
    json.Set("resource", resource);
    json.Set("description", description);
    json.Set("mimeType", mime_type);
  } else {
    json.Set("amount", amount.ToDecimal());
  }
  json.Set("asset", asset);
  json.Set("payTo", pay_to);
  json.Set("maxTimeoutSeconds", max_timeout_s);
  json.Set("extra", extra);
  return json;
}

Result<Requirements> ParseRequirements(const Json& json, int version, std::string pointer) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json, Code::kPaymentRequirements, std::move(pointer)));
  Requirements q;
  q.version = version;
  PTG_TRY(q.scheme, r.String("scheme"));
  PTG_TRY(q.network, r.String("network"));
  const std::string_view amount_key = version == 1 ? "maxAmountRequired" : "amount";
  PTG_TRY(const std::string_view amount, r.String(amount_key));
  const Result<codec::Uint256> n = codec::Uint256::FromDecimal(amount);
  if (!n) return Fail(r.Place(amount_key, n.error()));
  q.amount = *n;
  PTG_TRY(q.asset, r.String("asset"));
  PTG_TRY(q.pay_to, r.String("payTo"));
  PTG_TRY(q.max_timeout_s, r.Int("maxTimeoutSeconds"));
  if (q.max_timeout_s <= 0) {
    return Fail(r.Bad("maxTimeoutSeconds", "not a positive number of seconds", "a number above 0"));
  }
  if (const Json* extra = r.MaybeAny("extra")) {
    if (!extra->IsObject()) return Fail(r.Bad("extra", "not an object", "an object"));
    q.extra = *extra;
  }
  if (version == 1) {
    PTG_TRY(q.resource, OptionalText(r, "resource"));
    PTG_TRY(q.description, OptionalText(r, "description"));
    PTG_TRY(q.mime_type, OptionalText(r, "mimeType"));
  }
  return q;
}

const Json& Payment::payload() const {
  const Json* found = raw.Find("payload");
  PTG_CHECK(found != nullptr);
  return *found;
}

const Json& Payment::accepted() const {
  static const Json kNone;
  const Json* found = version == 1 ? nullptr : raw.Find("accepted");
  return found == nullptr ? kNone : *found;
}

Result<Payment> ParsePayment(Json json, std::string pointer) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json, Code::kPaymentMalformed, std::move(pointer)));
  PTG_TRY(const int64_t version, r.Int("x402Version"));
  if (version != 1 && version != 2) {
    return Fail(Error(Code::kPaymentVersion,
                      "x402 version " + std::to_string(version) + " is not spoken here")
                    .At(codec::ChildPointer(r.pointer(), "x402Version"))
                    .Want("1 or 2"));
  }
  Payment p;
  p.version = static_cast<int>(version);
  PTG_RUN(r.Object("payload"));
  if (version == 1) {
    PTG_TRY(p.scheme, r.String("scheme"));
    PTG_TRY(p.network, r.String("network"));
  } else {
    PTG_TRY(const JsonReader accepted, r.Object("accepted"));
    PTG_TRY(p.scheme, accepted.String("scheme"));
    PTG_TRY(p.network, accepted.String("network"));
    PTG_TRY(const std::optional<JsonReader> resource, r.MaybeObject("resource"));
    if (resource) {
      PTG_TRY(const std::optional<std::string_view> url, resource->MaybeString("url"));
      if (url) p.resource_url = std::string(*url);
    }
    if (const Json* extensions = r.MaybeAny("extensions")) {
      if (!extensions->IsObject()) return Fail(r.Bad("extensions", "not an object", "an object"));
    }
  }
  p.raw = std::move(json);
  return p;
}

Result<Payment> DecodePaymentHeader(std::string_view value, int version) {
  PTG_TRY(Json json, DecodeHeader(value, Code::kPaymentMalformed));
  PTG_TRY(Payment payment, ParsePayment(std::move(json)));
  if (payment.version != version) {
    return Fail(Error(Code::kPaymentVersion, version == 2
                                                 ? "PAYMENT-SIGNATURE carries a version 1 payment"
                                                 : "X-PAYMENT carries a version 2 payment")
                    .At("/x402Version")
                    .Want(version == 2 ? "2 in PAYMENT-SIGNATURE" : "1 in X-PAYMENT"));
  }
  return payment;
}

Json Challenge::ToJson() const {
  Json json = Json::Object({{"x402Version", version}, {"error", error}});
  if (version == 2) {
    json.Set("resource",
             Json::Object(
                 {{"url", resource_url}, {"description", description}, {"mimeType", mime_type}}));
  }
  Json list = Json::Array();
  for (const Requirements& one : accepts) list.Push(one.ToJson());
  json.Set("accepts", std::move(list));
  if (version == 2 && !extensions.IsNull()) json.Set("extensions", extensions);
  return json;
}

Result<Challenge> ParseChallenge(const Json& json) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json, Code::kPaymentRequirements));
  Challenge c;
  PTG_TRY(const int64_t version, r.Int("x402Version"));
  if (version != 1 && version != 2) {
    return Fail(Error(Code::kPaymentVersion, "x402 version " + std::to_string(version))
                    .At("/x402Version")
                    .Want("1 or 2"));
  }
  c.version = static_cast<int>(version);
  PTG_TRY(c.error, OptionalText(r, "error"));
  PTG_TRY(const std::optional<JsonReader> resource, r.MaybeObject("resource"));
  if (resource) {
    PTG_TRY(c.resource_url, OptionalText(*resource, "url"));
    PTG_TRY(c.description, OptionalText(*resource, "description"));
    PTG_TRY(c.mime_type, OptionalText(*resource, "mimeType"));
  }
  PTG_TRY(const std::vector<JsonReader> accepts, r.Objects("accepts", kMaxAccepts));
  for (const JsonReader& one : accepts) {
    PTG_TRY(Requirements q, ParseRequirements(one.json(), c.version, one.pointer()));
    if (c.version == 1 && c.resource_url.empty()) c.resource_url = q.resource;
    c.accepts.push_back(std::move(q));
  }
  if (const Json* extensions = r.MaybeAny("extensions")) c.extensions = *extensions;
  return c;
}

Json VerifyAnswer::ToJson() const {
  Json json = Json::Object({{"isValid", valid}});
  SetIfAny(json, "invalidReason", reason);
  SetIfAny(json, "invalidMessage", message);
  SetIfAny(json, "payer", payer);
  SetIfAny(json, "pointer", pointer);
  SetIfAny(json, "expected", expected);
  return json;
}

Result<VerifyAnswer> ParseVerifyAnswer(const Json& json) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json, Code::kFacilitatorAnswer));
  VerifyAnswer a;
  PTG_TRY(a.valid, r.Bool("isValid"));
  PTG_TRY(a.reason, SaidText(r, "invalidReason"));
  PTG_TRY(a.message, SaidText(r, "invalidMessage"));
  PTG_TRY(a.payer, OptionalText(r, "payer"));
  PTG_TRY(a.pointer, SaidText(r, "pointer"));
  PTG_TRY(a.expected, SaidText(r, "expected"));
  return a;
}

Json SettleAnswer::ToJson() const {
  Json json = Json::Object({{"success", success}});
  SetIfAny(json, "errorReason", reason);
  SetIfAny(json, "errorMessage", message);
  SetIfAny(json, "payer", payer);
  json.Set("transaction", transaction);
  json.Set("network", network);
  if (amount) json.Set("amount", *amount);
  return json;
}

Result<SettleAnswer> ParseSettleAnswer(const Json& json) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json, Code::kFacilitatorAnswer));
  SettleAnswer a;
  PTG_TRY(a.success, r.Bool("success"));
  PTG_TRY(a.reason, SaidText(r, "errorReason"));
  PTG_TRY(a.message, SaidText(r, "errorMessage"));
  PTG_TRY(a.payer, OptionalText(r, "payer"));
  PTG_TRY(a.transaction, OptionalText(r, "transaction"));
  PTG_TRY(a.network, OptionalText(r, "network"));
  PTG_TRY(const std::optional<std::string_view> amount, r.MaybeString("amount"));
  if (amount) a.amount = std::string(*amount);
  return a;
}

Result<FacilitatorRequest> ParseFacilitatorRequest(Json json) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json, Code::kPaymentMalformed));
  PTG_TRY(const JsonReader payload, r.Object("paymentPayload"));
  PTG_TRY(const std::optional<int64_t> outer, r.MaybeInt("x402Version"));
  PTG_TRY(const std::optional<int64_t> inner, payload.MaybeInt("x402Version"));
  if (outer && inner && *outer != *inner) {
    return Fail(Error(Code::kPaymentVersion, "the body says version " + std::to_string(*outer) +
                                                 ", its payload version " + std::to_string(*inner))
                    .At("/x402Version")
                    .Want("the version of paymentPayload"));
  }
  Json whole = std::move(*json.Find("paymentPayload"));
  if (!inner) whole.Set("x402Version", outer.value_or(1));
  FacilitatorRequest request;
  PTG_TRY(request.payment, ParsePayment(std::move(whole), "/paymentPayload"));
  PTG_TRY(const JsonReader requirements, r.Object("paymentRequirements"));
  PTG_TRY(request.requirements,
          ParseRequirements(requirements.json(), request.payment.version, "/paymentRequirements"));
  return request;
}

Json FacilitatorRequestJson(const Payment& payment, const Requirements& requirements) {
  return Json::Object({{"x402Version", payment.version},
                       {"paymentPayload", payment.raw},
                       {"paymentRequirements", requirements.ToJson()}});
}

}  // namespace pontage::x402
