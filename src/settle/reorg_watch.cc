#include "settle/reorg_watch.h"

#include <algorithm>

#include "base/fault.h"
#include "base/log.h"
#include "base/try.h"
#include "chain/evm_calls.h"
#include "chain/evm_transaction.h"
#include "codec/hex.h"
#include "scheme/exact_evm.h"
#include "settle/trace.h"

namespace pontage::settle {
namespace {

constexpr Millis kRpcTimeout{10'000};
constexpr Millis kStoreTimeout{10'000};
// With the latest and the final one still one JSON-RPC batch; a header is a kilobyte and the
// hashes of its transactions.
constexpr size_t kHeightsAtOnce = 50;
// Of replaced blocks, and of transactions in one of them or of those that moved: the others come
// with the next look.
constexpr size_t kBlocksAtOnce = 10;
constexpr int64_t kTransactionsAtOnce = 50;
// Nobody signs a payment that is valid for longer (scheme/exact_evm.h), but for the skew.
constexpr int64_t kLongestS = 86'400 + 3'600;

// The authorizations that a transaction carries, each with its token.
std::vector<scheme::TransferClaim> ClaimsOf(const chain::EvmTransaction& tx) {
  std::vector<chain::Call> calls;
  if (tx.to == chain::Multicall3Address()) {
    calls = chain::ReadAggregate3(tx.data).value_or(std::vector<chain::Call>());
  } else if (tx.to) {
    chain::Call& call = calls.emplace_back();
    call.target = *tx.to;
    call.data = tx.data;
  }
  std::vector<scheme::TransferClaim> claims;
  for (const chain::Call& call : calls) {
    const auto auth = chain::AsTransferWithAuthorization(call.data);
    if (!auth) continue;
    claims.push_back({call.target, auth->from, auth->nonce, auth->to, auth->value});
  }
  return claims;
}

}  // namespace

ReorgWatch::ReorgWatch(Loop& loop, chain::EvmView& view, db::Database& database, Signer signer,
                       ReorgOptions options, std::function<void(Outgoing)> reopened)
    : loop_(loop),
      view_(view),
      database_(database),
      signer_(std::move(signer)),
      options_(options),
      reopened_(std::move(reopened)) {}

void ReorgWatch::Mined(const InBlock& where) {
  if (where.hash == crypto::Hash32{}) return;
  blocks_.try_emplace(where);
  fresh_.push_back(where);
}

void ReorgWatch::CameBack(const crypto::Hash32& hash, uint64_t block) {
  Log(LogLevel::kInfo, "settle.reorg_over",
      {{"chain", signer_.chain},
       {"transaction", codec::Hex0x(hash)},
       {"block", static_cast<int64_t>(block)}});
  Count("back");
  loaded_at_.reset();  // it is to be read again
}

void ReorgWatch::Stop() {
  stopping_ = true;
  stop_.Set();
}

Task<> ReorgWatch::Run() {
  while (!stopping_) {
    (void)co_await stop_.Wait(Deadline::In(loop_.clock(), options_.look));
    if (stopping_) break;
    const Result<> looked = co_await Look();
    if (looked || stopping_) continue;
    Log(LogLevel::kWarn, "settle.reorg_look_failed",
        {{"chain", signer_.chain}, {"reason", looked.error().detail()}});
  }
  co_return {};
}

Task<> ReorgWatch::Load() {
  fresh_.clear();
  // Before the books are read: what happens meanwhile (CameBack) has them read again.
  loaded_at_ = loop_.clock().Steady();
  const auto read = [this](db::Tx& tx) { return WatchedBlocks(tx, signer_); };
  const Result<std::vector<WatchedBlock>> stored =
      co_await database_.Read(read, Deadline::In(loop_.clock(), kStoreTimeout));
  if (!stored) {
    loaded_at_.reset();
    co_return Fail(stored.error());
  }
  std::map<InBlock, Seen> blocks;
  int64_t payments = 0;
  for (const WatchedBlock& one : *stored) {
    const auto known = blocks_.find(one.where);
    const bool stands = known != blocks_.end() && known->second.stands;
    blocks[one.where] = {stands, one.moved};
    payments += one.payments;
  }
  for (const InBlock& where : fresh_) blocks.try_emplace(where);
  fresh_.clear();
  blocks_ = std::move(blocks);
  if (blocks_.empty()) missed_.clear();
  if (options_.metrics != nullptr) {
    options_.metrics
        ->GaugeOf("pontage_settle_not_final", "Payments in blocks that may still be thrown out.",
                  {{"network", signer_.chain}, {"signer", signer_.address}})
        .Set(payments);
  }
  co_return {};
}

// The new ones, those that may be final, and last the highest that was seen to stand: if it still
// stands then, so do all below it.
ReorgWatch::Asked ReorgWatch::ToAsk() const {
  Asked asked;
  const InBlock* highest = nullptr;
  for (const auto& [where, seen] : blocks_) {
    const HeightNow then{head_, finalized_, names_final_, where.hash};
    const bool may_be_final = JudgeBlock(where, then) == BlockIs::kFinal;
    if (seen.stands) highest = &where;
    if ((!seen.stands || may_be_final) && asked.size() + 1 < kHeightsAtOnce) asked.push_back(where);
  }
  if (highest != nullptr) asked.push_back(*highest);
  return asked;
}

Task<> ReorgWatch::Look() {
  const SteadyMs now = loop_.clock().Steady();
  if (!loaded_at_ || now - *loaded_at_ >= options_.load) PTG_CO_RUN(co_await Load());
  if (blocks_.empty()) co_return {};
  const Asked asked = ToAsk();
  std::vector<uint64_t> heights;
  for (const InBlock& one : asked) heights.push_back(one.block);
  PTG_CO_TRY(const chain::Canon canon,
             co_await view_.Blocks(std::move(heights), Deadline::In(loop_.clock(), kRpcTimeout)));
  head_ = canon.head;
  finalized_ = canon.finalized;
  names_final_ = names_final_ || canon.finalized.has_value();
  std::vector<InBlock> final_ones;
  std::vector<InBlock> replaced;
  for (size_t i = 0; i < asked.size() && i < canon.blocks.size(); ++i) {
    const HeightNow height{canon.head, canon.finalized, names_final_, canon.blocks[i]};
    const auto known = blocks_.find(asked[i]);
    if (known == blocks_.end()) continue;
    const BlockIs is = JudgeBlock(asked[i], height);
    if (is == BlockIs::kFinal && !known->second.moved) final_ones.push_back(asked[i]);
    if (is == BlockIs::kThere || is == BlockIs::kFinal) known->second.stands = true;
    if (is != BlockIs::kReplaced) continue;
    replaced.push_back(asked[i]);
    // Nothing is known of those below it any more.
    for (auto& [where, seen] : blocks_) seen.stands = false;
  }
  if (!final_ones.empty()) PTG_CO_RUN(co_await Close(std::move(final_ones)));
  if (replaced.size() > kBlocksAtOnce) replaced.resize(kBlocksAtOnce);
  for (const InBlock& one : replaced) PTG_CO_RUN(co_await Examine(one));
  const auto moved = [](const auto& entry) { return entry.second.moved; };
  if (!replaced.empty()) PTG_CO_RUN(co_await Load());
  if (std::ranges::any_of(blocks_, moved)) PTG_CO_RUN(co_await ReadMoved());
  co_return {};
}

Task<> ReorgWatch::Close(std::vector<InBlock> final_ones) {
  const auto body = [&](db::Tx& tx) -> Result<> {
    for (const InBlock& one : final_ones) PTG_RUN(MarkFinal(tx, signer_, one));
    return {};
  };
  PTG_CO_RUN(co_await database_.Write(body, Deadline::In(loop_.clock(), kStoreTimeout)));
  for (const InBlock& one : final_ones) blocks_.erase(one);
  co_return {};
}

// Another block stands where this one stood.
Task<> ReorgWatch::Examine(InBlock replaced) {
  if (PTG_PLANTED("ignore_reorg")) co_return {};
  const auto read = [&](db::Tx& tx) {
    return WatchedIn(tx, signer_, replaced, kTransactionsAtOnce);
  };
  PTG_CO_TRY(std::vector<WatchedTransaction> lost_sight,
             co_await database_.Read(read, Deadline::In(loop_.clock(), kStoreTimeout)));
  if (lost_sight.empty()) co_return {};  // somebody else has seen to them
  co_return co_await Follow(std::move(lost_sight), replaced);
}

// Where the transactions of a replaced block are now.
Task<> ReorgWatch::Follow(std::vector<WatchedTransaction> lost_sight, InBlock replaced) {
  std::vector<crypto::Hash32> hashes;
  for (const WatchedTransaction& one : lost_sight) {
    for (const Version& version : one.tx.versions) hashes.push_back(version.hash);
  }
  PTG_CO_TRY(const std::vector<std::optional<chain::EvmReceipt>> receipts,
             co_await view_.Receipts(std::move(hashes), Deadline::In(loop_.clock(), kRpcTimeout)));
  size_t at = 0;
  for (const WatchedTransaction& one : lost_sight) {
    const chain::EvmReceipt* found = nullptr;
    for (size_t i = 0; i < one.tx.versions.size(); ++i, ++at) {
      if (receipts.at(at)) found = &*receipts[at];
    }
    std::optional<InBlock> place;
    if (found != nullptr) place = InBlock{found->block, found->block_hash};
    const Fate fate = JudgeTransaction(replaced, place, missed_[one.tx.id]);
    if (fate == Fate::kUnknown) {
      ++missed_[one.tx.id];
      continue;
    }
    missed_.erase(one.tx.id);
    if (fate == Fate::kStays) continue;
    const UnixMs now = loop_.clock().Now();
    const auto note = [&](db::Tx& tx) -> Result<std::optional<Noted>> {
      if (fate == Fate::kGone) return MarkGone(tx, one, now);
      return MarkMoved(tx, one, found->hash, *place, found->ok, now);
    };
    PTG_CO_TRY(const std::optional<Noted> noted,
               co_await database_.Write(note, Deadline::In(loop_.clock(), kStoreTimeout)));
    if (!noted) continue;
    Tell(fate == Fate::kGone ? "left" : "moved", one, noted->payments.size());
    if (fate == Fate::kGone) reopened_(one.tx);
  }
  co_return {};
}

// What transactions did in the block that they are in now.
Task<> ReorgWatch::ReadMoved() {
  const auto read = [this](db::Tx& tx) {
    return MovedTransactions(tx, signer_, kTransactionsAtOnce);
  };
  PTG_CO_TRY(std::vector<WatchedTransaction> moved,
             co_await database_.Read(read, Deadline::In(loop_.clock(), kStoreTimeout)));
  for (WatchedTransaction& one : moved) PTG_CO_RUN(co_await ReadOne(std::move(one)));
  loaded_at_.reset();
  co_return {};
}

Task<> ReorgWatch::ReadOne(WatchedTransaction moved) {
  std::vector<crypto::Hash32> hash{moved.hash};
  PTG_CO_TRY(const std::vector<std::optional<chain::EvmReceipt>> receipts,
             co_await view_.Receipts(std::move(hash), Deadline::In(loop_.clock(), kRpcTimeout)));
  const std::optional<chain::EvmReceipt>& receipt = receipts.at(0);
  // It has moved on: the next look at its block finds that.
  if (!receipt || InBlock{receipt->block, receipt->block_hash} != moved.where) co_return {};
  const auto read = [&moved](db::Tx& tx) { return PaymentsOf(tx, moved.tx.id); };
  PTG_CO_TRY(const std::vector<std::string> payments,
             co_await database_.Read(read, Deadline::In(loop_.clock(), kStoreTimeout)));
  PTG_CO_TRY(const std::vector<Verdict> verdicts, co_await Verdicts(moved, *receipt, payments));
  const auto unknown = [](const Verdict& one) { return one.is == PaymentIs::kUnknown; };
  if (std::ranges::any_of(verdicts, unknown)) co_return {};  // with the next look
  const UnixMs now = loop_.clock().Now();
  const auto write = [&](db::Tx& tx) { return MarkRead(tx, moved, verdicts, now); };
  PTG_CO_TRY(const bool written,
             co_await database_.Write(write, Deadline::In(loop_.clock(), kStoreTimeout)));
  if (!written) co_return {};
  for (const Verdict& one : verdicts) {
    if (one.is == PaymentIs::kPaid) continue;
    const bool lost = one.is == PaymentIs::kLost;
    if (lost) {
      Log(LogLevel::kError, "settle.reorg_lost",
          {{"chain", signer_.chain},
           {"transaction", codec::Hex0x(moved.hash)},
           {"once_key", one.key},
           {"detail", one.detail}});
    }
    Count(lost ? "lost" : "paid_elsewhere");
  }
  co_return {};
}

Task<std::vector<Verdict>> ReorgWatch::Verdicts(const WatchedTransaction& moved,
                                                const chain::EvmReceipt& receipt,
                                                const std::vector<std::string>& payments) {
  std::vector<Verdict> verdicts;
  // The first version is what the payments asked for, whatever became of it later.
  PTG_CO_TRY(const chain::SignedEvmTransaction asked,
             chain::ParseTransaction(moved.tx.versions.front().raw));
  for (const scheme::TransferClaim& claim : ClaimsOf(asked.tx)) {
    Verdict verdict;
    verdict.key =
        codec::ToHex(scheme::OnceKey(view_.chain(), claim.asset, claim.payer, claim.nonce));
    if (std::ranges::find(payments, verdict.key) == payments.end()) continue;
    verdict.detail = codec::Hex0x(moved.hash);
    std::optional<scheme::Proof> proof;
    if (receipt.ok) proof = scheme::ProveTransfer(receipt.logs, claim);
    std::optional<Facilitator::Trace> trace;
    if (proof != scheme::Proof::kPaid) {
      const int64_t oldest = loop_.clock().Now().seconds() - kLongestS;
      const TraceRules rules{options_.confirmations, false, receipt.block};
      const Result<TracedTransfer> traced = co_await TraceTransfer(
          view_, claim, oldest, rules, Deadline::In(loop_.clock(), kRpcTimeout));
      if (traced) trace = traced->trace;
      if (traced && trace == Facilitator::Trace::kUsed) {
        verdict.detail = codec::Hex0x(traced->transaction);
      } else if (trace == Facilitator::Trace::kUnused) {
        verdict.detail = "the authorization was not used";
      } else if (trace == Facilitator::Trace::kUsedElsewhere) {
        verdict.detail = "the authorization was used for something else or canceled";
      }
    }
    verdict.is = JudgePayment(proof, trace);
    verdicts.push_back(std::move(verdict));
  }
  co_return verdicts;
}

void ReorgWatch::Tell(std::string_view what, const WatchedTransaction& of, size_t payments) {
  Log(LogLevel::kWarn, "settle.reorg",
      {{"chain", signer_.chain},
       {"transaction", codec::Hex0x(of.hash)},
       {"block", static_cast<int64_t>(of.where.block)},
       {"what", what},
       {"payments", payments}});
  Count(what);
}

void ReorgWatch::Count(std::string_view what, uint64_t times) {
  if (options_.metrics == nullptr) return;
  options_.metrics
      ->CounterOf("pontage_reorgs_total", "What reorganisations did to what we had settled.",
                  {{"network", signer_.chain}, {"what", what}})
      .Add(times);
}

}  // namespace pontage::settle
