#pragma once

#include <optional>
#include <span>

#include "base/time.h"
#include "license/decision.h"
#include "sales/projection.h"
#include "wire/stripe/objects.h"

// What a buyer's license is worth by what is known of his payments. Pure.
namespace pontage::sales {

struct AccessFacts {
  // None: bought once, for a term; it stands like an active subscription that nobody renews.
  std::optional<stripe::SubscriptionStatus> status;
  std::optional<UnixMs> paid_through;  // none: nothing was paid yet
  std::optional<UnixMs> cancel_at;     // when the subscription will end, if somebody said so
  std::optional<UnixMs> ended_at;
  Millis grace{0};
  bool refunded = false;                // the latest paid invoice, or the one-off, wholly
  bool disputed = false;                // a payment is in dispute, or was lost in one
  bool refunds_unread = false;          // what was known of refunds last stands
  bool disputes_unread = false;         // and of disputes
  bool operator_revoked = false;        // which nothing at Stripe undoes
  std::optional<UnixMs> extended;       // until when it stands by the operator's word
  UnixMs extended_end;                  // its own end when he said so; 0: not known
  std::optional<license::Status> last;  // what was decided before; none: no license was issued
};

struct Access {
  // None: pending. Nothing was paid yet, and no license is issued.
  std::optional<license::Status> status;
  // When it ends: paid_through and the grace, or earlier where the subscription was told to end
  // earlier. Nothing happens at Stripe at that time that would say so: who keeps the license
  // decides again then. None: nothing was paid.
  std::optional<UnixMs> expires_at;
  // Stripe uses a word that we do not know, or nothing pays for a license that was issued; what was
  // decided before was kept.
  bool alarm = false;

  // Whether it opens anything now: a license is issued only once it does.
  bool opens() const { return status && license::Opens(*status); }
};

// The first that applies:
//   revoked by the operator, or refunded                 revoked
//   extended, and what follows would be expired          active, until the extension is over
//   canceled, incomplete_expired                         expired, from ended_at on
//   in dispute, or lost in one                           suspended
//   unpaid, paused                                       suspended
//   incomplete                                           pending
//   a word that we do not know                           as before, and an alarm
//   nothing paid yet                                     pending
//   paid_through and grace are over, or cancel_at is     expired
//   past_due                                             past_due
//   trialing, active, bought once                        active
// An extension also moves the end of what is open; it opens nothing that is revoked or suspended.
// It is of days behind the end that was paid for: where that comes earlier after all (canceled now,
// a year exchanged for a month), so does the extension's.
// Both flags of a pause say different things: the status `paused` is a trial that ended without a
// card; pause_collection leaves the status, and changes nothing here: what was paid for is paid.
// A question that Stripe did not answer, or with 404 or 5xx, is no fact: nothing is decided then.
Access DecideAccess(const AccessFacts& facts, UnixMs now);

// Of one item of a subscription; the flags that are not Stripe's status are the caller's.
AccessFacts FactsOf(const Projection& projection, const ProjectedItem& item, Millis grace);

// Of a one-off purchase: its term begins when it was paid.
AccessFacts FactsOfTerm(UnixMs paid_at, int64_t days, Millis grace);

// Whether `refunds` together give back all of `paid`. Those that failed, were canceled or wait for
// the buyer give back nothing; one that is pending counts, until it fails.
bool IsWhollyRefunded(stripe::MinorUnits paid, std::span<const stripe::Refund> refunds);

// Whether a dispute of this status keeps a license shut: until it is won, or closed without the
// bank taking the money. A word that we do not know keeps it shut.
bool KeepsShut(stripe::DisputeStatus status);

}  // namespace pontage::sales
