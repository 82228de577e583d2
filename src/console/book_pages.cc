#include <algorithm>
#include <array>
#include <utility>

#include "console/pages.h"

namespace pontage::console {
namespace {

using codec::Json;

// What a page may show of one document; all pages stay below 50 KiB with it.
constexpr size_t kMostJson = 12'000;

struct Word {
  std::string_view word;
  Tone tone;
};
// Of all our tables and of Stripe; where two of them share a word it means the same to a person.
constexpr std::array kWords = {
    Word{"active", Tone::kGood},       Word{"paid", Tone::kGood},
    Word{"settled", Tone::kGood},      Word{"succeeded", Tone::kGood},
    Word{"done", Tone::kGood},         Word{"sent", Tone::kGood},
    Word{"delivered", Tone::kGood},    Word{"complete", Tone::kGood},
    Word{"healed", Tone::kGood},       Word{"redeemed", Tone::kGood},
    Word{"trialing", Tone::kGood},     Word{"past_due", Tone::kWait},
    Word{"open", Tone::kWait},         Word{"held", Tone::kWait},
    Word{"pending", Tone::kWait},      Word{"requested", Tone::kWait},
    Word{"new", Tone::kWait},          Word{"queued", Tone::kWait},
    Word{"sending", Tone::kWait},      Word{"incomplete", Tone::kWait},
    Word{"redeeming", Tone::kWait},    Word{"suspended", Tone::kBad},
    Word{"revoked", Tone::kBad},       Word{"unpaid", Tone::kBad},
    Word{"uncollectible", Tone::kBad}, Word{"failed", Tone::kBad},
    Word{"parked", Tone::kBad},        Word{"dead", Tone::kBad},
    Word{"suppressed", Tone::kBad},    Word{"bounced", Tone::kBad},
    Word{"in_doubt", Tone::kBad},      Word{"owed", Tone::kBad},
    Word{"broken", Tone::kBad},        Word{"differs", Tone::kBad},
};

void AppendJson(std::string& out, const Json& json, size_t depth) {
  if (out.size() > kMostJson) return;
  const std::string indent(2 * (depth + 1), ' ');
  if (const auto* members = json.AsObject(); members != nullptr && !members->empty()) {
    out += "{\n";
    for (size_t i = 0; i < members->size(); ++i) {
      out += indent + codec::ToString(Json((*members)[i].key)) + ": ";
      AppendJson(out, (*members)[i].value, depth + 1);
      out += i + 1 < members->size() ? ",\n" : "\n";
    }
    out += std::string(2 * depth, ' ') + '}';
  } else if (const auto* items = json.AsArray(); items != nullptr && !items->empty()) {
    out += "[\n";
    for (size_t i = 0; i < items->size(); ++i) {
      out += indent;
      AppendJson(out, (*items)[i], depth + 1);
      out += i + 1 < items->size() ? ",\n" : "\n";
    }
    out += std::string(2 * depth, ' ') + ']';
  } else {
    out += codec::ToString(json);
  }
}

}  // namespace

std::string Spoken(std::string_view word) {
  std::string text = Short(word, 40);
  std::ranges::replace(text, '_', ' ');
  return text;
}

Html StateBadge(std::string_view state) {
  if (state.empty()) return {};
  const auto found = std::ranges::find(kWords, state, &Word::word);
  return Badge(found == kWords.end() ? Tone::kQuiet : found->tone, Spoken(state));
}

Html JsonBlock(const Json& json) {
  std::string text;
  AppendJson(text, json, 0);
  Html html;
  html << "<pre>" << Text(Short(text, kMostJson)) << "</pre>";
  return html;
}

Html PaymentLines(const Viewer& viewer, const std::vector<PaymentRow>& rows,
                  std::string_view none) {
  Lines lines;
  for (const PaymentRow& one : rows) {
    const bool card = one.rail == "card";
    Html below;
    below << Text(Short(one.rail, 20)) << " · " << Text(Distance(one.at, viewer.now));
    if (!card && !one.what.empty()) below << "<br><bdi>" << Text(Short(one.what, 60)) << "</bdi>";
    Html state;
    state << StateBadge(one.state);
    if (!one.delivery.empty() && one.delivery != "delivered" && one.delivery != "none") {
      state << " " << StateBadge(one.delivery);
    }
    lines.Add(
        {.href = card ? Url({"admin", "customers", one.payer}) : Url({"admin", "payments", one.id}),
         .title = !one.email.empty() ? one.email : ShortHex(one.payer.empty() ? one.id : one.payer),
         .below = below,
         .amount = one.amount,
         .state = state});
  }
  return std::move(lines).Done(none);
}

Html CommandLines(const Viewer& viewer, const std::vector<ledger::Command>& rows, size_t most) {
  Lines lines;
  for (size_t i = 0; i < std::min(rows.size(), most); ++i) {
    const ledger::Command& one = rows[i];
    Html below;
    below << Text(Short(one.subject, 60)) << "<br>" << Text(Short(one.actor, 40)) << " · "
          << Text(Distance(one.created, viewer.now));
    lines.Add({.href = Url({"admin", "commands", one.id}),
               .title = one.verb,
               .below = below,
               .state = StateBadge(ledger::ToString(one.state))});
  }
  return std::move(lines).Done("No orders.");
}

Html AuditLines(const Viewer& viewer, const std::vector<ledger::AuditRow>& rows, size_t most) {
  Lines lines;
  for (size_t i = 0; i < std::min(rows.size(), most); ++i) {
    const ledger::AuditEntry& one = rows[i].entry;
    Html below;
    below << Text(Short(one.actor, 40)) << " · " << When(rows[i].at, viewer.now) << "<br><bdi>"
          << Text(Short(one.subject, 60)) << "</bdi>";
    if (!one.reason.empty()) below << "<br>“<bdi>" << Text(Short(one.reason, 100)) << "</bdi>”";
    Html behind;
    if (!one.before.empty() || !one.after.empty()) {
      Html change;
      if (!one.before.empty()) {
        change << "<pre>− " << Text(Short(one.before, 200)) << "</pre>";
      }
      if (!one.after.empty()) change << "<pre>+ " << Text(Short(one.after, 200)) << "</pre>";
      behind << Folded("What changed", change);
    }
    lines.Add({.href = "",
               .title = one.verb,
               .below = below,
               .amount = "#" + std::to_string(rows[i].seq),
               .behind = behind});
  }
  return std::move(lines).Done("Nobody has done anything yet.");
}

// What can be done about a mail that did not reach its reader.
Html MailVerb(const Viewer& viewer, const license::MailRow& mail) {
  const bool came_back = mail.state == "suppressed" || mail.state == "bounced";
  if (!viewer.scopes.Cover(Scope::kSupport) || (mail.state != "dead" && !came_back)) return {};
  const bool again = mail.state == "dead" || license::BringsLicense(mail.kind);
  if (mail.suppressed.empty() && !again) return {};
  Order order{.action = Url({"admin", "outbox", mail.id, "retry"}), .button = "Send again"};
  if (mail.suppressed.empty()) return OrderForm(viewer, order, {});
  order.button = again ? "Write there again and send it" : "Write there again";
  return OrderForm(viewer, order, Html() << "<input type=\"hidden\" name=\"allow\" value=\"yes\">");
}

Html MailLines(const Viewer& viewer, const std::vector<license::MailRow>& rows, size_t most) {
  Lines lines;
  for (size_t i = 0; i < std::min(rows.size(), most); ++i) {
    const license::MailRow& one = rows[i];
    Html below;
    below << Text(Spoken(one.kind)) << " · " << Text(Distance(one.created, viewer.now));
    if (one.attempts > 1) below << " · " << one.attempts << " tries";
    if (!one.last_error.empty()) below << "<br>" << Text(Short(one.last_error, 120));
    lines.Add({.href = one.license.empty() ? "" : Url({"admin", "licenses", one.license}),
               .title = one.recipient,
               .below = below,
               .state = StateBadge(one.state),
               .behind = MailVerb(viewer, one)});
  }
  return std::move(lines).Done("No mails.");
}

Html RefundLines(const Viewer& viewer, const std::vector<license::Refund>& rows, size_t most) {
  Lines lines;
  for (size_t i = 0; i < std::min(rows.size(), most); ++i) {
    const license::Refund& one = rows[i];
    Html below;
    below << Text(Short(one.actor, 40)) << " · " << Text(Distance(one.created, viewer.now))
          << "<br>“<bdi>" << Text(Short(one.reason, 100)) << "</bdi>”";
    lines.Add({.href = Url({"admin", "commands", one.command}),
               .title = one.whole ? "All that was left" : "A part",
               .below = below,
               .amount = one.amount == 0 ? "" : Amount(one.amount, one.currency),
               .state = StateBadge(one.state)});
  }
  return std::move(lines).Done("No refunds.");
}

std::string PaymentsPage(const Viewer& viewer, const PaymentAsk& ask,
                         const Page<PaymentRow>& page) {
  const auto url = [&ask](std::string_view rail, std::string_view state) {
    return Url({"admin", "payments"},
               {{"rail", rail}, {"state", state}, {"customer", ask.customer}});
  };
  Html body;
  if (!ask.customer.empty()) {
    body << "<p>Of <bdi>" << Text(Short(ask.customer, 100)) << "</bdi></p>";
  }
  body << Choices("Which", {{"All", url("", ""), ask.rail.empty() && ask.state.empty()},
                            {"Card", url("card", ""), ask.rail == "card" && ask.state.empty()},
                            {"x402", url("x402", ""), ask.rail == "x402" && ask.state.empty()},
                            {"Open", url("card", "open"), ask.state == "open"},
                            {"In doubt", url("x402", "in_doubt"), ask.state == "in_doubt"}})
       << PaymentLines(viewer, page.rows, "No such payment.");
  if (!page.next.empty()) {
    body << More(Url({"admin", "payments"}, {{"rail", ask.rail},
                                             {"state", ask.state},
                                             {"customer", ask.customer},
                                             {"cursor", page.next}}),
                 "Older");
  }
  return RenderPage(viewer, Section::kPayments, "Payments", body);
}

std::string ChainPaymentPage(const Viewer& viewer, const ChainPayment& payment) {
  const ledger::Reservation& row = payment.row;
  const std::string price = row.price.ToString();
  Html body;
  using S = ledger::State;
  switch (row.state) {
    case S::kSettled:
      body << "<div class=\"say ok\"><b>✓ Paid " << Text(price) << "</b>";
      break;
    case S::kInDoubt:
      body << "<div class=\"say bad\"><b>? In doubt: " << Text(price) << "</b>";
      break;
    case S::kHeld:
      body << "<div class=\"say wait\"><b>… Not settled yet: " << Text(price) << "</b>";
      break;
    case S::kVoided:
    case S::kExpired:
      body << "<div class=\"say dim\"><b>Not charged: " << Text(price) << "</b>";
      break;
  }
  body << When(row.created, viewer.now) << "</div>";
  Facts facts;
  facts.Add("State", StateBadge(ledger::ToString(row.state)))
      .Add("Delivery", StateBadge(ledger::ToString(row.delivery)))
      .Add("Failure", Short(row.failure, 100))
      .Add("Call", Short(row.method + " " + row.resource, 300))
      .Add("Route", Short(row.route, 200))
      .Add("Payer", Short(row.payer, 100))
      .Add("Paid to", Short(row.pay_to, 100))
      .Add("Network", Short(row.network, 60))
      .Add("Transaction", Short(row.transaction, 120))
      .Add("Payment", row.id.str())
      .Add("Request", row.request_id.str());
  body << "<div class=\"card\">" << std::move(facts).Done() << "</div>" << Heading("History");
  Lines lines;
  for (size_t i = 0; i < std::min(payment.history.size(), kPageRows); ++i) {
    const ledger::Ledger::Event& event = payment.history[i];
    Html below;
    below << When(event.at, viewer.now);
    if (!event.detail.empty()) below << "<br>" << Text(Short(event.detail, 200));
    lines.Add({.href = "", .title = event.what, .below = below});
  }
  body << std::move(lines).Done("Nothing.")
       << More(Url({"admin", "payments"}, {{"customer", row.payer}}), "All of this payer");
  return RenderPage(viewer, Section::kPayments, "Payment by x402", body);
}

std::string EventsPage(const Viewer& viewer, const Queries::EventAsk& ask,
                       const Page<license::EventRow>& page) {
  const auto url = [](std::string_view state) {
    return Url({"admin", "events"}, {{"state", state}});
  };
  Html body;
  body << Choices("Which", {{"All", url(""), ask.state.empty()},
                            {"New", url("new"), ask.state == "new"},
                            {"Parked", url("parked"), ask.state == "parked"},
                            {"Done", url("done"), ask.state == "done"}});
  Lines lines;
  for (const license::EventRow& one : page.rows) {
    Html below;
    below << Text(Short(one.object_id, 60)) << "<br>" << Text(Distance(one.received, viewer.now));
    if (one.source != "webhook") below << " · by " << Text(Short(one.source, 20));
    if (one.attempts > 1) below << " · " << one.attempts << " tries";
    if (!one.last_error.empty()) below << "<br>" << Text(Short(one.last_error, 120));
    lines.Add({.href = Url({"admin", "events", one.id}),
               .title = one.type,
               .below = below,
               .state = StateBadge(one.state)});
  }
  body << std::move(lines).Done("No such event.");
  if (!page.next.empty()) {
    body << More(Url({"admin", "events"}, {{"state", ask.state},
                                           {"type", ask.type},
                                           {"object", ask.object},
                                           {"cursor", page.next}}),
                 "Older");
  }
  return RenderPage(viewer, Section::kEvents, "Webhook inbox", body);
}

std::string EventPage(const Viewer& viewer, const Queries::EventShown& event) {
  const license::EventRow& row = event.row;
  Facts facts;
  facts.Add("State", StateBadge(row.state))
      .Add("About", Short(row.object_id, 100))
      .Add("Created", When(row.created, viewer.now))
      .Add("Received", When(row.received, viewer.now))
      .Add("Dealt with", row.done.ms() == 0 ? Html() : When(row.done, viewer.now))
      .Add("By", Short(row.source, 40))
      .Add("Tries", std::to_string(row.attempts))
      .Add("Fault", Short(row.last_error, 500))
      .Add("API version", Short(row.api_version, 60))
      .Add("Event", Short(row.id, 100));
  Html body;
  body << "<div class=\"card\">" << std::move(facts).Done() << "</div>";
  if (viewer.scopes.Cover(Scope::kSupport)) {
    body << "<div class=\"card\">"
         << Folded("Deal with it again",
                   OrderForm(
                       viewer,
                       {.action = Url({"admin", "events", row.id, "rerun"}), .button = "Run again"},
                       ReasonField(false)))
         << "</div>";
  }
  body << Heading("What came, without what is personal") << "<div class=\"card\">"
       << JsonBlock(event.payload) << "</div>";
  return RenderPage(viewer, Section::kEvents, Short(row.type, 80), body);
}

std::string OutboxPage(const Viewer& viewer, const Queries::MailAsk& ask,
                       const Page<license::MailRow>& page) {
  const auto url = [](std::string_view state) {
    return Url({"admin", "outbox"}, {{"state", state}});
  };
  Html body;
  body << Choices("Which",
                  {{"All", url(""), ask.state.empty()},
                   {"Waiting", url("queued"), ask.state == "queued"},
                   {"Sent", url("sent"), ask.state == "sent"},
                   {"Bounced", url("bounced"), ask.state == "bounced"},
                   {"Dead", url("dead"), ask.state == "dead"},
                   {"Not reached", url(license::kUnreached), ask.state == license::kUnreached}})
       << MailLines(viewer, page.rows, kPageRows);
  if (!page.next.empty()) {
    body << More(Url({"admin", "outbox"},
                     {{"state", ask.state}, {"license", ask.license}, {"cursor", page.next}}),
                 "Older");
  }
  return RenderPage(viewer, Section::kOutbox, "Mails", body);
}

std::string CommandsPage(const Viewer& viewer, const Queries::CommandAsk& ask,
                         const Page<ledger::Command>& page) {
  const auto url = [](std::string_view state) {
    return Url({"admin", "commands"}, {{"state", state}});
  };
  Html body;
  body << Choices("Which", {{"All", url(""), ask.state.empty()},
                            {"Waiting", url("requested"), ask.state == "requested"},
                            {"Begun", url("pending"), ask.state == "pending"},
                            {"Failed", url("failed"), ask.state == "failed"},
                            {"Parked", url("parked"), ask.state == "parked"}})
       << CommandLines(viewer, page.rows, kPageRows);
  if (!page.next.empty()) {
    body << More(Url({"admin", "commands"},
                     {{"state", ask.state}, {"subject", ask.subject}, {"cursor", page.next}}),
                 "Older");
  }
  return RenderPage(viewer, Section::kCommands, "Orders", body);
}

std::string AuditPage(const Viewer& viewer, std::string_view subject,
                      const Page<ledger::AuditRow>& page, const AuditState& state) {
  Html body;
  if (!state.holds) {
    body << "<div class=\"say bad\" role=\"alert\"><b>✗ The chain is broken</b>Row "
         << state.broken_at << " is not what it was, or is missing.</div>";
  } else if (state.whole) {
    body << "<div class=\"say ok\"><b>✓ The chain holds</b>All " << state.rows
         << " rows were looked at.</div>";
  } else {
    body << "<div class=\"say wait\"><b>… Not looked at all of it yet</b>The first " << state.rows
         << " rows hold. <a href=\"/admin/audit\">Look at more</a></div>";
  }
  if (!subject.empty()) {
    body << "<p>Of <bdi>" << Text(Short(subject, 100)) << "</bdi> · <a href=\"/admin/audit\">all"
         << "</a></p>";
  }
  body << AuditLines(viewer, page.rows, kPageRows);
  if (!page.next.empty()) {
    body << More(Url({"admin", "audit"}, {{"subject", subject}, {"cursor", page.next}}), "Older");
  }
  if (!state.hash.empty()) {
    Facts facts;
    facts.Add("Last row", std::to_string(state.seq)).Add("Its hash", state.hash);
    body << Heading("To be kept elsewhere") << "<div class=\"card\">" << std::move(facts).Done()
         << "</div>";
  }
  return RenderPage(viewer, Section::kAudit, "Who did what", body);
}

}  // namespace pontage::console
