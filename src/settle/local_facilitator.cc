#include "settle/local_facilitator.h"

#include <algorithm>
#include <utility>

#include "base/fault.h"
#include "base/log.h"
#include "base/try.h"
#include "chain/evm_calls.h"
#include "codec/hex.h"
#include "settle/local_answers.h"
#include "settle/trace.h"

namespace pontage::settle {
namespace {

using Outcome = Facilitator::Outcome;
using Settlement = Facilitator::Settlement;
using Trace = Facilitator::Trace;

constexpr Millis kStoreTimeout{5'000};
// How often a second node is asked for a receipt that it does not have yet.
constexpr Millis kConfirmEvery{300};

}  // namespace

LocalFacilitator::LocalFacilitator(std::vector<LocalChain> chains,
                                   const chain::AssetRegistry& assets, db::Database& database,
                                   const Clock& clock)
    : chains_(std::move(chains)),
      assets_(assets),
      database_(database),
      clock_(clock),
      verified_(kVerifiedNotes) {}

Result<LocalFacilitator::Prepared> LocalFacilitator::Prepare(const x402::Payment& payment,
                                                             const x402::Requirements& q) const {
  PTG_TRY(scheme::ExactEvmTerms terms, scheme::ReadTerms(q, assets_));
  const auto chain = std::ranges::find_if(
      chains_, [&terms](const LocalChain& c) { return c.view->chain() == terms.chain; });
  if (chain == chains_.end()) {
    return Fail(Error(Code::kPaymentNetwork, "the network is not served here"));
  }
  const chain::EvmAsset* asset = assets_.Find(terms.chain, terms.asset);
  if (asset == nullptr) {
    return Fail(Error(Code::kPaymentAsset, "the asset is not one that is settled here"));
  }
  if (asset->method != chain::TransferMethod::kEip3009) {
    return Fail(Error(Code::kPaymentTransfer, "the asset has no EIP-3009"));
  }
  PTG_TRY(scheme::ExactEvmPayload payload, scheme::ParseExactEvm(payment.payload()));
  Prepared p{.check = {.scheme = payment.scheme,
                       .chain = std::nullopt,
                       .payload = std::move(payload),
                       .want = std::move(terms),
                       .now_s = clock_.Now().seconds(),
                       .facts = std::nullopt},
             .chain = &*chain,
             .key = {},
             .quorum = WorthTwo(q.amount, asset->decimals, chain->quorum_above),
             .network = q.network,
             .version = q.version,
             .payer = {},
             .sale = {}};
  if (const auto named = scheme::NetworkOf(payment.network, payment.version)) {
    p.check.chain = *named;
  }
  p.payer = p.check.payload.auth.from.ToChecksum();
  p.key = codec::ToHex(scheme::OnceKey(p.check.want.chain, p.check.want.asset,
                                       p.check.payload.auth.from, p.check.payload.auth.nonce));
  return p;
}

Task<x402::VerifyAnswer> LocalFacilitator::Verify(const x402::Payment& payment,
                                                  const x402::Requirements& requirements,
                                                  Deadline by) {
  Result<Prepared> p = Prepare(payment, requirements);
  if (!p) co_return Invalid(p.error(), requirements.version, "");
  PTG_CO_RUN(co_await MeetPayer(*p, by));
  Result<> good = scheme::CheckExactEvm(p->check);
  if (good) {
    PTG_CO_RUN(co_await Examine(*p, Gas::kNo, by));
    good = scheme::CheckExactEvm(p->check);
  }
  if (!good) co_return Invalid(good.error(), p->version, p->payer);
  NoteVerified(*p);
  x402::VerifyAnswer answer;
  answer.valid = true;
  answer.payer = p->payer;
  co_return answer;
}

Task<Settlement> LocalFacilitator::Settle(const x402::Payment& payment,
                                          const x402::Requirements& requirements, Deadline by) {
  return SettleFor(payment, requirements, Caller::kOwner, "", by);
}

Task<Settlement> LocalFacilitator::SettleOnce(const x402::Payment& payment,
                                              const x402::Requirements& requirements, Deadline by,
                                              std::string sale) {
  return SettleFor(payment, requirements, Caller::kStranger, std::move(sale), by);
}

Task<Settlement> LocalFacilitator::SettleFor(const x402::Payment& payment,
                                             const x402::Requirements& requirements, Caller caller,
                                             std::string sale, Deadline by) {
  Result<Prepared> prepared = Prepare(payment, requirements);
  if (!prepared) {
    // That it cannot be served here (any more) says nothing of a payment that was begun.
    if (caller == Caller::kOwner) co_return Fail(std::move(prepared).error());
    co_return Failed(Outcome::kRefused, prepared.error(), requirements.version, "",
                     requirements.network);
  }
  Prepared& p = *prepared;
  p.sale = std::move(sale);
  const Result<> met = co_await MeetPayer(p, by);
  // An earlier call may have sent it: without the chain nobody can tell.
  if (!met) co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network);
  const Result<> good = scheme::CheckExactEvm(p.check);
  const bool untimely = !good && scheme::IsUntimely(good.error().code());
  // One that was begun in time is brought to its end after its time as well; but only for who shows
  // the whole payment.
  const bool never = !good && !(untimely && WasGood(p.check));
  if (never && caller == Caller::kStranger) co_return Refused(p, good.error());
  if (good) RecallVerified(p);
  // Just verified: hardly begun by anybody, and if it was, the store refuses to begin it twice.
  if (p.check.facts) co_return co_await Begin(p, caller, Alone::kNo, by);
  const Result<std::optional<Pending>> row = co_await Stored(p);
  // An earlier call may have sent it: without the store nobody can tell.
  if (!row) co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network);
  if (*row) co_return co_await Resume(p, **row, caller, by);
  if (good) co_return co_await Begin(p, caller, Alone::kNo, by);
  // Nothing of ours is under way, and whether somebody else settled it only its owner may ask.
  if (caller == Caller::kStranger) co_return Refused(p, good.error());
  co_return co_await SettledElsewhere(p, good.error(), by);
}

// Whether it would have been good while it was valid.
bool LocalFacilitator::WasGood(const scheme::ExactEvm& check) {
  return scheme::CheckExactEvm(InItsTime(check)).has_value();
}

Settlement LocalFacilitator::Refused(const Prepared& p, const Error& why) {
  return Failed(Outcome::kRefused, why, p.version, p.payer, p.network);
}

// For the owner of a payment that we cannot send (any more): it is refused with `why` unless
// somebody else has sent it.
Task<Settlement> LocalFacilitator::SettledElsewhere(const Prepared& p, Error why, Deadline by) {
  Result<Traced> traced = co_await Trace(p, 0, by);
  if (!traced || traced->trace == Trace::kUnknown) {
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network);
  }
  if (traced->trace == Trace::kUsed) {
    co_return Settlement{Outcome::kSettled, std::move(traced->answer)};
  }
  // That it is late or early is the word of our clock, and another node's may let it send the
  // payment. And of two nodes that say "used" and "unused" one is behind.
  const bool doubtful = scheme::IsUntimely(why.code()) || why.code() == Code::kPaymentReplayed;
  if (traced->trace == Trace::kUnused && doubtful && !RanOut(p.check.payload.auth, traced->as_of)) {
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network);
  }
  co_return Refused(p, why);
}

Task<Settlement> LocalFacilitator::Begin(Prepared& p, Caller caller, Alone alone, Deadline by) {
  if (p.chain->signers == nullptr) {
    co_return Refused(p, Error(Code::kUnsupported, "there is no signer here"));
  }
  const bool recalled = alone == Alone::kNo && p.check.facts.has_value();
  if (!recalled) PTG_CO_RUN(co_await Examine(p, Gas::kYes, by));
  const Result<> good = scheme::CheckExactEvm(p.check);
  if (!good) {
    // Perhaps by a call of the same payment that came between our look at the store and at the
    // chain.
    const Result<std::optional<Pending>> row = co_await Stored(p);
    if (!row) co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network);
    if (*row) co_return co_await Resume(p, **row, caller, by);
    if (caller == Caller::kOwner) co_return co_await SettledElsewhere(p, good.error(), by);
    co_return Refused(p, good.error());
  }
  Submitter::Job job;
  job.key = p.key;
  job.to = p.check.want.asset;
  job.data = CallOf(p);
  job.gas = p.check.facts->gas;
  job.payer = p.check.payload.auth.from;
  job.value = p.check.payload.auth.value;
  job.balance = p.check.facts->balance;
  // A contract may do otherwise when it is mined, and should not take others with it.
  job.alone = alone == Alone::kYes || p.check.wallet.has_value();
  job.unproven = recalled;
  Result<Submitter::Sent> sent = co_await p.chain->signers->Submit(std::move(job), by);
  if (sent) {
    PTG_CO_TRY(const Submitter::Sent seen, co_await Confirm(p, *std::move(sent), by));
    co_return co_await Judge(p, seen, caller, by);
  }
  if (sent.error().code() == Code::kPaymentSimulation && alone == Alone::kNo) {
    // It would fail beside the others of its batch. Whether by itself too, only asking tells.
    co_return co_await Begin(p, caller, Alone::kYes, by);
  }
  if (sent.error().code() == Code::kConflict) {
    // Another call for the same payment came first, here or on another node.
    const Result<std::optional<Pending>> row = co_await Stored(p);
    if (row && *row) co_return co_await Resume(p, **row, caller, by);
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network);
  }
  if (sent.error().code() == Code::kStore || sent.error().code() == Code::kTimeout) {
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network);
  }
  co_return Fail(std::move(sent).error());
}

Task<Settlement> LocalFacilitator::Resume(const Prepared& p, Pending row, Caller caller,
                                          Deadline by) {
  if (row.state == PendingState::kSettled || row.state == PendingState::kTold) {
    codec::JsonLimits limits;
    limits.fault = Code::kStore;
    const Result<codec::Json> json = codec::ParseJson(row.result, limits);
    Result<x402::SettleAnswer> answer =
        json ? x402::ParseSettleAnswer(*json) : Result<x402::SettleAnswer>(Fail(json.error()));
    if (!answer) {
      Log(LogLevel::kError, "settle.result_unreadable", {{"transaction", row.tx_hash}});
      co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network, row.tx_hash);
    }
    if (!PaidThis(p, *json)) co_return co_await ByTheChain(p, caller, by);
    answer->network = p.network;
    co_return co_await Tell(p, *std::move(answer), caller, by);
  }
  const Result<crypto::Hash32> hash = codec::FromHex0x<32>(row.tx_hash);
  if (!hash || p.chain->signers == nullptr) {
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network, row.tx_hash);
  }
  PTG_CO_TRY(Submitter::Sent watched, co_await p.chain->signers->Await(*hash, by));
  PTG_CO_TRY(const Submitter::Sent sent, co_await Confirm(p, std::move(watched), by));
  co_return co_await Judge(p, sent, caller, by);
}

// Its nonce was used by a settlement of ours, which was another payment's, or of which the books do
// not say what it paid.
Task<Settlement> LocalFacilitator::ByTheChain(const Prepared& p, Caller caller, Deadline by) {
  Result<Traced> traced = co_await Trace(p, 0, by);
  if (traced && traced->trace == Trace::kUsed) {
    co_return co_await Tell(p, std::move(traced->answer), caller, by);
  }
  if (traced && traced->trace == Trace::kUsedElsewhere) co_return Refused(p, UsedBefore());
  co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network);
}

Task<Submitter::Sent> LocalFacilitator::Confirm(const Prepared& p, Submitter::Sent sent,
                                                Deadline by) {
  if (!p.quorum || !sent.receipt) co_return sent;
  for (;;) {
    const Result<std::optional<chain::EvmReceipt>> both =
        co_await p.chain->view->ReceiptOfTwo(sent.hash, by);
    if (both && *both) {
      sent.receipt = std::make_shared<const chain::EvmReceipt>(**both);
      co_return sent;
    }
    if (by.Left(clock_) <= kConfirmEvery) break;
    PTG_CO_RUN(co_await Sleep(kConfirmEvery));
  }
  sent.receipt.reset();
  co_return sent;
}

// The payments of a batch come one behind the other with one receipt.
std::shared_ptr<const scheme::TransferLogs> LocalFacilitator::LogsOf(
    const std::shared_ptr<const chain::EvmReceipt>& receipt, const crypto::EvmAddress& asset) {
  const std::lock_guard lock(mutex_);
  if (last_receipt_ != receipt || last_logs_->asset() != asset) {
    last_logs_ = std::make_shared<const scheme::TransferLogs>(receipt->logs, asset);
    last_receipt_ = receipt;
  }
  return last_logs_;
}

Task<Settlement> LocalFacilitator::Judge(const Prepared& p, const Submitter::Sent& sent,
                                         Caller caller, Deadline by) {
  const std::string hash = codec::Hex0x(sent.hash);
  if (!sent.receipt) {
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network, hash);
  }
  x402::SettleAnswer answer;
  answer.success = true;
  answer.payer = p.payer;
  answer.network = p.network;
  answer.transaction = hash;
  const scheme::TransferClaim claim = ClaimOf(p.check.payload.auth, p.check.want);
  if (sent.receipt->ok && LogsOf(sent.receipt, claim.asset)->Prove(claim) == scheme::Proof::kPaid) {
    co_return co_await Finish(p, std::move(answer), caller, by);
  }
  // It was reverted, or moved nothing of ours. Whoever sent the authorization before us has paid
  // our payee all the same, if he paid him.
  const Result<Traced> traced = co_await Trace(p, sent.receipt->block, by);
  if (!traced || traced->trace == Trace::kUnknown) {
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network, hash);
  }
  if (traced->trace == Trace::kUsed) {
    answer.transaction = traced->answer.transaction;
    co_return co_await Finish(p, std::move(answer), caller, by);
  }
  const Error why = sent.receipt->ok
                        ? Error(Code::kSettleTransfer, "the transaction did not move the payment")
                        : Error(Code::kSettleFailed, "the transaction was reverted");
  // Where it used the nonce itself, it may have carried another payment that was signed with it:
  // what became of that one is not for this one's call to write.
  const bool used_it = traced->trace == Trace::kUsedElsewhere && traced->answer.transaction == hash;
  const auto body = [&, this](db::Tx& tx) { return FailPending(tx, p.key, hash, clock_.Now()); };
  const Deadline store_by = Deadline::In(clock_, kStoreTimeout);
  bool failed = used_it;
  if (!used_it) {
    PTG_CO_TRY(failed, co_await database_.Write(body, store_by));
  }
  if (!failed) {
    // Another call was here before, and perhaps another transaction carries it by now.
    PTG_CO_TRY(std::optional<Pending> row, co_await Stored(p));
    if (row && row->tx_hash != hash) co_return co_await Resume(p, *std::move(row), caller, by);
  }
  Log(LogLevel::kWarn, "settle.failed",
      {{"chain", p.network}, {"transaction", hash}, {"reason", why.detail()}});
  ForgetGas(p);
  if (p.check.wallet && !sent.receipt->ok) NoteBrokenWord(p.check.payload.auth.from);
  if (sent.batch && traced->trace == Trace::kUnused) {
    // Perhaps by the batch's fault (its gas, another payment of the same payer): it is judged anew
    // and, if it is still good, tried by itself.
    Prepared again = p;
    again.check.now_s = clock_.Now().seconds();
    co_return co_await Begin(again, caller, Alone::kYes, by);
  }
  co_return Failed(Outcome::kRefused, why, p.version, p.payer, p.network, hash);
}

Task<Facilitator::Traced> LocalFacilitator::Trace(const Prepared& p, uint64_t since, Deadline by) {
  const chain::TransferAuthorization& auth = p.check.payload.auth;
  const TraceRules rules{p.chain->confirmations, p.quorum, since};
  PTG_CO_TRY(const TracedTransfer found,
             co_await TraceTransfer(*p.chain->view, ClaimOf(auth, p.check.want),
                                    OldestOf(auth, p.check.want), rules, by));
  Traced traced;
  traced.trace = found.trace;
  traced.as_of = found.as_of;
  if (found.trace == Trace::kUsed || found.trace == Trace::kUsedElsewhere) {
    traced.answer.success = found.trace == Trace::kUsed;
    traced.answer.payer = p.payer;
    traced.answer.network = p.network;
    traced.answer.transaction = codec::Hex0x(found.transaction);
  }
  co_return traced;
}

Task<Facilitator::Traced> LocalFacilitator::Lookup(const x402::Payment& payment,
                                                   const x402::Requirements& requirements,
                                                   Deadline by) {
  PTG_CO_TRY(const Prepared p, Prepare(payment, requirements));
  co_return co_await Trace(p, 0, by);
}

Task<std::vector<Facilitator::Kind>> LocalFacilitator::Supported(Deadline) {
  std::vector<Kind> kinds;
  for (const LocalChain& chain : chains_) {
    if (chain.signers == nullptr) continue;
    kinds.push_back({2, "exact", chain.view->chain().Caip2(), codec::Json()});
    if (const auto name = chain.view->chain().V1Name()) {
      kinds.push_back({1, "exact", std::string(*name), codec::Json()});
    }
  }
  co_return kinds;
}

bool LocalFacilitator::Serves(const chain::ChainId& chain) const {
  return std::ranges::any_of(chains_,
                             [&chain](const LocalChain& c) { return c.view->chain() == chain; });
}

std::vector<std::string> LocalFacilitator::Signers() const {
  std::vector<std::string> signers;
  for (const LocalChain& chain : chains_) {
    if (chain.signers == nullptr) continue;
    for (const crypto::EvmAddress& one : chain.signers->addresses()) {
      std::string address = one.ToChecksum();
      if (std::ranges::find(signers, address) == signers.end()) {
        signers.push_back(std::move(address));
      }
    }
  }
  return signers;
}

}  // namespace pontage::settle
