#include "license/claims.h"

#include <utility>

#include "codec/base64url.h"
#include "codec/text.h"

namespace pontage::license {

using codec::Json;

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

bool IsCustomer(std::string_view name) {
  return name.size() <= kMostCustomer && codec::IsLine(name) && !codec::Trimmed(name).empty();
}

std::string IdNamedBy(std::string_view token) {
  const size_t first = token.find('.');
  const size_t last = token.rfind('.');
  if (token.size() > kMaxToken || first == token.npos || first == last) return "";
  const auto text = codec::DecodeBase64Url(token.substr(first + 1, last - first - 1));
  if (!text) return "";
  const Result<Claims> claims = ReadClaims(*text);
  return claims ? claims->id : "";
}

}  // namespace pontage::license
