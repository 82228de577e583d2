// The nightly walk: everything, both ways.
#include <algorithm>
#include <functional>

#include "base/try.h"
#include "sales/access.h"
#include "sales/event_reader.h"
#include "sales/reconcile.h"
#include "sales/setup.h"

namespace pontage::sales {
namespace {

constexpr Millis kDay{86'400'000};
// Disputes come months after the payment.
constexpr Millis kMoneyBack = kDay * 120;
constexpr Millis kKeepSales = kDay * 30;
constexpr size_t kPage = 200;
constexpr std::string_view kSession = "session:";

}  // namespace

Task<> Reconciler::RunWalk(Run& run) {
  PTG_CO_TRY(run.report.prices, co_await ComparePrices(parts_.stripe, parts_.shop, StripeBy()));
  mispriced_.Set(static_cast<int64_t>(run.report.prices.size()));
  std::set<std::string> seen;
  PTG_CO_RUN(co_await WalkSubscriptions(run, seen));
  PTG_CO_RUN(co_await WalkOurs(run, seen));
  PTG_CO_RUN(co_await WalkSales(run));
  PTG_CO_RUN(co_await WalkRefunds(run));
  PTG_CO_RUN(co_await WalkDisputes(run));
  PTG_CO_RUN(co_await WalkMails(run));
  co_return {};
}

Task<std::vector<std::string>> Reconciler::Differing(
    const std::vector<stripe::Subscription>& page) {
  const UnixMs now = parts_.clock.Now();
  const PlanMap prices = parts_.shop.Prices();
  const auto read = [&](db::Tx& tx) -> Result<std::vector<std::string>> {
    std::vector<std::string> differing;
    for (const stripe::Subscription& one : page) {
      PTG_TRY(const Picture ours, PictureOf(tx, one.id.str(), now));
      bool same = ours.known && ours.status == one.status.text &&
                  ours.period_end == one.period_end && ours.customer == one.customer.str() &&
                  ours.cancel_at == one.cancel_at.value_or(UnixMs());
      const bool runs = one.status.value == stripe::SubscriptionStatus::kActive ||
                        one.status.value == stripe::SubscriptionStatus::kTrialing ||
                        one.status.value == stripe::SubscriptionStatus::kPastDue;
      for (const stripe::SubscriptionItem& item : one.items) {
        const std::string* plan = prices.Find(item.price);
        const Picture::OfLicense* license = ours.Find("sub:" + one.id.str() + ":" + item.id.str());
        const bool owed = runs && plan != nullptr && ours.paid_through > UnixMs();
        same = same && (!owed || license != nullptr) &&
               (license == nullptr || plan == nullptr || license->plan == *plan);
      }
      // Nothing of ours may be open for an item that is gone.
      for (const Picture::OfLicense& license : ours.licenses) {
        const bool there = std::ranges::any_of(one.items, [&](const auto& item) {
          return license.origin == "sub:" + one.id.str() + ":" + item.id.str();
        });
        same = same &&
               (there || !license.origin.starts_with("sub:") || !license::Opens(license.status));
      }
      if (!same) differing.push_back(one.id.str());
    }
    return differing;
  };
  co_return co_await parts_.database.Read(read, StoreBy());
}

Task<> Reconciler::WalkSubscriptions(Run& run, std::set<std::string>& seen) {
  StripeCursor cursor;
  while (true) {
    const stripe::CustomerId everybody;
    PTG_CO_TRY(const StripePage<stripe::Subscription> page,
               co_await parts_.stripe.ListSubscriptions(everybody, cursor, StripeBy()));
    run.report.looked_at += static_cast<int64_t>(page.items.size());
    for (const stripe::Subscription& one : page.items) seen.insert(one.id.str());
    for (size_t i = 0; i < page.unreadable; ++i) {
      run.report.Add({.kind = DriftClass::kUnreadable,
                      .what = page.newest + "…",
                      .detail = "a subscription of Stripe's list; stripe.unreadable names it",
                      .healed = false});
    }
    PTG_CO_TRY(const std::vector<std::string> differing, co_await Differing(page.items));
    for (const std::string& id : differing) PTG_CO_RUN(co_await LookAgain(run, id));
    if (!page.has_more || page.oldest.empty()) co_return {};
    cursor.after = page.oldest;
  }
}

Task<> Reconciler::WalkOurs(Run& run, const std::set<std::string>& seen) {
  const UnixMs began = run.report.began;
  const UnixMs now = parts_.clock.Now();
  using Reader = std::function<Result<std::vector<std::string>>(db::Tx&, const std::string&)>;
  const std::vector<Reader> readers = {
      [began](db::Tx& tx, const std::string& after) {
        return OpenSubscriptions(tx, after, began, kPage);
      },
      [now](db::Tx& tx, const std::string& after) {
        return TermsWithoutLicense(tx, after, now, kPage);
      },
      [](db::Tx& tx, const std::string& after) { return UnknownOrigins(tx, after, kPage); }};
  for (const Reader& reader : readers) {
    std::string after;
    while (true) {
      const auto read = [&reader, after](db::Tx& tx) { return reader(tx, after); };
      PTG_CO_TRY(const std::vector<std::string> ids,
                 co_await parts_.database.Read(read, StoreBy()));
      if (ids.empty()) break;
      for (const std::string& id : ids) {
        if (!seen.contains(id)) PTG_CO_RUN(co_await LookAgain(run, id));
      }
      after = ids.back();
    }
  }
  co_return {};
}

// What was bought once, and whose events nobody has.
Task<> Reconciler::WalkSales(Run& run) {
  StripeCursor cursor;
  const UnixMs since = parts_.clock.Now() - kKeepSales;
  while (true) {
    PTG_CO_TRY(const StripePage<stripe::CheckoutSession> page,
               co_await parts_.stripe.CheckoutsSince(since, cursor, StripeBy()));
    run.report.looked_at += static_cast<int64_t>(page.items.size());
    for (const stripe::CheckoutSession& one : page.items) {
      const bool once = one.mode.value == stripe::SessionMode::kPayment;
      if (!once || one.payment_status.value != stripe::PaymentStatus::kPaid) continue;
      PTG_CO_TRY(const Picture ours, co_await PictureNow(one.id.str()));
      if (!ours.known || ours.status != one.payment_status.text) {
        PTG_CO_RUN(co_await LookAgain(run, one.id.str()));
      }
    }
    if (!page.has_more || page.oldest.empty()) co_return {};
    cursor.after = page.oldest;
  }
}

Task<std::string> Reconciler::PurchaseOf(std::string payment) {
  const auto read = [payment](db::Tx& tx) { return PurchaseOfPayment(tx, payment); };
  co_return co_await parts_.database.Read(read, StoreBy());
}

// A part of a payment changes nothing and is looked at each time.
Task<> Reconciler::WalkRefunds(Run& run) {
  StripeCursor cursor;
  const UnixMs since = parts_.clock.Now() - kMoneyBack;
  std::set<std::string> done;
  while (true) {
    PTG_CO_TRY(const StripePage<stripe::Refund> page,
               co_await parts_.stripe.RefundsSince(since, cursor, StripeBy()));
    run.report.looked_at += static_cast<int64_t>(page.items.size());
    for (const stripe::Refund& one : page.items) {
      PTG_CO_TRY(const std::string purchase, co_await PurchaseOf(one.payment_intent.str()));
      if (purchase.empty() || !done.insert(purchase).second) continue;
      PTG_CO_TRY(const Picture ours, co_await PictureNow(purchase));
      const bool shut = std::ranges::all_of(ours.licenses, [](const Picture::OfLicense& license) {
        return license.status == license::Status::kRevoked;
      });
      if (!shut) PTG_CO_RUN(co_await LookAgain(run, purchase));
    }
    if (!page.has_more || page.oldest.empty()) co_return {};
    cursor.after = page.oldest;
  }
}

Task<> Reconciler::WalkDisputes(Run& run) {
  StripeCursor cursor;
  const UnixMs since = parts_.clock.Now() - kMoneyBack;
  while (true) {
    PTG_CO_TRY(const StripePage<stripe::Dispute> page,
               co_await parts_.stripe.DisputesSince(since, cursor, StripeBy()));
    run.report.looked_at += static_cast<int64_t>(page.items.size());
    for (const stripe::Dispute& one : page.items) {
      const std::string payment = one.payment_intent.str();
      PTG_CO_TRY(std::string purchase, co_await PurchaseOf(payment));
      // Books that are younger than the payment know the latest one alone.
      if (purchase.empty()) {
        PTG_CO_TRY(purchase,
                   co_await SubscriptionOfPayment(parts_.stripe, one.payment_intent, StripeBy()));
      }
      if (purchase.empty()) continue;
      PTG_CO_TRY(const Picture ours, co_await PictureNow(purchase));
      const bool keeps_shut = KeepsShut(one.status.value);
      const bool differs =
          std::ranges::any_of(ours.licenses, [keeps_shut](const Picture::OfLicense& license) {
            return keeps_shut ? license::Opens(license.status)
                              : license.status == license::Status::kSuspended;
          });
      if (!differs) continue;
      const auto note = [payment, purchase](db::Tx& tx) {
        return NoteDispute(tx, payment, purchase);
      };
      PTG_CO_RUN(co_await parts_.database.Write(note, StoreBy()));
      PTG_CO_RUN(co_await LookAgain(run, purchase));
    }
    if (!page.has_more || page.oldest.empty()) co_return {};
    cursor.after = page.oldest;
  }
}

Task<> Reconciler::WalkMails(Run& run) {
  std::string after;
  while (true) {
    const UnixMs now = parts_.clock.Now();
    const auto read = [after, now](db::Tx& tx) { return UnmailedLicenses(tx, after, now, kPage); };
    PTG_CO_TRY(const std::vector<license::License> all,
               co_await parts_.database.Read(read, StoreBy()));
    if (all.empty()) co_return {};
    for (const license::License& one : all) {
      // As it would have been written at first: a provider that was told of it before knows it
      // again.
      const auto write = [this, &one](db::Tx& tx) -> Result<bool> {
        const bool once = one.origin.starts_with(kSession);
        PTG_TRY(const std::optional<Purchase> sale,
                FindPurchase(tx, once ? one.origin.substr(kSession.size()) : one.subscription));
        const Purchase of = sale.value_or(Purchase());
        return parts_.fulfilment.EnqueueLicense(tx, one, of.invoice_url, of.invoice_pdf, "");
      };
      const Result<bool> queued = co_await parts_.database.Write(write, StoreBy());
      // An address that nobody can write to.
      if (!queued && queued.error().code() == Code::kBadRequest) continue;
      if (!queued) co_return Fail(queued.error());
      if (!*queued) continue;
      run.report.Add({.kind = DriftClass::kLicenseUnmailed,
                      .what = one.id,
                      .detail = "plan " + one.plan,
                      .healed = true});
    }
    run.report.looked_at += static_cast<int64_t>(all.size());
    after = all.back().id;
  }
}

}  // namespace pontage::sales
