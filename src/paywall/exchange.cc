#include "paywall/exchange.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/try.h"
#include "paywall/challenge.h"
#include "paywall/late_charge.h"
#include "wire/problem/error_map.h"

namespace pontage::paywall {
namespace {

using deal::Settlement;
using ledger::Delivery;

// What a refusal of a rail is, as opposed to a fault of ours or of what we stand on.
bool IsPaymentFault(const Error& error) { return problem::RowOf(error.code()).http == 402; }

Error Unpaid(const deal::Quote& quote) {
  return Error(Code::kPaymentRequired,
               "this resource costs " + quote.price.ToString() + " per call");
}

std::string Slug(const Error& error) { return std::string(problem::RowOf(error.code()).slug); }

// What the books are told of a payment, but for the name of its row.
ledger::Reservation RowOf(const Call& call, const deal::Grant& grant, const Captured& captured) {
  ledger::Reservation row;
  row.once_key = grant.once_key;
  row.request_id = call.reply.id();
  row.route = call.route.match;
  row.method = call.quote.method;
  row.resource = call.quote.resource;
  row.request_digest = RequestDigest(row.method, call.quote.target, call.head.headers, captured);
  row.rail = grant.rail;
  row.protocol = grant.version;
  row.scheme = grant.scheme;
  row.network = grant.network;
  row.asset = grant.asset;
  row.payer = grant.payer;
  row.pay_to = grant.pay_to;
  row.nonce = grant.nonce;
  row.amount = grant.most;
  row.price = call.quote.price;
  row.payload = grant.payload;
  row.requirement = grant.requirement;
  row.valid_before = grant.valid_before;
  return row;
}

}  // namespace

Result<> TimeLeft(const deal::Grant& grant, Millis work, UnixMs now) {
  if (grant.valid_before >= now + work + grant.settle_needs) return {};
  return Fail(Error(Code::kPaymentExpired, "the payment runs out before it could be settled here")
                  .At("/payload/authorization/validBefore"));
}

std::string PendingReceipt(const ledger::Reservation& row) {
  return codec::ToString(codec::Json::Object({{"success", false},
                                              {"errorReason", "settlement_pending"},
                                              {"payer", row.payer},
                                              {"transaction", row.transaction},
                                              {"network", row.network}}));
}

Exchange::Exchange(ledger::Ledger& ledger, obs::Registry& metrics, const Clock& clock, Rng& rng,
                   ExchangeOptions options)
    : ledger_(ledger), metrics_(metrics), clock_(clock), rng_(rng), options_(options) {}

obs::Counter& Exchange::CounterOf(std::string_view stage, const Call& call) {
  return metrics_.CounterOf("pontage_funnel_total",
                            "Requests for priced routes by how far they came.",
                            {{"route", call.route.match}, {"stage", stage}});
}

void Exchange::Count(std::string_view stage, const Call& call) { CounterOf(stage, call).Add(); }

// One request, top to bottom. Every stage takes what the stages before it returned; none calls back
// up.
Task<> Exchange::Run(Call call) {
  const Result<std::optional<rail::RailSet::Found>> found = call.rails.Find(call.head.headers);
  if (!found) co_return co_await Refuse(call, found.error());
  if (!*found) {
    const auto unpaid = [&call] { return Unpaid(call.quote); };
    if (IsBrowser(call.head.headers)) {
      const Error why = unpaid();
      co_return co_await Refuse(call, why);
    }
    // Ours as long as it is on its way, whatever the cache does meanwhile.
    const std::shared_ptr<Offered> offered = offers_.Of(call.rails, call.quote, unpaid);
    if (offered->counter == nullptr) offered->counter = &CounterOf("offered", call);
    offered->counter->Add();
    if (unpaid_ == nullptr) unpaid_ = &RefusalsOf(Code::kPaymentRequired);
    unpaid_->Add();
    co_return co_await call.reply.SendMade(402, offered->fields, offered->body);
  }
  const rail::Rail& rail = *(*found)->rail;
  Count("presented", call);
  const Deadline verify_by = In(options_.verify_timeout);
  const Result<deal::Grant> grant =
      co_await rail.Verify((*found)->credential, call.quote, verify_by);
  if (!grant) co_return co_await NotGood(call, **found, grant.error());
  Count("verified", call);
  PTG_KILL_POINT("verified");

  Result<Captured> captured =
      co_await Capture(call.body, options_.body_hold, In(call.route.answer_timeout));
  if (!captured) co_return co_await call.reply.Problem(captured.error());
  const Result<> admitted = co_await call.work.Admit();
  if (!admitted) co_return co_await call.reply.Problem(admitted.error());
  // The body may have come slowly, and a place may have been waited for.
  const Millis work = call.route.settle_before ? Millis(0) : call.route.answer_timeout;
  const Result<> in_time = TimeLeft(*grant, work, clock_.Now());
  Call again{call.route, call.quote, call.rails, call.head, *captured->body, call.work, call.reply};
  if (!in_time) co_return co_await NotGood(again, **found, in_time.error());

  ledger::Reservation row = RowOf(call, *grant, *captured);
  row.id = ReservationId(NewIdText("pay", clock_, rng_));
  Result<ledger::Ledger::Reserved> reserved =
      co_await ledger_.Reserve(row, In(options_.store_timeout));
  if (!reserved) {
    NoteUnreserved(row, reserved.error());
    co_return co_await call.reply.Problem(reserved.error());
  }
  if (!reserved->held && !PTG_PLANTED("skip_reserve")) {
    co_return co_await Recall(again, rail, *grant, std::move(reserved->row));
  }
  PTG_KILL_POINT("reserved");
  Held held{call, rail, std::move(row), std::move(captured->body), std::nullopt};
  if (call.route.settle_before) co_return co_await SellBefore(held);
  held.latest = In(grant->valid_before - grant->settle_needs - clock_.Now());
  co_return co_await SellAfter(held);
}

obs::Counter& Exchange::RefusalsOf(Code code) {
  return metrics_.CounterOf("pontage_refusals_total",
                            "Answers that asked for a payment, by what was wrong.",
                            {{"code", problem::RowOf(code).slug}});
}

Task<> Exchange::Refuse(Call& call, const Error& why) {
  RefusalsOf(why.code()).Add();
  if (!IsPaymentFault(why) && !IsLicenseFault(why.code())) {
    co_return co_await call.reply.Problem(why);
  }
  if (why.code() == Code::kPaymentRequired) Count("offered", call);
  deal::Challenge challenge;
  call.rails.Offer(call.quote, why, challenge);
  Refusal refusal =
      MakeRefusal(call.quote, why, std::move(challenge), IsBrowser(call.head.headers));
  co_return co_await call.reply.Send(refusal.status, refusal.content_type, std::move(refusal.body),
                                     std::move(refusal.headers));
}

// A credential that did not pass, or that nobody could judge. If it is one that was used here
// before, the buyer is told what became of it; what only looks like it (the same nonce, another
// signature) learns nothing.
Task<> Exchange::NotGood(Call& call, const rail::RailSet::Found& found, const Error& why) {
  Log(LogLevel::kInfo, "payment.refused",
      {{"request_id", call.reply.id().str()},
       {"route", call.route.match},
       {"code", problem::RowOf(why.code()).slug},
       {"detail", why.detail()}});
  // Also when nobody could judge it: what the books know does not depend on a chain that answers.
  const Result<deal::Grant> claim = found.rail->Claim(found.credential, call.quote);
  if (claim) {
    Result<std::optional<ledger::Reservation>> row =
        co_await ledger_.FindByKey(claim->once_key, In(options_.store_timeout));
    if (!row) co_return co_await call.reply.Problem(row.error());
    if (*row && (*row)->state != ledger::State::kVoided) {
      const Result<codec::Json> theirs = codec::ParseJson(claim->payload);
      const Result<codec::Json> ours = codec::ParseJson((*row)->payload);
      const codec::Json* a = theirs ? theirs->Find("payload") : nullptr;
      const codec::Json* b = ours ? ours->Find("payload") : nullptr;
      if (a != nullptr && b != nullptr && *a == *b) {
        co_return co_await Recall(call, *found.rail, *claim, *std::move(*row));
      }
    }
  }
  co_return co_await Refuse(call, why);
}

// The usual flow: the work first, its answer held back until the money has moved.
Task<> Exchange::SellAfter(Held& held) {
  Call& call = held.call;
  Answer answer;
  const Deadline by = Sooner(In(call.route.answer_timeout), held.latest);
  Result<std::unique_ptr<net::ClientResponse>> response =
      co_await call.work.Run(held.row.id.str(), *held.body, by, held.latest);
  if (!response) {
    NoteVoid(held.row, Slug(response.error()), 0);
    co_return co_await call.reply.Problem(response.error());
  }
  answer.response = *std::move(response);
  const net::ResponseHead& head = answer.response->head();
  const int status = head.status;
  PTG_KILL_POINT("upstream_head");
  if (status >= 400) {
    // The caller got nothing for his money and owes nothing; what the upstream says is his to read.
    NoteVoid(held.row, "upstream_status", status);
    const std::optional<Receipt> none;
    (void)co_await Deliver(call.reply, answer, none, call.route.answer_timeout, clock_);
    co_return {};
  }
  if (!MustStream(head, answer.response->body().length(), call.route.hold_max)) {
    const Result<> whole = co_await Hold(answer, call.route.hold_max,
                                         Sooner(In(call.route.answer_timeout), held.latest));
    if (!whole) {
      const Error broken =
          whole.error().code() == Code::kUpstreamTimeout
              ? whole.error()
              : Error(Code::kUpstreamProtocol, "the upstream broke off its answer");
      NoteVoid(held.row, Slug(broken), status);
      co_return co_await call.reply.Problem(broken);
    }
  }
  Count("served", call);
  PTG_KILL_POINT("upstream_body");
  const Result<> ours = co_await ledger_.Answered(held.row.id, status, In(options_.store_timeout));
  if (!ours) co_return co_await NotOurs(held, ours.error());
  PTG_CO_TRY(Settlement settlement, co_await Collect(held));
  if (settlement.outcome != Settlement::Outcome::kSettled) {
    co_return co_await NotSettled(held, settlement, true);
  }
  co_return co_await Settled(held, answer, std::move(settlement));
}

// settle = "before": for streams and expensive work. What fails after the money moved is owed.
Task<> Exchange::SellBefore(Held& held) {
  Call& call = held.call;
  const Result<> ours = co_await ledger_.Answered(held.row.id, 0, In(options_.store_timeout));
  if (!ours) co_return co_await NotOurs(held, ours.error());
  PTG_CO_TRY(const Settlement settlement, co_await Collect(held));
  if (settlement.outcome != Settlement::Outcome::kSettled) {
    co_return co_await NotSettled(held, settlement, false);
  }
  NoteSettled(held, settlement.transaction);
  ledger::Ledger::Settlement books;
  books.transaction = settlement.transaction;
  books.receipt = settlement.receipt;
  const Result<Delivery> committed = co_await Commit(held, books);
  if (!committed) {
    // As below; but nothing was asked of the upstream yet, so the sale is owed, whether or not this
    // commit was written.
    Log(LogLevel::kError, "ledger.commit_failed",
        {{"payment", held.row.id.str()}, {"detail", committed.error().detail()}});
    NoteDelivery(held, {.outcome = Delivery::kOwed}, std::move(books));
    co_return co_await call.reply.Problem(committed.error());
  }
  PTG_CO_TRY(const bool still_ours, co_await StillOurs(held, *committed));
  if (!still_ours) co_return {};
  PTG_KILL_POINT("committed");
  const auto [name, value] = held.rail.ReceiptHeader(held.row.protocol, settlement.receipt);
  Result<std::unique_ptr<net::ClientResponse>> response = co_await call.work.Run(
      held.row.id.str(), *held.body, In(call.route.answer_timeout), held.latest);
  // Without an answer, or with one that refuses, the sale is owed, unless the buyer himself kept
  // his request from the upstream.
  const Delivery nothing = held.body->buyer_failed() ? Delivery::kBroken : Delivery::kOwed;
  if (!response) {
    NoteDelivery(held, {.outcome = nothing});
    HeaderList headers;
    headers.emplace_back(std::string(name), value);
    co_return co_await call.reply.Problem(response.error(), std::move(headers));
  }
  Answer answer;
  answer.response = *std::move(response);
  PTG_KILL_POINT("upstream_head");
  if (answer.response->head().status < 400) {
    Count("served", call);
    co_return co_await Serve(held, answer, settlement.receipt, Delivery::kBroken);
  }
  const std::optional<Receipt> receipt = Receipt{std::string(name), value};
  (void)co_await Deliver(call.reply, answer, receipt, call.route.answer_timeout, clock_);
  NoteDelivery(held, {.outcome = nothing});
  co_return {};
}

// Before money moves the books must say that it is this node's to move: one that slept, or was cut
// off from the store, may have been taken for dead and the payment been given up, and its buyer
// told so.
Task<> Exchange::NotOurs(Held& held, const Error& why) {
  Log(LogLevel::kWarn, "payment.taken_over",
      {{"payment", held.row.id.str()}, {"detail", why.detail()}});
  if (why.code() == Code::kConflict) {
    const Error running(Code::kPaymentInFlight, "another node has taken this payment over");
    co_return co_await held.call.reply.Problem(running);
  }
  // Nobody knows what stands there. The sweeper finds out, and settles if it must.
  NoteDoubt(held.row, "");
  auto [name, value] = held.rail.ReceiptHeader(held.row.protocol, PendingReceipt(held.row));
  HeaderList headers;
  headers.emplace_back(std::string(name), std::move(value));
  const Error pending(Code::kSettlePending,
                      "the books could not be written; send the same payment again, no new one");
  co_return co_await held.call.reply.Problem(pending, std::move(headers));
}

// Settling runs under its own closing deadline and is not cancelled when the client hangs up. An
// error of the rail says nothing about the money, so it counts as not known.
Task<Settlement> Exchange::Collect(Held& held) {
  PTG_KILL_POINT("answered");
  const SteadyMs start = clock_.Steady();
  // The row was reserved by this call, so nobody has asked before.
  const deal::Asking asking{held.row.id.str(), false};
  Result<Settlement> settlement = co_await held.rail.Settle(held.row.payload, held.row.requirement,
                                                            asking, In(options_.settle_timeout));
  metrics_
      .HistogramOf("pontage_settle_seconds", "How long collecting a payment took.",
                   {{"network", held.row.network}})
      .Observe(clock_.Steady() - start);
  if (settlement && PTG_PLANTED("trust_timeout") &&
      settlement->outcome == Settlement::Outcome::kUnknown) {
    settlement->outcome = Settlement::Outcome::kRefused;
  }
  PTG_KILL_POINT("settled");
  if (settlement) co_return *std::move(settlement);
  Log(LogLevel::kWarn, "settle.unknown",
      {{"payment", held.row.id.str()}, {"detail", settlement.error().detail()}});
  co_return Settlement{};
}

Task<> Exchange::Settled(Held& held, Answer& answer, Settlement settlement) {
  Call& call = held.call;
  NoteSettled(held, settlement.transaction);
  ledger::Ledger::Settlement books;
  books.transaction = settlement.transaction;
  books.receipt = settlement.receipt;
  if (call.route.replay_answer && answer.complete) books.answer = ToStored(answer);
  const Result<Delivery> committed = co_await Commit(held, books);
  if (!committed) {
    // The money moved and the row still says held: the goods leave, and the books are told later.
    Log(LogLevel::kError, "ledger.commit_failed",
        {{"payment", held.row.id.str()}, {"detail", committed.error().detail()}});
    held.uncommitted = std::move(books);
  } else {
    PTG_CO_TRY(const bool still_ours, co_await StillOurs(held, *committed));
    if (!still_ours) co_return {};
  }
  PTG_KILL_POINT("committed");
  co_return co_await Serve(held, answer, settlement.receipt, Delivery::kBroken);
}

// `on_break`: what a break on the client's side makes of the sale (broken the first time, redeemed
// when this is the one redemption after a break).
Task<> Exchange::Serve(Held& held, Answer& answer, const std::string& receipt, Delivery on_break) {
  auto [name, value] = held.rail.ReceiptHeader(held.row.protocol, receipt);
  const std::optional<Receipt> shown = Receipt{std::string(name), std::move(value)};
  const Result<ledger::Ledger::Ending> delivered = co_await Deliver(
      held.call.reply, answer, shown, held.call.route.answer_timeout, clock_, held.body.get());
  PTG_KILL_POINT("delivered");
  const ledger::Ledger::Ending cut{.outcome = Delivery::kOwed, .cut = true};
  ledger::Ledger::Ending ending = delivered.value_or(cut);
  if (ending.outcome == Delivery::kBroken) ending.outcome = on_break;
  // An upstream's failure does not give back the second chance that a break had.
  const bool last = on_break == Delivery::kRedeemed;
  if (ending.outcome == Delivery::kOwed && last) ending.outcome = Delivery::kBroken;
  NoteDelivery(held, ending, std::move(held.uncommitted));
  co_return {};
}

// As the ledger's, but that another node has settled the same authorization by another transaction
// of it (it was sent again with higher fees) is the same sale.
Task<Delivery> Exchange::Commit(const Held& held, ledger::Ledger::Settlement books) {
  const std::string transaction = books.transaction;
  Result<Delivery> committed =
      co_await ledger_.Commit(held.row.id, std::move(books), In(options_.store_timeout));
  if (committed || committed.error().code() != Code::kConflict) co_return committed;
  const Result<std::optional<ledger::Reservation>> row =
      co_await ledger_.FindByKey(held.row.once_key, In(options_.store_timeout));
  const bool same = row && *row && (*row)->id == held.row.id;
  if (!same || (*row)->state != ledger::State::kSettled) co_return committed;
  Log(LogLevel::kWarn, "ledger.settled_elsewhere",
      {{"payment", held.row.id.str()}, {"books", (*row)->transaction}, {"here", transaction}});
  co_return (*row)->delivery;
}

// Whether the goods are this request's to give, by what the books say after the commit. A node that
// was taken for dead finds them owed, or given to another request of the buyer. False: the buyer
// has been told.
Task<bool> Exchange::StillOurs(Held& held, Delivery now) {
  if (now == Delivery::kPending) co_return true;
  Log(LogLevel::kWarn, "payment.taken_over",
      {{"payment", held.row.id.str()}, {"delivery", ledger::ToString(now)}});
  if (now == Delivery::kOwed) {
    PTG_CO_TRY(const std::optional<Delivery> before, co_await Claim(held));
    co_return before.has_value();
  }
  const Error running(Code::kPaymentInFlight, "another node gives the answer to this payment");
  PTG_CO_RUN(co_await held.call.reply.Problem(running));
  co_return false;
}

// The work's answer, if there is one, is thrown away: nothing leaves unpaid.
Task<> Exchange::NotSettled(Held& held, const Settlement& settlement, bool work_done) {
  Call& call = held.call;
  const Deadline by = In(options_.store_timeout);
  HeaderList headers;
  headers.emplace_back("Cache-Control", "no-store");
  if (settlement.outcome == Settlement::Outcome::kUnknown) {
    held.row.transaction = settlement.transaction;
    const Result<> noted =
        co_await ledger_.Doubt(held.row.id, settlement.transaction, "settlement_pending", by);
    if (!noted) {
      Log(LogLevel::kError, "ledger.doubt_failed",
          {{"payment", held.row.id.str()}, {"detail", noted.error().detail()}});
      NoteDoubt(held.row, settlement.transaction);
    }
    auto [name, value] = held.rail.ReceiptHeader(held.row.protocol, PendingReceipt(held.row));
    headers.emplace_back(std::string(name), std::move(value));
    const Error pending(Code::kSettlePending,
                        "the settlement is not known yet; send the same payment again, no new one");
    co_return co_await call.reply.Problem(pending, std::move(headers));
  }
  Log(LogLevel::kWarn, "settle.refused",
      {{"payment", held.row.id.str()}, {"reason", settlement.reason}});
  // The upstream ran for it, so the key stays taken; without work done the payment may come again,
  // unless everybody could read it on the chain: it may be charged yet, by whomever.
  const bool taken = work_done || !settlement.transaction.empty();
  const std::string why = settlement.reason.empty() ? "settle_failed" : settlement.reason;
  const Result<> noted = taken ? co_await ledger_.Expire(held.row.id, why, by, LastLook(held.row))
                               : co_await ledger_.Void(held.row.id, why, 0, by);
  if (!noted) {
    Log(LogLevel::kError, "ledger.close_failed",
        {{"payment", held.row.id.str()}, {"detail", noted.error().detail()}});
    taken ? NoteExpired(held.row, why) : NoteVoid(held.row, why, 0);
  }
  auto [name, value] = held.rail.ReceiptHeader(held.row.protocol, settlement.receipt);
  headers.emplace_back(std::string(name), std::move(value));
  const Error failed = Error(Code::kSettleFailed, "the payment could not be settled: " + why)
                           .Because(settlement.reason);
  co_return co_await call.reply.Problem(failed, std::move(headers));
}

}  // namespace pontage::paywall
