#include <algorithm>
#include <utility>

#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/pages.h"
#include "sandbox/stripe/plan_change.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

std::string Param(const Params& params, const char* name) {
  const Answered<std::optional<std::string>> text = params.MaybeText(name);
  return text ? text->value_or("") : std::string();
}

// Of this customer; nullptr for anybody else's.
Json* Owned(Account& account, const Json& session, Kind kind, const std::string& id) {
  Json* found = account.store.Find(kind, id);
  const bool theirs = found != nullptr && TextOf(*found, "customer") == TextOf(session, "customer");
  return theirs ? found : nullptr;
}

std::string Hidden(const char* name, const std::string& value) {
  return std::string("<input type=\"hidden\" name=\"") + name + "\" value=\"" + Escape(value) +
         "\">";
}

std::string Button(const char* action, const char* label) {
  return std::string("<button name=\"action\" value=\"") + action + "\">" + label + "</button>\n";
}

// The account's default is as somebody has saved it who lets buyers choose what they like; any
// other offers what it names.
bool Offers(const Json& configuration, const std::string& price) {
  if (IsTrue(configuration, "is_default")) return true;
  const Json& update = Member(Member(configuration, "features"), "subscription_update");
  if (!IsTrue(update, "enabled") || update.Find("products") == nullptr) return false;
  const std::vector<Json>& products = *update.Find("products")->AsArray();
  return std::ranges::any_of(products, [&price](const Json& product) {
    const std::vector<Json>& prices = *Member(product, "prices").AsArray();
    return std::ranges::find(prices, Json(price)) != prices.end();
  });
}

Json ConfigurationOf(const Account& account, const Json& session) {
  const Json* found =
      account.store.Find(Kind::kPortalConfiguration, TextOf(session, "configuration"));
  return found != nullptr ? *found : Json();
}

// What the plan may be changed to: another price that is for sale in the same currency.
std::string PlanChoice(const Account& account, const Json& configuration,
                       const Json& subscription) {
  const std::string now =
      TextOf(Member(ItemsOf(Member(subscription, "items")).front(), "price"), "id");
  std::string options;
  for (const std::string& id : account.store.ids(Kind::kPrice)) {
    const Json* price = account.store.Find(Kind::kPrice, id);
    if (id == now || !Offers(configuration, id) || !IsTrue(*price, "active") ||
        Member(*price, "recurring").IsNull() ||
        TextOf(*price, "currency") != TextOf(subscription, "currency")) {
      continue;
    }
    const Json* product = account.store.Find(Kind::kProduct, TextOf(*price, "product"));
    const std::string name = product != nullptr ? TextOf(*product, "name") : id;
    options +=
        "<option value=\"" + Escape(id) + "\">" +
        Escape(name + ", " + AmountText(IntOf(*price, "unit_amount"), TextOf(*price, "currency")) +
               " a " + TextOf(Member(*price, "recurring"), "interval")) +
        "</option>";
  }
  if (options.empty()) return {};
  return "<label>Change to <select name=\"price\">" + options + "</select></label>" +
         Button("change_plan", "Change plan");
}

// Pausing is offered where the session's configuration says so.
std::string PauseChoice(const Json& configuration, const Json& subscription) {
  if (TextOf(subscription, "status") == "paused") return Button("unpause", "Go on");
  const Json& feature = Member(Member(configuration, "features"), "subscription_pause");
  return IsTrue(feature, "enabled") ? Button("pause", "Pause") : std::string();
}

std::string SubscriptionSection(const Account& account, const Json& configuration,
                                const Json& subscription) {
  const Json& item = ItemsOf(Member(subscription, "items")).front();
  const Json* product =
      account.store.Find(Kind::kProduct, TextOf(Member(item, "price"), "product"));
  const bool ends = IsTrue(subscription, "cancel_at_period_end");
  std::string text = "<section><h2>" +
                     Escape(product != nullptr ? TextOf(*product, "name") : "Subscription") +
                     "</h2>\n<p>" + Escape(TextOf(subscription, "status")) + ", " +
                     (ends ? "ends " : "until ") + DateText(PeriodEnd(subscription)) + "</p>\n";
  if (!IsOver(subscription)) {
    text += "<form method=\"post\">" + Hidden("subscription", TextOf(subscription, "id"));
    text += ends ? Button("resume", "Do not cancel")
                 : Button("cancel_at_period_end", "Cancel at the end of the period");
    text += Button("cancel_now", "Cancel now") + PauseChoice(configuration, subscription) +
            PlanChoice(account, configuration, subscription) + "</form>\n";
  }
  return text + "</section>\n";
}

std::string InvoiceRow(const Account& account, const Json& invoice) {
  const std::string id = TextOf(invoice, "id");
  const bool open = TextOf(invoice, "status") == "open";
  std::string row = "<tr><td>" + DateText(IntOf(invoice, "created")) + "</td><td>" +
                    Escape(AmountText(IntOf(invoice, "total"), TextOf(invoice, "currency"))) +
                    "</td><td>" + Escape(TextOf(invoice, "status")) + "</td><td>";
  if (!TextOf(invoice, "invoice_pdf").empty()) {
    row += "<a href=\"" + account.url + "/invoices/" + id + "/pdf\">PDF</a> ";
  }
  if (open) {
    row += "<form method=\"post\">" + Hidden("invoice", id) +
           Button("pay_invoice", "Pay with another card") + "</form>";
  }
  return row + "</td></tr>\n";
}

Page Show(const Account& account, const Json& session, int status, const std::string& fault) {
  const std::string customer = TextOf(session, "customer");
  std::string main;
  if (!fault.empty()) main += "<p role=\"alert\">" + Escape(fault) + "</p>\n";
  const Json configuration = ConfigurationOf(account, session);
  const auto theirs = [&](Kind kind, const auto& show) {
    const std::vector<std::string>& ids = account.store.ids(kind);
    std::string text;
    for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
      const Json* object = account.store.Find(kind, *id);
      if (TextOf(*object, "customer") == customer) text += show(*object);
    }
    return text;
  };
  main += theirs(Kind::kSubscription, [&](const Json& subscription) {
    return SubscriptionSection(account, configuration, subscription);
  });
  main +=
      "<h2>Invoices</h2>\n<table><thead><tr><th scope=\"col\">Date</th>"
      "<th scope=\"col\">Amount</th><th scope=\"col\">Status</th>"
      "<th scope=\"col\">Actions</th></tr></thead><tbody>\n" +
      theirs(Kind::kInvoice, [&](const Json& invoice) { return InvoiceRow(account, invoice); }) +
      "</tbody></table>\n";
  const std::string back = TextOf(session, "return_url");
  if (!back.empty()) main += "<p><a href=\"" + Escape(back) + "\">Return</a></p>\n";
  return HtmlPage(status, "Your subscriptions", main);
}

Answered<> ChangePlan(Account& account, Json& subscription, const std::string& price) {
  if (price.empty()) return Refuse("", "There is no price to change to.");
  ItemChange change;
  change.id = TextOf(ItemsOf(Member(subscription, "items")).front(), "id");
  change.price = price;
  change.name = "items[0]";
  const Json before = subscription;
  ChangeTerms terms;
  terms.proration = "always_invoice";
  return ChangeItems(account, subscription, before, {change}, terms);
}

Answered<> Act(Account& account, const Json& session, const Params& params) {
  const std::string action = Param(params, "action");
  if (action == "pay_invoice") {
    Json* invoice = Owned(account, session, Kind::kInvoice, Param(params, "invoice"));
    if (invoice == nullptr || TextOf(*invoice, "status") != "open") {
      return Refuse("", "There is no such open invoice.");
    }
    PayOpenInvoice(account, *invoice);
    return {};
  }
  Json* subscription = Owned(account, session, Kind::kSubscription, Param(params, "subscription"));
  if (subscription == nullptr || IsOver(*subscription)) {
    return Refuse("", "There is no such running subscription.");
  }
  const Json before = *subscription;
  if (action == "cancel_at_period_end" || action == "resume") {
    CancelAtPeriodEnd(account, *subscription, action == "cancel_at_period_end");
    EmitUpdate(account, "customer.subscription.updated", before, *subscription);
    return {};
  }
  if (action == "cancel_now") {
    Cancel(account, *subscription, "cancellation_requested");
    return {};
  }
  const bool paused = TextOf(*subscription, "status") == "paused";
  if (action == "pause" && !paused) {
    Pause(account, *subscription, "pause_requested");
    return {};
  }
  if (action == "unpause" && paused) {
    Resume(account, *subscription);
    return {};
  }
  if (action == "change_plan") {
    const std::string price = Param(params, "price");
    if (!Offers(ConfigurationOf(account, session), price)) {
      return Refuse("", "That price is not offered here.");
    }
    return ChangePlan(account, *subscription, price);
  }
  return Refuse("", "There is no such action.");
}

}  // namespace

Page PortalPage(Account& account, const Json& session, bool post, const Params& params) {
  if (!post) return Show(account, session, 200, "");
  const Answered<> done = Act(account, session, params);
  if (!done) return Show(account, session, done.error().status, done.error().message);
  // A flow that was asked for with a redirect ends there.
  const Json& after = Member(Member(session, "flow"), "after_completion");
  const std::string back = TextOf(Member(after, "redirect"), "return_url");
  return SeeOther(back.empty() ? account.url + "/portal/" + TextOf(session, "id") : back);
}

}  // namespace pontage::sandbox::stripe
