#include <algorithm>

#include "console/pages.h"

namespace pontage::console {
namespace {

using license::Status;

Html RefundForm(const Viewer& viewer, const LicenseWhole& whole,
                const license::InvoiceRow& invoice) {
  Html fields;
  fields << "<p>The last payment was " << Text(Amount(invoice.paid, invoice.currency)) << ", "
         << Text(Distance(invoice.created, viewer.now))
         << ". All of it back ends the license; a part of it changes nothing else.</p>"
            "<label>Amount, empty for all that is left <input name=\"amount\" "
            "inputmode=\"decimal\" autocomplete=\"off\" placeholder=\"29.00\"></label>"
            "<label>Once more to be sure: the same amount, or the word all <input "
            "name=\"confirm\" autocomplete=\"off\" autocapitalize=\"off\" required></label>";
  if (!whole.license.subscription.empty()) {
    fields << "<label class=\"in\"><input type=\"checkbox\" name=\"cancel\" value=\"yes\">End the "
              "subscription now, too; it is charged again otherwise</label>";
  }
  fields << ReasonField(true) << "<input type=\"hidden\" name=\"currency\" value=\""
         << Text(Short(invoice.currency, 8)) << "\">";
  return OrderForm(viewer,
                   {.action = Url({"admin", "licenses", whole.license.id, "refund"}),
                    .button = "Pay back",
                    .grave = true},
                   fields);
}

Html MailBox(const license::License& license) {
  Html html;
  if (license.email.empty()) return html;
  html << "<label class=\"in\"><input type=\"checkbox\" name=\"mail\" value=\"yes\" checked>Send "
          "it to "
       << Text(Short(license.email, 80)) << "</label>";
  return html;
}

Html Verbs(const Viewer& viewer, const LicenseWhole& whole,
           const std::optional<license::InvoiceRow>& last) {
  const license::License& license = whole.license;
  const bool revoked = whole.status == Status::kRevoked;
  const auto to = [&license](std::string_view verb) {
    return Url({"admin", "licenses", license.id, verb});
  };
  Html html;
  if (viewer.scopes.Cover(Scope::kSupport) && !revoked) {
    Html extend;
    extend << "<p>It stands that much longer, whatever is paid.</p><label>Days <input "
              "name=\"days\" type=\"number\" min=\"1\" max=\"3650\" inputmode=\"numeric\" "
              "required></label>"
           << ReasonField(true);
    html << Folded("Extend",
                   OrderForm(viewer, {.action = to("extend"), .button = "Extend"}, extend));
    Html reissue;
    reissue << "<p>A new license is written; the one before stops.</p><label>It stops "
               "<select name=\"overlap\"><option value=\"\">at once</option><option "
               "value=\"1h\">in an hour</option><option value=\"24h\">in a day</option><option "
               "value=\"168h\">in a week</option></select></label>"
            << MailBox(license) << ReasonField(true);
    html << Folded("Reissue",
                   OrderForm(viewer, {.action = to("reissue"), .button = "Reissue"}, reissue));
  }
  if (viewer.scopes.Cover(Scope::kRefund) && last) {
    html << Folded("Refund", RefundForm(viewer, whole, *last));
  }
  if (viewer.scopes.Cover(Scope::kOwner) && !revoked) {
    Html revoke;
    revoke << "<p>It stops within seconds, for good: no payment brings it back.";
    if (!whole.license.subscription.empty()) {
      revoke << " Its subscription goes on and is charged for: end that, too, with a refund or at "
                "Stripe.";
    }
    revoke << "</p>" << ReasonField(true)
           << "<label>Type revoke to be sure <input name=\"confirm\" autocomplete=\"off\" "
              "autocapitalize=\"off\" required></label>";
    html << Folded(
        "Revoke",
        OrderForm(viewer, {.action = to("revoke"), .button = "Revoke", .grave = true}, revoke));
  }
  return html;
}

Html State(const Viewer& viewer, const LicenseWhole& whole) {
  const license::License& license = whole.license;
  Html html;
  Facts facts;
  facts.Add("Status", StateBadge(license::ToString(whole.status)))
      .Add(viewer.now >= license.expires ? "Ended" : "Ends", When(license.expires, viewer.now));
  if (license.paid_through.ms() != 0) {
    facts.Add("Paid until", When(license.paid_through, viewer.now));
  }
  if (whole.purchase) {
    facts.Add("Purchase", StateBadge(whole.purchase->status));
    if (whole.purchase->period_end.ms() != 0) {
      facts.Add("Period ends", When(whole.purchase->period_end, viewer.now));
    }
  }
  Html who;
  who << "<a href=\"" << Text(Url({"admin", "customers", license.customer})) << "\"><bdi>"
      << Text(Short(license.email.empty() ? license.customer : license.email, 80)) << "</bdi></a>";
  Html calls;
  calls << whole.usage.today << " today, " << whole.usage.month << " this month";
  if (license.limits.monthly > 0) calls << " of " << license.limits.monthly;
  facts.Add("Customer", who)
      .Add("Calls", calls)
      .Add("Plan", Short(license.plan, 60))
      .Add("Tier", Short(license.tier, 60))
      .Add("Reason", Short(license.reason, 500))
      .Add("Revoked by", Short(license.revoked_by, 40));
  Html generation;
  generation << license.generation << ", written " << When(license.issued, viewer.now);
  facts.Add("Generation", generation)
      .Add("Origin", Short(license.origin, 120))
      .Add("License", Short(license.id, 80));
  html << "<div class=\"card\">" << std::move(facts).Done();
  return html << "</div>";
}

}  // namespace

std::string LicensePage(const Viewer& viewer, const LicenseWhole& whole,
                        const std::optional<license::InvoiceRow>& last) {
  Html body;
  body << State(viewer, whole);
  const Html verbs = Verbs(viewer, whole, last);
  if (!verbs.empty()) body << Heading("Do") << "<div class=\"card\">" << verbs << "</div>";
  if (!whole.refunds.empty()) {
    body << Heading("Refunds") << RefundLines(viewer, whole.refunds, kFewRows);
  }
  body << Heading("Mails") << MailLines(viewer, whole.mails, kFewRows);
  if (!whole.commands.empty()) {
    body << Heading("Orders") << CommandLines(viewer, whole.commands, kFewRows);
  }
  if (!whole.audit.empty()) {
    body << Heading("Who did what") << AuditLines(viewer, whole.audit, kFewRows)
         << More(Url({"admin", "audit"}, {{"subject", whole.license.id}}), "All of it");
  }
  return RenderPage(viewer, Section::kCustomers, "License for " + Short(whole.license.plan, 60),
                    body);
}

std::string IssuePage(const Viewer& viewer, const std::vector<std::string>& plans) {
  Html body;
  if (plans.empty()) {
    body << "<p class=\"card\">There is no plan in the configuration of this process.</p>";
    return RenderPage(viewer, Section::kCustomers, "Issue a license", body);
  }
  Html fields;
  fields << "<label>Plan <select name=\"plan\">";
  for (const std::string& plan : plans) fields << "<option>" << Text(plan) << "</option>";
  fields << "</select></label><label>Customer, as you call him or cus_… at Stripe <input "
            "name=\"customer\" autocomplete=\"off\" autocapitalize=\"off\" required></label>"
            "<label>Mail <input name=\"email\" type=\"email\" autocomplete=\"off\"></label>"
            "<label class=\"in\"><input type=\"checkbox\" name=\"mail\" value=\"yes\" checked>Send "
            "it there</label>"
            "<label>Days, empty: as the plan says <input name=\"days\" type=\"number\" min=\"1\" "
            "max=\"3650\" inputmode=\"numeric\"></label>"
         << ReasonField(false);
  body << "<div class=\"card\">"
       << OrderForm(viewer, {.action = "/admin/issue", .button = "Issue"}, fields) << "</div>";
  return RenderPage(viewer, Section::kCustomers, "Issue a license", body);
}

std::string CommandPage(const Viewer& viewer, const ledger::Command& command,
                        const codec::Json& result) {
  Html body;
  const auto say = [&body](Markup opening, std::string_view text) {
    body << opening << Text(text) << "</b>";
  };
  using S = ledger::CommandState;
  switch (command.state) {
    case S::kDone:
      say("<div class=\"say ok\" role=\"status\"><b>✓ ", "Done");
      break;
    case S::kFailed:
      say("<div class=\"say bad\" role=\"alert\"><b>✗ ", "It could not be done");
      break;
    case S::kParked:
      say("<div class=\"say bad\" role=\"alert\"><b>✗ ", "Given up for now");
      break;
    case S::kPending:
      say("<div class=\"say wait\" role=\"status\"><b>… ", "Begun; Stripe has the last word");
      break;
    case S::kRequested:
      say("<div class=\"say wait\" role=\"status\"><b>… ", "Waiting for the role sales");
      break;
  }
  body << Text(Short(command.verb, 60)) << ", " << Text(Distance(command.created, viewer.now))
       << "</div>";
  const codec::Json* const text = result.Find("text");
  if (text != nullptr && text->AsString() != nullptr) {
    body << Heading("The license") << "<div class=\"card\"><pre>" << Text(*text->AsString())
         << "</pre></div>";
  }
  Facts facts;
  Html subject;
  const std::string license = [&] {
    const codec::Json* const made = result.Find("license");
    const codec::Json* const id = made == nullptr ? nullptr : made->Find("id");
    if (id != nullptr && id->AsString() != nullptr) return *id->AsString();
    return command.subject.starts_with("lic_") ? command.subject : std::string();
  }();
  if (!license.empty()) {
    subject << "<a href=\"" << Text(Url({"admin", "licenses", license})) << "\">"
            << Text(Short(license, 80)) << "</a>";
    facts.Add("License", subject);
  } else {
    facts.Add("Subject", Short(command.subject, 120));
  }
  const codec::Json* const refund = result.Find("refund");
  if (refund != nullptr) facts.Add("Refund", JsonBlock(*refund));
  for (const auto& [key, label] :
       {std::pair{"allowed", "Written to again"}, std::pair{"sent_again", "Mailed again"}}) {
    const codec::Json* const value = result.Find(key);
    if (value != nullptr && value->AsString() != nullptr) {
      facts.Add(label, Short(*value->AsString(), 120));
    }
  }
  facts.Add("State", StateBadge(ledger::ToString(command.state)))
      .Add("By", Short(command.actor, 60))
      .Add("At", When(command.created, viewer.now))
      .Add("Fault", Short(command.last_error, 500))
      .Add("Order", Short(command.id, 80));
  const bool failed = command.state == S::kFailed;
  if (failed) facts.Add("Answer", Short(command.outcome, 500));
  body << "<div class=\"card\">" << std::move(facts).Done() << "</div>";
  const std::string_view title = "Order";
  return command.over() ? RenderPage(viewer, Section::kCommands, title, body)
                        : RenderWaitingPage(viewer, Section::kCommands, title, body);
}

}  // namespace pontage::console
