#include "license/claims.h"

#include <algorithm>

#include "base/try.h"

namespace pontage::license {
namespace {

using codec::Json;
using codec::JsonReader;

constexpr size_t kMaxName = 256;

// RFC 7519 §4.1.3: one name or a list of them.
bool IsForUs(const Json* audience) {
  if (audience == nullptr) return false;
  if (const std::string* one = audience->AsString()) return *one == kAudience;
  const std::vector<Json>* list = audience->AsArray();
  return list != nullptr && std::ranges::any_of(*list, [](const Json& one) {
           return one.AsString() != nullptr && *one.AsString() == kAudience;
         });
}

Result<std::string> Name(const JsonReader& from, std::string_view key) {
  PTG_TRY(const std::string_view text, from.String(key));
  if (text.empty() || text.size() > kMaxName) {
    return Fail(from.Bad(key, "a name of this length", "1 to 256 characters"));
  }
  return std::string(text);
}

Result<UnixMs> Time(const JsonReader& from, std::string_view key) {
  PTG_TRY(const int64_t seconds, from.Int(key));
  if (seconds < 0) return Fail(from.Bad(key, "a time before 1970", "seconds since 1970"));
  return UnixMs::FromSeconds(seconds);
}

Result<std::vector<std::string>> Products(const JsonReader& lic) {
  std::vector<std::string> out;
  const Json* product = lic.MaybeAny("product");
  if (product == nullptr) return out;
  if (const std::string* one = product->AsString()) {
    out.push_back(*one);
    return out;
  }
  const std::vector<Json>* list = product->AsArray();
  if (list == nullptr || list->size() > kMostProducts) {
    return Fail(lic.Bad("product", "no list of products", "a name or up to 64 names"));
  }
  for (const Json& one : *list) {
    if (one.AsString() == nullptr || one.AsString()->empty()) {
      return Fail(lic.Bad("product", "a product without a name", "names"));
    }
    out.push_back(*one.AsString());
  }
  return out;
}

Result<Limits> ReadLimits(const JsonReader& lic) {
  Limits limits;
  PTG_TRY(const auto from, lic.MaybeObject("limits"));
  if (!from) return limits;
  PTG_TRY(const auto monthly, from->MaybeInt("monthly"));
  PTG_TRY(const auto rpm, from->MaybeInt("rpm"));
  limits.monthly = std::max<int64_t>(0, monthly.value_or(0));
  limits.rpm = std::max<int64_t>(0, rpm.value_or(0));
  return limits;
}

}  // namespace

Json ToJson(const Claims& claims) {
  Json lic = Json::Object();
  if (!claims.products.empty()) {
    Json products = Json::Array();
    for (const std::string& product : claims.products) products.Push(product);
    lic.Set("product", std::move(products));
  }
  lic.Set("plan", claims.plan);
  if (!claims.tier.empty()) lic.Set("tier", claims.tier);
  if (claims.limits != Limits{}) {
    Json limits = Json::Object();
    if (claims.limits.monthly > 0) limits.Set("monthly", claims.limits.monthly);
    if (claims.limits.rpm > 0) limits.Set("rpm", claims.limits.rpm);
    lic.Set("limits", std::move(limits));
  }
  if (!claims.subscription.empty()) lic.Set("sub", claims.subscription);
  lic.Set("gen", claims.generation);
  return Json::Object({{"iss", claims.issuer},
                       {"aud", Json::Array({Json(kAudience)})},
                       {"sub", claims.customer},
                       {"jti", claims.id},
                       {"iat", claims.issued.seconds()},
                       {"nbf", claims.not_before.seconds()},
                       {"exp", claims.expires.seconds()},
                       {"lic", std::move(lic)}});
}

Result<Claims> ReadClaims(const Json& json) {
  PTG_TRY(const JsonReader all, JsonReader::Of(json));
  if (!IsForUs(all.MaybeAny("aud"))) {
    return Fail(all.Bad("aud", "a token for somebody else", "\"gw\""));
  }
  Claims claims;
  PTG_TRY(claims.issuer, Name(all, "iss"));
  PTG_TRY(claims.customer, Name(all, "sub"));
  PTG_TRY(claims.id, Name(all, "jti"));
  PTG_TRY(claims.issued, Time(all, "iat"));
  PTG_TRY(claims.not_before, Time(all, "nbf"));
  PTG_TRY(claims.expires, Time(all, "exp"));
  PTG_TRY(const JsonReader lic, all.Object("lic"));
  PTG_TRY(claims.plan, Name(lic, "plan"));
  PTG_TRY(claims.products, Products(lic));
  PTG_TRY(claims.limits, ReadLimits(lic));
  PTG_TRY(const auto tier, lic.MaybeString("tier"));
  PTG_TRY(const auto subscription, lic.MaybeString("sub"));
  PTG_TRY(const auto generation, lic.MaybeInt("gen"));
  claims.tier = tier.value_or("");
  claims.subscription = subscription.value_or("");
  claims.generation = generation.value_or(1);
  return claims;
}

}  // namespace pontage::license
