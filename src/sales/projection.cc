#include "sales/projection.h"

#include <algorithm>
#include <utility>

#include "sales/stripe_forms.h"

namespace pontage::sales {
namespace {

using stripe::Invoice;
using stripe::InvoiceLine;
using stripe::InvoiceStatus;

bool IsPaid(const Invoice& invoice) { return invoice.status.value == InvoiceStatus::kPaid; }

// Until when one item has been paid for.
struct Bought {
  stripe::SubscriptionItemId item;  // empty: the lines did not say
  stripe::PriceId price;
  UnixMs until;
};

// What a line is about: its item, or where it names none, its price.
bool IsAbout(const InvoiceLine& line, const Bought& bought) {
  if (!line.item.empty() && !bought.item.empty()) return line.item == bought.item;
  return line.price == bought.price;
}

// A credit is a negative proration: what it covers is given back.
void TakeBack(const InvoiceLine& line, std::vector<Bought>& all) {
  for (Bought& bought : all) {
    if (IsAbout(line, bought)) bought.until = std::min(bought.until, line.from);
  }
}

void Buy(const InvoiceLine& line, std::vector<Bought>& all) {
  const auto at =
      std::ranges::find_if(all, [&line](const Bought& bought) { return IsAbout(line, bought); });
  if (at == all.end()) {
    all.push_back({line.item, line.price, line.until});
    return;
  }
  at->until = std::max(at->until, line.until);
  at->price = line.price;  // which an upgrade changed
  if (at->item.empty()) at->item = line.item;
}

// Whether a line is the subscription's own, as opposed to something sold beside it.
bool Counts(const InvoiceLine& line, const stripe::SubscriptionId& subscription) {
  if (line.extra && !line.proration) return false;
  return line.subscription.empty() || line.subscription == subscription;
}

std::vector<Bought> BoughtOf(std::span<const Invoice> invoices,
                             const stripe::SubscriptionId& subscription) {
  std::vector<const Invoice*> paid;
  for (const Invoice& invoice : invoices) {
    if (IsPaid(invoice) && invoice.subscription == subscription) paid.push_back(&invoice);
  }
  // In the order in which they were made: a credit takes back what was bought before it. Of one
  // second are two changes of a plan in a row, and there the later one is listed first.
  std::ranges::sort(paid, [](const Invoice* a, const Invoice* b) {
    return a->created != b->created ? a->created < b->created : a > b;
  });
  std::vector<Bought> all;
  for (const Invoice* invoice : paid) {
    for (const InvoiceLine& line : invoice->lines) {
      const bool credit = line.amount < stripe::MinorUnits(0);
      if (credit && line.proration && Counts(line, subscription)) TakeBack(line, all);
    }
    for (const InvoiceLine& line : invoice->lines) {
      if (line.amount >= stripe::MinorUnits(0) && Counts(line, subscription)) Buy(line, all);
    }
  }
  return all;
}

std::optional<UnixMs> Later(std::optional<UnixMs> a, std::optional<UnixMs> b) {
  if (!a || !b) return a ? a : b;
  return std::max(*a, *b);
}

bool IsThere(const stripe::SubscriptionItemId& item, const stripe::Subscription& subscription) {
  return std::ranges::find(subscription.items, item, &stripe::SubscriptionItem::id) !=
         subscription.items.end();
}

// An item that was added and that no line names yet has what was paid for the others, as Stripe
// has it, but not while an invoice is owed: that may be its own. What is gone it may have replaced.
std::optional<UnixMs> PaidThrough(const stripe::SubscriptionItemId& item,
                                  const stripe::Subscription& subscription,
                                  const std::vector<Bought>& all) {
  const bool owes = subscription.status.value == stripe::SubscriptionStatus::kPastDue;
  std::optional<UnixMs> of_item;
  std::optional<UnixMs> of_any;
  for (const Bought& bought : all) {
    if (bought.item == item) of_item = Later(of_item, bought.until);
    if (!owes || !IsThere(bought.item, subscription)) of_any = Later(of_any, bought.until);
  }
  return of_item ? of_item : of_any;
}

// The price that was paid for, while a change to the item's, or to the item in place of another, is
// owed. An invoice of the next period
// is a renewal, whatever changes it bills as well: the item had its price before that.
std::optional<stripe::PriceId> PaidPrice(const stripe::SubscriptionItem& item,
                                         const stripe::Subscription& subscription,
                                         std::span<const Invoice> invoices,
                                         const std::vector<Bought>& all) {
  if (subscription.status.value != stripe::SubscriptionStatus::kPastDue) return std::nullopt;
  auto paid = std::ranges::find(all, item.id, &Bought::item);
  if (paid == all.end()) {
    paid = std::ranges::find_if(all, [&subscription](const Bought& bought) {
      return !bought.item.empty() && !IsThere(bought.item, subscription);
    });
  }
  if (paid == all.end() || paid->price.empty() || paid->price == item.price.id) {
    return std::nullopt;
  }
  bool owed = false;
  for (const Invoice& invoice : invoices) {
    const bool unpaid = invoice.status.value == InvoiceStatus::kOpen ||
                        invoice.status.value == InvoiceStatus::kUncollectible;
    if (!unpaid || invoice.subscription != subscription.id) continue;
    for (const InvoiceLine& line : invoice.lines) {
      const bool charges = line.item == item.id && line.price == item.price.id &&
                           line.amount > stripe::MinorUnits(0) && Counts(line, subscription.id);
      if (charges && line.from >= paid->until) return std::nullopt;
      owed = owed || charges;
    }
  }
  return owed ? std::optional(paid->price) : std::nullopt;
}

// What it bought of the subscription itself, and not of a change within a period.
std::optional<UnixMs> PeriodOf(const Invoice& invoice) {
  std::optional<UnixMs> until;
  for (const InvoiceLine& line : invoice.lines) {
    if (!line.proration && Counts(line, invoice.subscription)) until = Later(until, line.until);
  }
  return until;
}

}  // namespace

void PlanMap::Add(std::string plan, std::vector<stripe::PriceId> prices) {
  plans_.push_back({std::move(plan), std::move(prices)});
}

const std::string* PlanMap::ByName(std::string_view name) const {
  if (name.empty()) return nullptr;
  const auto at = std::ranges::find(plans_, name, &Plan::name);
  return at == plans_.end() ? nullptr : &at->name;
}

const std::string* PlanMap::Find(const stripe::Price& price) const {
  for (const Plan& plan : plans_) {
    if (std::ranges::find(plan.prices, price.id) != plan.prices.end()) return &plan.name;
  }
  if (const std::string* plan = ByName(price.lookup_key)) return plan;
  return ByName(stripe::InMetadata(price.metadata, kPlanKey));
}

const Invoice* LatestPaid(std::span<const Invoice> invoices) {
  const Invoice* latest = nullptr;
  for (const Invoice& invoice : invoices) {
    if (!IsPaid(invoice) || invoice.amount_paid <= stripe::MinorUnits(0)) continue;
    if (latest == nullptr || invoice.created > latest->created) latest = &invoice;
  }
  return latest;
}

bool IsSuperseded(const Invoice& latest, std::span<const Invoice> invoices) {
  const std::optional<UnixMs> until = PeriodOf(latest);
  return std::ranges::any_of(invoices, [&](const Invoice& one) {
    return IsPaid(one) && one.subscription == latest.subscription && one.created > latest.created &&
           until && PeriodOf(one) > until;
  });
}

Projection Project(const stripe::Subscription& subscription, std::span<const Invoice> invoices,
                   const PlanMap& plans) {
  Projection projection;
  projection.id = subscription.id;
  projection.customer = subscription.customer;
  projection.status = subscription.status;
  projection.period_end = subscription.period_end;
  projection.cancel_at = subscription.cancel_at;
  projection.ended_at = subscription.ended_at;
  projection.cancel_at_period_end = subscription.cancel_at_period_end;
  projection.collection_paused = subscription.collection_paused;
  const bool on_trial = subscription.status.value == stripe::SubscriptionStatus::kTrialing;
  const std::vector<Bought> bought = BoughtOf(invoices, subscription.id);
  for (const stripe::SubscriptionItem& item : subscription.items) {
    const std::string* plan = plans.Find(item.price);
    std::optional<UnixMs> paid = PaidThrough(item.id, subscription, bought);
    if (on_trial) paid = Later(paid, subscription.trial_end);
    projection.items.push_back({item.id, item.price.id, plan == nullptr ? std::string() : *plan,
                                paid, PaidPrice(item, subscription, invoices, bought)});
  }
  if (const Invoice* latest = LatestPaid(invoices)) projection.latest_paid = latest->id;
  return projection;
}

}  // namespace pontage::sales
