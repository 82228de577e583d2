#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "license/license_store.h"
#include "license/sales_books.h"
#include "sales/access.h"
#include "sales/shop.h"

// From what Stripe says of one purchase to licenses, mails and lines of the feed, in one
// transaction. Whatever is asked again with the same facts changes nothing.
namespace pontage::sales {

// One thing that a purchase sells: an item of a subscription, or what was bought once.
struct SoldItem {
  std::string origin;  // of its license: "sub:sub_1:si_1", "session:cs_1"
  std::string plan;    // empty: of none of ours
  std::string price;   // what it has at Stripe now; while a change of it is owed, what was paid for
  AccessFacts facts;
};

// What Stripe says of a purchase now.
struct PurchaseFacts {
  std::string id;  // "sub_…" or "cs_…"
  std::string customer;
  std::string email;
  std::string subscription;  // empty: bought once
  std::string status;        // Stripe's word
  UnixMs period_end;
  UnixMs cancel_at;
  std::vector<SoldItem> items;
  std::vector<std::string> payments;  // that paid for it
  std::string invoice_url;            // the latest's page and file
  std::string invoice_pdf;
  std::vector<stripe::Refund> refunds;        // of the payments
  std::vector<license::InvoiceRow> invoices;  // for people
};

// A renewal that failed, for the mail: out of the event that told.
struct FailedInvoice {
  std::string id;
  std::string amount;
  std::string pay_url;
};

// For people. `kind` is a word of metrics: "no_plan" (a price that no plan sells), "not_understood"
// (a word of Stripe's that we do not know, or a license that nothing pays for), "duplicate" (a
// buyer pays for two subscriptions), "trial" (one is on trial who had a license of the plan
// before).
struct Alarm {
  std::string kind;
  std::string text;
};

struct Fulfilled {
  std::vector<license::License> licenses;  // all of the purchase, as they are now
  std::vector<Alarm> alarms;
  std::string invoice_url;  // as in the facts
  std::string invoice_pdf;
};

// What goes on for what. Indices into both lists.
struct Followed {
  struct Move {
    size_t license;
    size_t item;
    friend bool operator==(const Move&, const Move&) = default;
  };
  std::vector<Move> moved;      // an item that has none takes the license of one that is gone
  std::vector<size_t> removed;  // licenses whose item is gone, and that no other item takes
  friend bool operator==(const Followed&, const Followed&) = default;
};
// Where somebody exchanges an item of a subscription for another (Stripe's dashboard does, for
// another product), its license goes on with the new one: one of the same plan first, then one that
// sells any plan of ours. Only licenses of items are looked at ("sub:…"). Pure.
Followed FollowItems(std::span<const license::License> licenses, std::span<const SoldItem> items);

// Writes licenses signed by `sign` (claims to token) as the facts say. A license is made once for
// each origin, when it first opens something; its mail is enqueued in the same transaction.
class Fulfilment {
 public:
  using Sign = std::function<std::string(const license::Claims&)>;
  Fulfilment(const Shop& shop, Sign sign, const Clock& clock, Rng& rng)
      : shop_(shop), sign_(std::move(sign)), clock_(clock), rng_(rng) {}

  Result<Fulfilled> Apply(db::Tx& tx, const PurchaseFacts& facts,
                          const std::optional<FailedInvoice>& failed) const;

  // The license as its customer has it.
  std::string TextOf(const license::License& license) const;
  // The mail with it. `occasion` as in mail::LicenseLetter. kBadRequest for an address that nobody
  // can write to; nothing is enqueued then.
  Result<bool> EnqueueLicense(db::Tx& tx, const license::License& license,
                              std::string_view invoice_url, std::string_view invoice_pdf,
                              std::string_view occasion) const;

 private:
  // Licenses of items that are gone go on with those in their place, or end.
  Result<> Follow(db::Tx& tx, const PurchaseFacts& facts, Fulfilled& done) const;
  // `just_ended`: since the last look its subscription has ended, or was told to end.
  Result<std::optional<license::License>> ApplyItem(db::Tx& tx, const PurchaseFacts& facts,
                                                    const SoldItem& item, bool just_ended,
                                                    Fulfilled& done) const;
  Result<license::License> Issue(db::Tx& tx, const PurchaseFacts& facts, const SoldItem& item,
                                 const Access& access) const;
  Result<> TellRenewed(db::Tx& tx, const license::License& license,
                       const PurchaseFacts& facts) const;
  // A line of the audit where something that matters of it has changed.
  Result<> TellAudit(db::Tx& tx, const license::License* before,
                     const license::License& after) const;
  Result<> TellFailed(db::Tx& tx, const license::License& license,
                      const FailedInvoice& failed) const;
  Result<> TellEnded(db::Tx& tx, const license::License& license, const PurchaseFacts& facts) const;

  const Shop& shop_;
  Sign sign_;
  const Clock& clock_;
  Rng& rng_;
};

// The books of purchases.
struct Purchase {
  std::string id;
  std::string customer;
  std::string email;
  std::string plan;
  std::string status;
  UnixMs paid_through;
  UnixMs period_end;
  UnixMs cancel_at;  // 0: it goes on
  std::string invoice_url;
  std::string invoice_pdf;
  std::string alarm;
  UnixMs fetched;
};
// The lease of a purchase for `owner`: false while somebody else has it.
Result<bool> LeasePurchase(db::Tx& tx, const std::string& id, const std::string& owner, UnixMs now,
                           Millis lease);
// The lease lasts until then; false when somebody else has had it since.
Result<bool> KeepPurchase(db::Tx& tx, const std::string& id, const std::string& owner,
                          UnixMs until);
Result<> ReleasePurchase(db::Tx& tx, const std::string& id, const std::string& owner);
Result<std::optional<Purchase>> FindPurchase(db::Tx& tx, const std::string& id);
// What Apply made of it, where Stripe was asked no earlier than `since`; else without licenses.
Result<Fulfilled> FindFulfilled(db::Tx& tx, const std::string& id, UnixMs since);
// The purchase that a payment was for; empty: not known here.
Result<std::string> PurchaseOfPayment(db::Tx& tx, const std::string& payment_intent);
// A dispute about a payment was told of: what became of it is asked each time from now on,
// whichever payment is the latest by then.
Result<> NoteDispute(db::Tx& tx, const std::string& payment_intent, const std::string& purchase);
Result<std::vector<std::string>> DisputedPayments(db::Tx& tx, const std::string& purchase);
Result<std::vector<std::string>> PurchasesOfCustomer(db::Tx& tx, const std::string& customer);

}  // namespace pontage::sales
