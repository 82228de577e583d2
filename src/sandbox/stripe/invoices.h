#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/payments.h"

namespace pontage::sandbox::stripe {

// One line, as billed: `amount` for the whole quantity, the price as a document.
struct LineTerms {
  int64_t amount = 0;
  int64_t quantity = 1;
  const codec::Json* price = nullptr;
  std::string description;
  std::string subscription;  // empty: a one-off
  std::string item;
  bool proration = false;
  int64_t period_start = 0;  // seconds
  int64_t period_end = 0;
  codec::Json metadata = codec::Json::Object();
};
codec::Json NewLine(Account& account, const LineTerms& terms);

struct InvoiceTerms {
  std::string customer;
  std::string currency;
  std::string reason;        // billing_reason
  std::string subscription;  // empty: a one-off
  std::string payment_method;
  std::vector<codec::Json> lines;
  int64_t period_start = 0;
  int64_t period_end = 0;
  bool automatic_tax = false;
  codec::Json metadata = codec::Json::Object();
};
// A draft; invoice.created. It stays one until Finalize, or RollInvoice an hour later.
codec::Json& AddInvoice(Account& account, const InvoiceTerms& terms);

// Opens a draft: number, pages, the customer's balance, a payment intent where something is due;
// invoice.finalized. What comes to nothing is paid at once.
void Finalize(Account& account, codec::Json& invoice);
// Who makes an attempt to collect: only the buyer is there to prove who he is. One by hand does not
// change when the next one comes by itself, nor does it count, unless it is the first.
enum class Attempt : uint8_t { kByBuyer, kByClock, kByHand };
// One attempt to collect an open invoice, with `method` if there is one, else with its own.
Outcome Collect(Account& account, codec::Json& invoice, Attempt attempt,
                const std::string& method = {});
// The method that collects an invoice: its own, else its subscription's, else the customer's; ""
// for none.
std::string MethodFor(const Account& account, const codec::Json& invoice);
// An open invoice that is to be collected by itself is, in an hour.
void CollectLater(Account& account, codec::Json& invoice);
// What an attempt's outcome makes of an invoice and of its subscription.
void MarkPaid(Account& account, codec::Json& invoice);
void MarkFailed(Account& account, codec::Json& invoice, bool by_check);
// No more attempts, and nothing is owed.
void VoidInvoice(Account& account, codec::Json& invoice);
// No more attempts, but whoever owes it may still pay.
void MarkUncollectible(Account& account, codec::Json& invoice);

// When the agenda says so: a draft is finalized and collected, an open one is tried again.
void RollInvoice(Account& account, codec::Json& invoice);

// The payments of an invoice, as its includable list.
codec::Json PaymentsOf(const Account& account, std::string_view invoice);

}  // namespace pontage::sandbox::stripe
