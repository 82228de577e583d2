#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/id.h"
#include "catalog/route.h"
#include "ledger/ledger.h"
#include "net/server.h"
#include "obs/metrics.h"
#include "paywall/challenge.h"
#include "paywall/delivery.h"
#include "paywall/reply.h"
#include "paywall/work.h"
#include "rail/rail_set.h"

namespace pontage::paywall {

// Everything about one request for a priced route. Lives as long as the request.
struct Call {
  const catalog::Route& route;
  const deal::Quote& quote;
  const rail::RailSet& rails;
  net::RequestHead& head;
  net::BodySource& body;
  Work& work;
  Reply& reply;
};

struct ExchangeOptions {
  Millis verify_timeout{10'000};
  // Settling outlives the caller's patience on purpose; after it the payment is in doubt and the
  // sweeper goes on.
  Millis settle_timeout{30'000};
  Millis store_timeout{10'000};
  // Of a paid request's body: kept, so that an owed sale can be told from another request and run
  // again. What is longer is streamed, and does not run again: nobody could tell it from another.
  size_t body_hold = 1 << 20;
};

// One paid call, whatever carried it: find, verify, reserve, send, settle, commit, receipt. Serves
// one loop; the ledger and the rails behind it serve all.
class Exchange {
 public:
  Exchange(ledger::Ledger& ledger, obs::Registry& metrics, const Clock& clock, Rng& rng,
           ExchangeOptions options = {});

  // Answers the request. Fails only when the client's connection did.
  Task<> Run(Call call);
  // A license that does not open this: says why, and offers what does. Fails as Run.
  Task<> TurnAway(Call& call, const Error& why) { return Refuse(call, why); }

 private:
  // A payment that was verified and reserved: ours to serve.
  struct Held {
    Call& call;
    const rail::Rail& rail;
    ledger::Reservation row;
    std::unique_ptr<Upload> body;
    // The settlement that the books could not be told yet.
    std::optional<ledger::Ledger::Settlement> uncommitted;
    std::string attempt{};  // of a redemption
    // By when the answer must be here, or collecting begins too late.
    Deadline latest = Deadline::Never();
  };

  Task<> Refuse(Call& call, const Error& why);
  Task<> NotGood(Call& call, const rail::RailSet::Found& found, const Error& why);
  Task<> SellAfter(Held& held);
  Task<> SellBefore(Held& held);
  Task<> NotOurs(Held& held, const Error& why);
  Task<> Settled(Held& held, Answer& answer, deal::Settlement settlement);
  Task<ledger::Delivery> Commit(const Held& held, ledger::Ledger::Settlement books);
  Task<bool> StillOurs(Held& held, ledger::Delivery now);
  Task<> Serve(Held& held, Answer& answer, const std::string& receipt, ledger::Delivery on_break);
  Task<> NotSettled(Held& held, const deal::Settlement& settlement, bool work_done);
  Task<> Recall(Call& call, const rail::Rail& rail, const deal::Grant& claim,
                ledger::Reservation row);
  Task<ledger::Reservation> LateCharge(const rail::Rail& rail, ledger::Reservation row);
  Task<> Redeem(Held held);
  Task<std::optional<ledger::Delivery>> Claim(Held& held);
  Task<> ShowUsed(Call& call, const rail::Rail& rail, int version, const ledger::Reservation& row,
                  std::string detail);
  Task<bool> Replay(Call& call, const rail::Rail& rail, const ledger::Reservation& row);
  Task<deal::Settlement> Collect(Held& held);

  void NoteSettled(const Held& held, const std::string& transaction);
  void NoteVoid(const ledger::Reservation& row, std::string why, int status);
  void NoteUnreserved(const ledger::Reservation& row, const Error& why);
  void NoteExpired(const ledger::Reservation& row, std::string why);
  void NoteDoubt(const ledger::Reservation& row, std::string transaction);
  // `uncommitted` is written first.
  void NoteDelivery(const Held& held, ledger::Ledger::Ending ending,
                    std::optional<ledger::Ledger::Settlement> uncommitted = std::nullopt);
  // Written by the current loop, again and again while the store is away.
  void NoteLater(std::function<Task<>(Deadline)> write, std::string_view what);
  obs::Counter& CounterOf(std::string_view stage, const Call& call);
  void Count(std::string_view stage, const Call& call);
  obs::Counter& RefusalsOf(Code code);
  Deadline In(Millis d) const { return Deadline::In(clock_, d); }

  ledger::Ledger& ledger_;
  obs::Registry& metrics_;
  const Clock& clock_;
  Rng& rng_;
  RefusalCache offers_;
  obs::Counter* unpaid_ = nullptr;  // of refusals for want of any payment
  ExchangeOptions options_;
  // Notes of reservations that were not confirmed; they may outlive this.
  std::shared_ptr<size_t> unreserved_ = std::make_shared<size_t>(0);
};

// Whether there is still time to do `work` and to collect then. kPaymentExpired otherwise.
Result<> TimeLeft(const deal::Grant& grant, Millis work, UnixMs now);
// The members of a receipt for a settlement whose end is not known.
std::string PendingReceipt(const ledger::Reservation& row);

}  // namespace pontage::paywall
