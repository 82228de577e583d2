// What the local facilitator remembers of a settlement across calls, crashes and nodes, and who may
// hear of it.
#include <utility>

#include "base/fault.h"
#include "base/log.h"
#include "base/try.h"
#include "settle/local_answers.h"
#include "settle/local_facilitator.h"

namespace pontage::settle {
namespace {

using Outcome = Facilitator::Outcome;
using Settlement = Facilitator::Settlement;

constexpr Millis kStoreTimeout{5'000};
// Members of a stored answer: the sale whose seller has heard it; what was paid, to whom.
constexpr std::string_view kToldTo = "toldTo";
constexpr std::string_view kPaid = "paid";

}  // namespace

std::string LocalFacilitator::TermsOf(const Prepared& p) {
  return p.check.want.pay_to.ToLower() + " " + p.check.want.amount.ToDecimal();
}

bool LocalFacilitator::PaidThis(const Prepared& p, const codec::Json& result) {
  const codec::Json* paid = result.Find(kPaid);
  return paid != nullptr && *paid == codec::Json(TermsOf(p));
}

codec::Json LocalFacilitator::Remembered(const Prepared& p, const x402::SettleAnswer& answer) {
  codec::Json json = answer.ToJson();
  json.Set(std::string(kPaid), TermsOf(p));
  return json;
}

// The settlement that was begun for it, if there is one that did not fail.
Task<std::optional<Pending>> LocalFacilitator::Stored(const Prepared& p) {
  const auto find = [&p](db::Tx& tx) { return FindPending(tx, p.key); };
  const Deadline by = Deadline::In(clock_, kStoreTimeout);
  PTG_CO_TRY(std::optional<Pending> row, co_await database_.Read(find, by));
  if (row && row->state == PendingState::kFailed) row.reset();
  if (PTG_PLANTED("settle_twice")) row.reset();
  co_return row;
}

Task<Settlement> LocalFacilitator::Finish(const Prepared& p, x402::SettleAnswer answer,
                                          Caller caller, Deadline by) {
  std::string result = codec::ToString(Remembered(p, answer));
  PTG_KILL_POINT("tx_proved");
  const bool owner = caller == Caller::kOwner;
  const PendingState state = owner ? PendingState::kTold : PendingState::kSettled;
  Task<> note = NoteFinished(p.key, state, std::move(result), p.network, answer.transaction);
  if (owner) {
    // The owner's books are next in the writer's queue and share its commit. What is lost with both
    // the chain tells again.
    Loop::Current()->Spawn(std::move(note), "settle.finish");
    co_return Settlement{Outcome::kSettled, std::move(answer)};
  }
  // Who may hear of it once only asks again if that cannot be written down.
  const Result<> noted = co_await std::move(note);
  if (!noted) {
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network,
                     answer.transaction);
  }
  co_return co_await Tell(p, std::move(answer), caller, by);
}

Task<> LocalFacilitator::NoteFinished(std::string key, PendingState state, std::string result,
                                      std::string network, std::string transaction) {
  const auto body = [key = std::move(key), state, result = std::move(result), now = clock_.Now()](
                        db::Tx& tx) { return FinishPending(tx, key, state, result, now); };
  const Result<bool> written = co_await database_.Write(body, Deadline::In(clock_, kStoreTimeout));
  PTG_KILL_POINT("tx_finished");
  if (!written) {
    Log(LogLevel::kError, "settle.result_not_stored",
        {{"chain", network}, {"transaction", transaction}});
    co_return Fail(written.error());
  }
  co_return {};
}

Task<Settlement> LocalFacilitator::Tell(const Prepared& p, x402::SettleAnswer answer, Caller caller,
                                        Deadline) {
  // Whoever was told before him: his buyer has paid, and anybody who sees the transaction on its
  // way could ask for its outcome first.
  if (caller == Caller::kOwner) co_return Settlement{Outcome::kSettled, std::move(answer)};
  codec::Json told = Remembered(p, answer);
  if (!p.sale.empty()) told.Set(std::string(kToldTo), p.sale);
  const std::string result = codec::ToString(told);
  const auto body = [&, this](db::Tx& tx) { return TellPending(tx, p.key, result, clock_.Now()); };
  const Deadline store_by = Deadline::In(clock_, kStoreTimeout);
  const Result<bool> first = co_await database_.Write(body, store_by);
  if (!first) {
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network,
                     answer.transaction);
  }
  if (*first) co_return Settlement{Outcome::kSettled, std::move(answer)};
  const Result<bool> same = co_await WasToldTo(p);
  if (!same) {
    co_return Failed(Outcome::kUnknown, NotSeen(), p.version, p.payer, p.network,
                     answer.transaction);
  }
  if (!*same) {
    co_return Failed(Outcome::kRefused, UsedBefore(), p.version, p.payer, p.network,
                     answer.transaction);
  }
  co_return Settlement{Outcome::kSettled, std::move(answer)};
}

// Who asks for the same sale again is who was told, and may not have heard it.
Task<bool> LocalFacilitator::WasToldTo(const Prepared& p) {
  if (p.sale.empty()) co_return false;
  PTG_CO_TRY(const std::optional<Pending> row, co_await Stored(p));
  if (!row || row->state != PendingState::kTold) co_return false;
  codec::JsonLimits limits;
  limits.fault = Code::kStore;
  PTG_CO_TRY(const codec::Json result, codec::ParseJson(row->result, limits));
  const codec::Json* to = result.Find(kToldTo);
  co_return to != nullptr && *to == codec::Json(p.sale);
}

Task<> LocalFacilitator::Untell(const x402::Payment& payment,
                                const x402::Requirements& requirements, Deadline by) {
  PTG_CO_TRY(const Prepared p, Prepare(payment, requirements));
  const auto body = [&p, this](db::Tx& tx) { return UntellPending(tx, p.key, clock_.Now()); };
  PTG_CO_RUN(co_await database_.Write(body, by));
  co_return {};
}

}  // namespace pontage::settle
