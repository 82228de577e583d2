#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "base/time.h"
#include "buyer/payment.h"

namespace pontage::buyer {

// The buyer's own book: what was signed, for which request, and what became of it. It is why a
// request whose end was never seen is not paid for by a second signature: the first one is found
// again and sent again.
class SpendLedger {
 public:
  struct Entry {
    std::string request;  // digest of the logical request and the payer, in hex
    std::string url;      // for people
    int64_t process = 0;  // who signed; a living process looks after its own entries
    SignedPayment payment;
    codec::Json accepted;  // the offer's entry that was accepted
    Money price;
    bool open = true;         // the end was not seen
    std::string transaction;  // of a payment that was made
  };
  // More than this is somebody else's file.
  static constexpr size_t kMaxBytes = 64u << 20;

  // Forgotten with the process.
  SpendLedger() = default;
  // Kept in `path` (created with mode 0600, directories with 0700): a JSON line for each change. A
  // line that a crash left half written is passed over. kStore when it cannot be read or written.
  static Result<SpendLedger> Open(std::string path, int64_t process);

  // SHA-256 over method, URL, body and payer: the same digest means the same purchase.
  static std::string DigestOf(std::string_view method, std::string_view url, std::string_view body,
                              const crypto::EvmAddress& payer);

  // The payment signed for this request whose end was not seen and which can still be used at
  // `now`; nullptr when there is none. Entries of other processes that are alive do not count: they
  // are at work on a purchase of their own.
  const Entry* FindOpen(std::string_view request, UnixMs now) const;
  // Before the payment leaves: durable when it returns. kStore: do not send it.
  Result<> Signed(Entry entry);
  // The end was seen; `transaction` empty when nothing was paid and nothing can be any more.
  Result<> Close(const codec::Bytes32& nonce, std::string transaction);

  // What the payments of this book that were made add up to.
  Result<Money> Spent() const;
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  Result<> Append(const codec::Json& line) const;
  void Read(const codec::Json& line);

  std::string path_;  // empty: memory only
  int64_t process_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace pontage::buyer
