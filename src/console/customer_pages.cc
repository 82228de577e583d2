#include <algorithm>

#include "console/pages.h"

namespace pontage::console {
namespace {

// That stand beside the last payment.
constexpr size_t kMostRefunds = 3;

struct Waiting {
  int64_t count;
  std::string_view one;
  std::string_view many;
  std::string url;
};

Html WhatWaits(const Overview& overview) {
  const license::SalesTotals& sales = overview.sales;
  const ledger::Ledger::Totals& ledger = overview.ledger;
  const std::vector<Waiting> all = {
      {sales.events_parked, "event is parked", "events are parked",
       Url({"admin", "events"}, {{"state", "parked"}})},
      {sales.mails_dead, "mail is dead", "mails are dead",
       Url({"admin", "outbox"}, {{"state", "dead"}})},
      {sales.mails_unreached, "license did not reach its buyer",
       "licenses did not reach their buyers",
       Url({"admin", "outbox"}, {{"state", license::kUnreached}})},
      {sales.commands_parked, "order is parked", "orders are parked",
       Url({"admin", "commands"}, {{"state", "parked"}})},
      {sales.alarms, "purchase has an alarm", "purchases have an alarm", Url({"admin", "drift"})},
      {ledger.in_doubt, "settlement is in doubt", "settlements are in doubt",
       Url({"admin", "payments"}, {{"state", "in_doubt"}})},
      {ledger.owed, "delivery is owed", "deliveries are owed",
       Url({"admin", "payments"}, {{"rail", "x402"}})},
  };
  Html html;
  html << Heading("For you");
  Lines lines;
  for (const Waiting& one : all) {
    if (one.count == 0) continue;
    const std::string text =
        std::to_string(one.count) + ' ' + std::string(one.count == 1 ? one.one : one.many);
    lines.Add({.href = one.url, .title = text, .state = Badge(Tone::kBad, "look")});
  }
  return html << std::move(lines).Done("Nothing waits for you.");
}

// Did it go through? The first thing on a customer's page.
Html LastPayment(const Viewer& viewer, const CustomerWhole& customer) {
  Html html;
  const auto waits = std::ranges::find(customer.purchases, "unpaid", &license::PurchaseRow::status);
  if (customer.invoices.empty() && waits != customer.purchases.end()) {
    return html << "<div class=\"say wait\"><b>Not paid yet</b>Bought once, at Stripe's page; a "
                   "debit is under way, or has failed.</div>";
  }
  if (customer.invoices.empty()) {
    return html
           << "<div class=\"say dim\"><b>No payment by card</b>None has gone through, and none is "
              "under way. A card that was declined at Stripe's page leaves no trace here.</div>";
  }
  const license::InvoiceRow& last = customer.invoices.front();
  const bool paid = last.status == "paid";
  Tone tone = Tone::kQuiet;
  std::string said = "Payment " + Short(last.status, 20);
  if (paid && last.paid > 0) {
    tone = Tone::kGood;
    said = "Paid " + Amount(last.paid, last.currency);
  } else if (paid) {
    said = "Nothing to pay yet";
  } else if (last.status == "open" || last.status == "draft") {
    tone = Tone::kWait;
    said = "Not paid yet: " + Amount(last.due, last.currency);
  } else if (last.status == "uncollectible") {
    tone = Tone::kBad;
    said = "Not paid: " + Amount(last.due, last.currency);
  }
  const auto late = [](const license::PurchaseRow& one) {
    return one.status == "past_due" || one.status == "unpaid";
  };
  if (last.status == "open" && std::ranges::any_of(customer.purchases, late)) {
    tone = Tone::kBad;
    said = "Failed: " + Amount(last.due, last.currency);
  }
  switch (tone) {
    case Tone::kGood:
      html << "<div class=\"say ok\"><b>✓ ";
      break;
    case Tone::kWait:
      html << "<div class=\"say wait\"><b>… ";
      break;
    case Tone::kBad:
      html << "<div class=\"say bad\"><b>✗ ";
      break;
    case Tone::kQuiet:
      html << "<div class=\"say dim\"><b>";
      break;
  }
  html << Text(said) << "</b>" << When(last.created, viewer.now);
  if (!last.number.empty()) html << "<br>Invoice <bdi>" << Text(Short(last.number, 40)) << "</bdi>";
  const Html link = Outside(last.url, "at Stripe");
  if (!link.empty()) html << " · " << link;
  size_t refunds = 0;
  for (const license::Refund& refund : customer.refunds) {
    if (refunds == kMostRefunds || refund.state == "failed" || refund.purchase != last.purchase)
      continue;
    ++refunds;
    html << "<br>Refund of "
         << Text(refund.amount == 0 ? std::string("all") : Amount(refund.amount, refund.currency))
         << " " << Text(Short(refund.state, 20)) << ", "
         << Text(Distance(refund.updated, viewer.now));
  }
  return html << "</div>";
}

Html Subscriptions(const Viewer& viewer, const CustomerWhole& customer) {
  Html html;
  for (size_t i = 0; i < std::min(customer.purchases.size(), kFewRows); ++i) {
    const license::PurchaseRow& one = customer.purchases[i];
    const bool renews = one.id.starts_with("sub_");
    html << Heading(renews ? "Subscription" : "Bought once") << "<div class=\"card\">";
    if (!one.alarm.empty()) {
      html << "<p class=\"say bad\" role=\"alert\">" << Text(Short(one.alarm, 300)) << "</p>";
    }
    const std::string_view ends = one.cancel_at.ms() == 0 ? "Period ends" : "Period ended or ends";
    Facts facts;
    facts.Add("Status", StateBadge(one.status)).Add("Plan", Short(one.plan, 60));
    if (one.period_end.ms() != 0) facts.Add(ends, When(one.period_end, viewer.now));
    if (one.cancel_at.ms() != 0) facts.Add("Cancels", When(one.cancel_at, viewer.now));
    if (one.paid_through.ms() != 0) facts.Add("Paid until", When(one.paid_through, viewer.now));
    facts.Add("Stripe", Short(one.id, 60)).Add("Asked", Distance(one.fetched, viewer.now));
    html << std::move(facts).Done() << "</div>";
  }
  return html;
}

Html LicenseLines(const Viewer& viewer, const std::vector<license::License>& licenses) {
  Lines lines;
  for (size_t i = 0; i < std::min(licenses.size(), kFewRows); ++i) {
    const license::License& one = licenses[i];
    const bool over = viewer.now >= one.expires;
    Html below;
    below << Text(Short(one.id, 30)) << "<br>" << (over ? Markup("ended ") : Markup("ends "))
          << Text(Distance(one.expires, viewer.now));
    lines.Add({.href = Url({"admin", "licenses", one.id}),
               .title = one.plan,
               .below = below,
               .state = StateBadge(license::ToString(license::StatusAt(one, viewer.now)))});
  }
  return std::move(lines).Done("No license.");
}

Html InvoiceLines(const Viewer& viewer, const std::vector<license::InvoiceRow>& invoices) {
  Lines lines;
  for (size_t i = 0; i < std::min(invoices.size(), kFewRows); ++i) {
    const license::InvoiceRow& one = invoices[i];
    const bool paid = one.status == "paid";
    Html below;
    below << When(one.created, viewer.now);
    const Html link = Outside(one.url, "at Stripe");
    if (!link.empty()) below << " · " << link;
    lines.Add({.href = "",
               .title = one.number.empty() ? one.id : one.number,
               .below = below,
               .amount = Amount(paid ? one.paid : one.due, one.currency),
               .state = StateBadge(one.status)});
  }
  return std::move(lines).Done("No payment by card.");
}

}  // namespace

std::string HomePage(const Viewer& viewer, const Overview& overview,
                     const std::vector<PaymentRow>& latest) {
  Html body;
  body << SearchBox("", true) << WhatWaits(overview) << Heading("Latest payments")
       << PaymentLines(viewer, latest, "Nobody has paid yet.");
  if (!latest.empty()) body << More("/admin/payments", "All payments");
  if (viewer.scopes.Cover(Scope::kOwner)) {
    body << Heading("By hand") << More("/admin/issue", "Issue a license");
  }
  return RenderPage(viewer, Section::kHome, "Who paid?", body);
}

std::string CustomersPage(const Viewer& viewer, std::string_view search,
                          const Page<license::Customer>& found) {
  Html body;
  body << SearchBox(search, found.rows.empty());
  Lines lines;
  for (const license::Customer& one : found.rows) {
    Html below;
    if (!one.email.empty()) below << Text(Short(one.id, 30)) << "<br>";
    if (!one.license.empty()) {
      below << Text(Short(one.plan, 40)) << " · "
            << (viewer.now >= one.expires ? Markup("ended ") : Markup("ends "))
            << Text(Distance(one.expires, viewer.now));
      if (one.licenses > 1) below << " · " << one.licenses << " licenses";
    }
    Html state;
    if (!one.license.empty()) state << StateBadge(license::ToString(one.status));
    lines.Add({.href = Url({"admin", "customers", one.id}),
               .title = Short(one.email.empty() ? one.id : one.email, 60),
               .below = below,
               .state = state});
  }
  body << std::move(lines).Done(search.empty() ? "There are no customers yet."
                                               : "Nobody is known by that.");
  if (!found.next.empty()) {
    body << More(Url({"admin", "customers"}, {{"q", search}, {"cursor", found.next}}), "More");
  }
  return RenderPage(viewer, Section::kCustomers, "Customers", body);
}

std::string CustomerPage(const Viewer& viewer, const CustomerWhole& customer) {
  Html body;
  body << LastPayment(viewer, customer) << Subscriptions(viewer, customer) << Heading("Licenses")
       << LicenseLines(viewer, customer.licenses) << Heading("Payments by card")
       << InvoiceLines(viewer, customer.invoices);
  if (customer.invoices.size() > kFewRows) {
    body << More(Url({"admin", "payments"}, {{"rail", "card"}, {"customer", customer.id}}),
                 "All of them");
  }
  if (!customer.refunds.empty()) {
    body << Heading("Refunds") << RefundLines(viewer, customer.refunds, kFewRows);
  }
  Facts facts;
  facts.Add("Customer", Short(customer.id, 100)).Add("Mail", Short(customer.email, 100));
  body << Heading("Known as") << "<div class=\"card\">" << std::move(facts).Done() << "</div>"
       << SearchBox("", false);
  const std::string title = Short(customer.email.empty() ? customer.id : customer.email, 100);
  return RenderPage(viewer, Section::kCustomers, title, body);
}

}  // namespace pontage::console
