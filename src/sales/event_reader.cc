#include "sales/event_reader.h"

#include <utility>

#include "base/try.h"
#include "wire/stripe/event.h"

namespace pontage::sales {
namespace {

using codec::JsonReader;

constexpr size_t kMaxEvent = 1 << 20;

bool IsDispute(const stripe::Event& event) { return event.object_kind == "dispute"; }

Result<stripe::Event> ReadStored(const std::string& payload) {
  codec::JsonLimits limits;
  limits.max_bytes = kMaxEvent;
  limits.max_depth = 64;
  PTG_TRY(const codec::Json json, codec::ParseJson(payload, limits));
  PTG_TRY(const JsonReader reader, JsonReader::Of(json));
  return stripe::ReadEvent(reader);
}

// Only those of use are read: what one of them happened to, nobody may lose.
Error NoObject() {
  return Error(Code::kBadRequest, "the event does not say what it is about")
      .At("/data/object")
      .Want("an object of Stripe's");
}

FailedInvoice FailedOf(const stripe::Invoice& invoice) {
  return FailedInvoice{.id = invoice.id.str(),
                       .amount = stripe::AmountText(invoice.amount_due, invoice.currency),
                       .pay_url = invoice.hosted_invoice_url};
}

std::vector<std::string> One(std::string id) {
  std::vector<std::string> out;
  if (!id.empty()) out.push_back(std::move(id));
  return out;
}

// What was bought once is the session itself.
std::string SoldBy(const stripe::CheckoutSession& session) {
  const bool renews = session.mode.value == stripe::SessionMode::kSubscription;
  return renews ? session.subscription.str() : session.id.str();
}

}  // namespace

Task<EventNews> EventReader::Read(const StoredEvent& stored, Deadline by) {
  EventNews news;
  PTG_CO_TRY(const stripe::Event event, ReadStored(stored.payload));
  PTG_CO_TRY(news.purchases, co_await PurchasesOf(event, by));
  PTG_CO_TRY(news.failed, co_await FailedBy(event, by));
  co_return news;
}

Task<std::string> EventReader::PurchaseOf(stripe::SessionId session, Deadline by) {
  PTG_CO_TRY(const stripe::CheckoutSession found, co_await stripe_.RetrieveCheckout(session, by));
  co_return SoldBy(found);
}

// A completed session has the subscription in it.
Task<std::string> EventReader::OfCheckout(const stripe::Event& event, Deadline by) {
  if (event.object.IsObject()) {
    PTG_CO_TRY(const JsonReader reader, JsonReader::Of(event.object));
    PTG_CO_TRY(const stripe::CheckoutSession session, stripe::ReadCheckoutSession(reader));
    if (std::string sold = SoldBy(session); !sold.empty()) co_return sold;
  }
  const stripe::SessionId id(event.object_id);
  co_return co_await PurchaseOf(id, by);
}

Task<std::vector<std::string>> EventReader::PurchasesOf(const stripe::Event& event, Deadline by) {
  if (event.object_kind.empty()) co_return Fail(NoObject());
  if (event.object_kind == "subscription") co_return One(event.object_id);
  if (event.object_kind == "checkout.session") {
    PTG_CO_TRY(std::string sold, co_await OfCheckout(event, by));
    co_return One(std::move(sold));
  }
  if (event.object_kind == "invoice" || event.object_kind == "invoice_payment") {
    co_return co_await OfInvoice(event, by);
  }
  if (event.object_kind == "customer") {
    const std::string customer = event.object_id;
    const auto read = [customer](db::Tx& tx) { return PurchasesOfCustomer(tx, customer); };
    co_return co_await database_.Read(read, by);
  }
  PTG_CO_TRY(std::string payment, co_await PaymentOf(event, by));
  if (payment.empty()) co_return std::vector<std::string>();
  co_return co_await OfPayment(std::move(payment), IsDispute(event), by);
}

Task<std::vector<std::string>> EventReader::OfInvoice(const stripe::Event& event, Deadline by) {
  std::string invoice_id = event.object_id;
  if (event.object_kind == "invoice_payment") {
    stripe::InvoicePayment payment;
    if (event.object.IsObject()) {
      PTG_CO_TRY(const JsonReader reader, JsonReader::Of(event.object));
      PTG_CO_TRY(payment, stripe::ReadInvoicePayment(reader));
    } else {
      PTG_CO_TRY(payment, co_await stripe_.RetrieveInvoicePayment(event.object_id, by));
    }
    invoice_id = payment.invoice.str();
  } else if (event.object.IsObject()) {
    PTG_CO_TRY(const JsonReader reader, JsonReader::Of(event.object));
    PTG_CO_TRY(const stripe::Invoice invoice, stripe::ReadInvoice(reader));
    co_return One(invoice.subscription.str());
  }
  const stripe::InvoiceId id(invoice_id);
  PTG_CO_TRY(const stripe::Invoice invoice, co_await stripe_.RetrieveInvoice(id, by));
  co_return One(invoice.subscription.str());
}

// Of a refund, a charge, a dispute, or the payment itself.
Task<std::string> EventReader::PaymentOf(const stripe::Event& event, Deadline by) {
  if (event.object_kind == "payment_intent") co_return event.object_id;
  if (event.object.IsObject()) {
    PTG_CO_TRY(const JsonReader reader, JsonReader::Of(event.object));
    if (event.object_kind == "refund") {
      PTG_CO_TRY(const stripe::Refund refund, stripe::ReadRefund(reader));
      co_return refund.payment_intent.str();
    }
    if (event.object_kind == "charge") {
      PTG_CO_TRY(const stripe::Charge charge, stripe::ReadCharge(reader));
      co_return charge.payment_intent.str();
    }
    if (event.object_kind == "dispute") {
      PTG_CO_TRY(const stripe::Dispute dispute, stripe::ReadDispute(reader));
      co_return dispute.payment_intent.str();
    }
  }
  if (event.object_kind == "refund") {
    const stripe::RefundId id(event.object_id);
    PTG_CO_TRY(const stripe::Refund refund, co_await stripe_.RetrieveRefund(id, by));
    co_return refund.payment_intent.str();
  }
  if (event.object_kind == "charge") {
    const stripe::ChargeId id(event.object_id);
    PTG_CO_TRY(const stripe::Charge charge, co_await stripe_.RetrieveCharge(id, by));
    co_return charge.payment_intent.str();
  }
  if (event.object_kind == "dispute") {
    const stripe::DisputeId id(event.object_id);
    PTG_CO_TRY(const stripe::Dispute dispute, co_await stripe_.RetrieveDispute(id, by));
    co_return dispute.payment_intent.str();
  }
  co_return std::string();
}

Task<std::string> SubscriptionOfPayment(StripeClient& stripe, stripe::PaymentIntentId payment,
                                        Deadline by) {
  PTG_CO_TRY(const std::vector<stripe::InvoicePayment> paid,
             co_await stripe.InvoicesOfPayment(payment, by));
  std::string subscription;
  for (const stripe::InvoicePayment& one : paid) {
    PTG_CO_TRY(const stripe::Invoice invoice, co_await stripe.RetrieveInvoice(one.invoice, by));
    if (!invoice.subscription.empty()) subscription = invoice.subscription.str();
  }
  co_return subscription;
}

Task<std::vector<std::string>> EventReader::OfPayment(std::string payment, bool disputed,
                                                      Deadline by) {
  const auto read = [payment](db::Tx& tx) { return PurchaseOfPayment(tx, payment); };
  PTG_CO_TRY(std::string purchase, co_await database_.Read(read, by));
  if (purchase.empty()) {
    const stripe::PaymentIntentId id(payment);
    PTG_CO_TRY(purchase, co_await SubscriptionOfPayment(stripe_, id, by));
  }
  if (!purchase.empty() && disputed) {
    const auto note = [payment, purchase](db::Tx& tx) {
      return NoteDispute(tx, payment, purchase);
    };
    PTG_CO_RUN(co_await database_.Write(note, by));
  }
  // A payment of none of our purchases, or of one whose session has not been looked at yet: that
  // look asks about refunds and disputes itself.
  co_return One(std::move(purchase));
}

// A thin event has no invoice in it.
Task<std::optional<FailedInvoice>> EventReader::FailedBy(const stripe::Event& event, Deadline by) {
  if (event.type != "invoice.payment_failed") co_return std::nullopt;
  if (event.object.IsObject()) {
    const auto reader = JsonReader::Of(event.object);
    if (!reader) co_return std::nullopt;
    const auto invoice = stripe::ReadInvoice(*reader);
    if (!invoice) co_return std::nullopt;
    co_return FailedOf(*invoice);
  }
  if (event.object_id.empty()) co_return std::nullopt;
  const stripe::InvoiceId id(event.object_id);
  PTG_CO_TRY(const stripe::Invoice invoice, co_await stripe_.RetrieveInvoice(id, by));
  co_return FailedOf(invoice);
}

}  // namespace pontage::sales
