#include "sales/billing_pages.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "codec/text.h"
#include "sales/mail/templates.h"

namespace pontage::sales {
namespace {

using codec::EscapeHtml;
using codec::Json;

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;"
    "color:#1c1c1c;background:#fff}h1{font-size:1.5rem}pre{background:#f4f4f2;padding:1rem;"
    "overflow:auto;border-radius:6px;white-space:pre-wrap;word-break:break-all}"
    "section{border:1px solid #ddd;border-radius:8px;padding:1rem;margin:1rem 0}"
    ".price{font-size:1.6rem;font-weight:600;margin:.2rem 0}input{font:inherit;padding:.4rem;"
    "width:100%;max-width:20rem;box-sizing:border-box}button{font:inherit;padding:.5rem 1rem;"
    "margin-top:.6rem;cursor:pointer}label{display:block}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}pre{background:#242424}"
    "section{border-color:#444}}";

// Beside what is on its way: nobody tells this page of a payment that will never come.
constexpr std::string_view kUnpaid =
    "<p>A payment by bank may take days. If yours was refused or not finished, nothing was bought: "
    "<a href=\"/billing\">start again</a>.</p>";

constexpr std::string_view kResendForm =
    "<form method=\"post\" action=\"/billing/resend\"><label>Your address <input type=\"email\" "
    "name=\"email\" autocomplete=\"email\"></label><button>Send it again</button></form>";

std::string Page(std::string_view title, std::string_view head, const std::string& body) {
  std::string page =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>";
  page += EscapeHtml(title);
  page += "</title>";
  page += head;
  page += "<style>";
  page += kStyle;
  page += "</style></head><body>" + body + "</body></html>";
  return page;
}

std::string Term(const SoldPlan& plan) {
  if (!plan.interval.empty()) return "every " + plan.interval;
  return "once, for " + std::to_string(plan.days) + " days";
}

std::string LimitText(const SoldPlan& plan) {
  std::string text;
  if (plan.limits.monthly > 0) text += std::to_string(plan.limits.monthly) + " calls a month";
  if (plan.limits.rpm > 0) {
    text += (text.empty() ? "" : ", ") + std::to_string(plan.limits.rpm) + " a minute";
  }
  return text;
}

std::string PlanSection(const SoldPlan& plan) {
  std::string out = "<section><h2>" + EscapeHtml(plan.name) + "</h2><p class=\"price\">" +
                    EscapeHtml(plan.shown) + "</p><p>Charged " + EscapeHtml(Term(plan)) + ".";
  if (plan.trial_days > 0) {
    out +=
        " The first " + std::to_string(plan.trial_days) + " days of your first license are free.";
  }
  out += "</p>";
  std::string products;
  for (const std::string& product : plan.products) {
    products += (products.empty() ? "" : ", ") + product;
  }
  if (!products.empty()) out += "<p>Opens " + EscapeHtml(products) + ".</p>";
  const std::string limits = LimitText(plan);
  if (!limits.empty()) out += "<p>" + EscapeHtml(limits) + ".</p>";
  out +=
      "<form method=\"post\" action=\"/billing/checkout\"><input type=\"hidden\" name=\"plan\" "
      "value=\"" +
      EscapeHtml(plan.name) +
      "\"><label>Your address <input type=\"email\" name=\"email\" autocomplete=\"email\" "
      "placeholder=\"you@company.example\"></label><button>Pay by card</button></form>"
      "</section>";
  return out;
}

// A link for people, if it is one that a browser follows without doing anything else.
std::string Anchor(std::string_view text, const std::string& url) {
  if (!url.starts_with("https://") && !url.starts_with("http://")) return "";
  return "<a href=\"" + EscapeHtml(url) + "\">" + EscapeHtml(text) + "</a>";
}

constexpr int kMostLooks = 30;

int ReadLook(std::string_view text) {
  int look = 0;
  const char* const end = text.data() + text.size();
  const auto [at, fault] = std::from_chars(text.data(), end, look);
  if (fault != std::errc() || at != end || look < 0) return 0;
  return std::min(look, kMostLooks);
}

// In seconds; 0: it has looked for five minutes.
int PauseBefore(int look) {
  if (look < 15) return 2;
  if (look < 24) return 10;
  return look < kMostLooks ? 30 : 0;
}

std::string InvoiceLinks(const Bought& bought) {
  const std::string page = Anchor("Invoice", bought.invoice_url);
  const std::string file = Anchor("Invoice as PDF", bought.invoice_pdf);
  if (page.empty() && file.empty()) return "";
  return "<p>" + page + (page.empty() || file.empty() ? "" : " · ") + file + "</p>";
}

// "": it opens what it was bought for.
std::string_view OverText(license::Status status) {
  switch (status) {
    case license::Status::kActive:
    case license::Status::kPastDue:
      return "";
    case license::Status::kSuspended:
      return " is suspended: its payment is open, paused or disputed.";
    case license::Status::kRevoked:
      return " was revoked.";
    case license::Status::kExpired:
      return " has ended.";
  }
  return "";
}

}  // namespace

Json PriceListJson(const Shop& shop) {
  Json plans = Json::Array();
  for (const auto& [name, plan] : shop.plans) {
    Json products = Json::Array();
    for (const std::string& product : plan.products) products.Push(product);
    Json one = Json::Object({{"plan", name}, {"price", plan.shown}});
    one.Set("interval", plan.interval.empty() ? Json(nullptr) : Json(plan.interval));
    if (plan.interval.empty()) one.Set("days", plan.days);
    if (plan.trial_days > 0) one.Set("trial_days", plan.trial_days);
    one.Set("product", std::move(products));
    Json limits = Json::Object();
    if (plan.limits.monthly > 0) limits.Set("monthly", plan.limits.monthly);
    if (plan.limits.rpm > 0) limits.Set("rpm", plan.limits.rpm);
    one.Set("limits", std::move(limits));
    plans.Push(std::move(one));
  }
  Json json = Json::Object({{"checkout", shop.public_url + "/billing/checkout"}});
  json.Set("plans", std::move(plans));
  return json;
}

std::string PriceListPage(const Shop& shop) {
  std::string body = "<h1>Prices</h1>";
  if (shop.plans.empty()) body += "<p>There is nothing to buy by card here.</p>";
  for (const auto& [name, plan] : shop.plans) body += PlanSection(plan);
  body +=
      "<section><h2>You have a license</h2><form method=\"post\" action=\"/billing/portal\">"
      "<label>License <input name=\"license\" autocomplete=\"off\"></label>"
      "<button>Invoices, card, cancel</button></form></section>"
      "<section><h2>You have lost it</h2>";
  body += kResendForm;
  body += "</section>";
  return Page("Prices", "", body);
}

Json SuccessJson(const Bought& bought) {
  Json json = Json::Object({{"state", bought.ready ? "ready" : "pending"}});
  if (!bought.ready) return json;
  if (!bought.resend_url.empty()) {
    json.Set("resend_url", bought.resend_url);
  } else if (!bought.claim_url.empty()) {
    json.Set("claim_url", bought.claim_url);
  } else {
    json.Set("license", bought.license);
  }
  json.Set("plan", bought.plan);
  json.Set("status", license::ToString(bought.status));
  json.Set("expires_at", bought.expires_at.Rfc3339());
  if (!bought.invoice_url.empty()) json.Set("invoice_url", bought.invoice_url);
  if (!bought.invoice_pdf.empty()) json.Set("invoice_pdf", bought.invoice_pdf);
  return json;
}

std::string SuccessPage(const Shop& shop, const Bought& bought) {
  if (const std::string_view over = OverText(bought.status); !over.empty()) {
    return Page("Your license", "",
                "<h1>Your license</h1><p>Your license for the plan " + EscapeHtml(bought.plan) +
                    std::string(over) + "</p>" + InvoiceLinks(bought) +
                    "<p><a href=\"/billing\">Plans, invoices, card</a></p>");
  }
  if (!bought.resend_url.empty()) {
    return Page("Thank you", "",
                "<h1>Thank you</h1><p>Your license for the plan " + EscapeHtml(bought.plan) +
                    ", good until " + EscapeHtml(mail::Moment(bought.expires_at)) +
                    ", was sent by mail. This page does not show it any more.</p>" +
                    std::string(kResendForm) + InvoiceLinks(bought));
  }
  if (!bought.claim_url.empty()) {
    return Page("Thank you", "",
                "<h1>Thank you</h1><p>Your license for the plan " + EscapeHtml(bought.plan) +
                    " is ready; it is shown once. A link to it is also on its way by mail.</p><p>" +
                    Anchor("Show the license", bought.claim_url) + "</p>" + InvoiceLinks(bought));
  }
  const std::string license = EscapeHtml(bought.license);
  const std::string url = EscapeHtml(shop.seller.call_url);
  std::string body =
      "<h1>Thank you</h1><p>Your license for the plan " + EscapeHtml(bought.plan) +
      ", good until " + EscapeHtml(mail::Moment(bought.expires_at)) +
      (shop.claim_links ? ". It is shown once." : ". It is also on its way by mail.") +
      " Keep it like a password.</p><pre>" + license +
      "</pre><h2>Use it</h2><pre>curl -H &quot;Authorization: Bearer " + license + "&quot; " + url +
      "</pre>";
  const std::string mcp =
      shop.seller.mcp_url.empty() ? shop.public_url + "/mcp" : shop.seller.mcp_url;
  const Json entry = Json::Object(
      {{"mcpServers",
        Json::Object(
            {{"pontage",
              Json::Object({{"url", mcp},
                            {"headers",
                             Json::Object({{"Authorization", "Bearer " + bought.license}})}})}})}});
  body += "<h2>In an MCP client</h2><pre>" + EscapeHtml(codec::ToString(entry)) + "</pre>" +
          InvoiceLinks(bought) + "<p><a href=\"/billing\">Invoices, card, cancel</a></p>";
  return Page("Your license", "", body);
}

std::string PendingPage(const std::string& session, std::string_view look) {
  const int done = ReadLook(look);
  const int pause = PauseBefore(done);
  const std::string where = "/billing/success?session_id=" + session;
  if (pause == 0) {
    return Page("Thank you", "",
                "<h1>Thank you</h1><p>Your license is still on its way. It comes by mail; this "
                "page looks no more by itself.</p><p><a href=\"" +
                    EscapeHtml(where) + "\">Look again</a></p>" + std::string(kUnpaid));
  }
  const std::string next = where + "&look=" + std::to_string(done + 1);
  return Page("Thank you",
              "<meta http-equiv=\"refresh\" content=\"" + std::to_string(pause) +
                  ";url=" + EscapeHtml(next) + "\">",
              "<h1>Thank you</h1><p>Your license is on its way. This page looks again by "
              "itself; it also comes by mail.</p>" +
                  std::string(kUnpaid));
}

std::string ClaimPage(std::string_view name, std::string_view value) {
  return Page("Your license", "",
              "<h1>Your license</h1><p>It is shown once. Keep it like a password.</p>"
              "<form method=\"post\" action=\"/billing/claim\"><input type=\"hidden\" name=\"" +
                  EscapeHtml(name) + "\" value=\"" + EscapeHtml(value) +
                  "\"><button>Show the license</button></form>");
}

}  // namespace pontage::sales
