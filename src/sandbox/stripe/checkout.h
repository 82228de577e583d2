#pragma once

#include <optional>
#include <string>

#include "codec/json.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/api_error.h"

namespace pontage::sandbox::stripe {

// What the buyer typed into the hosted page.
struct Buyer {
  std::string email;
  std::string name;
  std::string business;
  std::string tax_id;
  std::optional<Card> card;  // nothing: a trial without one
};

// One attempt to complete an open session. On success it is complete, its subscription or payment
// made and their events out. On a fault (402: the card; 400: the form, or a session that is not
// open) it stays open and may be tried again.
Answered<> Pay(Account& account, codec::Json& session, const Buyer& buyer);

// Ends an open session without a sale.
void ExpireSession(Account& account, codec::Json& session);
// A delayed payment arrives, or does not.
void Decide(Account& account, codec::Json& session, bool good);

// Puts a session's next turn into the agenda, and takes it.
void PlanSession(Account& account, const codec::Json& session);
void RollSession(Account& account, codec::Json& session);

}  // namespace pontage::sandbox::stripe
