#include <utility>

#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/invoices.h"
#include "sandbox/stripe/pages.h"
#include "sandbox/stripe/pdf.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

std::string Amount(const Json& object, const char* key, const Json& invoice) {
  return AmountText(IntOf(object, key), TextOf(invoice, "currency"));
}

}  // namespace

void PayOpenInvoice(Account& account, Json& invoice) {
  const Payer payer = {TextOf(invoice, "customer"), TextOf(invoice, "customer_email"),
                       TextOf(invoice, "customer_name")};
  const std::string method = AddCard(account, payer, Card::kGood);
  const Json& details = Member(Member(invoice, "parent"), "subscription_details");
  Json* subscription = account.store.Find(Kind::kSubscription, TextOf(details, "subscription"));
  if (subscription != nullptr) {
    const Json before = *subscription;
    subscription->Set("default_payment_method", method);
    EmitUpdate(account, "customer.subscription.updated", before, *subscription);
  }
  invoice.Set("default_payment_method", method);
  Collect(account, invoice, Attempt::kByBuyer);
}

Page InvoicePage(Account& account, Json& invoice, bool post) {
  const bool open = TextOf(invoice, "status") == "open";
  const std::string id = TextOf(invoice, "id");
  if (post) {
    if (open) PayOpenInvoice(account, invoice);
    return SeeOther(account.url + "/invoices/" + id);
  }
  std::string main = "<p>Invoice " + Escape(TextOf(invoice, "number")) + ", " +
                     DateText(IntOf(invoice, "created")) + ": <strong>" +
                     Escape(TextOf(invoice, "status")) + "</strong></p>\n<table><tbody>\n";
  for (const Json& line : ItemsOf(Member(invoice, "lines"))) {
    main += "<tr><td>" + Escape(TextOf(line, "description")) + "</td><td>" +
            Escape(Amount(line, "amount", invoice)) + "</td></tr>\n";
  }
  main += "<tr><th scope=\"row\">Total</th><td>" + Escape(Amount(invoice, "total", invoice)) +
          "</td></tr></tbody></table>\n<p><a href=\"" + account.url + "/invoices/" + id +
          "/pdf\">PDF</a></p>\n";
  if (open) {
    main += "<form method=\"post\"><button>Pay " + Escape(Amount(invoice, "amount_due", invoice)) +
            " with another card</button></form>\n";
  }
  return HtmlPage(200, "Invoice", main);
}

Page InvoicePdf(const Json& invoice) {
  std::vector<std::string> lines = {
      "Invoice " + TextOf(invoice, "number"),
      "Issued " + DateText(IntOf(invoice, "created")) + " by " + TextOf(invoice, "account_name"),
      "To " + TextOf(invoice, "customer_name") + ' ' + TextOf(invoice, "customer_email"),
      "Status: " + TextOf(invoice, "status"),
      "",
  };
  for (const Json& line : ItemsOf(Member(invoice, "lines"))) {
    lines.push_back(TextOf(line, "description") + "   " + Amount(line, "amount", invoice));
  }
  lines.push_back("Total   " + Amount(invoice, "total", invoice));
  lines.push_back("Paid   " + Amount(invoice, "amount_paid", invoice));
  Page page;
  page.content_type = "application/pdf";
  page.body = TextPdf(lines);
  return page;
}

}  // namespace pontage::sandbox::stripe
