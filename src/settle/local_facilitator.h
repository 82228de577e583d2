#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/money.h"
#include "base/time.h"
#include "chain/registry.h"
#include "chain/view.h"
#include "crypto/recovered_keys.h"
#include "db/db.h"
#include "scheme/exact_evm.h"
#include "scheme/transfer_proof.h"
#include "settle/facilitator.h"
#include "settle/pending_store.h"
#include "settle/signers.h"

namespace pontage::settle {

// One chain of ours. Both outlive the facilitator. Without signers payments are verified and
// looked up but not settled.
struct LocalChain {
  chain::EvmView* view = nullptr;
  Signers* signers = nullptr;
  // Payments worth this or more are believed only when two nodes say the same of them.
  std::optional<Money> quorum_above = std::nullopt;
  // Blocks that make a transaction of anybody count, its own included. That of the submitters
  // behind `signers` is the same.
  uint64_t confirmations = 1;
};

// Verifies by scheme exact on EVM chains and settles by our own key. Only assets of the registry:
// an unknown contract could do anything with our gas. Safe to use from every loop.
class LocalFacilitator final : public Facilitator {
 public:
  // `assets`, `database` and `clock` outlive it.
  LocalFacilitator(std::vector<LocalChain> chains, const chain::AssetRegistry& assets,
                   db::Database& database, const Clock& clock);

  Task<x402::VerifyAnswer> Verify(const x402::Payment& payment,
                                  const x402::Requirements& requirements, Deadline by) override;
  // For whoever holds the payment in a ledger of his own and so may hear of its success as often as
  // he asks. If somebody else sent the authorization and it paid our payee, that is success too.
  Task<Settlement> Settle(const x402::Payment& payment, const x402::Requirements& requirements,
                          Deadline by) override;
  // For strangers over HTTP, who may serve on each success they hear of: of all callers on all
  // nodes one hears success, the others that the authorization was used (with the hash). An
  // authorization that was used before we sent it is refused. `sale` is the caller's own name of
  // what he sells for it (at most some hundred characters): for that one the success is repeated,
  // since its answer may have been lost. Empty: he has none.
  Task<Settlement> SettleOnce(const x402::Payment& payment, const x402::Requirements& requirements,
                              Deadline by, std::string sale = {});
  // The success that SettleOnce gave did not reach its caller: the next one hears it again.
  Task<> Untell(const x402::Payment& payment, const x402::Requirements& requirements, Deadline by);
  Task<Traced> Lookup(const x402::Payment& payment, const x402::Requirements& requirements,
                      Deadline by) override;
  Task<std::vector<Kind>> Supported(Deadline by) override;
  std::string_view name() const override { return "local"; }

  bool Serves(const chain::ChainId& chain) const;
  // The addresses that pay the gas, for /supported.
  std::vector<std::string> Signers() const;

 private:
  // A payment and what it is for, read and matched with a chain of ours.
  struct Prepared {
    scheme::ExactEvm check;
    std::optional<crypto::Hash32> digest{};  // what was signed, once Recognise was at it
    const LocalChain* chain = nullptr;
    std::string key;  // the once-key in hex
    bool quorum = false;
    std::string network;
    int version = 2;
    std::string payer;
    std::string sale;
  };
  enum class Caller : uint8_t { kOwner, kStranger };

  Result<Prepared> Prepare(const x402::Payment& payment,
                           const x402::Requirements& requirements) const;
  // For a payer with code: asks his contract about the signature (ERC-1271). A payer whose key has
  // not signed is asked for code first. Changes nothing for anybody else.
  Task<> AskWallet(Prepared& p, Deadline by);
  // A contract wallet whose yes the chain did not keep is not asked for a while: what it says in a
  // simulation may be another thing than it does, and the gas is ours.
  bool BrokeItsWord(const crypto::EvmAddress& wallet);
  void NoteBrokenWord(const crypto::EvmAddress& wallet);
  // Notes whose key signed, if the terms are such that it is worth the work.
  void Recognise(Prepared& p);
  Task<> MeetPayer(Prepared& p, Deadline by);
  // What the chain says of the payment, in p.check; kYes: with the gas that it takes.
  enum class Gas : uint8_t { kNo, kYes };
  Task<> Examine(Prepared& p, Gas gas, Deadline by);
  // Notes what Verify heard of a good payment, and fills p.check.facts with it, once: the chain
  // need not say twice within moments what its simulation says a third time before anything is
  // signed.
  void NoteVerified(const Prepared& p);
  void RecallVerified(Prepared& p);
  codec::Bytes CallOf(const Prepared& p) const;
  std::optional<uint64_t> KnownGas(const Prepared& p);
  void RememberGas(const Prepared& p, uint64_t gas);
  void ForgetGas(const Prepared& p);
  Task<chain::TransferFacts> Facts(const Prepared& p, bool estimate, Deadline by);
  Task<chain::TransferFacts> AskOnce(const Prepared& p, bool estimate, Deadline by);
  Task<Settlement> SettleFor(const x402::Payment& payment, const x402::Requirements& requirements,
                             Caller caller, std::string sale, Deadline by);
  // The same payment when it was still valid.
  static scheme::ExactEvm InItsTime(scheme::ExactEvm check);
  static bool WasGood(const scheme::ExactEvm& check);
  static Settlement Refused(const Prepared& p, const Error& why);
  Task<std::optional<Pending>> Stored(const Prepared& p);
  Task<Settlement> SettledElsewhere(const Prepared& p, Error why, Deadline by);
  // kYes: its transaction may carry no other payment.
  enum class Alone : uint8_t { kNo, kYes };
  Task<Settlement> Begin(Prepared& p, Caller caller, Alone alone, Deadline by);
  Task<Settlement> Resume(const Prepared& p, Pending row, Caller caller, Deadline by);
  Task<Settlement> ByTheChain(const Prepared& p, Caller caller, Deadline by);
  // The receipt as two nodes have it, waited for until `by`.
  Task<Submitter::Sent> Confirm(const Prepared& p, Submitter::Sent sent, Deadline by);
  std::shared_ptr<const scheme::TransferLogs> LogsOf(
      const std::shared_ptr<const chain::EvmReceipt>& receipt, const crypto::EvmAddress& asset);
  // What a receipt, or its absence, means for the payment; writes it down.
  Task<Settlement> Judge(const Prepared& p, const Submitter::Sent& sent, Caller caller,
                         Deadline by);
  Task<Settlement> Finish(const Prepared& p, x402::SettleAnswer answer, Caller caller, Deadline by);
  // local_memory.cc. What is stored of a success: the answer and what it paid, to whom. The
  // once-key does not tell: the nonce is the payer's choice, and he may sign another payment with
  // it.
  static std::string TermsOf(const Prepared& p);
  static bool PaidThis(const Prepared& p, const codec::Json& result);
  static codec::Json Remembered(const Prepared& p, const x402::SettleAnswer& answer);
  // The end of a settlement that moved the money, for the facilitator's own memory.
  Task<> NoteFinished(std::string key, PendingState state, std::string result, std::string network,
                      std::string transaction);
  Task<Settlement> Tell(const Prepared& p, x402::SettleAnswer answer, Caller caller, Deadline by);
  Task<bool> WasToldTo(const Prepared& p);
  // By nodes that have the block `since`. kUsedElsewhere names the transaction as well.
  Task<Traced> Trace(const Prepared& p, uint64_t since, Deadline by);

  std::vector<LocalChain> chains_;
  const chain::AssetRegistry& assets_;
  db::Database& database_;
  const Clock& clock_;
  crypto::RecoveredKeys keys_;
  std::mutex mutex_;
  // Until when an asset counts as seen with code; only what was seen is remembered.
  std::map<std::pair<std::string, crypto::EvmAddress>, SteadyMs> contracts_;
  // What a transfer of an asset to a payee takes, by network, asset and payee; of the same for a
  // while, so that a node need not search for it at each payment.
  struct GasNote {
    uint64_t gas = 0;
    SteadyMs until;
  };
  std::map<std::tuple<std::string, crypto::EvmAddress, crypto::EvmAddress>, GasNote> gas_;
  // Sales between verification and settling: more than a second's worth.
  static constexpr size_t kVerifiedNotes = 4'096;
  // By slot of the digest that was signed; what comes into a slot puts out what was there.
  struct VerifiedNote {
    crypto::Hash32 digest{};
    chain::TransferFacts facts;
    SteadyMs until{INT64_MIN};
  };
  std::vector<VerifiedNote> verified_;
  std::map<crypto::EvmAddress, SteadyMs> broken_words_;  // until when
  // Of the receipt that was judged last.
  std::shared_ptr<const chain::EvmReceipt> last_receipt_;
  std::shared_ptr<const scheme::TransferLogs> last_logs_;
};

}  // namespace pontage::settle
