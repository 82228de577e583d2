#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "codec/json.h"
#include "sandbox/stripe/agenda.h"
#include "sandbox/stripe/delivery.h"
#include "sandbox/stripe/events.h"
#include "sandbox/stripe/faults.h"
#include "sandbox/stripe/store.h"

namespace pontage::sandbox::stripe {

// What becomes of a payment with a card, as the hosted page let its holder choose.
enum class Card : uint8_t {
  kGood,
  kDeclined,          // each time
  kDeclinesRenewals,  // good once
  kFailsCheck,        // 3-D Secure, each time
  kDelayed,           // as a bank debit: days later
};

// What is known of a subscription beyond its document.
struct SubscriptionBook {
  // Where the periods are counted from, and how many have begun: the current one ends so many
  // intervals after the anchor.
  UnixMs anchor;
  int64_t periods = 0;
  bool trial_end_told = false;
  // Lines of plan changes that wait for the next invoice; at most kMaxPendingLines.
  std::vector<codec::Json> pending_lines;
};
inline constexpr size_t kMaxPendingLines = 250;  // as Stripe allows on one invoice

// What is known of a checkout session beyond its document.
struct SessionBook {
  std::vector<codec::Json> line_items;
  // Of subscription_data, or of payment_intent_data.
  codec::Json metadata = codec::Json::Object();
  std::string description;
  codec::Json invoice_metadata = codec::Json::Object();
  bool invoiced = false;         // a payment with invoice_creation
  bool update_customer = false;  // customer_update asks for the name
  int64_t trial_days = 0;
  std::optional<UnixMs> trial_end;
  std::string when_trial_ends_without_card = "create_invoice";
  // An attempt that failed leaves these; the next one goes on with them.
  std::string customer;
  std::string subscription;
  std::string invoice;
  std::string intent;
  // When a delayed payment is decided.
  std::optional<UnixMs> decided_at;
};

// What is known of an invoice beyond its document.
struct InvoiceBook {
  std::string intent;   // its payment intent
  std::string payment;  // its default invoice payment
};

// Who asks, for what happens while he is served; empty while the clock works.
struct CurrentRequest {
  std::string id;
  std::string idempotency_key;
};

// What becomes of a subscription when the last retry of an invoice failed.
enum class AfterRetries : uint8_t { kCancel, kUnpaid, kPastDue };

// Everything that one Stripe account holds. Not thread safe: the double locks around it.
struct Account {
  Account(const Clock& real, Rng& random) : clock(real), rng(random), rolled(clock.Now()) {}

  int64_t Now() const { return clock.Now().seconds(); }
  // The payment intent of an invoice; "" when there is none.
  std::string IntentOf(std::string_view invoice) const;

  AccountClock clock;
  Rng& rng;
  UnixMs rolled;                         // until when everything that was due is done
  std::string url = "http://127.0.0.1";  // where the pages are
  Store store;
  EventLog events;
  DeliveryQueue deliveries;
  Faults faults;
  Agenda agenda;
  CurrentRequest request;
  AfterRetries after_retries = AfterRetries::kCancel;

  // By id. As bounded as the store, whose objects they belong to.
  std::map<std::string, SubscriptionBook, std::less<>> subscriptions;
  std::map<std::string, SessionBook, std::less<>> sessions;
  std::map<std::string, Card, std::less<>> cards;                          // of payment methods
  std::map<std::string, std::vector<SigningSecret>, std::less<>> secrets;  // of endpoints
  std::map<std::string, InvoiceBook, std::less<>> invoices;
  std::map<std::string, std::string, std::less<>> invoice_of_intent;
};

}  // namespace pontage::sandbox::stripe
