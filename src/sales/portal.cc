#include "sales/portal.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"

namespace pontage::sales {

std::string PortalReturnUrl(const Shop& shop) { return shop.public_url + "/billing"; }

const stripe::PortalConfiguration* FindOurPortal(
    std::span<const stripe::PortalConfiguration> configurations, const Shop& shop) {
  const std::string back = PortalReturnUrl(shop);
  const auto ours =
      std::ranges::find_if(configurations, [&back](const stripe::PortalConfiguration& one) {
        return one.active && one.default_return_url == back &&
               stripe::InMetadata(one.metadata, kMadeByKey) == kMadeBy;
      });
  return ours == configurations.end() ? nullptr : &*ours;
}

std::optional<stripe::PortalConfigurationId> Portal::Known() {
  const std::lock_guard lock(mutex_);
  if (!kept_ || clock_.Steady() >= kept_->until) return std::nullopt;
  return kept_->id;
}

Task<stripe::PortalConfigurationId> Portal::LookUp(Deadline by) {
  const Result<std::vector<stripe::PortalConfiguration>> all =
      co_await stripe_.ListPortalConfigurations(by);
  if (!all && all.error().code() != Code::kForbidden) co_return Fail(all.error());
  stripe::PortalConfigurationId id;
  if (!all) {
    Log(LogLevel::kWarn, "sales.kept_from_us",
        {{"what", "portal configurations"}, {"detail", all.error().detail()}});
  } else if (const auto* ours = FindOurPortal(*all, shop_)) {
    id = ours->id;
  }
  const std::lock_guard lock(mutex_);
  kept_ = Kept{.id = id, .until = clock_.Steady() + kKept};
  co_return id;
}

Task<std::string> Portal::Open(stripe::CustomerId customer, Deadline by) {
  std::optional<stripe::PortalConfigurationId> known = Known();
  while (true) {
    const bool fresh = !known;
    if (fresh) {
      PTG_CO_TRY(known, co_await LookUp(by));
    }
    PortalRequest request;
    request.customer = customer;
    request.return_url = PortalReturnUrl(shop_);
    request.configuration = *known;
    const std::string key = "portal:" + NewIdText("req", clock_, rng_);
    const Result<stripe::PortalSession> session =
        co_await stripe_.CreatePortalSession(std::move(request), key, by);
    if (session) co_return session->url;
    // One that somebody has put out of use since it was found.
    const Code code = session.error().code();
    const bool refused = code == Code::kBadRequest || code == Code::kNotFound;
    if (fresh || !refused) co_return Fail(session.error());
    known.reset();
  }
}

}  // namespace pontage::sales
