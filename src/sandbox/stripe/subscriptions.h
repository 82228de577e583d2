#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/calendar.h"
#include "sandbox/stripe/payments.h"

namespace pontage::sandbox::stripe {

struct ItemTerms {
  const codec::Json* price = nullptr;  // with a period
  int64_t quantity = 1;
};
struct SubscriptionTerms {
  std::string customer;
  std::string payment_method;  // empty: none was collected
  std::vector<ItemTerms> items;
  codec::Json metadata = codec::Json::Object();
  std::string description;
  std::optional<UnixMs> trial_end;
  std::string when_trial_ends_without_card = "create_invoice";  // or "cancel", "pause"
  bool automatic_tax = false;
};
// A subscription with its first invoice, opened: incomplete until that is collected, or trialing
// with an invoice of nothing. customer.subscription.created and what the invoice brings.
codec::Json& AddSubscription(Account& account, const SubscriptionTerms& terms);

// A new item with that price, for the current period.
codec::Json NewItem(Account& account, const std::string& subscription, const ItemTerms& terms,
                    int64_t period_start, int64_t period_end);
// The lines of one period: each item in full, with what waited for the next invoice before them.
std::vector<codec::Json> PeriodLines(Account& account, const codec::Json& subscription);

// What a collected invoice, or an attempt that failed, makes of its subscription. `last`: no
// further attempt will be made.
void AfterPayment(Account& account, const codec::Json& invoice);
void AfterFailure(Account& account, const codec::Json& invoice, bool last);
// The same of an invoice that is void or was given up: its subscription owes nothing for it.
void AfterWriteOff(Account& account, const codec::Json& invoice);

// Ends it now. `reason` as cancellation_details has it.
void Cancel(Account& account, codec::Json& subscription, const std::string& reason);
// Marks it to end with its period, or takes that back. The caller emits the update.
void CancelAtPeriodEnd(Account& account, codec::Json& subscription, bool cancel);
// A pause of the whole subscription, not of its collection; and its end. `why` as
// status_details.paused has it: "pause_requested".
void Pause(Account& account, codec::Json& subscription, const std::string& why);
void Resume(Account& account, codec::Json& subscription);
// With customer.subscription.updated.
void SetStatus(Account& account, codec::Json& subscription, const std::string& status);

// The current period, in seconds: the latest over the items.
int64_t PeriodStart(const codec::Json& subscription);
int64_t PeriodEnd(const codec::Json& subscription);
void SetPeriod(codec::Json& subscription, int64_t start, int64_t end);
Interval IntervalOf(const codec::Json& price);
// Of its first item.
Interval BillingIntervalOf(const codec::Json& subscription);
// Whether anything more can become of it.
bool IsOver(const codec::Json& subscription);
// The payment method that its invoices are collected with, its own or the customer's; "" for none.
std::string MethodOf(const Account& account, const codec::Json& subscription);
// Whether there is a card to collect with.
bool HasCard(const Account& account, const codec::Json& subscription);

// Puts its next turn into the agenda, and takes it.
void PlanSubscription(Account& account, const codec::Json& subscription);
void RollSubscription(Account& account, codec::Json& subscription);

}  // namespace pontage::sandbox::stripe
