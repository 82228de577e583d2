// Subscriptions that a client makes without a hosted page.
#include <utility>

#include "base/try.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/catalog.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/invoices.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr size_t kMaxItems = 20;  // as Stripe's
constexpr int64_t kMaxTrialDays = 730;
constexpr int64_t kDay = 86'400;

Answered<ItemTerms> ReadItem(const Account& account, const Params& item) {
  PTG_TRY(const std::string id, item.Text("price"));
  const std::string param = item.NameOf("price");
  ItemTerms terms;
  terms.price = account.store.Find(Kind::kPrice, id);
  if (terms.price == nullptr) return NoSuch("price", id, param);
  if (!IsTrue(*terms.price, "active")) {
    return Refuse("", "The price specified is inactive. This field only accepts active prices.",
                  param);
  }
  if (Member(*terms.price, "recurring").IsNull()) {
    return Refuse("",
                  "The price specified is set to `type=one_time` but this field only accepts "
                  "prices with `type=recurring`.",
                  param);
  }
  PTG_TRY(const std::optional<int64_t> quantity, item.MaybeInt("quantity", 1, kMaxQuantity));
  terms.quantity = quantity.value_or(1);
  return terms;
}

Answered<std::vector<ItemTerms>> ReadItems(const Account& account, const Params& params) {
  const std::vector<Params> given = params.List("items");
  if (given.empty()) {
    return Refuse("parameter_missing", "Missing required param: items.", "items");
  }
  if (given.size() > kMaxItems) return Refuse("", "Too many items.", "items");
  std::vector<ItemTerms> items;
  for (const Params& item : given) {
    PTG_TRY(const ItemTerms terms, ReadItem(account, item));
    items.push_back(terms);
    const Json& first = *items.front().price;
    if (TextOf(first, "currency") != TextOf(*terms.price, "currency") ||
        IntervalOf(first) != IntervalOf(*terms.price)) {
      return Refuse("", "All prices of a subscription must have the same currency and interval.",
                    item.NameOf("price"));
    }
  }
  return items;
}

Answered<SubscriptionTerms> ReadTerms(Call& call) {
  const Account& account = call.account;
  SubscriptionTerms terms;
  PTG_TRY(terms.customer, call.params.Text("customer"));
  const Json* customer = account.store.Find(Kind::kCustomer, terms.customer);
  if (customer == nullptr || IsTrue(*customer, "deleted")) {
    return NoSuch("customer", terms.customer, "customer");
  }
  PTG_TRY(terms.items, ReadItems(account, call.params));
  PTG_TRY(terms.metadata, call.params.Metadata(Json()));
  PTG_TRY(const std::optional<std::string> description, call.params.MaybeText("description"));
  terms.description = description.value_or("");
  PTG_TRY(const std::optional<std::string> method, call.params.MaybeText("default_payment_method"));
  if (method && account.store.Find(Kind::kPaymentMethod, *method) == nullptr) {
    return NoSuch("PaymentMethod", *method, "default_payment_method");
  }
  terms.payment_method = method.value_or("");
  PTG_TRY(const std::optional<int64_t> days,
          call.params.MaybeInt("trial_period_days", 1, kMaxTrialDays));
  if (days) terms.trial_end = UnixMs::FromSeconds(account.Now() + *days * kDay);
  return terms;
}

// Whether the first invoice could be collected now: the fault if not. `must`: so that it is paid,
// not only tried.
Answered<> CheckFirst(const Account& account, const SubscriptionTerms& terms, bool must) {
  const Json& customer = *account.store.Find(Kind::kCustomer, terms.customer);
  int64_t due = IntOf(customer, "balance");
  for (const ItemTerms& item : terms.items) {
    due += item.quantity * IntOf(*item.price, "unit_amount");
  }
  if (terms.trial_end || due <= 0) return {};
  std::string method = terms.payment_method;
  if (method.empty()) {
    method = TextOf(Member(customer, "invoice_settings"), "default_payment_method");
  }
  if (method.empty()) return NoMethod();
  const Outcome outcome = OutcomeOf(CardOf(account, method), true);
  if (!must || outcome == Outcome::kPaid) return {};
  return CardError(outcome, "subscription");
}

Answered<Json> Create(Call& call) {
  Account& account = call.account;
  PTG_TRY(const SubscriptionTerms terms, ReadTerms(call));
  PTG_RUN(call.params.MaybeBool("off_session"));
  PTG_TRY(const std::optional<std::string> behavior,
          call.params.MaybeWord("payment_behavior",
                                {"allow_incomplete", "default_incomplete", "error_if_incomplete"}));
  const bool waits = behavior == "default_incomplete";
  if (!waits) PTG_RUN(CheckFirst(account, terms, behavior == "error_if_incomplete"));
  Json& subscription = AddSubscription(account, terms);
  Json* invoice = account.store.Find(Kind::kInvoice, TextOf(subscription, "latest_invoice"));
  // A declined card leaves it incomplete, as Stripe's 200 does.
  if (!waits && invoice != nullptr && TextOf(*invoice, "status") == "open") {
    Collect(account, *invoice, Attempt::kByClock);
  }
  return subscription;
}

}  // namespace

void AddSubscriptionCreation(Routes& routes) {
  routes.push_back({"POST",
                    "/v1/subscriptions",
                    &Create,
                    {"customer", "items.*.price", "items.*.quantity", "metadata.*", "description",
                     "default_payment_method", "trial_period_days", "payment_behavior",
                     "off_session", "expand.*"}});
}

}  // namespace pontage::sandbox::stripe
