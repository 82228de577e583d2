// Invoices and their payments as the API shows them, and what it may do to them.
#include <optional>

#include "base/try.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/invoices.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

Answered<Json> ListInvoices(Call& call) {
  PTG_TRY(const std::optional<std::string> customer, call.params.MaybeText("customer"));
  PTG_TRY(const std::optional<std::string> subscription, call.params.MaybeText("subscription"));
  PTG_TRY(const std::optional<std::string> status,
          call.params.MaybeWord("status", {"draft", "open", "paid", "uncollectible", "void"}));
  return ListPage(call, Kind::kInvoice, [&](const Json& invoice) {
    const Json& details = Member(Member(invoice, "parent"), "subscription_details");
    return (!customer || TextOf(invoice, "customer") == *customer) &&
           (!subscription || TextOf(details, "subscription") == *subscription) &&
           (!status || TextOf(invoice, "status") == *status);
  });
}

Answered<Json> ListPayments(Call& call) {
  PTG_TRY(const std::optional<std::string> invoice, call.params.MaybeText("invoice"));
  PTG_TRY(const std::optional<std::string> intent, call.params.MaybeText("payment.payment_intent"));
  PTG_RUN(call.params.MaybeWord("payment.type", {"payment_intent"}));
  PTG_TRY(const std::optional<std::string> status,
          call.params.MaybeWord("status", {"canceled", "open", "paid"}));
  return ListPage(call, Kind::kInvoicePayment, [&](const Json& payment) {
    return (!invoice || TextOf(payment, "invoice") == *invoice) &&
           (!intent || TextOf(Member(payment, "payment"), "payment_intent") == *intent) &&
           (!status || TextOf(payment, "status") == *status);
  });
}

Answered<Json> Lines(Call& call) {
  PTG_TRY(const Json* invoice, Named(call, Kind::kInvoice));
  return PageOf(call, ItemsOf(Member(*invoice, "lines")), "/v1/invoices/" + call.id + "/lines",
                "line item");
}

// Whether an attempt by hand can be made: the fault if not.
Answered<> CheckPayable(Account& account, const Json& invoice, const std::string& method) {
  const std::string status = TextOf(invoice, "status");
  if (status == "paid") return Refuse("", "Invoice is already paid");
  if (status == "void") return Refuse("", "This invoice can no longer be paid.");
  const Json* intent =
      account.store.Find(Kind::kPaymentIntent, account.IntentOf(TextOf(invoice, "id")));
  if (intent != nullptr && TextOf(*intent, "status") == "processing") {
    return Refuse("payment_intent_unexpected_state",
                  "A payment of this invoice is under way: it is still to be decided.");
  }
  if (method.empty()) return NoMethod();
  if (account.store.Find(Kind::kPaymentMethod, method) == nullptr) {
    return NoSuch("PaymentMethod", method, "payment_method");
  }
  return {};
}

Answered<Json> PayInvoice(Call& call) {
  Account& account = call.account;
  PTG_TRY(Json * invoice, Named(call, Kind::kInvoice));
  PTG_RUN(call.params.MaybeBool("off_session"));
  PTG_TRY(const std::optional<bool> elsewhere, call.params.MaybeBool("paid_out_of_band"));
  if (elsewhere.value_or(false)) return NotHere("paid_out_of_band", "true");
  PTG_TRY(const std::optional<std::string> named, call.params.MaybeText("payment_method"));
  const std::string method = named.value_or(MethodFor(account, *invoice));
  PTG_RUN(CheckPayable(account, *invoice, method));
  if (TextOf(*invoice, "status") == "draft") Finalize(account, *invoice);
  // Nothing was due.
  if (TextOf(*invoice, "status") == "paid") return *invoice;
  const Outcome outcome = Collect(account, *invoice, Attempt::kByHand, method);
  if (outcome == Outcome::kFailed || outcome == Outcome::kActionFailed) {
    return CardError(outcome, "invoice");
  }
  return *invoice;
}

Answered<Json> FinalizeNow(Call& call) {
  PTG_TRY(Json * invoice, Named(call, Kind::kInvoice));
  PTG_TRY(const std::optional<bool> advance, call.params.MaybeBool("auto_advance"));
  if (TextOf(*invoice, "status") != "draft") {
    return Refuse("invoice_not_editable",
                  "This invoice is already finalized, you can't re-finalize a non-draft invoice.");
  }
  if (advance) invoice->Set("auto_advance", *advance);
  Finalize(call.account, *invoice);
  CollectLater(call.account, *invoice);
  return *invoice;
}

Answered<Json> VoidNow(Call& call) {
  PTG_TRY(Json * invoice, Named(call, Kind::kInvoice));
  const std::string status = TextOf(*invoice, "status");
  if (status != "open" && status != "uncollectible") {
    return Refuse("", "You can only void an invoice that is open or uncollectible; this one is " +
                          status + ".");
  }
  VoidInvoice(call.account, *invoice);
  AfterWriteOff(call.account, *invoice);
  return *invoice;
}

Answered<Json> GiveUp(Call& call) {
  PTG_TRY(Json * invoice, Named(call, Kind::kInvoice));
  const std::string status = TextOf(*invoice, "status");
  if (status != "open") {
    return Refuse(
        "", "You can only mark an open invoice as uncollectible; this one is " + status + ".");
  }
  MarkUncollectible(call.account, *invoice);
  AfterWriteOff(call.account, *invoice);
  return *invoice;
}

}  // namespace

void AddInvoiceRoutes(Routes& routes) {
  routes.push_back(
      {"GET", "/v1/invoices", &ListInvoices, ListParams({"customer", "subscription", "status"})});
  routes.push_back({"GET", "/v1/invoices/:id", &Retrieve<Kind::kInvoice>, {"expand.*"}});
  routes.push_back({"GET", "/v1/invoices/:id/lines", &Lines, ListParams({})});
  routes.push_back({"GET", "/v1/invoice_payments", &ListPayments,
                    ListParams({"invoice", "payment.payment_intent", "payment.type", "status"})});
  routes.push_back(
      {"GET", "/v1/invoice_payments/:id", &Retrieve<Kind::kInvoicePayment>, {"expand.*"}});
  routes.push_back({"POST",
                    "/v1/invoices/:id/pay",
                    &PayInvoice,
                    {"payment_method", "off_session", "paid_out_of_band", "expand.*"}});
  routes.push_back(
      {"POST", "/v1/invoices/:id/finalize", &FinalizeNow, {"auto_advance", "expand.*"}});
  routes.push_back({"POST", "/v1/invoices/:id/void", &VoidNow, {"expand.*"}});
  routes.push_back({"POST", "/v1/invoices/:id/mark_uncollectible", &GiveUp, {"expand.*"}});
}

}  // namespace pontage::sandbox::stripe
