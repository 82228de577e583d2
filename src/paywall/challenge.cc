#include "paywall/challenge.h"

#include <algorithm>

#include "codec/text.h"
#include "net/http1.h"
#include "wire/problem/error_map.h"

namespace pontage::paywall {
namespace {

using codec::EscapeHtml;
using codec::Json;

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;"
    "color:#1c1c1c;background:#fff}h1{font-size:1.5rem}.price{font-size:2rem;font-weight:600}"
    "pre{background:#f4f4f2;padding:1rem;overflow:auto;border-radius:6px}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem .3rem 0;"
    "border-bottom:1px solid #ddd;word-break:break-all;vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}pre{background:#242424}"
    "td,th{border-color:#444}}";

// One row for each way to pay, out of what the rails put into the object.
std::string OfferRows(const Json& members) {
  std::string rows;
  const Json* accepts = members.Find("accepts");
  if (accepts == nullptr || accepts->AsArray() == nullptr) return rows;
  for (const Json& one : *accepts->AsArray()) {
    const auto text = [&one](std::string_view key) -> std::string {
      const Json* value = one.Find(key);
      return value != nullptr && value->AsString() != nullptr ? EscapeHtml(*value->AsString()) : "";
    };
    rows += "<tr><td>" + text("network") + "</td><td>" + text("maxAmountRequired") + "</td><td>" +
            text("asset") + "</td><td>" + text("payTo") + "</td></tr>";
  }
  return rows;
}

std::string Page(const deal::Quote& quote, const Error& why, const Json& members) {
  const std::string url = EscapeHtml(quote.resource_url);
  std::string page =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>Payment required</title><style>";
  page += kStyle;
  page += "</style></head><body><h1>Payment required</h1>";
  if (why.code() != Code::kPaymentRequired) {
    page += "<p><strong>" + EscapeHtml(why.detail()) + "</strong></p>";
  }
  if (!quote.description.empty()) page += "<p>" + EscapeHtml(quote.description) + "</p>";
  page += "<p><code>" + EscapeHtml(quote.method) + " " + url +
          "</code> costs</p><p class=\"price\">" + EscapeHtml(quote.price.ToString()) +
          " per call</p>";
  page +=
      "<p>This address sells to programs: a client with a wallet pays for each call over "
      "<a href=\"https://www.x402.org\">x402</a>, without an account. The offer is in the "
      "<code>PAYMENT-REQUIRED</code> header of this answer. With the official JavaScript "
      "client:</p>"
      "<pre>npm install @x402/fetch @x402/evm viem\n\n"
      "import { wrapFetchWithPayment, x402Client } from \"@x402/fetch\";\n"
      "import { ExactEvmScheme } from \"@x402/evm/exact/client\";\n"
      "import { privateKeyToAccount } from \"viem/accounts\";\n\n"
      "const client = new x402Client().register(\"eip155:*\",\n"
      "  new ExactEvmScheme(privateKeyToAccount(process.env.KEY)));\n"
      "const answer = await wrapFetchWithPayment(fetch, client)(\"" +
      url + "\");</pre><p>or from a shell:</p><pre>pontage pay " + url + "</pre>";
  const std::string rows = OfferRows(members);
  if (!rows.empty()) {
    page +=
        "<table><tr><th>Network</th><th>Amount (atomic units)</th><th>Asset</th><th>Pay to</th>"
        "</tr>" +
        rows + "</table>";
  }
  page += "</body></html>";
  return page;
}

}  // namespace

std::shared_ptr<Offered> RefusalCache::Of(const rail::RailSet& rails, const deal::Quote& quote,
                                          const std::function<Error()>& why) {
  if (rails.id() > rails_id_) kept_.clear();
  rails_id_ = std::max(rails_id_, rails.id());
  std::string key = std::to_string(quote.route);
  key.reserve(key.size() + 1 + quote.resource_url.size());
  key.append(" ").append(quote.resource_url);
  // A request from before a reload still gets the prices it began with, and leaves none behind.
  const bool keeps = rails.id() == rails_id_ && key.size() <= kKey;
  if (keeps) {
    if (const auto found = kept_.find(key); found != kept_.end()) return found->second;
  }
  const Error unpaid = why();
  deal::Challenge challenge;
  rails.Offer(quote, unpaid, challenge);
  Refusal refusal = MakeRefusal(quote, unpaid, std::move(challenge), false);
  auto offered = std::make_shared<Offered>();
  refusal.headers.emplace(refusal.headers.begin(), "Content-Type", refusal.content_type);
  for (const auto& [name, value] : refusal.headers) {
    offered->fields.Remove(name);
    // Offers are long: what can be judged now need not be each time.
    if (net::http1::IsToken(name) && net::http1::IsFieldValue(value)) {
      offered->fields.AddJudged(name, value);
    } else {
      offered->fields.Add(name, value);
    }
  }
  offered->body = std::move(refusal.body);
  if (!keeps) return offered;
  if (kept_.size() == kKept) kept_.clear();
  return kept_.emplace(std::move(key), std::move(offered)).first->second;
}

bool IsBrowser(const net::Headers& headers) {
  const auto accept = headers.Get("Accept");
  const auto agent = headers.Get("User-Agent");
  return accept && agent && accept->find("text/html") != accept->npos &&
         agent->find("Mozilla") != agent->npos;
}

Refusal MakeRefusal(const deal::Quote& quote, const Error& why, deal::Challenge challenge,
                    bool browser) {
  Refusal refusal;
  if (IsLicenseFault(why.code())) refusal.status = problem::RowOf(why.code()).http;
  refusal.headers = std::move(challenge.headers);
  if (refusal.status == 401) {
    // RFC 6750 §3: nothing of the detail, which may hold quotes.
    refusal.headers.emplace_back("WWW-Authenticate", "Bearer error=\"invalid_token\"");
  }
  refusal.headers.emplace_back("Cache-Control", "no-store");
  refusal.headers.emplace_back(
      "Vary", "PAYMENT-SIGNATURE, X-PAYMENT, SIGN-IN-WITH-X, Authorization, X-API-Key, Accept");
  if (browser) {
    refusal.content_type = "text/html; charset=utf-8";
    refusal.headers.emplace_back("Content-Security-Policy",
                                 "default-src 'none'; style-src 'unsafe-inline'");
    refusal.body = Page(quote, why, challenge.members);
    return refusal;
  }
  Json body = problem::ToJson(why, refusal.status);
  for (const codec::JsonMember& member : *challenge.members.AsObject()) {
    body.Set(member.key, member.value);
  }
  refusal.content_type = challenge.plain_json ? "application/json" : problem::kContentType;
  refusal.body = codec::ToString(body);
  return refusal;
}

}  // namespace pontage::paywall
