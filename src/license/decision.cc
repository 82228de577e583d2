#include "license/decision.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/try.h"

namespace pontage::license {
namespace {

constexpr std::array<std::pair<Status, std::string_view>, 5> kWords = {{
    {Status::kActive, "active"},
    {Status::kPastDue, "past_due"},
    {Status::kSuspended, "suspended"},
    {Status::kRevoked, "revoked"},
    {Status::kExpired, "expired"},
}};

// Of several reissues in a row only the text before the newest is let on.
bool Overlaps(const Claims& claims, const Entitlement& word, UnixMs now) {
  return claims.generation + 1 == word.generation && now < word.old_until;
}

Result<> Stands(const Claims& claims, const std::optional<Entitlement>& word, UnixMs now) {
  if (word && word->status == Status::kRevoked) {
    return Fail(Code::kLicenseRevoked, "the license was revoked");
  }
  if (word && claims.generation < word->generation && !Overlaps(claims, *word, now)) {
    return Fail(Code::kLicenseRevoked, "the license was replaced by a newer one");
  }
  if (word && word->status == Status::kSuspended) {
    return Fail(Code::kLicenseSuspended, "the license is suspended until its account is settled");
  }
  const UnixMs end = EndOf(claims, word);
  if (now >= end || (word && word->status == Status::kExpired)) {
    return Fail(Code::kLicenseExpired, "the license ran out at " + end.Rfc3339());
  }
  if (now + kLeeway < claims.not_before) {
    return Fail(Code::kLicenseInvalid,
                "the license is good from " + claims.not_before.Rfc3339() + " on");
  }
  return {};
}

}  // namespace

std::string_view ToString(Status status) { return kWords[static_cast<size_t>(status)].second; }

std::optional<Status> ParseStatus(std::string_view text) {
  for (const auto& [status, word] : kWords) {
    if (word == text) return status;
  }
  return std::nullopt;
}

UnixMs EndOf(const Claims& claims, const std::optional<Entitlement>& word) {
  // Of a text that is newer than what the issuer was heard to say the text knows better.
  return word && word->generation >= claims.generation ? word->expires : claims.expires;
}

InForce TermsOf(const Claims& claims, const std::optional<Entitlement>& word, const Plans* terms) {
  InForce out{.plan = claims.plan, .products = &claims.products, .limits = &claims.limits};
  if (!word || word->plan.empty() || word->plan == claims.plan) return out;
  out.plan = word->plan;
  const auto found = terms == nullptr ? Plans::const_iterator() : terms->find(word->plan);
  if (terms == nullptr || found == terms->end()) return out;
  out.products = &found->second.products;
  out.limits = &found->second.limits;
  return out;
}

Result<> Decide(const Claims& claims, const std::optional<Entitlement>& word, const Demand& demand,
                UnixMs now) {
  PTG_RUN(Stands(claims, word, now));
  const InForce terms = TermsOf(claims, word, demand.terms);
  const std::vector<std::string>& products = *terms.products;
  if (!products.empty() && std::ranges::find(products, demand.product) == products.end()) {
    return Fail(Code::kWrongProduct, "the license opens " + products.front() +
                                         (products.size() > 1 ? " and others" : "") +
                                         ", which this is not");
  }
  // A license for the product needs no route to name its plan; one without a product does.
  if (demand.plans.empty() && !products.empty()) return {};
  if (std::ranges::find(demand.plans, terms.plan) == demand.plans.end()) {
    return Fail(Code::kWrongPlan, "the plan " + std::string(terms.plan) + " does not open this");
  }
  return {};
}

}  // namespace pontage::license
