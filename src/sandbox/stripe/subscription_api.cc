// Subscriptions as the API shows and changes them.
#include <utility>

#include "base/try.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/catalog.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/plan_change.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr size_t kMaxItems = 20;  // as Stripe's
constexpr int64_t kFarTime = INT64_MAX / 4;

Answered<std::vector<ItemChange>> ItemChanges(const Params& params) {
  std::vector<ItemChange> changes;
  for (const Params& item : params.List("items")) {
    ItemChange change;
    PTG_TRY(const std::optional<std::string> id, item.MaybeText("id"));
    PTG_TRY(const std::optional<std::string> price, item.MaybeText("price"));
    PTG_TRY(change.quantity, item.MaybeInt("quantity", 1, kMaxQuantity));
    PTG_TRY(const std::optional<bool> deleted, item.MaybeBool("deleted"));
    change.id = id.value_or("");
    change.price = price.value_or("");
    change.deleted = deleted.value_or(false);
    change.name = item.NameOf("");
    changes.push_back(std::move(change));
  }
  if (changes.size() > kMaxItems) return Refuse("", "Too many items.", "items");
  return changes;
}

Answered<> SetCancellation(const Params& params, Json& subscription) {
  for (const char* key : {"comment", "feedback"}) {
    const std::string path = "cancellation_details." + std::string(key);
    PTG_TRY(std::optional<std::string> text, params.MaybeText(path));
    if (text || params.Clears(path)) {
      subscription.Find("cancellation_details")->Set(key, OrNull(std::move(text)));
    }
  }
  return {};
}

Answered<> SetPauseCollection(const Account& account, const Params& params, Json& subscription) {
  if (params.Clears("pause_collection")) subscription.Set("pause_collection", nullptr);
  PTG_TRY(const std::optional<std::string> behavior,
          params.MaybeWord("pause_collection.behavior",
                           {"keep_as_draft", "mark_uncollectible", "void"}));
  PTG_TRY(const std::optional<int64_t> until,
          params.MaybeInt("pause_collection.resumes_at", account.Now() + 1, kFarTime));
  if (until && !behavior) PTG_RUN(params.Text("pause_collection.behavior"));
  if (behavior) {
    subscription.Set(
        "pause_collection",
        Json::Object({{"behavior", *behavior}, {"resumes_at", until ? Json(*until) : Json()}}));
  }
  return {};
}

// What is set on the document itself, without touching anything else.
Answered<> SetFields(Call& call, Json& subscription) {
  const Params& params = call.params;
  PTG_RUN(SetCancellation(params, subscription));
  PTG_RUN(SetPauseCollection(call.account, params, subscription));
  PTG_TRY(Json metadata, params.Metadata(Member(subscription, "metadata")));
  subscription.Set("metadata", std::move(metadata));
  PTG_TRY(std::optional<std::string> description, params.MaybeText("description"));
  if (description || params.Clears("description")) {
    subscription.Set("description", OrNull(std::move(description)));
  }
  PTG_TRY(const std::optional<std::string> method, params.MaybeText("default_payment_method"));
  if (method) {
    if (call.account.store.Find(Kind::kPaymentMethod, *method) == nullptr) {
      return NoSuch("PaymentMethod", *method, "default_payment_method");
    }
    subscription.Set("default_payment_method", *method);
  }
  return {};
}

// The end of it, whichever way it is asked for.
Answered<> SetEnd(Call& call, Json& subscription) {
  PTG_TRY(const std::optional<bool> at_end, call.params.MaybeBool("cancel_at_period_end"));
  PTG_TRY(const std::optional<int64_t> at,
          call.params.MaybeInt("cancel_at", call.account.Now(), kFarTime));
  if (at_end && at) {
    return Refuse("",
                  "You may only specify one of these parameters: cancel_at, "
                  "cancel_at_period_end.");
  }
  if (at_end && *at_end != IsTrue(subscription, "cancel_at_period_end")) {
    CancelAtPeriodEnd(call.account, subscription, *at_end);
  }
  if (at || call.params.Clears("cancel_at")) {
    CancelAtPeriodEnd(call.account, subscription, at.has_value());
    subscription.Set("cancel_at_period_end", false);
    subscription.Set("cancel_at", at ? Json(*at) : Json());
    PlanSubscription(call.account, subscription);
  }
  return {};
}

// What to do about an invoice that is not paid at once.
Answered<Unpaid> UnpaidOf(const Params& params) {
  PTG_TRY(const std::optional<std::string> word,
          params.MaybeWord("payment_behavior", {"allow_incomplete", "default_incomplete",
                                                "error_if_incomplete", "pending_if_incomplete"}));
  if (word == "pending_if_incomplete") return NotHere("payment_behavior", *word);
  if (word == "default_incomplete") return Unpaid::kWait;
  return word == "error_if_incomplete" ? Unpaid::kRefuse : Unpaid::kLeave;
}

Answered<ChangeTerms> TermsOf(const Params& params) {
  ChangeTerms terms;
  PTG_TRY(std::optional<std::string> proration,
          params.MaybeWord("proration_behavior", {"always_invoice", "create_prorations", "none"}));
  if (proration) terms.proration = *std::move(proration);
  PTG_TRY(terms.unpaid, UnpaidOf(params));
  PTG_RUN(params.MaybeBool("off_session"));
  return terms;
}

Answered<Json> Update(Call& call) {
  PTG_TRY(Json * subscription, Named(call, Kind::kSubscription));
  const bool ends = call.params.Has("cancel_at_period_end") || call.params.Has("cancel_at");
  if (IsOver(*subscription) && (call.params.Has("items") || ends)) {
    return Refuse("",
                  "A canceled subscription can only update its cancellation_details and "
                  "metadata.");
  }
  PTG_TRY(const std::vector<ItemChange> changes, ItemChanges(call.params));
  PTG_TRY(const ChangeTerms terms, TermsOf(call.params));
  Json after = *subscription;
  PTG_RUN(SetFields(call, after));
  PTG_RUN(SetEnd(call, after));
  const Json before = std::exchange(*subscription, std::move(after));
  if (!changes.empty()) {
    const Answered<> changed = ChangeItems(call.account, *subscription, before, changes, terms);
    if (!changed) {
      *subscription = before;
      PlanSubscription(call.account, *subscription);
      return std::unexpected(changed.error());
    }
    return *subscription;
  }
  PlanSubscription(call.account, *subscription);
  EmitUpdate(call.account, "customer.subscription.updated", before, *subscription);
  return *subscription;
}

Answered<Json> CancelNow(Call& call) {
  PTG_TRY(Json * subscription, Named(call, Kind::kSubscription));
  if (IsOver(*subscription)) return NoSuch("subscription", call.id);
  for (const char* key : {"invoice_now", "prorate"}) {
    PTG_TRY(const std::optional<bool> asked, call.params.MaybeBool(key));
    if (asked.value_or(false)) return NotHere(key, "true");
  }
  PTG_RUN(SetCancellation(call.params, *subscription));
  Cancel(call.account, *subscription, "cancellation_requested");
  return *subscription;
}

Answered<Json> ResumePaused(Call& call) {
  PTG_TRY(Json * subscription, Named(call, Kind::kSubscription));
  // What a trial that ended without a card leaves has no period that could go on.
  PTG_TRY(const std::optional<std::string> anchor, call.params.MaybeText("billing_cycle_anchor"));
  if (anchor.value_or("now") != "now") return NotHere("billing_cycle_anchor", *anchor);
  if (TextOf(*subscription, "status") != "paused") {
    return Refuse("", "This subscription can't be resumed because it isn't paused.");
  }
  Resume(call.account, *subscription);
  return *subscription;
}

bool HasPrice(const Json& subscription, const std::string& price) {
  for (const Json& item : ItemsOf(Member(subscription, "items"))) {
    if (TextOf(Member(item, "price"), "id") == price) return true;
  }
  return false;
}

Answered<Json> List(Call& call) {
  PTG_TRY(const std::optional<std::string> customer, call.params.MaybeText("customer"));
  PTG_TRY(const std::optional<std::string> price, call.params.MaybeText("price"));
  PTG_TRY(const std::optional<std::string> status,
          call.params.MaybeWord(
              "status", {"all", "ended", "active", "canceled", "incomplete", "incomplete_expired",
                         "past_due", "paused", "trialing", "unpaid"}));
  return ListPage(call, Kind::kSubscription, [&](const Json& subscription) {
    const std::string now = TextOf(subscription, "status");
    bool fits = now != "canceled";
    if (status) fits = *status == "all" || *status == now;
    if (status == "ended") fits = IsOver(subscription);
    return fits && (!customer || TextOf(subscription, "customer") == *customer) &&
           (!price || HasPrice(subscription, *price));
  });
}

Answered<Json> ItemsOfOne(Call& call) {
  PTG_TRY(const std::string id, call.params.Text("subscription"));
  const Json* subscription = call.account.store.Find(Kind::kSubscription, id);
  if (subscription == nullptr) return NoSuch("subscription", id, "subscription");
  return PageOf(call, ItemsOf(Member(*subscription, "items")), "/v1/subscription_items",
                "subscription item");
}

}  // namespace

void AddSubscriptionRoutes(Routes& routes) {
  routes.push_back(
      {"GET", "/v1/subscriptions", &List, ListParams({"customer", "price", "status"})});
  routes.push_back({"GET", "/v1/subscriptions/:id", &Retrieve<Kind::kSubscription>, {"expand.*"}});
  routes.push_back({"GET", "/v1/subscription_items", &ItemsOfOne, ListParams({"subscription"})});
  routes.push_back(
      {"POST",
       "/v1/subscriptions/:id",
       &Update,
       {"items.*.id", "items.*.price", "items.*.quantity", "items.*.deleted", "proration_behavior",
        "cancel_at_period_end", "cancel_at", "metadata.*", "description", "default_payment_method",
        "pause_collection.behavior", "pause_collection.resumes_at", "cancellation_details.comment",
        "cancellation_details.feedback", "payment_behavior", "off_session", "expand.*"}});
  routes.push_back({"DELETE",
                    "/v1/subscriptions/:id",
                    &CancelNow,
                    {"cancellation_details.comment", "cancellation_details.feedback", "invoice_now",
                     "prorate", "expand.*"}});
  routes.push_back({"POST",
                    "/v1/subscriptions/:id/resume",
                    &ResumePaused,
                    {"billing_cycle_anchor", "proration_behavior", "expand.*"}});
}

}  // namespace pontage::sandbox::stripe
