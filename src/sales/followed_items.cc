// What becomes of a license whose item has left its subscription.
#include <algorithm>
#include <array>
#include <utility>

#include "base/try.h"
#include "sales/purchase.h"

namespace pontage::sales {
namespace {

using license::License;

// More than a subscription's items: those that have ended stay in the books.
constexpr size_t kMostLicenses = 100;

bool IsOfAnItem(const License& license) { return license.origin.starts_with("sub:"); }

}  // namespace

Followed FollowItems(std::span<const License> licenses, std::span<const SoldItem> items) {
  Followed out;
  std::vector<size_t> left;
  // What still opens something goes on before what has ended.
  for (const bool opens : {true, false}) {
    for (size_t i = 0; i < licenses.size(); ++i) {
      const License& one = licenses[i];
      if (!IsOfAnItem(one) || license::Opens(one.status) != opens) continue;
      if (std::ranges::find(items, one.origin, &SoldItem::origin) == items.end()) left.push_back(i);
    }
  }
  std::vector<size_t> fresh;
  for (size_t i = 0; i < items.size(); ++i) {
    if (std::ranges::find(licenses, items[i].origin, &License::origin) == licenses.end()) {
      fresh.push_back(i);
    }
  }
  using Fits = bool (*)(const License&, const SoldItem&);
  constexpr std::array<Fits, 3> kInTurn = {
      [](const License& l, const SoldItem& item) { return l.plan == item.plan; },
      [](const License&, const SoldItem& item) { return !item.plan.empty(); },
      [](const License&, const SoldItem&) { return true; }};
  for (const Fits fits : kInTurn) {
    std::erase_if(fresh, [&](size_t item) {
      const auto at =
          std::ranges::find_if(left, [&](size_t one) { return fits(licenses[one], items[item]); });
      if (at == left.end()) return false;
      out.moved.push_back({*at, item});
      left.erase(at);
      return true;
    });
  }
  out.removed = std::move(left);
  return out;
}

Result<> Fulfilment::Follow(db::Tx& tx, const PurchaseFacts& facts, Fulfilled& done) const {
  PTG_TRY(const std::vector<License> licenses,
          license::ListLicensesOf(tx, facts.subscription, kMostLicenses));
  const Followed followed = FollowItems(licenses, facts.items);
  for (const Followed::Move& move : followed.moved) {
    PTG_RUN(license::MoveLicense(tx, licenses[move.license].id, facts.items[move.item].origin));
  }
  for (const size_t i : followed.removed) {
    const License& gone = licenses[i];
    // What has ended has nothing more to lose, and the operator's word stands while it lasts.
    const bool ended_before =
        gone.status == license::Status::kExpired || gone.status == license::Status::kRevoked;
    if (ended_before || gone.extended > clock_.Now()) continue;
    SoldItem ended{.origin = gone.origin, .plan = gone.plan, .price = gone.price, .facts = {}};
    // As the others are: refunded, disputed. But as of a subscription that is over.
    ended.facts = facts.items.front().facts;
    ended.facts.status = stripe::SubscriptionStatus::kCanceled;
    ended.facts.paid_through = gone.paid_through;
    ended.facts.ended_at = clock_.Now();
    PTG_RUN(ApplyItem(tx, facts, ended, true, done));
  }
  return {};
}

}  // namespace pontage::sales
