#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/secret.h"
#include "buyer/payment.h"
#include "buyer/policy.h"
#include "buyer/spend_ledger.h"
#include "chain/view.h"
#include "net/client.h"

namespace pontage::buyer {

// What is wanted: a request, its body in memory because it is sent twice.
struct Wanted {
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

// How it ended.
enum class Outcome : uint8_t {
  kFree,     // nobody asked for money; `status` may still say that it went wrong
  kQuoted,   // money is asked and could be paid; nothing was signed (dry run)
  kPaid,     // paid and answered, with a receipt that fits
  kServed,   // answered after a payment was shown, but without a receipt that says it was charged
  kRefused,  // the seller did not take the payment; `why` says what he said
  kUnknown,  // the payment left and its end was not seen: it may have been charged
};
std::string_view ToString(Outcome outcome);

struct Purchase {
  Outcome outcome = Outcome::kFree;
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  int version = 0;  // of the protocol, when money was asked
  std::optional<Choice> choice;
  std::optional<SignedPayment> payment;
  std::optional<x402::SettleAnswer> receipt;
  bool sent_again = false;  // an earlier signature for this request was used again
  bool charged = false;     // a receipt says that the money moved, whatever was delivered
  bool proven = false;      // the receipt was found on the chain
  std::string why;          // kRefused, kUnknown, kServed
};

// Buys resources as an agent does: asks, reads what it costs, judges it by the policy, signs once,
// sends the same request again with the payment. One logical request gets one signature: whatever
// goes wrong afterwards, it is the same payment that is shown again, by this object or by the next
// one with the same book, until it has expired or a chain shows that it was not used.
class PayClient {
 public:
  struct Options {
    Policy policy;
    // What an answer may have: it is held in memory.
    size_t max_body = 64u << 20;
    // How often one payment is shown: the first time and after "still running" or a broken
    // connection.
    int most_sends = 4;
    bool dry_run = false;
    // Look for the payment on the chain before calling it paid. Needs `view`.
    bool verify_receipt = false;
  };
  // `key` may be null for a dry run, `view` null when there is no rpc. All are kept by reference.
  PayClient(net::Client& client, const chain::AssetRegistry& assets, const crypto::PrivateKey* key,
            SpendLedger& book, chain::EvmView* view, const Clock& clock, Rng& rng, Options options);

  // Fails with kUsage for a request that carries a payment already, kBuyerPolicy and the other
  // codes of Choose when it may not be paid, kPaymentRequired when the 402 cannot be understood,
  // kStore when the book cannot be written, and the codes of net::Client for the first, unpaid
  // request. Nothing has been signed then. After a signature everything is an Outcome.
  Task<Purchase> Buy(Wanted wanted, Deadline by);

 private:
  struct Answer {
    net::ResponseHead head;
    std::string body;
  };
  Task<Answer> Ask(Wanted& wanted, const SignedPayment* payment, Deadline by);
  Task<SpendLedger::Entry> FindOrSign(const Wanted& wanted, const std::string& digest,
                                      const Offer& offer, const Choice& choice, Purchase& purchase,
                                      Deadline by);
  Task<> Pay(Wanted wanted, const SignedPayment& payment, Purchase& purchase, Deadline by);
  Task<> Judge(Answer answer, const SignedPayment& payment, Purchase& purchase, Deadline by);
  Task<> Prove(const SignedPayment& payment, const std::string& transaction, Deadline by);

  net::Client& client_;
  const chain::AssetRegistry& assets_;
  const crypto::PrivateKey* key_;
  SpendLedger& book_;
  chain::EvmView* view_;
  const Clock& clock_;
  Rng& rng_;
  Options options_;
};

// Where a redirect leads, absolute or relative to `from`; nullopt when it leaves the origin (or is
// no URL), in which case it is not followed: a payment is made out to who was asked. Pure.
std::optional<std::string> SameOriginTarget(const net::Url& from, std::string_view location);

// Whether a receipt speaks about this payment: success, its network, payer and, where given,
// amount. The error says what does not fit. Pure.
Result<> ReceiptFits(const x402::SettleAnswer& receipt, const SignedPayment& payment);

}  // namespace pontage::buyer
