#include "sandbox/stripe/pages.h"

#include <utility>

#include "sandbox/stripe/fields.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;"
    "color:#1a1a1a;background:#fff}"
    "label{display:block;margin:.75rem 0}input,select{font:inherit;display:block;width:100%;"
    "padding:.4rem;box-sizing:border-box}"
    "button{font:inherit;padding:.5rem .9rem;margin:.25rem .25rem .25rem 0}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem;"
    "border-bottom:1px solid #ccc}"
    "[role=alert]{border-left:.3rem solid #b00020;padding:.5rem 1rem;background:#fdecee}"
    ".note{color:#555}";

Page NotFound() { return HtmlPage(404, "Not found", "<p>There is nothing here.</p>"); }

constexpr std::string_view kComplete = "/complete";
constexpr std::string_view kPdf = "/pdf";

// Whether `path` had `end`, which it has no more.
bool TakeEnd(std::string_view& path, std::string_view end) {
  if (!path.ends_with(end)) return false;
  path.remove_suffix(end.size());
  return true;
}

// The rest of `path` behind `prefix` when it is one step; empty otherwise.
std::string_view IdIn(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return {};
  path.remove_prefix(prefix.size());
  return path.find('/') == std::string_view::npos ? path : std::string_view();
}

Page ReceiptPage(const Json& charge) {
  return HtmlPage(200, "Receipt",
                  "<p>Paid " +
                      Escape(AmountText(IntOf(charge, "amount"), TextOf(charge, "currency"))) +
                      " on " + DateText(IntOf(charge, "created")) + ".</p>");
}

}  // namespace

Page HtmlPage(int status, const std::string& title, const std::string& main) {
  Page page;
  page.status = status;
  page.body =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<title>" +
      Escape(title) + "</title><style>" + std::string(kStyle) +
      "</style></head>\n<body><main><h1>" + Escape(title) + "</h1>\n" + main +
      "\n<p class=\"note\">A sandbox of Pontage: no money moves here.</p>"
      "</main></body></html>\n";
  return page;
}

Page SeeOther(std::string location) {
  Page page;
  page.status = 303;
  page.location = std::move(location);
  return page;
}

std::string AmountText(int64_t amount, std::string_view currency) {
  const std::string sign = amount < 0 ? "-" : "";
  const int64_t size = amount < 0 ? -amount : amount;
  const std::string cents = std::to_string(size % 100);
  const std::string number =
      std::to_string(size / 100) + '.' + (cents.size() < 2 ? "0" : "") + cents;
  if (currency == "usd") return sign + '$' + number;
  std::string name(currency);
  for (char& c : name) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return sign + number + ' ' + name;
}

std::string DateText(int64_t seconds) {
  return UnixMs::FromSeconds(seconds).Rfc3339().substr(0, 10);
}

Page ServePage(Account& account, std::string_view method, std::string_view path,
               const Params& params) {
  const bool post = method == "POST";
  if (!post && method != "GET" && method != "HEAD") {
    return HtmlPage(405, "Not here", "<p>This method does nothing here.</p>");
  }
  std::string_view checkout = path;
  const bool complete = post && TakeEnd(checkout, kComplete);
  if (Json* session = account.store.Find(Kind::kSession, IdIn(checkout, "/checkout/pay/"))) {
    const CheckoutStep step = complete ? CheckoutStep::kComplete
                              : post   ? CheckoutStep::kSend
                                       : CheckoutStep::kLook;
    return CheckoutPage(account, *session, step, params);
  }
  if (const Json* portal = account.store.Find(Kind::kPortalSession, IdIn(path, "/portal/"))) {
    return PortalPage(account, *portal, post, params);
  }
  if (const Json* charge = account.store.Find(Kind::kCharge, IdIn(path, "/receipts/"))) {
    return ReceiptPage(*charge);
  }
  const bool pdf = TakeEnd(path, kPdf);
  Json* invoice = account.store.Find(Kind::kInvoice, IdIn(path, "/invoices/"));
  // A draft has no page yet.
  if (invoice == nullptr || TextOf(*invoice, "hosted_invoice_url").empty()) return NotFound();
  return pdf ? InvoicePdf(*invoice) : InvoicePage(account, *invoice, post);
}

}  // namespace pontage::sandbox::stripe
