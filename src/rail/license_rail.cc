#include "rail/license_rail.h"

#include <algorithm>

#include "base/try.h"

namespace pontage::rail {
namespace {

using codec::Json;

constexpr std::string_view kBearer = "bearer ";

Error TwoReadings() {
  return Error(Code::kLicenseInvalid, "the request has two credentials where one is read")
      .Want("one license, in Authorization: Bearer or in X-API-Key");
}

// RFC 9110 §11.1: the scheme has no case.
std::optional<std::string_view> BearerOf(std::string_view value) {
  if (value.size() <= kBearer.size() ||
      !net::EqualsNoCase(value.substr(0, kBearer.size()), kBearer)) {
    return std::nullopt;
  }
  value.remove_prefix(kBearer.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  return value;
}

bool OpensRoute(const PlanOffer& plan, const catalog::Route& route) {
  const bool named = std::ranges::find(route.plans, plan.name) != route.plans.end();
  if (plan.products.empty()) return named;
  const bool product = std::ranges::find(plan.products, route.product) != plan.products.end();
  return product && (named || route.plans.empty());
}

Json OffersOf(const catalog::Route& route, const std::vector<PlanOffer>& plans) {
  Json list;
  for (const PlanOffer& plan : plans) {
    if (!OpensRoute(plan, route)) continue;
    Json one = Json::Object({{"plan", plan.name}});
    if (!plan.price.empty()) one.Set("price", plan.price);
    if (!plan.products.empty()) {
      Json products = Json::Array();
      for (const std::string& product : plan.products) products.Push(product);
      one.Set("product", std::move(products));
    }
    if (!plan.checkout.empty()) one.Set("checkout", plan.checkout);
    list.Push(std::move(one));
  }
  return list;
}

}  // namespace

LicenseRail::LicenseRail(std::shared_ptr<const license::Verifier> verifier,
                         const std::vector<catalog::Route>& routes,
                         const std::vector<PlanOffer>& plans, license::Plans terms,
                         license::StalePolicy stale)
    : verifier_(std::move(verifier)), terms_(std::move(terms)), stale_(stale) {
  offers_.reserve(routes.size());
  for (const catalog::Route& route : routes) offers_.push_back(OffersOf(route, plans));
}

Result<std::optional<std::string_view>> LicenseRail::Find(const net::Headers& headers) {
  std::optional<std::string_view> authorization;
  std::optional<std::string_view> api_key;
  for (size_t i = 0; i < headers.size(); ++i) {
    const net::Headers::Field field = headers.at(i);
    const bool first = net::EqualsNoCase(field.name, "Authorization");
    if (!first && !net::EqualsNoCase(field.name, "X-API-Key")) continue;
    std::optional<std::string_view>& kept = first ? authorization : api_key;
    if (kept) return Fail(TwoReadings());
    kept = field.value;
  }
  // Another scheme is none of ours.
  const std::optional<std::string_view> bearer =
      authorization ? BearerOf(*authorization) : std::nullopt;
  if (bearer && api_key && *bearer != *api_key) return Fail(TwoReadings());
  return bearer ? bearer : api_key;
}

void LicenseRail::Offer(size_t route, deal::Challenge& challenge) const {
  if (route < offers_.size() && !offers_[route].IsNull()) {
    challenge.members.Set("plans", offers_[route]);
  }
}

}  // namespace pontage::rail
