// What becomes of a payment that is shown again.
#include "base/log.h"
#include "base/try.h"
#include "io/timer.h"
#include "paywall/exchange.h"

namespace pontage::paywall {
namespace {

using ledger::Delivery;
using ledger::State;

bool SameRequest(const ledger::Reservation& row, const deal::Quote& quote) {
  return row.method == quote.method && row.resource == quote.resource;
}

bool OnItsWay(const ledger::Reservation& row) {
  return row.state == State::kSettled &&
         (row.delivery == Delivery::kPending || row.delivery == Delivery::kRedeeming);
}

constexpr const char* kLapsed =
    "an earlier request with this payment ended without a charge; sign a new one. Should this one "
    "be charged all the same, send it again and it is served";

// The longest of the pauses below; together they are a third of a second.
constexpr Millis kLongestLook{160};

}  // namespace

// `row` has the once-key of `claim`. One line for each thing it may be.
Task<> Exchange::Recall(Call& call, const rail::Rail& rail, const deal::Grant& claim,
                        ledger::Reservation row) {
  const int version = claim.version;
  if (!SameRequest(row, call.quote)) {
    co_return co_await ShowUsed(call, rail, version, row,
                                "the payment was used for another request");
  }
  if (row.state == State::kExpired) {
    Result<ledger::Reservation> now = co_await LateCharge(rail, std::move(row));
    if (!now) co_return co_await call.reply.Problem(now.error());
    row = *std::move(now);
  }
  switch (row.state) {
    case State::kHeld: {
      const Error running(Code::kPaymentInFlight, "a request with this payment is running");
      co_return co_await call.reply.Problem(running);
    }
    case State::kInDoubt: {
      auto [name, value] = rail.ReceiptHeader(version, PendingReceipt(row));
      HeaderList headers;
      headers.emplace_back(std::string(name), std::move(value));
      const Error pending(
          Code::kSettlePending,
          "the settlement is not known yet; send the same payment again, no new one");
      co_return co_await call.reply.Problem(pending, std::move(headers));
    }
    case State::kVoided:
    case State::kExpired: {
      const Error lapsed(Code::kPaymentLapsed, kLapsed);
      co_return co_await Refuse(call, lapsed);
    }
    case State::kSettled:
      break;
  }
  // That an answer has left is written down behind it: who has read it and asks again at once is
  // not told that it is still on its way.
  for (Millis pause{5}; OnItsWay(row) && pause <= kLongestLook; pause *= 2) {
    PTG_CO_RUN(co_await Sleep(pause));
    Result<std::optional<ledger::Reservation>> now =
        co_await ledger_.FindByKey(row.once_key, In(options_.store_timeout));
    if (!now || !*now) break;
    row = **std::move(now);
  }
  if (OnItsWay(row)) {
    const Error running(Code::kPaymentInFlight, "the answer to this payment is on its way");
    co_return co_await call.reply.Problem(running);
  }
  if (row.delivery == Delivery::kOwed || row.delivery == Delivery::kBroken) {
    Result<Captured> captured =
        co_await Capture(call.body, options_.body_hold, In(call.route.answer_timeout));
    if (!captured) co_return co_await call.reply.Problem(captured.error());
    if (!captured->whole) {
      co_return co_await ShowUsed(call, rail, version, row,
                                  "the answer is still owed, but a request whose body is longer "
                                  "than " +
                                      std::to_string(options_.body_hold) +
                                      " bytes does not run again");
    }
    if (RequestDigest(row.method, call.quote.target, call.head.headers, *captured) ==
        row.request_digest) {
      Held held{call, rail, std::move(row), std::move(captured->body), std::nullopt};
      co_return co_await Redeem(std::move(held));
    }
    co_return co_await ShowUsed(call, rail, version, row,
                                "the answer is still owed, to a request with another body, "
                                "Content-Type, Content-Encoding or Range");
  }
  if (call.route.replay_answer) {
    PTG_CO_TRY(const bool sent, co_await Replay(call, rail, row));
    if (sent) co_return {};
  }
  co_return co_await ShowUsed(call, rail, version, row, "the payment was used before");
}

// `row` was given up, and its buyer asks again: perhaps because he sees that he was charged.
// Whoever has read a payment on the chain, in a transaction that was reverted, may send it once
// more. Gives the row as it is now. Where nobody can say, it stays given up, and the sweeper looks
// later.
Task<ledger::Reservation> Exchange::LateCharge(const rail::Rail& rail, ledger::Reservation row) {
  const Result<rail::Traced> traced =
      co_await rail.Lookup(row.payload, row.requirement, In(options_.verify_timeout));
  if (!traced || traced->trace != rail::Trace::kUsed) co_return row;
  ledger::Ledger::Settlement books;
  books.transaction = traced->settlement.transaction;
  books.receipt = traced->settlement.receipt;
  books.delivery = Delivery::kOwed;
  PTG_CO_RUN(co_await ledger_.Commit(row.id, std::move(books), In(options_.store_timeout)));
  Log(LogLevel::kInfo, "payment.recovered",
      {{"payment", row.id.str()}, {"transaction", traced->settlement.transaction}});
  PTG_CO_TRY(std::optional<ledger::Reservation> now,
             co_await ledger_.FindByKey(row.once_key, In(options_.store_timeout)));
  co_return now ? *std::move(now) : std::move(row);
}

// 402 with the stored receipt and without an offer: nothing here invites a second signature.
Task<> Exchange::ShowUsed(Call& call, const rail::Rail& rail, int version,
                          const ledger::Reservation& row, std::string detail) {
  metrics_
      .CounterOf("pontage_refusals_total", "Answers that asked for a payment, by what was wrong.",
                 {{"code", "payment_already_used"}})
      .Add();
  HeaderList headers;
  if (!row.receipt.empty()) {
    auto [name, value] = rail.ReceiptHeader(version, row.receipt);
    headers.emplace_back(std::string(name), std::move(value));
  }
  const Error used(Code::kPaymentAlreadyUsed, std::move(detail));
  co_return co_await call.reply.Problem(used, std::move(headers));
}

// The stored answer of a route with replay = "answer", to an equal request only.
Task<bool> Exchange::Replay(Call& call, const rail::Rail& rail, const ledger::Reservation& row) {
  Result<Captured> captured =
      co_await Capture(call.body, options_.body_hold, In(call.route.answer_timeout));
  if (!captured) co_return false;
  const ledger::Digest asked =
      RequestDigest(row.method, call.quote.target, call.head.headers, *captured);
  if (!captured->whole || asked != row.request_digest) co_return false;
  PTG_CO_TRY(const std::optional<ledger::Ledger::StoredAnswer> stored,
             co_await ledger_.Answer(row.id, In(options_.store_timeout)));
  if (!stored) co_return false;
  auto [name, value] = rail.ReceiptHeader(row.protocol, row.receipt);
  const Receipt receipt{std::string(name), std::move(value)};
  PTG_CO_RUN(co_await SendStored(call.reply, *stored, receipt));
  co_return true;
}

// An owed sale: the same request runs once more under the same idempotency key, uncharged.
Task<> Exchange::Redeem(Held held) {
  Call& call = held.call;
  const Result<> admitted = co_await call.work.Admit();
  if (!admitted) co_return co_await call.reply.Problem(admitted.error());
  PTG_CO_TRY(const std::optional<Delivery> before, co_await Claim(held));
  if (!before) co_return {};
  Log(LogLevel::kInfo, "payment.redeemed",
      {{"payment", held.row.id.str()}, {"before", ledger::ToString(*before)}});
  Result<std::unique_ptr<net::ClientResponse>> response = co_await call.work.Run(
      held.row.id.str(), *held.body, In(call.route.answer_timeout), held.latest);
  if (!response) {
    NoteDelivery(held, {.outcome = *before});
    co_return co_await call.reply.Problem(response.error());
  }
  Answer answer;
  answer.response = *std::move(response);
  if (answer.response->head().status >= 400) {
    const std::optional<Receipt> none;
    (void)co_await Deliver(call.reply, answer, none, call.route.answer_timeout, clock_);
    NoteDelivery(held, {.outcome = *before});
    co_return {};
  }
  // Leaving out the last byte again and again must not be a free pass.
  const Delivery on_break = *before == Delivery::kBroken ? Delivery::kRedeemed : Delivery::kBroken;
  const std::string receipt = held.row.receipt;
  co_return co_await Serve(held, answer, receipt, on_break);
}

// Takes what is owed for this request, of any number of them alone, and gives what it was before.
// Nothing: it could not, and the buyer has been told.
Task<std::optional<Delivery>> Exchange::Claim(Held& held) {
  Call& call = held.call;
  held.attempt = NewIdText("red", clock_, rng_);
  const std::string attempt = held.attempt;
  const Result<Delivery> before = co_await ledger_.Redeem(held.row.id, held.row.request_digest,
                                                          In(options_.store_timeout), attempt);
  if (!before && before.error().code() == Code::kConflict) {
    const Error running(Code::kPaymentInFlight, "the answer to this payment is on its way");
    PTG_CO_RUN(co_await call.reply.Problem(running));
    co_return std::nullopt;
  }
  if (!before) {
    // Perhaps it was written: then nobody works on it, and it must not stay "redeeming".
    NoteLater([&l = ledger_, id = held.row.id,
               attempt](Deadline by) { return l.GiveBack(id, attempt, by); },
              "ledger.give_back");
    PTG_CO_RUN(co_await call.reply.Problem(before.error()));
    co_return std::nullopt;
  }
  co_return *before;
}

}  // namespace pontage::paywall
