#include "sandbox/stripe/roll.h"

#include <algorithm>
#include <utility>

#include "sandbox/stripe/checkout.h"
#include "sandbox/stripe/invoices.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

void TakeTurn(Account& account, const std::string& id) {
  if (codec::Json* subscription = account.store.Find(Kind::kSubscription, id)) {
    RollSubscription(account, *subscription);
  } else if (codec::Json* invoice = account.store.Find(Kind::kInvoice, id)) {
    RollInvoice(account, *invoice);
  } else if (codec::Json* session = account.store.Find(Kind::kSession, id)) {
    RollSession(account, *session);
  }
}

}  // namespace

size_t Roll(Account& account) {
  const UnixMs to = account.clock.Now();
  const CurrentRequest asking = std::exchange(account.request, {});
  size_t turns = 0;
  while (turns < kMaxTurns && !account.store.full()) {
    const std::optional<Agenda::Item> next = account.agenda.First();
    if (!next || next->due > to) break;
    // What is planned for a time that is over happens now: time does not go back.
    account.rolled = std::max(account.rolled, next->due);
    account.clock.StandAt(account.rolled);
    account.agenda.Set(next->id, std::nullopt);
    TakeTurn(account, next->id);
    ++turns;
  }
  account.clock.Go();
  if (turns < kMaxTurns) account.rolled = std::max(account.rolled, to);
  account.request = asking;
  return turns;
}

}  // namespace pontage::sandbox::stripe
