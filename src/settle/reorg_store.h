#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "crypto/hash.h"
#include "db/db.h"
#include "settle/outgoing_store.h"
#include "settle/reorg_rules.h"

// What the books know of mined transactions whose block may still be thrown out
// (outgoing_transaction.watch), and what became of settled payments on the chain
// (settlement_event). Every change names the block it starts from, so that of several nodes that
// see the same one writes it. Every function runs inside the caller's transaction; errors are
// kStore.
namespace pontage::settle {

// A block that has transactions of a signer which are watched.
struct WatchedBlock {
  InBlock where;
  int64_t payments = 0;  // in those transactions
  bool moved = false;    // some of them were somewhere else before, and are to be read again
};
// The oldest first, at most 5,000: a chain of four blocks a second that is final after 20 minutes.
Result<std::vector<WatchedBlock>> WatchedBlocks(db::Tx& tx, const Signer& signer);

// A watched transaction with all that it may be found by.
struct WatchedTransaction {
  Outgoing tx;
  crypto::Hash32 hash{};  // of the version that was mined
  InBlock where;
};
// Those of one block; at most `limit`.
Result<std::vector<WatchedTransaction>> WatchedIn(db::Tx& tx, const Signer& signer,
                                                  const InBlock& where, int64_t limit);
// Those that are in another block than before and were not read there yet; at most `limit`.
Result<std::vector<WatchedTransaction>> MovedTransactions(db::Tx& tx, const Signer& signer,
                                                          int64_t limit);

// The block is final; its transactions are watched no more.
Result<> MarkFinal(db::Tx& tx, const Signer& signer, const InBlock& where);
// The transaction is in another block now, by the version `hash`. Returns the payments that it
// had settled (once-keys in hex); nothing when somebody else has written it.
struct Noted {
  std::vector<std::string> payments;
};
Result<std::optional<Noted>> MarkMoved(db::Tx& tx, const WatchedTransaction& was,
                                       const crypto::Hash32& hash, const InBlock& now_in, bool ok,
                                       UnixMs now);
// The transaction is in no block any more: it is open again, to be sent again.
Result<std::optional<Noted>> MarkGone(db::Tx& tx, const WatchedTransaction& was, UnixMs now);

// The payments (once-keys in hex) that the transaction was signed for and that did not fail.
Result<std::vector<std::string>> PaymentsOf(db::Tx& tx, const std::string& outgoing);
// What a transaction that had moved did to each of `verdicts`' payments; it is watched where it is.
// False when somebody else has written it, or it has moved on.
struct Verdict {
  std::string key;
  PaymentIs is = PaymentIs::kPaid;
  std::string detail;
};
Result<bool> MarkRead(db::Tx& tx, const WatchedTransaction& read,
                      const std::vector<Verdict>& verdicts, UnixMs now);

// One line in the history of each payment of the transaction.
Result<> WriteEvents(db::Tx& tx, const std::string& outgoing, const std::string& what,
                     const std::string& detail, UnixMs now);

// For people: left, moved, back, paid, paid_elsewhere, lost (docs/reference/ledger-states.md).
struct ChainEvent {
  UnixMs at;
  std::string what;
  std::string detail;
};
Result<std::vector<ChainEvent>> ReadChainEvents(db::Tx& tx, const std::string& key);
// Payments that were found lost since then.
Result<int64_t> CountLost(db::Tx& tx, UnixMs since);
// Transactions of the signer that a chain threw out and that are in no block yet.
Result<int64_t> CountGone(db::Tx& tx, const Signer& signer);

}  // namespace pontage::settle
