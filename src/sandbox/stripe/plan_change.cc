#include "sandbox/stripe/plan_change.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/try.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/invoices.h"
#include "sandbox/stripe/payments.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

// One item as it was and as it will be; a null where there was, or will be, none.
struct Swap {
  Json before;
  Json after;
};

// `amount` · `part` / `whole`, to the nearest unit.
int64_t Share(int64_t amount, int64_t part, int64_t whole) {
  const __int128 twice = static_cast<__int128>(amount) * part * 2 + whole;
  return static_cast<int64_t>(twice / (static_cast<__int128>(whole) * 2));
}

int64_t TotalOf(const Json& item) {
  return IntOf(item, "quantity") * IntOf(Member(item, "price"), "unit_amount");
}

Json ProrationLine(Account& account, const Json& item, int64_t amount, bool credit, int64_t end) {
  const Json& price = Member(item, "price");
  const Json* product = account.store.Find(Kind::kProduct, TextOf(price, "product"));
  const std::string name = product != nullptr ? TextOf(*product, "name") : "a product";
  LineTerms terms;
  terms.amount = credit ? -amount : amount;
  terms.quantity = IntOf(item, "quantity");
  terms.price = &price;
  terms.description = (credit ? "Unused time on " : "Remaining time on ") + name;
  terms.subscription = TextOf(item, "subscription");
  terms.item = TextOf(item, "id");
  terms.proration = true;
  terms.period_start = account.Now();
  terms.period_end = end;
  return NewLine(account, terms);
}

Answered<const Json*> PriceFor(const Account& account, const Json& subscription,
                               const ItemChange& change) {
  const Json* price = account.store.Find(Kind::kPrice, change.price);
  const std::string param = change.name + "[price]";
  if (price == nullptr) return NoSuch("price", change.price, param);
  if (Member(*price, "recurring").IsNull()) {
    return Refuse("",
                  "The price specified is set to `type=one_time` but this field only accepts "
                  "prices with `type=recurring`.",
                  param);
  }
  if (TextOf(*price, "currency") != TextOf(subscription, "currency")) {
    return Refuse("", "The price specified supports another currency than the subscription.",
                  param);
  }
  return price;
}

Answered<Swap> Apply(Account& account, const Json& subscription, const ItemChange& change) {
  const std::vector<Json>& items = ItemsOf(Member(subscription, "items"));
  const auto found = std::ranges::find_if(
      items, [&](const Json& item) { return TextOf(item, "id") == change.id; });
  if (!change.id.empty() && found == items.end()) {
    return NoSuch("subscription item", change.id, change.name + "[id]");
  }
  Swap swap;
  if (!change.id.empty()) swap.before = *found;
  if (change.deleted) return swap;
  if (change.id.empty() && change.price.empty()) {
    return Refuse("parameter_missing", "Missing required param: " + change.name + "[price].",
                  change.name + "[price]");
  }
  ItemTerms terms;
  if (change.price.empty()) {
    terms.price = &Member(*found, "price");
    terms.quantity = change.quantity.value_or(IntOf(*found, "quantity"));
  } else {
    PTG_TRY(terms.price, PriceFor(account, subscription, change));
    terms.quantity = change.quantity.value_or(1);
  }
  swap.after = NewItem(account, TextOf(subscription, "id"), terms, PeriodStart(subscription),
                       PeriodEnd(subscription));
  if (!change.id.empty()) {
    for (const char* kept : {"id", "created", "metadata"}) {
      swap.after.Set(kept, Member(*found, kept));
    }
  }
  return swap;
}

// The items of the subscription once `swaps` are made.
Answered<std::vector<Json>> ItemsAfter(const Json& subscription, const std::vector<Swap>& swaps) {
  std::vector<Json> items;
  for (const Json& item : ItemsOf(Member(subscription, "items"))) {
    const auto swap = std::ranges::find_if(swaps, [&](const Swap& s) {
      return s.before.IsObject() && TextOf(s.before, "id") == TextOf(item, "id");
    });
    if (swap == swaps.end()) items.push_back(item);
    if (swap != swaps.end() && swap->after.IsObject()) items.push_back(swap->after);
  }
  for (const Swap& swap : swaps) {
    if (swap.before.IsNull() && swap.after.IsObject()) items.push_back(swap.after);
  }
  if (items.empty()) {
    return Refuse("", "A subscription must have at least one active plan.", "items");
  }
  const Interval interval = IntervalOf(Member(items.front(), "price"));
  const bool same = std::ranges::all_of(
      items, [&](const Json& item) { return IntervalOf(Member(item, "price")) == interval; });
  if (!same) {
    return Refuse("", "Currently, all prices of a subscription must have the same interval.",
                  "items");
  }
  return items;
}

std::vector<Json> Prorations(Account& account, const std::vector<Swap>& swaps, int64_t start,
                             int64_t end, bool credits_only) {
  std::vector<Json> lines;
  const int64_t left = end - account.Now();
  const int64_t whole = std::max<int64_t>(end - start, 1);
  for (const Swap& swap : swaps) {
    if (swap.before.IsObject()) {
      const int64_t unused = Share(TotalOf(swap.before), left, whole);
      lines.push_back(ProrationLine(account, swap.before, unused, true, end));
    }
    if (swap.after.IsObject() && !credits_only) {
      const int64_t remaining = Share(TotalOf(swap.after), left, whole);
      lines.push_back(ProrationLine(account, swap.after, remaining, false, end));
    }
  }
  return lines;
}

Json& AddUpdateInvoice(Account& account, Json& subscription, std::vector<Json> lines) {
  InvoiceTerms terms;
  terms.customer = TextOf(subscription, "customer");
  terms.currency = TextOf(subscription, "currency");
  terms.reason = "subscription_update";
  terms.subscription = TextOf(subscription, "id");
  terms.lines = std::move(lines);
  terms.period_start = account.Now();
  terms.period_end = account.Now();
  Json& invoice = AddInvoice(account, terms);
  subscription.Set("latest_invoice", TextOf(invoice, "id"));
  return invoice;
}

void BeginOtherPeriod(Account& account, Json& subscription) {
  SubscriptionBook& book = account.subscriptions[TextOf(subscription, "id")];
  book.anchor = UnixMs::FromSeconds(account.Now());
  book.periods = 1;
  subscription.Set("billing_cycle_anchor", account.Now());
  const UnixMs end = IntervalsAfter(book.anchor, BillingIntervalOf(subscription), 1);
  SetPeriod(subscription, account.Now(), end.seconds());
}

// Whether what `lines` come to could be collected now: the fault if not.
Answered<> CheckCollectable(const Account& account, const Json& subscription,
                            const std::vector<Json>& lines) {
  const Json* customer = account.store.Find(Kind::kCustomer, TextOf(subscription, "customer"));
  int64_t due = customer != nullptr ? IntOf(*customer, "balance") : 0;
  for (const Json& line : lines) due += IntOf(line, "amount");
  if (lines.empty() || due <= 0) return {};
  const std::string method = MethodOf(account, subscription);
  if (method.empty()) return NoMethod();
  const Outcome outcome = OutcomeOf(CardOf(account, method), true);
  if (outcome == Outcome::kPaid || outcome == Outcome::kPending) return {};
  return CardError(outcome, "subscription");
}

// The invoice of a change is due now.
void CollectChange(Account& account, Json& subscription, Json& invoice, Unpaid unpaid) {
  Finalize(account, invoice);
  if (TextOf(invoice, "status") != "open") return;
  if (unpaid != Unpaid::kWait) {
    Collect(account, invoice, Attempt::kByClock);
  } else if (TextOf(subscription, "status") == "active") {
    SetStatus(account, subscription, "past_due");
  }
}

}  // namespace

Answered<> ChangeItems(Account& account, Json& subscription, const Json& before,
                       const std::vector<ItemChange>& changes, const ChangeTerms& terms) {
  std::vector<Swap> swaps;
  for (const ItemChange& change : changes) {
    PTG_TRY(Swap swap, Apply(account, subscription, change));
    swaps.push_back(std::move(swap));
  }
  PTG_TRY(std::vector<Json> items, ItemsAfter(subscription, swaps));
  SubscriptionBook& book = account.subscriptions[TextOf(subscription, "id")];
  if (book.pending_lines.size() + 2 * swaps.size() > kMaxPendingLines) {
    return Refuse("", "Too many changes wait for the next invoice.", "items");
  }
  const SubscriptionBook book_before = book;
  const Interval interval = BillingIntervalOf(subscription);
  const int64_t start = PeriodStart(subscription);
  const int64_t end = PeriodEnd(subscription);
  const bool trial = TextOf(subscription, "status") == "trialing";
  subscription.Find("items")->Set("data", Json::Array(std::move(items)));
  const bool other_period = !trial && BillingIntervalOf(subscription) != interval;
  std::vector<Json> lines;
  if (!trial && terms.proration != "none")
    lines = Prorations(account, swaps, start, end, other_period);
  std::ranges::move(lines, std::back_inserter(book.pending_lines));
  std::vector<Json> due;
  if (other_period) {
    BeginOtherPeriod(account, subscription);
    due = PeriodLines(account, subscription);
  } else if (terms.proration == "always_invoice") {
    due = std::exchange(book.pending_lines, {});
  }
  const Answered<> collectable = CheckCollectable(account, subscription, due);
  if (!collectable && terms.unpaid == Unpaid::kRefuse) {
    book = book_before;
    return std::unexpected(collectable.error());
  }
  Json* invoice = nullptr;
  if (!due.empty()) invoice = &AddUpdateInvoice(account, subscription, std::move(due));
  PlanSubscription(account, subscription);
  EmitUpdate(account, "customer.subscription.updated", before, subscription);
  if (invoice != nullptr) CollectChange(account, subscription, *invoice, terms.unpaid);
  return {};
}

}  // namespace pontage::sandbox::stripe
