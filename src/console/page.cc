#include "console/page.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "codec/base64.h"
#include "codec/bytes.h"
#include "codec/hex.h"
#include "codec/text.h"
#include "crypto/hash.h"
#include "wire/problem/error_map.h"

namespace pontage::console {
namespace {

// The digest of this very text stands in the Content-Security-Policy.
constexpr char kStyle[] = R"css(
:root{color-scheme:light dark;--bg:#f5f5f2;--card:#fff;--ink:#1b1d1f;--dim:#5a6168;--line:#deded9;
--act:#1d5bb8;--onact:#fff;--ok:#0f6636;--okbg:#dcf2e4;--wait:#744d00;--waitbg:#fdeecb;--bad:#a01520;
--badbg:#fbe0e0;--quiet:#ebebe7}
@media(prefers-color-scheme:dark){:root{--bg:#131517;--card:#1c1f22;--ink:#e8eaec;--dim:#a3aab2;
--line:#33383d;--act:#8fb8ff;--onact:#0c1a30;--ok:#83dfa8;--okbg:#123323;--wait:#ffd481;
--waitbg:#38290a;--bad:#ffa0a0;--badbg:#421b1f;--quiet:#2a2e32}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.45 system-ui,sans-serif;
-webkit-text-size-adjust:100%}
a{color:var(--act)}
header{background:var(--card);border-bottom:1px solid var(--line)}
nav,main,footer{max-width:48rem;margin:0 auto;padding:0 1rem}
nav{display:flex;overflow-x:auto;gap:.2rem;padding:0 .5rem}
nav a{padding:.75rem .5rem;white-space:nowrap;color:var(--dim);text-decoration:none;
border-bottom:3px solid transparent}
nav a[aria-current]{color:var(--ink);font-weight:600;border-color:var(--act)}
h1{font-size:1.3rem;line-height:1.25;margin:1.1rem 0 .7rem;overflow-wrap:anywhere}
h2{font-size:.95rem;margin:1.5rem 0 .4rem;color:var(--dim)}
p{margin:.5rem 0}
small{color:var(--dim);font-size:.85rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.8rem 1rem;
margin:.6rem 0}
ul{list-style:none;margin:0;padding:0}
ul.card{padding:0;overflow:hidden}
li+li{border-top:1px solid var(--line)}
.row{display:flex;justify-content:space-between;align-items:center;gap:.8rem;padding:.65rem 1rem;
min-height:48px;color:inherit;text-decoration:none}
a.row:hover,a.row:focus{background:var(--quiet)}
.row>span{min-width:0}
.row b,.row small{display:block;overflow-wrap:anywhere}
.row .r{text-align:right;flex:none;max-width:45%}
.row time small{display:inline}
.behind{padding:0 1rem .6rem}
.b{display:inline-block;border-radius:99px;padding:.05rem .6rem;font-size:.85rem;font-weight:600;
background:var(--quiet);color:var(--dim)}
.ok{background:var(--okbg);color:var(--ok)}.wait{background:var(--waitbg);color:var(--wait)}
.bad{background:var(--badbg);color:var(--bad)}
.say{border-radius:10px;padding:.9rem 1rem;margin:.6rem 0}
.say b{display:block;font-size:1.5rem;line-height:1.2}
.say small{color:inherit}
.dim{background:var(--quiet);color:var(--dim)}
dl{display:grid;grid-template-columns:minmax(6rem,auto) 1fr;gap:.35rem .9rem;margin:0}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
time small{white-space:nowrap}
label{display:block;margin:.6rem 0 .2rem;font-weight:600}
label.in{display:flex;gap:.5rem;align-items:center;font-weight:400;min-height:44px}
label.in input{width:1.3rem;min-height:1.3rem}
input,select,button{font:inherit;min-height:44px;border-radius:8px}
input,select{width:100%;padding:.4rem .7rem;border:1px solid var(--dim);background:var(--bg);
color:var(--ink)}
button{padding:.4rem 1.1rem;border:1px solid var(--act);background:var(--act);color:var(--onact);
font-weight:600;cursor:pointer;margin-top:.7rem}
button.grave{background:transparent;border-color:var(--bad);color:var(--bad)}
button.plain{background:transparent;color:var(--act);margin:0;border:0;padding:.4rem 0}
:focus-visible{outline:3px solid var(--act);outline-offset:1px}
.find{display:flex;gap:.5rem;margin:1rem 0 .3rem}.find input{min-width:0}.find button{margin:0}
.find label{position:absolute;left:-99rem}
details+details{border-top:1px solid var(--line)}
summary{padding:.7rem 0;min-height:44px;cursor:pointer;color:var(--act);font-weight:600}
details[open]{padding-bottom:.9rem}
.pick{display:flex;flex-wrap:wrap;gap:.4rem;margin:.6rem 0}
.pick a{padding:.45rem .8rem;border-radius:99px;border:1px solid var(--line);text-decoration:none;
background:var(--card);color:var(--ink)}
.pick a[aria-current]{background:var(--ink);color:var(--bg)}
pre{margin:.4rem 0;overflow-x:auto;font:13px/1.4 ui-monospace,monospace;white-space:pre-wrap;
overflow-wrap:anywhere}
@media(max-width:40rem){nav{display:grid;grid-template-columns:repeat(4,1fr);gap:0}
nav a{text-align:center;padding:.55rem 0 .5rem}}
footer{padding:1.5rem 1rem 2.5rem;color:var(--dim);display:flex;justify-content:space-between;
align-items:center;gap:1rem}
)css";
constexpr Markup kStyleTag(kStyle);

const std::string& Policy() {
  static const std::string policy = [] {
    const crypto::Hash32 digest = crypto::Sha256(codec::AsBytes(kStyleTag.text()));
    // An icon of ours is in the page itself.
    return "default-src 'none'; style-src 'sha256-" + codec::EncodeBase64(codec::ByteView(digest)) +
           "'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
  }();
  return policy;
}

struct Place {
  Section section;
  Markup href;
  Markup word;
};
constexpr std::array<Place, 8> kPlaces = {{
    {Section::kHome, "/admin", "Home"},
    {Section::kCustomers, "/admin/customers", "Customers"},
    {Section::kPayments, "/admin/payments", "Payments"},
    {Section::kEvents, "/admin/events", "Events"},
    {Section::kOutbox, "/admin/outbox", "Mails"},
    {Section::kCommands, "/admin/commands", "Orders"},
    {Section::kDrift, "/admin/drift", "Drift"},
    {Section::kAudit, "/admin/audit", "Audit"},
}};

Html Top(std::string_view title, bool waiting) {
  Html html;
  html << "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
          "content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" "
          "content=\"noindex\">";
  if (waiting) html << "<meta http-equiv=\"refresh\" content=\"2\">";
  html << "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' "
          "viewBox='0 0 16 16'%3E%3Cpath d='M1 13V8a7 7 0 0 1 14 0v5h-3V8a4 4 0 0 0-8 0v5z' "
          "fill='%234a7fd0'/%3E%3C/svg%3E\"><title>"
       << Text(title) << " – Pontage</title><style>" << kStyleTag << "</style></head><body>";
  return html;
}

std::string Whole(const Viewer& viewer, Section section, std::string_view title, const Html& body,
                  bool waiting) {
  Html html = Top(title, waiting);
  html << "<header><nav aria-label=\"Pages\">";
  for (const Place& place : kPlaces) {
    html << "<a href=\"" << place.href << "\"";
    if (place.section == section) html << " aria-current=\"page\"";
    html << ">" << place.word << "</a>";
  }
  html << "</nav></header><main><h1>" << Text(title) << "</h1>" << body
       << "</main><footer><span>Logged in as " << Text(viewer.name)
       << "</span><form method=\"post\" action=\"/admin/logout\"><input type=\"hidden\" "
          "name=\"csrf\" value=\""
       << Text(viewer.csrf)
       << "\"><button class=\"plain\">Log out</button></form></footer></body></html>";
  return std::move(html).Take();
}

}  // namespace

std::string RenderPage(const Viewer& viewer, Section section, std::string_view title,
                       const Html& body) {
  return Whole(viewer, section, title, body, false);
}

std::string RenderWaitingPage(const Viewer& viewer, Section section, std::string_view title,
                              const Html& body) {
  return Whole(viewer, section, title, body, true);
}

std::string SafeNext(std::string_view next) {
  constexpr std::string_view kRoot = "/admin";
  const bool ours =
      next.starts_with(kRoot) &&
      (next.size() == kRoot.size() || next[kRoot.size()] == '/' || next[kRoot.size()] == '?');
  const bool plain =
      std::ranges::all_of(next, [](char c) { return c > ' ' && c < 0x7F && c != '\\'; });
  // No way out again by way of "/admin/../".
  if (!ours || !plain || next.find("..") != next.npos || next.size() > 500)
    return std::string(kRoot);
  return std::string(next);
}

std::string LoginPage(std::string_view fault, std::string_view next) {
  Html html = Top("Log in", false);
  html << "<main><h1>Pontage</h1>";
  if (!fault.empty())
    html << "<p class=\"say bad\" role=\"alert\">" << Text(Short(fault, 300)) << "</p>";
  // The name is for whoever keeps passwords.
  html << "<form class=\"card\" method=\"post\" action=\"/admin/login\"><input type=\"hidden\" "
          "name=\"next\" value=\""
       << Text(SafeNext(next))
       << "\"><input type=\"text\" name=\"username\" value=\"operator\" autocomplete=\"username\" "
          "hidden><label for=\"key\">Operator key</label><input id=\"key\" type=\"password\" "
          "name=\"key\" autocomplete=\"current-password\" required autofocus>"
          "<button>Log in</button></form></main></body></html>";
  return std::move(html).Take();
}

std::string FaultPage(const Viewer& viewer, const Error& error, std::string_view back) {
  Html body;
  body << "<div class=\"say bad\" role=\"alert\"><b>" << Text(problem::RowOf(error.code()).title)
       << "</b>" << Text(Short(error.detail(), 500)) << "</div>";
  Facts facts;
  facts.Add("Where", Short(error.pointer(), 100)).Add("Expected", Short(error.expected(), 300));
  Html known = std::move(facts).Done();
  if (!error.pointer().empty() || !error.expected().empty()) {
    body << "<div class=\"card\">" << known << "</div>";
  }
  body << "<p><a href=\"" << Text(SafeNext(back)) << "\">Back</a></p>";
  return Whole(viewer, Section::kHome, "That did not work", body, false);
}

web::Answer ConsolePage(int status, std::string html) {
  web::Answer answer;
  answer.status = status;
  answer.type = "text/html; charset=utf-8";
  answer.body = std::move(html);
  answer.headers.emplace_back("Content-Security-Policy", Policy());
  answer.headers.emplace_back("X-Content-Type-Options", "nosniff");
  answer.headers.emplace_back("X-Frame-Options", "DENY");
  answer.headers.emplace_back("Referrer-Policy", "no-referrer");
  answer.headers.emplace_back("Cross-Origin-Opener-Policy", "same-origin");
  answer.headers.emplace_back("Cross-Origin-Resource-Policy", "same-origin");
  return answer;
}

web::Answer LeadTo(std::string_view url) {
  web::Answer answer = ConsolePage(303, "");
  answer.headers.emplace_back("Location", url);
  return answer;
}

Html OrderForm(const Viewer& viewer, const Order& order, const Html& fields) {
  // Several forms of one page are several orders.
  const crypto::Hash32 digest = crypto::Sha256(codec::AsBytes(order.action));
  const std::string key =
      viewer.idempotency_key + '.' + codec::ToHex(codec::ByteView(digest).first(8));
  Html html;
  html << "<form method=\"post\" action=\"" << Text(order.action)
       << "\"><input type=\"hidden\" name=\"csrf\" value=\"" << Text(viewer.csrf)
       << "\"><input type=\"hidden\" name=\"key\" value=\"" << Text(key) << "\">" << fields;
  if (order.grave) {
    html << "<button class=\"grave\">";
  } else {
    html << "<button>";
  }
  html << Text(order.button) << "</button></form>";
  return html;
}

Html Folded(std::string_view summary, const Html& content) {
  Html html;
  html << "<details><summary>" << Text(summary) << "</summary>" << content << "</details>";
  return html;
}

Html ReasonField(bool required) {
  Html html;
  html << "<label>Reason <input name=\"reason\" maxlength=\"500\" autocomplete=\"off\"";
  if (required) html << " required";
  html << "></label>";
  return html;
}

Html SearchBox(std::string_view search, bool focus) {
  Html html;
  html
      << "<form class=\"find\" role=\"search\" action=\"/admin/customers\"><label for=\"q\">Find a "
         "customer or a payment</label><input id=\"q\" type=\"search\" name=\"q\" "
         "placeholder=\"Mail, license, Stripe id, 0x…\" autocomplete=\"off\" "
         "autocapitalize=\"off\" spellcheck=\"false\" value=\""
      << Text(search) << "\"";
  if (focus) html << " autofocus";
  html << "><button>Find</button></form>";
  return html;
}

Facts& Facts::Add(std::string_view label, std::string_view value) {
  if (value.empty()) return *this;
  lines_ << "<dt>" << Text(label) << "</dt><dd><bdi>" << Text(value) << "</bdi></dd>";
  return *this;
}

Facts& Facts::Add(std::string_view label, const Html& value) {
  if (value.empty()) return *this;
  lines_ << "<dt>" << Text(label) << "</dt><dd>" << value << "</dd>";
  return *this;
}

Html Facts::Done() && {
  Html html;
  html << "<dl>" << lines_ << "</dl>";
  return html;
}

Lines& Lines::Add(const Line& line) {
  lines_ << "<li>";
  if (line.href.empty()) {
    lines_ << "<div class=\"row\">";
  } else {
    lines_ << "<a class=\"row\" href=\"" << Text(line.href) << "\">";
  }
  lines_ << "<span><b><bdi>" << Breakable(Short(line.title, 80)) << "</bdi></b>";
  if (!line.below.empty()) lines_ << "<small>" << line.below << "</small>";
  lines_ << "</span><span class=\"r\">";
  if (!line.amount.empty()) lines_ << "<b>" << Text(Short(line.amount, 40)) << "</b>";
  lines_ << line.state << "</span>";
  if (line.href.empty()) {
    lines_ << "</div>";
  } else {
    lines_ << "</a>";
  }
  if (!line.behind.empty()) lines_ << "<div class=\"behind\">" << line.behind << "</div>";
  lines_ << "</li>";
  return *this;
}

Html Lines::Done(std::string_view none) && {
  Html html;
  if (lines_.empty()) return html << "<p class=\"card\">" << Text(none) << "</p>";
  html << "<ul class=\"card\">" << lines_ << "</ul>";
  return html;
}

Html Breakable(std::string_view text) {
  Html html;
  while (!text.empty()) {
    const size_t at = std::min(text.find_first_of(".@_/:"), text.size());
    const size_t end = std::min(at + 1, text.size());
    html << Text(text.substr(0, end));
    if (end < text.size()) html << "<wbr>";
    text.remove_prefix(end);
  }
  return html;
}

std::string ShortHex(std::string_view text) {
  constexpr size_t kFront = 8;
  constexpr size_t kBack = 6;
  if (!text.starts_with("0x") || text.size() <= kFront + kBack + 1) return std::string(text);
  return std::string(text.substr(0, kFront)) + "…" + std::string(text.substr(text.size() - kBack));
}

Html Heading(std::string_view text) {
  Html html;
  html << "<h2>" << Text(text) << "</h2>";
  return html;
}

Html More(std::string_view url, std::string_view text) {
  Html html;
  if (!url.empty()) html << "<p><a href=\"" << Text(url) << "\">" << Text(text) << "</a></p>";
  return html;
}

Html Choices(std::string_view label, std::initializer_list<Choice> choices) {
  Html html;
  html << "<div class=\"pick\" role=\"group\" aria-label=\"" << Text(label) << "\">";
  for (const Choice& choice : choices) {
    html << "<a href=\"" << Text(choice.url) << "\"";
    if (choice.here) html << " aria-current=\"true\"";
    html << ">" << Text(choice.word) << "</a>";
  }
  html << "</div>";
  return html;
}

Html Outside(std::string_view url, std::string_view text) {
  Html html;
  if (!url.starts_with("https://") && !url.starts_with("http://")) return html;
  html << "<a rel=\"noreferrer noopener\" href=\"" << Text(url) << "\">" << Text(text) << "</a>";
  return html;
}

std::string Short(std::string_view text, size_t most) {
  std::string out;
  size_t characters = 0;
  while (!text.empty()) {
    const size_t length = std::max<size_t>(Utf8Length(text), 1);
    if (++characters > most) return out + "…";
    out += text.substr(0, length);
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace pontage::console
